"""Tables of series, long or wide: their columns get roles, their rows get places on a time axis, and it is said how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from transformer_spectrum.data.files.clock_changes import days_of, instants_of, local, midnight, with_offset, zone_of
from transformer_spectrum.data.files.column_roles import ChosenColumns, Roles
from transformer_spectrum.data.files.frequency import infer_axis, numbers_axis, skipped
from transformer_spectrum.data.files.role_assignment import assign
from transformer_spectrum.data.files.table_columns import FileTable
from transformer_spectrum.data.files.time_axis import NANOSECONDS_A_DAY, TimeAxis
from transformer_spectrum.data.files.times import Times, blank_cells
from transformer_spectrum.data.series.csv_text import shortened
from transformer_spectrum.runtime.errors import InputError


@dataclass(frozen=True)
class Reading:
    """As what the columns of a table were taken.

    Attributes:
        time: columns that make the time; empty = the order of the rows.
        notation: how they are written.
        step: of the axis, in words.
        entity: None = each column of values is a series.
        values: columns that hold values.
        left_out: column -> why.
        gaps: steps inside the series without a row.
        steps: all steps inside the series.
        reordered: whether the rows were in another order than that of time.
        series: how many.
    """

    time: tuple[str, ...]
    notation: str
    step: str
    entity: str | None
    values: tuple[str, ...]
    left_out: dict[str, str]
    gaps: int
    steps: int
    reordered: bool
    series: int

    def record(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "time": list(self.time),
            "notation": self.notation,
            "step": self.step,
            "entity": self.entity,
            "values": list(self.values),
            "left_out": dict(self.left_out),
            "gaps": self.gaps,
            "steps": self.steps,
            "rows_sorted_by_time": self.reordered,
        }

    def line(self) -> str:
        """For the terminal."""
        time = (
            f"{' and '.join(self.time)} ({self.notation}, step {self.step})" if self.time else "the order of the rows"
        )
        remarks = [f"time: {time}"]
        if self.entity is None:
            remarks.append(f"{self.series} series: {shortened(self.values)}")
        else:
            remarks += [f"series: {self.entity} ({self.series})", f"features: {shortened(self.values)}"]
        if self.left_out:
            remarks.append(f"left out: {shortened([f'{name} ({why})' for name, why in self.left_out.items()])}")
        if self.gaps:
            remarks.append(f"gaps: {self.gaps:,} of {self.steps:,} steps have no row")
        if self.reordered:
            remarks.append("rows sorted by time")
        return "; ".join(remarks)


@dataclass(frozen=True)
class TableSeries:
    """Series of a table before blanks at their ends are cut.

    Attributes:
        placed: (entity, start, (T, F) values) of each.
        axis: of all.
        features: names of the F features.
        reading: how the columns were taken.
    """

    placed: list[tuple[str, int, np.ndarray]]
    axis: TimeAxis
    features: tuple[str, ...]
    reading: Reading


def read_table(path: Path, frame: pd.DataFrame, chosen: ChosenColumns) -> TableSeries:
    """Places the rows of a table.

    Raises:
        InputError: see `role_assignment.assign`; a value that is no number; a time that comes twice in a series.

    >>> frame = pd.DataFrame({"country": ["SE", "SE", "MT"], "year": [2020, 2022, 2020], "cases": [3.0, 4.0, 5.0]})
    >>> table = read_table(Path("x.csv"), frame, ChosenColumns())
    >>> table.reading.line()
    'time: year (years, step 2); series: country (2); features: cases'
    """
    table = FileTable(path, frame)
    roles = assign(table, chosen)
    if not roles.values:
        kind = f"column of values beside {roles.entity}" if roles.entity else "column of values for each series beside "
        rest = "" if roles.entity else " and ".join(roles.time)
        raise InputError(f"{path}: a {'long' if roles.entity else 'wide'} table needs a {kind}{rest}")
    values = _numbers(path, frame, roles.values)
    blocks = [np.asarray(rows) for rows in table.blocks]
    labels = [str(table.frame[roles.entity].iloc[rows[0]]) for rows in blocks] if roles.entity else [""]
    axis, ticks = _ticks(roles, blocks)
    _refuse_twice(path, roles, labels, blocks, ticks, axis)
    reordered = [roles.times is not None and bool((np.diff(tick) < 0).any()) for tick in ticks]
    order = _order(labels, blocks, reordered)
    labels, blocks, ticks = [labels[i] for i in order], [blocks[i] for i in order], [ticks[i] for i in order]
    placed = [
        _placed(path, label, axis.positions(tick), values[rows])
        for label, rows, tick in zip(labels, blocks, ticks, strict=True)
    ]
    if roles.entity is None:
        _, start, whole = placed[0]
        placed = [(name, start, whole[:, [i]]) for i, name in enumerate(roles.values)]
    lost, steps = skipped(axis, ticks)
    reading = Reading(
        roles.time,
        _notation(roles.times, axis),
        axis.step,
        roles.entity,
        tuple(roles.values),
        roles.left_out,
        lost,
        steps,
        any(reordered),
        len(placed),
    )
    return TableSeries(placed, axis, tuple(roles.values) if roles.entity else ("value",), reading)


def _order(labels: Sequence[str], blocks: Sequence[np.ndarray], reordered: Sequence[bool]) -> list[int]:
    """That of the series' first rows; by name where the rows are in no order at all, so that this decides nothing."""
    order = list(range(len(labels)))
    together = all(np.ptp(rows) == len(rows) - 1 for rows in blocks)
    if together or sum(reordered) < 2:
        return order
    if all(label.isascii() and label.isdigit() for label in labels):
        return sorted(order, key=lambda i: int(labels[i]))
    return sorted(order, key=lambda i: labels[i])


def _notation(times: Times | None, axis: TimeAxis) -> str:
    if times is None:
        return "none"
    return axis.notation.name if axis.notation is not None and times.notation is None else times.name


def _ticks(roles: Roles, blocks: Sequence[np.ndarray]) -> tuple[TimeAxis, list[np.ndarray]]:
    """The axis, and of each series the values on it."""
    times = roles.times
    if times is None:
        return TimeAxis(), [np.arange(len(rows)) for rows in blocks]
    ticks = [times.values[rows] for rows in blocks]
    if not times.dated:
        return numbers_axis(times.values, times.notation), ticks
    if times.instants is not None:
        return _of_instants(times, ticks, [times.instants[rows] for rows in blocks])
    axis = infer_axis(ticks, times.notation)
    if times.notation is None and axis.unit < NANOSECONDS_A_DAY and type(axis) is TimeAxis:
        days = days_of(ticks) if skipped(axis, ticks)[0] else None
        if days is not None:
            zone, walls = days
            return infer_axis(walls, midnight(zone)), walls
        changed = instants_of(ticks)
        if changed is not None:
            zone, instants = changed
            return infer_axis(instants, local(zone)), instants
    return axis, ticks


def _of_instants(
    times: Times, walls: list[np.ndarray], instants: list[np.ndarray]
) -> tuple[TimeAxis, list[np.ndarray]]:
    """By the clock on the wall or by UTC, whichever leaves fewer steps without a row."""
    assert times.instants is not None
    offsets = np.unique(times.values - times.instants)
    by_wall, by_utc = infer_axis(walls), infer_axis(instants)
    twice = any(len(np.unique(wall)) < len(wall) for wall in walls)
    whole_days = len(np.unique(times.values % NANOSECONDS_A_DAY)) == 1
    if not twice and (whole_days or skipped(by_wall, walls)[0] < skipped(by_utc, instants)[0]):
        return by_wall, walls
    days = days_of(instants) if skipped(by_utc, instants)[0] else None
    if days is not None:
        zone, walls = days
        return infer_axis(walls, midnight(zone)), walls
    if len(offsets) == 1:
        return infer_axis(instants, with_offset(times.zone, int(offsets[0]))), instants
    return infer_axis(instants, with_offset(times.zone or zone_of(times.values, times.instants), None)), instants


def _refuse_twice(
    path: Path,
    roles: Roles,
    labels: Sequence[str],
    blocks: Sequence[np.ndarray],
    ticks: Sequence[np.ndarray],
    axis: TimeAxis,
) -> None:
    for label, rows, tick in zip(labels, blocks, ticks, strict=True):
        if len(np.unique(tick)) == len(tick):
            continue
        order = np.argsort(tick, kind="stable")
        at = int(np.argmax(np.diff(tick[order]) == 0))
        first, second = sorted(int(row) + 1 for row in rows[order[at : at + 2]])
        time = axis.label(int(axis.positions(tick[order[at : at + 1]])[0]))
        holder = label or " and ".join(roles.time)
        rest = "each time may come once"
        if roles.entity is None:
            rest += ", or name the column (or columns, between commas) that tell series apart by --entity-column"
        elif axis.dated and axis.unit < NANOSECONDS_A_DAY:
            rest += "; where a clock was set back, write times with their offset from UTC"
        raise InputError(f"{path}: {holder} has {time} twice (rows {first} and {second}); {rest}")


def _placed(path: Path, name: str, positions: np.ndarray, values: np.ndarray) -> tuple[str, int, np.ndarray]:
    """Rows in the order of time, NaN at the steps that are skipped."""
    start, length = int(positions.min()), int(np.ptp(positions)) + 1
    if length > 1000 * len(positions) + 1000:
        subject = name or "the table"
        raise InputError(f"{path}: {subject} has {len(positions)} values over {length} steps; times must be regular")
    whole = np.full((length, values.shape[1]), np.nan)
    whole[positions - start] = values
    return name, start, whole


def _numbers(path: Path, frame: pd.DataFrame, columns: Sequence[str]) -> np.ndarray:
    """(rows, columns) float64, NaN where blank."""
    values = np.empty((len(frame), len(columns)))
    for i, name in enumerate(columns):
        cells = frame[name]
        if cells.dtype.kind in "mM":
            raise InputError(f"{path}: {name}: a column of values must hold numbers, not dates")
        blank = blank_cells(cells)
        numbers = pd.to_numeric(cells.where(~blank, np.nan), errors="coerce").to_numpy(np.float64, na_value=np.nan)
        wrong = ~np.isfinite(numbers) & ~blank
        if wrong.any():
            row = int(np.argmax(wrong))
            rule = "must be blank or a finite number, or leave the column out by --value-columns"
            raise InputError(f"{path}: row {row + 1}: {name} = {str(cells.iloc[row])[:40]!r}; {rule}")
        values[:, i] = numbers
    return values
