"""Matrices in the tensors that hold them, their families, and their singular values."""

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from transformer_spectrum.weights.matrices.families import Family
from transformer_spectrum.weights.matrices.matrix import Cut, Matrix, singular_values, spectrum

X = Family("x")


def matrices() -> list[Matrix]:
    return [
        Matrix("a", X, "a", (6, 4)),
        Matrix("b.top", X, "b", (3, 3), cut=Cut(1, 0, 3)),
        Matrix("b.bottom", X, "b", (3, 3), cut=Cut(1, 3, 6)),
        Matrix("c", X, "c", (6, 4)),
    ]


def weights() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(6, 4 if name != "b" else 3, generator=generator) for name in "abc"}


def stacked(*networks):
    return {name: torch.stack([network[name] for network in networks]) for name in networks[0]}


def test_the_spectra_of_a_network_do_not_depend_on_those_beside_it():
    networks = [{name: (1 + i) * tensor for name, tensor in weights().items()} for i in range(3)]
    together = singular_values(stacked(*networks), matrices())
    for network, values in zip(networks, together, strict=True):
        np.testing.assert_array_equal(singular_values(stacked(network), matrices())[0], values)


def test_singular_values_are_those_of_scipy_in_the_order_of_the_matrices():
    ours = weights()
    (values,) = singular_values(stacked(ours), matrices())
    for row, matrix in zip(values, [ours["a"], ours["b"][:3], ours["b"][3:], ours["c"]], strict=True):
        expected = np.linalg.svd(matrix.double().numpy(), compute_uv=False)
        np.testing.assert_allclose(row[: len(expected)], expected, rtol=1e-6)
        assert np.isnan(row[len(expected) :]).all()


def test_weights_that_are_not_finite_are_named():
    ours = weights()
    ours["b"][4, 1] = float("nan")
    with pytest.raises(ValueError, match=r"b\.bottom: weights are not finite"):
        singular_values(stacked(ours), matrices())


@pytest.mark.parametrize("shape", [(5, 64, 64), (3, 128, 64), (3, 12, 64), (2, 1, 9), (2, 9, 1)])
def test_a_spectrum_is_scipys_to_float32s_precision(shape):
    matrices = np.random.default_rng(0).standard_normal(shape)
    expected = np.array([scipy.linalg.svdvals(matrix) for matrix in matrices])
    np.testing.assert_allclose(spectrum(matrices), expected, rtol=3e-8)


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 12), st.floats(-150, 150), st.integers(0, 2**32 - 1))
def test_a_small_or_hidden_singular_value_is_as_precise_as_a_large_one(depth, magnitude, seed):
    generator = np.random.default_rng(seed)
    left, _ = np.linalg.qr(generator.standard_normal((12, 12)))
    right, _ = np.linalg.qr(generator.standard_normal((20, 12)))
    values = np.geomspace(1.0, 10.0**-depth, 12)
    matrix = 10.0**magnitude * (left * values) @ right.T
    found = spectrum(matrix[None])[0] / 10.0**magnitude
    np.testing.assert_allclose(found, values, rtol=3e-8, atol=1e-14)


@pytest.mark.parametrize("magnitude", [1.0, 1e-180, 1e180])
def test_a_matrix_without_positive_entries_has_the_spectrum_of_its_negative(magnitude):
    entries = np.random.default_rng(0).random((6, 9)) * magnitude
    entries[:, 0] = 0.0  # so that the largest entry is 0
    stack = np.stack([-entries, entries, -entries - magnitude])
    values = spectrum(stack)
    np.testing.assert_array_equal(values[0], values[1])
    for found, matrix in zip(values, stack, strict=True):
        np.testing.assert_allclose(found / magnitude, scipy.linalg.svdvals(matrix / magnitude), rtol=3e-8)


def test_rank_deficient_and_zero_matrices_have_zeros():
    generator = np.random.default_rng(0)
    outer = np.outer(generator.standard_normal(8), generator.standard_normal(8))
    values = spectrum(np.stack([outer, np.zeros((8, 8))]))
    assert values[0, 0] == pytest.approx(np.linalg.norm(outer), rel=1e-12)
    assert (values[0, 1:] < 1e-14 * values[0, 0]).all()
    assert (values[1] == 0).all()
