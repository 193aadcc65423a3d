"""A matrix taken in pieces has the spectrum that it has as a whole."""

import numpy as np
import pytest
import torch

from transformer_spectrum.weights.matrices import large
from transformer_spectrum.weights.matrices.large import shuffled_in_pieces, spectrum_in_pieces


@pytest.mark.parametrize("shape", [(40, 7), (7, 40), (9, 9), (1, 5)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_pieces_give_the_singular_values_of_an_svd(shape, dtype, monkeypatch):
    monkeypatch.setattr(large, "PIECE", 20)
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    exact = np.linalg.svd(matrix.double().numpy(), compute_uv=False)
    np.testing.assert_allclose(spectrum_in_pieces(matrix), exact, atol=1e-7 * exact[0])


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_extreme_scales_neither_overflow_nor_underflow(scale):
    matrix = torch.diag(torch.tensor([3.0, 2.0, 1.0])) * scale
    np.testing.assert_allclose(spectrum_in_pieces(matrix) / scale, [3, 2, 1], rtol=1e-6)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e30])
def test_a_matrix_of_one_sign_has_its_spectrum_at_every_scale(sign, scale):
    matrix = torch.rand(8, 5, generator=torch.Generator().manual_seed(0)).double()
    matrix[0] = 0.0  # so that one end of the entries is 0
    exact = np.linalg.svd(matrix.numpy(), compute_uv=False)
    found = spectrum_in_pieces((sign * scale * matrix).float()) / scale
    np.testing.assert_allclose(found, exact, atol=1e-6 * exact[0])


def test_a_zero_matrix_has_zero_singular_values():
    np.testing.assert_array_equal(spectrum_in_pieces(torch.zeros(4, 3)), np.zeros(3))


@pytest.mark.parametrize("shape", [(600, 600), (3000, 200), (64, 20000)])
def test_roots_of_rounding_are_zero_and_not_small_singular_values(shape):
    random = np.random.default_rng(0)
    for rank in (1, 12):
        left, right = (random.integers(-3, 4, size).astype(np.float32) for size in ((shape[0], rank), (rank, shape[1])))
        values = spectrum_in_pieces(torch.from_numpy(left @ right))  # whole numbers: exactly of this rank
        assert np.count_nonzero(values) == rank


def test_shuffles_keep_the_entries_leave_the_matrix_alone_and_repeat_with_the_seed():
    matrix = torch.arange(60.0).reshape(12, 5)
    kept = matrix.clone()
    drawn = [shuffled_in_pieces(matrix, 3, np.random.default_rng(1)) for _ in range(2)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert torch.equal(matrix, kept)
    assert len({round(values[0], 9) for values in drawn[0]}) == 3
    np.testing.assert_allclose((drawn[0] ** 2).sum(axis=1), float((matrix**2).sum()), rtol=1e-12)


def test_shuffling_destroys_a_direction():
    matrix = torch.ones(30, 1) @ torch.linspace(-1, 1, 20)[None]
    assert spectrum_in_pieces(matrix)[1] < 1e-6
    assert (shuffled_in_pieces(matrix, 5, np.random.default_rng(0))[:, 1] > 1).all()
