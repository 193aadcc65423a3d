"""Files of series that users bring: .npy, .npz, .csv and .parquet, in the layouts that README.md shows."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from transformer_spectrum.data.series import Series
from transformer_spectrum.data.tables import read_rows
from transformer_spectrum.errors import InputError
from transformer_spectrum.files import atomic_path

SUFFIXES = (".npy", ".npz", ".csv", ".parquet")
ENTITY = ("entity", "series", "unique_id")
TIME = ("time", "date", "step", "ds")
NANOSECONDS_A_DAY = 86_400_000_000_000


def check_suffix(path: Path) -> None:
    """Raises InputError where the file's name has an ending that no layout belongs to."""
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path}: a data set must end in {', '.join(SUFFIXES)}")


@dataclass(frozen=True)
class Axis:
    """The time axis that the series of a file share; position 0 is its origin.

    Attributes:
        dated: whether the file gives dates, or numbers of steps.
        origin: nanoseconds since 1970, or a step.
        unit: of one position, in the same.
    """

    dated: bool = False
    origin: int = 0
    unit: int = 1

    def label(self, position: int) -> str:
        """What the file calls a position: a date, with the time of day where it has one, or a number."""
        at = self.origin + position * self.unit
        if not self.dated:
            return str(at)
        text = pd.Timestamp(at).isoformat()
        return text.removesuffix("T00:00:00") if self.unit % NANOSECONDS_A_DAY == 0 else text


DAYS = Axis(dated=True, origin=0, unit=NANOSECONDS_A_DAY)
"""Of series whose start is counted in days since 1970."""


@dataclass(frozen=True)
class SeriesFile:
    """What a file holds.

    Attributes:
        series: at least one; each starts and ends with a step at which some feature has a value.
        axis: of all of them.
        features: names of the F features.
        empty: entities without any value, which are left out.
    """

    series: list[Series]
    axis: Axis
    features: tuple[str, ...]
    empty: tuple[str, ...]


def read_series_file(path: str | Path) -> SeriesFile:
    """Reads series of any length, NaN or blank where a value is missing.

    .npy: (series, steps) or (series, steps, features). .npz: the same as `series`, or the only array in it, and
    optionally `entities` (series,). .csv and .parquet: long, with a column entity, perhaps one of time, and one for
    each feature; or wide, perhaps with a column of time first, and one for each series. See README.md.

    Raises:
        InputError: the file is missing, of another kind, or breaks its layout; with the place and the rule.
    """
    path = Path(path)
    check_suffix(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    if path.suffix in (".npy", ".npz"):
        return _of_arrays(path, *(_npy(path) if path.suffix == ".npy" else _npz(path)))
    frame = _csv(path) if path.suffix == ".csv" else _parquet(path)
    return _long(path, frame) if _column(frame, ENTITY) else _wide(path, frame)


# -- arrays ------------------------------------------------------------------------------------------------------------
def _npy(path: Path) -> tuple[np.ndarray, None]:
    try:
        return np.load(path, allow_pickle=False), None
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"{path}: not a readable .npy without pickle ({error})") from None


def _npz(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            names = [name for name in archive.files if name != "entities"]
            if "series" not in names and len(names) != 1:
                raise InputError(f"{path}: has {', '.join(names) or 'no array'}; must have `series`, or one array only")
            array = archive["series" if "series" in names else names[0]]
            return array, archive["entities"] if "entities" in archive.files else None
    except InputError:
        raise
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: not a readable .npz without pickle ({error})") from None


def of_array(values: np.ndarray) -> SeriesFile:
    """Series of an array (series, steps, features), finite."""
    width = len(str(len(values) - 1))
    series = [Series(f"{i:0{width}d}", 0, one) for i, one in enumerate(values)]
    return SeriesFile(series, Axis(), _feature_names(values.shape[2]), ())


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
    found = [(name, 0, one) for name, one in zip(names, values, strict=True)]
    return _trimmed(path, found, Axis(), _feature_names(values.shape[2]))


def _trimmed(
    path: Path, found: Sequence[tuple[str, int, np.ndarray]], axis: Axis, features: tuple[str, ...]
) -> SeriesFile:
    """Without the steps before the first and behind the last value of each series."""
    series, empty = [], []
    for name, start, values in found:
        there = np.flatnonzero(np.isfinite(values).any(axis=1))
        if len(there):
            first, last = int(there[0]), int(there[-1])
            series.append(Series(name, start + first, values[first : last + 1]))
        else:
            empty.append(name)
    if not series:
        raise InputError(f"{path}: no series has a value")
    return SeriesFile(series, axis, features, tuple(empty))


# -- tables ------------------------------------------------------------------------------------------------------------
def _csv(path: Path) -> pd.DataFrame:
    def complaint(header: list[str]) -> str | None:
        return None if all(header) and len(set(header)) == len(header) else "every column needs a name of its own"

    header, rows = read_rows(path, str(path), None, complaint)
    return pd.DataFrame(rows, columns=header, dtype=object)


def _parquet(path: Path) -> pd.DataFrame:
    try:
        frame = pd.read_parquet(path)
    except (ValueError, OSError) as error:  # pyarrow's errors are of these kinds
        raise InputError(f"{path}: not a readable .parquet ({' '.join(str(error).split())[:200]})") from None
    named = [name for name in frame.index.names if name is not None]
    frame = frame.reset_index() if named else frame
    frame.columns = [str(name) for name in frame.columns]
    if frame.empty or frame.columns.duplicated().any():
        raise InputError(f"{path}: needs rows, and columns each with a name of its own")
    return frame


def _column(frame: pd.DataFrame, names: Sequence[str]) -> str | None:
    return next((column for column in frame.columns if column.lower() in names), None)


def _numbers(path: Path, frame: pd.DataFrame, columns: Sequence[str]) -> np.ndarray:
    """(rows, columns) float64, NaN where blank."""
    made = np.empty((len(frame), len(columns)))
    for i, name in enumerate(columns):
        cells = frame[name]
        blank = cells.isna() | (cells.astype(str).str.strip() == "")
        numbers = pd.to_numeric(cells.where(~blank, np.nan), errors="coerce").to_numpy(np.float64)
        wrong = ~np.isfinite(numbers) & ~blank.to_numpy()
        wrong &= cells.astype(str).str.strip().str.lower().ne("nan").to_numpy()
        if wrong.any():
            row = int(np.argmax(wrong))
            rule = "must be blank or a finite number"
            raise InputError(f"{path}: row {row + 1}: {name} = {str(cells.iloc[row])[:40]!r}; {rule}")
        made[:, i] = numbers
    return made


def _times(path: Path, cells: pd.Series) -> tuple[np.ndarray, bool]:
    """(rows,) int64 steps, or nanoseconds since 1970, and whether these are dates."""
    numbers = pd.to_numeric(cells, errors="coerce") if cells.dtype.kind != "M" else pd.Series([np.nan])
    if numbers.notna().all():
        steps = numbers.to_numpy(np.float64)
        if not (np.isfinite(steps) & (steps == np.round(steps))).all():
            raise InputError(f"{path}: {cells.name}: numbers of steps must be whole")
        return steps.astype(np.int64), False
    try:
        dates = pd.to_datetime(cells, format="ISO8601" if cells.dtype == object else None, errors="coerce", utc=True)
    except (ValueError, OverflowError) as error:
        raise InputError(f"{path}: {cells.name}: {error}") from None
    if dates.isna().any():
        row = int(np.argmax(dates.isna()))
        raise InputError(
            f"{path}: row {row + 1}: {cells.name} = {str(cells.iloc[row])[:40]!r}; must be a date such as 2022-01-31, "
            "or a whole number"
        )
    return dates.dt.tz_localize(None).astype("datetime64[ns]").astype(np.int64).to_numpy(), True


def _axis(times: np.ndarray, dated: bool) -> Axis:
    """The coarsest axis on which all times lie."""
    origin = int(times.min())
    unit = int(np.gcd.reduce(np.unique(times - origin)))
    return Axis(dated, origin, unit or (NANOSECONDS_A_DAY if dated else 1))


def _placed(path: Path, name: str, times: np.ndarray, values: np.ndarray, axis: Axis) -> tuple[str, int, np.ndarray]:
    """Rows in the order of time, NaN at the steps that are skipped."""
    positions = (times - axis.origin) // axis.unit
    if len(np.unique(positions)) < len(positions):
        seen, counts = np.unique(positions, return_counts=True)
        twice = axis.label(int(seen[np.argmax(counts > 1)]))
        raise InputError(f"{path}: {name} has {twice} twice; each time may come once")
    start, length = int(positions.min()), int(np.ptp(positions)) + 1
    if length > 1000 * len(positions) + 1000:
        raise InputError(f"{path}: {name} has {len(positions)} values over {length} steps; times must be regular")
    whole = np.full((length, values.shape[1]), np.nan)
    whole[positions - start] = values
    return name, start, whole


def _long(path: Path, frame: pd.DataFrame) -> SeriesFile:
    entity, time = _column(frame, ENTITY), _column(frame, TIME)
    features = [name for name in frame.columns if name not in (entity, time)]
    if not features:
        raise InputError(f"{path}: a long table needs a column of values beside {entity}")
    values = _numbers(path, frame, features)
    names = frame[entity].astype(str).to_numpy()
    if frame[entity].isna().any() or (names == "").any():
        raise InputError(f"{path}: row {int(np.argmax(frame[entity].isna() | (names == ''))) + 1}: {entity} is blank")
    blocks = {name: np.flatnonzero(names == name) for name in dict.fromkeys(names.tolist())}
    if time is None:  # each series from 0, in the order of its rows
        times, axis = np.empty(len(frame), dtype=np.int64), Axis()
        for rows in blocks.values():
            times[rows] = np.arange(len(rows))
    else:
        times, dated = _times(path, frame[time])
        axis = _axis(times, dated)
    found = [_placed(path, name, times[rows], values[rows], axis) for name, rows in blocks.items()]
    return _trimmed(path, found, axis, tuple(features))


def _wide(path: Path, frame: pd.DataFrame) -> SeriesFile:
    time = frame.columns[0] if frame.columns[0].lower() in TIME else None
    names = [name for name in frame.columns if name != time]
    if not names:
        raise InputError(f"{path}: a wide table needs a column of values for each series beside {time}")
    values = _numbers(path, frame, names)
    times, dated = (np.arange(len(frame)), False) if time is None else _times(path, frame[time])
    axis = _axis(times, dated)
    found = [_placed(path, name, times, values[:, [i]], axis) for i, name in enumerate(names)]
    return _trimmed(path, found, axis, ("value",))


# -- writing -----------------------------------------------------------------------------------------------------------
def write_series_file(path: str | Path, held: SeriesFile) -> None:
    """Writes series atomically so that `read_series_file` gives them back: arrays padded with NaN to a common axis,
    tables long.

    Raises:
        InputError: the file's name has another ending.
        OSError: the disk is full or the folder is not writable.
    """
    path = Path(path)
    check_suffix(path)
    with atomic_path(path) as temporary:
        if path.suffix in (".npy", ".npz"):
            array, entities = _padded(held.series), np.array([one.entity for one in held.series])
            with temporary.open("wb") as stream:
                if path.suffix == ".npy":
                    np.save(stream, array, allow_pickle=False)
                else:
                    np.savez_compressed(stream, allow_pickle=False, series=array, entities=entities)
        else:
            frame = _frame(held)
            if path.suffix == ".csv":
                frame.to_csv(temporary, index=False, lineterminator="\n")
            else:
                frame.to_parquet(temporary, index=False)


def _padded(series: Sequence[Series]) -> np.ndarray:
    """(n, T, F) over the axis from the first start to the last end."""
    begin = min(one.start for one in series)
    end = max(one.start + len(one.values) for one in series)
    array = np.full((len(series), end - begin, series[0].values.shape[1]), np.nan)
    for row, one in zip(array, series, strict=True):
        row[one.start - begin : one.start - begin + len(one.values)] = one.values
    return array


def _frame(held: SeriesFile) -> pd.DataFrame:
    blocks = []
    for one in held.series:
        labels = [held.axis.label(one.start + i) for i in range(len(one.values))]
        columns = {name: one.values[:, i] for i, name in enumerate(held.features)}
        blocks.append(pd.DataFrame({"entity": one.entity, "date" if held.axis.dated else "step": labels, **columns}))
    frame = pd.concat(blocks, ignore_index=True)
    return frame if held.axis.dated else frame.astype({"step": np.int64})
