"""What reading a file of series takes of the memory, before it is read: one that cannot fit is refused.

`benchmarks/memory_of_data.py` holds the numbers against measured peaks; benchmarks/RESULTS.md has the table.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import pyarrow.parquet

from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.memory import Footprint, Free, MemoryPart, free_memory
from transformer_spectrum.runtime.parsing import parsing

SAMPLE = 2**20
"""Bytes of a CSV whose cells are counted."""
OF_CELL, OF_BYTE = 110, 4
"""Bytes of memory for a cell of a CSV, which is text at first, and for a byte of it."""
OF_TEXT, OF_NUMBER = 100, 30
"""Bytes of memory for a cell of Parquet."""
OF_ARRAY = 2.2
"""Times the bytes of an array that are held."""
SMALLER = "the file smaller, or write it as .npy, which takes least"


def file_footprint(path: Path) -> Footprint:
    """Memory that reading a file of series takes at its peak, about, by its size and what its first part shows.

    Args:
        path: .csv, .parquet, .npy or .npz. One that cannot be read counts for nothing: who reads it says what is wrong.

    >>> Path("series.csv").write_text("day,cases\\n" + "2022-01-01,3\\n" * 1000)
    13010
    >>> round(file_footprint(Path("series.csv")).size / 1000)  # 2,002 cells
    272
    """
    try:
        with parsing(path, "a readable file"):
            taken = _taken(path)
    except (InputError, OSError):  # the reader meets it again, and says what is wrong
        taken = 0.0
    return Footprint(0, {"its cells": MemoryPart(taken, SMALLER)})


def _taken(path: Path) -> float:
    size = path.stat().st_size
    if path.suffix == ".csv":
        with path.open("rb") as file:
            sample = file.read(SAMPLE)
        cells = (sample.count(b",") + sample.count(b"\n")) * size / max(1, len(sample))
        return OF_CELL * cells + OF_BYTE * size
    if path.suffix == ".parquet":
        content = pyarrow.parquet.read_metadata(path)
        types = [content.schema.column(i).physical_type for i in range(content.num_columns)]
        groups = [content.row_group(i) for i in range(content.num_row_groups)]  # a cell of lists has many values
        values = [sum(group.column(i).num_values for group in groups) for i in range(content.num_columns)]
        return sum(
            count * (OF_TEXT if kind == "BYTE_ARRAY" else OF_NUMBER) for count, kind in zip(values, types, strict=True)
        )
    if path.suffix == ".npz":
        with zipfile.ZipFile(path) as archive:
            return OF_ARRAY * sum(member.file_size for member in archive.infolist())
    return OF_ARRAY * size


def check_file_fits(path: Path, free: Free | None = None) -> None:
    """Meets a file that the memory cannot hold, before it is read.

    Args:
        path: see `file_footprint`.
        free: memory of the machine; None = what this process may still take.
    Raises:
        InputError: it does not fit; says what to change.

    >>> Path("series.csv").write_text("day,cases\\n" + "2022-01-01,3\\n" * 9000)
    117010
    >>> check_file_fits(Path("series.csv"), Free(2**20, "of this machine"))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    transformer_spectrum.runtime.errors.InputError: series.csv: reading it would take about 2 MiB, and 1 MiB are ...
    """
    refusal = file_footprint(path).refusal(free or free_memory())
    if refusal:
        raise InputError(f"{path}: reading it {refusal}")
