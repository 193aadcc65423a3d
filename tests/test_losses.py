"""Losses against scipy, analytic gradients, and at the edges of float32."""

import dataclasses
import math
import pickle
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from scipy import integrate, special, stats

from transformer_spectrum import losses
from transformer_spectrum.config.schema import LossParams
from transformer_spectrum.distributions.sgt import SGT
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.training.stacked_losses import influence_cosines
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


@pytest.mark.parametrize("lam", [-0.9999999, -0.5, 0.0, 0.9999999])
@pytest.mark.parametrize("p", [0.3, 1.0, 2.0, 5.0, 100.0])
@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0, 1e3])
def test_no_error_of_the_exponential_limit_has_an_infinite_gradient(scale, p, lam):
    """Where a scale is tiny its p-th power is steep long before it is large."""
    shape = SGT(0.0, scale, lam, p, math.inf, centred=False, unit_variance=False)
    target = torch.cat([sign * torch.logspace(-30, 30, 121) for sign in (-1, 1)]).requires_grad_()
    loss = losses.sgt(torch.zeros_like(target), target, shape)
    (gradient,) = torch.autograd.grad(loss.sum(), target)
    assert torch.isfinite(loss).all()
    assert torch.isfinite(gradient).all()
    for side, sign in (loss.chunk(2)[0], -1), (loss.chunk(2)[1], 1):
        assert (side.diff() >= 0).all(), sign
        assert side[-1] > side[60], sign
    assert (gradient * target.sign() >= 0).all()


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


@given(
    kind=st.sampled_from(sorted(losses.ELEMENTWISE)),
    log_p=st.floats(math.log(0.02), math.log(50)),
    log_q=st.one_of(st.floats(math.log(0.02), math.log(1e14)), st.just(math.inf)),
    lam=st.floats(-0.999, 0.999),
    log_scale=st.floats(-20, 20),
    sign=st.sampled_from((-1.0, 1.0)),
    log_size=st.floats(-30, 30),
)
@settings(max_examples=400, deadline=None)
def test_gradients_pass_torchs_check_over_the_whole_domain(kind, log_p, log_q, lam, log_scale, sign, log_size):
    """Over the logarithm of the error's size, since a step that suits 1e-13 is none for 1e13."""
    scale, p = math.exp(log_scale), math.exp(log_p)
    try:
        shape = SGT(0.0, scale, lam, p, math.exp(log_q), centred=False, unit_variance=False)
    except InputError:  # its density leaves float64
        reject()
    loss = losses.make_loss(kind, sgt=shape, gamma=scale)

    def of_size(size):
        error = sign * size.exp()
        return loss(torch.zeros_like(error), error)

    size = torch.tensor([log_size], dtype=torch.float64, requires_grad=True)
    value = of_size(size)
    assert torch.isfinite(value).all()
    assert torch.autograd.gradcheck(of_size, size, eps=1e-6 / max(1.0, p), rtol=1e-3, atol=1e-4)


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


# --- influence on the errors at hand, and a scale that follows them

SPREAD = 0.25
NORMAL = stats.norm(0, SPREAD)


def errors_of(distribution, count=200_000):
    """Its quantiles at the middles of equal shares: a sample without sampling error."""
    return torch.from_numpy(distribution.ppf((np.arange(count) + 0.5) / count))


def cauchy_pull(gamma):
    return lambda e: 2 * e / (gamma**2 + e**2)


def t_pull(q, scale):
    """d/de of -log f of a t of 2q degrees of freedom, by hand."""
    degrees = 2 * q
    return lambda e: (degrees + 1) * e / (degrees * scale**2 + e**2)


def expected_cosine(first, second, density):
    """By integration over the positive half: all of them are odd, the densities even."""

    def product(one_pull, another_pull):
        return sum(
            integrate.quad(lambda e: one_pull(e) * another_pull(e) * density(e), *ends, limit=500, epsabs=1e-14)[0]
            for ends in ((0, 0.1), (0.1, 1), (1, 10), (10, np.inf))
        )

    return product(first, second) / math.sqrt(product(first, first) * product(second, second))


def t_loss(q, sigma=0.707):
    return losses.make_loss("sgt", sgt=SGT(0.0, sigma, 0.0, 2.0, q))


@every
def test_the_influence_is_the_derivative_in_closed_form(kind):
    shape = SHAPES[1]
    z = ERRORS - shape.mode
    r = (np.abs(z) / (shape.scale * (1 + shape.lam * np.sign(z)))) ** shape.p
    expected = {
        "mse": 2 * ERRORS,
        "mae": np.sign(ERRORS),
        "cauchy": cauchy_pull(0.5)(ERRORS),
        "sgt": (1 / shape.p + shape.q) * shape.p * r / (z * (shape.q + r)),
    }
    pull = losses.influence(torch.from_numpy(ERRORS).reshape(3, 3), losses.make_loss(kind, sgt=shape, gamma=0.5))
    assert pull.dtype == torch.float64
    np.testing.assert_allclose(pull.numpy().ravel(), expected[kind], rtol=1e-9)


def test_the_influence_of_the_limit_of_thin_tails_is_a_power():
    laplace = losses.make_loss("sgt", sgt=SGT(0.0, 0.5, 0.0, 1.0, math.inf, unit_variance=False))
    np.testing.assert_allclose(losses.influence(torch.from_numpy(ERRORS), laplace), 2 * np.sign(ERRORS))


def test_influence_works_where_gradients_are_off_and_changes_nothing():
    errors = torch.tensor([0.5, -2.0])
    for off in (torch.no_grad, torch.inference_mode):
        with off():
            assert losses.influence(errors.clone(), losses.mse).tolist() == [1.0, -4.0]
    assert errors.tolist() == [0.5, -2.0]
    assert not errors.requires_grad


def test_mae_under_normal_and_t_residuals_has_the_ratio_of_mean_to_standard_deviation():
    assert losses.influence_cosine(errors_of(NORMAL), losses.mae) == pytest.approx(math.sqrt(2 / math.pi), abs=1e-4)
    for degrees in (5, 9):
        mean = 2 * math.sqrt(degrees) / ((degrees - 1) * special.beta(degrees / 2, 0.5))
        expected = mean / math.sqrt(degrees / (degrees - 2))
        assert losses.influence_cosine(errors_of(stats.t(degrees)), losses.mae) == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("gamma", [0.1, 1.0])
def test_cauchy_under_normal_residuals_has_the_cosine_of_its_integral(gamma):
    a = gamma / SPREAD
    # E e^2/(gamma^2 + e^2) and its square, by Mills' ratio
    mills = math.sqrt(math.pi / 2) * special.erfcx(a / math.sqrt(2))
    product, square = 1 - a * mills, ((1 + a**2) * mills - a) / (2 * a)
    expected = product / math.sqrt(square)
    assert expected == pytest.approx(expected_cosine(cauchy_pull(gamma), lambda e: e, NORMAL.pdf), abs=1e-8)
    measured = losses.influence_cosine(errors_of(NORMAL), losses.make_loss("cauchy", gamma=gamma))
    assert measured == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("q", [1.05, 5.0, 20.0, 100.0])
@pytest.mark.parametrize("residuals", [NORMAL, stats.t(6, 0, 0.3)], ids=["normal", "t"])
def test_t_has_the_cosine_of_its_integral(q, residuals):
    scale = 0.707 / stats.t(2 * q).std()  # sigma is the standard deviation
    expected = expected_cosine(t_pull(q, scale), lambda e: e, residuals.pdf)
    assert losses.influence_cosine(errors_of(residuals), t_loss(q)) == pytest.approx(expected, abs=2e-3)


def test_losses_with_bounded_influence_are_compared_under_residuals_without_variance():
    residuals = stats.t(1.5, 0, 0.3)
    robust, gamma = t_loss(1.05), 1.0
    expected = expected_cosine(t_pull(1.05, 0.707 / math.sqrt(21)), cauchy_pull(gamma), residuals.pdf)
    measured = losses.influence_cosine(errors_of(residuals), robust, losses.make_loss("cauchy", gamma=gamma))
    assert measured == pytest.approx(expected, abs=1e-4)
    assert measured < 0.9


def test_a_t_pulls_like_a_cauchy_of_the_same_bend():
    q, sigma = 3.0, 0.4
    t = losses.make_loss("sgt", sgt=SGT(0.0, sigma, 0.0, 2.0, q, unit_variance=False))
    bend = losses.make_loss("cauchy", gamma=sigma * math.sqrt(q))
    errors = errors_of(stats.cauchy(0, 1), 999)
    assert losses.influence_cosine(errors, t, bend) == pytest.approx(1.0, abs=1e-14)
    assert losses.influence_cosine(errors, t) < 0.5


def test_at_narrow_residuals_the_losses_are_the_same_as_measured_before():
    errors = errors_of(NORMAL)
    assert [round(losses.influence_cosine(errors, t_loss(q)), 4) for q in (5, 20, 75, 100)] == [0.9994, 1, 1, 1]
    assert losses.influence_cosine(errors, losses.make_loss("cauchy", gamma=1.0)) == pytest.approx(0.994, abs=5e-4)


@pytest.mark.parametrize("factor", [1.0, 1e-6])
def test_members_get_the_cosine_that_their_loss_has_alone(factor):
    """What trainings record is computed for all of them at once; the closed forms above hold it by this."""
    kinds = [losses.make_loss("mse"), losses.make_loss("mae"), losses.make_loss("cauchy", gamma=0.5)]
    kinds += [t_loss(q) for q in (1.05, 5.0, math.inf)]
    members = [losses.times(loss, factor) for loss in kinds]
    errors = torch.stack([errors_of(stats.t(3, 0, scale), 501) for scale in (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)])
    together = influence_cosines(members, errors)
    for loss, own, cosine in zip(kinds, errors, together, strict=True):
        assert float(cosine) == pytest.approx(losses.influence_cosine(own, loss), abs=1e-12)


@every
def test_a_cosine_heeds_no_factor_and_is_symmetric(kind):
    errors = torch.randn(500, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    loss = losses.make_loss(kind, sgt=SHAPES[1], gamma=0.5)
    cosine = losses.influence_cosine(errors, loss, losses.mae)
    assert losses.influence_cosine(errors, losses.mae, lambda f, y: 7 * loss(f, y)) == pytest.approx(cosine, rel=1e-12)
    assert losses.influence_cosine(errors, loss, loss) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("errors", [[0.0, 0.0], [1.0, math.nan], [1.0, math.inf]])
def test_a_cosine_of_no_errors_has_no_value(errors):
    assert math.isnan(losses.influence_cosine(torch.tensor(errors), losses.mse, losses.mae))


def test_the_scale_of_residuals_is_the_median_size():
    errors = torch.tensor([[-4.0, 1.0], [2.0, 100.0]])
    assert losses.residual_scale(errors) == 3.0
    assert losses.residual_scale(errors, centre=1.0) == 3.0  # of 5, 0, 1, 99
    assert losses.residual_scale(torch.zeros(3)) == 0.0
    assert math.isnan(losses.residual_scale(torch.tensor([1.0, math.nan])))
    assert math.isnan(losses.residual_scale(torch.zeros(0)))
    draws = errors_of(stats.t(2.1, 0, 0.3))
    assert losses.residual_scale(draws) == pytest.approx(stats.median_abs_deviation(draws.numpy()), rel=1e-9)


@shapes
def test_a_loss_finds_its_own_scale_in_residuals_of_its_own_distribution(shape):
    residuals = errors_of(shape, 5001)
    mad = losses.residual_scale(residuals, centre=shape.mu)
    assert losses.scale_at(mad, shape) == pytest.approx(shape.sigma, rel=1e-3)
    far = losses.make_loss("sgt", sgt=dataclasses.replace(shape, sigma=1e3 * shape.sigma), mad=mad)
    at_home = losses.make_loss("sgt", sgt=shape)
    torch.testing.assert_close(at(ERRORS, far), at(ERRORS, at_home), rtol=5e-3, atol=5e-3)


def test_the_sigma_of_a_t_without_much_variance_is_far_above_its_scale():
    q, mad = 1.05, 0.2
    scale = mad / stats.t(2 * q).ppf(0.75)
    sigma = losses.scale_at(mad, SGT(0.0, 0.707, 0.0, 2.0, q))
    assert sigma == pytest.approx(stats.t(2 * q).std() * scale, rel=1e-9)
    assert sigma / scale == pytest.approx(4.6, abs=0.05)
    raw = losses.scale_at(mad, SGT(0.0, 0.707, 0.0, 2.0, q, unit_variance=False))
    assert raw == pytest.approx(math.sqrt(2) * scale, rel=1e-9)


def test_the_gamma_of_a_cauchy_is_the_mad_of_its_residuals():
    mad = losses.residual_scale(errors_of(stats.cauchy(0, 0.3)))
    assert losses.scale_at(mad) == pytest.approx(0.3, rel=1e-4)
    loss = losses.make_loss("cauchy", gamma=5.0, mad=mad)
    torch.testing.assert_close(at(ERRORS, loss), at(ERRORS, lambda f, y: losses.cauchy(f, y, mad)))


@every
@settings(max_examples=20)
@given(factor=st.floats(1e-3, 1e3))
def test_a_followed_scale_makes_the_cosine_independent_of_the_unit(kind, factor):
    errors = errors_of(stats.t(3), 301)

    def cosine(values):
        mad = losses.residual_scale(values)
        loss = losses.make_loss(kind, sgt=SGT(0.0, 0.707, 0.4, 2.0, 1.05), gamma=1.0, mad=mad)
        return losses.influence_cosine(values, loss)

    assert cosine(factor * errors) == pytest.approx(cosine(errors), rel=1e-9)


def test_losses_without_a_scale_stay_what_they_are():
    assert set(losses.ELEMENTWISE) - set(losses.SCALED) == {"mse", "mae"}
    assert losses.make_loss("mse", mad=0.1) is losses.mse
    assert losses.make_loss("mae", mad=0.1) is losses.mae


@pytest.mark.parametrize("mad", [0.0, -1.0, math.inf, math.nan])
def test_a_mad_that_is_no_scale_is_refused(mad):
    for kind in losses.SCALED:
        with pytest.raises(InputError, match=r"mad = .*: a loss follows a positive, finite scale"):
            losses.make_loss(kind, gamma=1.0, sgt=SHAPES[0], mad=mad)
