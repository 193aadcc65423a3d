"""The tables of a study as its stages have left them: read again, and held against what they must have."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from transformer_spectrum.runtime.errors import InputError, quoted
from transformer_spectrum.runtime.files import atomic_path, read_json, read_table
from transformer_spectrum.runtime.parsing import parsing
from transformer_spectrum.study.inference.matching import COLUMNS
from transformer_spectrum.study.protocol.cells import PlannedCell

CELLS = ("block", "dataset", "arm", "seed", "training", "status", "validation_mae", "evaluations", "protocol")
PATHS = ("training", "updates", "evaluations", "validation_mae", "distance")
ENDPOINTS = ("block", "protocol", *COLUMNS)
SUMMARY = ("block", "dataset", "arm", "axis", "endpoint", "seeds", "without", "mean", "sd")
CURVES = ("block", "dataset", "arm", "axis", "at", "endpoint", "seeds", "mean", "sd")
"""`at` is a place on the axis, `mean` and `sd` are over the seeds that pass it."""
SPECTRA = ("block", "dataset", "arm", "matrix", "group", "rank", "seeds", "mean", "sd")
"""`matrix` is weights or change, `rank` counts from 1, `mean` and `sd` are over seeds."""
VERDICTS = ("title", "protocol", "standing", "failed_controls", "controls", "contrasts", "axes", "level", "endpoints")


def stored(path: Path, columns: Collection[str], stage: str, *, may_be_empty: bool = False) -> pd.DataFrame:
    """A table of a study.

    Args:
        path: .csv or .parquet.
        columns: that it must have.
        stage: that writes it.
        may_be_empty: whether it may have no row.
    Raises:
        InputError: the file is missing, is no table, lacks a column, or has no row.

    >>> stored(Path("curves.csv"), CURVES, "study-table")
    Traceback (most recent call last):
    transformer_spectrum.runtime.errors.InputError: curves.csv: no such file; run the stage study-table
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; run the stage {stage}")
    again = f"run the stage {stage} again"
    if path.suffix == ".parquet":
        table = read_table(path)
    else:
        with parsing(path, "a readable table", again):
            table = pd.read_csv(path)
    if lacking := [name for name in columns if name not in table]:
        raise InputError(f"{path}: has no column {lacking[0]}; {again}")
    if table.empty and not may_be_empty:
        raise InputError(f"{path}: has no row; {again}")
    return table


def stored_verdicts(path: Path) -> dict[str, Any]:
    """Content of verdicts.json.

    Raises:
        InputError: the file is missing or no JSON, or lacks what the report tells.

    >>> _ = Path("verdicts.json").write_text("{}")
    >>> stored_verdicts(Path("verdicts.json"))
    Traceback (most recent call last):
    transformer_spectrum.runtime.errors.InputError: verdicts.json: has no title; run the stage study-judge again
    """
    content = read_json(path)
    if not isinstance(content, Mapping):
        raise InputError(f"{path}: must be verdicts by their names; run the stage study-judge again")
    if lacking := [name for name in VERDICTS if name not in content]:
        raise InputError(f"{path}: has no {lacking[0]}; run the stage study-judge again")
    return dict(content)


def check_complete(planned: Iterable[PlannedCell], cells: pd.DataFrame, paths: pd.DataFrame, path: Path) -> None:
    """Holds what became of the cells against those of the protocol, and what was trained against its records.

    Args:
        planned: cells of the protocol.
        cells, paths: the tables.
        path: of the cells, for messages.
    Raises:
        InputError: a cell is missing, comes twice or is no cell of the protocol; or a training that is done has no
            record.

    >>> none = pd.DataFrame({name: [] for name in CELLS})
    >>> check_complete([], none, none, Path("cells.csv"))
    """
    expected = {(cell.block, cell.dataset, cell.arm.name, str(cell.seed)) for cell in planned}
    found = list(zip(cells["block"], cells["dataset"], cells["arm"], cells["seed"].astype(str), strict=True))
    again = "run the stage study-run again"
    for cell in sorted(expected.symmetric_difference(found), key=str):
        state = "is missing" if cell in expected else "is no cell of the protocol"
        raise InputError(f"{path}: the cell {quoted('/'.join(map(str, cell)))} {state}; {again}")
    if len(set(found)) < len(found):
        twice = next(cell for cell in found if found.count(cell) > 1)
        raise InputError(f"{path}: the cell {'/'.join(map(str, twice))} comes twice; {again}")
    done = cells[cells["status"] == "done"]
    without = done[~done["training"].isin(paths["training"])]
    if len(without):
        raise InputError(f"{path}: {without['training'].iloc[0]} is done, and has no record in the paths; {again}")


def write_csv_table(path: Path, table: pd.DataFrame) -> None:
    """Writes a table with nine digits of a number, as many as a float32 has.

    >>> write_csv_table(Path("shares.csv"), pd.DataFrame({"share": [1 / 3]}))
    >>> Path("shares.csv").read_text()
    'share\\n0.333333333\\n'
    """
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.9g")
