"""Losses against scipy, analytic gradients, and at the edges of float32."""

import math
import pickle
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from transformer_spectrum import losses
from transformer_spectrum.config.schema import LossParams
from transformer_spectrum.distributions.sgt import SGT
from transformer_spectrum.vocabulary import LOSS_UNITS

SHAPES = [
    SGT(0.0, 0.707, 0.0, 2.0, 5.0),
    SGT(0.1, 0.707, 0.4, 2.0, 3.0),
    SGT(0.0, 15.0, 0.0, 2.0, 1.001),
    SGT(0.0, 1.0, -0.6, 1.0, 4.0),
    SGT(0.0, 1.0, 0.3, 1.0, math.inf),
    SGT(0.0, 1.0, 0.0, 2.0, math.inf),
    SGT(0.0, 1.0, 0.2, 20.0, 1e12),
    SGT(0.0, 1.0, 0.0, 0.5, 30.0),
    SGT(0.0, 1.0, 0.5, 2.0, 0.3, centred=False, unit_variance=False),
]
every = pytest.mark.parametrize("kind", losses.ELEMENTWISE)
shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)
ERRORS = np.array([-30.0, -2.0, -0.3, -1e-3, 1e-3, 0.5, 1.0, 4.0, 100.0])


def at(errors, loss, dtype=torch.float64):
    target = torch.tensor(errors, dtype=dtype)
    return loss(torch.zeros_like(target), target)


def test_mse_and_mae_are_what_their_names_say():
    assert at([-2.0, 3.0], losses.mse).tolist() == [4.0, 9.0]
    assert at([-2.0, 3.0], losses.mae).tolist() == [2.0, 3.0]


@pytest.mark.parametrize("gamma", [0.1, 1.0, 7.0])
def test_cauchy_is_scipys_likelihood_without_its_constant(gamma):
    ours = at(ERRORS, lambda f, y: losses.cauchy(f, y, gamma)).numpy()
    theirs = stats.cauchy(0, gamma).logpdf(0) - stats.cauchy(0, gamma).logpdf(ERRORS)
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-15)


@shapes
def test_sgt_is_minus_the_log_density_with_its_constant(shape):
    ours = at(ERRORS, lambda f, y: losses.sgt(f, y, shape)).numpy()
    np.testing.assert_allclose(ours, -shape.logpdf(ERRORS), rtol=1e-10, atol=1e-12)


def test_sgt_with_infinite_q_and_p_2_is_the_gaussian_likelihood():
    ours = at(ERRORS, lambda f, y: losses.sgt(f, y, SGT(0.0, 0.7, 0.0, 2.0, math.inf))).numpy()
    np.testing.assert_allclose(ours, -stats.norm(0, 0.7).logpdf(ERRORS), rtol=1e-12)


def test_sgt_with_p_2_is_student_t_with_twice_q_degrees_of_freedom():
    q, s = 3.0, 1.3
    ours = at(ERRORS, lambda f, y: losses.sgt(f, y, SGT(0.0, s, 0.0, 2.0, q, False, False))).numpy()
    np.testing.assert_allclose(ours, -stats.t(2 * q, 0, s / math.sqrt(2)).logpdf(ERRORS), rtol=1e-12)


@shapes
def test_the_sgt_gradient_is_the_analytic_one(shape):
    error = torch.tensor(ERRORS, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(losses.sgt(torch.zeros_like(error), error, shape).sum(), error)
    z = ERRORS - shape.mode
    width = shape.scale * (1 + shape.lam * np.sign(z))
    r = (np.abs(z) / width) ** shape.p
    # d/dz (1/p + q) log(1 + r/q) = (1/p + q) p r / (z (q + r)); p r / z for q = inf
    expected = shape.p * r / z
    if not math.isinf(shape.q):
        expected = expected * (1 / shape.p + shape.q) / (shape.q + r)
    np.testing.assert_allclose(gradient.numpy(), expected, rtol=1e-8)


@pytest.mark.parametrize(
    "loss",
    [losses.mse, losses.mae, lambda f, y: losses.cauchy(f, y, 0.5)]
    + [losses.make_loss("sgt", sgt=shape) for shape in SHAPES[:4]],
)
def test_gradients_pass_torchs_check(loss):
    prediction = torch.tensor([0.3, -1.2, 2.0], dtype=torch.float64, requires_grad=True)
    target = torch.tensor([1.0, 0.4, -3.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(loss, (prediction, target))


@shapes
@pytest.mark.parametrize("size", [0.0, 1e-30, 1e-6, 1e6, 1e30])
def test_extreme_errors_stay_finite_in_float32(shape, size):
    target = torch.tensor([size, -size], requires_grad=True)
    loss = losses.sgt(torch.zeros(2), target, shape)
    (gradient,) = torch.autograd.grad(loss.sum(), target)
    assert torch.isfinite(loss).all()
    assert torch.isfinite(gradient).all()
    if size >= 1e6:  # far out the loss still rises
        assert gradient[0] > 0 > gradient[1]
        assert loss[0] > losses.sgt(torch.zeros(1), torch.tensor([size / 10]), shape)


@pytest.mark.parametrize("size", [0.0, 1e-30, 1e30])
def test_cauchy_stays_finite_in_float32(size):
    target = torch.tensor([size, -size], requires_grad=True)
    loss = losses.cauchy(torch.zeros(2), target, 1.0)
    (gradient,) = torch.autograd.grad(loss.sum(), target)
    np.testing.assert_allclose(loss.detach(), 2 * math.log(1e30) if size == 1e30 else 0.0, rtol=1e-6, atol=1e-30)
    # below 1e-19 the square has left float32, and the gradient 2 e / (gamma^2 + e^2) with it
    np.testing.assert_allclose(gradient, [2 / 1e30, -2 / 1e30] if size == 1e30 else 0.0, rtol=1e-5, atol=1e-37)


@every
def test_a_made_loss_can_be_pickled_and_used_without_gradients(kind):
    loss = losses.make_loss(kind, sgt=SHAPES[1], gamma=0.5)
    prediction, target = torch.randn(3, 2), torch.randn(3, 2)
    with torch.inference_mode():
        torch.testing.assert_close(pickle.loads(pickle.dumps(loss))(prediction, target), loss(prediction, target))


@every
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(kind, dtype):
    loss = losses.make_loss(kind, sgt=SGT(0.0, 1.0, 0.2, 2.0, 1e12), gamma=0.5)
    prediction, target = torch.zeros(4, dtype=dtype), torch.tensor([0.0, 0.5, -2.0, 8.0], dtype=dtype)
    assert loss(prediction, target).dtype == torch.float32
    torch.testing.assert_close(loss(prediction, target), loss(prediction.float(), target.float()))


@every
def test_gradients_of_every_loss_pass_torchs_check(kind):
    loss = losses.make_loss(kind, sgt=SHAPES[1], gamma=0.5)
    prediction = torch.tensor([0.3, -1.2, 2.0], dtype=torch.float64, requires_grad=True)
    target = torch.tensor([1.0, 0.4, -3.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(loss, (prediction, target))


@every
def test_every_loss_rises_away_from_its_smallest_value_and_stays_finite(kind):
    loss = losses.make_loss(kind, sgt=SHAPES[0], gamma=0.5)
    values = at([0.0, 0.1, 1.0, 10.0, 1e4, 1e15], loss, torch.float32)
    assert torch.isfinite(values).all()
    assert (values.diff() > 0).all()
    torch.testing.assert_close(at([-0.1, -1.0, -10.0], loss), at([0.1, 1.0, 10.0], loss))  # SHAPES[0] is symmetric


def test_every_loss_can_be_asked_for_and_has_a_unit():
    assert set(get_args(LossParams.model_fields["type"].annotation)) == set(losses.ELEMENTWISE) == set(LOSS_UNITS)


def test_shapes_that_would_broadcast_the_prediction_are_refused():
    with pytest.raises(ValueError, match=r"target of shape \(4, 3\) does not fit prediction of shape \(3,\)"):
        losses.mse(torch.zeros(3), torch.zeros(4, 3))


def test_infinite_q_is_the_limit_of_large_q():
    limit = at(ERRORS, lambda f, y: losses.sgt(f, y, SGT(0.0, 1.0, 0.3, 1.5, math.inf)))
    near = at(ERRORS, lambda f, y: losses.sgt(f, y, SGT(0.0, 1.0, 0.3, 1.5, 1e15)))
    torch.testing.assert_close(near, limit, rtol=1e-9, atol=1e-9)


def test_an_error_of_zero_has_gradient_zero():
    for loss in (losses.mae, lambda f, y: losses.cauchy(f, y, 1.0), losses.make_loss("sgt", sgt=SHAPES[0])):
        error = torch.zeros(1, requires_grad=True)
        (gradient,) = torch.autograd.grad(loss(torch.zeros(1), error).sum(), error)
        assert gradient.item() == 0


@shapes
def test_float32_agrees_with_float64(shape):
    single = at(ERRORS, lambda f, y: losses.sgt(f, y, shape), torch.float32).double().numpy()
    double = at(ERRORS, lambda f, y: losses.sgt(f, y, shape)).numpy()
    finite = np.abs(double) < 1e30
    np.testing.assert_allclose(single[finite], double[finite], rtol=2e-4, atol=2e-5)


@given(
    p=st.floats(0.5, 5),
    excess=st.floats(0.01, 100),
    lam=st.floats(-0.9, 0.9),
    error=st.floats(-1e4, 1e4),
)
def test_sgt_equals_minus_logpdf_and_is_smallest_at_the_mode(p, excess, lam, error):
    shape = SGT(0.0, 1.0, lam, p, (2 + excess) / p)
    value = at([error, shape.mode], lambda f, y: losses.sgt(f, y, shape))
    assert value[0].item() == pytest.approx(-float(shape.logpdf(error)), rel=1e-8, abs=1e-9)
    assert value[1] <= value[0] + 1e-12


def test_losses_keep_the_shape_of_what_they_are_given():
    prediction, target = torch.randn(4, 3, 2, 1), torch.randn(3, 2, 1)
    for kind in losses.ELEMENTWISE:
        loss = losses.make_loss(kind, sgt=SHAPES[0], gamma=1.0)
        assert loss(prediction, target).shape == (4, 3, 2, 1)


@pytest.mark.parametrize(
    ("kind", "settings", "words"),
    [("huber", {}, "loss.type = "), ("cauchy", {"gamma": 0.0}, "loss.gamma = 0"), ("sgt", {}, "needs a")],
)
def test_a_loss_that_cannot_be_made_is_named(kind, settings, words):
    with pytest.raises(ValueError, match=words):
        losses.make_loss(kind, **settings)
