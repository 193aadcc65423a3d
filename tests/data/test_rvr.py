"""The hospital export: what is refused, and how a jurisdiction's series comes out of it."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pandas as pd
import pytest

from transformer_spectrum.data.series import rvr
from transformer_spectrum.data.series.aggregates import is_sum_of_jurisdictions
from transformer_spectrum.data.series.rvr import check_rvr_complete, read_rvr, rvr_series
from transformer_spectrum.runtime.errors import InputError

BEDS, FLU = "average_inpatient_beds_occupied", "total_admissions_all_influenza_confirmed_past_7days"
HEADER = '"jurisdiction","collection_date","average_inpatient_beds_1","total_admissions_all_influenza"\n'
NAN = np.nan


def lines(jurisdiction: str, beds: list, flu: list | None = None, start: str = "2024-04-01") -> str:
    """Rows in the manner of the SODA API; None is a blank."""
    text = ""
    for day, *cells in zip(pd.date_range(start, periods=len(beds)), beds, flu or beds, strict=True):
        fields = ["" if cell is None else f'"{cell}"' for cell in cells]
        text += f'"{jurisdiction}","{day:%Y-%m-%d}T00:00:00.000",{",".join(fields)}\n'
    return text


EXPORT = HEADER + lines("AK", [1.5, 2.5, 3.5], [None, 1, 2]) + lines("Region 1", [4, 5, 6]) + lines("US", [7, 8, 9])


@pytest.fixture
def read(tmp_path):
    def from_text(text: str | bytes) -> pd.DataFrame:
        path = tmp_path / "series.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_rvr(path)

    return from_text


@pytest.fixture
def whole() -> str:
    """Every state, two days."""
    return HEADER + "".join(lines(state, [10, 20]) for state in sorted(rvr.STATES))


def test_the_export_is_read_as_it_is_written(read):
    frame = read(EXPORT)
    assert list(frame.columns) == list(rvr.FIELDS)
    assert list(frame["jurisdiction"]) == ["AK"] * 3 + ["Region 1"] * 3 + ["US"] * 3
    assert list(frame["collection_date"][:3].dt.strftime("%Y-%m-%d")) == ["2024-04-01", "2024-04-02", "2024-04-03"]
    np.testing.assert_array_equal(frame["average_inpatient_beds_1"], [1.5, 2.5, 3.5, 4, 5, 6, 7, 8, 9])
    np.testing.assert_array_equal(frame["total_admissions_all_influenza"], [NAN, 1, 2, 4, 5, 6, 7, 8, 9])


def test_fields_without_quotes_and_plain_days_are_the_same(read):
    plain = EXPORT.replace('"', "").replace("T00:00:00.000", "")
    pd.testing.assert_frame_equal(read(plain), read(EXPORT))


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "is empty"),
        (b"\xff\xff", "not UTF-8"),
        ("<!DOCTYPE html>\n<html></html>\n", "columns are '<!DOCTYPE html>'; must be 'jurisdiction,collection_date,"),
        (EXPORT.replace("beds_1", "beds"), "columns are"),
        (HEADER, "has no rows"),
        (EXPORT.replace('"1.5",', ""), "line 2 has 3 fields; must have 4"),
        (EXPORT.replace('"AK"', '""', 1), "line 2: jurisdiction is blank"),
        (EXPORT.replace("2024-04-01", "yesterday", 1), "line 2: collection_date = 'yesterdayT00:00:00.000'"),
        (EXPORT.replace("T00:00", "T06:00", 1), "line 2: collection_date = '2024-04-01T06:00:00.000'; must be a day"),
        (EXPORT.replace('"2024-04-01T00:00:00.000"', "", 1), "line 2: collection_date = ''"),
        (EXPORT.replace('"2.5"', '"-2.5"'), "line 3: average_inpatient_beds_1 = '-2.5'; must be blank or a finite"),
        (EXPORT.replace('"2.5"', '"inf"'), "line 3: average_inpatient_beds_1 = 'inf'"),
        (EXPORT.replace('"2.5"', '"nan"'), "line 3: average_inpatient_beds_1 = 'nan'"),
        (EXPORT.replace('"2"', '"few"'), "line 4: total_admissions_all_influenza = 'few'"),
        (EXPORT.replace("04-02", "03-02", 1), "line 3: AK: days must rise"),
        (EXPORT.replace("04-02", "04-01", 1), "line 3: AK: days must rise"),
        (EXPORT + lines("AK", [1], start="2024-05-01"), "line 11: AK again; rows must be sorted"),
        (EXPORT[:-2], "cut short"),
        (EXPORT[:-5], "line 10 has 3 fields; must have 4; cut short?"),
        (EXPORT.replace('"', "")[:-1], "line 10 has no end; cut short"),
    ],
)
def test_a_broken_export_is_refused_with_the_line_and_the_rule(read, text, rule):
    with pytest.raises(InputError) as caught:
        read(text)
    assert rule in str(caught.value)
    assert "series.csv: " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_blocks_may_come_in_the_order_of_the_database(read):
    """Its collation puts Region 1 before RI; Python does not."""
    assert len(read(HEADER + lines("Region 1", [1]) + lines("RI", [2]))) == 2


def test_a_missing_file_is_refused_with_the_stage_that_writes_it(tmp_path):
    with pytest.raises(InputError, match=r"none\.csv: no such file.*dvc repro fetch-rvr"):
        read_rvr(tmp_path / "none.csv")


def test_an_export_cut_anywhere_is_refused(tmp_path, whole):
    """At the end of a line, too: there the last states or days are missing."""
    path = tmp_path / "series.csv"
    for length in [*range(0, len(whole) - 120, 61), *range(len(whole) - 120, len(whole) - 1)]:
        path.write_text(whole[:length])
        with pytest.raises(InputError):
            check_rvr_complete(read_rvr(path), "x")


def test_a_complete_export_is_accepted(read, whole):
    check_rvr_complete(read(whole + lines("VI", [1])), "x")  # a territory may end early


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda text: text.replace(lines("WY", [10, 20]), ""), "x: lacks WY; cut short"),
        (
            lambda text: text.replace(lines("WY", [10, 20]), lines("WY", [10])),
            "WY ends on 2024-04-01; must reach 2024-04-02",
        ),
        (lambda text: text + lines("VI", [1]) + lines("VI", [3], start="2024-04-03"), "VI skips days"),
    ],
)
def test_an_incomplete_export_is_refused(read, whole, change, rule):
    with pytest.raises(InputError, match=rule):
        check_rvr_complete(read(change(whole)), "x")


def test_the_queries_ask_for_all_rows_in_order_and_for_their_number():
    assert parse_qs(urlsplit(rvr.data_url("https://host/9t9r-e5a3.csv")).query) == {
        "$select": ["jurisdiction,collection_date,average_inpatient_beds_1,total_admissions_all_influenza"],
        "$order": ["jurisdiction,collection_date"],
        "$limit": ["1000000"],
    }
    assert parse_qs(urlsplit(rvr.count_url("https://host/9t9r-e5a3.csv")).query) == {"$select": ["count(*)"]}


def test_each_column_is_trimmed_to_its_own_range_and_nothing_is_filled_in(read):
    frame = read(
        HEADER
        + lines("AK", [None, 1, 2, 3, None, None], [None, None, 5, None, 7, None])
        + lines("AL", [None] * 6, [1, 2, 3, 4, 5, 6])
        + lines("Region 10", [1] * 6)
        + lines("USA", [1] * 6)
    )
    (beds,), about_beds = rvr_series(frame, BEDS)
    assert (beds.entity, beds.start) == ("AK", (pd.Timestamp("2024-04-02") - pd.Timestamp(0)).days)
    np.testing.assert_array_equal(beds.values, [[1], [2], [3]])
    assert about_beds == {
        "jurisdictions": {"read": 2, "used": 1},
        "jurisdictions_without_values": ["AL"],
        "aggregates_dropped": {"count": 2, "names": ["Region 10", "USA"]},
        "days_trimmed": 3,
        "values_missing_inside": {"count": 0, "jurisdictions": {}},
    }
    (flu, other), about_flu = rvr_series(frame, FLU)
    np.testing.assert_array_equal(flu.values, [[5], [NAN], [7]])
    assert other.values.shape == (6, 1)
    assert about_flu["values_missing_inside"] == {"count": 1, "jurisdictions": {"AK": 1}}
    json.dumps(about_flu, allow_nan=False)


def test_days_that_upstream_skips_are_blanks(read):
    frame = read(HEADER + lines("AK", [1, 2]) + lines("AK", [9], start="2024-04-05"))
    (series,), report = rvr_series(frame, BEDS)
    np.testing.assert_array_equal(series.values[:, 0], [1, 2, NAN, NAN, 9])
    assert report["values_missing_inside"]["count"] == 2


def test_an_unknown_or_empty_column_is_an_error(read):
    with pytest.raises(InputError, match="column = beds: must be one of average_inpatient"):
        rvr_series(read(EXPORT), "beds")
    with pytest.raises(InputError, match="no jurisdiction has a value"):
        rvr_series(read(HEADER + lines("AK", [None], [1]) + lines("US", [1])), BEDS)


def test_sums_of_jurisdictions_are_told_from_jurisdictions():
    assert all(map(is_sum_of_jurisdictions, ["US", "USA", "Region 1", "Region 10"]))
    assert not any(map(is_sum_of_jurisdictions, ["UT", "RI", "DC", "PR", "VI"]))


@pytest.fixture(scope="module")
def real(snapshots):
    return read_rvr(snapshots / rvr.FILE_NAME)


def test_the_snapshot_is_complete(real):
    check_rvr_complete(real, "x")
    assert real.shape == (86_616, 4)


@pytest.mark.parametrize(("column", "count", "shortest"), [(BEDS, 53, 558), (FLU, 52, 1276)])
def test_the_snapshot_has_every_jurisdiction_and_no_sum(real, column, count, shortest):
    series, report = rvr_series(real, column)
    assert len(series) == count
    assert min(len(one.values) for one in series) == shortest
    assert {one.entity for one in series} >= rvr.STATES | {"PR"}
    assert not any(is_sum_of_jurisdictions(one.entity) for one in series)
    assert report["aggregates_dropped"]["count"] == 11


@pytest.mark.parametrize("column", [BEDS, FLU])
def test_no_tail_of_the_snapshot_is_filled_in(real, column):
    """Each series is, value by value, what the export has between its first and its last value."""
    last_day = (real["collection_date"].max() - pd.Timestamp(0)).days
    ended_early = 0
    for series in rvr_series(real, column)[0]:
        raw = real.loc[real["jurisdiction"] == series.entity, rvr.COLUMNS[column]].dropna()
        values = series.values[:, 0]
        assert np.isfinite(values[[0, -1]]).all()
        np.testing.assert_array_equal(values[np.isfinite(values)], raw)
        ended_early += series.start + len(values) - 1 < last_day
    assert ended_early == {BEDS: 49, FLU: 0}[column]
