"""The search for learning rates and step sizes: what it tries, what wins, what it leaves behind."""

import argparse
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from transformer_spectrum.cli.overrides import overrides
from transformer_spectrum.cli.tune import WINDOWS, add, overlay, run, table
from transformer_spectrum.config.load import parse_params
from transformer_spectrum.data.series.entity_series import Series
from transformer_spectrum.data.windows.arrays import pack
from transformer_spectrum.data.windows.cutting import make_windows
from transformer_spectrum.runtime.errors import InputError, one_line_errors
from transformer_spectrum.runtime.files import write_arrays, write_json
from transformer_spectrum.study.tune import (
    UNPRUNED_TRIALS,
    Trial,
    Tuning,
    knobs,
    step_evaluations,
    trial_budget,
    tune,
    with_values,
)
from transformer_spectrum.training.records.history import History
from transformer_spectrum.training.train import Job, train

SMALL = {
    "device": "cpu",
    "data.sequence_length": 12,
    "data.output_length": 4,
    "data.synthetic.length": 12,
    "loss.type": "mse",
    "model.embed_dim": 4,
    "model.heads": 1,
    "model.layers": 1,
    "model.feedforward_dim": 4,
    "model.patch_length": 4,
    "training.batch_size": 8,
    "training.workers": 1,
    "adam.epochs": 8,
    "adam.learning_rate": 1e-5,  # far too small to get anywhere
    "es.popsize": 4,
    "es.generations": 8,
    "ga.popsize": 4,
    "ga.generations": 8,
}
COMMITTED = parse_params(yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text()))
PARAMS = with_values(COMMITTED, SMALL)


@pytest.fixture(autouse=True)
def _torch_as_before():
    mode, threads = torch.get_deterministic_debug_mode(), torch.get_num_threads()
    yield
    torch.set_deterministic_debug_mode(mode)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A working directory with params.yaml and prepared windows: sines of random phases."""
    root = tmp_path_factory.mktemp("tuning")
    random = np.random.default_rng(0)
    waves = np.sin(2 * np.pi * (np.arange(12) / 6 + random.random((24, 1))))
    splits, _ = make_windows(
        [Series(str(i), 0, wave[:, None]) for i, wave in enumerate(waves)],
        length=12,
        horizon=4,
        stride=None,
        by="entity",
        validation=0.2,
        test=0.2,
        scaling="standard",
        generator=random,
    )
    write_arrays(root / WINDOWS, pack(splits))
    (root / "params.yaml").write_text(yaml.safe_dump(PARAMS.model_dump(mode="json")))
    return root


@pytest.fixture(scope="module")
def found(folder):
    return tune(PARAMS, "adam", folder / WINDOWS, trials=12, evaluations=36, seed=3)


def command(*words):
    parser = argparse.ArgumentParser()
    add(parser)
    run(parser.parse_args(words))


def test_it_finds_a_better_learning_rate_than_a_bad_committed_one(found):
    assert found.best.number != 0
    assert found.best.score < 0.9 * found.committed.score
    assert found.best.values["adam.learning_rate"] > 1e-3


def test_the_committed_values_are_tried_first_and_to_the_end(found):
    assert found.committed.values == {"adam.learning_rate": 1e-5}
    assert not found.committed.pruned
    assert sorted(trial.number for trial in found.trials) == list(range(12))


def test_the_trial_of_the_committed_values_is_the_training_of_the_pipeline(folder, tmp_path):
    write_json(tmp_path / "provenance.json", {"standin": False})
    train(
        Job(
            with_values(PARAMS, {"model.dropout": 0.1}),
            "adam",
            data=folder / WINDOWS,
            models=tmp_path / "models",
            metrics=tmp_path / "metrics",
            provenance=tmp_path / "provenance.json",
            resume=tmp_path / "resume",
        )
    )
    history = History.load(tmp_path / "models" / "history.npz")
    params = with_values(PARAMS, {"model.dropout": 0.1})
    trial = tune(params, "adam", folder / WINDOWS, trials=1, evaluations=10**6, seed=0).committed
    assert trial.score == history.validation_mae.min()
    assert trial.evaluations == history.evaluations[-1]


def test_a_trial_overshoots_its_budget_by_less_than_a_step(found):
    each, _ = step_evaluations(PARAMS, "adam", 14)
    whole = [trial for trial in found.trials if not trial.pruned]
    assert all(36 <= trial.evaluations < 36 + each for trial in whole)


def test_pruned_trials_save_evaluations_and_cannot_win(found):
    pruned = [trial for trial in found.trials if trial.pruned]
    assert pruned
    assert all(trial.evaluations < 36 and trial.number >= UNPRUNED_TRIALS for trial in pruned)
    assert list(found.trials[-len(pruned) :]) == pruned


def test_trials_are_ranked_by_validation_mae(found):
    scores = [trial.score for trial in found.trials if not trial.pruned]
    assert scores == sorted(scores)
    lines = table(found).splitlines()
    assert [line.split()[0] for line in lines[1:]] == [str(trial.number) for trial in found.trials]


def test_every_trial_is_inside_the_range(found):
    low, _, high = knobs(PARAMS, "adam")["adam.learning_rate"]
    assert all(low <= trial.values["adam.learning_rate"] <= high for trial in found.trials)


@pytest.mark.parametrize(
    ("optimizer", "algorithm", "names"),
    [
        ("es", "sep_cma", {"es.sigma"}),
        ("es", "openai", {"es.sigma", "es.learning_rate"}),
        ("ga", "sep_cma", {"ga.spread", "ga.mutation_stdev"}),
    ],
)
def test_populations_search_their_step_sizes(folder, optimizer, algorithm, names):
    params = with_values(PARAMS, {"es.algorithm": algorithm})
    result = tune(params, optimizer, folder / WINDOWS, trials=3, evaluations=10, seed=0)
    assert all(set(trial.values) == names for trial in result.trials)
    each, _ = step_evaluations(params, optimizer, 14)
    assert all(trial.evaluations == 1 + each * trial.steps for trial in result.trials)


def test_the_default_budget_is_a_quarter_of_a_full_training():
    assert trial_budget(COMMITTED, "adam", 700) == 60 * 22 * 3 / 4  # 22 batches; a backward pass counts as two
    assert trial_budget(with_values(COMMITTED, {"budget.evaluations": 100}), "es", 700) == 25


def test_a_range_is_widened_to_hold_the_committed_value():
    assert knobs(with_values(COMMITTED, {"es.algorithm": "cma", "es.sigma": 2.0}), "es") == {
        "es.sigma": (1e-3, 2.0, 2.0)
    }


def test_what_is_switched_off_stays_off():
    off = with_values(COMMITTED, {"ga.spread": 0.0})
    assert set(knobs(off, "ga")) == {"ga.mutation_stdev"}
    with pytest.raises(InputError, match=r"ga\.spread and ga\.mutation_stdev = 0"):
        knobs(with_values(off, {"ga.mutation_stdev": 0.0}), "ga")


def test_the_same_seed_gives_the_same_overlay(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    written = {}
    for name, seed in (("a", "5"), ("b", "5"), ("c", "6")):
        command("adam", "--trials", "3", "--evaluations", "6", "--seed", seed, "--out", f"{name}.yaml")
        written[name] = (folder / f"{name}.yaml").read_text()
    assert written["a"] == written["b"]
    assert yaml.safe_load(written["a"]) != yaml.safe_load(written["c"])
    shown = capsys.readouterr()
    assert "0 (committed)" in shown.out
    assert "optuna" not in shown.err.lower()


def test_the_overlay_is_one_and_says_how_it_was_found(folder, monkeypatch):
    monkeypatch.chdir(folder)
    command("ga", "--loss", "cauchy", "--trials", "2", "--evaluations", "8")
    text = (folder / "config/overlays" / "tuned_ga_cauchy.yaml").read_text()
    names = [item.split("=")[0] for item in overrides(yaml.safe_load(text))]
    assert names == ["loss.type", "ga.spread", "ga.mutation_stdev"]
    assert "tune ga --loss cauchy --trials 2 --evaluations 8 --seed 1" in text
    assert "synthetic data" in text
    assert "Committed values (trial 0): " in text


def test_without_the_pipelines_windows_it_makes_its_own_and_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    sizes = {**SMALL, "data.dataset": "synthetic", "data.synthetic.series": 12}
    words = [word for name, value in sizes.items() for word in ("--set", f"{name}={value}")]
    command("adam", "--loss", "mse", "--trials", "1", "--evaluations", "6", *words)
    text = (tmp_path / "tuned_adam_mse.yaml").read_text()
    assert "--set data.synthetic.series=12" in text.splitlines()[0]
    assert "transformer-spectrum train --params tuned_adam_mse.yaml" in capsys.readouterr().out
    made = ["tuned_adam_mse.yaml", "tuned_adam_mse.yaml.provenance.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == made


def result(*trials):
    return Tuning("adam", "mse", 100, 7, "synthetic data", trials)


def trial(number, value, score):
    return Trial(number, {"adam.learning_rate": value}, score, 100, 10, False, "budget.evaluations = 100 spent")


def test_small_values_are_numbers_in_the_overlay():
    text = overlay(result(trial(4, 1.23e-5, 0.25), trial(0, 0.001, 0.5)))
    assert yaml.safe_load(text) == {"loss": {"type": "mse"}, "adam": {"learning_rate": 1.23e-5}}
    assert "# Lowest validation MAE: 0.25 in trial 4.\n" in text
    assert "# Committed values (trial 0): 0.5 with adam.learning_rate 0.001.\n" in text


def test_the_overlay_says_when_nothing_did_better():
    text = overlay(result(trial(0, 0.001, 0.5), trial(1, 0.1, 0.75)))
    assert yaml.safe_load(text)["adam"] == {"learning_rate": 0.001}
    assert "No trial did better" in text


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["sgd"], "optimizer = 'sgd': must be adam, es, ga"),
        (["adam", "--loss", "huber"], "loss.type = 'huber': must be 'mse', 'mae', 'cauchy' or 'sgt'"),
        (["adam", "--trials", "0"], "trials = 0: must be >= 1"),
        (["adam", "--evaluations", "0"], "evaluations = 0: must be >= 1"),
        (["adam", "--seed", "-1"], "seed = -1: must be >= 0"),
    ],
)
def test_bad_input_is_told_in_one_line(words, told, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit) as ended, one_line_errors("transformer-spectrum"):
        command(*words)
    shown = capsys.readouterr().err
    assert ended.value.code == 2
    assert told in shown
    assert shown.count("\n") == 1


def test_missing_data_and_data_of_other_parameters_are_told(folder, tmp_path):
    with pytest.raises(InputError, match=r"windows\.npz: no such file"):
        tune(PARAMS, "adam", tmp_path / "windows.npz", trials=1, seed=0)
    with pytest.raises(InputError, match=r"windows of 8 \+ 4 steps, but params\.yaml asks for 240 \+ 60"):
        tune(COMMITTED, "adam", folder / WINDOWS, trials=1, seed=0)


def test_a_learning_rate_that_diverges_is_a_trial_like_others(folder):
    params = with_values(PARAMS, {"adam.learning_rate": 10.0, "adam.gradient_clip": 0.0})
    assert math.isfinite(tune(params, "adam", folder / WINDOWS, trials=1, seed=0).best.score)
