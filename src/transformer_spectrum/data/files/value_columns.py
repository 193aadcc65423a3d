"""Columns that hold no values: what says again what the time or the entity says, or only counts the rows."""

from __future__ import annotations

import numpy as np
import pandas as pd

from transformer_spectrum.data.files import column_names as names
from transformer_spectrum.data.files.column_roles import Roles
from transformer_spectrum.data.files.table_columns import FileTable, no_number
from transformer_spectrum.data.files.times import Times
from transformer_spectrum.runtime.errors import InputError

NEAR = 0.13  # years: a decimal year may stand for a month's first day, its middle or its end


def why_no_value(table: FileTable, name: str, roles: Roles) -> str | None:
    """Why a column is left out, None where it holds values.

    >>> from pathlib import Path
    >>> table = FileTable(Path("x.csv"), pd.DataFrame({"name": ["a", "a"], "region": ["x", "x"], "cases": [3.0, 4.0]}))
    >>> why_no_value(table, "region", Roles(entity="name")), why_no_value(table, "cases", Roles(entity="name"))
    ('text that name gives', None)
    """
    kind = table.kind(name)
    if kind == "blank":
        return None
    if kind == "date":
        return "dates beside the time"
    if kind == "text":
        if roles.entity is not None and table.constant(name):
            return f"text that {roles.entity} gives"
        raise no_number(table, name)
    if roles.entity is not None and names.named_as_identifier(name) and table.whole(name) and table.constant(name):
        return f"a number that {roles.entity} gives"
    if roles.times is None:
        return None
    reason = _why_beside_time(table, name, roles)
    if reason is None and table.numbers_rows(name) and not names.named_as_time(name):
        raise InputError(
            f"{table.path}: {name} counts the rows from {table.numbers(name).min():g} on, beside "
            f"{' and '.join(roles.time)}: a value? Name the columns of values by --value-columns"
        )
    return reason


def _why_beside_time(table: FileTable, name: str, roles: Roles) -> str | None:
    """Whether a column only says again what the time says."""
    times = roles.times
    assert times is not None
    clock = names.named_as_time(name) or names.mentions_date(name)
    if times.dated and clock and _of_date(table.numbers(name), times.values, names.joined(name)):
        return f"a part of {' and '.join(roles.time)}"
    if not (clock or names.named_as_counter(name)):
        return None
    if clock and _same_time(table, name, times):
        return f"the same as {' and '.join(roles.time)}"
    if table.counts(name) and (table.rising(name) or _in_order(table, name, times)):
        return "counts the rows"
    distinct = len(np.unique(table.numbers(name)))
    if names.numbers_rows(name) and table.whole(name) and distinct == len(table.frame):
        return "numbers of rows"
    if clock and table.unique(name) and (_in_order(table, name, times) or table.rising(name)):
        raise InputError(
            f"{table.path}: {name} rises with {' and '.join(roles.time)}: the same time again, or a value? Name the "
            "columns of values by --value-columns"
        )
    return None


def _same_time(table: FileTable, name: str, times: Times) -> bool:
    """Whether a column gives the same time in another notation, or an offset apart."""
    try:
        again = table.times(name)
    except InputError:
        return False
    apart = np.unique(again.values - times.values)
    return len(np.unique(times.values)) > 1 and again.dated == times.dated and len(apart) == 1


def _in_order(table: FileTable, name: str, times: Times) -> bool:
    """Whether a column rises strictly with time in every series."""
    numbers = table.numbers(name)
    return all((np.diff(numbers[rows][np.argsort(times.values[rows])]) > 0).all() for rows in table.blocks)


def _of_date(numbers: np.ndarray, values: np.ndarray, name: str) -> bool:
    """Whether numbers are the year, month, day, ... of dates."""
    dates, part_of = pd.DatetimeIndex(values), names.part_of_date(name)
    week = dates.isocalendar().week.to_numpy(np.int64)
    day = dates.day_of_year.to_numpy()
    readings = {
        "year": [dates.year.to_numpy(), dates.year.to_numpy() % 100, dates.isocalendar().year.to_numpy(np.int64)],
        "month": [dates.month.to_numpy()],
        "day": [dates.day.to_numpy(), day, *(dates.day_of_week.to_numpy() + shift for shift in (0, 1))],
        "hour": [dates.hour.to_numpy(), dates.hour.to_numpy() + 1],
        "minute": [dates.minute.to_numpy()],
        "week": [week, (day - 1) // 7 + 1, (day - 1) // 7],
        "quarter": [dates.quarter.to_numpy()],
        "day of the year": [day],
    }
    if names.joined(name) in ("weekday", "dayofweek", "dow"):
        weekday = dates.day_of_week.to_numpy()
        candidates = [weekday, weekday + 1, (weekday + 1) % 7, (weekday + 1) % 7 + 1]
    else:
        candidates = readings[part_of] if part_of else [reading for group in readings.values() for reading in group]
        candidates = [*candidates, dates.year.to_numpy() * 100 + dates.month.to_numpy()]
    decimal = dates.year.to_numpy() + (day - 0.5) / 365.25
    return any(bool((numbers == candidate).all()) for candidate in candidates) or (
        part_of in (None, "year") and bool((np.abs(numbers - decimal) < NEAR).all())
    )
