"""Cells as DVC experiments: queued under readable names, run by DVC's workers, and collected from their commits.

DVC's queue is not believed: a worker that is killed leaves its task "Running", a task that is killed may show
"Success" without an experiment. What counts is the commit of an experiment, see `verification`. An experiment's name
ends with the checksum of its request, so that another request has another name and an older experiment stays.
"""

from __future__ import annotations

import json
import logging
import math
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from transformer_spectrum.config import tree
from transformer_spectrum.config.load import parameters_in, read_tree
from transformer_spectrum.config.resolve import assignment
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.progress import Progress
from transformer_spectrum.study.grid import Cell, Grid
from transformer_spectrum.study.processes import single_threaded
from transformer_spectrum.study.request import Request, digest
from transformer_spectrum.study.store import Store, fault
from transformer_spectrum.study.verification import Unverified, asked, collect, git

logger = logging.getLogger(__name__)

POLL, STATUS = 2.0, 20.0
"""Seconds between two looks at the experiments, and between two questions to DVC's queue, which answers slowly."""
WORKERS = Path(".dvc/tmp/exps/celery")
"""Where DVC notes their process ids."""
RESTARTS = 3
"""How often workers that have gone, with tasks still waiting, are started again."""
TASK = re.compile(r"^[0-9a-f]{7}\s+(\S+)\s.*\s(Queued|Running|Success|Failed)\s*$", re.MULTILINE)
OUR_ERROR = re.compile(r"^[\w-]+: error: (.*)$", re.MULTILINE)


def run(grid: Grid, cells: Sequence[Cell], store: Store, jobs: int) -> tuple[dict[str, Request], dict[str, str]]:
    """Trains what is missing; the results lie in the store as those of processes do.

    Returns:
        Place -> request of each cell that is trained, and place -> reason of each that is not.
    Raises:
        InputError: this folder is no checkout with DVC, or DVC does not take an experiment.

    >>> from transformer_spectrum.study.grid import load_grid
    >>> run(load_grid("synthetic"), [], Store("study"), jobs=2)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    transformer_spectrum.runtime.errors.InputError: --backend dvc in ...: needs the root of a checkout with DVC; ...
    """
    if not Path(".dvc").is_dir():
        rule = "needs the root of a checkout with DVC; leave the option out elsewhere"
        raise InputError(f"--backend dvc in {Path.cwd()}: {rule}")
    requests = {cell.place: asked(cell) for cell in cells}
    missing = {
        f"{cell.name}-{digest(requests[cell.place])}": cell
        for cell in cells
        if fault(store.training(cell), requests[cell.place])
    }
    ready = len(cells) - len(missing)
    logger.info(f"sweep {grid.name}: {len(cells)} cells, {ready} of them done before, {jobs} at once by DVC")
    watch = _Watch(missing, requests, store)
    watch.look()
    if watch.missing:
        try:
            _queue(watch.missing)
            watch.wait(f"sweep {grid.name}", jobs)
        except BaseException:
            _cancel(watch.missing)
            raise
    reasons = {cell.place: watch.reasons[name] for name, cell in watch.missing.items()}
    return {place: request for place, request in requests.items() if place not in reasons}, reasons


def _command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs DVC."""
    return subprocess.run([sys.executable, "-m", "dvc", *arguments], capture_output=True, text=True, check=False)


def _commits() -> dict[str, list[str]]:
    """Name of an experiment -> its commits, one for each commit that it was started from."""
    by_name: dict[str, list[str]] = {}
    for line in git("for-each-ref", "--format=%(objectname) %(refname)", "refs/exps").decode().splitlines():
        commit, reference = line.split(" ", 1)
        parts = reference.split("/")
        if len(parts) == 5:  # refs/exps/ab/cdef.../NAME; DVC keeps others of its own
            by_name.setdefault(parts[4], []).append(commit)
    return by_name


def _tasks() -> tuple[dict[str, str], int]:
    """Name -> what the queue says of its latest task, and how many workers there are.

    Raises:
        InputError: the queue does not answer.
    """
    ended = _command("queue", "status")
    workers = re.search(r"Worker status: (\d+) active, (\d+) idle", ended.stdout)
    if ended.returncode or workers is None:
        raise InputError(f"dvc queue status: {_last_line(ended.stderr)}")
    latest: dict[str, str] = {}
    order = ("Failed", "Success", "Running", "Queued")  # a name that was queued again has several
    for name, status in TASK.findall(ended.stdout):
        latest[name] = max(latest.get(name, status), status, key=order.index)
    return latest, max(sum(map(int, workers.groups())), living_workers())


def living_workers(folder: Path = WORKERS) -> int:
    """How many of DVC's workers are processes that live: on a busy machine they answer the queue too late.

    >>> living_workers(Path("nowhere"))
    0
    """
    count = 0
    for path in folder.glob("dvc-exp-worker-*.json"):
        try:
            process = psutil.Process(json.loads(path.read_text())["pid"])
            alive = process.status() != psutil.STATUS_ZOMBIE and "queue-worker" in process.cmdline()
        except (psutil.Error, OSError, ValueError, KeyError):
            continue
        count += alive
    return count


def _overrides(cell: Cell) -> list[str]:
    """The parameters of the cell that are not those of params.yaml, as `dvc exp run -S` takes them."""
    committed = parameters_in(read_tree("params.yaml"), "params.yaml")
    as_committed = {assignment(name, value) for name, value in committed.items()}
    wanted = (assignment(name, value) for name, value in tree.flatten(cell.params.model_dump()).items())
    return [words for words in wanted if words not in as_committed]


def _queue(missing: Mapping[str, Cell]) -> None:
    """Queues what is not waiting or being computed already."""
    statuses, workers = _tasks()
    dead = [name for name in missing if statuses.get(name) == "Running" and not workers]
    if dead:  # their workers were killed; DVC learns it by this
        _command("queue", "kill", "--force", *dead)
    finished = _commits()
    broken = [name for name in missing if name in finished]
    if broken:  # of the same request, and not what it should be
        _command("exp", "remove", *broken)
    todo = {
        name: cell for name, cell in missing.items() if statuses.get(name) not in ("Queued", "Running") or name in dead
    }
    if not todo:
        return
    with Progress("queueing experiments", len(todo), "experiment") as progress:
        for number, (name, cell) in enumerate(todo.items(), start=1):
            options = [word for item in _overrides(cell) for word in ("-S", item)]
            ended = _command("exp", "run", "--queue", "--name", name, *options, f"train-{cell.optimizer}")
            if ended.returncode:
                raise InputError(f"dvc exp run --queue --name {name}: {_last_line(ended.stderr)}")
            progress.update(number)


def _cancel(missing: Mapping[str, Cell]) -> None:
    """Ends what is running for us and forgets what is waiting; other people's experiments stay."""
    logger.info("sweep: taking what is left out of DVC's queue")
    statuses, _ = _tasks()
    for status, words in (("Queued", ("queue", "remove")), ("Running", ("queue", "kill", "--force"))):
        if names := [name for name in missing if statuses.get(name) == status]:
            _command(*words, *names)


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "ERROR" in line]
    return " ".join((errors or lines or ["no reason given"])[-1].split())


class _Watch:
    """Waits for experiments and collects them.

    Attributes:
        missing: name -> cell of those that have no result yet.
        reasons: name -> why that is so.
    """

    def __init__(self, missing: Mapping[str, Cell], requests: Mapping[str, Request], store: Store) -> None:
        self.missing, self.requests, self.store = dict(missing), requests, store
        self.reasons: dict[str, str] = {}
        self._judged: set[str] = set()

    def look(self) -> None:
        """Collects what is there, each commit once."""
        finished = _commits()
        for name, cell in list(self.missing.items()):
            for commit in finished.get(name, []):
                if commit in self._judged:
                    continue
                self._judged.add(commit)
                try:
                    collect(cell, self.requests[cell.place], commit, self.store.training(cell))
                except Unverified as error:
                    self.reasons[name] = f"experiment {commit[:7]}: {error}"
                else:
                    del self.missing[name]
                    break

    def wait(self, title: str, jobs: int) -> None:
        """Until every one is there or will not come."""
        total, starts, asked_at = len(self.missing), 0, -math.inf
        with Progress(title, total, "cell") as progress:
            progress.update(0)
            while True:
                self.look()
                progress.update(total - len(self.missing))
                if not self.missing:
                    return
                if time.monotonic() - asked_at >= STATUS:
                    statuses, workers = _tasks()
                    self.look()  # what was ready when the queue was asked is there now
                    waiting = [name for name in self.missing if statuses.get(name) in ("Queued", "Running")]
                    if not waiting or (not workers and starts > RESTARTS):
                        break
                    if not workers:
                        if not any(statuses.get(name) == "Queued" for name in self.missing):
                            break
                        self._start(jobs)
                        starts += 1
                    asked_at = time.monotonic()
                time.sleep(POLL)
        for name in self.missing:
            self.reasons[name] = self._reason(name, statuses.get(name, "gone"))

    def _start(self, jobs: int) -> None:
        single_threaded()  # for the workers, which inherit it
        ended = _command("queue", "start", "--jobs", str(jobs))
        if ended.returncode:
            raise InputError(f"dvc queue start: {_last_line(ended.stderr)}")

    def _reason(self, name: str, status: str) -> str:
        log = self.store.log("experiments", name)
        log.parent.mkdir(parents=True, exist_ok=True)
        printed = _command("queue", "logs", name).stdout
        log.write_text(printed)
        if status == "Failed" and (own := OUR_ERROR.findall(printed)):
            return own[-1]
        if name in self.reasons:
            return self.reasons[name]
        words = {"Running": "its worker was killed", "Success": "the queue says Success, but there is no experiment"}
        return words.get(status) or f"DVC's task is {status}: {_last_line(printed)}"
