"""Trained weights are of use in another repository, which has nothing of this one."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import transformer_spectrum as ts
from transformer_spectrum.runtime.files import read_arrays
from transformer_spectrum.training.artifacts import forecasts
from transformer_spectrum.training.setup import read_windows

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/api/library.md").read_text()
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())


def test_every_training_is_an_artifact_with_a_description_and_labels():
    trained = {f"models/{name.removeprefix('train-')}" for name in PIPELINE["stages"] if name.startswith("train-")}
    assert {artifact["path"] for artifact in PIPELINE["artifacts"].values()} == trained
    for name, artifact in PIPELINE["artifacts"].items():
        assert artifact["path"] == f"models/{name}"
        assert artifact["type"] == "model"
        assert len(artifact["desc"].split()) > 5
        assert {"forecasting", "safetensors"} < set(artifact["labels"])


@pytest.mark.slow
def test_imported_weights_are_the_trained_ones(shared_by_folder, another):
    another.run("dvc", "import", str(shared_by_folder.root), "models/es")
    assert same_files(another.root / "es", shared_by_folder.root / "models/es")
    about = yaml.safe_load((another.root / "es.dvc").read_text())
    assert about["deps"][0]["path"] == "models/es"
    assert about["deps"][0]["repo"]["rev_lock"] == shared_by_folder.run("git", "rev-parse", "HEAD").strip()
    assert ts.load(another.root / "es", "best_candidate").provenance["optimizer"] == "es"


@pytest.mark.slow
def test_a_registered_model_is_got_by_its_name_and_version(shared_by_folder, another):
    another.run("dvc", "artifacts", "get", str(shared_by_folder.root), "adam")
    another.run("dvc", "artifacts", "get", str(shared_by_folder.root), "adam", "--rev", "v1.0.0", "--out", "first")
    for name in ("adam", "first"):
        assert same_files(another.root / name, shared_by_folder.root / "models/adam")
    assert ts.load(another.root / "first").provenance["optimizer"] == "adam"
    another.run("dvc", "artifacts", "get", str(shared_by_folder.root), "adam", "--rev", "v9.0.0", code=1)
    another.run("dvc", "get", str(shared_by_folder.root), "models/ga", "--rev", "main")
    assert same_files(another.root / "ga", shared_by_folder.root / "models/ga")


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adam", "es", "ga"])
def test_a_loaded_model_forecasts_what_was_recorded(pipeline, optimizer):
    folder = pipeline.root / "models" / optimizer
    loaded = ts.load(folder)
    test = read_windows(pipeline.root / "data/processed/windows.npz")["test"]
    made = test.in_data_units(forecasts(loaded.model, test, torch.device("cpu"))["free_running"]).astype(np.float32)
    kept = read_arrays(folder / "forecasts.npz", ("entities", "forecast"))
    order = [test.entity.tolist().index(name) for name in kept["entities"]]
    assert np.array_equal(made[order], kept["forecast"])
    assert loaded.provenance == json.loads((folder / "run.json").read_text())
    assert loaded.params == ts.load_params(pipeline.root / "params.yaml")


@pytest.mark.slow
def test_an_analyzed_run_is_the_pipelines_table(pipeline):
    from transformer_spectrum.runtime.files import read_table

    run = ts.load_run(pipeline.root / "models/ga", pipeline.root / "metrics/ga")
    assert run.scores["free_running"]["mae"] > 0
    table = ts.analyze(run).table()
    written = read_table(pipeline.root / "metrics/spectra_history.parquet").query("optimizer == 'ga'").reset_index()
    assert table["matrix"].tolist() == written["matrix"].tolist()
    for metric in ("stable_rank", "ks_alpha", "mp_spikes", "condition_number"):
        assert np.array_equal(table[metric], written[metric], equal_nan=True)
    assert table["missing"].tolist() == written["missing"].tolist()


@pytest.mark.slow
def test_the_example_of_the_page_on_the_library_runs(pipeline):
    example = PAGE.split("```python\n")[1].split("```")[0]
    assert set(re.findall(r"ts\.(\w+)", example)) >= {"load", "load_run", "analyze"}
    printed = pipeline.run(sys.executable, "-c", example)
    best = json.loads((pipeline.root / "metrics/adam/scores.json").read_text())
    assert str(best["free_running"]["mae"]) in printed
    assert printed.startswith("synthetic ")


def same_files(one: Path, other: Path) -> bool:
    """Whether both folders have the same files of the same bytes, and any."""
    found = {path.name: path.read_bytes() for path in one.iterdir() if path.name != ".gitignore"}
    return found == {path.name: path.read_bytes() for path in other.iterdir()} and bool(found)
