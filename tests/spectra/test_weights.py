"""Singular values of named matrices."""

import numpy as np
import pytest
import torch

from transformer_spectrum.spectra.weights import MatrixSpec, singular_values


def specs() -> list[MatrixSpec]:
    return [
        MatrixSpec("a", "x", "a", None, (6, 4)),
        MatrixSpec("b.top", "x", "b", (0, 3), (3, 3)),
        MatrixSpec("b.bottom", "x", "b", (3, 6), (3, 3)),
        MatrixSpec("c", "x", "c", None, (6, 4)),
    ]


def weights() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(6, 4 if name != "b" else 3, generator=generator) for name in "abc"}


def test_singular_values_are_those_of_scipy_in_the_order_of_the_specs():
    ours = weights()
    values = singular_values(ours, specs())
    for row, matrix in zip(values, [ours["a"], ours["b"][:3], ours["b"][3:], ours["c"]], strict=True):
        expected = np.linalg.svd(matrix.double().numpy(), compute_uv=False)
        np.testing.assert_allclose(row[: len(expected)], expected, rtol=1e-6)
        assert np.isnan(row[len(expected) :]).all()


def test_weights_that_are_not_finite_are_named():
    ours = weights()
    ours["b"][4, 1] = float("nan")
    with pytest.raises(ValueError, match=r"b\.bottom: weights are not finite"):
        singular_values(ours, specs())
