"""Trainings that diverge end with their reason as a field, and every later stage ends with what there is."""

import json
import math

import numpy as np
import pytest
from safetensors.numpy import load_file

from transformer_spectrum.optimizers.contract import StopCause
from transformer_spectrum.training.records.history import History

pytestmark = pytest.mark.slow

TRAININGS = ("adam", "es", "ga")


def numbers(value):
    """Every number in a tree of JSON."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from numbers(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from numbers(inner)
    elif isinstance(value, float):
        yield value


def scores_of(clone, optimizer):
    return json.loads((clone.root / f"metrics/{optimizer}/scores.json").read_text())


def assert_what_is_kept_is_finite(clone, optimizer):
    history = History.load(clone.root / f"models/{optimizer}/history.npz")
    assert np.isfinite(history.validation_mae).all()
    assert np.isfinite(history.distance).all()
    for name in ("best", "last"):
        weights = load_file(clone.root / f"models/{optimizer}/{name}.safetensors")
        assert all(np.isfinite(tensor).all() for tensor in weights.values())


def assert_later_stages_end(clone):
    for stage in ("spectra", "report"):
        clone.stage(stage)
    for path in (clone.root / "metrics").glob("*.json"):
        assert all(map(math.isfinite, numbers(json.loads(path.read_text())))), path
    return (clone.root / "report/report.md").read_text()


def test_a_training_that_diverges_on_its_way_leaves_what_came_before_to_spectra_and_report(pipeline):
    pipeline.set(loss__type="mse", adam__algorithm="sgd", adam__momentum=0.99, adam__learning_rate=10.0)
    pipeline.set(adam__epochs=40)
    pipeline.stage("train adam")
    scores = scores_of(pipeline, "adam")
    assert scores["stop_cause"] == StopCause.DIVERGED
    assert_what_is_kept_is_finite(pipeline, "adam")
    history = History.load(pipeline.root / "models/adam/history.npz")
    assert 0 < history.steps[-1] < 80
    report = assert_later_stages_end(pipeline)
    assert f"SGD: {scores['stop_reason']}." in report


def test_trainings_that_all_diverge_at_once_still_have_spectra_and_a_report(pipeline):
    pipeline.set(loss__type="mse", adam__algorithm="sgd", adam__momentum=0.99, adam__learning_rate=10.0)
    pipeline.set(adam__epochs=40, es__sigma=1e30, ga__spread=1e30, ga__mutation_stdev=1e30)
    for optimizer in TRAININGS:
        pipeline.stage(f"train {optimizer}")
        assert scores_of(pipeline, optimizer)["best_step"] == 0
        assert_what_is_kept_is_finite(pipeline, optimizer)
    assert scores_of(pipeline, "es")["stop_cause"] == StopCause.DIVERGED
    report = assert_later_stages_end(pipeline)
    assert "No training has a step that is better by validation MAE than the initial weights." in report


@pytest.mark.parametrize(
    "edge",
    [
        {"loss__q": 1.0001},  # p q > 2
        {"loss__p": 0.1, "loss__q": 21.0},
        {"loss__q": math.inf, "loss__p": 50.0},
        {"loss__lam": 0.9999},
        {"loss__type": "cauchy", "loss__gamma": 1e-12},
        {"loss__sigma": 1e-9},
        {"loss__factor": 1e30},
    ],
    ids=str,
)
def test_a_loss_at_the_edge_of_its_domain_trains_or_stops_with_a_reason(pipeline, edge):
    pipeline.set(**edge)
    pipeline.stage("train adam")
    scores = scores_of(pipeline, "adam")
    assert scores["stop_cause"] in (StopCause.FINISHED, StopCause.DIVERGED)
    assert scores["stop_reason"]
    assert_what_is_kept_is_finite(pipeline, "adam")


def test_a_number_that_is_none_among_the_windows_stops_it_with_a_reason(pipeline):
    path = pipeline.root / "data/processed/windows.npz"
    arrays = dict(np.load(path))
    name = next(name for name, array in arrays.items() if array.dtype.kind == "f" and array.ndim == 3)
    arrays[name][0, 0, 0] = np.nan
    np.savez(path, **arrays)
    pipeline.stage("train adam")
    scores = scores_of(pipeline, "adam")
    assert scores["stop_cause"] == StopCause.DIVERGED
    assert scores["stop_reason"] == "diverged at step 1: the loss is not finite; the steps before it are kept"
    assert_what_is_kept_is_finite(pipeline, "adam")
