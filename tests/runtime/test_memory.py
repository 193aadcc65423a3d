"""How much memory a process may still take."""

import subprocess
import sys

import psutil
import pytest

from transformer_spectrum.runtime.memory import Free, free_memory

NAMES = {
    2: ("memory.max", "memory.current", "inactive_file"),
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def group(folder, limit, taken=0, cached=0, version=2):
    most, current, cache = NAMES[version]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / most).write_text(f"{limit}\n")
    (folder / current).write_text(f"{taken}\n")
    (folder / "memory.stat").write_text(f"anon 7\n{cache} {cached}\n")


@pytest.fixture
def process(tmp_path):
    """Says in which groups the process is."""
    path = tmp_path / "cgroup"

    def says(*lines):
        path.write_text("\n".join(lines) + "\n")
        return path

    return says


def test_a_container_shows_its_group_as_the_root(tmp_path, process):
    group(tmp_path / "sys", 5000, 2000)
    assert free_memory(tmp_path / "sys", process("0::/")) == Free(3000, "of this container or job")
    assert free_memory(tmp_path / "sys", tmp_path / "no such file").size == 3000
    assert free_memory(tmp_path / "sys", process("0::/outside/of/what/is/shown")).size == 3000


def test_what_is_taken_by_files_that_were_read_can_be_had(tmp_path, process):
    group(tmp_path / "sys", 5000, 4900, 4000)
    assert free_memory(tmp_path / "sys", process("0::/")).size == 4100
    group(tmp_path / "sys", 5000, 9000, 0)
    assert free_memory(tmp_path / "sys", process("0::/")).size == 0


@pytest.mark.parametrize("version", [1, 2])
def test_a_job_has_what_the_narrowest_of_its_groups_leaves(tmp_path, process, version):
    root = tmp_path / "sys" / ("memory" if version == 1 else "")
    lines = {1: ["4:memory,cpu:/slurm/job_7/step", "0::/"], 2: ["0::/slurm/job_7/step"]}[version]
    for name, limit in {"slurm": 9000, "slurm/job_7": 4000, "slurm/job_7/step": 2**60}.items():
        group(root / name, limit, 1000, version=version)
    assert free_memory(tmp_path / "sys", process(*lines)) == Free(3000, "of this container or job")


@pytest.mark.parametrize("limit", ["max", "", "much", str(2**62)])
def test_without_a_limit_it_is_what_the_machine_has_left(tmp_path, process, limit):
    group(tmp_path / "sys", limit)
    for lines in (["0::/"], ["nothing that could be read"], [""]):
        free = free_memory(tmp_path / "sys", process(*lines))
        assert free.under == "of this machine"
        assert free.size == pytest.approx(psutil.virtual_memory().available, rel=0.2)


def test_a_limit_of_addresses_counts_what_is_taken_already():
    code = (
        "import resource\nfrom transformer_spectrum.runtime.memory import free_memory\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))\nfree = free_memory()\nprint(free.size, free.under)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    size, under = done.stdout.split(maxsplit=1)
    assert 0 < int(size) < 2**30
    assert under.strip() == "under ulimit -v"
