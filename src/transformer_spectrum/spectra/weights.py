"""Model weights -> named matrices -> singular values, one batched SVD per shape."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


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

    def of(self, weights: Mapping[str, Tensor]) -> Tensor:
        """The matrix itself, (rows, columns), a view."""
        whole = weights[self.parameter]
        return whole if self.rows is None else whole[self.rows[0] : self.rows[1]]


def singular_values(weights: Mapping[str, Tensor], specs: Sequence[MatrixSpec]) -> np.ndarray:
    """Singular values of all matrices.

    Args:
        weights: parameters by name.
        specs: M matrices.
    Returns:
        (M, R) float32, descending, R the largest rank; NaN behind min(rows, columns) of smaller matrices.
        Computed in float64.
    Raises:
        ValueError: a weight is not finite; the matrix is named.
    """
    by_shape: dict[tuple[int, int], list[int]] = defaultdict(list)
    for i, spec in enumerate(specs):
        by_shape[spec.shape].append(i)
    values = np.full((len(specs), max(min(spec.shape) for spec in specs)), np.nan, dtype=np.float32)
    for shape, members in by_shape.items():
        stack = torch.stack([specs[i].of(weights).detach() for i in members]).cpu().double()
        finite = torch.isfinite(stack).flatten(1).all(1)
        if not finite.all():
            raise ValueError(f"{specs[members[int((~finite).nonzero()[0])]].name}: weights are not finite")
        values[members, : min(shape)] = torch.linalg.svdvals(stack).numpy()
    return values
