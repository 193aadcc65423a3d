"""Users' files of series: every layout, every way to get it wrong, and back again."""

import numpy as np
import pandas as pd
import pytest

from transformer_spectrum.data.files.series_files import DAYS, SeriesFile, TimeAxis, read_series_file, write_series_file
from transformer_spectrum.data.series.entity_series import Series
from transformer_spectrum.runtime.errors import InputError

NAN = np.nan


def write(path, text):
    path.write_text(text)
    return path


def told(held):
    """What was read, as plain values."""
    return [(one.entity, one.start, one.values[:, 0].tolist()) for one in held.series]


def test_text_that_is_written_as_bytes_is_text(tmp_path):
    columns = {"entity": [b"north", b"north", b"s\xff", b"s\xff"], "step": [0, 1, 0, 1], "value": [1.0, 2.0, 3.0, 4.0]}
    pd.DataFrame(columns).to_parquet(tmp_path / "a.parquet")
    content = read_series_file(tmp_path / "a.parquet")
    assert [series.entity for series in content.series] == ["north", "s\ufffd"]


def test_npy_of_two_and_three_axes(tmp_path):
    array = np.arange(12).reshape(3, 4)
    np.save(tmp_path / "a.npy", array)
    held = read_series_file(tmp_path / "a.npy")
    assert [one.entity for one in held.series] == ["0", "1", "2"]
    np.testing.assert_array_equal([one.values[:, 0] for one in held.series], array)
    np.save(tmp_path / "b.npy", np.arange(24.0).reshape(2, 4, 3))
    held = read_series_file(tmp_path / "b.npy")
    assert held.features == ("value_0", "value_1", "value_2")
    np.testing.assert_array_equal(held.series[1].values, np.arange(12.0, 24.0).reshape(4, 3))


def test_nan_around_a_series_is_trimmed_and_nan_inside_stays(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[NAN, 1, NAN, 2], [3, 4, NAN, NAN], [NAN] * 4]))
    held = read_series_file(tmp_path / "a.npy")
    assert [(one.start, len(one.values)) for one in held.series] == [(1, 3), (0, 2)]
    assert np.isnan(held.series[0].values[1, 0])
    assert held.empty == ("2",)


def test_npz_by_name_or_as_its_only_array(tmp_path):
    np.savez(tmp_path / "a.npz", series=np.eye(2), entities=np.array(["x", "y"]), other=np.zeros(1))
    assert [one.entity for one in read_series_file(tmp_path / "a.npz").series] == ["x", "y"]
    np.savez(tmp_path / "b.npz", anything=np.eye(3))
    assert len(read_series_file(tmp_path / "b.npz").series) == 3


def test_long_csv_with_dates_in_any_order(tmp_path):
    text = "entity,date,beds,flu\nb,2022-01-03,3,30\na,2022-01-01,1,\nb,2022-01-01,2,20\n"
    held = read_series_file(write(tmp_path / "a.csv", text))
    assert held.features == ("beds", "flu")
    assert [one.entity for one in held.series] == ["b", "a"]
    assert [held.axis.label(position) for position in (0, 1)] == ["2022-01-01", "2022-01-03"]  # the coarsest axis
    np.testing.assert_array_equal(held.series[0].values, [[2, 20], [3, 30]])
    np.testing.assert_array_equal(held.series[1].values, [[1, NAN]])


def test_a_skipped_day_is_a_missing_value(tmp_path):
    text = "entity,date,v\na,2022-01-01,1\na,2022-01-02,2\na,2022-01-04,4\nb,2022-01-03,7\n"
    held = read_series_file(write(tmp_path / "a.csv", text))
    np.testing.assert_array_equal(held.series[0].values[:, 0], [1, 2, NAN, 4])
    assert held.series[1].start == 2


def test_long_csv_without_time_takes_the_order_of_its_rows(tmp_path):
    held = read_series_file(write(tmp_path / "a.csv", "unique_id,y\nb,1\na,5\nb,2\na,6\nb,3"))
    assert told(held) == [("b", 0, [1, 2, 3]), ("a", 0, [5, 6])]


def test_wide_csv_with_and_without_time(tmp_path):
    text = "x,y\n1,\n2,7\n3,8\n"
    assert told(read_series_file(write(tmp_path / "a.csv", text))) == [("x", 0, [1, 2, 3]), ("y", 1, [7, 8])]
    held = read_series_file(write(tmp_path / "b.csv", "step,x\n10,1\n20,2\n40,3\n"))
    assert (held.axis.origin, held.axis.unit) == (10, 10)
    np.testing.assert_array_equal(held.series[0].values[:, 0], [1, 2, NAN, 3])


def test_hours_have_labels_of_hours(tmp_path):
    text = "time,x\n2022-01-01T00:00,1\n2022-01-01T06:00,2\n"
    held = read_series_file(write(tmp_path / "a.csv", text))
    assert held.axis.label(3) == "2022-01-01T18:00:00"


def test_parquet_long_wide_and_with_an_index_of_dates(tmp_path):
    days = pd.date_range("2022-01-01", periods=3, freq="7D")
    pd.DataFrame({"x": [1.0, 2, 3], "y": [4.0, NAN, 6]}, index=days.rename("date")).to_parquet(tmp_path / "a.parquet")
    held = read_series_file(tmp_path / "a.parquet")
    assert [one.entity for one in held.series] == ["x", "y"]
    assert held.axis.label(1) == "2022-01-08"
    frame = pd.DataFrame({"entity": ["a", "a"], "step": [0, 1], "v": [1, 2]})
    frame.to_parquet(tmp_path / "b.parquet")
    assert told(read_series_file(tmp_path / "b.parquet")) == [("a", 0, [1, 2])]


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv", ".parquet"])
@pytest.mark.parametrize("features", [1, 2])
@pytest.mark.parametrize("axis", [TimeAxis(), DAYS])
def test_what_is_written_is_read_back(suffix, features, axis, tmp_path):
    generator = np.random.default_rng(0)
    first, second = generator.normal(size=(5, features)), generator.normal(size=(7, features))
    first[2] = NAN
    names = ("value",) if features == 1 else ("value_0", "value_1")
    written = SeriesFile([Series("0", 18_262, first), Series("1", 18_260, second)], axis, names, ())
    write_series_file(tmp_path / f"a{suffix}", written)
    held = read_series_file(tmp_path / f"a{suffix}")
    assert [one.entity for one in held.series] == ["0", "1"]
    assert held.features == names
    assert held.series[0].start - held.series[1].start == 2
    for one, values in zip(held.series, (first, second), strict=True):
        np.testing.assert_array_equal(one.values, values)
    if suffix in (".csv", ".parquet") and axis is DAYS:
        assert held.axis.label(held.series[0].start) == "2020-01-01"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", "1", "must end in .npy, .npz, .csv, .parquet"),
        ("no.csv", None, "no such file"),
        ("a.csv", "", "is empty"),
        ("a.csv", "x,y\n", "has no rows"),
        ("a.csv", "x,y\n1\n", "line 2 has 1 fields; must have 2"),
        ("a.csv", "x,x\n1,2\n", "every column needs a name of its own"),
        ("a.csv", "x,y\n1,two\n", "row 1: y = 'two'; must be blank or a finite number"),
        ("a.csv", "x,y\n1,inf\n", "row 1: y = 'inf'; must be blank or a finite number"),
        ("a.csv", "x\n\n \n", "has 0 fields"),
        ("a.csv", "entity,date\na,2022-01-01\n", "needs a column of values beside entity"),
        ("a.csv", "date\n2022-01-01\n", "needs a column of values for each series beside date"),
        ("a.csv", "entity,date,v\na,yesterday,1\n", "row 1: date = 'yesterday'; must be a date such as 2022-01-31"),
        ("a.csv", "entity,step,v\na,0.5,1\n", "numbers of steps must be whole"),
        ("a.csv", "entity,date,v\na,2022-01-01,1\na,2022-01-01,2\n", "a has 2022-01-01 twice"),
        ("a.csv", "entity,date,v\n,2022-01-01,1\n", "row 1: entity is blank"),
        ("a.csv", "step,v\n0,1\n1,2\n1000000,3\n", "times must be regular"),
        ("a.csv", "x,y\n,\n", "no series has a value"),
        ("a.npy", "no array", "not a readable .npy"),
        ("a.npz", "no archive", "not a readable .npz"),
        ("a.parquet", "no table", "not a readable .parquet"),
        ("a.npy", np.zeros(3), "shape (3,); must be (series, steps) or (series, steps, features)"),
        ("a.npy", np.zeros((0, 3)), "shape (0, 3)"),
        ("a.npy", np.array([["a", "b"]]), "must be of numbers"),
        ("a.npy", np.array([[1.0, np.inf]]), "infinite values"),
        ("a.npy", np.array([[{}]], dtype=object), "without pickle"),
        ("a.npz", {"x": np.eye(2), "y": np.eye(2)}, "must have `series`, or one array only"),
        ("a.npz", {"series": np.eye(2), "entities": np.array(["a", "a"])}, "each needs a name of its own"),
    ],
)
def test_a_file_that_breaks_its_layout_is_one_line_that_says_how(name, content, words, tmp_path):
    path = tmp_path / name
    if isinstance(content, dict):
        np.savez(path, **content)
    elif isinstance(content, np.ndarray):
        np.save(path, content)
    elif content is not None:
        path.write_text(content)
    with pytest.raises(InputError) as caught:
        read_series_file(path)
    assert str(path) in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize("tail", ["\n\n", "\r\n\r\n", ",\n,\n", "\n,"])
def test_blank_lines_behind_the_last_row_are_no_rows(tail, tmp_path):
    held = read_series_file(write(tmp_path / "a.csv", f"date,x\n2020-01-01,1\n2020-01-02,2\n{tail}"))
    assert told(held) == [("x", held.series[0].start, [1.0, 2.0])]
    with pytest.raises(InputError, match="line 3"):
        read_series_file(write(tmp_path / "b.csv", "date,x\n2020-01-01,1\n\n2020-01-03,2\n"))


@pytest.mark.parametrize("first", ["2022-01-01,0.25", "0.5,1.25", "1,-2", "2022-01-01T00:00,3"])
def test_a_table_without_names_is_refused_and_loses_no_row(first, tmp_path):
    (tmp_path / "cases.csv").write_text(f"{first}\n{first.replace('1', '3')}\n")
    with pytest.raises(InputError, match=r"its first line, .*, must be the names of the columns"):
        read_series_file(tmp_path / "cases.csv")


def test_columns_that_are_numbered_have_names(tmp_path):
    numbers = np.random.default_rng(0).normal(size=(30, 3))
    pd.DataFrame(numbers).to_csv(tmp_path / "wide.csv", index=False)
    assert [series.entity for series in read_series_file(tmp_path / "wide.csv").series] == ["0", "1", "2"]
