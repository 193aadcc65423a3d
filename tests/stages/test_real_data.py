"""The smallest pipeline on the snapshots of the real sources, as experiments."""

import json
import re

import pytest

pytestmark = pytest.mark.slow


def read(clone, name: str) -> dict:
    return json.loads((clone.root / f"metrics/{name}").read_text())


def test_experiments_on_real_series_differ_as_they_should(copy_of_finished, snapshots):
    """By one of the three: that a changed loss concerns all of them and the spectra is seen in test_pipeline.py."""
    clone = copy_of_finished("real")
    clone.environment["TRANSFORMER_SPECTRUM_MIRROR"] = str(snapshots)
    asked = ("-S", "data.dataset=covid", "-S", "data.covid.url=http://127.0.0.1:9/another.csv", "train-adam")
    printed = clone.run("dvc", "exp", "run", *asked)
    assert re.findall(r"Running stage '([\w-]+)'", printed) == ["fetch-covid", "prepare", "train-adam"]
    data, first = read(clone, "data.json"), read(clone, "adam/scores.json")
    assert data["dataset"] == "covid"
    assert data["provenance"]["source"] == "mirror"
    assert data["train"]["windows"] > 100
    assert str(snapshots) not in (clone.root / "metrics/data.json").read_text()

    printed = clone.run("dvc", "exp", "run", "-S", "loss.q=3", *asked)
    assert re.findall(r"Running stage '([\w-]+)'", printed) == ["train-adam"]
    assert "q: 3" in (clone.root / "params.yaml").read_text()
    assert read(clone, "data.json") == data
    second = read(clone, "adam/scores.json")
    assert first["best_validation_mae"] != second["best_validation_mae"]
    assert first["free_running"]["mae"] != second["free_running"]["mae"]

    names = clone.run("dvc", "exp", "list", "--name-only").split()
    table = clone.run("make", "compare", "READY=")
    assert max(map(len, table.splitlines())) <= 120
    assert len(names) == 2
    for name in names:
        cells = {word for line in table.splitlines() if name in line for word in line.split()}
        assert cells & {f"{scores['free_running']['mae']:.4g}" for scores in (first, second)}, table
    assert {"adam", "es", "ga"} <= set(table.split()), table
    for parameter in ("loss.q", "data.dataset"):  # beside the metrics where they fit, else a row each
        assert parameter in table or set(parameter.replace(".", ". ").split()) <= set(table.split()), table


@pytest.mark.parametrize("dataset", ["rvr_beds", "rvr_flu"])
def test_an_lstm_trains_on_hospital_series(new_clone, snapshots, dataset):
    clone = new_clone(dataset)
    clone.environment["TRANSFORMER_SPECTRUM_MIRROR"] = str(snapshots)
    clone.set(data__dataset=dataset, model__type="lstm", loss__type="mae", es__algorithm="openai")
    for stage in ("fetch_rvr", "prepare", "train es"):
        clone.stage(stage)
    scores = read(clone, "es/scores.json")
    assert scores["standin_data"] is False
    assert scores["free_running"]["mae"] > 0
