"""Time axes whose steps are no multiples of a day: months, business days, the same days of every month."""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from transformer_spectrum.data.files.time_axis import NANOSECONDS_A_DAY, TimeAxis, counted, iso

WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONDAY_TO_FRIDAY = "1111100"

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
class MonthAxis(TimeAxis):
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
            word = counted(self.unit // 12, "year") if self.unit % 12 == 0 else counted(self.unit, "month")
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
class WeekdayAxis(TimeAxis):
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
class DaysOfMonthAxis(TimeAxis):
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
