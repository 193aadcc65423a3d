"""How a script ends."""

import io
import logging
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from transformer_spectrum.runtime import memory
from transformer_spectrum.runtime.errors import InputError, one_line_errors, ran_out
from transformer_spectrum.runtime.log import to_stderr
from transformer_spectrum.runtime.memory import Free

SOURCE = Path(__file__).parents[2] / "src"


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (InputError("loss.q = 1:\n  too small"), 2, "stage: error: loss.q = 1: too small\n"),
        (OSError(28, "No space left on device", "a/b"), 2, "stage: error: a/b: No space left on device\n"),
        (FileNotFoundError(2, "No such file or directory", "x"), 2, "stage: error: x: No such file or directory\n"),
        (KeyboardInterrupt(), 130, "stage: interrupted\n"),
    ],
)
def test_a_users_mistake_is_one_line_and_an_exit_code(error, code, words, capsys):
    with pytest.raises(SystemExit) as ended, one_line_errors("stage"):
        raise error
    assert ended.value.code == code
    assert capsys.readouterr().err == words


COMMANDS = (["parameters"], ["runs", "--runs", "nowhere"], ["--help"], ["--version"], ["schema", "params"])


def outcome(command, redirection, tmp_path):
    """(exit code, standard error) of a command line of ours in a shell."""
    words = shlex.join([sys.executable, "-m", "transformer_spectrum.cli", *command])
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "PYTHONUNBUFFERED": ""}
    script = ["bash", "-c", f"set -o pipefail; {words} {redirection}"]
    process = subprocess.run(script, cwd=tmp_path, env=environment, capture_output=True, text=True)
    return process.returncode, process.stderr


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_output_that_nobody_takes_is_one_line_or_none_and_no_traceback(command, tmp_path):
    closed = "transformer-spectrum: error: standard output: Bad file descriptor\n"
    full = "transformer-spectrum: error: standard output: No space left on device\n"
    assert outcome(command, ">&-", tmp_path) == (2, closed)
    assert outcome(command, "> /dev/full", tmp_path) == (2, full)
    assert outcome(command, "<&- >&- 2>&-", tmp_path) == (2, "")
    assert outcome(command, "2>&- > out", tmp_path) == (0, "")
    assert outcome(command, "| true", tmp_path)[1] == ""
    assert outcome(command, "| head -c 1 > one", tmp_path)[0] in (0, 141)


def test_a_stream_that_was_closed_lends_its_number_to_no_file_of_ours(tmp_path):
    code = (
        "import os\nfrom transformer_spectrum.runtime.errors import one_line_errors\n"
        "with one_line_errors('x'):\n    handle = os.open('mine', os.O_CREAT | os.O_WRONLY)\n    assert handle > 2"
    )
    words = shlex.join([sys.executable, "-c", code])
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    assert subprocess.run(["bash", "-c", f"{words} <&- >&- 2>&-"], cwd=tmp_path, env=environment).returncode == 0


def test_a_log_that_cannot_be_written_ends_no_work(monkeypatch):
    class Full(io.StringIO):
        def write(self, text):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys, "stderr", Full())
    with to_stderr():
        logging.getLogger("transformer_spectrum.training").info("adam: epoch 3")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    ],
)
def test_too_little_memory_is_one_line(error, capsys):
    with pytest.raises(SystemExit) as caught, one_line_errors("stage"):
        raise error
    assert caught.value.code == 2
    assert capsys.readouterr().err == "stage: error: there is not enough memory\n"


def test_a_message_has_an_end(capsys):
    with pytest.raises(SystemExit), one_line_errors("stage"):
        raise InputError("x" * 10**7)
    assert len(capsys.readouterr().err) < 2000


def test_where_there_really_is_none_it_is_one_line_too():
    code = (
        "import resource\nfrom transformer_spectrum.runtime.errors import one_line_errors\n"
        "with one_line_errors('stage'):\n    resource.setrlimit(resource.RLIMIT_AS, (2**26, 2**26))\n"
        "    held = [bytes(2**12)]\n    while True:\n        held += held"
    )
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "stage: error: there is not enough memory\n")


def test_an_extension_that_says_nothing_is_believed_to_lack_memory_only_where_there_is_none(monkeypatch):
    error = SystemError("<built-in method draw> returned NULL without setting an exception")
    for left, believed in ((2**40, False), (2**20, True)):
        monkeypatch.setattr(memory, "free_memory", lambda left=left: Free(left, "of this machine"))
        assert ran_out(error) is believed
    assert not ran_out(ValueError("out of memory"))


@pytest.mark.parametrize("error", [ZeroDivisionError(), RuntimeError("shapes differ"), SystemError("returned NULL")])
def test_a_defect_keeps_its_traceback(error, monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda: Free(2**40, "of this machine"))
    with pytest.raises(type(error)), one_line_errors("stage"):
        raise error
