"""Shuffled entries, and a metric beside its null."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats

from transformer_spectrum.spectra import nulls
from transformer_spectrum.spectra.effects import NO_SPREAD, effect
from transformer_spectrum.spectra.metrics import frobenius_norm, spectral_norm, stable_rank
from transformer_spectrum.spectra.nulls import (
    family_null,
    null_of,
    shuffled_change_singular_values,
    shuffled_singular_values,
    signed_singular_values,
)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def gaussian(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


# -- shuffles --------------------------------------------------------------------------------------------------
def test_every_arrangement_of_a_small_matrix_is_equally_likely():
    entries = [1.0, 2.0, 4.0, 8.0]
    possible = {
        round(float(np.linalg.norm(np.reshape(order, (2, 2)), 2)), 9): 0 for order in itertools.permutations(entries)
    }
    assert len(possible) == 3  # the partner on the diagonal decides: 24 orders, 8 for each
    draws = shuffled_singular_values(np.reshape(entries, (1, 2, 2)), 3000, seeded())[:, 0, 0]
    for value in draws:
        possible[round(float(value), 9)] += 1
    assert stats.chisquare(list(possible.values())).pvalue > 1e-3


def test_shuffles_keep_the_entries_and_nothing_else():
    matrices = gaussian(1, 2, 12, 20)
    matrices[0] = np.outer(gaussian(2, 12), gaussian(3, 20))
    values = shuffled_singular_values(matrices, 10, seeded())
    assert values.shape == (10, 2, 12)
    assert values.dtype == np.float64
    assert (np.diff(values) <= 0).all()
    energy = (matrices.astype(np.float64) ** 2).sum(axis=(1, 2))
    np.testing.assert_allclose((values**2).sum(axis=-1), np.broadcast_to(energy, (10, 2)), rtol=1e-12)
    assert stable_rank(values)[:, 0].min() > 2  # rank one no longer
    assert len(np.unique(values[:, 1, 0])) == 10


def test_constant_matrix_is_its_own_shuffle():
    values = shuffled_singular_values(np.full((1, 3, 5), 2.0), 4, seeded())
    np.testing.assert_allclose(values, np.broadcast_to([2 * math.sqrt(15), 0, 0], (4, 1, 3)), atol=1e-6)


def test_same_seed_gives_the_same_values_whatever_the_chunk(monkeypatch):
    matrices = torch.as_tensor(gaussian(4, 3, 6, 4))
    values = shuffled_singular_values(matrices, 5, seeded(7))
    np.testing.assert_array_equal(values, shuffled_singular_values(matrices.numpy(), 5, seeded(7)))
    assert (values != shuffled_singular_values(matrices, 5, seeded(8))).any()
    monkeypatch.setattr(nulls, "ENTRIES", 50)  # two matrices at a time
    np.testing.assert_allclose(values, shuffled_singular_values(matrices, 5, seeded(7)), rtol=1e-12)


def test_shuffling_refuses_what_it_cannot_shuffle():
    with pytest.raises((ValueError, TypeError), match=r"\(3, 4\)|f64\[3,4\]"):
        shuffled_singular_values(np.ones((3, 4)), 2, seeded())
    with pytest.raises(ValueError, match="draws = 0"):
        shuffled_singular_values(np.ones((1, 3, 4)), 0, seeded())
    with pytest.raises(ValueError, match="finite"):
        shuffled_singular_values(np.full((1, 3, 4), np.nan), 2, seeded())


# -- change and signs ------------------------------------------------------------------------------------------
def test_every_sign_is_equally_likely_and_moves_no_entry():
    entries = np.array([[1.0, 2.0], [4.0, 8.0]])
    possible = {
        tuple(np.linalg.svd(entries * np.reshape(signs, (2, 2)), compute_uv=False).round(9)): 0
        for signs in itertools.product((-1, 1), repeat=4)
    }
    assert len(possible) == 2  # the sign of the determinant decides, 8 of 16 each
    draws = signed_singular_values(entries[None], 2000, seeded())[:, 0]
    for values in draws:
        possible[tuple(values.round(9))] += 1
    assert stats.chisquare(list(possible.values())).pvalue > 1e-3


def test_signs_keep_a_row_that_moved_further_and_shuffles_do_not():
    change = gaussian(9, 40, 24, 24) * np.where(np.arange(24) == 3, 8.0, 1.0)[:, None]
    values = np.linalg.svd(change, compute_uv=False)
    signed, shuffled = signed_singular_values(change, 1, seeded()), shuffled_singular_values(change, 1, seeded())
    assert spectral_norm(signed).mean() == pytest.approx(spectral_norm(values).mean(), rel=0.02)
    assert spectral_norm(shuffled).mean() < 0.6 * spectral_norm(values).mean()
    np.testing.assert_allclose(frobenius_norm(signed)[0], frobenius_norm(values), rtol=1e-6)


def test_a_shuffled_change_starts_at_the_initial_matrix_and_is_drawn_as_shuffles_are():
    initial, change = gaussian(10, 3, 6, 9), gaussian(11, 3, 6, 9)
    values = shuffled_change_singular_values(initial, change, 4, seeded(3))
    generator = seeded(3)
    for draw in values:
        for matrix in range(3):
            order = torch.randperm(54, generator=generator).numpy()
            formed = initial[matrix].astype(float) + change[matrix].astype(float).ravel()[order].reshape(6, 9)
            np.testing.assert_allclose(draw[matrix], np.linalg.svd(formed, compute_uv=False), rtol=1e-7)
    still = shuffled_change_singular_values(initial, np.zeros_like(change), 2, seeded())
    np.testing.assert_allclose(
        still, np.broadcast_to(np.linalg.svd(initial.astype(float), compute_uv=False), still.shape), rtol=1e-7
    )
    nothing = np.zeros_like(initial)
    np.testing.assert_array_equal(
        shuffled_change_singular_values(nothing, change, 4, seeded(3)), shuffled_singular_values(change, 4, seeded(3))
    )


def test_a_trained_matrix_without_direction_is_inside_the_null_of_its_change_and_a_direction_is_not():
    initial, noise = gaussian(12, 30, 24, 24), 0.2 * gaussian(13, 30, 24, 24)
    direction = np.einsum("mi,mj->mij", np.sign(gaussian(14, 30, 24)), np.sign(gaussian(15, 30, 24))).astype(np.float32)
    medians = []
    for change in (noise, noise + 0.4 * direction):
        draws = shuffled_change_singular_values(initial, change, 20, seeded())
        norm = spectral_norm(np.linalg.svd(initial + change, compute_uv=False))
        medians.append(float(np.median(deviations(norm, spectral_norm(draws)))))
    assert abs(medians[0]) < 1
    assert medians[1] > 3


def test_change_and_signs_do_not_depend_on_the_chunk(monkeypatch):
    initial, change = gaussian(16, 3, 6, 4), gaussian(17, 3, 6, 4)
    moved, signed = (
        shuffled_change_singular_values(initial, change, 5, seeded(7)),
        signed_singular_values(change, 5, seeded(7)),
    )
    monkeypatch.setattr(nulls, "ENTRIES", 50)
    again = (
        shuffled_change_singular_values(initial, change, 5, seeded(7)),
        signed_singular_values(change, 5, seeded(7)),
    )
    np.testing.assert_allclose(moved, again[0], rtol=1e-12)
    np.testing.assert_allclose(signed, again[1], rtol=1e-12)
    with pytest.raises((ValueError, TypeError), match=r"with changes of \(3, 4, 6\)|f32\[3,4,6\]"):
        shuffled_change_singular_values(initial, change.reshape(3, 4, 6), 5, seeded())


# -- null ------------------------------------------------------------------------------------------------------
def test_mean_and_spread_are_numpys_and_leave_out_draws_without_the_metric():
    draws = np.array([[1.0, 1.0, np.nan], [2.0, np.nan, np.nan], [3.0, 3.0, np.nan], [6.0, 5.0, np.nan]])
    null = null_of(draws)
    assert null.mean[:2].tolist() == [3, 3]
    assert null.standard_deviation[:2] == pytest.approx([np.std([1, 2, 3, 6], ddof=1), 2])
    assert null.draws.tolist() == [4, 3, 0]
    assert np.isnan(null.mean[2])
    assert np.isnan(null.standard_deviation[2])
    lower, upper = null.band(2.0)
    assert (lower[1], upper[1]) == (-1, 7)
    assert np.isnan(null_of(draws[:2]).standard_deviation).all()  # two draws have no spread


@pytest.mark.parametrize("exponent", [-1000, -600, 600, 1000])
def test_the_spread_of_draws_whose_squares_no_float64_holds_is_that_in_another_unit(exponent):
    draws = np.random.default_rng(0).normal(size=(7, 3))
    draws[2, 1] = np.nan
    plain, scaled = null_of(draws), null_of(np.ldexp(draws, exponent))
    assert np.array_equal(np.ldexp(scaled.standard_deviation, -exponent), plain.standard_deviation)
    assert np.array_equal(np.ldexp(scaled.mean, -exponent), plain.mean)
    np.testing.assert_allclose(plain.standard_deviation, np.nanstd(draws, axis=0, ddof=1), rtol=1e-14)


def test_band_of_a_family_is_that_of_its_mean():
    draws = np.random.default_rng(0).standard_normal((4000, 2, 9)) + 5
    null = family_null(draws)
    assert null.mean.shape == (2,)
    assert null.mean == pytest.approx([5, 5], abs=0.02)
    assert null.standard_deviation == pytest.approx([1 / 3, 1 / 3], rel=0.05)  # 1 / sqrt(9)
    draws[:, 0, 1:] = np.nan
    assert family_null(draws).standard_deviation == pytest.approx([1, 1 / 3], rel=0.05)
    draws[:, 0] = np.nan
    assert family_null(draws).draws.tolist() == [0, 4000]


def test_the_mean_of_equal_draws_is_each_of_them():
    values = np.random.default_rng(4).random((200, 3))
    for count in (3, 20, 21):
        assert (null_of(np.repeat(values[None], count, axis=0)).mean == values).all()
        assert (null_of(np.repeat(values[None], count, axis=0)).standard_deviation == 0).all()


# -- the nulls beside what they are of -------------------------------------------------------------------------
def deviations(values, draws):
    return effect("spectral_norm", values, draws).deviations


def test_shuffling_leaves_the_frobenius_norm_and_the_norm_of_noise_stays_in_its_null():
    matrices = gaussian(5, 30, 24, 16)
    values = np.linalg.svd(matrices.astype(np.float64), compute_uv=False)
    draws = shuffled_singular_values(matrices, 12, seeded())
    assert (effect("frobenius_norm", frobenius_norm(values), frobenius_norm(draws)).reason == NO_SPREAD).all()
    sizes = deviations(spectral_norm(values), spectral_norm(draws))
    assert abs(sizes.mean()) < 0.8
    assert sizes.std() == pytest.approx(1.15, abs=0.5)  # t with 11 degrees of freedom


def test_a_direction_stands_out_of_the_shuffles_and_a_common_mean_does_not():
    matrices = gaussian(6, 20, 24, 16)
    signs = np.sign(gaussian(7, 24))[:, None] * np.sign(gaussian(8, 16))
    for addition, stands_out in ((signs, True), (np.float32(1.0), False)):
        changed = matrices + addition  # either way a singular value near sqrt(24 * 16) is added
        norm = spectral_norm(np.linalg.svd(changed.astype(np.float64), compute_uv=False))
        sizes = deviations(norm, spectral_norm(shuffled_singular_values(changed, 12, seeded())))
        assert (np.median(sizes) > 5) == stands_out
        assert (sizes > 3).all() == stands_out
