"""Dates that are written as one number: YYYYMMDD, YYYYMM, YYYYWW, YYYYQ and their kin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

CALENDAR_YEARS = (1800, 2200)


@dataclass(frozen=True)
class Digits:
    """A way of writing a date as one number.

    Attributes:
        name: such as "YYYYMMDD".
        tail: digits behind the year.
        read: (n,) int64 -> dates, NaT where one is none.
        write: nanoseconds -> the number.

    >>> YEAR_MONTH.holds(np.array([202201, 202212])), YEAR_MONTH.read(np.array([202201, 202213])).isna().tolist()
    (True, [False, True])
    """

    name: str
    tail: int
    read: Callable[[np.ndarray], pd.DatetimeIndex]
    write: Callable[[int], int]

    def holds(self, numbers: np.ndarray) -> bool:
        """Whether all are of its size."""
        low, high = (year * 10**self.tail for year in CALENDAR_YEARS)
        return bool(((numbers >= low) & (numbers < high)).all())


def _by(pattern: str) -> tuple[Callable[[np.ndarray], pd.DatetimeIndex], Callable[[int], int]]:
    def read(numbers: np.ndarray) -> pd.DatetimeIndex:
        return pd.DatetimeIndex(pd.to_datetime(pd.Series(numbers).astype(str), format=pattern, errors="coerce"))

    return read, lambda value: int(pd.Timestamp(value).strftime(pattern))


def monday_of(years: np.ndarray, weeks: np.ndarray) -> pd.DatetimeIndex:
    """Mondays of ISO weeks; NaT where a year has no such week.

    >>> mondays = monday_of(np.array([2020, 2021]), np.array([53, 53]))
    >>> str(mondays[0]), mondays.isna().tolist()
    ('2020-12-28 00:00:00', [False, True])
    """
    january = pd.to_datetime(pd.Series(years).astype(str) + "-01-04", errors="coerce")
    first = january - pd.to_timedelta(january.dt.day_of_week, unit="D")
    mondays = first + pd.to_timedelta(7 * (pd.Series(weeks) - 1), unit="D")
    valid = (weeks >= 1) & (mondays.dt.isocalendar().year.to_numpy(np.float64, na_value=0) == years)
    return pd.DatetimeIndex(mondays.where(valid))


def sunday_of(years: np.ndarray, weeks: np.ndarray) -> pd.DatetimeIndex:
    """Sundays on which epidemiological weeks (MMWR) begin; NaT where a year has no such week.

    >>> sundays = sunday_of(np.array([2022, 2022]), np.array([1, 60]))
    >>> str(sundays[0]), sundays.isna().tolist()
    ('2022-01-02 00:00:00', [False, True])
    """
    january = pd.to_datetime(pd.Series(years).astype(str) + "-01-04", errors="coerce")
    first = january - pd.to_timedelta((january.dt.day_of_week + 1) % 7, unit="D")
    sundays = first + pd.to_timedelta(7 * (pd.Series(weeks) - 1), unit="D")
    valid = (weeks >= 1) & ((sundays + pd.Timedelta(days=3)).dt.year.to_numpy(np.float64, na_value=0) == years)
    return pd.DatetimeIndex(sundays.where(valid))


def _iso_week(value: int) -> int:
    year, week, _ = pd.Timestamp(value).isocalendar()
    return year * 100 + week


def _epiweek(value: int) -> int:
    middle = pd.Timestamp(value) + pd.Timedelta(days=3)  # decides the year, as an ISO week's Thursday does
    return middle.year * 100 + (middle.day_of_year - 1) // 7 + 1


def _quarter(numbers: np.ndarray) -> pd.DatetimeIndex:
    days = pd.DataFrame({"year": numbers // 10, "month": numbers % 10 * 3 - 2, "day": 1})
    return pd.DatetimeIndex(pd.to_datetime(days, errors="coerce"))


YEAR_WEEK = Digits("YYYYWW, ISO weeks", 2, lambda n: monday_of(n // 100, n % 100), _iso_week)
EPIWEEK = Digits("YYYYWW, weeks from Sunday", 2, lambda n: sunday_of(n // 100, n % 100), _epiweek)
YEAR_QUARTER = Digits(
    "YYYYQ",
    1,
    lambda n: _quarter(np.where(n % 10 <= 4, n, 0)),
    lambda value: pd.Timestamp(value).year * 10 + pd.Timestamp(value).quarter,
)
YEAR_MONTH = Digits("YYYYMM", 2, *_by("%Y%m"))
YEAR_DAY = Digits("YYYYDDD", 3, *_by("%Y%j"))
WHOLE_DATES = (
    Digits("YYYYMMDD", 4, *_by("%Y%m%d")),
    YEAR_DAY,
    Digits("YYYYMMDDHH", 6, *_by("%Y%m%d%H")),
    Digits("YYYYMMDDHHMM", 8, *_by("%Y%m%d%H%M")),
    Digits("YYYYMMDDHHMMSS", 10, *_by("%Y%m%d%H%M%S")),
)
