"""How the directions of the changes lie to those of the initial matrices, at the tracked steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from transformer_spectrum.spectra.overlap import subspace_overlap
from transformer_spectrum.weights.matrices.shapes import by_shape

NARROW = "the matrix has fewer singular vectors than are compared"


@dataclass(frozen=True)
class Overlaps:
    """Of M matrices at one step.

    Attributes:
        rank: k, how many leading singular vectors are compared.
        left: (M,) overlap of the top-k left singular subspaces of W_t - W_0 and W_0, in [0, 1]; NaN exactly where
            `reason` is not empty. Random subspaces of n dimensions have k / n, see `overlap.random_overlap`.
        right: (M,) the same of the right ones.
        reason: (M,) text.
    """

    rank: int
    left: np.ndarray
    right: np.ndarray
    reason: np.ndarray


def overlaps_at(initial: Sequence[np.ndarray], changes: Sequence[np.ndarray], rank: int) -> Overlaps:
    """The overlaps at one step.

    Args:
        initial: W_0, M matrices.
        changes: W_t - W_0.
        rank: of the subspaces; count, >= 1.

    >>> diagonal = np.diag([3.0, 2.0, 1.0])
    >>> overlaps_at([diagonal], [0.1 * diagonal], 2).left.round(6).tolist()
    [1.0]
    """
    left, right = (np.full(len(initial), np.nan) for _ in range(2))
    reason = np.full(left.shape, NARROW, dtype=object)
    for shape, positions in by_shape((matrix.shape for matrix in initial), oriented=True).items():
        if min(shape) >= rank:
            start, change = (np.stack([stack[i] for i in positions]) for stack in (initial, changes))
            overlap = subspace_overlap(start, change, rank)
            left[positions], right[positions], reason[positions] = overlap
    return Overlaps(rank, left, right, reason)
