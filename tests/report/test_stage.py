"""The spectra stage as DVC runs it: in a folder with params, models and data.json, as a process of its own."""

import dataclasses
import json

import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file

from transformer_spectrum.runtime.files import read_table, write_arrays, write_json

PNG = (
    "spectra_evolution",
    "spectra_by_budget",
    "spectra_by_mae",
    "heatmap",
    "singular_values",
    "esd",
    "loss",
    "forecasts",
    "overview",
)
CSV = ("spectra_evolution", "heatmap", "singular_values", "esd", "loss", "validation", "forecasts")


@pytest.fixture(scope="module")
def lone_family(few_histories):
    """The trainings with one family: whole pictures take seconds, most of them for the panels of each family."""
    feed_forward = few_histories["adam"].families == "feed_forward"
    return {
        name: dataclasses.replace(
            history,
            names=history.names[feed_forward],
            families=history.families[feed_forward],
            shapes=history.shapes[feed_forward],
            singular_values=history.singular_values[:, feed_forward],
            change_singular_values=history.change_singular_values[:, feed_forward],
            distances=history.distances[:, feed_forward],
        )
        for name, history in few_histories.items()
    }


@pytest.fixture
def workspace(tmp_path, lone_family, kept, forecast, pytestconfig):
    tree = yaml.safe_load((pytestconfig.rootpath / "params.yaml").read_text())
    tree["spectra"] |= {"shuffles": 3, "bootstrap": 5}  # few draws: it is the files that are looked at here
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(tree))
    write_json(tmp_path / "data/processed/provenance.json", {"standin": True})
    for name, snapshots in kept(lone_family).items():
        (tmp_path / "models" / name).mkdir(parents=True)
        about = {"run": json.dumps({"steps": snapshots.steps})}
        save_file(dict(snapshots.weights), tmp_path / "models" / name / "snapshots.safetensors", about)
    for name, history in lone_family.items():
        history.save(tmp_path / "models" / name / "history.npz")
        arrays = {key: forecast[key] for key in ("context", "truth", "entities")}
        write_arrays(tmp_path / "models" / name / "forecasts.npz", {**arrays, "forecast": forecast["forecast"][name]})
    (tmp_path / "models" / "nevergrad").mkdir()  # left by an earlier experiment
    (tmp_path / "models" / "nevergrad" / "history.npz").write_bytes(b"not for this stage")
    return tmp_path


@pytest.fixture
def run_stage(workspace, nursery, pytestconfig):
    """Gives the stage's exit code and what it prints."""
    return lambda: nursery.start([pytestconfig.rootpath / "stages/spectra.py"], workspace).wait()


@pytest.mark.slow
def test_the_stage_writes_every_number_table_and_figure(workspace, run_stage):
    code, printed = run_stage()
    assert code == 0, printed
    written = {path.name for path in (workspace / "plots").iterdir()}
    assert written == {f"{name}.png" for name in PNG} | {f"{name}.csv" for name in CSV}
    tree = json.loads((workspace / "metrics" / "spectra.json").read_text())
    assert set(tree) == {"standin_data", "initial", "adam", "es", "ga", "reasons"}
    assert tree["standin_data"] == 1
    for name in CSV:
        header, first, *_ = (workspace / "plots" / f"{name}.csv").read_text().splitlines()
        assert header.endswith(",standin")
        assert first.endswith(",STAND-IN DATA")
    assert len(read_table(workspace / "metrics" / "spectra_history.parquet")) == (13 + 18 + 18) * 8
    assert len(read_table(workspace / "metrics" / "spectra_tails.parquet")) == 3 * 2 * 8  # both ends
    assert (
        len(read_table(workspace / "metrics" / "spectra_nulls.parquet")) == 12 * 8 * 5 * 26
    )  # twelve tracked steps, five nulls


@pytest.mark.parametrize(
    ("spoil", "names"),
    [
        (lambda root: (root / "models" / "ga" / "history.npz").unlink(), "models/ga/history.npz: no such file"),
        (
            lambda root: (root / "models" / "es" / "history.npz").write_bytes(b"PK"),
            "models/es/history.npz: not a readable",
        ),
        (lambda root: (root / "data/processed/provenance.json").write_text("{"), "provenance.json: not valid JSON"),
    ],
)
def test_a_missing_or_corrupt_input_ends_in_one_line_and_leaves_old_outputs(workspace, spoil, names, run_stage):
    write_json(workspace / "metrics" / "spectra.json", {"old": 1})
    spoil(workspace)
    code, printed = run_stage()
    assert code == 2
    assert len(printed.strip().splitlines()) == 1
    assert names in printed
    assert json.loads((workspace / "metrics" / "spectra.json").read_text()) == {"old": 1}


def test_forecasts_of_other_windows_are_refused(workspace, forecast, run_stage):
    arrays = {key: forecast[key] for key in ("context", "truth", "entities")}
    arrays["entities"] = np.array([f"other {i}" for i in range(9)])
    write_arrays(workspace / "models" / "es" / "forecasts.npz", {**arrays, "forecast": forecast["forecast"]["es"]})
    code, printed = run_stage()
    assert code == 2
    assert "models/es/forecasts.npz: other windows than adam's" in printed
