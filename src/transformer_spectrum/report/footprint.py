"""What the report of a run takes of the memory, before its tables are read: one that cannot fit is refused.

`benchmarks/memory_of_data.py` holds the numbers against measured peaks; benchmarks/RESULTS.md has the table.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet

from transformer_spectrum.report.run import CURVES, LONG_TABLES
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.memory import Footprint, Free, MemoryPart, free_memory
from transformer_spectrum.runtime.parsing import parsing

BASE = 60 * 2**20
"""Bytes of a page with next to nothing in it: libraries, templates, scripts."""
OF_BYTE, OF_CELL = 10, 20
"""Bytes of memory for a byte of plots/*.csv, as read, drawn and written into the page, and for a cell of Parquet."""
FEWER = "training.record_every larger, for fewer records"


def report_footprint(root: Path = Path()) -> Footprint:
    """Memory that reading a run and writing its page takes at its peak, about, by the sizes of its tables.

    Args:
        root: the repository. A table that is missing or broken counts for nothing: who reads it says what is wrong.

    >>> round(report_footprint(Path("nowhere")).size / 2**20)
    60
    """
    curves = [root / f"plots/{name}.csv" for name in CURVES]
    text = sum(path.stat().st_size for path in curves if path.is_file())
    cells = sum(_cells(root / f"metrics/{name}.parquet") for name in LONG_TABLES)
    return Footprint(
        0,
        {
            "the program": MemoryPart(BASE, "more room"),
            "curves": MemoryPart(OF_BYTE * text, FEWER),
            "long tables": MemoryPart(OF_CELL * cells, "spectra.tracked_at_most smaller"),
        },
    )


def _cells(path: Path) -> int:
    try:
        with parsing(path, "a readable table"):
            content = pyarrow.parquet.read_metadata(path)
    except (InputError, OSError):
        return 0
    return int(content.num_rows * content.num_columns)


def check_report_fits(root: Path = Path(), free: Free | None = None) -> None:
    """Meets a report that the memory cannot hold, before its tables are read.

    Args:
        root: the repository.
        free: memory of the machine; None = what this process may still take.
    Raises:
        InputError: it does not fit; says what to change.

    >>> check_report_fits(Path("nowhere"), Free(2**20, "of this machine"))
    Traceback (most recent call last):
    transformer_spectrum.runtime.errors.InputError: the report would take about 60 MiB, and 1 MiB are free of this \
machine; 60 MiB of it are the program: make more room
    """
    refusal = report_footprint(root).refusal(free or free_memory())
    if refusal:
        raise InputError(f"the report {refusal}")
