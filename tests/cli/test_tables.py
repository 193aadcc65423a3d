"""Tables that users bring, through training's windows and forecasts: the same bits as their twins with ISO dates."""

import logging
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml

from transformer_spectrum.cli import forecast as command
from transformer_spectrum.cli.main import main
from transformer_spectrum.cli.options import COLUMNS
from transformer_spectrum.config.resolve import Asked, resolve
from transformer_spectrum.data.files.series_files import read_series_file
from transformer_spectrum.data.prepare import prepare
from transformer_spectrum.data.windows.arrays import SPLITS, pack
from transformer_spectrum.data.windows.cutting import make_windows
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.files import read_json

LENGTH = 24
NAMES = [f"s{i:02d}" for i in range(12)]


def table(times, entity="unique_id", time="ds", value="y"):
    generator = np.random.default_rng(0)
    blocks = [
        pd.DataFrame({entity: name, time: times, value: generator.normal(size=len(times)).cumsum()}) for name in NAMES
    ]
    return pd.concat(blocks, ignore_index=True)


def prepared(folder, frame, **columns):
    """(windows, description, provenance) of a table as a file."""
    folder.mkdir(exist_ok=True)
    path = folder / "series.csv"
    frame.to_csv(path, index=False)
    flags = {"data.sequence_length": LENGTH, "data.output_length": 6, "model.patch_length": 6}
    flags |= {"data.describe.fit_points": 100} | {f"data.file.{name}": value for name, value in columns.items()}
    asked = Asked({name: (value, "x") for name, value in flags.items()}, dataset=str(path))
    params = resolve(asked, lambda line: None).params
    prepare(params, path, folder / "data", folder / "data.json")
    description, provenance = (read_json(folder / name) for name in ("data.json", "data/provenance.json"))
    return (folder / "data/windows.npz").read_bytes(), description, provenance


def windows(folder, frame):
    """Arrays of the windows of a table, and what was read."""
    frame.to_csv(folder / "series.csv", index=False)
    held = read_series_file(folder / "series.csv")
    generator = np.random.default_rng(0)
    shares = {"by": "entity", "validation": 0.15, "test": 0.15, "scaling": "standard"}
    splits, _ = make_windows(held.series, length=LENGTH, horizon=6, stride=None, generator=generator, **shares)
    return pack(splits), held


DAYS = pd.date_range("2010-01-01", "2011-01-31")
MONTHS = pd.date_range("1949-01-01", periods=144, freq="MS")
QUARTERS = pd.date_range("1960-01-01", periods=100, freq="QS")
WEEKS = pd.date_range("2018-12-31", periods=120, freq="W-MON")
YEARS = pd.date_range("1960-01-01", periods=60, freq="YS")


@pytest.mark.parametrize(
    ("dates", "twins"),
    [
        (DAYS, {"ds": DAYS.strftime("%Y%m%d"), "date": DAYS.strftime("%d/%m/%Y"), "day": DAYS.strftime("%Y%j")}),
        (MONTHS, {"ds": MONTHS.strftime("%Y%m"), "month": MONTHS.strftime("%b %Y"), "t": np.arange(144)}),
        (MONTHS, {"time": np.round(1949 + np.arange(144) / 12, 4), "timestamp": MONTHS.as_unit("ms").asi8}),
        (QUARTERS, {"quarter": [f"{date.year}Q{date.quarter}" for date in QUARTERS], "ds": np.arange(100)}),
        (WEEKS, {"week": WEEKS.strftime("%G%V"), "date": WEEKS.strftime("%G-W%V")}),
        (YEARS, {"Year": YEARS.year, "year": YEARS.year.astype(float), "step": YEARS.year}),
        (pd.bdate_range("2020-01-01", periods=150), {"index": np.arange(150)}),
    ],
)
def test_every_way_of_writing_time_gives_the_windows_of_iso_dates(dates, twins, tmp_path):
    expected, held = windows(tmp_path, table(dates.strftime("%Y-%m-%d")))
    blocks = len(dates) // LENGTH
    assert [len(expected[f"{split}_start"]) for split in SPLITS] == [8 * blocks, 2 * blocks, 2 * blocks]
    for name, cells in twins.items():
        frame = table(cells, "Entity", name, "cases")
        mixed = frame.sample(frac=1, random_state=1).sort_values("Entity", kind="stable")
        for rows in (frame, mixed):
            made, held = windows(tmp_path, rows)
            assert (held.features, held.reading.time, held.reading.gaps) == (("cases",), (name,), 0)
            assert held.reading.reordered is (rows is mixed)
            for key, array in expected.items():
                np.testing.assert_array_equal(made[key], array, err_msg=f"{name} {key}", strict=True)


def test_a_wide_table_with_its_year_and_a_dated_one_have_the_windows_of_the_long_one(tmp_path):
    frame = table(YEARS.year, "Entity", "Year", "cases")
    long, described, provenance = prepared(tmp_path / "long", frame)
    assert described["series"]["features"] == ["cases"]
    assert described["series"]["columns"] == provenance["columns"]
    iso, _, _ = prepared(tmp_path / "iso", table(YEARS.strftime("%Y-%m-%d")))
    assert iso == long
    wide, description, _ = prepared(
        tmp_path / "wide", frame.pivot(index="Year", columns="Entity", values="cases").reset_index()
    )
    assert wide == long
    assert description["series"]["usable"] == len(NAMES)


def test_gaps_are_counted_and_windows_with_them_dropped(tmp_path, caplog):
    caplog.set_level("INFO", "transformer_spectrum")
    frame = table(YEARS.year, "Entity", "Year", "cases")
    _, description, provenance = prepared(tmp_path / "holes", frame[frame.Year != 1990])
    assert provenance["columns"]["gaps"] == len(NAMES)
    assert f"gaps: {len(NAMES)} of {60 * len(NAMES)} steps have no row" in caplog.text
    train = description["train"]
    assert (train["cut"], train["dropped_missing_values"], train["windows"]) == (16, 8, 8)


def test_no_usable_window_names_the_file_the_calendar_and_the_gaps(tmp_path):
    frame = table(YEARS.year, "Entity", "Year", "cases")
    with pytest.raises(InputError) as refused:
        prepared(tmp_path, frame[frame.Year % 10 != 0])
    message = str(refused.value)
    assert message.startswith(f"{tmp_path / 'series.csv'}: data.split: no usable train window of 24 steps")
    assert "time: Year (years, step 1)" in message
    assert f"gaps: {5 * len(NAMES)} of {59 * len(NAMES)} steps have no row" in message
    assert "the longest run without a missing value has 9 steps" in message
    with pytest.raises(InputError, match="people never changes within a series; leave it out by --value-columns"):
        prepared(tmp_path, frame.assign(people=7))


def test_columns_are_named_by_parameters_and_options(tmp_path, capsys):
    frame = table(np.arange(60) * 5, "who", "odometer").assign(z=1.5)
    named = {"time_column": "odometer", "entity_column": "who", "value_columns": "y"}
    _, description, _ = prepared(tmp_path, frame, **named)
    assert description["series"]["columns"]["left_out"] == {"z": "not among --value-columns"}
    assert description["series"]["columns"]["step"] == "5"
    arguments = [text for option in COLUMNS for text in (option, "a, b" if option == "--value-columns" else "a")]
    for name in ("train", "train-es", "train-ga"):
        main([name, "-d", "x.csv", *arguments, "--print-config"])
        printed = capsys.readouterr().out
        assert re.search(r"time_column: a +# flag --time-column", printed)
        assert "value_columns: [a, b]" in printed
        assert yaml.safe_load(printed)["data"]["file"]["entity_column"] == "a"


@pytest.fixture
def without_picture(monkeypatch):
    """Pictures take a second each."""
    monkeypatch.setattr(command, "_draw", lambda *arguments: False)


def forecast(trained, folder, frame, *options, suffix="csv"):
    frame.to_csv(folder / "given.csv", index=False)
    out = folder / f"next.{suffix}"
    out.unlink(missing_ok=True)
    main(["forecast", str(trained), "-d", str(folder / "given.csv"), "-o", str(out), *options])
    return pd.read_csv(out, dtype=str)


@pytest.mark.parametrize(
    ("name", "cells", "after"),
    [
        ("Year", range(1960, 2000), [str(year) for year in range(2000, 2008)]),
        ("ds", pd.date_range("2010-12-01", periods=40).strftime("%Y%m%d"), [f"201101{day}" for day in range(10, 18)]),
        (
            "ds",
            pd.date_range("2017-06-01", periods=40, freq="MS").strftime("%Y%m"),
            [*range(202010, 202013), *range(202101, 202106)],
        ),
        ("date", pd.date_range("2017-06-01", periods=40, freq="ME"), pd.date_range("2020-10-31", periods=8, freq="ME")),
        ("date", pd.bdate_range("2024-03-01", periods=40), pd.bdate_range("2024-04-26", periods=8)),
        ("date", pd.date_range("2000-01-01", periods=40, freq="QS"), pd.date_range("2010-01-01", periods=8, freq="QS")),
    ],
)
def test_forecasts_go_on_in_the_calendar_and_the_columns_of_the_file(
    name, cells, after, trained, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(command, "_draw", lambda *arguments: False)
    dated = isinstance(after, pd.DatetimeIndex)
    made = forecast(trained, tmp_path, table([str(cell)[:10] for cell in cells], "Entity", name, "cases"))
    assert list(made.columns) == ["Entity", name, "cases"]
    assert made[made["Entity"] == "s03"][name].tolist() == [str(cell)[:10] if dated else str(cell) for cell in after]
    assert f"time: {name} (" in capsys.readouterr().err


def test_forecasts_are_those_of_the_twin_with_iso_dates_and_options_reach_them(trained, tmp_path, without_picture):
    twin = forecast(trained, tmp_path, table(DAYS.strftime("%Y-%m-%d")))
    made = forecast(trained, tmp_path, table(DAYS.strftime("%Y%m%d")))
    assert made["y"].tolist() == twin["y"].tolist()
    assert made["ds"].tolist() == [text.replace("-", "") for text in twin["ds"]]
    frame = table(np.arange(396), "who", "odometer").assign(z=1.5)
    named = ("--time-column", "odometer", "--entity-column", "who", "--value-columns", "y")
    made = forecast(trained, tmp_path, frame, *named)
    assert made["y"].tolist() == twin["y"].tolist()
    assert made["odometer"].unique().tolist() == [str(step) for step in range(396, 404)]


def test_features_are_put_into_the_order_in_which_the_model_has_learnt_them(tmp_path, caplog):
    learnt = {"columns": {"entity": "who", "values": ["a", "b"]}}
    trained = SimpleNamespace(provenance={"data": learnt})
    frame = pd.DataFrame({"who": "x", "t": range(9), "b": np.arange(9.0) ** 2, "a": np.sqrt(np.arange(9.0))})
    frame.to_csv(tmp_path / "a.csv", index=False)
    with caplog.at_level(logging.INFO, "transformer_spectrum"):
        held = command._in_order_of_training(read_series_file(tmp_path / "a.csv"), trained, tmp_path / "a.csv")
    assert held.features == ("a", "b")
    np.testing.assert_array_equal(held.series[0].values, frame[["a", "b"]])
    assert "features in the order of the training: a, b" in caplog.text
    frame.rename(columns={"a": "c"}).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(InputError, match=r"features: b, c; the model was trained on a, b"):
        command._in_order_of_training(read_series_file(tmp_path / "a.csv"), trained, tmp_path / "a.csv")
