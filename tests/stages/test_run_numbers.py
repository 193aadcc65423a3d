"""The numbers of a finished run's files, computed once more from its windows, histories and forecasts."""

import json

import numpy as np
import pytest
from scipy import stats

from transformer_spectrum.runtime.seeds import numpy_generator
from transformer_spectrum.training.records.history import History

pytestmark = pytest.mark.slow

OPTIMIZERS = ("adam", "es", "ga")
SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def windows(finished):
    with np.load(finished.root / "data/processed/windows.npz") as arrays:
        return {
            split: {
                name: arrays[f"{split}_{name}"]
                for name in ("context", "target", "location", "scale", "entity", "start")
            }
            for split in SPLITS
        }


def read(finished, name):
    return json.loads((finished.root / "metrics" / name).read_text())


def in_units(part, scaled):
    return scaled.astype(float) * part["scale"] + part["location"]


def errors(part, forecast, truth, forecast_in_units, truth_in_units):
    """Scores of forecasts, by their formulas."""
    context = part["context"].astype(float)
    naive = np.abs(context[:, 1:] - context[:, :-1]).mean(axis=1)
    size = np.abs(forecast_in_units) + np.abs(truth_in_units)
    return {
        "mae": np.abs(forecast - truth).mean(),
        "rmse": np.sqrt(((forecast - truth) ** 2).mean()),
        "mae_data": np.abs(forecast_in_units - truth_in_units).mean(),
        "smape": (2 * np.abs(forecast_in_units - truth_in_units) / size).mean(),
        "mase": (np.abs(forecast - truth).mean(axis=1) / naive).mean(),
    }


def test_the_windows_are_counted_and_shared_as_the_parameters_say(finished, windows):
    data = read(finished, "data.json")
    entities = {split: set(part["entity"].tolist()) for split, part in windows.items()}
    assert {split: len(names) for split, names in entities.items()} == {"train": 42, "validation": 9, "test": 9}
    assert len(set.union(*entities.values())) == data["series"]["usable"] == 60
    for split, part in windows.items():
        dropped = sum(count for name, count in data[split].items() if name.startswith("dropped_"))
        assert data[split]["windows"] == len(part["context"]) == data[split]["cut"] - dropped
        assert data[split]["entities"] == len(entities[split])


def test_the_description_of_the_data_is_that_of_the_windows(finished, windows):
    data = read(finished, "data.json")
    for split, part in windows.items():
        values = np.concatenate([part["context"], part["target"]], axis=1).astype(float)
        increments = np.diff(values, axis=1).ravel()
        increments = (increments - increments.mean()) / increments.std()
        tail = np.sort(np.abs(increments))[::-1][: int(0.05 * len(increments)) + 1]
        assert data[split]["skewness"] == pytest.approx(stats.skew(values, axis=None), rel=1e-5)
        assert data[split]["skewness_of_increments"] == pytest.approx(stats.skew(increments), rel=1e-5)
        assert data[split]["hill_index"] == pytest.approx(1 / np.log(tail[:-1] / tail[-1]).mean(), rel=1e-5)
    part, terms = windows["train"], 30  # the other splits have too few values for kappa, and say so
    increments = np.diff(np.concatenate([part["context"], part["target"]], axis=1).astype(float), axis=1).ravel()
    generator = numpy_generator(1, "describe train")
    generator.choice(increments, 1000, replace=False)  # those that are fitted
    order = generator.permutation((increments - increments.mean()) / increments.std())
    sums = order[: len(order) // terms * terms].reshape(-1, terms).sum(axis=1)
    ratio = np.abs(sums).mean() / np.abs(order).mean()
    assert data["train"]["kappa"] == pytest.approx(2 - np.log(terms) / np.log(ratio), rel=1e-5)
    assert {"validation.kappa", "test.kappa"} <= data["reasons"].keys()


def test_the_baselines_are_scored_on_the_test_windows(finished, windows):
    part, scores = windows["test"], read(finished, "data.json")["baselines"]
    context, truth = part["context"].astype(float), part["target"].astype(float)
    horizon = truth.shape[1]
    season = 24  # of params.yaml
    forecasts = {
        "persistence": np.repeat(context[:, -1:], horizon, axis=1),
        "seasonal_naive": np.stack([context[:, len(context[0]) - season + t % season] for t in range(horizon)], axis=1),
        "context_mean": np.repeat(context.mean(axis=1, keepdims=True), horizon, axis=1),
    }
    assert scores.keys() == forecasts.keys()
    for name, forecast in forecasts.items():
        expected = errors(part, forecast, truth, in_units(part, forecast), in_units(part, truth))
        assert scores[name] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_scores_of_a_training_are_those_of_its_forecasts_and_its_history(finished, windows, optimizer):
    part, scores = windows["test"], read(finished, f"{optimizer}/scores.json")
    with np.load(finished.root / f"models/{optimizer}/forecasts.npz") as kept:
        assert kept["entities"].tolist() == part["entity"].tolist()  # all, for they are fewer than are kept
        forecast, truth = kept["forecast"].astype(float), kept["truth"].astype(float)
        np.testing.assert_allclose(truth, in_units(part, part["target"]), rtol=1e-5, atol=1e-6)
    scaled = [(values - part["location"]) / part["scale"] for values in (forecast, truth)]
    expected = errors(part, *scaled, forecast, truth)
    naive = np.abs(part["context"][:, -1:].astype(float) - part["target"]).mean()
    expected["skill_over_persistence"] = 1 - expected["mae"] / naive
    assert scores["free_running"] == pytest.approx(expected, rel=1e-4)
    history = History.load(finished.root / f"models/{optimizer}/history.npz")
    best = int(np.nanargmin(history.validation_mae))
    assert scores["best_validation_mae"] == history.validation_mae[best]
    assert scores["best_validation_loss"] == history.validation_loss[best]
    assert scores["best_step"] == history.best_step == history.steps[best]
    assert scores["evaluations"] == history.evaluations[-1]
    metrics = read(finished, f"{optimizer}/metrics.json")
    assert (metrics["step"], metrics["best_step"]) == (history.steps[-1], history.best_step)
    rank = read(finished, "effects.json")[optimizer]["feed_forward"]["change_stable_rank"]
    assert metrics["change_stable_rank"] == pytest.approx(rank, rel=1e-5)
    assert (metrics["validation_mae"], metrics["test_mae"]) == (
        scores["best_validation_mae"],
        scores["free_running"]["mae"],
    )


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_curves_that_are_watched_are_those_of_the_history(finished, optimizer):
    """Ranks and entropies are means over the feed-forward matrices."""
    history = History.load(finished.root / f"models/{optimizer}/history.npz")
    members = np.flatnonzero(history.families == "feed_forward")
    spectra = [[history.spectrum(p, m).astype(float) for m in members] for p in range(len(history.steps))]
    changes = history.change_singular_values[:, members].astype(float)
    expected = {
        "validation_loss": history.validation_loss,
        "validation_mae": history.validation_mae,
        "residual_mad": history.residual_mad,
        "influence_cosine": history.influence_cosine,
        "rounds": history.rounds,
        "train_loss": history.loss,
        "evaluations": history.evaluations,
        "distance": history.distance,
        "stable_rank": [np.mean([(s**2).sum() / s[0] ** 2 for s in step]) for step in spectra],
        "change_stable_rank": [
            np.nan if p == 0 else np.mean([np.nansum(s**2) / s[0] ** 2 for s in changes[p]])
            for p in range(len(changes))
        ],
        "spectral_entropy": [np.mean([_entropy(s) for s in step]) for step in spectra],
    }
    for name, values in expected.items():
        table = np.genfromtxt(finished.root / f"metrics/{optimizer}/plots/metrics/{name}.tsv", skip_header=1)
        for step, value in table:
            at = int(np.flatnonzero(history.steps == int(step))[0])
            assert value == pytest.approx(values[at], rel=1e-5, nan_ok=True), (name, step)
        assert len(table) >= len(values) - 1  # the first training loss is none


def _entropy(s):
    shares = s**2 / (s**2).sum()
    return -(shares * np.log(shares)).sum()
