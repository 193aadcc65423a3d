"""The time axis that the series of a file share: position <-> number, date, month or working day."""

from __future__ import annotations

import calendar
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

NANOSECONDS_A_DAY = 86_400_000_000_000
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONDAY_TO_FRIDAY = "1111100"
PIECES = (("day", NANOSECONDS_A_DAY), ("hour", 3_600_000_000_000), ("minute", 60_000_000_000), ("second", 10**9))

Cell = str | int | float


@dataclass(frozen=True)
class Notation:
    """How a file writes its times.

    Attributes:
        name: for messages, such as "YYYYMM".
        write: the value of an axis (a number, or nanoseconds since 1970) -> the cell.
        numeric: whether the cells are numbers.

    >>> Notation("YYYYMM", written("%Y%m")).write(0)
    '197001'
    """

    name: str
    write: Callable[[int], Cell]
    numeric: bool = False


def iso(nanoseconds: int) -> str:
    """2022-01-31, with the time of day where it is not midnight.

    >>> iso(0), iso(3_600_000_000_000)
    ('1970-01-01', '1970-01-01T01:00:00')
    """
    return pd.Timestamp(nanoseconds).isoformat().removesuffix("T00:00:00")


def written(pattern: str) -> Callable[[int], str]:
    """Writes by a pattern of strftime.

    >>> written("%Y-%m")(0)
    '1970-01'
    """
    return lambda nanoseconds: pd.Timestamp(nanoseconds).strftime(pattern)


@dataclass(frozen=True)
class Axis:
    """Equal steps; position 0 is the origin.

    Attributes:
        dated: whether the file gives dates, or numbers of steps.
        origin: nanoseconds since 1970, or a step.
        unit: of one position, in the same.
        notation: how the file writes its times; None = ISO dates, or whole numbers.

    >>> axis = Axis(dated=True, origin=0, unit=7 * NANOSECONDS_A_DAY)
    >>> axis.step, axis.label(2), axis.positions(np.array([14 * NANOSECONDS_A_DAY])).tolist()
    ('1 week', '1970-01-15', [2])
    """

    dated: bool = False
    origin: int = 0
    unit: int = 1
    notation: Notation | None = None

    def positions(self, values: np.ndarray) -> np.ndarray:
        """(rows,) int64 positions of (rows,) int64 values, which lie on the axis."""
        return (values - self.origin) // self.unit

    def value(self, position: int) -> int:
        """The number, or nanoseconds since 1970, of a position."""
        return self.origin + position * self.unit

    def cell(self, position: int) -> Cell:
        """What the file writes for a position."""
        value = self.value(position)
        if self.notation is not None:
            return self.notation.write(value)
        return self._date(value) if self.dated else value

    def _date(self, value: int) -> str:
        return iso(value) if self.unit % NANOSECONDS_A_DAY == 0 else pd.Timestamp(value).isoformat()

    def label(self, position: int) -> str:
        """What the file calls a position: a date, with the time of day where it has one, or a number."""
        return str(self.cell(position))

    @property
    def step(self) -> str:
        """One step in words, such as "1 day"."""
        if not self.dated:
            return str(self.unit)
        if self.unit % (7 * NANOSECONDS_A_DAY) == 0:
            return _counted(self.unit // (7 * NANOSECONDS_A_DAY), "week")
        for word, size in PIECES:
            if self.unit % size == 0:
                return _counted(self.unit // size, word)
        return f"{self.unit / 1e9:g} seconds"


def _counted(count: int, word: str) -> str:
    return f"{count} {word}{'s' if count > 1 else ''}"


DAYS = Axis(dated=True, origin=0, unit=NANOSECONDS_A_DAY)
"""Of series whose start is counted in days since 1970."""


@dataclass(frozen=True)
class WeekAxis(Axis):
    """Weeks from Monday on, with a row on any day of each: origin is a Monday, unit seven days.

    >>> WeekAxis(True, 4 * NANOSECONDS_A_DAY, 7 * NANOSECONDS_A_DAY).label(0)  # 1970-01-05 was a Monday
    '1970-W02'
    """

    def _date(self, value: int) -> str:
        return pd.Timestamp(value).strftime("%G-W%V")

    @property
    def step(self) -> str:
        return "1 week, on changing days"


Anchor = int | Literal["end", "first weekday", "last weekday"] | tuple[int, int] | None
"""Day of the month, at most its last; or a rule; or (n, weekday), the n-th such day, -1 the last; None = any day."""


def day_of(month: np.ndarray, anchor: Anchor) -> np.ndarray:
    """(n,) days since 1970 of an anchor in (n,) months since January 1970; the first where there is none.

    >>> february = np.array([1])
    >>> [int(day_of(february, anchor)[0]) - 31 + 1 for anchor in (1, 31, "end", "first weekday", (-1, 4))]
    [1, 28, 28, 2, 27]
    """
    first = month.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    length = (month + 1).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64) - first
    if anchor is None:
        return first
    if anchor == "end":
        return first + length - 1
    if isinstance(anchor, int):
        return first + np.minimum(anchor, length) - 1
    if anchor == "first weekday":
        return np.busday_offset(first.astype("datetime64[D]"), 0, roll="forward").astype(np.int64)
    if anchor == "last weekday":
        return np.busday_offset((first + length - 1).astype("datetime64[D]"), 0, roll="backward").astype(np.int64)
    assert isinstance(anchor, tuple)
    number, weekday = anchor
    if number < 0:
        last = first + length - 1
        return last - (last + 3 - weekday) % 7  # 1970-01-01 was a Thursday
    return first + (weekday - first - 3) % 7 + 7 * (number - 1)


def months_of(values: np.ndarray) -> np.ndarray:
    """Months since January 1970 of nanoseconds since 1970.

    >>> months_of(np.array([0, 40 * NANOSECONDS_A_DAY])).tolist()
    [0, 1]
    """
    return values.astype("datetime64[ns]").astype("datetime64[M]").astype(np.int64)


@dataclass(frozen=True)
class MonthAxis(Axis):
    """Steps of one or more calendar months.

    Attributes:
        origin: months since January 1970.
        unit: months of a step.
        anchor: the day in the month.
        time_of_day: nanoseconds.

    >>> axis = MonthAxis(True, origin=0, unit=1, anchor="end")
    >>> axis.step, axis.label(1), axis.positions(np.array([58 * NANOSECONDS_A_DAY])).tolist()
    ('1 month, month ends', '1970-02-28', [1])
    """

    anchor: Anchor = 1
    time_of_day: int = 0

    def positions(self, values: np.ndarray) -> np.ndarray:
        return (months_of(values) - self.origin) // self.unit

    def value(self, position: int) -> int:
        month = np.array([self.origin + position * self.unit])
        return int(day_of(month, self.anchor)[0]) * NANOSECONDS_A_DAY + self.time_of_day

    def _date(self, value: int) -> str:
        if self.anchor is not None:
            return iso(value)
        month = pd.Timestamp(value)  # on which day is not known
        return {12: f"{month.year}", 3: f"{month.year}Q{month.quarter}"}.get(self.unit, f"{month:%Y-%m}")

    @property
    def step(self) -> str:
        word = {1: "1 month", 3: "1 quarter", 12: "1 year"}.get(self.unit)
        if word is None:
            word = _counted(self.unit // 12, "year") if self.unit % 12 == 0 else _counted(self.unit, "month")
        if self.notation is not None and self.anchor == 1:
            return word
        return f"{word}, {_in_words(self.anchor)}"


def _in_words(anchor: Anchor) -> str:
    if anchor is None:
        return "on changing days"
    if isinstance(anchor, int):
        return f"day {anchor}"
    if isinstance(anchor, tuple):
        return f"{'last' if anchor[0] < 0 else f'{anchor[0]}.'} {calendar.day_name[anchor[1]]}"
    return {"end": "month ends"}.get(anchor, f"{anchor} of the month")


@dataclass(frozen=True)
class WeekdayAxis(Axis):
    """Days of some weekdays only, such as business days.

    Attributes:
        origin: days since 1970, one of the axis.
        mask: "1111100" from Monday to Sunday, 1 = on the axis.
        holidays: days since 1970 that are left out.
        time_of_day: nanoseconds.
        closing: names of the holidays.

    >>> axis = WeekdayAxis(True, origin=1)  # 1970-01-02 was a Friday
    >>> axis.step, [axis.label(position) for position in (0, 1)]
    ('1 business day', ['1970-01-02', '1970-01-05'])
    """

    mask: str = MONDAY_TO_FRIDAY
    holidays: tuple[int, ...] = ()
    time_of_day: int = 0
    closing: tuple[str, ...] = ()

    def _free(self) -> np.ndarray:
        return np.array(self.holidays, dtype="datetime64[D]")

    def positions(self, values: np.ndarray) -> np.ndarray:
        days = (values // NANOSECONDS_A_DAY).astype("datetime64[D]")
        origin = np.datetime64(self.origin, "D")
        return np.busday_count(origin, days, weekmask=self.mask, holidays=self._free()).astype(np.int64)

    def value(self, position: int) -> int:
        day = np.busday_offset(
            np.datetime64(self.origin, "D"), position, weekmask=self.mask, holidays=self._free(), roll="forward"
        )
        return int(day.astype(np.int64)) * NANOSECONDS_A_DAY + self.time_of_day

    def _date(self, value: int) -> str:
        return iso(value)

    @property
    def step(self) -> str:
        if self.mask != MONDAY_TO_FRIDAY:
            return "1 day of " + ", ".join(WEEKDAYS[i] for i in range(7) if self.mask[i] == "1")
        return "1 business day" + (f", without {', '.join(self.closing)}" if self.closing else "")


@dataclass(frozen=True)
class DaysOfMonthAxis(Axis):
    """The same few days of every month, such as 1, 11 and 21; a day of 31 is the month's last.

    Attributes:
        origin: months since January 1970.
        unit: 1.
        days: of the month, rising.
        time_of_day: nanoseconds.

    >>> axis = DaysOfMonthAxis(True, days=(10, 20, 31))
    >>> axis.step, [axis.label(position) for position in (2, 5)]
    ('days 10, 20, the last of each month', ['1970-01-31', '1970-02-28'])
    """

    days: tuple[int, ...] = (1, 15)
    time_of_day: int = 0

    def positions(self, values: np.ndarray) -> np.ndarray:
        month = months_of(values)
        day = values // NANOSECONDS_A_DAY
        among = sum((day > day_of(month, anchor)).astype(np.int64) for anchor in self.days[:-1])
        return (month - self.origin) * len(self.days) + among

    def value(self, position: int) -> int:
        months, among = divmod(position, len(self.days))
        day = day_of(np.array([self.origin + months]), self.days[among])
        return int(day[0]) * NANOSECONDS_A_DAY + self.time_of_day

    def _date(self, value: int) -> str:
        return iso(value)

    @property
    def step(self) -> str:
        return f"days {', '.join('the last' if day == 31 else str(day) for day in self.days)} of each month"
