"""The column of time, or the columns that together are a date."""

from __future__ import annotations

import numpy as np

from transformer_spectrum.data.files import column_names as names
from transformer_spectrum.data.files.column_roles import VALUES_OPTION, ChosenColumns, Roles, free_columns
from transformer_spectrum.data.files.date_parts import combined, parts_in
from transformer_spectrum.data.files.table_columns import FileTable
from transformer_spectrum.data.series.csv_text import shortened
from transformer_spectrum.runtime.errors import InputError


def find_time(table: FileTable, chosen: ChosenColumns, roles: Roles) -> None:
    """Enters the column of time, or the columns that together are a date, and its times into the roles.

    Args:
        table: whose columns are looked at.
        chosen: what somebody has named, which wins.
        roles: in which `time` and `times` are set, if there is a time; a column that is its entity is passed over.
    Raises:
        InputError: several columns may be the time, or one looks like it and cannot be read.

    >>> from pathlib import Path
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"day": ["2022-01-01", "2022-01-02"], "cases": [3.0, 4.0]})
    >>> table, roles = FileTable(Path("x.csv"), frame), Roles()
    >>> find_time(table, ChosenColumns(), roles)
    >>> roles.time, roles.times.name
    (('day',), 'dates')
    """
    if chosen.time is not None:
        roles.time, roles.times = (chosen.time,), table.times(chosen.time)
        return
    free = [name for name in free_columns(table, chosen) if name != roles.entity]
    components = parts_in(table, free)
    if (
        components
        and "date" not in components.values()
        and any(table.kind(name) == "date" and table.unique(name) for name in free)
    ):
        components = {}
    if components:
        roles.time = tuple(components)
        roles.times = combined(table, components)
        return
    time = _of_dates(table, free, roles)
    time = time or _of_numbers(table, free, strict=chosen.values is None)
    if time is not None:
        roles.time, roles.times = (time,), table.times(time)
        return
    for name in free:  # beside named values, the order of the rows is time where it is that of the column
        if table.kind(name) == "number" and not (chosen.values is not None and table.rising(name)):
            _refuse_likeness(table, name)


def _of_dates(table: FileTable, free: list[str], roles: Roles) -> str | None:
    """The column of dates; others that are the same in all rows of a series are left out."""
    text = [name for name in free if table.kind(name) == "text" and names.joined(name) in names.CORE]
    dates = [name for name in free if table.kind(name) == "date"] + text
    if len(dates) == 1:
        return dates[0]
    if len(dates) > 1:
        for name in dates:
            if table.constant(name) and not names.named_as_time(name):
                roles.left_out[name] = "a date that is the same in all rows of a series"
        dates = [name for name in dates if name not in roles.left_out]
    certain = [name for name in dates if names.joined(name) in names.CORE] or dates
    certain = [name for name in certain if name in text or table.unique(name)] or certain
    if len(certain) > 1 and len({table.keys(name).tobytes() for name in certain}) > 1:
        raise InputError(f"{table.path}: {shortened(certain)} hold dates; name the time by --time-column")
    return certain[0] if certain else None


def _of_numbers(table: FileTable, free: list[str], *, strict: bool) -> str | None:
    """The column of numbers that is time by its name and by what it holds; strict = refuse what may be a value."""
    numbers = [name for name in free if table.kind(name) == "number"]
    clocks = [name for name in numbers if names.named_as_time(name)]
    clocks.sort(key=lambda name: (names.joined(name) not in names.CORE, numbers.index(name)))
    for name in clocks:
        if not table.unique(name):
            continue
        in_line = table.counts(name) or (table.whole(name) and (table.rising(name) or table.calendar(name)))
        if in_line or names.joined(name) in names.CORE:
            return name
    loose = [name for name in numbers if names.mentions_date(name) and name not in clocks]
    for name in loose:
        if table.unique(name) and table.calendar(name):
            return name
    counters = [name for name in numbers if names.named_as_counter(name) and table.unique(name) and table.whole(name)]
    for name in counters:
        if table.counts(name):
            return name
    for name in clocks:
        if names.joined(name) in names.CORE:
            return name  # though a time comes twice, as will be said
    for name in [*clocks, *counters]:
        if strict and table.whole(name) and (name in clocks or table.rising(name) or names.numbers_rows(name)):
            raise _no_time(table, name)
    broken = [name for name in numbers if (name in clocks or names.named_as_counter(name)) and not table.whole(name)]
    equal = [name for name in broken if table.counts(name)]
    if not equal and strict and table.long_enough():
        for name in broken:
            if table.rising(name):
                raise _no_time(table, name)
    return equal[0] if equal else None


def _no_time(table: FileTable, name: str) -> InputError:
    """Why a column that is named like time cannot be it."""
    numbers = table.numbers(name)
    for rows in table.blocks:
        _, first, counts = np.unique(numbers[rows], return_index=True, return_counts=True)
        if (counts > 1).any():
            value = numbers[rows][first[np.argmax(counts > 1)]]
            twice = rows[numbers[rows] == value][:2] + 1
            return InputError(
                f"{table.path}: {name} is {value:g} twice in a series (rows {twice[0]} and {twice[1]}), so it is no "
                f"time: name time by --time-column, what tells series apart by --entity-column, {VALUES_OPTION}"
            )
    return InputError(
        f"{table.path}: {name} may be time or a feature; if it is time, name it by --time-column, {VALUES_OPTION}"
    )


def _refuse_likeness(table: FileTable, name: str) -> None:
    """A column that runs like time under a name that does not say so."""
    if not table.long_enough() or not table.unique(name):
        return
    if table.counts(name):
        steps = np.diff(np.sort(table.numbers(name)[table.blocks[0]]))
        reason = f"rises by {steps[0]:g} from row to row" if len(steps) else "counts the rows"
    elif table.rising(name) and table.calendar(name):
        reason = "rises in every row and may hold dates"
    elif table.spells_dates(name):
        reason = "may hold dates"
    else:
        return
    raise InputError(
        f"{table.path}: {name} {reason}: time, or a value? If it is time, name it by --time-column, {VALUES_OPTION}"
    )
