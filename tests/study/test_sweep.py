"""Whole studies: what they leave, what they run again, what they never believe."""

import json
import os
import shutil
import signal
import threading
import time
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from sweeps import call_sweep, records, rows_of

from transformer_spectrum.data.windows.arrays import ARRAYS, unpack
from transformer_spectrum.models.forecaster import Layout
from transformer_spectrum.runtime import deciding_code
from transformer_spectrum.runtime.files import read_arrays
from transformer_spectrum.runtime.seeds import torch_generator
from transformer_spectrum.spectra.analysis import METRICS
from transformer_spectrum.study.running import grid as grids
from transformer_spectrum.study.running.store import Store
from transformer_spectrum.study.running.worker import identity
from transformer_spectrum.training import build
from transformer_spectrum.training.records.history import History
from transformer_spectrum.training.records.snapshots import Snapshots

pytestmark = pytest.mark.slow

FIGURE = ("--figures", "stable_rank")
LONG = ("--set", "adam.epochs=60", "--set", "adam.patience=60")


def call(*options, code=0):
    call_sweep("--overlay", "config/overlays/smoke.yaml", "--out", "out", "--figures", "none", *options, code=code)


def statuses():
    return {(cell["loss"], cell["seed"]): cell["status"] for cell in rows_of("out/cells.csv")}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Keeps the first finished study of two seeds for all tests."""
    return tmp_path_factory.mktemp("finished") / "out"


@pytest.fixture
def study(repository, finished):
    """A repository with a finished study of two losses and two seeds in it."""
    if not finished.exists():
        call("--runs", "2", *FIGURE)
        shutil.copytree("out", finished)
    else:
        shutil.copytree(finished, "out")
    return repository


def when_training(act):
    """Calls `act` with a training process's id once a training has kept its first step."""

    def wait():
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            if list(Path("out/resume").rglob("state.safetensors")) and (children := active_children()):
                return act(children[0].pid)
            time.sleep(0.005)
        return None

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def test_a_study_leaves_a_table_of_cells_a_table_of_spectra_and_figures(study):
    assert statuses() == {(loss, seed): "done" for loss in ("mse", "sgt_q5") for seed in ("1", "2")}
    assert Path("out/figures/stable_rank.png").read_bytes().startswith(b"\x89PNG")
    table = rows_of("out/table.csv")
    history = History.load("out/trainings/narrow/mse/adam/seed_1/history.npz")
    rows = len(history.steps) * len(history.names) * 2 * len(METRICS)  # every step is tracked; matrices and changes
    assert len(table) == 4 * rows
    assert {row["seed"] for row in table} == {"1", "2"}


def test_the_table_has_what_the_histories_say(study):
    """Against plain formulas on the singular values, those of the initial matrices beside them."""
    formulas = {
        "stable_rank": lambda s: (s**2).sum() / s[0] ** 2,
        "spectral_norm": lambda s: s[0],
        "spectral_entropy": lambda s: -((s**2 / (s**2).sum()) * np.log(s**2 / (s**2).sum())).sum(),
    }
    histories = {}
    for row in rows_of("out/table.csv"):
        if row["metric"] not in formulas:
            continue
        place = f"{row['dataset']}/{row['loss']}/{row['optimizer']}/seed_{row['seed']}"
        if place not in histories:
            histories[place] = History.load(f"out/trainings/{place}/history.npz")
        history = histories[place]
        at = int(np.flatnonzero(history.steps == int(row["step"]))[0])
        matrix = history.names.tolist().index(row["matrix"])
        assert int(row["evaluations"]) == history.evaluations[at]
        assert row["family"] == history.families[matrix]
        for column, position in (("value", at), ("initial", 0)):
            expected = formulas[row["metric"]](history.spectrum(position, matrix).astype(float))
            assert float(row[column]) == pytest.approx(expected, rel=2e-5)
    assert len(histories) == 4


def test_families_are_means_over_matrices_of_one_family_and_shape(study):
    table = pd.read_csv("out/table.csv")
    table["larger"], table["smaller"] = table[["rows", "columns"]].max(axis=1), table[["rows", "columns"]].min(axis=1)
    keys = ["loss", "seed", "step", "metric", "larger", "smaller"]
    families = pd.read_csv("out/families.csv")
    families["kind"] = families["family"].str.replace(r"_\d+x\d+$", "", regex=True)
    expected = table.groupby([*keys, "family"])["value"].mean()
    found = families.set_index([*keys, "kind"])["value"]
    assert len(found) == len(expected)
    np.testing.assert_allclose(found.reindex(expected.index), expected, rtol=1e-6)
    assert (families.groupby(["loss", "seed"])["step"].transform("max") == families["step"]).eq(families["last"]).all()
    # Shuffles of different matrices are independent: the spread of their mean is about that of one over sqrt(m).
    one = table[(table["metric"] == "stable_rank") & (table["family"] == "encoder_self_attention")]["null_sd"].mean()
    chosen = (families["metric"] == "stable_rank") & (families["family"] == "encoder_self_attention")
    assert 0.2 * one < families[chosen]["null_sd"].mean() < one


def test_the_table_of_cells_holds_what_came_of_each_training(study):
    cells = rows_of("out/cells.csv")
    assert len(cells) == 4
    for cell in cells:
        folder = Path(f"out/trainings/narrow/{cell['loss']}/adam/seed_{cell['seed']}")
        history = History.load(folder / "history.npz", folder / "seconds.tsv")
        scores = json.loads((folder / "scores.json").read_text())
        best = int(np.nanargmin(history.validation_mae))
        assert (int(cell["steps"]), int(cell["best_step"])) == (history.steps[-1], history.steps[best])
        assert float(cell["best_validation_mae"]) == pytest.approx(history.validation_mae[best])
        assert int(cell["evaluations"]) == history.evaluations[-1]
        assert float(cell["seconds"]) == pytest.approx(history.seconds[-1], abs=1e-3)
        assert float(cell["initial_validation_loss"]) == pytest.approx(history.validation_loss[0])
        assert float(cell["best_validation_loss"]) == pytest.approx(history.validation_loss[best])
        assert float(cell["influence_cosine"]) == pytest.approx(history.influence_cosine[best])
        assert float(cell["residual_mad"]) == pytest.approx(history.residual_mad[best])
        assert float(cell["teacher_forced_mae"]) == pytest.approx(scores["teacher_forced"]["mae"])
        assert float(cell["free_running_mae"]) == pytest.approx(scores["free_running"]["mae"])


def test_a_value_is_missing_exactly_where_a_reason_is_given(study):
    table = rows_of("out/table.csv")
    assert all((row["value"] == "") == (row["missing"] != "") for row in table)
    assert any(row["missing"] for row in table)


def test_the_next_call_runs_nothing_again(study):
    before, table = records(), Path("out/table.csv").read_bytes()
    figure = Path("out/figures/stable_rank.png").stat().st_ino
    call("--runs", "2", *FIGURE)
    assert records() == before
    assert Path("out/table.csv").read_bytes() == table
    assert Path("out/figures/stable_rank.png").stat().st_ino == figure


def test_only_what_is_missing_or_damaged_runs_again_and_gives_the_same_bytes(study):
    before = records()
    tables = Path("out/table.csv").read_bytes()
    shutil.rmtree("out/trainings/narrow/mse/adam/seed_1")
    damaged = Path("out/trainings/narrow/sgt_q5/adam/seed_2/history.npz")
    damaged.write_bytes(damaged.read_bytes()[:-100])
    shutil.rmtree("out/spectra/narrow/mse/adam/seed_2")
    call("--runs", "2")
    changed = {place for place, inode in records().items() if before[place] != inode}
    assert changed == {"narrow/mse/adam/seed_1", "narrow/sgt_q5/adam/seed_2"}
    assert Path("out/table.csv").read_bytes() == tables


def test_another_request_runs_again_and_leaves_the_windows_alone(study):
    before = records()
    windows = {path: path.stat().st_ino for path in Path("out/windows").rglob("record.json")}
    call("--runs", "1", "--set", "adam.learning_rate=0.002")
    after = records()
    assert {place for place in before if before[place] != after[place]} == {
        "narrow/mse/adam/seed_1",
        "narrow/sgt_q5/adam/seed_1",
    }
    assert windows == {path: path.stat().st_ino for path in Path("out/windows").rglob("record.json")}


def test_changed_code_runs_again(study, monkeypatch):
    before = records()
    identity()  # of what runs; only what is asked for changes
    real = deciding_code.checksums

    def changed(sources, *rest):
        found = real(sources, *rest)
        return {**found, "losses.py": "0" * 12} if "losses.py" in found else found

    monkeypatch.setattr(deciding_code, "checksums", changed)
    call("--runs", "1")
    assert {place for place, inode in records().items() if before[place] != inode} == {
        "narrow/mse/adam/seed_1",
        "narrow/sgt_q5/adam/seed_1",
    }


def test_cells_of_a_grid_that_shrank_are_not_in_the_table(study):
    text = Path("studies/grids/tiny.yaml").read_text()
    Path("studies/grids/tiny.yaml").write_text(text[: text.index("  sgt_q5:")])
    call("--runs", "1")
    assert {(row["loss"], row["seed"]) for row in rows_of("out/table.csv")} == {("mse", "1")}
    assert statuses() == {("mse", "1"): "done"}
    assert len(records()) == 4  # they are left alone, for a grid that grows again


def test_a_killed_worker_loses_nothing(study):
    killer = when_training(lambda pid: os.kill(pid, signal.SIGKILL))
    call("--runs", "1", *LONG)
    killer.join()
    assert set(statuses().values()) == {"done"}
    logs = {path.parts[-3]: path.read_text() for path in Path("out/logs/trainings").rglob("seed_1.txt")}
    assert any("going on behind step" in log for log in logs.values())
    killed = {path: path.read_bytes() for path in Path("out/trainings").rglob("seed_1/history.npz")}
    shutil.rmtree("out/trainings")
    call("--runs", "1", *LONG)
    assert killed == {path: path.read_bytes() for path in Path("out/trainings").rglob("seed_1/history.npz")}
    assert list(Path("out/trainings").rglob(".*")) == []


def test_an_interrupted_study_ends_by_130_and_the_next_call_goes_on(study):
    table = Path("out/table.csv").read_bytes()
    stopper = when_training(lambda pid: os.kill(os.getpid(), signal.SIGINT))
    call("--runs", "1", *LONG, code=130)
    stopper.join()
    assert active_children() == []
    assert Path("out/table.csv").read_bytes() == table  # that of before: half a study is none
    call("--runs", "1", *LONG)
    assert set(statuses().values()) == {"done"}
    logs = [path.read_text() for path in Path("out/logs/trainings").rglob("seed_1.txt")]
    assert any("going on behind step" in log for log in logs)


def test_a_cell_that_fails_is_named_with_its_reason_and_stops_no_other(repository):
    text = Path("studies/grids/tiny.yaml").read_text()
    odd = "  odd:\n    data:\n      dataset: synthetic\n      split: {by: time}\n"
    Path("studies/grids/tiny.yaml").write_text(text.replace("losses:", odd + "losses:"))
    call(code=1)
    cells = rows_of("out/cells.csv")
    assert [cell["status"] for cell in cells] == ["done", "done", "failed", "failed"]
    assert "data.sequence_length = 48 with data.split.by = time" in cells[2]["reason"]
    assert {row["dataset"] for row in rows_of("out/table.csv")} == {"narrow"}


def test_a_stand_in_is_marked_everywhere_and_gives_way_to_real_data(repository, snapshots, monkeypatch, capsys):
    refused = {"url": "http://127.0.0.1:9/cases.csv"}  # refuses at once
    grid = yaml.safe_load(Path("studies/grids/tiny.yaml").read_text())
    grid["datasets"] = {"covid": {"data": {"dataset": "covid", "covid": refused}}}
    del grid["losses"]["sgt_q5"]
    Path("studies/grids/tiny.yaml").write_text(yaml.safe_dump(grid))
    monkeypatch.delenv("TRANSFORMER_SPECTRUM_MIRROR", raising=False)
    call()
    said = "sweep tiny: covid: a STAND-IN, simulated, not data"
    assert capsys.readouterr().err.count(said) == 2  # before the trainings and behind them
    assert {row["standin"] for row in rows_of("out/table.csv")} == {"1"}
    assert [cell["standin"] for cell in rows_of("out/cells.csv")] == ["True"]
    monkeypatch.setenv("TRANSFORMER_SPECTRUM_MIRROR", str(snapshots))
    call()
    assert said not in capsys.readouterr().err
    assert {row["standin"] for row in rows_of("out/table.csv")} == {"0"}
    monkeypatch.delenv("TRANSFORMER_SPECTRUM_MIRROR")
    before = records()
    call()  # what was fetched from the mirror stays
    assert records() == before


def test_a_cell_that_diverges_is_named_and_kept_out_of_the_table(repository):
    text = Path("studies/grids/tiny.yaml").read_text()
    wild = "  wild:\n    loss: {type: mse}\n    es: {algorithm: openai, sigma: 1.0e+30}\n"
    Path("studies/grids/tiny.yaml").write_text(text + wild)
    call("--optimizers", "es", code=1)
    cells = {cell["loss"]: cell for cell in rows_of("out/cells.csv")}
    assert cells["wild"]["status"] == "diverged"
    assert cells["wild"]["stop_reason"].startswith("diverged at step")
    assert {row["loss"] for row in rows_of("out/table.csv")} == {"mse", "sgt_q5"}
    before = records()
    call("--optimizers", "es", code=1)  # the same bits diverge again, so it is not tried
    assert records() == before


def test_losses_that_are_one_on_the_residuals_are_said_to_be(repository, capsys):
    text = Path("studies/grids/tiny.yaml").read_text()
    Path("studies/grids/tiny.yaml").write_text(text.replace("q: 5.0", "q: 100000.0"))
    call()
    said = capsys.readouterr().err
    cells = {cell["loss"]: float(cell["influence_cosine"]) for cell in rows_of("out/cells.csv")}
    assert min(cells.values()) > 0.99
    assert "sweep tiny: narrow, Adam: mse (1.0000), sgt_q5 (" in said


def test_losses_of_one_seed_share_windows_initial_weights_and_batches(study, base, smoke):
    places = [Path(f"out/trainings/narrow/{loss}/adam/seed_1") for loss in ("mse", "sgt_q5")]
    starts = [Snapshots.load(place / "snapshots.safetensors") for place in places]
    for name in starts[0].weights:
        assert (starts[0].weights[name][0] == starts[1].weights[name][0]).all()
        assert (starts[0].weights[name][-1] != starts[1].weights[name][-1]).any()
    cells = grids.cells(grids.load_grid("tiny"), base, runs=2, overlay=smoke)
    store = Store("out")
    assert store.windows(cells[0]) == store.windows(cells[1]) != store.windows(cells[2])
    batches = []
    for cell in cells[:3]:  # two losses of seed 1, one of seed 2
        splits = unpack(read_arrays(store.windows(cell) / "windows" / "windows.npz", ARRAYS))
        forecaster = build.model(cell.params, splits["train"].context.shape[-1])
        objective = build.objective(cell.params, forecaster, Layout(forecaster), splits["train"])
        generator = torch_generator(cell.params.seed, "adam search")
        batches.append(torch.cat([objective.batch(generator) for _ in range(3)]))
    assert torch.equal(batches[0], batches[1])
    assert not torch.equal(batches[0], batches[2])


def test_cells_run_one_by_one_make_the_same_study(study, capsys):
    table = Path("out/table.csv").read_bytes()
    shutil.rmtree("out")
    call("--runs", "2", "--dry-run")
    listed = capsys.readouterr().out.splitlines()
    assert listed[3].split() == ["3", "narrow/sgt_q5/adam/seed_2"]
    for index in range(4):
        call("--runs", "2", "--cell", str(index))
    assert not Path("out/table.csv").exists()
    before = records()
    call("--runs", "2")
    assert records() == before
    assert Path("out/table.csv").read_bytes() == table


def test_two_sweeps_do_not_work_in_one_folder(study, capsys):
    with Store("out").locked(shared=True):
        call(code=2)
    assert "out: another sweep is at work in it" in capsys.readouterr().err


@pytest.mark.parametrize("options", [("--cell", "4", "--runs", "2"), ("--workers", "0"), ("--runs", "0")])
def test_a_bad_option_is_one_line_and_exit_code_2(repository, capsys, options):
    call(*options, code=2)
    printed = capsys.readouterr().err
    assert f"{options[0]} = {options[1]}: must be" in printed
    assert printed.count("\n") == 1


def test_a_metric_without_a_figure_is_named_with_a_guess_before_anything_runs(repository, capsys):
    call("--figures", "stable_rnk", code=2)
    assert "'stable_rnk' has no figure; did you mean stable_rank?" in capsys.readouterr().err
    assert not Path("out").exists()
