"""Closed forms first, then what must not change the numbers."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from transformer_spectrum.spectra.metrics import (
    alpha_exponent,
    condition_number,
    effective_rank,
    frobenius_norm,
    numerical_rank,
    participation_ratio,
    spectral_entropy,
    spectral_norm,
    stable_rank,
    storage_rounding,
    window_ranks,
)
from transformer_spectrum.weights.matrices.matrix import spectrum

SCALE_FREE = {
    "entropy": spectral_entropy,
    "normalised entropy": lambda s: spectral_entropy(s, normalised=True),
    "stable rank": stable_rank,
    "effective rank": effective_rank,
    "participation ratio": participation_ratio,
    "condition number": condition_number,
    "alpha exponent": lambda s: alpha_exponent(s, (0.0, 0.5)).alpha,
    "R^2": lambda s: alpha_exponent(s, (0.0, 0.5)).r_squared,
    "standard error": lambda s: alpha_exponent(s, (0.0, 0.5)).standard_error,
}
matrices = st.builds(
    lambda seed, rows, columns: np.random.default_rng(seed).standard_normal((rows, columns)),
    st.integers(0, 2**32 - 1),
    st.integers(6, 20),
    st.integers(6, 20),
)


def singular_values(matrix):
    return np.linalg.svd(matrix, compute_uv=False)


@pytest.mark.parametrize("rank", [2, 7, 64])
def test_identity_has_the_largest_entropy_and_full_stable_rank(rank):
    ones = np.ones(rank)
    assert spectral_entropy(ones) == pytest.approx(math.log(rank), rel=1e-14)
    assert spectral_entropy(ones, normalised=True) == pytest.approx(1, rel=1e-14)
    assert stable_rank(ones) == rank
    assert spectral_norm(ones) == 1
    assert frobenius_norm(ones) == pytest.approx(math.sqrt(rank), rel=1e-14)


def test_rank_one_has_no_entropy_and_stable_rank_one():
    values = np.array([3.0, 0.0, 0.0, 0.0])
    assert spectral_entropy(values) == 0
    assert not np.signbit(spectral_entropy(values))
    assert spectral_entropy(values, normalised=True) == 0
    assert stable_rank(values) == 1
    assert spectral_norm(values) == frobenius_norm(values) == 3


def test_entropy_counts_energies_in_nats():
    # s^2 = 3, 1: shares 3/4 and 1/4
    expected = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert spectral_entropy(np.array([math.sqrt(3), 1.0])) == pytest.approx(expected, rel=1e-14)
    assert stable_rank(np.array([math.sqrt(3), 1.0])) == pytest.approx(4 / 3, rel=1e-14)


@pytest.mark.parametrize("k", [1, 3, 8])
def test_k_equal_values_beside_zeros_are_k_of_every_kind_of_rank(k):
    values = np.r_[np.full(k, 0.3), np.zeros(8 - k)]
    for rank in (effective_rank, participation_ratio, stable_rank, lambda s: numerical_rank(s, (8, 20))):
        assert rank(values) == pytest.approx(k, rel=1e-14)


def test_effective_rank_takes_the_shares_of_s_and_participation_those_of_the_energy():
    shares = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert effective_rank(np.array([1.0, 3.0])) == pytest.approx(math.exp(shares), rel=1e-14)  # s: 1/4 and 3/4
    assert effective_rank(np.array([1.0, 3.0])) > math.exp(spectral_entropy(np.array([1.0, 3.0])))  # s^2: 1/10 and 9/10
    assert participation_ratio(np.array([1.0, math.sqrt(3)])) == pytest.approx(
        16 / 10, rel=1e-14
    )  # (1 + 3)^2 / (1 + 9)


def test_condition_number_is_numpys():
    matrix = np.random.default_rng(5).standard_normal((30, 12))
    assert condition_number(singular_values(matrix)) == pytest.approx(np.linalg.cond(matrix), rel=1e-12)
    assert condition_number(np.array([2.0, 2.0])) == 1


@pytest.mark.parametrize("rank", [0, 1, 5, 24])
@pytest.mark.parametrize("shape", [(24, 24), (24, 100), (100, 24)])
def test_numerical_rank_is_numpys_in_float32_whatever_the_precision_of_the_singular_values(rank, shape):
    generator = np.random.default_rng(rank)
    matrix = (generator.standard_normal((shape[0], rank)) @ generator.standard_normal((rank, shape[1]))).astype("f4")
    values = singular_values(matrix)
    assert numerical_rank(values, shape) == np.linalg.matrix_rank(matrix) == rank
    assert numerical_rank(values.astype(np.float64), shape) == rank
    assert numerical_rank(1e20 * values.astype(np.float64), shape[::-1]) == rank


def test_numerical_rank_takes_a_shape_for_each_spectrum_and_an_eps():
    values = np.array([1.0, 1e-4, 2e-5])
    shapes = np.array([[3, 3], [3, 400], [400, 400]])  # thresholds 2.3e-5, 1.25e-5, 1e-5
    assert numerical_rank(np.stack([values] * 3), shapes, eps=1e-5).tolist() == [2, 3, 3]
    assert numerical_rank(values, (3, 3)) == 3
    assert numerical_rank(np.ones((2, 5, 7)), (7, 9)).shape == (2, 5)


def test_rounding_of_alike_entries_follows_their_root_mean_square_and_of_one_row_its_norm():
    level = np.full(16, 8.0)  # of entries of root mean square 2
    assert storage_rounding(level, (16, 16)) == pytest.approx(2.0**-23 * 2 * 2 * (4 + 4))
    assert storage_rounding(level, (16, 64)) == pytest.approx(2.0**-23 * 2 * 1 * (4 + 8))
    lone = np.array([5.0, 0.0, 0.0, 0.0])
    assert storage_rounding(lone, (4, 10000)) == pytest.approx(2.0**-23 * 2 * 5 * (1 / 2 + 1 / 100))
    assert storage_rounding(np.append(lone, np.zeros(9996)), (10000, 10000)) == pytest.approx(2.0**-23 * 5)


@pytest.mark.parametrize("shape", [(64, 64), (64, 200)])
def test_storing_moves_no_singular_value_by_more_than_the_rounding(shape):
    matrices = np.random.default_rng(0).standard_normal((50, *shape))
    matrices[25:, 5:] *= 1e-6  # the energy in a few rows
    stored = matrices.astype(np.float32)
    before, after = (np.linalg.svd(entries.astype(float), compute_uv=False) for entries in (matrices, stored))
    moved = np.abs(before - after).max(axis=-1)
    norm = np.linalg.norm(stored - matrices, 2, axis=(1, 2))
    rounding = storage_rounding(before, shape)
    assert (moved <= norm * (1 + 1e-6)).all()
    assert (norm < 0.6 * rounding).all()
    assert (norm[:25] > 0.08 * rounding[:25]).all()  # and not by orders of magnitude less


def test_a_gaussian_matrix_of_a_thousand_rows_has_full_rank():
    matrix = np.random.default_rng(5).standard_normal((1024, 1024)).astype(np.float32)
    values = spectrum(matrix[None])[0]
    assert (values < 1024 * 2.0**-23 * values[0]).any()  # which numpy's rule takes for rounding
    assert numerical_rank(values, (1024, 1024)) == 1024


def test_the_share_of_gaussian_matrices_that_lose_a_rank_is_as_stated():
    matrices = np.random.default_rng(1).standard_normal((4000, 16, 16))
    ranks = numerical_rank(np.linalg.svd(matrices, compute_uv=False), (16, 16), eps=0.1 / 64)
    assert (ranks < 16).mean() == pytest.approx(0.1, abs=0.025)


@pytest.mark.parametrize(("rank", "shape"), [(1, (512, 512)), (8, (512, 512)), (128, (512, 512)), (64, (128, 1024))])
def test_a_product_in_float32_has_the_rank_of_its_factors(rank, shape):
    generator = np.random.default_rng(rank)
    left, right = (generator.standard_normal(size, dtype=np.float32) for size in ((shape[0], rank), (rank, shape[1])))
    assert numerical_rank(spectrum((left @ right)[None])[0], shape) == rank
    weighted = left * np.geomspace(1, 1e-3, shape[0], dtype=np.float32)[:, None]  # rows of most unlike lengths
    assert numerical_rank(spectrum((weighted @ right)[None])[0], shape) == rank


@pytest.mark.parametrize("alpha", [0.0, 0.25, 1.0, 3.5])
@pytest.mark.parametrize("window", [(0.0, 1.0), (0.0, 0.5), (0.25, 0.75)])
def test_exact_power_law_gives_its_exponent(alpha, window):
    values = 7.0 * np.arange(1, 41) ** -alpha
    decay = alpha_exponent(values, window)
    assert decay.alpha == pytest.approx(alpha, abs=1e-12)
    assert decay.r_squared == pytest.approx(1, abs=1e-12)
    assert decay.standard_error == pytest.approx(0, abs=1e-12)


def test_alpha_exponent_matches_numpys_least_squares_in_its_window():
    values = np.sort(np.random.default_rng(3).lognormal(size=30))[::-1]
    x, y = np.log(np.arange(4, 16)), np.log(values[3:15])
    slope, _ = np.polyfit(x, y, 1)
    decay = alpha_exponent(values, (0.1, 0.5))
    assert decay.alpha == pytest.approx(-slope, rel=1e-10)
    assert decay.r_squared == pytest.approx(np.corrcoef(x, y)[0, 1] ** 2, rel=1e-10)
    assert decay.r_squared < 0.999
    assert decay.standard_error == pytest.approx(scipy.stats.linregress(x, y).stderr, rel=1e-10)


@pytest.mark.parametrize(
    ("rank", "window", "ranks"),
    [(64, (0.0, 0.5), (1, 32)), (10, (0.1, 1.0), (2, 10)), (5, (0.0, 0.5), (1, 3)), (100, (0.0, 0.29), (1, 29))],
)
def test_window_counts_ranks_from_one_and_rounds_halves_up(rank, window, ranks):
    assert window_ranks(rank, window) == ranks


@settings(max_examples=40, deadline=None)
@given(matrices, st.floats(1e-30, 1e30))
def test_rescaling_the_weights_changes_no_shape(matrix, factor):
    values = singular_values(matrix)
    for name, metric in SCALE_FREE.items():
        assert metric(factor * values) == pytest.approx(metric(values), rel=1e-9), name
    assert spectral_norm(factor * values) == pytest.approx(factor * spectral_norm(values), rel=1e-12)


@settings(max_examples=40, deadline=None)
@given(matrices, st.integers(0, 2**32 - 1))
def test_transposing_and_rotating_change_nothing(matrix, seed):
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(matrix), len(matrix))))
    values = singular_values(matrix)
    for name, metric in {**SCALE_FREE, "norm": spectral_norm, "Frobenius": frobenius_norm}.items():
        assert metric(singular_values(matrix.T)) == pytest.approx(metric(values), rel=1e-8), name
        assert metric(singular_values(rotation @ matrix)) == pytest.approx(metric(values), rel=1e-8), name
    assert numerical_rank(singular_values(matrix.T), matrix.T.shape) == numerical_rank(values, matrix.shape)


@settings(max_examples=40, deadline=None)
@given(matrices)
def test_values_stay_in_their_ranges_in_any_order(matrix):
    values = singular_values(matrix)
    rank = len(values)
    assert 0 <= spectral_entropy(values) <= math.log(rank) + 1e-12
    assert 1 <= stable_rank(values) <= participation_ratio(values) + 1e-9  # of order infinity and 2 among Renyi's
    assert participation_ratio(values) <= math.exp(spectral_entropy(values)) + 1e-9  # of order 1
    assert math.exp(spectral_entropy(values)) <= effective_rank(values) + 1e-9  # s is spread wider than s^2
    assert effective_rank(values) <= rank + 1e-9
    assert condition_number(np.array(values)) >= 1
    assert 1 <= numerical_rank(values, matrix.shape) <= rank
    assert frobenius_norm(values) == pytest.approx(np.linalg.norm(matrix), rel=1e-10)
    assert frobenius_norm(values) >= spectral_norm(values)
    shuffled = np.random.default_rng(0).permutation(values)
    for name, metric in SCALE_FREE.items():
        assert metric(shuffled) == pytest.approx(metric(values), rel=1e-12), name


def test_a_batch_gives_what_its_spectra_give_alone():
    batch = np.random.default_rng(1).lognormal(size=(3, 4, 12)).astype(np.float32)
    for name, metric in {**SCALE_FREE, "norm": spectral_norm, "Frobenius": frobenius_norm}.items():
        together = metric(batch)
        assert together.shape == (3, 4), name
        assert together.dtype == np.float64, name
        assert together[2, 1] == pytest.approx(metric(batch[2, 1]), rel=1e-13), name


@pytest.mark.parametrize(
    "metric", [*SCALE_FREE.values(), spectral_norm, frobenius_norm, lambda s: numerical_rank(s, (8, 8))]
)
@pytest.mark.parametrize(("bad", "rule"), [(np.nan, "finite"), (np.inf, "finite"), (-1.0, "negative")])
def test_impossible_singular_values_raise(metric, bad, rule):
    values = np.ones((2, 8))
    values[1, 3] = bad
    with pytest.raises(ValueError, match=rule):
        metric(values)


@pytest.mark.parametrize("metric", SCALE_FREE.values())
def test_a_zero_matrix_has_no_shape(metric):
    with pytest.raises(ValueError, match="no singular value is positive"):
        metric(np.stack([np.ones(8), np.zeros(8)]))
    assert spectral_norm(np.zeros(8)) == 0


def test_what_cannot_be_computed_says_why():
    for values in ([2.0, 1.0, 0.0], [2.0, 1.0, 1e-320]):
        with pytest.raises(ValueError, match="condition number is infinite"):
            condition_number(np.array(values))
    with pytest.raises(ValueError, match="single singular value"):
        spectral_entropy(np.array([2.0]), normalised=True)
    with pytest.raises(ValueError, match="at least 3"):
        alpha_exponent(np.ones(4), (0.0, 0.5))
    with pytest.raises(ValueError, match="ranks 1 to 4: the window holds a singular value that is zero"):
        alpha_exponent(np.array([3.0, 2.0, 1.0, 0.0]), (0.0, 1.0))
    with pytest.raises(ValueError, match="last axis"):
        spectral_norm(np.empty((3, 0)))
