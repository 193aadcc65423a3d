"""Trainings outside DVC: what they leave behind, that nothing is overwritten, that an interrupted one goes on."""

import datetime
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from small_runs import SMALL, write_data
from waiting import wait_for

from transformer_spectrum.analysis.loading import load, load_run
from transformer_spectrum.cli.main import main
from transformer_spectrum.config.load import load_params
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.files import sha256
from transformer_spectrum.study import single_run
from transformer_spectrum.training.records.run_folder import new_run

ROOT = Path(__file__).parents[2]


@pytest.fixture
def without_figures(monkeypatch):
    """Figures take seconds; one run has them."""

    def write(params, models, caption, plots, metrics):
        plots.mkdir()
        (plots / "caption.txt").write_text(caption.line())

    monkeypatch.setattr(single_run, "write_outputs", write)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder to be in, with data.npy."""
    monkeypatch.chdir(tmp_path)
    write_data(tmp_path / "data.npy")
    return tmp_path


def test_a_run_leaves_config_provenance_history_weights_metrics_spectra_and_figures(trained):
    about = json.loads((trained / "run.json").read_text())
    assert (about["name"], about["optimizer"], Path(about["dataset"]).name) == ("first", "adam", "data.npy")
    params = load_params(trained / "params.yaml")
    assert (params.adam.epochs, params.data.dataset, params.model.embed_dim) == (2, "file", 8)
    provenance = json.loads((trained / "data/provenance.json").read_text())
    assert provenance["sha256"] == sha256(trained.parents[2] / "data.npy")
    assert (provenance["source"], provenance["standin"]) == ("file", False)
    run = load_run(trained / "model", trained / "metrics")
    assert run.history.rounds.tolist() == [0, 0, 1, 2]
    assert run.history.steps.tolist() == [0, 1, 2, 4]  # updates: one inside the first epoch of two, and two epochs
    assert run.params == params
    assert load(trained / "model").params.model.embed_dim == 8
    assert {path.stem for path in (trained / "figures").glob("*.png")} >= {
        "spectra_evolution",
        "esd",
        "loss",
        "overview",
    }
    assert {path.name for path in (trained / "spectra").iterdir()} >= {"spectra.json", "spectra_history.parquet"}
    assert not (trained / "resume").exists()


def test_analyze_takes_a_run_by_its_folder_or_its_name_and_measures_its_best_weights(trained, capsys):
    said = {}
    for path in (trained / "model/best.safetensors", trained / "model", trained, trained.parent):
        main(["analyze", str(path), "--shuffles", "0", "--min-size", "2"])
        said[path] = capsys.readouterr()
    (table,) = {printed.out for printed in said.values()}
    assert "feed_forward" in table
    assert f"a training; measuring its best weights, {trained}/model/best.safetensors" in said[trained.parent].err


def test_the_run_is_the_training_that_the_pipeline_would_do(trained, tmp_path):
    """The stages' own functions on the same windows and parameters give the same bits."""
    from transformer_spectrum.data.prepare import prepare
    from transformer_spectrum.training.train import Job, train

    params = load_params(trained / "params.yaml")
    prepare(params, trained.parents[2] / "data.npy", tmp_path / "data", tmp_path / "data.json")
    folders = {name: tmp_path / name for name in ("models", "metrics", "resume")}
    inputs = {"data": tmp_path / "data/windows.npz", "provenance": tmp_path / "data/provenance.json"}
    train(Job(params, "adam", **inputs, **folders))
    for name in ("best.safetensors", "history.npz", "snapshots.safetensors"):
        assert (tmp_path / "models" / name).read_bytes() == (trained / "model" / name).read_bytes()


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("train-es", ("--generations", "2", "--popsize", "4", "--es-sigma", "0.1", "--es-lr", "0.05")),
        ("train-ga", ("--generations", "2", "--popsize", "4", "--mutation-stdev", "0.5", "--crossover-eta", "3")),
    ],
)
def test_populations_train_too_and_their_options_have_an_effect(command, arguments, folder, without_figures, capsys):
    curves = []
    for given in (arguments, (*arguments[:5], str(float(arguments[5]) / 2), *arguments[6:]), arguments[:6]):
        main([command, "-d", "data.npy", *SMALL, *given])
        run = Path(capsys.readouterr().out.strip())
        assert load_run(run / "model").history.steps.tolist() == [0, 1, 2]
        files = sorted((run / "metrics/plots/metrics").glob("*.tsv"))
        curves.append(tuple(path.read_text() for path in files if path.stem != "seconds"))
    assert len(set(curves)) == 3


def test_an_lstm_trains_from_a_config_each_of_whose_keys_reaches_the_run(folder, without_figures, capsys):
    config = {
        "name": "lstm.1",
        "seed": 5,
        "device": "cpu",
        "model": {"type": "lstm", "embed_dim": 6, "num_layers": 2},
        "data": {"dataset": "data.npy", "sequence_length": 20, "output_length": 4, "batch_size": 9},
        "loss": {"type": "cauchy", "cauchy": {"gamma": 0.5}},
        "training": {"num_epochs": 3, "learning_rate": 0.02, "early_stopping_patience": 1},
        "parameters": {"data": {"describe": {"fit_points": 200}}},
    }
    Path("c.yaml").write_text(yaml.safe_dump(config))
    main(["train", "-c", "c.yaml"])
    run = Path(capsys.readouterr().out.strip())
    assert run.parent == Path("runs/lstm.1")
    trained = load(run / "model")
    assert trained.model.__class__.__name__ == "LSTM"
    assert trained.provenance["seed"] == 5
    with np.load(run / "data/windows.npz") as windows:
        assert windows["train_context"].shape[1:] == (16, 1)
        assert windows["train_target"].shape[1:] == (4, 1)
    history = load_run(run / "model").history
    assert {tuple(sorted(shape)) for shape in history.shapes.tolist()} >= {(6, 6)}
    assert history.rounds[-1] <= 3
    rates = np.loadtxt(run / "metrics/plots/metrics/learning_rate.tsv", skiprows=1)
    assert rates[-1, 1] == pytest.approx(0.02)


def test_the_data_set_of_the_pipeline_is_drawn_where_none_is_given(folder, without_figures, capsys):
    from transformer_spectrum.data.prepare import prepare
    from transformer_spectrum.data.synthesis.drawing import draw_synthetic

    size = ("--set", "data.synthetic.series=12", "--set", "data.synthetic.length=24")
    main(["train", *SMALL, *size, "--epochs", "1"])
    run = Path(capsys.readouterr().out.strip())
    assert run.parent.name == "synthetic-adam"
    params = load_params(run / "params.yaml")
    draw_synthetic(params, folder / "raw")
    prepare(params, folder / "raw", folder / "processed", folder / "data.json")
    assert (folder / "processed/windows.npz").read_bytes() == (run / "data/windows.npz").read_bytes()
    assert json.loads((run / "data/provenance.json").read_text())["source"] == "synthetic"


def test_a_run_inside_a_git_repository_leaves_that_as_it_is(folder, without_figures, capsys):
    subprocess.run(["git", "init", "--quiet"], check=True, timeout=60)
    main(["train", "-d", "data.npy", *SMALL, "--epochs", "1"])
    assert sorted(path.name for path in folder.iterdir()) == [".git", "data.npy", "runs"]


def test_a_name_that_is_used_again_overwrites_nothing_not_even_in_the_same_second(tmp_path):
    now = datetime.datetime(2025, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    paths = [new_run(tmp_path, "a", lambda folder: folder.record.write_text("{}"), now).path for _ in range(3)]
    assert [path.name for path in paths] == ["20250102T030405Z", "20250102T030405Z-2", "20250102T030405Z-3"]


@pytest.mark.parametrize("name", ["../a", "a/b", ".a", "", "a b", "ä" * 200])
def test_a_name_that_is_no_folder_of_runs_is_refused_and_nothing_is_made(name, folder, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["train", "-d", "data.npy", *SMALL, "-n", name or " "])
    assert ended.value.code == 2
    assert "--name" in capsys.readouterr().err
    assert not Path("runs").exists()


def test_windows_that_do_not_fit_leave_no_folder(folder, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["train", "-d", "data.npy", *SMALL, "--seq-len", "96"])
    assert ended.value.code == 2
    assert "the longest of 40 series has 60 steps" in capsys.readouterr().err
    assert not list(Path("runs").rglob("*"))


@pytest.mark.parametrize(
    ("command", "options", "words"),
    [
        ("train", ["--device", "mps"], "device = mps: this machine"),
        ("train", ["--set", "tracking.mlflow=ftp://x"], "tracking.mlflow = ftp://x: must be"),
        (
            "train-es",
            ["--set", "es.algorithm=cma", "--set", "es.covariance=full", "--set", "model.feedforward_dim=512"],
            "es.covariance = full with",
        ),
        ("train", ["--set", "adam.weight_decay=1e39"], "adam.weight_decay = '1e39': must fit single precision"),
        ("train-es", ["--set", "es.sigma=1.0e39"], "es.sigma = '1.0e39': must fit single precision"),
        ("train-es", ["--popsize", "1099511627776"], "GiB of it are a population: make es.popsize smaller"),
    ],
)
def test_a_training_that_cannot_start_leaves_no_folder(command, options, words, folder, monkeypatch, capsys):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    with pytest.raises(SystemExit) as ended:
        main([command, "-d", "data.npy", *SMALL, *options])
    assert ended.value.code == 2
    output = capsys.readouterr()
    assert words in output.err
    assert output.out == ""
    assert not list(Path("runs").rglob("*"))


def test_a_loss_without_a_value_for_the_initial_weights_leaves_no_folder(folder, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["train", "-d", "data.npy", *SMALL, "--epochs", "1", "--set", "loss.factor=1.0e39"])
    assert ended.value.code == 2
    assert "loss: not finite for the initial weights" in capsys.readouterr().err
    assert not list(Path("runs").rglob("*"))


def test_forecasts_in_units_beyond_float32_are_kept_as_numbers(folder, without_figures):
    np.save("large.npy", np.load("data.npy") * 1e39)
    main(["train", "-d", "large.npy", *SMALL, "--epochs", "1", "-n", "large"])
    (kept,) = Path("runs/large").rglob("forecasts.npz")
    for name in ("context", "truth", "forecast"):
        assert np.isfinite(np.load(kept)[name]).all()


def test_the_list_of_runs_has_the_change_of_the_best_step_as_effects_json_has_it(trained, capsys):
    effects = json.loads((trained / "spectra/effects.json").read_text())["adam"]["feed_forward"]
    main(["runs", "--runs", str(trained.parents[1]), "--json"])
    (row,) = json.loads(capsys.readouterr().out)
    for name in ("change_stable_rank", "change_stable_rank_effect"):
        assert row[name] == effects[name]
    main(["runs", "--runs", str(trained.parents[1])])
    header = capsys.readouterr().out.splitlines()[0]
    assert "stable rank of the change  its effect" in header


def test_a_stand_in_stays_one_up_to_the_caption_and_other_bytes_do_not_pass(folder, without_figures, capsys):
    beside = Path("data.npy.provenance.json")
    about = {"source": "standin", "standin": True, "location": "x", "sha256": sha256("data.npy"), "notes": []}
    beside.write_text(json.dumps(about))
    main(["train", "-d", "data.npy", *SMALL, "--epochs", "1", "-n", "s"])
    run = Path(capsys.readouterr().out.strip())
    assert json.loads((run / "metrics/scores.json").read_text())["standin_data"] is True
    main(["runs"])
    assert "data.npy (STAND-IN)" in capsys.readouterr().out
    beside.write_text(json.dumps({**about, "sha256": "0"}))
    with pytest.raises(SystemExit):
        main(["train", "-d", "data.npy", *SMALL])
    assert "is of other bytes than data.npy" in capsys.readouterr().err


@pytest.mark.slow
def test_an_interrupted_run_says_how_it_goes_on_and_ends_as_if_nothing_had_happened(folder, without_figures, capsys):
    arguments = ["train", "-d", "data.npy", *SMALL, "--epochs", "40", "--patience", "40"]
    command = [sys.executable, "-m", "transformer_spectrum.cli", *arguments, "-n", "stopped"]
    process = subprocess.Popen(command, env={"PYTHONPATH": str(ROOT / "src")}, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: list(Path("runs").glob("stopped/*/resume/state.safetensors")), "no step is kept")
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=120)[1]
    (run,) = Path("runs/stopped").iterdir()
    assert process.returncode == 130
    assert said.splitlines()[-1] == f"go on with: transformer-spectrum train --resume {run}"
    main(["runs"])
    assert "interrupted" in capsys.readouterr().out
    main(["train", "--resume", str(run)])
    assert "going on behind step" in capsys.readouterr().err
    main([*arguments, "-n", "whole"])
    (whole,) = Path("runs/whole").iterdir()
    assert (run / "model/history.npz").read_bytes() == (whole / "model/history.npz").read_bytes()
    with pytest.raises(SystemExit):
        main(["train", "--resume", str(run)])
    assert "has ended; nothing is left to do" in capsys.readouterr().err


def test_resuming_takes_no_other_options_and_the_right_command(folder, without_figures, monkeypatch, capsys):
    def interrupt(*arguments, **named):
        raise KeyboardInterrupt

    main(["train-ga", "-d", "data.npy", *SMALL, "--generations", "1", "--popsize", "4"])
    run = capsys.readouterr().out.strip()
    for arguments, words in (
        (["train", "--resume", run], "trained by ga; go on with train-ga"),
        (["train-ga", "--resume", run], "nothing is left to do"),
    ):
        with pytest.raises(SystemExit):
            main(arguments)
        assert words in capsys.readouterr().err
    (Path(run) / "figures/caption.txt").unlink()
    (Path(run) / "figures").rmdir()
    with pytest.raises(SystemExit):
        main(["train-ga", "--resume", run, "--popsize", "8"])
    assert "--resume with ga.popsize: an interrupted run goes on as it was begun" in capsys.readouterr().err
    with monkeypatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr(single_run, "write_outputs", interrupt)
        main(["train-ga", "--resume", run])
    assert ended.value.code == 130
    assert f"go on with: transformer-spectrum train-ga --resume {run}\n" in capsys.readouterr().err
    main(["train-ga", "--resume", run])
    assert (Path(run) / "figures/caption.txt").read_text().startswith("data: data.npy")


def test_runs_lists_what_there_is_with_its_metrics(trained, capsys):
    main(["runs", "--runs", str(trained.parents[1]), "--json"])
    (row,) = json.loads(capsys.readouterr().out)
    scores = json.loads((trained / "metrics/scores.json").read_text())
    assert row["run"] == f"first/{trained.name}"
    assert (row["state"], row["optimizer"], row["data"], row["model"]) == ("done", "adam", "data.npy", "transformer")
    assert row["validation_mae"] == scores["best_validation_mae"]
    assert row["test_mae"] == scores["free_running"]["mae"]
    main(["runs", "--runs", str(trained.parents[1])])
    printed = capsys.readouterr().out
    assert f"{scores['best_validation_mae']:.4g}" in printed
    assert len(printed.splitlines()) == 2
    main(["runs", "--runs", str(trained / "nothing")])
    assert "no runs" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["run.json", "data/provenance.json", "metrics/scores.json"])
def test_a_damaged_file_of_a_run_is_named_and_hides_no_other_run(name, trained, tmp_path, capsys):
    copy = shutil.copytree(trained, tmp_path / "first" / trained.name)
    shutil.copytree(trained, tmp_path / "second" / trained.name)
    for damage in ("{", "[" * 5000, '{"name": ' + "9" * 5000, "[]"):
        (copy / name).write_text(damage)
        main(["runs", "--runs", str(tmp_path), "--json"])
        printed = capsys.readouterr()
        listed = json.loads(printed.out)
        assert listed[-1] == {**listed[-1], "run": f"second/{trained.name}", "state": "done"}
        if damage == "[]" and name == "run.json":
            assert len(listed) == 1  # of something else than a run
            continue
        assert listed[0]["state"] == "damaged"
        assert f"runs: {copy if damage == '[]' else copy / name}: not" in printed.err


def test_words_of_a_damaged_run_are_printed_as_what_they_are_and_numbers_that_are_none_as_null(
    trained, tmp_path, capsys
):
    copy = shutil.copytree(trained, tmp_path / "first" / trained.name)
    scores = json.loads((copy / "metrics/scores.json").read_text())
    words = "\ud800 \x1b[31m red\n" + "x" * 100_000
    (copy / "metrics/scores.json").write_text(
        json.dumps({**scores, "stop_reason": words, "best_validation_mae": float("nan")})
    )
    main(["runs", "--runs", str(tmp_path)])
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) == 2
    assert len(printed) < 2000
    assert printed.replace("\n", "").isprintable()
    main(["runs", "--runs", str(tmp_path), "--json"])
    (row,) = json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(name))
    assert (row["validation_mae"], row["stop_reason"]) == (None, words)


@pytest.mark.parametrize("content", ["[]", "null", "5", "{}"])
def test_scores_of_another_shape_are_named(content, trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    (tmp_path / "run/metrics/scores.json").write_text(content)
    with pytest.raises(InputError, match=r"scores\.json: not the scores of a training"):
        load_run(tmp_path / "run")
