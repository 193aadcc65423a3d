"""Dates that are split over columns, such as year, month and day."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from transformer_spectrum.data.files.column_names import HOUR, joined, part_of_date
from transformer_spectrum.data.files.number_dates import monday_of
from transformer_spectrum.data.files.table_columns import FileTable
from transformer_spectrum.data.files.time_axis import Notation, written
from transformer_spectrum.data.files.times import Times, nanoseconds
from transformer_spectrum.runtime.errors import InputError

RANGES = {
    "year": (1800, 2199),
    "month": (1, 12),
    "day": (1, 31),
    "hour": (0, 24),
    "minute": (0, 59),
    "week": (1, 53),
    "quarter": (1, 4),
    "day of the year": (1, 366),
}
LEGAL = (
    ("year", "month", "day", "hour", "minute"),
    ("year", "month", "day", "hour"),
    ("year", "month", "day"),
    ("year", "day of the year", "hour"),
    ("year", "day of the year"),
    ("year", "month"),
    ("year", "week"),
    ("year", "quarter"),
)
CLOCK = r"(\d{1,2}):(\d{2})(?::(\d{2}))?"


def parts_in(table: FileTable, free: Sequence[str]) -> dict[str, str]:
    """Columns that together make a date, column -> part; empty where there are none, or the year alone is time.

    >>> from pathlib import Path
    >>> table = FileTable(Path("x.csv"), pd.DataFrame({"Year": [2022, 2022], "Month": [1, 2], "sales": [3.0, 4.0]}))
    >>> parts_in(table, table.columns)
    {'Year': 'year', 'Month': 'month'}
    """
    components: dict[str, str] = {}
    for name in free:
        component = part_of_date(name)
        if component is not None and component not in components.values() and _holds(table, name, component):
            components[name] = component
    columns = {component: name for name, component in components.items()}
    if "year" in columns:
        if len(np.unique(table.numbers(columns["year"]))) == len(table.frame) > 1:
            return {}
        legal = [
            {columns[component]: component for component in components}
            for components in LEGAL
            if set(components) <= set(columns)
        ]
        # "#days" of a month is no day: what makes no dates gives way to fewer parts, if these do
        real = [candidate for candidate in legal if not _from_fields(_fields(table, candidate))[0].isna().any()]
        return next(iter(real or legal), {})
    return _clock_beside_date(table, free)


def _holds(table: FileTable, name: str, component: str) -> bool:
    if component == "month" and table.kind(name) in ("text", "date"):
        return _month_names(table.frame[name]) is not None
    if table.kind(name) != "number" or not table.whole(name):
        return False
    low, high = RANGES[component]
    numbers = table.numbers(name)
    return bool((numbers >= low).all() and (numbers <= high).all())


def _month_names(cells: pd.Series) -> np.ndarray | None:
    """(rows,) 1 to 12 of January or Jan, None unless all are such."""
    text = cells.astype(str).str.strip()
    for pattern in ("%b", "%B"):
        months = pd.to_datetime(text.str.title() + " 2000", format=f"{pattern} %Y", errors="coerce")
        if months.notna().all():
            return months.dt.month.to_numpy()
    return None


def _clock_beside_date(table: FileTable, free: Sequence[str]) -> dict[str, str]:
    """A column of days and one of the time of day."""
    days = [name for name in free if table.kind(name) == "date"]
    if len(days) != 1 or table.unique(days[0]):
        return {}
    for name in free:
        if name in days:
            continue
        if table.kind(name) == "number" and joined(name) in HOUR and _holds(table, name, "hour"):
            return {days[0]: "date", name: "hour"}
        if table.kind(name) == "text" and table.frame[name].astype(str).str.fullmatch(CLOCK).all():
            return {days[0]: "date", name: "clock"}
    return {}


def combined(table: FileTable, components: dict[str, str]) -> Times:
    """The times of columns that `parts_in` has found.

    Raises:
        InputError: a row has no such date.

    >>> from pathlib import Path
    >>> table = FileTable(Path("x.csv"), pd.DataFrame({"Year": [2022, 2022], "Month": [1, 2]}))
    >>> pd.DatetimeIndex(combined(table, {"Year": "year", "Month": "month"}).values).astype(str).tolist()
    ['2022-01-01', '2022-02-01']
    """
    fields = _fields(table, components)
    if "date" in components.values():
        dates, notation = _with_clock(table, components, fields), None
    else:
        dates, notation = _from_fields(fields)
    if dates.isna().any():
        row = int(np.argmax(dates.isna()))
        cells = ", ".join(f"{name} = {table.frame[name].iloc[row]}" for name in components)
        raise InputError(f"{table.path}: row {row + 1}: {cells}: no such date")
    return Times(nanoseconds(dates), True, "parts of a date", notation)


def _fields(table: FileTable, components: dict[str, str]) -> dict[str, np.ndarray]:
    """(rows,) whole numbers of each part."""
    fields: dict[str, np.ndarray] = {}
    for name, component in components.items():
        if component == "month" and table.kind(name) != "number":
            months = _month_names(table.frame[name])
            assert months is not None
            fields[component] = months
        elif component not in ("date", "clock"):
            fields[component] = table.numbers(name).astype(np.int64)
    return fields


def _with_clock(table: FileTable, components: dict[str, str], fields: dict[str, np.ndarray]) -> pd.DatetimeIndex:
    columns = {component: name for name, component in components.items()}
    days = pd.DatetimeIndex(table.times(columns["date"]).values)
    if "hour" in fields:
        return days + pd.to_timedelta(fields["hour"], unit="h")
    clock = table.frame[columns["clock"]].astype(str).str.extract(f"^{CLOCK}$").fillna("0").astype(int)
    return days + pd.to_timedelta((clock[0] * 3600 + clock[1] * 60 + clock[2]).to_numpy(), unit="s")


def _from_fields(fields: dict[str, np.ndarray]) -> tuple[pd.DatetimeIndex, Notation | None]:
    year = fields["year"]
    write: Callable[[int], str] | None = None
    if "week" in fields:
        dates = monday_of(year, fields["week"])
        write = written("%G-W%V")
    elif "day of the year" in fields:
        text = pd.Series(year).astype(str) + pd.Series(fields["day of the year"]).astype(str).str.zfill(3)
        dates = pd.DatetimeIndex(pd.to_datetime(text, format="%Y%j", errors="coerce"))
    else:
        month = fields["month"] if "month" in fields else fields["quarter"] * 3 - 2
        days = {"year": year, "month": month, "day": fields.get("day", np.ones_like(year))}
        dates = pd.DatetimeIndex(pd.to_datetime(pd.DataFrame(days), errors="coerce"))
        if "quarter" in fields:
            write = lambda value: f"{pd.Timestamp(value).year}Q{pd.Timestamp(value).quarter}"  # noqa: E731
        elif "day" not in fields:
            write = written("%Y-%m")
    if "hour" in fields:
        dates = dates + pd.to_timedelta(fields["hour"] * 60 + fields.get("minute", 0), unit="m")
    return dates, Notation("parts of a date", write) if write else None
