"""The time axis that the series of a file share: position <-> number or date, in equal steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

NANOSECONDS_A_DAY = 86_400_000_000_000
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
class TimeAxis:
    """Equal steps; position 0 is the origin.

    Attributes:
        dated: whether the file gives dates, or numbers of steps.
        origin: nanoseconds since 1970, or a step.
        unit: of one position, in the same.
        notation: how the file writes its times; None = ISO dates, or whole numbers.

    >>> axis = TimeAxis(dated=True, origin=0, unit=7 * NANOSECONDS_A_DAY)
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
            return counted(self.unit // (7 * NANOSECONDS_A_DAY), "week")
        for word, size in PIECES:
            if self.unit % size == 0:
                return counted(self.unit // size, word)
        return f"{self.unit / 1e9:g} seconds"


def counted(count: int, word: str) -> str:
    """A number and a word, the plural where it is one.

    >>> counted(1, "week"), counted(2, "week")
    ('1 week', '2 weeks')
    """
    return f"{count} {word}{'s' if count > 1 else ''}"


DAYS = TimeAxis(dated=True, origin=0, unit=NANOSECONDS_A_DAY)
"""Of series whose start is counted in days since 1970."""


@dataclass(frozen=True)
class WeekAxis(TimeAxis):
    """Weeks from Monday on, with a row on any day of each: origin is a Monday, unit seven days.

    >>> WeekAxis(True, 4 * NANOSECONDS_A_DAY, 7 * NANOSECONDS_A_DAY).label(0)  # 1970-01-05 was a Monday
    '1970-W02'
    """

    def _date(self, value: int) -> str:
        return pd.Timestamp(value).strftime("%G-W%V")

    @property
    def step(self) -> str:
        return "1 week, on changing days"
