"""Model weights -> named matrices -> singular values, one batched decomposition per shape."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

Array = TypeVar("Array", Tensor, np.ndarray)


@dataclass(frozen=True)
class MatrixSpec:
    """Where a named weight matrix lies.

    Attributes:
        name: such as "encoder.0.self_attention.query" or "decoder.1.state.forget_gate".
        family: what it is for; matrices are averaged within a family.
        parameter: name of the parameter that holds it.
        rows: (first, last) rows of the parameter that form it; None = all.
        shape: rows and columns.
    """

    name: str
    family: str
    parameter: str
    rows: tuple[int, int] | None
    shape: tuple[int, int]

    def of(self, weights: Mapping[str, Array]) -> Array:
        """The matrix itself, (rows, columns), a view."""
        whole = weights[self.parameter]
        return whole if self.rows is None else whole[self.rows[0] : self.rows[1]]


GRAM_LIMIT = 1e-8
"""Smallest over largest eigenvalue down to which those of W^T W in float64 give s to float32's precision."""


def spectrum(matrices: np.ndarray) -> np.ndarray:
    """Singular values of a batch of matrices of one shape, to a relative precision of about 1e-8.

    From the eigenvalues of the smaller of W^T W and W W^T in float64, a quarter cheaper than an SVD. Their absolute
    error is about eps * s_max^2, so matrices with s_min / s_max below 1e-4 get an SVD instead.

    Args:
        matrices: (B, m, n), finite, any floating or complex type.
    Returns:
        (B, min(m, n)) float64, descending, >= 0.
    """
    # By torch, because numpy's threads are not ours to set, and two of them on small matrices are tens of times slower.
    double = np.complex128 if np.iscomplexobj(matrices) else np.float64
    wide = torch.from_numpy(np.asarray(matrices, dtype=double))
    if wide.shape[1] > wide.shape[2]:
        wide = wide.mT
    # Divided by the largest entry, so that squares can neither overflow nor underflow.
    scale = wide.abs().amax(dim=(1, 2), keepdim=True)
    wide = wide / torch.where(scale > 0, scale, 1.0)
    eigenvalues = torch.linalg.eigvalsh(wide @ wide.mH).flip(1)
    values = eigenvalues.clamp(min=0.0).sqrt()
    poor = (eigenvalues[:, -1] < GRAM_LIMIT * eigenvalues[:, 0]).nonzero()[:, 0]
    if len(poor):
        values[poor] = torch.linalg.svdvals(wide[poor])
    return (values * scale[:, :, 0]).numpy()


def singular_values(weights: Mapping[str, Tensor], specs: Sequence[MatrixSpec]) -> np.ndarray:
    """Singular values of all matrices.

    Args:
        weights: parameters by name.
        specs: M matrices.
    Returns:
        (M, R) float32, descending, R the largest rank; NaN behind min(rows, columns) of smaller matrices.
        See `spectrum`.
    Raises:
        ValueError: a weight is not finite; the matrix is named.
    """
    by_shape: dict[tuple[int, int], list[int]] = defaultdict(list)
    for i, spec in enumerate(specs):
        by_shape[min(spec.shape), max(spec.shape)].append(i)
    values = np.full((len(specs), max(min(spec.shape) for spec in specs)), np.nan, dtype=np.float32)
    for (smaller, larger), members in by_shape.items():
        matrices = [specs[i].of(weights).detach() for i in members]
        # Decomposed on the CPU: small symmetric problems are no work for a GPU.
        stack = torch.stack([matrix if matrix.shape == (smaller, larger) else matrix.mT for matrix in matrices]).cpu()
        finite = torch.isfinite(stack).flatten(1).all(1)
        if not finite.all():
            raise ValueError(f"{specs[members[int((~finite).nonzero()[0])]].name}: weights are not finite")
        values[members, :smaller] = spectrum(stack.double().numpy())
    return values
