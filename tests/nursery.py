"""Quick processes for tests: what takes longest in a stage or in `dvc` is to import torch, DVC and matplotlib.

So one process a test session imports everything, computes nothing, and forks a child for every command: a process like
any other, with its own folder, environment and exit code, to be killed like any other. What `dvc` starts itself, the
stages of a pipeline, comes to it by a `python` on PATH that hands them over (`Nursery.on_path`). Where the code in
src is not ours, as an experiment's can be, a new interpreter reads it.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SECONDS = 900
"""After so long a command that has not ended is killed, and its test fails."""

SERVER = """
import json, os, resource, runpy, select, signal, socket, sys, traceback
from pathlib import Path
from types import SimpleNamespace
import pooch
import cma.sigma_adaptation, dvc.cli.parser, dvc.commands.repro, dvc.commands.status, dvc.repo.reproduce, dvc.stage.run
import matplotlib.backends.backend_agg, torch._dynamo
import transformer_spectrum.data.fetch.sources, transformer_spectrum.data.fetch.standin
import transformer_spectrum.data.prepare
import transformer_spectrum.report.run_page.page, transformer_spectrum.report.run
import transformer_spectrum.report.run_page.markdown
import transformer_spectrum.analysis.of_training.long_tables
import transformer_spectrum.report.pictures.outputs
import transformer_spectrum.training.train
from quick_pictures import draw_quickly
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background job
draw_quickly(setattr)


def code(source):
    files = (path for path in source.rglob("*.*") if path.suffix != ".pyc" and path.is_file())
    return {path.relative_to(source): path.read_bytes() for path in files if ".egg-info" not in str(path)}


SOURCE = Path(sys.argv[1])
OURS = code(SOURCE)
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[2])
listener.listen()


def has_other_code(folder):
    source = (folder / "src").resolve()
    return source.is_dir() and source != SOURCE and code(source) != OURS


def run(order):
    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["folder"])
    if "PAUSES" not in os.environ:
        pooch.core.time = SimpleNamespace(sleep=lambda seconds: None)  # between tries of a download
    if order.get("largest_file"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["largest_file"],) * 2)
    program, *arguments = order["command"]
    if program == "dvc":
        from dvc.cli import main
        sys.argv = order["command"]
        return main(arguments)
    if has_other_code(Path.cwd()):
        os.execv(sys.executable, [sys.executable, *order["command"]])
    if program == "-c":
        sys.argv = order["command"][:1] + arguments[1:]
        exec(arguments[0], {"__name__": "__main__"})
    else:
        sys.argv = order["command"]
        runpy.run_path(program, run_name="__main__")
    return 0


def fork(order, outputs, answer, client=None):
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        if client:
            client.sendall(b"%d\\n" % os.getpid())
        for number, output in outputs.items():
            os.dup2(output() if callable(output) else output, number)
        code = run(order)
    except SystemExit as error:
        code = error.code or 0
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    answer(code)
    os._exit(code)


def opened(path):
    return lambda: os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)


def answer_parent():
    line = sys.stdin.readline()
    if not line:
        os._exit(0)  # tearing torch down takes seconds
    order = json.loads(line)
    if "child" in order:
        ended, status = os.waitpid(order["child"], os.WNOHANG)
        print(os.waitstatus_to_exitcode(status) if ended else "running", flush=True)
        return
    print(fork(order, {1: opened(order["stdout"]), 2: opened(order["stderr"])}, lambda code: None), flush=True)


def answer_client():
    client, _ = listener.accept()
    text, files, _, _ = socket.recv_fds(client, 1 << 16, 3)
    while not text.endswith(b"\\n"):
        text += client.recv(1 << 16)
    order = json.loads(text)
    if order["command"][0] != "dvc" and has_other_code(Path(order["folder"])):
        client.sendall(b"0\\n")  # no child: it is to run the command itself
    else:
        clients.append(fork(order, dict(enumerate(files)), lambda code: client.sendall(b"%d" % code), client))
    for file in files:
        os.close(file)
    client.close()  # the child has it too, and ends it when it ends


clients = []
print("ready", flush=True)
while True:
    ready, _, _ = select.select([sys.stdin, listener], [], [])
    clients = [child for child in clients if not os.waitpid(child, os.WNOHANG)[0]]
    answer_parent() if sys.stdin in ready else answer_client()
"""

CLIENT = """#!{python} -IS
import json, os, signal, socket, sys
here = os.path.dirname(os.path.abspath(sys.argv[0]))
in_environment = os.path.exists(os.path.join(here, "../pyvenv.cfg"))
python = os.path.join(here, "python") if in_environment else {python!r}  # what the program starts comes here too
if sys.argv[1:3] == ["-m", "dvc"]:
    command = ["dvc", *sys.argv[3:]]
elif sys.argv[1:] and sys.argv[1].startswith("stages/"):
    command = sys.argv[1:]
else:
    os.execv({python!r}, [python, *sys.argv[1:]])
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
order = json.dumps({{"command": command, "folder": os.getcwd(), "environment": dict(os.environ)}}).encode()
socket.send_fds(server, [order[:1]], [0, 1, 2])
server.sendall(order[1:] + b"\\n")
answers = server.makefile()
child = int(answers.readline())
if not child:
    os.execv({python!r}, [python, *sys.argv[1:]])
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, frame: os.kill(child, number))
code = answers.read()
os._exit(int(code) if code else 128 + signal.SIGKILL)
"""
"""A `python` that has the nursery run the pipeline's stages and `-m dvc`, and runs all else itself."""


class Nursery:
    """The process that forks; it starts when it is first needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0
        self.process: subprocess.Popen | None = None
        self.socket = Path(tempfile.mkdtemp(prefix="nursery")) / "socket"  # whose path may not be longer than 107 bytes

    def python(self) -> Path:
        """A `python` that has the nursery run stages, as long as the nursery lives."""
        self.begin()
        path = self.folder / "bin/python"
        if not path.exists():
            path.parent.mkdir()
            path.write_text(CLIENT.format(python=sys.executable, address=str(self.socket)))
            path.chmod(0o755)
        return path

    def on_path(self) -> str:
        """A PATH on which that one is found first, and the commands of our environment behind it."""
        return os.pathsep.join((str(self.python().parent), str(Path(sys.executable).parent), os.environ["PATH"]))

    def begin(self) -> None:
        if self.process is None:
            command = [sys.executable, "-c", SERVER, str(ROOT / "src"), str(self.socket)]
            places = os.pathsep.join(str(ROOT / name) for name in ("src", "tests"))
            environment = {**os.environ, "PYTHONPATH": places, "OMP_NUM_THREADS": "1"}
            pipe = subprocess.PIPE
            self.process = subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True)
            assert self.process.stdout.readline() == "ready\n"

    def ask(self, **order: object) -> str:
        self.begin()
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
            command: a Python script, -c and a program, or dvc; and its arguments.
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
        shutil.rmtree(self.socket.parent)


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
