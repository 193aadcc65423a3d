"""Leading singular subspaces of a change and of the matrix it changes."""

import math

import numpy as np
import pytest
import torch
from scipy import linalg, stats

from transformer_spectrum.spectra import overlap
from transformer_spectrum.spectra.overlap import random_overlap, subspace_overlap


def gaussian(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def orthogonal(seed, size):
    return stats.ortho_group.rvs(size, random_state=np.random.default_rng(seed))


def planted(left, right, values):
    return (left[:, : len(values)] * values) @ right[:, : len(values)].T


# -- closed forms ----------------------------------------------------------------------------------------------
def test_a_change_along_the_matrix_overlaps_wholly_and_one_beside_it_not_at_all():
    left, right = orthogonal(0, 12), orthogonal(1, 9)
    initial = planted(left, right, [5.0, 4.0, 3.0, 2.0])
    along, beside = planted(left, right, [0.1, 0.2, 0.3]), planted(left[:, 4:], right[:, 4:], [0.1, 0.2, 0.3])
    mixed = planted(left, right[:, 4:], [0.1, 0.2, 0.3])
    result = subspace_overlap(np.stack([initial] * 3), np.stack([along, beside, mixed]), 3)
    np.testing.assert_allclose(result.left, [1, 0, 1], atol=1e-12)
    np.testing.assert_allclose(result.right, [1, 0, 0], atol=1e-12)
    assert (result.reason == "").all()


def test_a_plane_turned_by_an_angle_overlaps_by_its_squared_cosine():
    left, right = orthogonal(2, 8), orthogonal(3, 8)
    turned = left.copy()
    turned[:, 1] = math.cos(0.7) * left[:, 1] + math.sin(0.7) * left[:, 5]
    result = subspace_overlap(planted(left, right, [3.0, 2.0])[None], planted(turned, right, [1.0, 2.0])[None], 2)
    assert result.left == pytest.approx([(1 + math.cos(0.7) ** 2) / 2])
    assert result.right == pytest.approx([1.0])


# -- oracle ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("shape", [(9, 9), (20, 7), (7, 20)])
@pytest.mark.parametrize("k", [1, 3, 7])
def test_it_is_the_mean_squared_cosine_of_scipys_principal_angles(shape, k):
    initial, change = gaussian(4, 4, *shape), gaussian(5, 4, *shape)
    result = subspace_overlap(torch.as_tensor(initial), torch.as_tensor(change), k)
    for matrix in range(4):
        (left, _, right), (left_step, _, right_step) = np.linalg.svd(initial[matrix]), np.linalg.svd(change[matrix])
        angles = linalg.subspace_angles(left[:, :k], left_step[:, :k])
        assert result.left[matrix] == pytest.approx(np.mean(np.cos(angles) ** 2))
        angles = linalg.subspace_angles(right[:k].T, right_step[:k].T)
        assert result.right[matrix] == pytest.approx(np.mean(np.cos(angles) ** 2))


@pytest.mark.parametrize(("dimensions", "k"), [(2, 1), (5, 1), (5, 2), (16, 4), (16, 15)])
def test_random_subspaces_have_the_stated_mean_and_spread(dimensions, k):
    random = np.random.default_rng(6)
    bases = np.linalg.qr(random.standard_normal((20000, dimensions, k)))[0]
    shares = (bases[:, :k] ** 2).sum(axis=(1, 2)) / k
    expected = random_overlap(dimensions, k)
    assert abs(shares.mean() - expected.mean) < 4 * expected.standard_deviation / math.sqrt(20000)
    assert shares.std() == pytest.approx(expected.standard_deviation, rel=0.04)


def test_a_line_has_the_spread_of_a_squared_cosine():
    assert random_overlap(9, 1).standard_deviation == pytest.approx(stats.beta(0.5, 4).std())
    assert random_overlap(9, 9) == (1.0, 0.0)
    for k in (0, 10):
        with pytest.raises(ValueError, match=f"k = {k} of 9"):
            random_overlap(9, k)


# -- behaviour -------------------------------------------------------------------------------------------------
def test_noise_overlaps_with_noise_as_random_subspaces_do():
    result = subspace_overlap(gaussian(7, 400, 16, 24), 0.1 * gaussian(8, 400, 16, 24), 4)
    for shares, dimensions in ((result.left, 16), (result.right, 24)):
        expected = random_overlap(dimensions, 4)
        assert shares.mean() == pytest.approx(expected.mean, abs=4 * expected.standard_deviation / 20)
        assert shares.std() == pytest.approx(expected.standard_deviation, rel=0.15)


def test_it_heeds_neither_scale_nor_a_common_rotation_and_transposing_swaps_the_sides():
    initial, change, left, right = gaussian(9, 3, 10, 6), gaussian(10, 3, 10, 6), orthogonal(11, 10), orthogonal(12, 6)
    plain = subspace_overlap(initial, change, 2)
    turned = subspace_overlap(7 * left @ initial @ right, 0.01 * left @ change @ right, 2)
    swapped = subspace_overlap(initial.transpose(0, 2, 1), change.transpose(0, 2, 1), 2)
    for result in ((turned.left, turned.right), (swapped.right, swapped.left)):
        np.testing.assert_allclose(result, (plain.left, plain.right), rtol=1e-9)
    lone = subspace_overlap(initial[1:2], change[1:2], 2)
    np.testing.assert_allclose((lone.left[0], lone.right[0]), (plain.left[1], plain.right[1]), rtol=1e-12)


def test_every_missing_overlap_has_its_reason():
    noise, line = gaussian(13, 6, 8), np.outer(gaussian(14, 6), gaussian(15, 8))
    level = np.eye(6, 8)
    initial = np.stack([noise, noise, line, noise, noise, level])
    change = np.stack([0 * noise, line, noise, noise, level, noise])
    result = subspace_overlap(initial, change, 2)
    assert result.reason.tolist() == [
        overlap.NO_CHANGE,
        overlap.LOW_RANK_CHANGE,
        overlap.LOW_RANK_INITIAL,
        "",
        overlap.NO_GAP,
        overlap.NO_GAP,
    ]
    for shares in (result.left, result.right):
        assert (np.isnan(shares) == (result.reason != "")).all()
    assert (subspace_overlap(initial, change, 7).reason[1:] == overlap.LOW_RANK_CHANGE).all()
    assert subspace_overlap(noise[None], noise[None], 6).left == pytest.approx([1.0])


def test_what_float32_makes_of_the_weights_is_no_second_direction_of_the_change():
    initial = gaussian(16, 1, 64, 64).astype(np.float32)
    moved = (initial + 0.01 * np.outer(gaussian(17, 64), gaussian(18, 64)).astype(np.float32)).astype(np.float32)
    change = moved.astype(float) - initial
    assert subspace_overlap(initial, change, 1).reason.item() == ""
    assert subspace_overlap(initial, change, 2).reason.item() == overlap.LOW_RANK_CHANGE
    assert subspace_overlap(initial, change, 2, eps=2.0**-52).reason.item() == ""


def test_what_cannot_overlap_is_refused():
    with pytest.raises(ValueError, match="k = 0"):
        subspace_overlap(gaussian(0, 1, 3, 3), gaussian(1, 1, 3, 3), 0)
    with pytest.raises(ValueError, match="finite"):
        subspace_overlap(np.full((1, 3, 3), np.inf), gaussian(1, 1, 3, 3), 1)
    with pytest.raises((ValueError, TypeError), match=r"\(1, 3, 4\)|f64\[1,3,4\]"):
        subspace_overlap(gaussian(0, 1, 3, 3), gaussian(1, 1, 3, 4), 1)
