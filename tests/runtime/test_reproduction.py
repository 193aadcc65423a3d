"""`make repro`: what a killed DVC leaves half-written is put back, and a cache that took nothing is an error."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from waiting import ended, wait_for

from transformer_spectrum.runtime import reproduction
from transformer_spectrum.runtime.errors import InputError

SOURCE = Path(__file__).parents[2] / "src"
PIPELINE = """\
stages:
  first:
    cmd: echo 1 > first.txt
    outs: [first.txt]
  second:
    cmd: cp first.txt second.txt
    deps: [first.txt]
    outs: [second.txt]
  slow:
    cmd: touch begun && sleep 300 && touch slow.txt
    deps: [second.txt]
    outs: [slow.txt]
"""
LOCK = """\
schema: '2.0'
stages:
  first:
    cmd: echo 1 > first.txt
    outs:
    - path: first.txt
      hash: md5
      md5: b026324c6904b2a9cb4b88d6d61c81d1
      size: 2
"""


def dvc(*words, code=0):
    process = subprocess.run([Path(sys.executable).with_name("dvc"), *words], capture_output=True, text=True)
    assert process.returncode == code, process.stdout + process.stderr
    return process.stdout + process.stderr


IDENTITY = {f"GIT_{role}_{name}": "nobody@nowhere" for role in ("AUTHOR", "COMMITTER") for name in ("NAME", "EMAIL")}


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A repository of git and DVC with one commit, made once; nobody changes it."""
    folder = tmp_path_factory.mktemp("begun")
    (folder / "dvc.yaml").write_text(PIPELINE.partition("  slow:")[0])
    dvc = Path(sys.executable).with_name("dvc")
    commands = f"git init --quiet && {dvc} init --quiet && git add --all && git commit --quiet --message begin"
    subprocess.run(commands, shell=True, check=True, cwd=folder, env={**os.environ, **IDENTITY})
    return folder


@pytest.fixture
def repository(begun, tmp_path, monkeypatch):
    """A copy of it, which is the current folder."""
    folder = tmp_path / "repository"
    shutil.copytree(begun, folder)
    monkeypatch.chdir(folder)
    for name, value in IDENTITY.items():
        monkeypatch.setenv(name, value)
    return folder


def repro(*options):
    """(exit code, what is printed) of a call in a process of its own."""
    command = [sys.executable, "-m", "transformer_spectrum.runtime.reproduction", *options]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    process = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    return process.returncode, process.stdout + process.stderr


def test_every_beginning_of_a_lock_file_is_told_from_the_whole_one_after_a_kill(repository, monkeypatch):
    monkeypatch.setattr(reproduction, "SECONDS_BETWEEN_LOOKS", 0)
    copy = repository / ".dvc/tmp/reproduction/dvc.lock"
    copy.parent.mkdir(parents=True)
    copy.write_text(LOCK)
    path = repository / "dvc.lock"
    path.write_text(LOCK)
    assert reproduction.repair(killed=True) == []
    for length in range(len(LOCK)):
        path.write_text(LOCK[:length])
        assert len(reproduction.repair(killed=True)) == 1
        assert path.read_text() == LOCK


def limited(folder):
    """A Python that, with its children, writes no file of more than 100 kB, as on a disk that is full."""
    path = folder / "python"
    path.write_text(f"#!/bin/bash\ntrap '' XFSZ\nulimit -S -f 100\nexec {sys.executable} \"$@\"\n")
    path.chmod(0o755)
    return path


@pytest.mark.slow
def test_a_half_written_lock_file_is_put_back_from_the_copy(repository):
    assert repro()[0] == 0
    whole = (repository / "dvc.lock").read_bytes()
    subprocess.run("git add --all && git commit --quiet --message end", shell=True, check=True)
    for length in (0, len(whole) // 2):  # all others above, without a process
        (repository / "dvc.lock").write_bytes(whole[:length])
        code, printed = repro()
        assert code == 0, printed
        assert "dvc.lock: was half-written by a process that was killed; put back from the copy" in printed
        assert "Running" not in printed  # nothing has to be done again
        assert (repository / "dvc.lock").read_bytes() == whole


def test_without_a_copy_the_commit_has_it(repository):
    (repository / "dvc.lock").write_text(LOCK)
    subprocess.run("git add --all && git commit --quiet --message end", shell=True, check=True)
    (repository / "dvc.lock").write_text(LOCK[:50])
    assert reproduction.repair(killed=False) == [
        "dvc.lock: was half-written by a process that was killed; put back from the commit"
    ]
    assert (repository / "dvc.lock").read_text() == LOCK


def test_without_both_it_is_an_error_that_says_what_to_do(repository):
    (repository / "dvc.lock").write_text(LOCK[:50])
    with pytest.raises(InputError, match=r"dvc\.lock: is not whole, and no copy of it is; remove it"):
        reproduction.repair(killed=False)


def test_a_stage_that_vanished_from_a_lock_file_comes_back_only_after_a_kill(repository):
    copy = repository / ".dvc/tmp/reproduction/dvc.lock"
    copy.parent.mkdir(parents=True)
    copy.write_text(LOCK)
    fewer = "schema: '2.0'\nstages: {}\n"
    (repository / "dvc.lock").write_text(fewer)
    assert reproduction.repair(killed=False) == []  # somebody has checked out an older one
    assert (repository / "dvc.lock").read_text() == fewer
    assert len(reproduction.repair(killed=True)) == 1
    assert (repository / "dvc.lock").read_text() == LOCK


@pytest.mark.parametrize("content", ["", "{", '{"write": {"a": ', "[" * 5000])
def test_a_half_written_lock_of_readers_and_writers_is_removed(repository, content):
    path = repository / ".dvc/tmp/rwlock"
    path.parent.mkdir(exist_ok=True)
    path.write_text("{}")
    assert reproduction.repair(killed=True) == []
    path.write_text(content)
    assert reproduction.repair(killed=True) == [
        ".dvc/tmp/rwlock: was half-written by a process that was killed; removed"
    ]
    assert not path.exists()


@pytest.mark.slow
def test_outputs_that_the_cache_could_not_take_are_an_error(repository, monkeypatch):
    outputs = "      - large: {persist: true}\n"
    command = "ulimit -S -f unlimited; mkdir -p large; head -c 1000000 /dev/zero > large/zeros"
    (repository / "dvc.yaml").write_text(f"stages:\n  first:\n    cmd: {command}\n    outs:\n{outputs}")
    dvc("status", "--quiet", code=1)  # DVC makes its data base here, larger than the limit
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", str(limited(repository)))
        code, printed = repro()
    assert (code, printed.count("failed to transfer")) == (1, 1)  # of DVC, which ends with 0
    assert "repro: large: not in DVC's cache, though dvc ended well; is the disk full?" in printed
    assert reproduction.lost() == ["large"]
    dvc("commit", "--force")
    assert reproduction.lost() == []
    assert repro()[0] == 0
    (repository / ".dvc/cache").rename(repository / "elsewhere")
    shutil.rmtree(repository / "large")
    assert reproduction.lost() == []  # as in a fresh clone, of a stage that was not asked for


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["dvc", "both"])
def test_a_killed_call_is_followed_by_one_that_needs_no_help(repository, victim):
    (repository / "dvc.yaml").write_text(PIPELINE)
    command = [sys.executable, "-m", "transformer_spectrum.runtime.reproduction"]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    process = subprocess.Popen(command, env=environment, start_new_session=True, stderr=subprocess.PIPE, text=True)
    wait_for((repository / "begun").exists, "the last stage does not begin")
    assert repro() == (2, "repro: error: another `make repro` is at work in this folder; wait for its end\n")
    whole, copy = (repository / "dvc.lock").read_text(), repository / reproduction._copy_of("dvc.lock")
    wait_for(lambda: copy.exists() and copy.read_text() == whole, "no copy of it")
    (repository / "dvc.lock").write_text(whole[: len(whole) // 2])  # as if it were being written
    (child,) = psutil.Process(process.pid).children()
    if victim == "both":
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        wait_for(lambda: ended(child), "DVC goes on")
    else:
        child.kill()
        assert process.wait(60) == 128 + signal.SIGKILL
        os.killpg(process.pid, signal.SIGKILL)  # the stage's own command, which goes on without DVC and has stderr open
        assert "repro: dvc was ended by SIGKILL" in process.stderr.read()
        assert (repository / "dvc.lock").read_text() == whole
    (repository / "dvc.yaml").write_text(PIPELINE.replace("sleep 300", "true"))
    code, printed = repro()
    assert code == 0, printed
    assert "Stage 'second' didn't change" in printed
    assert (repository / "slow.txt").exists()
