"""The COVID-19 table: what is refused, and how a country's series comes out of it."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from transformer_spectrum.data.series import covid
from transformer_spectrum.data.series.aggregates import is_sum_of_countries
from transformer_spectrum.data.series.covid import (
    check_covid_complete,
    covid_series,
    read_covid,
    reports_weekly,
    trailing_mean,
)
from transformer_spectrum.runtime.errors import InputError

TABLE = "date,World,Malta\n2023-03-07,5.0,\n2023-03-08,60.0,17.0\n2023-03-09,7.0,12.0\n"
NAN = np.nan


def table(start: str = "2020-01-22", **columns: list[float]) -> pd.DataFrame:
    length = len(next(iter(columns.values())))
    return pd.DataFrame(columns, index=pd.date_range(start, periods=length), dtype=np.float64)


def one(values: list[float], smoothing_days: int = 1):
    """A single country's series and the report on it."""
    (series,), report = covid_series(table(Malta=values), ["Malta"], smoothing_days)
    return series, report


@pytest.fixture
def read(tmp_path):
    def from_text(text: str | bytes) -> pd.DataFrame:
        path = tmp_path / "series.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_covid(path)

    return from_text


def test_the_table_is_read_as_it_is_written(read):
    frame = read(TABLE)
    assert list(frame.columns) == ["World", "Malta"]
    assert [str(day.date()) for day in frame.index] == ["2023-03-07", "2023-03-08", "2023-03-09"]
    np.testing.assert_array_equal(frame.to_numpy(), [[5, NAN], [60, 17], [7, 12]])
    check_covid_complete(frame, "x")


@pytest.mark.parametrize("text", ["﻿" + TABLE, TABLE.replace("\n", "\r\n")])
def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(read, text):
    pd.testing.assert_frame_equal(read(text), read(TABLE))


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        (b"\xff\xfe\x00", "not UTF-8"),
        ("<!DOCTYPE html>\n<html></html>\n", "first column is '<!DOCTYPE html>'; must be 'date'"),
        (TABLE.replace("date,", "day,"), "first column is 'day'"),
        ("date\n2023-03-09\n", "must be locations"),
        (TABLE.replace("World", "Malta"), "must be locations, each with a name of its own"),
        (TABLE.replace("World", ""), "must be locations, each with a name of its own"),
        ("date,World\n", "has no rows"),
        (TABLE.replace("5.0,", "5.0"), "line 2 has 2 fields; must have 3"),
        (TABLE.replace("17.0", "17.0,1"), "line 3 has 4 fields; must have 3"),
        (TABLE.replace("2023-03-08,60.0,17.0\n", ""), "line 3: 2023-03-09 after 2023-03-07; days must follow"),
        (TABLE.replace("03-08", "03-06"), "line 3: 2023-03-06 after 2023-03-07; days must follow"),
        (TABLE.replace("03-08", "03-07"), "line 3: 2023-03-07 after 2023-03-07; days must follow"),
        (TABLE.replace("2023-03-08", "08/03/2023"), "line 3: date '08/03/2023'; must be YYYY-MM-DD"),
        (TABLE.replace("2023-03-08", "2023-02-30"), "line 3: date '2023-02-30'"),
        (TABLE.replace("17.0", "-17.0"), "line 3: Malta = '-17.0'; must be blank or a finite number >= 0"),
        (TABLE.replace("17.0", "1e308"), "line 3: Malta = '1e308'; must be blank or a finite number >= 0, < 1e+150"),
        (TABLE.replace("17.0", "inf"), "line 3: Malta = 'inf'"),
        (TABLE.replace("17.0", "nan"), "line 3: Malta = 'nan'"),
        (TABLE.replace("17.0", "many"), "line 3: Malta = 'many'"),
        (TABLE.replace("17.0", '"17.0'), "cut short"),
        (TABLE[:-1], "line 4 has no end; cut short"),
        (TABLE[:-6], "line 4 has 2 fields; must have 3; cut short?"),
    ],
)
def test_a_broken_table_is_refused_with_the_line_and_the_rule(read, text, rule):
    with pytest.raises(InputError) as caught:
        read(text)
    assert rule in str(caught.value)
    assert "series.csv: " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused_with_the_stage_that_writes_it(tmp_path):
    with pytest.raises(InputError, match=r"none\.csv: no such file.*dvc repro fetch-covid"):
        read_covid(tmp_path / "none.csv")


def test_the_label_stands_for_the_path_in_messages(tmp_path):
    (tmp_path / "series.csv").write_text("")
    with pytest.raises(InputError, match=r"^cases \(mirror\): is empty"):
        read_covid(tmp_path / "series.csv", "cases (mirror)")


def test_a_table_cut_anywhere_is_refused(tmp_path):
    """Mid-number, mid-line, and at the end of a line, where only the last day tells."""
    path = tmp_path / "series.csv"
    for length in range(len(TABLE)):
        path.write_text(TABLE[:length])
        with pytest.raises(InputError):
            check_covid_complete(read_covid(path), "x")


@given(
    st.lists(st.one_of(st.none(), st.integers(0, 10**6)), min_size=1, max_size=40),
    st.integers(min_value=1, max_value=14),
)
def test_trailing_mean_agrees_with_pandas(values, days):
    values = np.array([NAN if value is None else value for value in values], dtype=np.float64)
    expected = pd.Series(values).rolling(days, min_periods=1).mean().to_numpy()
    np.testing.assert_allclose(trailing_mean(values, days), expected, rtol=1e-9, atol=1e-6)


def test_trailing_mean_averages_the_days_that_are_present():
    np.testing.assert_array_equal(trailing_mean(np.array([1.0, NAN, 4.0, NAN, NAN]), 2), [1, 1, 4, 4, NAN])


def test_zeros_after_large_counts_average_to_exactly_zero():
    smooth = trailing_mean(np.array([0.1, 1e9, 0.3, *[0.0] * 10]), 7)
    assert (smooth[-3:] == 0).all()


def test_a_series_starts_at_the_first_case_on_the_common_axis():
    series, report = one([NAN, 0, 0, 5, 0, 7])
    assert series.start == (pd.Timestamp("2020-01-25") - pd.Timestamp(0)).days
    assert series.values.shape == (3, 1)
    assert series.values.dtype == np.float64
    np.testing.assert_array_equal(series.values[:, 0], [5, 0, 7])
    assert report["days_trimmed"] == {"before_first_case": 3, "blank_tail": 0, "zero_tail": 0}


def test_blank_days_at_the_end_are_cut_off():
    series, report = one([5, 6, 0, NAN, NAN])
    np.testing.assert_array_equal(series.values[:, 0], [5, 6, 0])
    assert report["days_trimmed"]["blank_tail"] == 2


@pytest.mark.parametrize(("zeros", "cut"), [(covid.ZERO_TAIL_DAYS, 0), (covid.ZERO_TAIL_DAYS + 1, 1)])
def test_a_tail_of_zeros_longer_than_two_weeks_is_no_data(zeros, cut):
    series, report = one([5, 6, *[0] * zeros, NAN])
    assert len(series.values) == 2 + (0 if cut else zeros)
    assert report["zero_tails"] == ({"Malta": zeros} if cut else {})
    assert report["days_trimmed"]["zero_tail"] == cut * zeros


def test_blank_days_inside_are_left_out_of_the_mean_and_counted():
    series, report = one([4, NAN, 8, *[NAN] * 3, 1], smoothing_days=3)
    np.testing.assert_array_equal(series.values[:, 0], [4, 4, 6, 8, 8, NAN, 1])
    assert report["blank_days_inside"] == 4
    assert report["values_missing_inside"] == 1


def test_weekly_reports_become_level_in_the_seven_day_mean():
    series, report = one([700, 0, 0, 0, 0, 0, 0] * 20, smoothing_days=7)
    np.testing.assert_array_equal(series.values[6:, 0], 100)
    assert report["weekly_reporting"] == {"count": 1, "countries": ["Malta"]}


@pytest.mark.parametrize(
    ("pattern", "weekly"),
    [([7, 0, 0, 0, 0, 0, 0], True), ([1, 1, 1, 1, 1, 0, 0], False), ([3, 0, 0, 4, 0, 0, 0], False), ([1], False)],
)
def test_weekly_reporting_is_about_one_day_with_cases_a_week(pattern, weekly):
    values = np.array(pattern * 200, dtype=np.float64)
    assert reports_weekly(values) is weekly
    # The time before the last 26 weeks does not matter.
    assert reports_weekly(np.concatenate([np.ones(300), values[-182:]])) is weekly


@pytest.mark.parametrize(("distance", "reports", "weekly"), [(6, 8, True), (5, 8, False), (7, 8, True), (7, 7, False)])
def test_eight_reports_six_days_apart_are_the_fewest_that_count_as_weekly(distance, reports, weekly):
    assert reports_weekly(np.array([70.0, *[0.0] * (distance - 1)] * reports)) is weekly


def test_few_cases_are_not_weekly_reports():
    assert not reports_weekly(np.array([1.0, *[0.0] * 20] * 3))


def test_countries_that_upstream_lacks_are_reported():
    series, report = covid_series(
        table(Malta=[1, 2], Tuvalu=[0, 0], Chad=[NAN, NAN], Europe=[3, 4]),
        ["Turkmenistan", "Malta", "Tuvalu", "Chad", "Europe", "Malta"],
        1,
    )
    assert [one.entity for one in series] == ["Malta"]
    assert report["countries"] == {"listed": 5, "used": 1}
    assert report["countries_missing"] == ["Turkmenistan"]
    assert report["countries_without_cases"] == ["Tuvalu", "Chad"]
    assert report["aggregates_dropped"] == ["Europe"]
    json.dumps(report, allow_nan=False)


@pytest.mark.parametrize("countries", [["Turkmenistan"], ["World"], ["Tuvalu"]])
def test_no_country_at_all_is_an_error(countries):
    with pytest.raises(InputError, match=r"data\.covid\.countries = .*none is a country with cases"):
        covid_series(table(World=[1, 2], Tuvalu=[0, 0]), countries, 7)


def test_sums_of_countries_are_told_from_countries():
    sums = ["World", "Africa", "Oceania", "European Union", "European Union (27)", "High income", "Asia excl. China"]
    assert all(map(is_sum_of_countries, [*sums, "International", "Lower middle income", "High-income countries"]))
    assert not any(map(is_sum_of_countries, ["South Africa", "Malta", "United States", "Central African Republic"]))


@pytest.fixture(scope="module")
def real(snapshots):
    return read_covid(snapshots / covid.FILE_NAME)


@pytest.fixture(scope="module")
def committed_countries(request):
    return yaml.safe_load((request.config.rootpath / "params.yaml").read_text())["data"]["covid"]["countries"]


def test_the_snapshot_is_complete(real):
    check_covid_complete(real, "x")
    assert real.shape == (1143, 231)


def test_thirty_nine_of_the_forty_countries_are_in_the_snapshot(real, committed_countries):
    series, report = covid_series(real, committed_countries, 7)
    assert report["countries"] == {"listed": 40, "used": 39}
    assert report["countries_missing"] == ["Turkmenistan"]
    weekly = {"Armenia", "Cyprus", "Estonia", "Finland", "Georgia", "Greece", "Hungary", "Ireland", "Kyrgyzstan"}
    assert set(report["weekly_reporting"]["countries"]) >= weekly | {"Moldova", "Sweden"}
    assert {"Poland", "Russia", "United States", "Germany"}.isdisjoint(report["weekly_reporting"]["countries"])
    assert report["zero_tails"].keys() == {"Belarus", "Tajikistan", "Greece"}
    assert report["zero_tails"]["Tajikistan"] > 365
    for one_series in series:
        values = one_series.values[:, 0]
        assert values[0] > 0
        assert np.isfinite(values).all()
        assert (values[-21:] > 0).any()


def test_smoothing_keeps_the_total_of_the_snapshot(real):
    """Each day enters seven means, so that the mean's total is the total but for the last six days."""
    (series,), _ = covid_series(real, ["Sweden"], 7)
    raw = real["Sweden"].to_numpy()[series.start - (real.index[0] - pd.Timestamp(0)).days :]
    assert len(raw) == len(series.values)
    assert series.values[6:].sum() == pytest.approx(
        raw.sum() - raw[-6:] @ np.arange(1, 7) / 7 - raw[:6] @ np.arange(6, 0, -1) / 7
    )
