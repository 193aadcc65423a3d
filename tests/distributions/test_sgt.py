"""The SGT against scipy's special cases, quadrature, and its own sampler."""

import dataclasses
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from transformer_spectrum.distributions.sgt import SGT
from transformer_spectrum.distributions.sgt_fit import fit_sgt

X = np.array([-1e6, -50.0, -3.0, -0.5, -1e-8, 0.0, 1e-8, 0.7, 2.0, 20.0, 1e6])
SHAPES = [
    SGT(0.0, 1.0, 0.0, 2.0, 5.0),
    SGT(1.0, 0.707, 0.5, 2.0, 3.0),
    SGT(0.0, 15.0, 0.0, 2.0, 1.001),
    SGT(-2.0, 2.0, -0.8, 1.2, 2.5),
    SGT(0.0, 1.0, 0.3, 1.5, math.inf),
    SGT(0.0, 1.0, 0.6, 2.0, 0.4, centred=False, unit_variance=False),
    SGT(0.0, 1.0, 0.0, 8.0, 0.5),
]
shapes = pytest.mark.parametrize("sgt", SHAPES, ids=str)


@pytest.mark.parametrize("q", [0.3, 1.5, 5.0, 200.0, 1e8])
def test_p_2_is_student_t_with_twice_q_degrees_of_freedom(q):
    sgt = SGT(0.4, 1.7, 0.0, 2.0, q, centred=False, unit_variance=False)
    t = stats.t(2 * q, 0.4, 1.7 / math.sqrt(2))
    near = X[np.abs(X) < 100] if q > 1e3 else X
    np.testing.assert_allclose(sgt.logpdf(near), t.logpdf(near), rtol=1e-7)
    np.testing.assert_allclose(sgt.cdf(near), t.cdf(near), rtol=1e-6, atol=1e-300)
    np.testing.assert_allclose(sgt.sf(near), t.sf(near), rtol=1e-6, atol=1e-300)


@pytest.mark.parametrize("q", [math.inf, 1e15])
def test_p_2_and_infinite_q_is_normal(q):
    sgt, normal = SGT(1.0, 0.7, 0.0, 2.0, q), stats.norm(1.0, 0.7)
    x = np.linspace(-5, 7, 25)
    np.testing.assert_allclose(sgt.logpdf(x), normal.logpdf(x), rtol=1e-9)
    np.testing.assert_allclose(sgt.cdf(x), normal.cdf(x), rtol=1e-8)


def test_p_1_and_infinite_q_is_laplace():
    sgt, laplace = SGT(1.0, 0.7, 0.0, 1.0, math.inf, unit_variance=False), stats.laplace(1.0, 0.7)
    np.testing.assert_allclose(sgt.logpdf(X[1:-1]), laplace.logpdf(X[1:-1]), rtol=1e-10)
    np.testing.assert_allclose(sgt.sf(X[5:-1]), laplace.sf(X[5:-1]), rtol=1e-10)


@settings(max_examples=40, deadline=None)
@given(
    mu=st.floats(-3, 3),
    sigma=st.floats(0.1, 20),
    lam=st.floats(-0.9, 0.9),
    p=st.floats(0.8, 6),
    excess=st.floats(0.3, 200),
)
def test_density_integrates_to_one_with_the_mean_and_variance_promised(mu, sigma, lam, p, excess):
    sgt = SGT(mu, sigma, lam, p, (2 + excess) / p)

    def integral(power):
        # x = mode + s sinh-like substitution keeps heavy tails within reach of quadrature
        def f(t):
            with np.errstate(over="ignore"):
                x = sgt.mode + sgt.scale * math.copysign(math.expm1(abs(t)), t)
                return (x - mu) ** power * sgt.pdf(x) * sgt.scale * math.exp(abs(t))

        parts = [integrate.quad(f, a, b, limit=200, epsabs=1e-10)[0] for a, b in ((-80, -5), (-5, 0), (0, 5), (5, 80))]
        return sum(parts)

    assert integral(0) == pytest.approx(1, abs=1e-6)
    assert integral(1) == pytest.approx(0, abs=1e-4 * sigma)
    assert integral(2) == pytest.approx(sigma**2, rel=2e-3)
    assert sgt.mean() == pytest.approx(mu, abs=1e-12)
    assert sgt.variance() == pytest.approx(sigma**2, rel=1e-9)


@shapes
def test_cdf_is_the_integral_of_the_density(sgt):
    for low, high in ((-1.0, 0.5), (0.2, 3.0), (-4.0, -0.5)):
        middle = [sgt.mode] if low < sgt.mode < high else None
        area = integrate.quad(lambda x: float(sgt.pdf(x)), low, high, points=middle, epsabs=1e-12)[0]
        assert float(sgt.cdf(high) - sgt.cdf(low)) == pytest.approx(area, abs=1e-9)


@shapes
def test_quantiles_invert_the_cdf_in_both_tails(sgt):
    probability = np.array([1e-12, 1e-6, 0.01, 0.3, 0.5, 0.77, 0.99, 1 - 1e-6])
    np.testing.assert_allclose(sgt.cdf(sgt.ppf(probability)), probability, rtol=1e-8)
    np.testing.assert_allclose(sgt.sf(sgt.isf(probability)), probability, rtol=1e-8)
    assert sgt.ppf(0.0) == -math.inf
    assert sgt.ppf(1.0) == math.inf


@pytest.mark.parametrize(
    ("p", "q"), [(20.0, 0.11), (100.0, 0.03), (0.3, 1e4), (0.1, 50.0), (3.0, 10.0), (1.0, 1e15), (2.0, math.inf)]
)
def test_quantiles_invert_the_cdf_where_scipys_inverses_fail_or_underflow(p, q):
    sgt = SGT(0.0, 1.0, 0.4, p, q, centred=False)
    probability = np.array([1e-280, 1e-100, 1e-20, 1e-3, 0.2, 0.6, 0.9])
    np.testing.assert_allclose(sgt.cdf(sgt.ppf(probability)), probability, rtol=1e-7)
    np.testing.assert_allclose(sgt.sf(sgt.isf(probability)), probability, rtol=1e-7)


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_a_quantile_has_float64s_digits_whatever_the_type_of_its_probability(kind):
    sgt, probability = SHAPES[1], np.array([0.0625, 0.25, 0.75])  # exact in either type
    assert sgt.ppf(probability.astype(kind)).tolist() == sgt.ppf(probability).tolist()
    assert sgt.isf(probability.astype(kind)).tolist() == sgt.isf(probability).tolist()


@pytest.mark.parametrize("probability", [-0.1, 1.1, math.nan])
def test_a_probability_outside_0_to_1_is_refused(probability):
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        SHAPES[0].ppf(probability)


def test_the_tail_falls_with_p_times_q():
    sgt = SGT(0.0, 1.0, 0.2, 3.0, 0.9)
    assert np.log(sgt.sf(1e9) / sgt.sf(1e8)) / np.log(10) == pytest.approx(-2.7, rel=1e-6)


def test_draws_of_a_box_like_density_with_a_tiny_q_neither_pile_up_at_the_mode_nor_overflow():
    sgt = SGT(0.0, 1.0, 0.3, 500.0, 0.01)
    draws = sgt.rvs(40_000, np.random.default_rng(5))
    assert np.unique(draws).size == draws.size
    assert stats.kstest(draws, sgt.cdf).pvalue > 0.001


def test_draws_come_from_the_generator_alone():
    one, two = (SHAPES[1].rvs((3, 4), np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert one.shape == (3, 4)


@shapes
def test_draws_follow_the_cdf(sgt):
    draws = sgt.rvs(40_000, np.random.default_rng(5))
    assert stats.kstest(draws, sgt.cdf).pvalue > 0.001


def test_draws_of_another_distribution_would_be_noticed():
    draws = SGT(0.0, 1.0, 0.1, 2.0, 3.0).rvs(40_000, np.random.default_rng(5))
    assert stats.kstest(draws, SGT(0.0, 1.0, 0.0, 2.0, 3.0).cdf).pvalue < 1e-4


@pytest.mark.parametrize("sgt", [SHAPES[1], SGT(0.0, 1.0, 0.5, 2.0, 20.0), SGT(0.0, 1.0, -0.3, 1.5, math.inf)], ids=str)
def test_moments_are_those_of_the_density(sgt):
    def central(power):
        f = lambda x: (x - sgt.mu) ** power * float(sgt.pdf(x))  # noqa: E731
        far = 400 * sgt.sigma
        points = [sgt.mode - 5, sgt.mode, sgt.mode + 5]
        return integrate.quad(f, -far, far, points=points, limit=500)[0]

    assert sgt.skewness() == pytest.approx(central(3) / sgt.variance() ** 1.5, rel=1e-3)
    if sgt.p * sgt.q > 8:
        assert sgt.kurtosis() == pytest.approx(central(4) / sgt.variance() ** 2, rel=1e-3)


def test_the_normal_has_kurtosis_3():
    assert SGT(0.0, 1.0, 0.0, 2.0, math.inf).kurtosis() == pytest.approx(3.0)


@pytest.mark.parametrize("method", ["mean", "variance", "skewness", "kurtosis"])
def test_a_moment_that_does_not_exist_is_refused_with_the_rule(method):
    with pytest.raises(ValueError, match=rf"the SGT {method} needs p\*q >"):
        getattr(SGT(0.0, 1.0, 0.0, 2.0, 0.4, False, False), method)()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ((0.0, 1.0, 0.0, 2.0, 0.8), r"q = 0\.8 with p = 2: the SGT variance needs p\*q > 2"),
        ((0.0, 1.0, 0.0, 2.0, 0.5, True, False), r"the SGT mean needs p\*q > 1"),
        ((0.0, 0.0, 0.0, 2.0, 5.0), "sigma = 0"),
        ((0.0, 1.0, 1.0, 2.0, 5.0), "lam = 1"),
        ((0.0, 1.0, 0.0, 0.0, 5.0), "p = 0"),
        ((0.0, 1.0, 0.0, math.inf, 5.0), "p = inf: must be positive and finite"),
        ((0.0, 1.0, 0.0, 2.0, -1.0), "q = -1"),
        ((math.nan, 1.0, 0.0, 2.0, 5.0), "mu = nan"),
    ],
)
def test_what_is_out_of_the_domain_is_named_with_its_rule(settings, words):
    with pytest.raises(ValueError, match=words):
        SGT(*settings)


@pytest.mark.parametrize("lam", [0.0, 0.5])
def test_large_q_goes_over_into_infinite_q_without_a_step(lam):
    limit = SGT(0.0, 1.0, lam, 1.5, math.inf)
    gaps = [float(np.abs(SGT(0.0, 1.0, lam, 1.5, q).logpdf(1.3) - limit.logpdf(1.3))) for q in (1e3, 1e6, 1e9, 1e15)]
    assert gaps[0] < 1e-2
    assert gaps[1] < 2e-3 * gaps[0]
    assert gaps[2] < 1e-8
    assert gaps[3] < 1e-13


def test_parameters_beyond_float64_are_refused():
    with pytest.raises(ValueError, match=r"p = 0\.001 with q = 5000.*float64"):
        SGT(0.0, 1.0, 0.0, 0.001, 5000.0)


@pytest.mark.parametrize("excess", [1e-3, 1e-6, 1e-9])
def test_unit_variance_holds_its_scale_down_to_the_edge_of_the_domain(excess):
    sgt = SGT(0.0, 1.0, 0.0, 2.0, 1.0 + excess)
    # For Student's t: variance = s^2 q / (2 (q - 1)) = 1
    assert sgt.scale == pytest.approx(math.sqrt(2 * excess / (1 + excess)), rel=1e-6)


def test_the_edge_of_the_domain_is_not_blurred_by_a_rounded_2_over_p():
    p, q = 3.0, 2 / 3 + 1e-9
    excess = float(Fraction(q) - Fraction(2) / Fraction(p))  # Gamma(excess) = 1 / excess there
    gamma = math.gamma
    expected = math.sqrt(excess * gamma(1 / p) * gamma(q) / (gamma(3 / p) * q ** (2 / p)))
    assert SGT(0.0, 1.0, 0.0, p, q).scale == pytest.approx(expected, rel=2e-9)


@pytest.mark.parametrize(
    "truth",
    [SGT(0.3, 1.2, 0.3, 2.0, 2.0, False, False), SGT(0.0, 5.0, -0.4, 1.3, 6.0, False, False)],
    ids=str,
)
def test_the_fit_recovers_what_it_was_drawn_from(truth):
    fit = fit_sgt(truth.rvs(20_000, np.random.default_rng(1)))
    assert fit.converged
    assert fit.sgt.lam == pytest.approx(truth.lam, abs=0.05)
    assert fit.sgt.p == pytest.approx(truth.p, rel=0.15)
    tail = fit_sgt(truth.rvs(20_000, np.random.default_rng(1)), p=truth.p).sgt.q
    assert tail == pytest.approx(truth.q, rel=0.4)  # free p trades with q, a fixed one does not
    assert fit.sgt.ppf([0.05, 0.5, 0.95]) == pytest.approx(truth.ppf([0.05, 0.5, 0.95]), rel=0.1, abs=0.05)


def test_a_fit_of_a_box_says_that_the_tails_are_no_heavier_than_exponential():
    fit = fit_sgt(np.random.default_rng(0).uniform(-1, 1, 5000), p=2.0)
    assert fit.sgt.q == pytest.approx(1000)
    assert "q at its bound" in fit.reason


def test_the_fit_is_a_maximum_of_the_likelihood_that_it_reports():
    x = SHAPES[3].rvs(3000, np.random.default_rng(2))
    fit = fit_sgt(x)
    top = fit.sgt.logpdf(x).sum()
    assert fit.log_likelihood == pytest.approx(top, rel=1e-12)
    assert fit.n == 3000
    for name in ("mu", "sigma", "lam", "p", "q"):
        for step in (-0.02, 0.02):
            near = dataclasses.replace(fit.sgt, **{name: getattr(fit.sgt, name) + step})
            assert near.logpdf(x).sum() < top


def test_the_fit_moves_with_the_unit_and_the_origin_of_the_data():
    x = SHAPES[1].rvs(3000, np.random.default_rng(2))
    one, other = fit_sgt(x).sgt, fit_sgt(1000 * x - 5).sgt
    assert other.mu == pytest.approx(1000 * one.mu - 5, rel=1e-3)
    assert other.sigma == pytest.approx(1000 * one.sigma, rel=1e-3)
    assert [other.lam, other.p, other.q] == pytest.approx([one.lam, one.p, one.q], rel=1e-3)


def test_a_fit_of_data_with_an_atom_does_not_claim_to_have_converged():
    rng = np.random.default_rng(0)
    fit = fit_sgt(np.where(rng.random(2000) < 0.3, 0.0, rng.normal(size=2000)))
    assert not fit.converged
    assert "of the points equal 0, which no density describes" in fit.reason


@pytest.mark.parametrize("x", [[1.0, 2.0], [np.nan] * 30, [3.0] * 30])
def test_a_sample_that_cannot_be_fitted_is_refused(x):
    with pytest.raises(ValueError, match="fit"):
        fit_sgt(x)


def test_the_median_absolute_deviation_is_that_of_scipys_normal_t_and_laplace():
    assert SGT(0.5, 2.0, 0.0, 2.0, math.inf).mad() == pytest.approx(2 * stats.norm.ppf(0.75), rel=1e-12)
    t = SGT(-1.0, 2.0, 0.0, 2.0, 1.05, unit_variance=False)
    assert t.mad() == pytest.approx(math.sqrt(2) * stats.t(2.1).ppf(0.75), rel=1e-10)
    laplace = SGT(0.0, 2.0, 0.0, 1.0, math.inf, unit_variance=False)
    assert laplace.mad() == pytest.approx(2 * math.log(2), rel=1e-12)


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("lam", [-0.99, -0.4, 0.0, 0.4, 0.99])
@pytest.mark.parametrize(("p", "q"), [(2.0, 5.0), (2.0, 1.05), (0.5, 30.0), (20.0, math.inf)])
def test_half_of_the_probability_lies_within_the_median_absolute_deviation(lam, p, q, centred):
    sgt = SGT(0.3, 0.7, lam, p, q, centred=centred)
    mad = sgt.mad()
    assert sgt.cdf(0.3 + mad) - sgt.cdf(0.3 - mad) == pytest.approx(0.5, abs=1e-9)
    assert dataclasses.replace(sgt, sigma=7e3).mad() == pytest.approx(1e4 * mad, rel=1e-9)
    draws = sgt.rvs(20_000, np.random.default_rng(0))
    assert np.median(np.abs(draws - 0.3)) == pytest.approx(mad, rel=0.05)
