"""How much memory a process may still take."""

import subprocess
import sys

import psutil
import pytest

from transformer_spectrum.runtime import memory
from transformer_spectrum.runtime.memory import Free, free_memory, ran_out


def control_group(folder, limit, taken="0"):
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{taken}\n")
    return folder


def test_a_container_that_has_less_than_the_machine_says_how_much(tmp_path):
    assert free_memory(control_group(tmp_path, 5000, 2000)) == Free(3000, "of this container")
    assert free_memory(control_group(tmp_path, 5000, 9000)) == Free(0, "of this container")


@pytest.mark.parametrize("limit", ["max", "", "much", str(2**62)])
def test_without_a_limit_it_is_what_the_machine_has_left(tmp_path, limit):
    free = free_memory(control_group(tmp_path, limit))
    assert free.under == "of this machine"
    assert free.size == pytest.approx(psutil.virtual_memory().available, rel=0.2)
    assert free_memory(tmp_path / "nowhere").under == "of this machine"


def test_a_limit_of_addresses_counts_what_is_taken_already():
    code = (
        "import resource\nfrom transformer_spectrum.runtime.memory import free_memory\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))\nfree = free_memory()\nprint(free.size, free.under)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    size, under = done.stdout.split(maxsplit=1)
    assert 0 < int(size) < 2**30
    assert under.strip() == "under ulimit -v"


def test_an_extension_that_says_nothing_is_believed_to_lack_memory_only_where_there_is_none(monkeypatch):
    error = SystemError("<built-in method draw> returned NULL without setting an exception")
    assert not ran_out(error)
    monkeypatch.setattr(memory, "free_memory", lambda: Free(2**20, "of this machine"))
    assert ran_out(error)
    assert not ran_out(ValueError("out of memory"))
