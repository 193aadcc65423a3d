"""Whether a change goes where the initial matrix is already strong: overlap of leading singular subspaces."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float64, Num, Shaped
from torch import Tensor

from transformer_spectrum.spectra.metrics import SINGLE_PRECISION, storage_rounding
from transformer_spectrum.spectra.reasons import COMPUTED

Matrices = Num[np.ndarray, "m rows columns"] | Num[Tensor, "m rows columns"]
"""Several of one shape."""
NO_CHANGE = "the change is zero"
LOW_RANK_CHANGE = "fewer than k singular values of the change are above rounding"
LOW_RANK_INITIAL = "fewer than k singular values of the initial matrix are above rounding"
NO_GAP = "the k-th singular value equals the next: the leading subspace is not defined"
EQUAL = 1e-12  # gap below it, in largest singular values: what float64 leaves of equal ones


class SubspaceOverlap(NamedTuple):
    """How much of the leading subspaces of two matrices is common, of m pairs each (m,).

    Attributes:
        left: of the spaces of outputs (rows), in [0, 1]: 1 where they are the same, 0 where they are orthogonal; NaN
            exactly where `reason` is not empty. See `random_overlap` for what two random ones have.
        right: of the spaces of inputs (columns), likewise.
        reason: why there is none, or empty text.
    """

    left: Float64[np.ndarray, " m"]
    right: Float64[np.ndarray, " m"]
    reason: Shaped[np.ndarray, " m"]


class RandomOverlap(NamedTuple):
    """Overlap of a fixed and a uniformly random subspace of k dimensions.

    Attributes:
        mean: k / n, in (0, 1].
        standard_deviation: >= 0; 0 where k = n, as both then are the whole space.
    """

    mean: float
    standard_deviation: float


def random_overlap(dimensions: int, k: int) -> RandomOverlap:
    """Mean k / n and standard deviation (n - k) / n sqrt(2 / ((n - 1) (n + 2))) of |U^T V|_F^2 / k.

    U holds k orthonormal columns and V is uniform among those. |U^T V|_F^2 = tr(P Q) of two projections, Q = O Q_0 O^T
    with O uniform among the orthogonal matrices. So E Q = (k / n) I, and the symmetric traceless P - (k / n) I, of the
    square norm k (n - k) / n, is turned within the irreducible space of such matrices, of (n - 1) (n + 2) / 2
    dimensions: Var tr(P Q) = (k (n - k) / n)^2 / ((n - 1) (n + 2) / 2). For k = 1 it is the variance of
    Beta(1/2, (n - 1)/2), the law of a squared cosine.

    Args:
        dimensions: n of the space, the rows for left and the columns for right singular vectors; count, >= 1.
        k: of both subspaces; count, 1 <= k <= n.
    Raises:
        ValueError: k is outside.

    >>> random_overlap(64, 4).mean, round(random_overlap(64, 4).standard_deviation, 4)
    (0.0625, 0.0206)
    """
    if not 1 <= k <= dimensions:
        raise ValueError(f"k = {k} of {dimensions} dimensions: must be from 1 to {dimensions}")
    if k == dimensions:
        return RandomOverlap(1.0, 0.0)
    spread = (dimensions - k) / dimensions * np.sqrt(2 / ((dimensions - 1) * (dimensions + 2)))
    return RandomOverlap(k / dimensions, float(spread))


def subspace_overlap(initial: Matrices, change: Matrices, k: int, *, eps: float = SINGLE_PRECISION) -> SubspaceOverlap:
    """Overlap |U_k(change)^T U_k(W_0)|_F^2 / k of the top-k left singular subspaces, and of the right ones.

    It is the mean squared cosine of the k principal angles between the subspaces, whatever bases they have.

    Args:
        initial: W_0, (m, rows, columns), W's units.
        change: W - W_0, the same shape and units.
        k: dimensions of the subspaces; count, >= 1.
        eps: relative rounding of the entries of W_0 and W, by default float32's. A singular value of the change below
            what it does to W_0 (`metrics.storage_rounding`) is rounding, and its vectors are noise.
    Returns:
        See `SubspaceOverlap`; unchanged when either matrix is rescaled above rounding, or both are turned alike.
        `reason` is the first that holds: no change, a rank below k of the change or of W_0, a tie at k in either.
    Raises:
        ValueError: k < 1, not three axes, one of them empty, different shapes, or an entry that is not finite.

    >>> initial = np.diag([3.0, 2.0, 1.0])[None]
    >>> same, across = subspace_overlap(initial, 0.1 * initial, 2), subspace_overlap(initial, initial[:, ::-1], 2)
    >>> same.left.round(9), across.left.round(9), across.right.round(9)
    (array([1.]), array([0.5]), array([1.]))
    >>> subspace_overlap(initial, 0 * initial, 2).reason.item()
    'the change is zero'
    """
    if k < 1:
        raise ValueError(f"k = {k}: must be >= 1")
    start, step = (_checked(matrices) for matrices in (initial, change))
    if start.shape != step.shape:
        raise ValueError(f"initial matrices of shape {tuple(start.shape)} with changes of {tuple(step.shape)}")
    shape = start.shape[1], start.shape[2]
    (left, values, right), (left_step, values_step, right_step) = (
        torch.linalg.svd(matrices, full_matrices=False) for matrices in (start, step)
    )
    weights, changes = values.numpy(), values_step.numpy()
    rounding = storage_rounding(weights, shape, eps)
    reason = _reasons(weights, changes, np.asarray(rounding), k)
    computed = reason == COMPUTED
    cosines = left_step[:, :, :k].mH @ left[:, :, :k], right_step[:, :k] @ right[:, :k].mH
    of_left, of_right = (torch.linalg.matrix_norm(matrices).square().numpy() / k for matrices in cosines)
    return SubspaceOverlap(np.where(computed, of_left, np.nan), np.where(computed, of_right, np.nan), reason)


def _checked(matrices: Matrices) -> Tensor:
    """In double precision on the CPU."""
    stack = torch.as_tensor(matrices if isinstance(matrices, Tensor) else np.ascontiguousarray(matrices)).detach().cpu()
    stack = stack.to(torch.complex128 if stack.is_complex() else torch.float64)
    if stack.ndim != 3 or not stack.numel():
        raise ValueError(f"matrices of shape {tuple(stack.shape)}: must be (m, rows, columns), none of them 0")
    if not torch.isfinite(stack).all():
        raise ValueError("matrices must be finite")
    return stack


def _reasons(weights: np.ndarray, changes: np.ndarray, rounding: np.ndarray, k: int) -> np.ndarray:
    """(m,) reasons from the singular values (m, r) of W_0 and of the change."""
    rank = weights.shape[1]

    def low(values: np.ndarray) -> np.ndarray:
        return values[:, k - 1] <= rounding if k <= rank else np.ones(len(values), dtype=bool)

    def tied(values: np.ndarray) -> np.ndarray:
        return values[:, k - 1] - values[:, k] <= EQUAL * values[:, 0] if k < rank else np.zeros(len(values), bool)

    excluded = [
        (NO_CHANGE, changes[:, 0] == 0),
        (LOW_RANK_CHANGE, low(changes)),
        (LOW_RANK_INITIAL, low(weights)),
        (NO_GAP, tied(changes) | tied(weights)),
    ]
    reason = np.full(len(weights), COMPUTED, dtype=f"U{max(len(name) for name, _ in excluded)}")
    for name, mask in reversed(excluded):
        reason[mask] = name
    return reason
