"""The smallest pipeline on the snapshots of the real sources, as experiments."""

import json
import re

import pytest

pytestmark = pytest.mark.slow

TRAININGS = {"train-adam", "train-es", "train-ga"}


def read(clone, name: str) -> dict:
    return json.loads((clone.root / f"metrics/{name}").read_text())


def test_experiments_on_real_series_differ_as_they_should(new_clone, mirror):
    clone = new_clone("real")
    clone.environment["TRANSFORMER_SPECTRUM_MIRROR"] = str(mirror)
    printed = clone.run("dvc", "exp", "run", "-S", "loss.q=3", "-S", "data.dataset=covid")
    assert len(re.findall("Running stage", printed)) == 8
    data, first = read(clone, "data.json"), read(clone, "adam/metrics.json")
    assert data["dataset"] == "covid"
    assert data["provenance"]["source"] == "mirror"
    assert data["train"]["windows"] > 100
    assert str(mirror) not in (clone.root / "metrics/data.json").read_text()
    assert "q: 3" in (clone.root / "params.yaml").read_text()

    printed = clone.run(
        "dvc", "exp", "run", "-S", "model.type=lstm", "-S", "data.dataset=rvr_flu", "-S", "loss.type=mae"
    )
    assert set(re.findall(r"Running stage '([\w-]+)'", printed)) == {"prepare", "spectra"} | TRAININGS
    data, second = read(clone, "data.json"), read(clone, "adam/metrics.json")
    assert data["dataset"] == "rvr_flu"
    assert first["train_loss"] != second["train_loss"]
    assert first["test"]["free_running"]["mae"] != second["test"]["free_running"]["mae"]
    assert "encoder_gates" in (clone.root / "plots/spectra_evolution.csv").read_text()
    shown = clone.run("dvc", "exp", "show", "--csv")
    assert shown.count("\n") >= 3
