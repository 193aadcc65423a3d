"""The cells of a column of time, whatever way they are written -> numbers, or nanoseconds since 1970."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from transformer_spectrum.data.files.time_axis import Notation
from transformer_spectrum.runtime.errors import InputError

BLANK = ["nan", "NaN", "NAN", "NA", "\t", *(" " * length for length in range(9))]
REMEDY = "or name the column of time by --time-column"


@dataclass(frozen=True)
class Times:
    """The times of n rows.

    Attributes:
        values: (n,) int64, whole numbers, or nanoseconds since 1970 by the clock on the wall.
        dated: which of them.
        name: of the way they are written, for messages.
        notation: how to write them; None = as ISO dates or whole numbers.
        instants: (n,) int64 nanoseconds since 1970 UTC, where the file gives offsets or a time zone; else None.
        zone: of the wall's clock, where the file names it.

    >>> Times(np.array([2020, 2021]), dated=False, name="years").notation is None
    True
    """

    values: np.ndarray
    dated: bool
    name: str
    notation: Notation | None = None
    instants: np.ndarray | None = None
    zone: str | None = None


def words(name: str) -> list[str]:
    """The words of a column's name, in lower case: "reportDate (UTC)" -> ["report", "date", "utc"].

    >>> words("reportDate (UTC)"), words("GDPGrowth2020")
    (['report', 'date', 'utc'], ['gdp', 'growth', '2020'])
    """
    return [word.lower() for word in re.findall(r"[A-Z]?[^\W\d_A-Z]+|[A-Z]+(?![^\W\d_A-Z])|\d+", name)]


def blank_cells(cells: pd.Series) -> np.ndarray:
    """(rows,) whether a cell is empty or missing.

    >>> blank_cells(pd.Series(["1", " ", None, "NA", "0"])).tolist()
    [False, True, True, True, False]
    """
    missing = cells.isna().to_numpy(bool)
    return missing if cells.dtype.kind in "biufcmM" else missing | cells.isin(BLANK).to_numpy(bool)


def as_numbers(cells: pd.Series) -> np.ndarray | None:
    """(rows,) float64, NaN where blank; None unless all others are numbers.

    >>> as_numbers(pd.Series(["1", "", "2.5"])).tolist(), as_numbers(pd.Series(["1", "two"]))
    ([1.0, nan, 2.5], None)
    """
    if cells.dtype.kind in "mM" or isinstance(cells.dtype, pd.PeriodDtype):
        return None
    blank = blank_cells(cells)
    if not blank.all() and not _is_number(cells.iloc[int(np.argmin(blank))]):
        return None  # the first tells most columns of text
    try:
        numbers = pd.to_numeric(cells.where(~blank, np.nan), errors="coerce").to_numpy(np.float64, na_value=np.nan)
    except (TypeError, ValueError):
        return None
    return None if (np.isnan(numbers) & ~blank).any() else numbers


def _is_number(cell: object) -> bool:
    try:
        float(str(cell))
    except ValueError:
        return False
    return True


def nanoseconds(dates: pd.Series | pd.DatetimeIndex) -> np.ndarray:
    """(rows,) int64 since 1970 of dates without a zone.

    >>> nanoseconds(pd.DatetimeIndex(["1970-01-02"])).tolist()
    [86400000000000]
    """
    return pd.DatetimeIndex(dates).as_unit("ns").asi8


def complain(place: str, cells: pd.Series, wrong: np.ndarray, rule: str) -> InputError:
    """Names the first row that is wrong.

    >>> complain("cases.csv", pd.Series(["2022", "x"], name="date"), np.array([False, True]), "must be a year").args[0]
    "cases.csv: row 2: date = 'x'; must be a year"
    """
    row = int(np.argmax(wrong))
    return InputError(f"{place}: row {row + 1}: {cells.name} = {str(cells.iloc[row])[:40]!r}; {rule}")
