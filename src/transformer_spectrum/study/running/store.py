"""The folder of a study: what lies where in it, and whether that is what was asked for.

record.json in each result says what it was made from (`request`), what came of it (`outcome`) and the checksum of
every file beside it. A folder gets its name only when it is whole, so a process that is killed leaves none.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from transformer_spectrum.runtime import ownership
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.files import read_json, sha256, write_json
from transformer_spectrum.runtime.replacement import MARK
from transformer_spectrum.study.running.grid import Cell
from transformer_spectrum.study.running.request import Request
from transformer_spectrum.training.resume import difference

RECORD = "record.json"
TABLES = ("table.csv", "families.csv", "cells.csv")
FOLDERS = ("raw", "windows", "trainings", "spectra", "resume", "logs", "figures")
MADE_BY = {"made_by": "transformer-spectrum sweep"}
TEMPORARY = re.compile(rf"\..+\.{MARK}[a-z0-9_]{{8}}")
"""Names of `files.atomic_folder`'s temporary folders."""


class Store:
    """A study's folder.

    Args:
        root: the folder; it is made when something is written.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def raw(self, cell: Cell) -> Path:
        """Raw series of the cell's data set, where they were fetched."""
        return self.root / "raw" / cell.dataset

    def windows(self, cell: Cell) -> Path:
        """The windows that all losses and optimizers of one data set and seed share."""
        return self.root / "windows" / cell.dataset / f"seed_{cell.seed}"

    def training(self, cell: Cell) -> Path:
        return self.root / "trainings" / cell.place

    def spectra(self, cell: Cell) -> Path:
        return self.root / "spectra" / cell.place

    def resume(self, cell: Cell) -> Path:
        """What a stopped training goes on from."""
        return self.root / "resume" / cell.place

    def log(self, *names: str) -> Path:
        """What a process has printed."""
        return self.root.joinpath("logs", *names).with_suffix(".txt")

    def check(self, *, force: bool) -> None:
        """Refuses a folder in which a sweep would write over something that no sweep has written.

        Args:
            force: write over it.
        Raises:
            InputError: the folder is a DVC stage's output or no folder; or, unless forced, holds such a thing.
        """
        option, record = f"--out {self.root}", self.root / ownership.RECORD
        ownership.check_no_stage(option, self.root)
        if os.path.lexists(self.root) and not self.root.is_dir():
            raise InputError(f"{option}: is no folder")
        if force or (not record.exists() and (self.root / ".lock").is_file()):  # a study from before there were records
            return
        ours = ownership.read_record(record)
        strange = [name for name in TABLES if os.path.lexists(self.root / name)]
        strange = [name for name in strange if not ownership.is_own(self.root / name, record)]
        if ours is None or ours.get("made_by") != MADE_BY["made_by"]:
            strange += [name for name in (*FOLDERS, ownership.RECORD) if os.path.lexists(self.root / name)]
        if strange:
            words = f"holds {strange[0]}, which no sweep has written or which was changed since"
            raise InputError(f"{option}: {words}; name another folder, or pass --force to write over it")

    def claim(self) -> None:
        """Marks the folder as a study's, and its tables as written by us."""
        tables = [self.root / name for name in TABLES if (self.root / name).is_file()]
        ownership.write_record(self.root / ownership.RECORD, MADE_BY, tables)

    @contextlib.contextmanager
    def locked(self, *, shared: bool) -> Iterator[None]:
        """Keeps other sweeps out of the folder; shared ones only those that are not.

        Raises:
            InputError: another sweep is at work.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / ".lock").open("w") as stream:
            try:
                fcntl.flock(stream, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(f"{self.root}: another sweep is at work in it") from None
            yield

    @contextlib.contextmanager
    def preparing(self) -> Iterator[None]:
        """Lets one process at a time prepare the data that all share; the others wait."""
        with (self.root / ".preparing").open("w") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield

    def sweep_out(self) -> None:
        """Removes what killed processes have left: hidden temporary folders."""
        for kind in ("raw", "windows", "trainings", "spectra"):
            for leftover in (self.root / kind).rglob(".*"):
                if leftover.is_dir() and TEMPORARY.fullmatch(leftover.name):
                    shutil.rmtree(leftover, ignore_errors=True)


def _checksums(folder: Path) -> dict[str, str]:
    """Relative name -> sha256 of every file in the folder but the record."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != RECORD)
    return {str(path.relative_to(folder)): sha256(path) for path in files}


def write_record(folder: Path, request: Request, outcome: Mapping[str, Any]) -> None:
    """Completes a folder whose other files are written.

    >>> Path("result").mkdir()
    >>> _ = Path("result/a.txt").write_text("content")
    >>> write_record(Path("result"), {"seed": 1}, {"diverged": False})
    >>> fault(Path("result"), {"seed": 1}), fault(Path("result"), {"seed": 2})
    ('', 'of another request: seed was 1, is 2')
    """
    write_json(folder / RECORD, {"request": request, "outcome": dict(outcome), "files": _checksums(folder)})


def read_record(folder: Path) -> dict[str, Any]:
    """The record of a folder that `fault` finds nothing wrong with.

    >>> Path("spectra").mkdir()
    >>> write_record(Path("spectra"), {"seed": 1}, {"diverged": False})
    >>> read_record(Path("spectra"))
    {'request': {'seed': 1}, 'outcome': {'diverged': False}, 'files': {}}
    """
    return read_json(folder / RECORD)


def fault(folder: Path, request: Request, needed: Collection[str] = ()) -> str:
    """Why the folder is not the result that was asked for, one sentence; empty when it is.

    Args:
        folder: of a result.
        request: what it has to be made from.
        needed: files that it has to have, relative; what else its record names has to be whole as well.

    >>> Path("windows").mkdir()
    >>> write_record(Path("windows"), {"seed": 1}, {})
    >>> fault(Path("windows"), {"seed": 1}), fault(Path("windows"), {"seed": 2}), fault(Path("nowhere"), {"seed": 1})
    ('', 'of another request: seed was 1, is 2', 'missing')
    """
    if not (folder / RECORD).is_file():
        return "missing"
    try:
        record = read_json(folder / RECORD)
        parts = earlier, _, files = record["request"], record["outcome"], record["files"]
    except (InputError, KeyError, TypeError):
        return f"{folder / RECORD} is damaged"
    if not all(isinstance(part, dict) for part in parts) or not {*needed} <= files.keys():
        return f"{folder / RECORD} is damaged"
    if earlier != request:
        return f"of another request: {difference(earlier, request)}"
    sums = _checksums(folder)  # what somebody else has put there does not matter
    if names := sorted(name for name in files if sums.get(name) != files[name]):
        return f"{folder / names[0]} is not what was written"
    return ""


def own_names(folder: Path) -> set[str]:
    """What lies directly in a folder with a record and was written by us; see `files.atomic_folder`.

    >>> Path("training").mkdir()
    >>> _ = Path("training/history.npz").touch()
    >>> write_record(Path("training"), {}, {})
    >>> _ = Path("training/notes.txt").touch()  # somebody else's
    >>> sorted(own_names(Path("training")))
    ['history.npz', 'record.json']
    """
    try:
        return {RECORD, *(Path(name).parts[0] for name in read_json(folder / RECORD)["files"])}
    except (InputError, KeyError, TypeError, IndexError, ValueError):
        return {RECORD}
