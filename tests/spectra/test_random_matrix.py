"""Closed forms, then simulated noise, planted spikes and heavy tails."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from transformer_spectrum.spectra.random_matrix import (
    fit_bulk,
    has_bulk,
    mp_cdf,
    mp_density,
    mp_quantile,
    mp_support,
)
from transformer_spectrum.spectra.tracy_widom import (
    TRACY_WIDOM_MEAN,
    TRACY_WIDOM_VARIANCE,
    tracy_widom_cdf,
    tracy_widom_quantile,
)

SHAPES = [(64, 64), (128, 64), (24, 2), (7, 60), (1, 9), (1, 1)]


def singular_values(matrices):
    tall = matrices if matrices.shape[-2] >= matrices.shape[-1] else np.swapaxes(matrices, -1, -2)
    return np.sqrt(np.maximum(np.linalg.eigvalsh(np.swapaxes(tall, -1, -2) @ tall), 0.0))


def noise(seed, draws, shape):
    return np.random.default_rng(seed).standard_normal((draws, *shape))


def planted(seed, draws, shape, spikes, strength):
    """Noise of variance 1 and `spikes` directions of singular value strength * (rows * columns)^(1/4)."""
    random = np.random.default_rng(seed)
    left, _ = np.linalg.qr(random.standard_normal((draws, shape[0], spikes)))
    right, _ = np.linalg.qr(random.standard_normal((draws, shape[1], spikes)))
    size = strength * math.prod(shape) ** 0.25
    return singular_values(random.standard_normal((draws, *shape)) + size * left @ np.swapaxes(right, -1, -2))


# -- Marchenko-Pastur ------------------------------------------------------------------------------------------
def test_support_of_a_square_matrix_reaches_from_zero_to_four_n():
    assert mp_support((64, 64), 0.25) == (0, 64)
    assert mp_support((16, 4)) == (pytest.approx(4), pytest.approx(36))  # (4 -+ 2)^2
    assert mp_support((4, 16)) == mp_support((16, 4))


def test_square_density_and_cdf_are_those_of_the_quarter_circle():
    # singular values of variance 1 / N have the density sqrt(4 - s^2) / pi on [0, 2]
    s = np.linspace(0.01, 1.99, 9)
    np.testing.assert_allclose(mp_density(s**2, (64, 64), 1 / 64) * 2 * s, np.sqrt(4 - s**2) / np.pi, rtol=1e-12)
    expected = (s * np.sqrt(4 - s**2) / 2 + 2 * np.arcsin(s / 2)) / np.pi
    np.testing.assert_allclose(mp_cdf(s**2, (64, 64), 1 / 64), expected, rtol=1e-12)
    assert mp_density(0.0, (64, 64)) == np.inf


@pytest.mark.parametrize("shape", SHAPES)
def test_cdf_is_the_integral_of_the_density_which_is_one(shape):
    variance = 0.3
    lower, upper = mp_support(shape, variance)
    middle, radius = (upper + lower) / 2, (upper - lower) / 2

    def integrand(t):  # x = middle - radius cos t: the square roots at both ends vanish
        return float(mp_density(middle - radius * math.cos(t), shape, variance)) * radius * math.sin(t)

    total = 0.0
    for left, right in ((1e-9, 0.7), (0.7, 1.9), (1.9, np.pi)):
        total += quad(integrand, left, right, epsabs=1e-12)[0]
        assert mp_cdf(middle - radius * math.cos(right), shape, variance) == pytest.approx(total, abs=1e-8)
    assert total == pytest.approx(1, abs=1e-8)
    assert mp_cdf(np.array([0.5 * lower, 1.5 * upper]), shape, variance) == pytest.approx([0, 1], abs=1e-13)
    assert mp_density(np.array([-1.0, 1.5 * upper]), shape, variance).tolist() == [0, 0]


@pytest.mark.parametrize("shape", SHAPES)
def test_first_two_moments_are_those_of_the_law(shape):
    # E x = N, Var x = N M (variance 1)
    x = mp_quantile((np.arange(20000) + 0.5) / 20000, shape)
    assert x.mean() == pytest.approx(max(shape), rel=1e-4)
    assert x.var() == pytest.approx(math.prod(shape), rel=1e-3)


@pytest.mark.parametrize("shape", [*SHAPES, (4096, 1), (4096, 4095)])
def test_quantile_inverts_the_cdf_and_keeps_to_the_support(shape):
    probability = np.concatenate([[0.0, 1e-6], np.linspace(0.01, 0.99, 25), [1.0]])
    x = mp_quantile(probability, shape, 2.0)
    np.testing.assert_allclose(mp_cdf(x, shape, 2.0), probability, atol=1e-10)
    assert (np.diff(x) > 0).all()
    np.testing.assert_allclose([x[0], x[-1]], mp_support(shape, 2.0), rtol=1e-9, atol=1e-9)
    with pytest.raises(ValueError, match="probability"):
        mp_quantile(1.01, shape)


def test_impossible_shapes_are_refused():
    with pytest.raises(ValueError, match=r"shape = \(0, 3\)"):
        mp_support((0, 3))


# -- Tracy-Widom -----------------------------------------------------------------------------------------------
def test_tracy_widom_quantiles_are_the_published_ones():
    # Johnstone (2001) and Bejan (2005), table of F1
    for level, expected in {0.90: 0.4501, 0.95: 0.9793, 0.99: 2.0234}.items():
        assert tracy_widom_quantile(level) == pytest.approx(expected, abs=6e-5)
        assert tracy_widom_cdf(tracy_widom_quantile(level)) == pytest.approx(level, abs=1e-10)
    with pytest.raises(ValueError, match=r"level = 1\.0"):
        tracy_widom_quantile(1.0)


def test_tracy_widom_moments_are_bornemanns():
    nodes, weights = np.polynomial.legendre.leggauss(80)
    left, right = -8.0, 14.0
    s = left + (nodes + 1) * (right - left) / 2
    below = np.array([tracy_widom_cdf(x) for x in s]) * weights * (right - left) / 2
    mean, square = right - below.sum(), right**2 - (2 * s * below).sum()  # by parts
    assert mean == pytest.approx(TRACY_WIDOM_MEAN, abs=1e-7)
    assert square - mean**2 == pytest.approx(TRACY_WIDOM_VARIANCE, abs=1e-6)


# -- noise -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("shape", "draws"), [((64, 64), 1500), ((128, 64), 1500), ((16, 64), 6000), ((64, 12), 6000)])
def test_gaussian_noise_gets_a_spike_as_often_as_the_level_says(shape, draws):
    values = 0.1 * singular_values(noise(0, draws, shape))
    fit = fit_bulk(values, shape, level=0.95)
    rate = (fit.spikes > 0).mean()
    assert rate == pytest.approx(0.05, abs=4 * math.sqrt(0.05 * 0.95 / draws))  # four standard errors
    assert fit.variance.mean() == pytest.approx(0.01, rel=0.005)
    assert fit.variance.std() == pytest.approx(0.01 * math.sqrt(2 / math.prod(shape)), rel=0.1)  # as all entries tell
    assert fit.distance.mean() < 2.3 / min(shape)  # eigenvalues repel: independent ones have 0.87 / sqrt(r)
    strict = fit_bulk(values, shape)
    assert (strict.spikes > 0).mean() < 0.02
    assert (strict.spikes <= fit.spikes).all()


@pytest.mark.parametrize("shape", [(24, 2), (3, 64), (4, 4), (2, 2)])
def test_tiny_matrices_of_noise_seldom_get_a_spike(shape):
    fit = fit_bulk(singular_values(noise(1, 4000, shape)), shape)
    assert (fit.spikes > 0).mean() <= 0.01
    assert fit.variance.mean() == pytest.approx(1, abs=0.05)


def test_entries_need_not_be_gaussian():
    uniform = np.random.default_rng(2).uniform(-1, 1, (500, 64, 48))  # variance 1/3, as Xavier's initial weights
    fit = fit_bulk(singular_values(uniform), (64, 48))
    assert fit.variance.mean() == pytest.approx(1 / 3, rel=0.003)
    assert (fit.spikes > 0).mean() < 0.02
    assert fit.soft_rank.mean() == pytest.approx(1.06, abs=0.03)


def test_edges_are_those_of_the_fitted_variance():
    values = singular_values(noise(3, 1, (64, 32)))[0]
    fit = fit_bulk(values, (64, 32))
    assert fit.spikes == 0
    assert fit.variance == pytest.approx((values**2).sum() / (64 * 32), rel=1e-12)
    lower, upper = mp_support((64, 32), fit.variance)
    assert (fit.lower_edge, fit.upper_edge) == (pytest.approx(lower), pytest.approx(upper))
    assert fit.soft_rank == pytest.approx(upper / values.max() ** 2)
    ascending, rank = np.sort(values**2), np.arange(32)
    fitted = mp_cdf(ascending, (64, 32), float(fit.variance))
    expected = max(np.max((rank + 1) / 32 - fitted), np.max(fitted - rank / 32))
    assert fit.distance == pytest.approx(expected, rel=1e-12)


def test_equal_singular_values_are_as_far_from_the_quarter_circle_as_their_place_in_it():
    # mean square 1: x = N, s = 1 on [0, 2], where F = (sqrt(3) / 2 + pi / 3) / pi
    fit = fit_bulk(np.full(16, 4.0), (16, 16))
    assert (fit.variance, fit.spikes) == (pytest.approx(1), 0)
    assert fit.distance == pytest.approx((math.sqrt(3) / 2 + math.pi / 3) / math.pi, rel=1e-12)


# -- signal ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("shape", [(64, 64), (128, 64), (64, 16)])
@pytest.mark.parametrize("spikes", [1, 4])
def test_spikes_above_the_threshold_are_counted_and_leave_the_variance_alone(shape, spikes):
    fit = fit_bulk(planted(4, 200, shape, spikes, 4.0), shape)
    assert (fit.spikes == spikes).mean() > 0.95
    assert fit.variance.mean() == pytest.approx(1, abs=0.02)


def test_spikes_leave_the_law_of_a_smaller_matrix():
    values = planted(10, 1, (64, 32), 3, 5.0)[0]
    fit = fit_bulk(values, (64, 32))
    bulk = np.sort(values**2)[:-3]
    assert fit.spikes == 3
    assert fit.variance == pytest.approx(bulk.sum() / (61 * 29), rel=1e-12)
    np.testing.assert_allclose((fit.lower_edge, fit.upper_edge), mp_support((61, 29), fit.variance), rtol=1e-12)
    fitted, rank = mp_cdf(bulk, (61, 29), float(fit.variance)), np.arange(29)
    expected = max(np.max((rank + 1) / 29 - fitted), np.max(fitted - rank / 29))
    assert fit.distance == pytest.approx(expected, rel=1e-12)
    assert fit.upper_edge < fit.tracy_widom_edge < np.sort(values**2)[-3]


def test_the_bound_of_the_count_is_no_count_and_leaves_no_bulk():
    fit = fit_bulk(10.0 ** -np.arange(12), (12, 12))
    assert (fit.spikes, fit.bounded) == (6, True)
    of_bulk = fit.variance, fit.lower_edge, fit.upper_edge, fit.tracy_widom_edge, fit.soft_rank, fit.distance
    assert np.isnan(of_bulk).all()


def test_half_of_the_values_are_counted_where_the_rest_is_noise():
    graded = noise(6, 100, (16, 16))
    graded[:, range(8), range(8)] += 10.0 ** np.arange(2, 10)  # of one size they would pass for the bulk
    fit = fit_bulk(np.linalg.svd(graded, compute_uv=False), (16, 16))
    assert (fit.spikes == 8).all()
    assert fit.bounded.mean() < 0.05  # the level lets one noise matrix in a hundred have one more
    assert np.nanmean(fit.variance) == pytest.approx(1, abs=0.05)


def test_a_single_value_below_a_spike_is_its_own_bulk():
    fit = fit_bulk(np.array([[1e3, 1.0], [1.0, 1.0]]), (2, 2), level=0.5)
    assert fit.spikes.tolist() == [1, 0]
    assert not fit.bounded.any()
    assert fit.variance[0] == pytest.approx(1.0)


def test_soft_rank_follows_the_size_of_a_spike():
    # Benaych-Georges & Nadakuditi (2012): a spike d gives the eigenvalue (d^2 + N)(d^2 + M) / d^2
    shape = (128, 64)
    square = 16 * math.sqrt(math.prod(shape))
    top = (square + shape[0]) * (square + shape[1]) / square
    fit = fit_bulk(planted(9, 200, shape, 1, 4.0), shape)
    assert fit.soft_rank.mean() == pytest.approx(mp_support((127, 63))[1] / top, rel=0.02)


def test_a_spike_below_the_threshold_stays_in_the_bulk():
    # Baik, Ben Arous & Péché (2005): below strength 1 it leaves no trace
    fit = fit_bulk(planted(5, 200, (64, 64), 1, 0.5), (64, 64))
    assert (fit.spikes > 0).mean() < 0.05


def test_many_equal_spikes_do_not_hide_each_other():
    values = planted(6, 100, (64, 64), 24, 5.0)
    assert (fit_bulk(values, (64, 64)).spikes == 24).mean() > 0.9
    largest = values[:, -1] ** 2
    assert (largest < mp_support((64, 64), (values**2).sum(axis=1) / 64**2)[1]).all()  # the plain mean misses them


def test_heavy_tails_give_many_spikes_and_a_bulk_far_from_the_law():
    heavy = np.random.default_rng(7).standard_t(1.5, (50, 64, 64))
    fit, null = (fit_bulk(singular_values(x), (64, 64)) for x in (heavy, noise(7, 50, (64, 64))))
    assert fit.spikes.mean() > 8
    assert fit.spikes.max() <= 32
    assert (fit.spikes[fit.bounded] == 32).all()
    assert np.nanmedian(fit.soft_rank) < 0.1
    assert np.nanmedian(fit.distance) > 2 * np.median(null.distance)


# -- properties ------------------------------------------------------------------------------------------------
@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 20), st.integers(2, 20), st.floats(1e-30, 1e30), st.floats(0, 50))
def test_scale_order_orientation_and_rotation_do_not_matter(seed, rows, columns, factor, spike):
    random = np.random.default_rng(seed)
    matrix = random.standard_normal((rows, columns))
    matrix[:, 0] += spike
    rotation, _ = np.linalg.qr(random.standard_normal((rows, rows)))
    values = np.linalg.svd(matrix, compute_uv=False)
    fit = fit_bulk(values, (rows, columns))
    assert 0 <= fit.spikes <= min(rows, columns) // 2
    assert fit.bounded == np.isnan(fit.variance)
    assert fit.bounded or 0 <= fit.distance <= 1
    assert fit.bounded or 0 <= fit.lower_edge <= fit.upper_edge
    assert fit.bounded or fit.variance > 0
    others = {
        "scaled": (factor * values, (rows, columns), factor**2),
        "shuffled": (random.permutation(values), (rows, columns), 1),
        "transposed": (np.linalg.svd(matrix.T, compute_uv=False), (columns, rows), 1),
        "rotated": (np.linalg.svd(rotation @ matrix, compute_uv=False), (rows, columns), 1),
    }
    for name, (other, shape, square) in others.items():
        again = fit_bulk(other, shape)
        assert (again.spikes, again.bounded) == (fit.spikes, fit.bounded), name
        np.testing.assert_allclose([again.soft_rank, again.distance], [fit.soft_rank, fit.distance], atol=1e-9)
        np.testing.assert_allclose(again[:4], square * np.array(fit[:4]), rtol=1e-8, atol=1e-12 * square)


def test_a_batch_gives_what_each_spectrum_gives():
    values = np.concatenate([planted(8, 3, (20, 30), 2, 4.0), singular_values(noise(8, 3, (20, 30)))]).reshape(2, 3, 20)
    fit = fit_bulk(values.astype(np.float32), (20, 30))
    assert all(field.shape == (2, 3) for field in fit)
    assert fit.variance.dtype == np.float64
    for i in np.ndindex(2, 3):
        np.testing.assert_allclose([f[i] for f in fit], fit_bulk(values[i], (20, 30)), rtol=1e-5)


def test_what_has_no_bulk_is_refused_with_the_reason():
    with pytest.raises(ValueError, match="half of the singular values are zero"):
        fit_bulk(np.zeros((2, 4)), (4, 4))
    rank_one = [3.0, 0.0, 0.0, 0.0]
    with pytest.raises(ValueError, match="half of the singular values are zero"):
        fit_bulk(np.array([[1.0, 2.0, 3.0, 4.0], rank_one]), (4, 4))
    with pytest.raises(ValueError, match="a single singular value"):
        fit_bulk(np.array([2.0]), (1, 5))
    with pytest.raises(ValueError, match="4 singular values with shape"):
        fit_bulk(np.array([1.0, 2.0, 3.0, 4.0]), (5, 6))
    with pytest.raises(ValueError, match=r"level = 0\.2"):
        fit_bulk(np.array([1.0, 2.0]), (2, 6), level=0.2)
    with pytest.raises(ValueError, match="finite"):
        fit_bulk(np.array([1.0, np.nan]), (2, 6))
    assert has_bulk(np.array([[1.0, 1.0, 1.0, 0.0], [1.0, 1.0, 0.0, 0.0], rank_one])).tolist() == [True, False, False]
    assert not has_bulk(np.array([1.0]))
