"""Times that are written as text: ISO dates, with offsets or a zone, months, quarters, weeks, dates of a country."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd

from transformer_spectrum.data.files.number_dates import monday_of
from transformer_spectrum.data.files.numeric_times import numeric_times
from transformer_spectrum.data.files.time_axis import Notation, written
from transformer_spectrum.data.files.times import REMEDY, Times, as_numbers, blank_cells, complain, nanoseconds
from transformer_spectrum.runtime.errors import InputError

MONTHS = ("%Y-%m", "%Y/%m", "%m/%Y", "%m-%Y", "%m.%Y")
FISCAL = ("%Y-%m", "%Y/%m")
NAMED_MONTHS = (
    "%b %Y",
    "%B %Y",
    "%Y %b",
    "%Y %B",
    "%b-%Y",
    "%B-%Y",
    "%Y-%b",
    "%b-%y",
    "%b %y",
    "%b, %Y",
    "%Y%b",
    "%b%Y",
)
NAMED_DAYS = (
    *("%d %b %Y", "%d %B %Y", "%d-%b-%Y", "%d-%B-%Y", "%d/%b/%Y", "%d%b%Y", "%d-%b-%y", "%d %b %y", "%d. %b %Y"),
    *("%d. %B %Y", "%b %d, %Y", "%B %d, %Y", "%b %d %Y", "%B %d %Y", "%Y-%b-%d", "%Y %b %d", "%a, %d %b %Y"),
)
YEAR_FIRST = ("%Y-%j", "%Y/%m/%d", "%Y.%m.%d", "%Y %m %d")
DAY_OR_MONTH_FIRST = tuple(
    (f"%d{sign}%m{sign}{year}", f"%m{sign}%d{sign}{year}") for sign in "/- " for year in ("%Y", "%y")
)
SHORT_YEAR_FIRST = ("%y/%m/%d", "%y-%m-%d")
"""Rare: where the day cannot come first, or where it makes of decades a row of days."""
CENTURY_TURNS, LAST_OF_TWO_DIGITS = 60, 2050
"""Years that dates of two digits may span, and up to which they are believed: 68 is 2068, and 69 is 1969."""
WITH_DOTS = ("%d.%m.%Y", "%d.%m.%y")  # the day comes first wherever dots are written
CLOCKS = (
    "",
    " %H:%M",
    " %H:%M:%S",
    " %H:%M:%S.%f",
    "T%H:%M",
    "T%H:%M:%S",
    " %I:%M %p",
    " %I:%M:%S %p",
    " %H",
    ", %H:%M",
)
OFFSET = r"\s*(?:[+-]\d{2}:?\d{2}|[+-]\d{2}|Z|UTC|GMT)$"
PERIODS: tuple[tuple[str, int], ...] = (
    (r"(?P<year>\d{4})[-_ ./]?[Qq](?P<part>[1-4])", 3),
    (r"[Qq](?P<part>[1-4])[-_ ./']*(?P<year>\d{4})", 3),
    (r"(?P<part>[1-4])[Qq][-_ ./]?(?P<year>\d{4})", 3),
    (r"(?P<year>\d{4})[-_ ]?M(?P<part>0?[1-9]|1[0-2])", 1),
    (r"(?P<year>\d{4})[-_ ]?[HS](?P<part>[12])", 6),
    (r"(?:FY|CY|AD)[-_ ]?(?P<year>\d{4})(?P<part>)", 12),
)
WEEK = r"(?P<year>\d{4})[-_ ]?[Ww](?:eek)?[-_ ]?(?P<week>\d{1,2})(?:-?(?P<day>[1-7]))?"
SHAPES = {
    "Y": r"\d{4}",
    "y": r"\d\d",
    "j": r"\d{1,3}",
    "f": r"\d{1,9}",
    **dict.fromkeys("mdHIMS", r" ?\d{1,2}"),
    **dict.fromkeys("abBp", r"\D*"),
}
"""What a directive of strptime takes at most, whatever the locale."""
RULE = "must be a date such as 2022-01-31, or a whole number"


def read_times(place: str, cells: pd.Series) -> Times:
    """The times of a column, however they are written.

    Args:
        place: the file, for messages.
        cells: text, numbers, dates or periods, named as the column.
    Raises:
        InputError: a blank; text that is no date; or one that may be read in more than one way.

    >>> read_times("x.csv", pd.Series(["2022-Q1", "2022-Q2"], name="quarter")).name
    'periods such as 2022-Q1'
    >>> read_times("x.csv", pd.Series(["01/02/2022", "03/02/2022"], name="date"))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    transformer_spectrum.runtime.errors.InputError: x.csv: date = '01/02/2022' may be dd/mm/yyyy or mm/dd/yyyy; ...
    """
    blank = blank_cells(cells)
    if blank.any():
        raise complain(place, cells, blank, "a time must not be blank")
    if isinstance(cells.dtype, pd.PeriodDtype):
        return Times(nanoseconds(cells.dt.start_time), True, "periods")
    try:
        if cells.dtype.kind == "M":
            return _of_dates(cells)
        numbers = as_numbers(cells)
        if numbers is not None:
            return _of_numbers(place, cells, numbers)
        return _of_text(place, cells)
    except (pd.errors.OutOfBoundsDatetime, OverflowError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{place}: {cells.name}: dates must lie between 1678 and 2261 ({reason})") from None


def _of_numbers(place: str, cells: pd.Series, numbers: np.ndarray) -> Times:
    if not np.isfinite(numbers).all():
        raise complain(place, cells, ~np.isfinite(numbers), "a time must be finite")
    return numeric_times(place, cells, numbers)


def _of_dates(cells: pd.Series) -> Times:
    zone = cells.dt.tz
    if zone is None:
        return Times(nanoseconds(cells), True, "dates")
    wall = nanoseconds(cells.dt.tz_localize(None))
    return Times(
        wall, True, f"dates of {zone}", None, nanoseconds(cells.dt.tz_convert("UTC").dt.tz_localize(None)), str(zone)
    )


def _of_text(place: str, cells: pd.Series) -> Times:
    text = cells.astype(str).str.strip()
    for attempt in (_periods, _weeks, _months, _days):
        times = attempt(place, cells, text)
        if times is not None:
            return times
    return _iso_dates(place, cells, text)


@functools.cache
def _shape(pattern: str) -> re.Pattern[str]:
    """Matches all that strptime reads by a pattern, and more: it knows neither names nor the days of a month."""
    pieces = re.split(r"%(.)", pattern)
    literals = [r"\s+".join(map(re.escape, re.split(r"\s+", piece))) for piece in pieces[::2]]
    directives = [SHAPES[directive] for directive in pieces[1::2]]
    return re.compile("".join(map("".join, zip(literals, [*directives, ""], strict=True))), re.IGNORECASE)


def _fitting(cell: str, patterns: Iterable[str]) -> list[str]:
    """The patterns that a cell may be read by, so that one word is not parsed by each of hundreds."""
    return [pattern for pattern in patterns if _shape(pattern).fullmatch(cell)]


def _parsed(text: pd.Series, pattern: str) -> pd.DatetimeIndex | None:
    """Dates by a pattern of strptime, None unless all are such; the first decides quickly."""
    if pd.isna(pd.to_datetime(text.iloc[:1], format=pattern, errors="coerce")).any():
        return None
    dates = pd.to_datetime(text, format=pattern, errors="coerce")
    return None if dates.isna().any() else pd.DatetimeIndex(dates)


def _periods(place: str, cells: pd.Series, text: pd.Series) -> Times | None:
    for pattern, months in PERIODS:
        if not re.fullmatch(pattern, text.iloc[0]):
            continue
        fields = text.str.extract(f"^{pattern}$")
        if fields["year"].isna().any():
            raise complain(place, cells, fields["year"].isna().to_numpy(), f"must be written as {text.iloc[0]}")
        period = fields["part"].replace("", "1").astype(int)
        dates = pd.to_datetime({"year": fields["year"].astype(int), "month": (period - 1) * months + 1, "day": 1})
        notation = Notation(f"periods such as {text.iloc[0]}", _alike(text.iloc[0], pattern, months))
        return Times(nanoseconds(dates), True, notation.name, notation)
    return None


def _alike(example: str, pattern: str, months: int) -> Callable[[int], str]:
    """Writes a period as an example is written."""
    match = re.fullmatch(pattern, example)
    assert match is not None

    def write(value: int) -> str:
        date = pd.Timestamp(value)
        text = example
        fields = {"year": f"{date.year:04d}"}
        if match["part"]:
            fields["part"] = f"{(date.month - 1) // months + 1:0{len(match['part'])}d}"
        for name in sorted(fields, key=lambda name: -match.start(name)):
            text = text[: match.start(name)] + fields[name] + text[match.end(name) :]
        return text

    return write


def _weeks(place: str, cells: pd.Series, text: pd.Series) -> Times | None:
    if not re.fullmatch(WEEK, text.iloc[0]):
        return None
    fields = text.str.extract(f"^{WEEK}$")
    if fields["year"].isna().any():
        raise complain(place, cells, fields["year"].isna().to_numpy(), f"must be written as {text.iloc[0]}")
    mondays = monday_of(fields["year"].astype(int).to_numpy(), fields["week"].astype(int).to_numpy())
    if mondays.isna().any():
        raise complain(place, cells, np.asarray(mondays.isna()), "no such ISO week")
    days = fields["day"].fillna("1").astype(int).to_numpy() - 1
    match = re.fullmatch(WEEK, text.iloc[0])
    assert match is not None
    pattern = "%G" + text.iloc[0][match.end("year") : match.start("week")] + "%V" + ("-%u" if match["day"] else "")
    notation = Notation("ISO weeks", written(pattern))
    return Times(nanoseconds(mondays + pd.to_timedelta(days, unit="D")), True, "ISO weeks", notation)


def _months(place: str, cells: pd.Series, text: pd.Series) -> Times | None:
    if re.fullmatch(r"\d{4}-?\d\d-?\d\d.*", text.iloc[0]):
        return None
    for pattern in _fitting(text.iloc[0], (*MONTHS, *NAMED_MONTHS)):
        dates = _parsed(text, pattern)
        if dates is not None:
            _refuse_other_centuries(place, cells, pattern, dates)
            if pattern in FISCAL and len(dates) > 1 and (dates.month == (dates.year + 1) % 100).all():
                raise InputError(
                    f"{place}: {cells.name} = {text.iloc[0]!r} may be a month or a year that ends in another; "
                    "write months as 2022-01-31, or years as 2022"
                )
            name = "months" if pattern == "%Y-%m" else f"months such as {text.iloc[0]}"
            return Times(nanoseconds(dates), True, name, Notation(name, written(pattern)))
    return None


def _days(place: str, cells: pd.Series, text: pd.Series) -> Times | None:
    first = text.iloc[0]
    if re.match(r"\d{4}-\d{1,2}-\d{1,2}", first):
        return None  # ISO
    clocks = [clock for clock in CLOCKS if bool(clock) == bool(re.search(r"\d[ ,T]+\d{1,2}(:|$)", first))]
    for clock in clocks:
        for pattern in _fitting(first, (day + clock for day in (*YEAR_FIRST, *NAMED_DAYS, *WITH_DOTS))):
            dates = _parsed(text, pattern)
            if dates is not None:
                _refuse_other_centuries(place, cells, pattern, dates)
                return Times(nanoseconds(dates), True, f"dates such as {text.iloc[0]}")
        for patterns in (*DAY_OR_MONTH_FIRST, *((pattern,) for pattern in SHORT_YEAR_FIRST)):
            possible = _readings(text, patterns, clock)
            if possible and patterns[0].endswith("%y"):
                possible |= _nearer(_readings(text, SHORT_YEAR_FIRST, clock), possible)
            if len({nanoseconds(dates).tobytes() for dates in possible.values()}) > 1:
                orders = " or ".join(_spelled(pattern) for pattern in possible)
                raise InputError(f"{place}: {cells.name} = {text.iloc[0]!r} may be {orders}; write dates as 2022-01-31")
            for pattern, dates in possible.items():
                _refuse_other_centuries(place, cells, pattern, dates)
                return Times(nanoseconds(dates), True, f"dates {_spelled(pattern)}")
    return None


def _readings(text: pd.Series, patterns: Iterable[str], clock: str) -> dict[str, pd.DatetimeIndex]:
    """Pattern -> dates, of those by which all cells can be read."""
    readings = {
        pattern: _parsed(text, pattern + clock) for pattern in patterns if _fitting(text.iloc[0], (pattern + clock,))
    }
    return {pattern: dates for pattern, dates in readings.items() if dates is not None}


def _nearer(readings: dict[str, pd.DatetimeIndex], others: dict[str, pd.DatetimeIndex]) -> dict[str, pd.DatetimeIndex]:
    """Those whose dates lie nearer together than those of all others: 22/01/01, 22/01/02 are days more likely than
    the 22nd of January of two years."""
    least = min(dates.max() - dates.min() for dates in others.values())
    return {pattern: dates for pattern, dates in readings.items() if dates.max() - dates.min() < least}


def _refuse_other_centuries(place: str, cells: pd.Series, pattern: str, dates: pd.DatetimeIndex) -> None:
    """Years of two digits that may be of another century than strptime takes them to be."""
    if "%y" in pattern and (
        dates.year.max() >= LAST_OF_TWO_DIGITS or dates.year.max() - dates.year.min() > CENTURY_TURNS
    ):
        raise complain(
            place,
            cells,
            np.asarray(dates.year == dates.year.max()),
            "years of two digits may be of two centuries; write dates as 2022-01-31",
        )


def _spelled(pattern: str) -> str:
    return pattern.replace("%d", "dd").replace("%m", "mm").replace("%Y", "yyyy").replace("%y", "yy")


def _unlike_the_first(text: pd.Series, wrong: np.ndarray, rule: str) -> tuple[np.ndarray, str]:
    """Rows that are not written as the first, where that is a date, and the rule; else what is given."""
    days = (*YEAR_FIRST, *NAMED_DAYS, *WITH_DOTS, *(pattern for pair in DAY_OR_MONTH_FIRST for pattern in pair))
    patterns = (*MONTHS, *NAMED_MONTHS, *(day + clock for clock in CLOCKS for day in days))
    for pattern in _fitting(text.iloc[0], patterns):
        if _parsed(text.iloc[:1], pattern) is not None:
            fails = pd.to_datetime(text, format=pattern, errors="coerce").isna().to_numpy()
            if fails.sum() < wrong.sum():
                wrong, rule = fails, f"must be a date such as {text.iloc[0]}"
    return wrong, rule


def _iso_dates(place: str, cells: pd.Series, text: pd.Series) -> Times:
    if not any(sign.isdigit() for sign in text.iloc[0]):
        raise complain(place, cells, np.ones(len(text), bool), f"{RULE}, {REMEDY}")
    if text.iloc[0].endswith(("UTC", "GMT")):
        text = text.str.replace(r"\s*(?:UTC|GMT)$", "Z", regex=True)
    rule = f"{RULE}, {REMEDY}"
    if pd.to_datetime(text.iloc[:1], format="ISO8601", errors="coerce", utc=True).isna().any():
        raise complain(place, cells, *_unlike_the_first(text, np.ones(len(text), bool), rule))
    dates = pd.to_datetime(text, format="ISO8601", errors="coerce", utc=True)
    if dates.isna().any():
        raise complain(place, cells, dates.isna().to_numpy(), rule)
    instants = nanoseconds(dates.dt.tz_localize(None))
    offset = text.str.contains(rf"(?::\d\d(?:\.\d+)?|[T ]\d\d){OFFSET}", regex=True)
    if not offset.any():
        return Times(instants, True, "dates")
    if not offset.all():
        raise complain(place, cells, ~offset.to_numpy(), "has no offset from UTC, and the others have one")
    wall = pd.to_datetime(text.str.replace(OFFSET, "", regex=True), format="ISO8601", errors="coerce", utc=True)
    if wall.isna().any():
        raise complain(place, cells, wall.isna().to_numpy(), RULE)
    return Times(nanoseconds(wall.dt.tz_localize(None)), True, "dates with offsets", None, instants)
