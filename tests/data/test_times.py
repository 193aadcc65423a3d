"""Cells of time, however they are written, and the calendar that they follow: right dates, right gaps, or a refusal."""

import itertools
import random

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.tseries import holiday
from pandas.tseries.offsets import CustomBusinessDay

from transformer_spectrum.data.files import text_times
from transformer_spectrum.data.files.frequency import infer_axis, numbers_axis, skipped
from transformer_spectrum.data.files.text_times import read_times
from transformer_spectrum.runtime.errors import InputError

DAYS = pd.date_range("2010-01-01", "2011-01-31")
HOURS = pd.date_range("2010-12-31", periods=50, freq="h")
MONTHS = pd.date_range("2010-01-01", periods=40, freq="MS")
QUARTERS = pd.date_range("2010-01-01", periods=12, freq="QS")
WEEKS = pd.date_range("2019-12-30", periods=80, freq="W-MON")


def read(name, cells, dtype=object):
    times = read_times("f.csv", pd.Series(list(cells), name=name, dtype=dtype))
    axis = infer_axis([times.values], times.notation) if times.dated else numbers_axis(times.values, times.notation)
    return times, axis


def following(times, axis, count=1):
    """What the file calls the steps behind its last row."""
    last = int(axis.positions(times.values).max())
    cells = [axis.cell(last + i + 1) for i in range(count)]
    return cells[0] if count == 1 else cells


@pytest.mark.parametrize(
    ("name", "cells", "step", "after"),
    [
        ("ds", DAYS.strftime("%Y%m%d"), "1 day", 20110201),
        ("date", DAYS.strftime("%Y%j"), "1 day", 2011032),
        ("ds", MONTHS.strftime("%Y%m"), "1 month", 201305),
        ("step", ["201011", "201012", "201101"], "1 month", 201102),
        ("week", WEEKS.strftime("%G%V"), "1 week", 202128),
        ("time", WEEKS.strftime("%G%V"), "1 week", 202128),
        ("week", [201451, 201452, 201453, 201501], "1 week", 201502),  # weeks of epidemiologists: 2014 has 53
        ("quarter", [date.year * 10 + date.quarter for date in QUARTERS], "1 quarter", 20131),
        ("time", HOURS.strftime("%Y%m%d%H"), "1 hour", 2011010202),
        ("time", HOURS.strftime("%Y%m%d%H%M"), "1 hour", 201101020200),
        ("time", HOURS.strftime("%Y%m%d%H%M%S"), "1 hour", 20110102020000),
        ("timestamp", MONTHS.as_unit("s").asi8, "1 month", pd.Timestamp("2013-05-01").as_unit("s").value // 10**9),
        ("timestamp", HOURS.as_unit("ms").asi8, "1 hour", pd.Timestamp("2011-01-02T02").value // 10**6),
        ("epoch", HOURS.as_unit("us").asi8, "1 hour", pd.Timestamp("2011-01-02T02").value // 10**3),
        ("ts", HOURS.as_unit("ns").asi8, "1 hour", pd.Timestamp("2011-01-02T02").value),
        ("Year", range(1960, 2020), "1", 2020),
        ("Year", np.arange(1960.0, 2020.0), "1", 2020),
        ("Year", range(1960, 2020, 5), "5", 2020),
        ("t", np.arange(20) * 0.1, "1", 2.0),
        ("t", np.round(np.arange(301) / 3, 3), "1", round(100 + 100 / 300, 10)),
        ("time", [round(1949 + i / 12, 4) for i in range(144)], "1", 1961.0),
        ("time", 1949 + np.arange(50) / 4, "1", 1961.5),
        ("date", MONTHS.strftime("%Y.%m"), "1 month", "2013.05"),
        ("date", MONTHS.strftime("%Y-%m"), "1 month", "2013-05"),
        ("date", MONTHS.strftime("%b %Y"), "1 month", "May 2013"),
        ("date", MONTHS.strftime("%B-%Y"), "1 month", "May-2013"),
        ("date", MONTHS.strftime("%m/%Y"), "1 month", "05/2013"),
        ("date", MONTHS.strftime("%YM%m"), "1 month", "2013M05"),
        ("date", MONTHS.strftime("%d.%m.%Y"), "1 month, day 1", "2013-05-01"),
        ("date", DAYS.strftime("%d/%m/%Y"), "1 day", "2011-02-01"),
        ("date", DAYS.strftime("%m/%d/%y"), "1 day", "2011-02-01"),
        ("date", DAYS.strftime("%d-%b-%Y"), "1 day", "2011-02-01"),
        ("date", DAYS.strftime("%b %d, %Y"), "1 day", "2011-02-01"),
        ("date", DAYS.strftime("%Y-%j"), "1 day", "2011-02-01"),
        ("date", [f"{date.year}Q{date.quarter}" for date in QUARTERS], "1 quarter", "2013Q1"),
        ("date", [f"Q{date.quarter} {date.year}" for date in QUARTERS], "1 quarter", "Q1 2013"),
        ("date", WEEKS.strftime("%G-W%V"), "1 week", "2021-W28"),
        ("date", WEEKS.strftime("%GW%V"), "1 week", "2021W28"),
        ("date", HOURS.strftime("%Y-%m-%d %H:%M"), "1 hour", "2011-01-02T02:00:00"),
        ("date", ["FY1999", "FY2000", "FY2001"], "1 year", "FY2002"),
    ],
)
def test_every_way_of_writing_time_is_read_without_a_gap_and_goes_on_as_it_is_written(name, cells, step, after):
    times, axis = read(name, cells)
    assert skipped(axis, [times.values]) == (0, len(cells))
    assert axis.step == step
    assert following(times, axis) == after


@pytest.mark.parametrize(
    ("name", "cells", "words"),
    [
        ("ds", [20100130, 20100131, 20100132], "row 3: ds = '20100132'; neither a date YYYYMMDD nor a number of steps"),
        ("ds", [201010, 201011, 201054], "row 3: ds = '201054'; neither YYYYMM nor YYYYWW"),
        ("date", [200131, 200201, 200203], "may be YYYYWW, weeks, or YYMMDD, days"),
        ("date", [150131, 150201, 150203], "row 1: date = '150131'; may be a date YYMMDD"),
        ("date", ["01012020", "02012020", "31012020"], "may be a date DDMMYYYY or MMDDYYYY"),
        ("date", [1012020, 1022020, 1312020], "may be a date DDMMYYYY or MMDDYYYY"),
        ("date", [43831, 43862, 43891, 43922], "the distances are 29, 31, like months"),
        ("date", MONTHS.strftime("%d/%m/%Y"), "may be dd/mm/yyyy or mm/dd/yyyy"),
        ("date", ["31.12.2020", "31.02.2021"], "row 2: date = '31.02.2021'; must be a date such as 31.12.2020"),
        ("date", ["2020-01-01", ""], "row 2: date = ''; a time must not be blank"),
        ("date", ["2020-W53", "2021-W53"], "no such ISO week"),
        ("date", ["2020-01-01T00:00Z", "2020-01-02T00:00"], "row 2: date = '2020-01-02T00:00'; has no offset"),
        ("date", ["1500-01-01", "1501-01-01"], "dates must lie between 1678 and 2261"),
        ("step", ["0.5"], "numbers of steps must be whole"),
        ("step", ["0", "1e-300", "1"], "numbers of steps must be whole"),
    ],
)
def test_what_is_not_certain_is_refused_with_the_rule(name, cells, words):
    with pytest.raises(InputError) as refused:
        read(name, cells)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


FREQUENCIES = (
    *(
        "D",
        "2D",
        "W-FRI",
        "2W",
        "MS",
        "ME",
        "QS",
        "QE",
        "QE-FEB",
        "YS",
        "YE",
        "YE-JAN",
        "BME",
        "BMS",
        "BQE",
        "BYE",
        "B",
    ),
    *("WOM-3FRI", "SMS", "SME", "h", "6h", "15min", "2MS"),
)


@given(frequency=st.sampled_from(FREQUENCIES), gaps=st.sets(st.integers(1, 58), max_size=6))
@settings(max_examples=60, deadline=None)
def test_the_frequency_is_that_of_pandas_also_with_gaps_which_are_counted_in_it(frequency, gaps):
    dates = pd.date_range("2012-01-01", periods=63, freq=frequency)
    there = dates[:60].delete(sorted(gaps))
    values = there.as_unit("ns").asi8
    axis = infer_axis([values])
    assert skipped(axis, [values]) == (len(gaps), 60)
    last = int(axis.positions(values[-1:])[0])
    assert [pd.Timestamp(axis.value(last + i)) for i in (1, 2, 3)] == dates[60:].tolist()
    assert [axis.value(int(position)) for position in axis.positions(values)] == values.tolist()


def test_days_on_which_exchanges_are_closed_are_no_gaps_and_others_are():
    rules = [
        holiday.Holiday("New Year", month=1, day=1, observance=holiday.sunday_to_monday),
        holiday.USMartinLutherKingJr,
        holiday.USPresidentsDay,
        holiday.GoodFriday,
        holiday.USMemorialDay,
        holiday.Holiday("Independence Day", month=7, day=4, observance=holiday.nearest_workday),
        holiday.USLaborDay,
        holiday.USThanksgivingDay,
        holiday.Holiday("Christmas", month=12, day=25, observance=holiday.nearest_workday),
    ]
    exchange = CustomBusinessDay(calendar=type("Exchange", (holiday.AbstractHolidayCalendar,), {"rules": rules})())
    dates = pd.date_range("2015-01-02", "2017-12-26", freq=exchange)
    values = dates[:-3].delete([100, 300]).as_unit("ns").asi8
    axis = infer_axis([values])
    assert skipped(axis, [values])[0] == 2
    last = int(axis.positions(values[-1:])[0])
    assert [axis.label(last + i) for i in (1, 2, 3)] == dates[-3:].strftime("%Y-%m-%d").tolist()


def test_days_without_a_fixed_place_in_the_month_make_months_that_are_written_as_such():
    days = np.random.default_rng(0).integers(0, 27, 40)
    dates = pd.DatetimeIndex([month + pd.Timedelta(days=int(day)) for month, day in zip(MONTHS, days, strict=True)])
    axis = infer_axis([dates.as_unit("ns").asi8])
    assert (axis.step, axis.label(40)) == ("1 month, on changing days", "2013-05")


def test_a_few_days_are_days_and_no_working_week():
    axis = infer_axis([pd.DatetimeIndex(["2022-01-03", "2022-01-04", "2022-01-06"]).as_unit("ns").asi8])
    assert axis.step == "1 day"


PATTERNS = sorted(
    {
        *text_times.MONTHS,
        *text_times.NAMED_MONTHS,
        *(
            day + clock
            for clock in text_times.CLOCKS
            for day in (
                *text_times.YEAR_FIRST,
                *text_times.NAMED_DAYS,
                *text_times.WITH_DOTS,
                *itertools.chain(*text_times.DAY_OR_MONTH_FIRST, text_times.SHORT_YEAR_FIRST),
            )
        ),
    }
)


@pytest.mark.parametrize("part", range(8))
def test_no_shape_passes_over_what_its_pattern_reads(part):
    """Cells are dates in all notations, and what a slip of a key or two makes of them."""
    slips, signs = random.Random(part), "0123456789 -/.,:TZabM\t"
    moments = pd.DatetimeIndex(["2022-01-03 04:05:06.123456", "1999-12-31 23:59:59", "2020-02-09 12:00:00"])
    cells = {moment.strftime(pattern) for pattern in PATTERNS[part::8] for moment in moments}
    for cell in sorted(cells):
        place = slips.randrange(len(cell))
        cells |= {
            (cell[:place] + slips.choice(signs) + cell[place + kept :]).strip() for kept in slips.choices((0, 1), k=2)
        } | {cell[:place] + cell[place + 1 :]}
    # pandas takes -01 03 22 for a day of the year -1, which nobody has written.
    column = pd.Series(sorted(cell for cell in cells if cell and not cell.startswith("-")))
    read = 0
    for pattern in PATTERNS:
        dates = pd.to_datetime(column, format=pattern, errors="coerce")
        read += dates.notna().sum()
        missed = [cell for cell in column[dates.notna()] if not text_times._fitting(cell, [pattern])]
        assert not missed, pattern
    assert read > 100


@pytest.mark.parametrize("word", ["alpha17", "6/6/0/4", "a", "12-x", "2022-W", "now", "today"])
def test_a_word_is_parsed_by_hardly_any_notation(word, monkeypatch):
    parsed = []
    to_datetime = pd.to_datetime
    monkeypatch.setattr(pd, "to_datetime", lambda *a, **k: parsed.append(k.get("format")) or to_datetime(*a, **k))
    with pytest.raises(InputError):
        read("note", [word] * 20)
    assert len(parsed) < 12


@pytest.mark.parametrize("pattern", ["%b-%y", "%m/%d/%y", "%d-%b-%y", "%y/%m/%d", "%d.%m.%y"])
@pytest.mark.parametrize(("begin", "periods"), [("1960-01-31", 200), ("1962-03-31", 20)])
def test_years_of_two_digits_are_of_one_century_for_certain(pattern, begin, periods):
    """strptime takes 68 for 2068 and 69 for 1969."""
    cells = pd.date_range(begin, periods=periods, freq="ME").strftime(pattern)
    with pytest.raises(InputError, match=r"years of two digits may be of two centuries|may be .* or .*; write dates"):
        read("date", cells)


@pytest.mark.parametrize("pattern", ["%b-%y", "%m/%d/%y", "%d-%b-%y", "%d.%m.%y"])
@pytest.mark.parametrize("begin", ["1970-01-31", "1999-01-31", "2010-05-31"])
def test_years_of_two_digits_that_are_plain_are_read(pattern, begin):
    dates = pd.date_range(begin, periods=240, freq="ME")
    times, _ = read("date", dates.strftime(pattern))
    held = pd.DatetimeIndex(times.values)
    assert (held.year == dates.year).all()
    assert (held.month == dates.month).all()


def test_a_year_that_stands_first_is_not_taken_for_a_day():
    days = pd.date_range("2022-01-01", periods=40)
    with pytest.raises(InputError, match="may be dd/mm/yy or yy/mm/dd; write dates as 2022-01-31"):
        read("date", days.strftime("%y/%m/%d"))
    usual = pd.date_range("2022-01-01", periods=400).strftime("%d/%m/%y")
    assert read("date", usual)[0].name == "dates dd/mm/yy"


def test_years_that_end_in_another_are_no_months():
    years = [f"{year}-{(year + 1) % 100:02d}" for year in range(2001, 2012)]
    with pytest.raises(InputError, match="'2001-02' may be a month or a year that ends in another"):
        read("season", years)
    assert read("month", ["2001-02", "2001-03"])[0].name == "months"
