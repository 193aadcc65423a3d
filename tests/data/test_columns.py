"""Which column is time, entity, value: by name and content; what is ambiguous is refused with the option."""

import numpy as np
import pandas as pd
import pytest

from transformer_spectrum.data.files.series_files import ChosenColumns, read_series_file
from transformer_spectrum.runtime.errors import InputError

GENERATOR = np.random.default_rng(0)
N = 30
YEARS = np.arange(1960, 1960 + N)
DATES = pd.date_range("2020-01-05", periods=N).strftime("%Y-%m-%d")
MONTHS = pd.date_range("2018-03-01", periods=N, freq="MS")
HOURS = pd.date_range("2020-01-01", periods=48, freq="h")
COUNTRIES = ("Austria", "Belgium", "Chad")


def noise(count=N):
    return GENERATOR.normal(size=count).cumsum()


def long(times=YEARS, time="Year", entity="Entity"):
    return pd.concat(
        [pd.DataFrame({entity: name, time: times, "cases": noise(len(times))}) for name in COUNTRIES],
        ignore_index=True,
    )


def wide(**columns):
    return pd.DataFrame({**columns, "x": noise(), "y": noise()})


LONG = long()


def read(tmp_path, frame, suffix="csv", index=False, **chosen):
    path = tmp_path / f"a.{suffix}"
    if isinstance(frame, str):
        path.write_text(frame)
    elif suffix == "csv":
        frame.to_csv(path, index=index)
    else:
        frame.to_parquet(path)
    return read_series_file(path, ChosenColumns(**chosen))


def same(held, twin):
    """Whether two files gave the same series."""
    assert [(one.entity, one.start) for one in held.series] == [(one.entity, one.start) for one in twin.series]
    for one, other in zip(held.series, twin.series, strict=True):
        np.testing.assert_array_equal(one.values, other.values)


NAMES = (
    "Year",
    "year",
    "YEAR",
    "yr",
    "Month",
    "Week",
    "day",
    "quarter",
    "t",
    "index",
    "idx",
    "id",
    "Unnamed: 0",
    "period",
)


@pytest.mark.parametrize(
    "name", [*NAMES, "step", "time", "Time [s]", "timestamp", "n", "obs", "fiscal_year", "Jahr", "row_id"]
)
def test_a_numbered_time_is_no_feature_and_no_series_under_any_usual_name(name, tmp_path):
    held = read(tmp_path, long(time=name))
    assert (held.features, held.reading.time, held.reading.entity) == (("cases",), (name,), "Entity")
    assert held.axis.cell(N) == 1960 + N
    held = read(tmp_path, wide(**{name: YEARS}))
    assert [one.entity for one in held.series] == ["x", "y"]
    assert held.reading.time == (name,)


def test_rows_in_any_order_are_sorted_and_that_is_said(tmp_path):
    twin = read(tmp_path, LONG)
    assert not twin.reading.reordered
    shuffled = LONG.sample(frac=1, random_state=0)
    for rows in (shuffled, shuffled.sort_values("Entity", kind="stable"), LONG.iloc[::-1].sort_values("Entity")):
        held = read(tmp_path, rows)
        same(held, twin)
        assert "rows sorted by time" in held.reading.line()


def test_na_is_a_missing_value(tmp_path):
    held = read(tmp_path, "country,Year,v\na,1,2\na,2,NA\na,3,4\n")
    np.testing.assert_array_equal(held.series[0].values.ravel(), [2, np.nan, 4])


def test_blanks_around_names_are_no_part_of_them(tmp_path):
    text = "date, y\n" + "".join(f"{day}, {i}.5\n" for i, day in enumerate(DATES))
    same(read(tmp_path, text, values=("y",)), read(tmp_path, text.replace(" ", "")))


def test_gaps_are_counted_in_every_series(tmp_path):
    held = read(tmp_path, LONG[LONG.Year % 3 != 0])
    inside = 3 * sum(year % 3 == 0 for year in YEARS[:-1])  # the last year is missing too
    assert held.reading.gaps == inside
    assert f"gaps: {inside} of" in held.reading.line()


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_the_index_that_pandas_writes_is_time_where_it_is_one_and_counts_the_rows_elsewhere(suffix, tmp_path):
    held = read(tmp_path, wide().set_index(pd.DatetimeIndex(DATES)), suffix, index=True)
    assert (held.reading.time, held.axis.label(1)) == (("Unnamed: 0",), "2020-01-06")
    held = read(tmp_path, LONG.sample(frac=1, random_state=0), suffix, index=True)
    assert held.reading.left_out == {"Unnamed: 0": "counts the rows"}
    assert held.reading.time == ("Year",)
    by_two = read(tmp_path, LONG.set_index(["Entity", "Year"]), suffix, index=True)
    assert (by_two.reading.entity, by_two.reading.time) == ("Entity", ("Year",))


def test_texts_that_the_entity_gives_are_left_out_and_said(tmp_path):
    code = LONG["Entity"].map({"Austria": "AUT", "Belgium": "BEL", "Chad": None})
    fips = LONG["Entity"].map({"Austria": 1, "Belgium": 2, "Chad": 7})
    held = read(tmp_path, LONG.assign(Code=code, fips=fips)[["Entity", "Code", "fips", "Year", "cases"]])
    assert held.features == ("cases",)
    assert held.reading.left_out == {"Code": "text that Entity gives", "fips": "a number that Entity gives"}
    assert "left out: Code (text that Entity gives)" in held.reading.line()


def test_parts_of_a_date_beside_it_are_left_out_and_covariates_stay(tmp_path):
    dates = pd.DatetimeIndex(DATES)
    hour = GENERATOR.integers(0, 24, N)
    held = read(
        tmp_path,
        wide(date=DATES, year=dates.year, month=dates.month, dow=dates.day_of_week, day=np.arange(N) + 1, hour=hour),
    )
    assert held.reading.values == ("hour", "x", "y")
    assert set(held.reading.left_out) == {"year", "month", "dow", "day"}


@pytest.mark.parametrize(
    ("parts", "step", "after"),
    [
        ({"year": MONTHS.year, "month": MONTHS.month}, "1 month", "2020-09"),
        ({"Year": MONTHS.year, "Month": MONTHS.strftime("%b")}, "1 month", "2020-09"),
        ({"year": 2000 + np.arange(N) // 4, "quarter": np.arange(N) % 4 + 1}, "1 quarter", "2007Q3"),
        ({"year": 2019 + np.arange(N) // 12, "day": np.arange(N) % 12 + 1}, None, None),
    ],
)
def test_a_date_in_columns_of_its_parts_is_one_time_or_a_refusal(parts, step, after, tmp_path):
    if step is None:
        with pytest.raises(InputError, match=r"year has 2019 twice .* by --entity-column"):
            read(tmp_path, wide(**parts))
        return
    held = read(tmp_path, wide(**parts))
    assert held.reading.time == tuple(parts)
    assert (held.reading.step, held.axis.label(N)) == (step, after)
    assert held.reading.values == ("x", "y")


def test_year_month_day_and_a_day_with_its_hour_are_dates(tmp_path):
    dates = pd.DatetimeIndex(DATES)
    twin = read(tmp_path, LONG.assign(Year=[*DATES] * 3))
    table = LONG.drop(columns="Year").assign(yr=[*dates.year] * 3, mon=[*dates.month] * 3, day=[*dates.day] * 3)
    held = read(tmp_path, table)
    same(held, twin)
    assert held.axis.label(N) == twin.axis.label(N)
    days = HOURS.strftime("%Y-%m-%d")
    for clock in ({"hour": HOURS.hour}, {"Time": HOURS.strftime("%H:%M")}):
        held = read(tmp_path, pd.DataFrame({"date": days, **clock, "v": noise(48)}))
        assert (held.reading.step, held.axis.label(48)) == ("1 hour", "2020-01-03T00:00:00")


def test_a_repeated_id_tells_series_apart_and_one_of_rows_is_left_out(tmp_path):
    blocks = [pd.DataFrame({"id": i, "Year": YEARS, "v": noise()}) for i in (3, 7, 9)]
    held = read(tmp_path, pd.concat(blocks))
    assert ([one.entity for one in held.series], held.features) == (["3", "7", "9"], ("v",))
    held = read(tmp_path, wide(id=GENERATOR.permutation(N), date=DATES))
    assert held.reading.left_out == {"id": "numbers of rows"}


def test_columns_that_say_the_time_or_the_entity_again_are_left_out(tmp_path):
    table = pd.DataFrame(
        {"unix": HOURS.as_unit("ms").asi8, "date": HOURS.strftime("%Y-%m-%d %H:%M"), "open": noise(48)}
    )
    held = read(tmp_path, table.drop(index=[5, 9]).iloc[::-1])
    assert (held.reading.time, held.reading.left_out) == (("date",), {"unix": "the same as date"})
    decimal = np.round(MONTHS.year + (MONTHS.month - 0.5) / 12, 4)
    days = GENERATOR.integers(29, 31, N)  # of February too, so they are no days of the month
    held = read(tmp_path, wide(**{"year": MONTHS.year, "month": MONTHS.month, "decimal date": decimal, "#days": days}))
    assert (held.reading.time, held.reading.step) == (("year", "month"), "1 month")
    assert held.reading.values == ("#days", "x", "y")
    shops = pd.concat([wide(shop_id=i, region_id=i % 2, date=DATES) for i in range(3)])
    held = read(tmp_path, shops)
    assert (held.reading.entity, list(held.reading.left_out)) == ("shop_id", ["region_id"])


def test_measurements_that_rise_or_have_a_name_of_time_stay_values(tmp_path):
    total = GENERATOR.random(N).cumsum()
    held = read(tmp_path, wide(total=total))
    assert held.reading.values == ("total", "x", "y")
    assert held.reading.time == ()
    held = read(tmp_path, wide(date=DATES, total=np.arange(N) * 5, index=noise(), steps=GENERATOR.integers(0, 9999, N)))
    assert held.reading.values == ("total", "index", "steps", "x", "y")
    assert read(tmp_path, wide(T=noise())).reading.values == ("T", "x", "y")  # a temperature


TWO = pd.DataFrame(
    [(store, item, day, 1.0) for store in (1, 2) for item in (5, 6) for day in DATES],
    columns=["store", "item", "date", "sales"],
)


@pytest.mark.parametrize(
    ("frame", "words", "chosen", "values"),
    [
        (wide(counter=np.arange(N) * 5), "counter rises by 5 from row to row", {"time": "counter"}, ("x", "y")),
        (wide(counter=np.arange(N) * 5), "--value-columns", {"values": ("counter", "x")}, ("counter", "x")),
        (wide(date=DATES, instant=YEARS - 1959), "instant counts the rows from 1", {"values": ("x",)}, ("x",)),
        (wide(jaar=YEARS), "jaar rises by 1", {"time": "jaar"}, ("x", "y")),
        (
            wide(born=pd.date_range("2024-01-20", periods=N).strftime("%Y%m%d")),
            "may hold dates",
            {"time": "born"},
            ("x", "y"),
        ),
        (
            wide(born=GENERATOR.permutation(pd.date_range("2024-01-20", periods=N).strftime("%Y%m%d"))),
            "born may hold dates",
            {"time": "born"},
            ("x", "y"),
        ),
        (wide(t=np.round(np.arange(N) / 3, 3)), "t may be time or a feature", {"time": "t"}, ("x", "y")),
        (wide(t=np.sort(GENERATOR.random(N))), "t may be time or a feature", {"values": ("x", "t")}, ("x", "t")),
        (wide(date=DATES, p=[f"{1000 + i:,}" for i in range(N)]), "p = '1,000'; must", {"values": ("x",)}, ("x",)),
        (wide(date=DATES, p=[f"{i}.5%" for i in range(N)]), "p = '0.5%'; must be", {"values": ("x",)}, ("x",)),
        (wide(date=DATES, p=["3", "x"] * (N // 2)), "row 2: p = 'x'; must be", {"values": ("x",)}, ("x",)),
        (wide(id=GENERATOR.permutation(500)[:N]), "id may be time or a feature", {"values": ("x",)}, ("x",)),
        (wide(month=np.arange(N) % 12 + 1), "month is 1 twice", {"values": ("x", "month")}, ("x", "month")),
        (wide(date=DATES, sky=["sun", "rain"] * (N // 2)), "sky holds text", {"values": ("x", "y")}, ("x", "y")),
        (LONG.assign(state=[*"ab"] * 45), "state = 'a'; must be blank or", {"values": ("cases",)}, ("cases",)),
        (TWO, "store, item seem to tell the series apart", {"entity": "store,item"}, ("sales",)),
        (
            pd.concat([LONG.assign(k=i).drop(columns="Entity") for i in (1, 2)])[["k", "Year", "cases"]].iloc[:N],
            None,
            {},
            ("k", "cases"),
        ),
        (
            pd.concat([wide(k=i, Year=YEARS) for i in (3.5, 7.5)]),
            "Year has 1960 twice (rows 1 and 31); each time may come once, or name the column",
            {"entity": "k"},
            ("x", "y"),
        ),
        (
            wide(a=DATES, b=pd.date_range("2021-05-01", periods=N).strftime("%Y-%m-%d")),
            "a, b hold dates",
            {"time": "b"},
            ("x", "y"),
        ),
    ],
)
def test_what_is_ambiguous_is_refused_and_an_option_settles_it(frame, words, chosen, values, tmp_path):
    if words is not None:
        with pytest.raises(InputError) as refused:
            read(tmp_path, frame)
        assert words in str(refused.value)
        assert any(option in str(refused.value) for option in ("--time-column", "--entity-column", "--value-columns"))
    assert read(tmp_path, frame, **chosen).reading.values == values


@pytest.mark.parametrize(
    ("frame", "chosen", "words"),
    [
        (LONG, {"time": "Yaer"}, "--time-column = Yaer: no such column; did you mean Year?"),
        (LONG, {"entity": "Land"}, "--entity-column = Land: no such column"),
        (LONG, {"time": "Year", "values": ("Year",)}, "--value-columns = Year: is given by --time-column already"),
        (LONG, {"values": ("Entity",)}, "Entity = 'Austria'; must be blank or a finite number"),
        (pd.concat([LONG, LONG.iloc[[5]]]), {}, "Austria has 1965 twice (rows 6 and 91)"),
        (wide(date=DATES).replace(DATES[4], DATES[3]), {}, "date has 2020-01-08 twice (rows 4 and 5)"),
        ("a,1960,1961,1962\nx,1,2,3\ny,1,2,3\n", {}, "1960, 1961, 1962 look like times; each row must be a time"),
        ("country,Year,v\na,1,2\na,2,x\nb,1,3\nb,2,4\n", {}, "row 2: v = 'x'; must be blank or a finite number"),
        ("Year;v\n1960;1\n", {}, "its columns stand between ';'; must be commas"),
    ],
)
def test_a_wrong_table_or_option_is_one_line_that_says_how(frame, chosen, words, tmp_path):
    with pytest.raises(InputError) as refused:
        read(tmp_path, frame, **chosen)
    assert words in str(refused.value)


def test_arrays_have_no_columns_to_name(tmp_path):
    np.save(tmp_path / "a.npy", np.eye(3))
    with pytest.raises(InputError, match="--time-column = t: an array has no columns"):
        read_series_file(tmp_path / "a.npy", ChosenColumns(time="t"))


def berlin(begin, periods, frequency):
    return pd.date_range(begin, periods=periods, freq=frequency, tz="Europe/Berlin")


@pytest.mark.parametrize(
    ("times", "step", "after"),
    [
        ([time.isoformat() for time in berlin("2024-10-26", 60, "h")], "1 hour", "2024-10-28T11:00:00+01:00"),
        (berlin("2024-10-26", 60, "h").strftime("%Y-%m-%d %H:%M"), "1 hour", "2024-10-28T11:00:00"),
        (berlin("2024-03-30", 60, "h").strftime("%Y-%m-%dT%H:%M"), "1 hour", "2024-04-01T13:00:00"),
        ([time.isoformat() for time in berlin("2024-03-20", 30, "D")], "1 day", "2024-04-19"),
        (
            [time.tz_convert("UTC").isoformat() for time in berlin("2024-03-20", 30, "D")],
            "1 day",
            "2024-04-18T22:00:00+00:00",
        ),
        ([time.isoformat() for time in berlin("2023-11-01", 30, "MS")], "1 month, day 1", "2026-05-01"),
        (
            [time.isoformat() for time in pd.date_range("2024-03-20", periods=30, freq="h", tz="Asia/Kolkata")],
            "1 hour",
            "2024-03-21T06:00:00+05:30",
        ),
    ],
)
def test_clocks_that_change_leave_no_gap_and_no_time_twice(times, step, after, tmp_path):
    held = read(tmp_path, pd.DataFrame({"time": times, "v": noise(len(times))}))
    assert (held.reading.gaps, held.reading.step) == (0, step)
    assert held.axis.label(len(times)) == after


def test_a_repeated_hour_that_no_clock_explains_is_named(tmp_path):
    times = [*pd.date_range("2024-05-01", periods=9, freq="h").strftime("%Y-%m-%d %H:%M")]
    table = pd.DataFrame({"entity": "a", "time": [*times, times[3]], "v": noise(10)})
    with pytest.raises(InputError, match=r"a has 2024-05-01T03:00:00 twice \(rows 4 and 10\).*offset from UTC"):
        read(tmp_path, table)


def test_parquet_keeps_zones_periods_and_days(tmp_path):
    zoned = berlin("2024-03-30", N, "h")
    assert (
        read(tmp_path, wide().set_index(zoned), "parquet").axis.label(N) == (zoned[-1] + pd.Timedelta("1h")).isoformat()
    )
    periods = pd.period_range("2020Q3", periods=N, freq="Q")
    assert read(tmp_path, wide(period=periods), "parquet").axis.label(N) == "2028-01-01"
    assert read(tmp_path, wide(day=[*pd.DatetimeIndex(DATES).date]), "parquet").axis.label(N) == "2020-02-04"


def test_of_many_texts_alike_the_first_that_gives_all_is_the_entity(tmp_path):
    """Columns that cut the rows alike are compared once, so that thousands of them take no hours."""
    names = np.repeat(["a", "b", "c"], 4)
    alike = {f"note{i}": np.char.add(names, str(i)) for i in range(40)}
    table = pd.DataFrame({**alike, "year": np.tile(YEARS[:4], 3), "v": noise(12)})
    assert read(tmp_path, table).reading.entity == "note0"
    table["other"] = np.tile(["p", "q"], 6)
    with pytest.raises(InputError, match=r"note0, note1.* are text, and none of them gives the others"):
        read(tmp_path, table)
    table["both"] = [f"{a}{b}" for a, b in zip(names, table["other"], strict=True)]
    assert read(tmp_path, table, values="v").reading.entity == "both"
