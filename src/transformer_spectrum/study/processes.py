"""Pieces of work in processes of their own, some at once, one thread each; what fails ends nothing else.

The processes are forked from a server that has imported everything and computed nothing, so that one starts in
milliseconds. A process whose parent is gone ends itself.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from transformer_spectrum.runtime.errors import one_line_errors
from transformer_spectrum.runtime.log import to_stderr

logger = logging.getLogger(__name__)

PRELOADED = ["transformer_spectrum.study.work", "dvc.repo", "scmrepo.git", "torch._dynamo", "cma.sigma_adaptation"]
"""The last four are imported late, by DVCLive, torch's Adam and cma: once here instead of in every process."""
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
PATIENCE = 60.0
"""Seconds that a stopped process gets to end the step that it computes."""


@dataclass(frozen=True)
class Task:
    """One piece of work.

    Attributes:
        name: what it is called by in messages.
        function: at the top of a module.
        arguments: of it.
        log: file for all that it prints.
    """

    name: str
    function: Callable[..., None]
    arguments: tuple[Any, ...]
    log: Path


def run(tasks: Iterable[Task], jobs: int, ended: Callable[[Task, str], None]) -> None:
    """Runs every task; a signal that is raised here ends those that are running, after the step that they compute.

    Args:
        tasks: in this order.
        jobs: at once; >= 1.
        ended: told of each task as it ends, with the reason of its failure or "".
    """
    context = _server()
    waiting = list(reversed(list(tasks)))
    running: dict[int, tuple[BaseProcess, Task]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                task = waiting.pop()
                task.log.parent.mkdir(parents=True, exist_ok=True)
                process = context.Process(target=_work, args=(dict(os.environ), task), daemon=True)
                process.start()
                running[process.sentinel] = process, task
            for sentinel in wait(list(running)):
                process, task = running.pop(sentinel)
                process.join()
                ended(task, _failure(process.exitcode, task.log))
    except BaseException:
        _stop([process for process, _ in running.values()])
        raise


def single_threaded() -> None:
    """Lets the libraries of this process and of its children, when they are imported, compute in one thread.

    >>> from unittest.mock import patch
    >>> with patch.dict(os.environ):
    ...     single_threaded()
    ...     os.environ["OMP_NUM_THREADS"]
    '1'
    """
    for name in THREAD_VARIABLES:
        os.environ[name] = "1"


def _server() -> Any:
    single_threaded()  # the server imports torch
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    before = os.environ.get("PYTHONPATH")
    # The server looks for its modules there and nowhere else, and passes in silence over those that it misses.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(Path(__file__).parents[2]), before)))
    try:
        forkserver.ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
    return context


def _work(environment: dict[str, str], task: Task) -> None:
    os.environ.update(environment)  # the server has that of its own start
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    os.setsid()  # a terminal's Ctrl-C reaches the parent alone, which passes it on
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    threading.Thread(target=_follow_parent, daemon=True).start()
    with task.log.open("w") as stream:
        for descriptor in (1, 2):
            os.dup2(stream.fileno(), descriptor)
    with one_line_errors("sweep"), to_stderr():
        task.function(*task.arguments)
    sys.stdout.flush()


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _failure(code: int | None, log: Path) -> str:
    """Why a process that ended with this code has failed; empty when it has not."""
    if code == 0:
        return ""
    if code is not None and code < 0:
        return f"killed by {signal.Signals(-code).name}"
    lines = log.read_text(errors="replace").strip().splitlines() if log.is_file() else []
    last = lines[-1].removeprefix("sweep: error: ") if lines else "it has printed nothing"
    return f"exit code {code}: {last}"


def _stop(processes: list[BaseProcess]) -> None:
    """Lets them end the step that they compute; kills what does not, or when a second signal comes."""
    try:
        for process in processes:
            process.terminate()
        if processes:
            logger.info("sweep: ending the steps that are being computed; again to end at once")
        for process in processes:
            process.join(PATIENCE / len(processes))
    finally:
        for process in processes:
            if process.is_alive():
                process.kill()
                process.join()
