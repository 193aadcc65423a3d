"""Windows of one aspect ratio and the exponent that they give."""

import numpy as np
import pytest
import torch

from transformer_spectrum.spectra import submatrices
from transformer_spectrum.spectra.power_law import hill_alpha, hill_count
from transformer_spectrum.spectra.submatrices import farms_alpha, farms_eigenvalues, window_shape, window_starts


def gaussian(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def plain_alpha(matrices):
    eigenvalues = np.linalg.svd(matrices, compute_uv=False) ** 2
    return hill_alpha(eigenvalues, hill_count(eigenvalues.shape[-1], 0.5))


# -- windows ---------------------------------------------------------------------------------------------------
def test_windows_lie_along_the_matrix_and_must_fit():
    assert window_shape((64, 64), 32) == (32, 32)
    assert window_shape((128, 64), 32, 1.5) == (48, 32)
    assert window_shape((64, 128), 32, 1.5) == (32, 48)
    assert window_shape((64, 12), 32) is None
    assert window_shape((64, 12), 12, 5.0) == (60, 12)
    assert window_shape((64, 12), 12, 6.0) is None
    with pytest.raises(ValueError, match="side = 2"):
        window_shape((64, 64), 2)
    with pytest.raises(ValueError, match=r"aspect = 0\.5"):
        window_shape((64, 64), 32, 0.5)


def test_windows_reach_from_end_to_end():
    assert window_starts(64, 32, 5).tolist() == [0, 8, 16, 24, 32]
    assert window_starts(70, 32, 3).tolist() == [0, 19, 38]
    assert window_starts(10, 8, 5).tolist() == [0, 1, 2]
    assert window_starts(10, 10, 5).tolist() == [0]
    assert window_starts(11, 4, 1).tolist() == [3]


def test_pooled_eigenvalues_are_those_of_each_window():
    matrix = gaussian(0, 9, 7)
    expected = [
        np.linalg.svd(matrix[i : i + 6, j : j + 4], compute_uv=False) ** 2 for i in (0, 1, 3) for j in (0, 1, 3)
    ]
    values = farms_eigenvalues(matrix, side=4, aspect=1.5, windows=3)
    np.testing.assert_allclose(values, np.sort(np.concatenate(expected))[::-1], rtol=1e-8)
    assert values.dtype == np.float64
    np.testing.assert_allclose(farms_eigenvalues(matrix.T, side=4, aspect=1.5, windows=3), values, rtol=1e-8)
    batch = torch.as_tensor(np.stack([matrix, 2 * matrix]))
    np.testing.assert_allclose(farms_eigenvalues(batch, side=4, aspect=1.5, windows=3), [values, 4 * values], rtol=1e-8)


def test_one_window_of_the_whole_matrix_is_the_plain_spectrum():
    matrices = gaussian(1, 4, 12, 8)
    alpha = farms_alpha(matrices, side=8, aspect=1.5)
    np.testing.assert_allclose(alpha.alpha, plain_alpha(matrices), rtol=1e-7)
    assert alpha.tail == 4
    assert (alpha.reason == "").all()


def test_chunks_change_nothing(monkeypatch):
    matrices = gaussian(2, 5, 20, 16)
    whole = farms_eigenvalues(matrices, side=8, windows=3)
    monkeypatch.setattr(submatrices, "ENTRIES", 1200)  # two matrices of nine windows of 64 entries
    np.testing.assert_allclose(farms_eigenvalues(matrices, side=8, windows=3), whole, rtol=1e-12)


# -- alpha -----------------------------------------------------------------------------------------------------
def test_alpha_of_noise_follows_the_shape_and_that_of_windows_does_not():
    shapes = [(64, 64), (128, 64), (256, 64)]
    noise = [gaussian(3, 30, *shape) for shape in shapes]
    plain = [plain_alpha(matrices).mean() for matrices in noise]
    windows = [farms_alpha(matrices, side=32).alpha for matrices in noise]
    assert plain == [pytest.approx(2.07, abs=0.04), pytest.approx(2.64, abs=0.05), pytest.approx(3.36, abs=0.06)]
    means = [alpha.mean() for alpha in windows]
    assert means == [pytest.approx(2.10, abs=0.02)] * 3
    assert np.ptp(means) < np.ptp(plain) / 60
    assert all(alpha.std() < 0.05 for alpha in windows)


def test_heavier_tails_still_get_the_smaller_alpha():
    random = np.random.default_rng(4)
    for shape in ((64, 64), (128, 64)):
        heavy, noise = random.standard_t(2.0, (20, *shape)), random.standard_normal((20, *shape))
        assert np.median(farms_alpha(heavy, side=32).alpha) < farms_alpha(noise, side=32).alpha.min() - 0.1


def test_rescaling_and_transposing_change_nothing():
    matrices = gaussian(5, 3, 40, 24)
    alpha = farms_alpha(matrices, side=12).alpha
    np.testing.assert_allclose(farms_alpha(1e-20 * matrices, side=12).alpha, alpha, rtol=1e-7)
    np.testing.assert_allclose(farms_alpha(np.swapaxes(matrices, 1, 2), side=12).alpha, alpha, rtol=1e-7)
    np.testing.assert_allclose(farms_alpha(matrices.astype(np.float32), side=12).alpha, alpha, rtol=1e-5)
    assert farms_alpha(matrices[0], side=12).alpha == pytest.approx(alpha[0], rel=1e-12)


def test_what_has_no_alpha_has_a_reason():
    matrices = np.stack([gaussian(6, 8, 8), np.zeros((8, 8)), np.outer(np.arange(1, 9), np.ones(8)), np.eye(8)])
    result = farms_alpha(matrices, side=8)
    short, constant = submatrices.SHORT_TAIL, submatrices.CONSTANT_TAIL
    assert result.reason.tolist() == ["", short, short, constant]
    assert (np.isnan(result.alpha) == (result.reason != "")).all()
    # rounding of a product of large numbers is no eigenvalue
    assert farms_alpha(np.outer(gaussian(7, 64), gaussian(8, 64)).astype(np.float32), side=32).reason == short


def test_unfit_arguments_are_refused():
    with pytest.raises(ValueError, match=r"side = 32 .* \(64, 12\)"):
        farms_alpha(np.ones((1, 64, 12)), side=32)
    with pytest.raises(ValueError, match="windows = 0"):
        farms_alpha(np.ones((1, 64, 64)), side=32, windows=0)
    with pytest.raises(ValueError, match="finite"):
        farms_alpha(np.full((1, 64, 64), np.inf), side=32)
    with pytest.raises((ValueError, TypeError), match=r"\(64,\)|f64\[64\]"):
        farms_eigenvalues(np.ones(64), side=32)
