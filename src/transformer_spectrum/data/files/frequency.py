"""The frequency of dates: the axis on which the rows of a file lie, with the fewest steps that no row has.

Months, quarters, years, weekdays and days of the month are no multiples of a day, so the greatest common divisor of
their distances says nothing; each kind of calendar is tried, and gaps are counted in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from pandas.tseries import holiday

from transformer_spectrum.data.files.calendar_axes import (
    MONDAY_TO_FRIDAY,
    Anchor,
    DaysOfMonthAxis,
    MonthAxis,
    WeekdayAxis,
    day_of,
    months_of,
)
from transformer_spectrum.data.files.time_axis import NANOSECONDS_A_DAY, Notation, TimeAxis, WeekAxis

SHORT_SPAN = 28  # days within which the weekdays at hand say little about those that will come
MOST_SKIPPED = 1 / 3  # of the steps: with more, a fixed step is not what the dates follow
MOST_DAYS_A_MONTH = 6
ANCHORED = 0.9  # share of the months that must fit a rule for working days; the others have a holiday there

_CLOSED = (
    holiday.Holiday("New Year", month=1, day=1, observance=holiday.sunday_to_monday),
    holiday.USMartinLutherKingJr,
    holiday.USPresidentsDay,
    holiday.GoodFriday,
    holiday.EasterMonday,
    holiday.Holiday("Labour Day", month=5, day=1),
    holiday.USMemorialDay,
    holiday.Holiday("Juneteenth", month=6, day=19, start_date="2022-01-01", observance=holiday.nearest_workday),
    holiday.Holiday("Independence Day", month=7, day=4, observance=holiday.nearest_workday),
    holiday.USLaborDay,
    holiday.USThanksgivingDay,
    holiday.Holiday("Christmas", month=12, day=25, observance=holiday.nearest_workday),
    holiday.Holiday("Boxing Day", month=12, day=26),
)
"""Days on which exchanges in Europe and America are closed."""
FEWEST_CLOSED = 3  # of them, each missing whenever it came: fewer may be gaps by chance
YEARS_AHEAD = 40


def skipped(axis: TimeAxis, blocks: Sequence[np.ndarray]) -> tuple[int, int]:
    """Steps inside the series that have no row, and all steps inside them.

    Args:
        axis: on which they lie.
        blocks: of each series, the values of its rows.

    >>> skipped(TimeAxis(), [np.array([0, 1, 4]), np.array([7, 8])])
    (2, 7)
    """
    total = rows = 0
    for values in blocks:
        positions = np.unique(axis.positions(values))
        total += int(positions[-1] - positions[0]) + 1
        rows += len(positions)
    return total - rows, total


def numbers_axis(values: np.ndarray, notation: Notation | None = None) -> TimeAxis:
    """The coarsest axis of whole numbers on which all lie.

    >>> numbers_axis(np.array([10, 16, 20])).step
    '2'
    """
    origin = int(values.min())
    return TimeAxis(False, origin, int(np.gcd.reduce(np.unique(values - origin))) or 1, notation)


def fixed_axis(values: np.ndarray, notation: Notation | None = None) -> TimeAxis:
    """The coarsest axis of equal steps on which all dates lie.

    >>> fixed_axis(np.array([0, 2, 5]) * NANOSECONDS_A_DAY).step
    '1 day'
    """
    origin = int(values.min())
    return TimeAxis(True, origin, int(np.gcd.reduce(np.unique(values - origin))) or NANOSECONDS_A_DAY, notation)


def infer_axis(blocks: Sequence[np.ndarray], notation: Notation | None = None) -> TimeAxis:
    """The axis of dates.

    Args:
        blocks: of each series, nanoseconds since 1970 of its rows, by the clock that shows whole days.
        notation: how the file writes them.

    >>> ends = pd.DatetimeIndex(["2022-01-31", "2022-02-28", "2022-03-31"]).as_unit("ns").asi8
    >>> infer_axis([ends]).step
    '1 month, month ends'
    """
    values = np.unique(np.concatenate(list(blocks)))
    days, times = np.divmod(values, NANOSECONDS_A_DAY)
    fixed = fixed_axis(values, notation)
    if len(values) == 1 or np.ptp(times) > 0:
        return fixed
    time = int(times[0])
    months = months_of(values)
    anchor = _anchor(days, months)
    if anchor is not None and np.ptp(months) > 0:
        return _monthly(months, anchor, time, notation)
    weekdays = _weekday_axis(days, fixed, time, notation)
    if weekdays is not None:
        return weekdays
    lost, steps = skipped(fixed, blocks)
    if lost <= MOST_SKIPPED * steps:
        return fixed
    best, fewest = fixed, lost / steps
    for axis in _irregular(values, days, months, time, notation):
        if any(len(np.unique(axis.positions(block))) < len(block) for block in blocks):
            continue
        lost, steps = skipped(axis, blocks)
        if lost / steps < min(fewest, MOST_SKIPPED):
            best, fewest = axis, lost / steps
    return best


def _anchor(days: np.ndarray, months: np.ndarray) -> Anchor:
    """The day on which all dates lie in their months, None where that is not one."""
    if (days == day_of(months, "end")).all():
        return "end"
    latest = int((days - day_of(months, 1)).max()) + 1
    return latest if (days == day_of(months, latest)).all() else None


def _monthly(months: np.ndarray, anchor: Anchor, time: int, notation: Notation | None) -> MonthAxis:
    origin = int(months.min())
    unit = int(np.gcd.reduce(np.unique(months - origin)))
    return MonthAxis(True, origin, unit, notation, anchor=anchor, time_of_day=time)


def _weekday_axis(days: np.ndarray, fixed: TimeAxis, time: int, notation: Notation | None) -> WeekdayAxis | None:
    """Where some weekdays never come, and those that do come often."""
    if fixed.unit % (7 * NANOSECONDS_A_DAY) == 0:
        return None
    weekdays, span = (days + 3) % 7, int(np.ptp(days)) + 1
    counts = np.bincount(weekdays, minlength=7)
    mask = "".join("1" if count else "0" for count in counts)
    origin = int(days[0])
    if span < SHORT_SPAN:
        if counts[5:].any() or np.busday_count(days[0], days[-1] + 1) == span:
            return None
        mask = MONDAY_TO_FRIDAY
        axis = WeekdayAxis(True, origin, 1, notation, mask=mask, time_of_day=time)
        values = days * NANOSECONDS_A_DAY
        return axis if skipped(axis, [values])[0] == 0 else None
    often = counts >= span / 7 / 2
    if counts[:5].all() and not counts[5:].any():
        enough = len(days) >= np.busday_count(days[0], days[-1] + 1) / 2
    else:
        enough = mask != "1111111" and bool((often == (counts > 0)).all())
    if not enough:
        return None
    closing = _closing(days) if mask == MONDAY_TO_FRIDAY else {}
    holidays = tuple(sorted({day for dates in closing.values() for day in dates}))
    return WeekdayAxis(
        True, origin, 1, notation, mask=mask, holidays=holidays, time_of_day=time, closing=tuple(closing)
    )


def _closing(days: np.ndarray) -> dict[str, list[int]]:
    """Holidays whose every date is missing, name -> days since 1970, far into the future."""
    begin, end = pd.Timestamp(days[0], unit="D"), pd.Timestamp(days[-1], unit="D")
    present = set(days.tolist())
    closing: dict[str, list[int]] = {}
    explained: set[int] = set()
    for rule in _CLOSED:
        dates = rule.dates(begin - pd.Timedelta(days=7), end + pd.DateOffset(years=YEARS_AHEAD))
        all_days = [(date - pd.Timestamp(0)).days for date in dates if date.weekday() < 5]
        past = {day for day in all_days if days[0] <= day <= days[-1]} - explained
        if past and not present & past:
            closing[str(rule.name)] = all_days
            explained |= past
    return closing if len(closing) >= FEWEST_CLOSED else {}


def _irregular(
    values: np.ndarray, days: np.ndarray, months: np.ndarray, time: int, notation: Notation | None
) -> Iterator[TimeAxis]:
    """Axes for dates without a fixed step, the finest first."""
    first = int(months.min())
    of_month = np.unique(np.where(days == day_of(months, "end"), 31, days - day_of(months, 1) + 1))
    if 2 <= len(of_month) <= MOST_DAYS_A_MONTH and len(values) >= 3 * len(of_month):
        yield DaysOfMonthAxis(True, first, 1, notation, days=tuple(of_month.tolist()), time_of_day=time)
    monday = int(days[0] - (days[0] + 3) % 7)
    yield WeekAxis(True, monday * NANOSECONDS_A_DAY, 7 * NANOSECONDS_A_DAY, notation)
    rule = _rule(days, months)
    if rule is not None:
        yield _monthly(months, rule, time, notation)
    for unit in (1, 3, 12):
        yield MonthAxis(True, first - first % unit, unit, notation, anchor=None, time_of_day=time)


def _rule(days: np.ndarray, months: np.ndarray) -> Anchor:
    """The weekday or working day of the month on which the dates lie, None where there is none."""
    if np.ptp(months) == 0:
        return None
    weekday = int(days[0] + 3) % 7
    for number in (-1, 1, 2, 3, 4):
        if (days == day_of(months, (number, weekday))).all():
            return number, weekday
    for anchor in ("first weekday", "last weekday"):
        near = np.abs(days - day_of(months, anchor)) <= 4  # a holiday moves it
        if near.all() and (days == day_of(months, anchor)).mean() >= ANCHORED:
            return anchor
    return None
