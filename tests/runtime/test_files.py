"""Files are either the old one or the whole new one."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from transformer_spectrum.runtime import files
from transformer_spectrum.runtime.errors import InputError


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), files.atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_failed_folder_leaves_the_old_folder_and_no_litter(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "old").write_text("old")
    with pytest.raises(RuntimeError), files.atomic_folder(folder) as temporary:
        (temporary / "new").write_text("half")
        raise RuntimeError
    assert os.listdir(tmp_path) == ["out"]
    assert os.listdir(folder) == ["old"]


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "old").write_text("old")
    with files.atomic_folder(folder) as temporary:
        (temporary / "new").write_text("new")
    assert os.listdir(folder) == ["new"]
    assert os.listdir(tmp_path) == ["out"]


FULL_DISK = """
import sys
from pathlib import Path
from transformer_spectrum.runtime.errors import one_line_errors
from transformer_spectrum.runtime.files import write_text
with one_line_errors("stage"):
    write_text(sys.argv[1], "x" * 100_000)
"""


def test_what_others_have_put_into_a_folder_stays_where_the_writer_names_its_own(tmp_path):
    folder, link = tmp_path / "folder", tmp_path / "link"
    (folder / "deep").mkdir(parents=True)
    link.symlink_to("folder")
    for name in ("a", "stale", "mine", "deep/mine"):
        (folder / name).write_text(name)
    (folder / "pointer").symlink_to("nowhere")
    inode = (folder / "mine").stat().st_ino
    with files.atomic_folder(link, own=("a", "stale")) as inside:
        (inside / "a").write_text("new")
    assert sorted(path.name for path in folder.iterdir()) == ["a", "deep", "mine", "pointer"]
    assert [(folder / name).read_text() for name in ("a", "mine", "deep/mine")] == ["new", "mine", "deep/mine"]
    assert (folder / "mine").stat().st_ino == inode
    assert (folder / "pointer").readlink() == Path("nowhere")
    assert link.readlink() == Path("folder")
    with pytest.raises(KeyError), files.atomic_folder(folder, own=()) as inside:
        raise KeyError
    assert (folder / "mine").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "link"]


def test_a_full_disk_is_one_line_with_the_file_and_exit_code_2(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    ended = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(files.__file__).parents[2])},
        # A write past the limit fails as on a full disk (with SIGXFSZ ignored, as Python does).
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000)),
    )
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert str(path) in ended.stderr
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_the_same_arrays_give_the_same_bytes(tmp_path):
    arrays = {"a": np.arange(5.0), "b": np.array(["x", "yz"])}
    for name in ("one.npz", "two.npz"):
        files.write_arrays(tmp_path / name, arrays)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    again = files.read_arrays(tmp_path / "one.npz", ["a", "b"])
    np.testing.assert_array_equal(again["a"], arrays["a"])
    assert again["b"].tolist() == ["x", "yz"]


@pytest.mark.parametrize("damage", ["missing", "empty", "text", "cut", "flipped", "other"])
def test_arrays_that_cannot_be_read_are_named_in_one_line(damage, tmp_path):
    path = tmp_path / "a.npz"
    files.write_arrays(path, {"a": np.random.default_rng(0).normal(size=1000)})
    whole = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "other":
        files.write_arrays(path, {"b": np.zeros(1)})
    else:
        middle = len(whole) // 2
        flipped = whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :]
        path.write_bytes({"empty": b"", "text": b"no zip", "cut": whole[:-30], "flipped": flipped}[damage])
    with pytest.raises(InputError) as caught:
        files.read_arrays(path, ["a"])
    assert str(path) in str(caught.value)


def test_pickled_arrays_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, a=np.array([{}], dtype=object))
    with pytest.raises(InputError):
        files.read_arrays(path, ["a"])


@pytest.mark.parametrize("content", [None, "{", "\udcff"])
def test_json_that_cannot_be_read_is_named(content, tmp_path):
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=r"a\.json"):
        files.read_json(path)


def test_json_never_holds_a_nan(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "a.json", {"a": float("nan")})
    assert os.listdir(tmp_path) == []


def test_csv_floats_keep_seven_digits(tmp_path):
    files.write_csv(tmp_path / "a.csv", ["a", "b"], [[1 / 3, "x"], [2, np.float64(1e-9)]])
    assert (tmp_path / "a.csv").read_text() == "a,b\n0.3333333,x\n2,1e-09\n"


def test_a_table_comes_back_with_its_types_and_the_same_table_has_the_same_bytes(tmp_path):
    table = pd.DataFrame(
        {
            "name": pd.Categorical(["b", "a", "b"], categories=["b", "a"]),
            "step": [0, 1, 2],
            "value": [0.1, np.nan, 1 / 3],
            "reason": ["", "zero matrix", ""],
        }
    )
    for name in ("a.parquet", "b.parquet"):
        files.write_table(tmp_path / name, table)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    pd.testing.assert_frame_equal(files.read_table(tmp_path / "a.parquet"), table, check_exact=True)
    assert sorted(os.listdir(tmp_path)) == ["a.parquet", "b.parquet"]


@pytest.mark.parametrize(("content", "words"), [(None, "no such file"), (b"step,value", "not a readable Parquet file")])
def test_a_table_that_cannot_be_read_is_named(tmp_path, content, words):
    path = tmp_path / "a.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=f"{path}: {words}"):
        files.read_table(path)
