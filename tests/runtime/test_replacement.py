"""Outputs that belong together: all new or all old, nothing left behind, and nothing incomplete in their place."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from functools import partial, partialmethod
from pathlib import Path

import pytest

from transformer_spectrum.runtime import replacement
from transformer_spectrum.runtime.files import write_json, write_text
from transformer_spectrum.runtime.replacement import atomic_folder, atomic_path, atomic_together


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


OLD = {"a.csv": "old", "a.json": "old", "plots/old.png": "old"}
NEW = {"a.csv": "new", "a.json": "new", "plots/new.png": "new"}


@pytest.fixture
def before(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in OLD.items():
        write_text(tmp_path / name, text)
    return tmp_path


def write_together():
    with atomic_together("a.csv", "a.json", folders=["plots"]) as (table, provenance, plots):
        table.write_text("new")
        write_text(provenance, "new")
        write_text(plots / "new.png", "new")


def test_files_and_folders_that_belong_together_are_all_replaced(before):
    write_together()
    assert files_of(before) == NEW
    assert sorted(os.listdir()) == ["a.csv", "a.json", "plots"]


def test_what_was_not_there_before_is_put_in_place_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_together()
    assert files_of(tmp_path) == NEW


@pytest.mark.parametrize("swap", [True, False], ids=["one step", "a system without that"])
@pytest.mark.parametrize("present", [True, False])
def test_a_failure_at_any_operation_leaves_all_as_it_was(swap, present, before, monkeypatch):
    """Every call that changes the disk fails once, in each order; then all are old, and nothing lies beside them."""
    if not swap:
        monkeypatch.setattr(replacement.ctypes, "CDLL", lambda *given, **named: None)
    if not present:
        for name in ("a.csv", "a.json", "plots"):
            shutil.rmtree(name) if Path(name).is_dir() else Path(name).unlink()
    expected = files_of(before)
    failures = 0
    for number in range(100):
        calls = [0]
        with monkeypatch.context() as patch:
            for owner, name in ((replacement, "_exchange"), (Path, "replace"), (os, "fsync"), (Path, "chmod")):

                def fail(*given, original, calls=calls, number=number):
                    calls[0] += 1
                    if calls[0] == number + 1:
                        raise OSError(28, "No space left on device")
                    return original(*given)

                patch.setattr(
                    owner, name, (partialmethod if owner is Path else partial)(fail, original=getattr(owner, name))
                )
            try:
                write_together()
            except OSError as error:
                failures += 1
                assert error.strerror == "No space left on device"
            else:
                break
        assert files_of(before) == expected
    assert failures >= 6
    assert files_of(before) == NEW


@pytest.mark.slow
def test_a_process_that_is_killed_leaves_each_output_whole_and_the_next_one_nothing_beside_them(before):
    """Killed at every operation in turn, by a signal that nobody can catch."""
    for number in range(1, 100):
        for name in ("a.csv", "a.json", "plots"):
            shutil.rmtree(name) if Path(name).is_dir() else Path(name).unlink()
        for name, text in OLD.items():
            write_text(before / name, text)
        child = os.fork()
        if not child:
            die_at(number)
            write_together()
            os._exit(0)
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        visible = {name: text for name, text in files_of(before).items() if not name.startswith(".")}
        assert [dict(visible.items() & state.items()) for state in (OLD, NEW)].count({}) <= 1
        assert {name.split("/")[0] for name in visible} == {"a.csv", "a.json", "plots"}
        assert len(visible) == 3
        if ended == 0:
            break
        assert ended == -signal.SIGKILL
    assert number > 5
    write_together()
    assert sorted(os.listdir()) == ["a.csv", "a.json", "plots"]


def die_at(number):
    """Kills this process at the so-manyth operation that changes what is on the disk."""
    left = [number]
    for owner, name in ((replacement, "_exchange"), (os, "rename"), (os, "replace"), (os, "fsync"), (os, "unlink")):

        def dying(*given, original, **named):
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*given, **named)

        setattr(owner, name, partial(dying, original=getattr(owner, name)))


@pytest.mark.parametrize("damage", ["removed", "emptied", "removed and written again"])
def test_a_folder_that_vanishes_while_it_is_written_is_noticed_and_the_old_one_stays(damage, before):
    with (
        pytest.raises(FileNotFoundError, match="vanished while it was being written") as caught,
        atomic_folder("plots") as folder,
    ):
        write_text(folder / "first.png", "1")
        shutil.rmtree(folder)
        if damage == "emptied":
            folder.mkdir()
        if damage != "removed":
            write_json(folder / "second.json", 2)
    assert str(caught.value.filename).startswith("plots")
    assert files_of(before) == OLD
    assert sorted(os.listdir()) == ["a.csv", "a.json", "plots"]


def test_a_file_that_is_taken_out_of_a_folder_is_named(before):
    with pytest.raises(FileNotFoundError) as caught, atomic_folder("plots") as folder:
        write_text(folder / "first.png", "1")
        write_text(folder / "second.png", "2")
        (folder / "first.png").unlink()
    assert caught.value.filename == "plots/first.png"
    assert files_of(before) == OLD


def test_another_writer_of_the_same_path_is_left_alone(before):
    with atomic_folder("plots") as first:
        write_text(first / "first.png", "1")
        with atomic_folder("plots") as second:
            write_text(second / "second.png", "2")
    assert os.listdir("plots") == ["first.png"]


@pytest.mark.parametrize("kind", ["a folder where a file is wanted", "a file where a folder is wanted"])
def test_a_folder_is_no_file(kind, before):
    with pytest.raises(OSError, match="directory"):
        if "folder where" in kind:
            with atomic_path("plots") as path:
                path.write_text("x")
        else:
            with atomic_folder("a.csv") as folder:
                write_text(folder / "x", "x")
    assert files_of(before) == OLD


def test_a_hidden_file_of_the_user_is_not_taken_for_a_leftover(before):
    write_text(before / ".plots.settings", "mine")
    write_together()
    assert Path(".plots.settings").read_text() == "mine"


def test_a_scratch_folder_of_a_killed_process_goes_with_the_next_and_one_in_use_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code = (
        "import os, signal\nfrom transformer_spectrum.runtime.replacement import scratch_folder\n"
        "with scratch_folder() as folder:\n    (folder / 'a').touch()\n    os.kill(os.getpid(), signal.SIGKILL)"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    subprocess.run([sys.executable, "-c", code], env=environment, check=False)
    (left,) = tmp_path.iterdir()
    with replacement.scratch_folder() as first, replacement.scratch_folder() as second:
        assert {*tmp_path.iterdir()} == {first, second}
        assert left not in (first, second)
    assert list(tmp_path.iterdir()) == []
