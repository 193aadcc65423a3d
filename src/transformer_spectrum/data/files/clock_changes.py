"""Local times without offsets that follow a clock which changes between winter and summer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from transformer_spectrum.data.files.frequency import fixed_axis, skipped
from transformer_spectrum.data.files.time_axis import NANOSECONDS_A_DAY, Notation

ZONES = (
    *("Europe/Berlin", "Europe/London", "Europe/Athens", "America/New_York", "Australia/Sydney", "Pacific/Auckland"),
    *("America/Santiago", "Asia/Jerusalem", "America/Chicago", "America/Denver", "America/Los_Angeles"),
)
"""At least one zone for each rule by which clocks change: what matters here is when they do."""


def instants_of(blocks: Sequence[np.ndarray]) -> tuple[str, list[np.ndarray]] | None:
    """Reads local times as those of a zone, where this leaves no step without a row around the changes of its clock.

    Args:
        blocks: of each series, nanoseconds since 1970 by the clock on the wall, in the order of the rows.
    Returns:
        The zone, and nanoseconds since 1970 UTC; None where no zone explains a missing or a repeated hour.

    >>> hours = pd.date_range("2022-03-26", "2022-03-28", freq="h", tz="Europe/Berlin").tz_localize(None).as_unit("ns")
    >>> zone, (instants,) = instants_of([hours.asi8])
    >>> zone, set(np.diff(instants).tolist())
    ('Europe/Berlin', {3600000000000})
    """
    unit = fixed_axis(np.concatenate(list(blocks))).unit
    if 24 * 3_600_000_000_000 % unit or unit > 3_600_000_000_000:
        return None
    lost = skipped(fixed_axis(np.concatenate(list(blocks))), blocks)[0]
    repeated = any(len(np.unique(block)) < len(block) for block in blocks)
    if not lost and not repeated:
        return None
    longest = max(blocks, key=len)
    within = skipped(fixed_axis(longest), [longest])[0]
    for zone in ZONES:
        try:
            alone = _instants(longest, zone)
            if not repeated and skipped(fixed_axis(alone), [alone])[0] >= within:
                continue
            instants = [_instants(block, zone) for block in blocks]
        except ValueError:  # a time that the zone's clock skips, or repeats where the rows do not
            continue
        axis = fixed_axis(np.concatenate(instants))
        steady = all(len(np.unique(block)) == len(block) for block in instants)
        if steady and axis.unit == unit and (repeated or skipped(axis, instants)[0] < lost):
            return zone, instants
    return None


def _instants(block: np.ndarray, zone: str) -> np.ndarray:
    dates = pd.DatetimeIndex(block)
    return dates.tz_localize(zone, ambiguous="infer").tz_convert("UTC").tz_localize(None).as_unit("ns").asi8


def days_of(blocks: Sequence[np.ndarray]) -> tuple[str, list[np.ndarray]] | None:
    """Reads times in UTC as days of a zone, where its clock shows the same time of day at all of them.

    Args:
        blocks: of each series, nanoseconds since 1970 UTC.
    Returns:
        The zone, and nanoseconds since 1970 by its clock; None where no zone does it.

    >>> midnights = pd.date_range("2022-03-26", "2022-03-28", tz="Europe/Berlin").tz_convert("UTC").tz_localize(None)
    >>> zone, (walls,) = days_of([midnights.as_unit("ns").asi8])
    >>> zone, set(np.diff(walls).tolist())
    ('Europe/Berlin', {86400000000000})
    """
    for zone in ZONES:
        first = _wall(blocks[0], zone) % NANOSECONDS_A_DAY
        if len(np.unique(first)) > 1:
            continue
        walls = [_wall(block, zone) for block in blocks]
        if all((wall % NANOSECONDS_A_DAY == first[0]).all() for wall in walls):
            return zone, walls
    return None


def zone_of(walls: np.ndarray, instants: np.ndarray) -> str | None:
    """The first zone whose clock shows so much at some instants, nanoseconds since 1970 both; None where none does.

    >>> zone_of(np.array([3_600_000_000_000]), np.array([0]))  # an hour ahead in January 1970, as in Berlin
    'Europe/Berlin'
    """
    return next((zone for zone in ZONES if (_wall(instants, zone) == walls).all()), None)


def _wall(block: np.ndarray, zone: str) -> np.ndarray:
    return pd.DatetimeIndex(block).tz_localize("UTC").tz_convert(zone).tz_localize(None).as_unit("ns").asi8


def midnight(zone: str) -> Notation:
    """Writes days of a zone as instants in UTC.

    >>> midnight("Europe/Berlin").write(NANOSECONDS_A_DAY)
    '1970-01-01T23:00:00+00:00'
    """

    def write(value: int) -> str:
        return pd.Timestamp(value).tz_localize(zone).tz_convert("UTC").isoformat()

    return Notation(f"days of {zone} in UTC", write)


def local(zone: str) -> Notation:
    """Writes instants as the zone's clock shows them.

    >>> local("Europe/Berlin").write(0)
    '1970-01-01T01:00:00'
    """

    def write(value: int) -> str:
        return pd.Timestamp(value, tz="UTC").tz_convert(zone).tz_localize(None).isoformat()

    return Notation(f"local times with the clock changes of {zone}", write)


def with_offset(zone: str | None, offset: int | None) -> Notation:
    """Writes instants with their offset from UTC.

    Args:
        zone: that decides the offset; None = none is known.
        offset: nanoseconds, where it is always the same; else UTC.

    >>> with_offset(None, 3_600_000_000_000).write(0), with_offset("America/New_York", None).write(0)
    ('1970-01-01T01:00:00+01:00', '1969-12-31T19:00:00-05:00')
    """
    fixed = pd.Timedelta(offset or 0).to_pytimedelta()

    def write(value: int) -> str:
        date = pd.Timestamp(value, tz="UTC")
        if zone is not None:
            return date.tz_convert(zone).isoformat()
        return (date.tz_localize(None) + fixed).isoformat() + _spelled(int(fixed.total_seconds()))

    return Notation("dates with offsets", write)


def _spelled(seconds: int) -> str:
    minutes = abs(seconds) // 60
    return f"{'-' if seconds < 0 else '+'}{minutes // 60:02d}:{minutes % 60:02d}"
