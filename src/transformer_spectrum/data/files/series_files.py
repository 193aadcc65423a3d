"""Files of series that users bring: .npy, .npz, .csv and .parquet, in the layouts that docs/howto/data.md shows."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from transformer_spectrum.data.files.column_roles import ChosenColumns
from transformer_spectrum.data.files.footprint import check_file_fits
from transformer_spectrum.data.files.series_tables import Reading, read_table
from transformer_spectrum.data.files.time_axis import DAYS, TimeAxis
from transformer_spectrum.data.series.csv_text import read_rows
from transformer_spectrum.data.series.entity_series import Series
from transformer_spectrum.runtime.errors import InputError, shortened
from transformer_spectrum.runtime.files import atomic_path
from transformer_spectrum.runtime.parsing import parsing, read_npy

__all__ = [
    "DAYS",
    "ChosenColumns",
    "SeriesFile",
    "TimeAxis",
    "check_suffix",
    "of_array",
    "read_series_file",
    "write_series_file",
]

CELL_OF_VALUES = r"[+-]?\d*\.?\d+(?:[eE][+-]?\d+)?|\d{4}-\d\d-\d\d.*"
"""A number or a date, which no column is called where all of them are, unless they are counted."""
SUFFIXES = (".npy", ".npz", ".csv", ".parquet")
UNNAMED = "Unnamed: 0"  # what pandas calls a first column without a name, such as the index that it has written


def check_suffix(path: Path) -> None:
    """Raises InputError where the file's name has an ending that no layout belongs to.

    >>> check_suffix(Path("cases.xlsx"))
    Traceback (most recent call last):
    transformer_spectrum.runtime.errors.InputError: cases.xlsx: a data set must end in .npy, .npz, .csv, .parquet
    """
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path}: a data set must end in {', '.join(SUFFIXES)}")


@dataclass(frozen=True)
class SeriesFile:
    """What a file holds.

    Attributes:
        series: at least one; each starts and ends with a step at which some feature has a value.
        axis: of all of them.
        features: names of the F features.
        empty: entities without any value, which are left out.
        reading: as what the columns of a table were taken; None for arrays.
    """

    series: list[Series]
    axis: TimeAxis
    features: tuple[str, ...]
    empty: tuple[str, ...]
    reading: Reading | None = None


def read_series_file(path: str | Path, columns: ChosenColumns | None = None) -> SeriesFile:
    """Reads series of any length, NaN or blank where a value is missing.

    .npy: (series, steps) or (series, steps, features). .npz: the same as `series`, or the only array in it, and
    optionally `entities` (series,). .csv and .parquet: long, with a column that tells the series apart, perhaps one of
    time, and one for each feature; or wide, perhaps with a column of time, and one for each series. See
    docs/howto/data.md.

    Args:
        path: the file.
        columns: of a table, those that are not to be recognised; None = all are.
    Returns:
        The series, on one axis of time; rows are put in its order.
    Raises:
        InputError: the file is missing, of another kind, larger than the memory allows, breaks its layout, or does not
            say for certain which column is time, which the entity, which a value; with the place, the rule and the
            option.

    >>> np.save("series.npy", [[1.0, 2.0, 3.0], [np.nan, 5.0, 6.0]])
    >>> [series.values.ravel().tolist() for series in read_series_file("series.npy").series]
    [[1.0, 2.0, 3.0], [5.0, 6.0]]
    """
    path, columns = Path(path), columns or ChosenColumns()
    check_suffix(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    check_file_fits(path)
    if path.suffix in (".npy", ".npz"):
        for option, name in columns.named():
            raise InputError(f"{path}: {option} = {name}: an array has no columns")
        return _of_arrays(path, *(_npy(path) if path.suffix == ".npy" else _npz(path)))
    table = read_table(path, _csv(path) if path.suffix == ".csv" else _parquet(path), columns)
    content = _trimmed(path, table.placed, table.axis, table.features)
    return dataclasses.replace(content, reading=table.reading)


# -- arrays ------------------------------------------------------------------------------------------------------------
def _npy(path: Path) -> tuple[np.ndarray, None]:
    return read_npy(path), None


def _npz(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    with parsing(path, "a readable .npz without pickle"), np.load(path, allow_pickle=False) as archive:
        names = [name for name in archive.files if name != "entities"]
        if "series" not in names and len(names) != 1:
            listed = shortened(", ".join(names)) or "no array"
            raise InputError(f"{path}: has {listed}; must have `series`, or one array only")
        array = archive["series" if "series" in names else names[0]]
        entities = archive["entities"] if "entities" in archive.files else None
        if not isinstance(array, np.ndarray) or not isinstance(entities, np.ndarray | None):
            raise InputError(f"{path}: holds what is no array")
        return array, entities


def of_array(values: np.ndarray) -> SeriesFile:
    """Series of an array (series, steps, features), finite.

    >>> content = of_array(np.zeros((2, 5, 1)))
    >>> [entity_series.entity for entity_series in content.series], content.features
    (['0', '1'], ('value',))
    """
    width = len(str(len(values) - 1))
    series = [Series(f"{i:0{width}d}", 0, steps) for i, steps in enumerate(values)]
    return SeriesFile(series, TimeAxis(), _feature_names(values.shape[2]), ())


def _feature_names(count: int) -> tuple[str, ...]:
    return ("value",) if count == 1 else tuple(f"value_{i}" for i in range(count))


def _of_arrays(path: Path, array: np.ndarray, entities: np.ndarray | None) -> SeriesFile:
    if array.dtype.kind not in "iuf":
        raise InputError(f"{path}: an array of {array.dtype}; must be of numbers")
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise InputError(f"{path}: shape {array.shape}; must be (series, steps) or (series, steps, features)")
    values = array.astype(np.float64).reshape(*array.shape[:2], -1)
    if np.isinf(values).any():
        raise InputError(f"{path}: infinite values; missing ones must be NaN")
    if entities is None:
        width = len(str(len(values) - 1))
        names = [f"{i:0{width}d}" for i in range(len(values))]
    else:
        names = [str(name) for name in entities.ravel()]
        if len(names) != len(values) or len(set(names)) < len(names):
            raise InputError(f"{path}: {len(names)} entities for {len(values)} series; each needs a name of its own")
    placed = [(name, 0, steps) for name, steps in zip(names, values, strict=True)]
    return _trimmed(path, placed, TimeAxis(), _feature_names(values.shape[2]))


def _trimmed(
    path: Path, placed: Sequence[tuple[str, int, np.ndarray]], axis: TimeAxis, features: tuple[str, ...]
) -> SeriesFile:
    """Without the steps before the first and behind the last value of each series."""
    series, empty = [], []
    for name, start, values in placed:
        present = np.flatnonzero(np.isfinite(values).any(axis=1))
        if len(present):
            first, last = int(present[0]), int(present[-1])
            series.append(Series(name, start + first, values[first : last + 1]))
        else:
            empty.append(name)
    if not series:
        raise InputError(f"{path}: no series has a value")
    return SeriesFile(series, axis, features, tuple(empty))


# -- tables ------------------------------------------------------------------------------------------------------------
def _csv(path: Path) -> pd.DataFrame:
    def complaint(header: list[str]) -> str | None:
        header = [name.strip() for name in header]
        if not (all(header[1:]) and len(set(header)) == len(header)):
            return "every column needs a name of its own"
        if all(re.fullmatch(CELL_OF_VALUES, name) for name in header) and not all(map(str.isdigit, header)):
            return f"its first line, {shortened(','.join(header))}, must be the names of the columns"
        sign = next((sign for sign in (";", "\t") if len(header) == 1 and sign in header[0]), None)
        return None if sign is None else f"its columns stand between {sign!r}; must be commas"

    header, rows = read_rows(path, str(path), None, complaint)
    columns = [name.strip() for name in header]
    return pd.DataFrame(rows, columns=[columns[0] or UNNAMED, *columns[1:]], dtype=object)


def _parquet(path: Path) -> pd.DataFrame:
    with parsing(path, "a readable .parquet"):
        frame = pd.read_parquet(path)
    frame = _with_index(frame)
    frame.columns = [str(name) for name in frame.columns]
    if frame.empty or frame.columns.duplicated().any():
        raise InputError(f"{path}: needs rows, and columns each with a name of its own")
    objects = [str(name) for name, dtype in frame.dtypes.items() if dtype.kind == "O"]
    for name in objects:  # some programs write text as bytes
        cells = frame[name]
        frame[name] = cells.map(lambda cell: cell.decode(errors="replace") if isinstance(cell, bytes) else cell)
    return frame


def _with_index(frame: pd.DataFrame) -> pd.DataFrame:
    """The index as columns, unless it only counts the rows."""
    if isinstance(frame.index, pd.RangeIndex) and frame.index.name is None:
        return frame
    names = [UNNAMED.replace("0", str(i)) if name is None else name for i, name in enumerate(frame.index.names)]
    taken = [name for name in names if name in frame.columns]
    return frame.reset_index(drop=True) if taken else frame.reset_index(names=names)


# -- writing -----------------------------------------------------------------------------------------------------------
def write_series_file(path: str | Path, content: SeriesFile) -> None:
    """Writes series atomically so that `read_series_file` gives them back: arrays padded with NaN to a common axis,
    tables long.

    Raises:
        InputError: the file's name has another ending.
        OSError: the disk is full or the folder is not writable.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_series_file(Path(folder) / "series.csv", of_array(np.ones((2, 3, 1))))
    ...     len(read_series_file(Path(folder) / "series.csv").series)
    2
    """
    path = Path(path)
    check_suffix(path)
    with atomic_path(path) as temporary:
        if path.suffix in (".npy", ".npz"):
            array, entities = (
                _padded(content.series),
                np.array([entity_series.entity for entity_series in content.series]),
            )
            with temporary.open("wb") as stream:
                if path.suffix == ".npy":
                    np.save(stream, array, allow_pickle=False)
                else:
                    np.savez_compressed(stream, allow_pickle=False, series=array, entities=entities)
        else:
            frame = _frame(content)
            if path.suffix == ".csv":
                frame.to_csv(temporary, index=False, lineterminator="\n")
            else:
                frame.to_parquet(temporary, index=False)


def _padded(series: Sequence[Series]) -> np.ndarray:
    """(n, T, F) over the axis from the first start to the last end."""
    begin = min(entity_series.start for entity_series in series)
    end = max(entity_series.start + len(entity_series.values) for entity_series in series)
    array = np.full((len(series), end - begin, series[0].values.shape[1]), np.nan)
    for row, entity_series in zip(array, series, strict=True):
        row[entity_series.start - begin : entity_series.start - begin + len(entity_series.values)] = (
            entity_series.values
        )
    return array


def _frame(content: SeriesFile) -> pd.DataFrame:
    """One row for each step, under the names that the file had which was read."""
    entity, time = "entity", "date" if content.axis.dated else "step"
    if content.reading is not None:
        entity = content.reading.entity or entity
        time = content.reading.time[0] if len(content.reading.time) == 1 else time
    blocks = []
    for entity_series in content.series:
        cells = [content.axis.cell(entity_series.start + i) for i in range(len(entity_series.values))]
        columns = {name: entity_series.values[:, i] for i, name in enumerate(content.features)}
        blocks.append(pd.DataFrame({entity: entity_series.entity, time: cells, **columns}))
    return pd.concat(blocks, ignore_index=True)
