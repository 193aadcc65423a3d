"""Times that are written as numbers: years, YYYYMMDD and its kin, decimal years, seconds since 1970, steps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from transformer_spectrum.data.files.number_dates import (
    CALENDAR_YEARS,
    EPIWEEK,
    WHOLE_DATES,
    YEAR_MONTH,
    YEAR_QUARTER,
    YEAR_WEEK,
    Digits,
)
from transformer_spectrum.data.files.time_axis import Notation
from transformer_spectrum.data.files.times import Times, complain, nanoseconds, words
from transformer_spectrum.runtime.errors import InputError

STEPS = {"step", "steps", "index", "idx", "id", "t", "row", "unnamed", "obs", "n", "no", "nr", "tick", "seq"}
WEEKS = {"week", "weeks", "wk", "kw", "woche", "epiweek", "yearweek", "yyyyww", "isoweek", "semaine", "semana"}
QUARTERS = {"quarter", "qtr", "q", "yearquarter", "yyyyq", "quartal", "trimestre"}
CLOCKS = {
    "timestamp",
    "ts",
    "epoch",
    "unix",
    "unixtime",
    "time",
    "date",
    "datetime",
    "ds",
    "utc",
    "ms",
    "zeit",
    "datum",
}
FIRST_YEAR, LAST_YEAR = 1500, 2200
EPOCHS = (("s", 10**9, 1e8, 5e9), ("ms", 10**6, 5e9, 5e12), ("us", 10**3, 5e12, 5e15), ("ns", 1, 5e15, 9e18))
"""Unit, nanoseconds, and from where to where the largest lies: from 1973 on, or months before 1970, to 2128."""
DECIMALS = (1, 2, 4, 12)
MOST_DEVIATION = 0.1  # of a decimal year's part, in parts: months differ by so much from a twelfth of a year
NO_PHASE = 0.03  # parts: what rounding to four digits may leave
MONTHS_IN_DAYS = ({28, 29, 30, 31}, {59, 60, 61, 62}, {89, 90, 91, 92}, {181, 182, 183, 184}, {365, 366})
FEW = 1e-6


def numeric_times(place: str, cells: pd.Series, numbers: np.ndarray) -> Times:
    """Times of a column of numbers.

    Args:
        place: the file, for messages.
        cells: as they were, with the column's name.
        numbers: (n,) float64, finite.
    Raises:
        InputError: they are neither steps nor certain to be dates.

    >>> times = numeric_times("x.csv", pd.Series([20220131, 20220201], name="day"), np.array([20220131.0, 20220201.0]))
    >>> times.name, np.diff(times.values).tolist()
    ('YYYYMMDD', [86400000000000])
    """
    named = set(words(str(cells.name)))
    if not (numbers == np.round(numbers)).all():
        return _fractions(place, cells, numbers, named)
    if np.abs(numbers).max() >= 2**63:
        raise complain(place, cells, np.abs(numbers) >= 2**63, "numbers of steps must lie within 64 bits")
    whole = _exactly(cells, numbers)
    for digits in _ways(place, cells, whole, named):
        dates = digits.read(whole)
        if dates.isna().any():
            rule = f"neither a date {digits.name} nor a number of steps; write dates as 2022-01-31, or steps from 0"
            raise complain(place, cells, np.asarray(dates.isna()), rule)
        notation = Notation(digits.name, digits.write, numeric=True)
        return Times(nanoseconds(dates), True, digits.name, notation)
    if not named & STEPS:
        for unit, factor, low, high in EPOCHS:
            if low <= np.abs(whole).max() < high and named & CLOCKS:
                return _since_1970(unit, whole * factor, factor, whole=True)
    _refuse_short_years(place, cells, whole, named)
    _refuse_years_last(place, cells, whole, named)
    _refuse_counted_days(place, cells, whole)
    years = whole.min() >= FIRST_YEAR and whole.max() < LAST_YEAR and bool(named & {"year", "yr", "jahr", "annee"})
    return Times(whole, False, "years" if years else "whole numbers")


def _since_1970(unit: str, values: np.ndarray, factor: int, *, whole: bool) -> Times:
    def write(value: int) -> int | float:
        return value // factor if whole else value / factor

    name = f"{unit} since 1970"
    return Times(values, True, name, Notation(name, write, numeric=True))


def _exactly(cells: pd.Series, numbers: np.ndarray) -> np.ndarray:
    """(n,) int64, also where float64 has not enough digits, as for nanoseconds since 1970."""
    if np.abs(numbers).max() < 2**53:
        return numbers.astype(np.int64)
    try:
        return np.array([int(str(cell).strip()) for cell in cells], dtype=np.int64)
    except (ValueError, OverflowError):  # written as 1.5e18
        return numbers.astype(np.int64)


def _ways(place: str, cells: pd.Series, whole: np.ndarray, named: set[str]) -> Sequence[Digits]:
    """The one way of writing dates that the numbers must be read by, or none."""
    for digits in WHOLE_DATES:
        if digits.holds(whole):
            certain = digits.read(whole).notna().all()
            if certain or (digits.tail <= 4 and not (named & STEPS and digits.tail == 3)):
                return [digits]
    if YEAR_MONTH.holds(whole):
        return _months_or_weeks(place, cells, whole, named)
    if YEAR_QUARTER.holds(whole):
        last = whole % 10
        if ((last >= 1) & (last <= 4)).all() and (named & QUARTERS or len(np.unique(whole)) > 4):
            return [YEAR_QUARTER]
    return []


def _months_or_weeks(place: str, cells: pd.Series, whole: np.ndarray, named: set[str]) -> Sequence[Digits]:
    last = whole % 100
    if named & WEEKS or last.max() > 12:
        if last.min() < 1 or last.max() > 53:
            if named & STEPS:
                return []
            rule = "neither YYYYMM nor YYYYWW, nor a number of steps; write dates as 2022-01-31, or steps from 0"
            raise complain(place, cells, (last < 1) | (last > 53), rule)
        short = pd.to_datetime(pd.Series(whole).astype(str), format="%y%m%d", errors="coerce")
        if short.notna().all() and not named & WEEKS:
            first = int(whole[0])
            raise InputError(
                f"{place}: {cells.name} = {first} may be YYYYWW, weeks, or YYMMDD, days; write dates as 2022-01-31, or "
                "weeks as 2022-W05"
            )
        return [YEAR_WEEK if YEAR_WEEK.read(whole).notna().all() else EPIWEEK]
    if last.min() < 1:
        if named & STEPS:
            return []
        rule = "neither YYYYMM nor YYYYWW, nor a number of steps; write dates as 2022-01-31, or steps from 0"
        raise complain(place, cells, last < 1, rule)
    return [YEAR_MONTH]


def _refuse_short_years(place: str, cells: pd.Series, whole: np.ndarray, named: set[str]) -> None:
    """Days written YYMMDD, whose distances are no days."""
    if named & STEPS or whole.min() < 101 or whole.max() > 991231 or len(set(np.diff(np.unique(whole)).tolist())) < 2:
        return
    if pd.to_datetime(pd.Series(whole).astype(str).str.zfill(6), format="%y%m%d", errors="coerce").notna().all():
        rule = "may be a date YYMMDD or a number of steps; write dates as 2022-01-31"
        raise complain(place, cells, np.ones(len(whole), bool), rule)


def _refuse_years_last(place: str, cells: pd.Series, whole: np.ndarray, named: set[str]) -> None:
    """Days written DDMMYYYY or MMDDYYYY, perhaps without the first zero, whose distances are no days."""
    first, last = CALENDAR_YEARS
    years = whole % 10_000
    if named & STEPS or whole.min() < 10**6 or whole.max() >= 10**8 or years.min() < first or years.max() >= last:
        return
    written = pd.Series(whole).astype(str).str.zfill(8)
    if any(pd.to_datetime(written, format=way, errors="coerce").notna().all() for way in ("%d%m%Y", "%m%d%Y")):
        rule = "may be a date DDMMYYYY or MMDDYYYY, or a number of steps; write dates as 2022-01-31"
        raise complain(place, cells, np.ones(len(whole), bool), rule)


def _refuse_counted_days(place: str, cells: pd.Series, whole: np.ndarray) -> None:
    """Days since some day, as spreadsheets count them, at months: their greatest common divisor is a day."""
    distances = set(np.diff(np.unique(whole)).tolist())
    for lengths in MONTHS_IN_DAYS:
        if len(distances) > 1 and distances <= lengths:
            raise InputError(
                f"{place}: {cells.name}: the distances are {', '.join(map(str, sorted(distances)))}, like months or "
                "years that are counted in days; write dates as 2022-01-31"
            )


def _fractions(place: str, cells: pd.Series, numbers: np.ndarray, named: set[str]) -> Times:
    """Seconds since 1970 with parts, decimal years, or equal steps that are no whole numbers."""
    for unit, factor, low, high in EPOCHS:
        if low <= np.abs(numbers).max() < high and named & CLOCKS:
            # float64 knows no more than microseconds
            return _since_1970(unit, np.round(numbers * factor / 1000).astype(np.int64) * 1000, factor, whole=False)
    if numbers.min() >= FIRST_YEAR and numbers.max() < LAST_YEAR:
        hundredths = np.round((numbers - np.floor(numbers)) * 100, 6)
        if (hundredths == np.round(hundredths)).all() and hundredths.min() >= 1 and hundredths.max() <= 12:
            dates = pd.to_datetime({"year": np.floor(numbers), "month": np.round(hundredths), "day": 1})
            write = Notation("YYYY.MM", lambda value: pd.Timestamp(value).strftime("%Y.%m"))
            return Times(nanoseconds(dates), True, "YYYY.MM", write)
        for divisions in DECIMALS:
            times = _decimal_years(numbers, divisions)
            if times is not None:
                return times
    low, size = float(numbers.min()), _step_size(np.diff(np.unique(numbers)))
    steps = (numbers - low) / size
    if (
        len(np.unique(numbers)) < 2
        or steps.max() >= 2**53
        or not (np.abs(steps - np.round(steps)) <= max(FEW, 0.01 * (size < 1))).all()
    ):
        raise InputError(f"{place}: {cells.name}: numbers of steps must be whole, or equal steps of another size")
    size = (float(numbers.max()) - low) / float(np.round(steps.max()))
    notation = Notation("numbers", lambda value: round(low + value * size, 10), numeric=True)
    return Times(np.round(steps).astype(np.int64), False, f"steps of {size:g}", notation)


def _step_size(distances: np.ndarray) -> float:
    """The step of which all distances are multiples but for rounding, which the smallest of them has in it too."""
    smallest = float(distances.min(initial=np.inf))
    return float(distances.sum() / np.round(distances / smallest).sum()) if len(distances) else smallest


def _decimal_years(numbers: np.ndarray, divisions: int) -> Times | None:
    """1960.25 and so on, as so many parts of a year, wherever in a part each lies; None where they are not."""
    scaled = numbers * divisions
    angles = np.exp(2j * np.pi * scaled)
    phase = float(np.angle(angles.mean()) / (2 * np.pi))
    phase = 0.0 if abs(phase) < NO_PHASE else phase
    values = np.round(scaled - phase)
    if np.abs(scaled - phase - values).max() > (MOST_DEVIATION if divisions == 12 else 0.01 * divisions):
        return None
    if len(np.unique(values)) < len(np.unique(numbers)):
        return None
    notation = Notation("decimal years", lambda value: round((value + phase) / divisions, 4), numeric=True)
    return Times(values.astype(np.int64), False, f"decimal years, {divisions} a year", notation)
