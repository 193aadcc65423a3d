"""Quick processes for tests: what takes longest in a stage or in `dvc` is to import torch, DVC and matplotlib.

So one process a test session imports everything, computes nothing, and forks a child for every command: a process like
any other, with its own folder, environment and exit code, to be killed like any other.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SECONDS = 300
"""After so long a command that has not ended is killed, and its test fails."""

SERVER = """
import json, os, resource, runpy, signal, sys, traceback
import cma.sigma_adaptation, dvc.cli.parser, dvc.commands.repro, dvc.commands.status, dvc.repo.reproduce, dvc.stage.run
import matplotlib.backends.backend_agg, torch._dynamo
import transformer_spectrum.data.fetch.sources, transformer_spectrum.data.fetch.standin
import transformer_spectrum.data.prepare
import transformer_spectrum.report.run_page.page, transformer_spectrum.report.run
import transformer_spectrum.report.run_page.markdown
import transformer_spectrum.analysis.of_training.long_tables
import transformer_spectrum.report.pictures.outputs
import transformer_spectrum.training.train
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background job


def run(order):
    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["folder"])
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(order[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), number)
    if order["largest_file"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["largest_file"],) * 2)
    program, *arguments = order["command"]
    if program == "dvc":
        from dvc.cli import main
        sys.argv = order["command"]
        return main(arguments)
    sys.argv = order["command"]
    runpy.run_path(program, run_name="__main__")
    return 0


print("ready", flush=True)
for line in sys.stdin:
    order = json.loads(line)
    if "child" in order:
        ended, status = os.waitpid(order["child"], os.WNOHANG)
        print(os.waitstatus_to_exitcode(status) if ended else "running", flush=True)
        continue
    child = os.fork()
    if not child:
        code = 1
        try:
            code = run(order)
        except SystemExit as error:
            code = error.code or 0
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    print(child, flush=True)
os._exit(0)  # tearing torch down takes seconds
"""


class Nursery:
    """The process that forks; it starts when it is first needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0
        self.process: subprocess.Popen | None = None

    def ask(self, **order: object) -> str:
        if self.process is None:
            command = [sys.executable, "-c", SERVER]
            environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
            pipe = subprocess.PIPE
            self.process = subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True)
            assert self.process.stdout.readline() == "ready\n"
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def start(
        self,
        command: list[str],
        folder: Path,
        environment: dict[str, str] | None = None,
        largest_file: int | None = None,
    ) -> "Child":
        """Forks a child.

        Args:
            command: a Python script, or dvc, and its arguments.
            folder: where it runs.
            environment: all of its variables; ours by default.
            largest_file: bytes at which a file counts as a full disk.
        """
        self.count += 1
        files = {name: self.folder / f"{self.count}.{name}" for name in ("stdout", "stderr")}
        pid = self.ask(
            command=[str(word) for word in command],
            folder=str(folder),
            environment=dict(os.environ) if environment is None else environment,
            largest_file=largest_file,
            **{name: str(path) for name, path in files.items()},
        )
        return Child(self, int(pid), files)

    def close(self) -> None:
        if self.process is not None:
            self.process.stdin.close()
            self.process.wait()


class Child:
    """A process that the nursery has forked."""

    def __init__(self, nursery: Nursery, pid: int, files: dict[str, Path]) -> None:
        self.nursery, self.pid, self.files = nursery, pid, files
        self.code: int | None = None

    def ended(self) -> bool:
        if self.code is None and (answer := self.nursery.ask(child=self.pid)) != "running":
            self.code = int(answer)
        return self.code is not None

    def send(self, number: int) -> None:
        if not self.ended():
            os.kill(self.pid, number)

    def printed(self) -> str:
        return "".join(path.read_text() for path in self.files.values() if path.exists())

    def wait(self) -> tuple[int, str]:
        """Its exit code, minus the signal's number when it was killed; and what it has printed."""
        deadline = time.monotonic() + SECONDS
        while not self.ended():
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
                raise AssertionError(f"not ended after {SECONDS} s: {self.printed()}")
            time.sleep(0.003)
        return self.code, self.printed()


@pytest.fixture(scope="session")
def nursery(tmp_path_factory):
    """Forks processes that have imported everything; see `Nursery.start`."""
    started = Nursery(tmp_path_factory.mktemp("printed"))
    yield started
    started.close()
