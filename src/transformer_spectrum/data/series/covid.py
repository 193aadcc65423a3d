"""Daily new COVID-19 cases by country, Our World in Data's table of Johns Hopkins University's counts.

Source: github.com/owid/covid-19-data, public/data/jhu/new_cases.csv (CC BY 4.0). Wide: a date column, then one
column for each location; blank where nothing is known.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from transformer_spectrum.data.series.aggregates import is_sum_of_countries
from transformer_spectrum.data.series.csv_text import read_rows
from transformer_spectrum.data.series.entity_series import Series
from transformer_spectrum.runtime.errors import InputError

FILE_NAME = "owid_jhu_new_cases.csv"
LAST_DAY = datetime.date(2023, 3, 9)  # Johns Hopkins ended its counts; a table that ends earlier is cut short
NOTES = ("Our World in Data (CC BY 4.0), from COVID-19 data of Johns Hopkins University CSSE (CC BY 4.0).",)
REMARKS = {
    "78e8240fb5126d0681c924379c6097d48e12c9fbd66650a82c28314aa388e4e7": (
        "This copy was rebuilt from JHU's final cumulative counts by OWID's published rules, not downloaded from OWID."
    )
}

ZERO_TAIL_DAYS = 14  # days without a case at the end: more are no longer data, the reporting has ended
WEEKLY_SPAN_DAYS = 182  # weekly reporting is looked for in so many last days
WEEKLY_GAP_DAYS = 6  # and is a median distance of days with cases of at least this
WEEKLY_REPORTS = 8  # among at least so many of them


LARGEST = 1e150
"""Counts are below it, so that means and variances are numbers."""


def _number(cell: str) -> float:
    """A count, NaN for a blank; raises ValueError for anything else."""
    if not cell:
        return math.nan
    value = float(cell)
    if not 0 <= value < LARGEST:
        raise ValueError
    return value


def _header_complaint(header: list[str]) -> str | None:
    if header[:1] != ["date"]:
        return f"first column is {''.join(header[:1])[:40]!r}; must be 'date'"
    locations = header[1:]
    if not locations or len(set(locations)) < len(locations) or not all(locations):
        return "the columns after 'date' must be locations, each with a name of its own"
    return None


def read_covid(path: str | Path, label: str | None = None) -> pd.DataFrame:
    """Reads and checks the wide table.

    Args:
        path: the CSV.
        label: what messages call it; the path when None.
    Returns:
        (days, locations) float64 new cases per day, NaN where blank, indexed by consecutive days.
    Raises:
        InputError: the file is missing, cut short, or breaks the schema; with the line and the rule.

    >>> with open("cases.csv", "w") as file:
    ...     print("date,Malta", "2022-01-01,3", "2022-01-02,", sep=chr(10), file=file)
    >>> read_covid("cases.csv")["Malta"].tolist()
    [3.0, nan]
    """
    label = label or str(path)
    header, lines = read_rows(path, label, "fetch-covid", _header_complaint)
    locations = header[1:]
    days, rows = [], []
    for number, (day, *cells) in enumerate(lines, start=2):
        try:
            days.append(datetime.datetime.strptime(day, "%Y-%m-%d").date())
        except ValueError:
            raise InputError(f"{label}: line {number}: date {day[:40]!r}; must be YYYY-MM-DD") from None
        if len(days) > 1 and days[-1] - days[-2] != datetime.timedelta(1):
            raise InputError(f"{label}: line {number}: {day} after {days[-2]}; days must follow each other, no gaps")
        try:
            rows.append([_number(cell) for cell in cells])
        except ValueError:
            raise InputError(f"{label}: line {number}: {_offender(locations, cells)}") from None
    return pd.DataFrame(rows, index=pd.DatetimeIndex(days), columns=locations, dtype=np.float64)


def _offender(locations: Sequence[str], cells: Sequence[str]) -> str:
    for location, cell in zip(locations, cells, strict=True):
        try:
            _number(cell)
        except ValueError:
            return f"{location} = {cell[:40]!r}; must be blank or a finite number >= 0, < {LARGEST:g}"
    raise AssertionError("no offending cell")


def check_covid_complete(frame: pd.DataFrame, label: str) -> None:
    """Raises InputError when the table ends before the counts did: whole lines are missing at its end.

    >>> frame = pd.DataFrame({"Malta": [0.0]}, index=pd.DatetimeIndex(["2022-01-01"]))
    >>> check_covid_complete(frame, "cases.csv")
    Traceback (most recent call last):
    transformer_spectrum.runtime.errors.InputError: cases.csv: ends on 2022-01-01; must reach 2023-03-09, cut short
    """
    last = frame.index[-1].date()
    if last < LAST_DAY:
        raise InputError(f"{label}: ends on {last}; must reach {LAST_DAY}, cut short")


def not_used(path: str | Path, countries: Sequence[str]) -> dict[str, list[str]]:
    """Which of the chosen countries a table cannot serve, for `csv_text.left_out`.

    >>> with open("cases.csv", "w") as file:
    ...     print("date,Malta", "2022-01-01,3", sep=chr(10), file=file)
    >>> not_used("cases.csv", ["Malta", "Atlantis", "World"])
    {'countries_missing': ['Atlantis'], 'aggregates_dropped': ['World']}
    """
    header, _ = read_rows(path, str(path), "fetch-covid", _header_complaint)
    return _not_used(header, list(dict.fromkeys(countries)))


def _not_used(locations: Sequence[str], listed: Sequence[str]) -> dict[str, list[str]]:
    return {
        "countries_missing": [name for name in listed if name not in locations and not is_sum_of_countries(name)],
        "aggregates_dropped": [name for name in listed if is_sum_of_countries(name)],
    }


def trailing_mean(values: np.ndarray, days: int) -> np.ndarray:
    """Mean of the last `days` values that are present: sum(x) / count(x) over [t - days + 1, t].

    Args:
        values: (T,) with NaN where blank.
        days: length of the window, >= 1; shorter at the start, where it begins with the series.
    Returns:
        (T,), NaN where a window holds no value.

    >>> trailing_mean(np.array([7.0, 0.0, math.nan, 4.0]), days=2).tolist()
    [7.0, 3.5, 0.0, 4.0]
    """
    padded = np.concatenate([np.full(days - 1, np.nan), values])
    windows = np.lib.stride_tricks.sliding_window_view(padded, days)
    present = np.isfinite(windows).sum(axis=1)
    return np.where(present > 0, np.nansum(windows, axis=1) / np.maximum(present, 1), np.nan)


def reports_weekly(values: np.ndarray) -> bool:
    """Whether cases come about once a week: the median distance between days with cases is 6 days or more.

    Looked for in the last 26 weeks of (T,) daily cases, among at least 8 days with cases.

    >>> week = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 70.0]
    >>> reports_weekly(np.array(9 * week)), reports_weekly(np.ones(63))
    (True, False)
    """
    reports = np.flatnonzero(values[-WEEKLY_SPAN_DAYS:] > 0)
    return len(reports) >= WEEKLY_REPORTS and bool(np.median(np.diff(reports)) >= WEEKLY_GAP_DAYS)


def covid_series(
    frame: pd.DataFrame, countries: Sequence[str], smoothing_days: int
) -> tuple[list[Series], dict[str, Any]]:
    """Smoothed daily cases of the chosen countries, from the first case to the last day that is data.

    A series starts on its first day with cases. Blank days at its end are cut off, and so are days without
    cases when they are more than ZERO_TAIL_DAYS. Weekly reports (one day with a week's cases, six with none)
    are spread by the trailing mean; blank days inside are left out of it.

    Args:
        frame: of `read_covid`.
        countries: locations to use, in the order of the result; sums of countries among them are left out.
        smoothing_days: length of the trailing mean, >= 1; days.
    Returns:
        Series of (T, 1) new cases per day, smoothed, and a JSON-able report of what was left out.
    Raises:
        InputError: none of the countries has cases in the table.

    >>> days = pd.date_range("2020-01-22", periods=4)
    >>> frame = pd.DataFrame({"World": [0.0, 2, 4, 6], "Malta": [math.nan, 2, 4, 6]}, index=days)
    >>> series, report = covid_series(frame, ["World", "Malta", "Oz"], smoothing_days=2)
    >>> series[0].entity, series[0].values.ravel().tolist()
    ('Malta', [2.0, 3.0, 5.0])
    >>> report["aggregates_dropped"], report["countries_missing"]
    (['World'], ['Oz'])
    """
    listed = list(dict.fromkeys(countries))
    not_there = _not_used(frame.columns.tolist(), listed)
    aggregates, missing = not_there["aggregates_dropped"], not_there["countries_missing"]
    origin = (frame.index[0] - pd.Timestamp(0)).days
    series: list[Series] = []
    without_cases, weekly, zero_tails, before, blank_tail, blank, unknown = [], [], {}, 0, 0, 0, 0
    for name in listed:
        if name in aggregates or name in missing:
            continue
        column = frame[name].to_numpy()
        positive = np.flatnonzero(column > 0)
        if not len(positive):
            without_cases.append(name)
            continue
        first, end = positive[0], np.flatnonzero(np.isfinite(column))[-1] + 1
        blank_tail += int(len(column) - end)
        if end - 1 - positive[-1] > ZERO_TAIL_DAYS:
            zero_tails[name] = int(end - 1 - positive[-1])
            end = positive[-1] + 1
        cases = column[first:end]
        if reports_weekly(cases):
            weekly.append(name)
        smooth = trailing_mean(cases, smoothing_days)
        before += int(first)
        blank += int(np.isnan(cases).sum())
        unknown += int(np.isnan(smooth).sum())
        series.append(Series(name, origin + int(first), smooth[:, np.newaxis]))
    if not series:
        raise InputError(
            f"data.covid.countries = {', '.join(listed)[:200]}: none is a country with cases in the table "
            f"({len(missing)} not in it, {len(aggregates)} sums of countries, {len(without_cases)} without cases)"
        )
    return series, {
        "countries": {"listed": len(listed), "used": len(series)},
        "countries_missing": missing,
        "countries_without_cases": without_cases,
        "aggregates_dropped": aggregates,
        "weekly_reporting": {"count": len(weekly), "countries": weekly},
        "days_trimmed": {"before_first_case": before, "blank_tail": blank_tail, "zero_tail": sum(zero_tails.values())},
        "zero_tails": zero_tails,
        "blank_days_inside": blank,
        "values_missing_inside": unknown,
    }
