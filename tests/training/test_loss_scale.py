"""A loss whose scale lies where the residuals are, through a training's setup."""

import math

import numpy as np
import pytest
import torch

from transformer_spectrum import losses
from transformer_spectrum.config.load import load_params
from transformer_spectrum.config.wheel_files import packaged
from transformer_spectrum.data.windows.arrays import Windows
from transformer_spectrum.training import build
from transformer_spectrum.training.setup import Setup


def setup_of(**loss):
    params = load_params(packaged("params.yaml"))
    model = params.model.model_copy(update={"embed_dim": 8, "heads": 2, "layers": 1, "feedforward_dim": 8})
    loss = params.loss.model_copy(update={"scale": "residual", **loss})
    training = params.training.model_copy(update={"batch_size": 4})
    params = params.model_copy(update={"device": "cpu", "model": model, "loss": loss, "training": training})
    generator = np.random.default_rng(0)

    def windows(count):
        context, target = (3 * generator.standard_t(3, (count, steps, 1)).astype(np.float32) for steps in (24, 12))
        ones = np.ones((count, 1, 1), np.float32)
        return Windows(context, target, ones, ones, np.array(["AT"] * count), np.zeros(count, np.int64))

    return params, Setup.of(params, {"train": windows(10), "validation": windows(6)})


def answered(setup, reading):
    """Lets a scale read residuals, and gives it what it asks for."""
    answer = None
    while True:
        try:
            answer = reading.send(answer).answered_by(setup.objective)
        except StopIteration:
            return


def sigma_of(objective):
    return objective.loss.keywords["distribution"].sigma


def residuals_of(setup):
    """Of the training windows, by one plain forward pass."""
    objective = setup.objective
    with torch.no_grad():
        prediction = setup.forecaster.predict(setup.layout.views(setup.weights), objective.context, objective.target)
    return (objective.target - prediction).double().numpy()


@pytest.mark.parametrize("mu", [0.0, 0.8])
def test_the_scale_begins_where_the_residuals_of_the_initial_weights_are(mu):
    params, setup = setup_of(type="sgt", mu=mu, q=1.05)
    assert sigma_of(setup.objective) == params.loss.sigma
    answered(setup, setup.loss_scale.begin(setup.weights, None))
    mad = np.median(np.abs(residuals_of(setup) - mu))
    assert setup.loss_scale.mad == pytest.approx(mad, rel=1e-5)
    expected = losses.scale_at(mad, build.sgt(params.loss))
    assert sigma_of(setup.objective) == pytest.approx(expected, rel=1e-5)
    assert sigma_of(setup.validation) == sigma_of(setup.objective)
    # under the loss's own distribution at that scale half of the errors lie as near as half of the residuals do
    own = setup.objective.loss.keywords["distribution"]
    assert own.cdf(mu + mad) - own.cdf(mu - mad) == pytest.approx(0.5, abs=1e-5)


def test_gamma_is_the_mad_itself_about_zero_whatever_mu_is():
    _, setup = setup_of(type="cauchy", mu=0.8)
    answered(setup, setup.loss_scale.begin(setup.weights, None))
    mad = np.median(np.abs(residuals_of(setup)))
    assert setup.objective.loss.keywords["gamma"] == pytest.approx(mad, rel=1e-5)


@pytest.mark.parametrize("kind", ["mse", "mae"])
def test_a_loss_without_a_scale_follows_nothing(kind):
    _, setup = setup_of(type=kind)
    assert setup.loss_scale is None
    assert setup.objective.loss is losses.ELEMENTWISE[kind]


def test_the_scale_is_read_once_an_epoch_and_kept_where_residuals_have_none(monkeypatch):
    _, setup = setup_of(type="cauchy")
    readings = iter([1.0, 2.0, 0.0, math.nan, 3.0])
    monkeypatch.setattr(setup.objective, "residual_mad", lambda weights, centre: next(readings))
    scale = setup.loss_scale
    answered(setup, scale.begin(setup.weights, None))
    followed = [scale.mad]
    epoch = setup.objective.batches_per_epoch
    assert epoch == 3
    for update in range(1, 4 * epoch + 1):
        answered(setup, scale.follow(update, setup.weights))
        followed.append(scale.mad)
    assert followed == [1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3]
    assert setup.validation.loss.keywords["gamma"] == 3


def test_a_training_that_goes_on_has_the_scale_that_it_had():
    _, setup = setup_of(type="cauchy")
    answered(setup, setup.loss_scale.begin(setup.weights, 0.125))
    assert setup.objective.loss.keywords["gamma"] == setup.validation.loss.keywords["gamma"] == 0.125


def test_residuals_without_a_size_leave_the_scale_as_it_is_and_that_is_said_once(monkeypatch, caplog):
    params, setup = setup_of(type="cauchy", gamma=0.5)
    monkeypatch.setattr(type(setup.objective), "residual_mad", lambda *arguments: 0.0)
    for _ in range(2):
        answered(setup, setup.loss_scale.begin(setup.weights, None))
    assert setup.objective.loss.keywords["gamma"] == params.loss.gamma
    assert math.isnan(setup.loss_scale.mad)
    assert [record.getMessage() for record in caplog.records] == [
        "loss.scale = residual: the residuals have a MAD of 0, so the scale stays as it is"
    ]
