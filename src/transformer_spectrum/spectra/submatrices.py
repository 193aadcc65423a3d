"""Tail exponents that can be compared across shapes: submatrices of one aspect ratio (FARMS).

Of two matrices of noise the longer one has the narrower spectrum and thus the larger alpha. FARMS (fixed aspect ratio
matrix subsampling) cuts windows of one shape out of every matrix and fits the average of their spectral densities.
Windows must be of one size too if small ones are to be compared: the law of large matrices is not yet exact there.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float64, Int, Real, Shaped
from torch import Tensor

from transformer_spectrum.spectra.metrics import SINGLE_PRECISION, storage_rounding
from transformer_spectrum.spectra.power_law import hill_alpha, hill_count
from transformer_spectrum.spectra.reasons import COMPUTED, CONSTANT_TAIL, SHORT_TAIL
from transformer_spectrum.weights.matrices.matrix import spectrum
from transformer_spectrum.weights.matrices.spectrum_types import PerSpectrum

Matrices = Real[np.ndarray, "*m rows columns"] | Real[Tensor, "*m rows columns"]
"""One or several of one shape."""
EQUAL = 4 * SINGLE_PRECISION  # relative: what `storage_rounding` amounts to where all singular values are equal
ENTRIES = 1 << 21  # entries of windows decomposed at once, those of one matrix at least


class FarmsAlpha(NamedTuple):
    """Hill's alpha of pooled windows.

    Attributes:
        alpha: (m,) exponent of the density, > 1, dimensionless; NaN exactly where `reason` is not empty.
        tail: eigenvalues in the tail, of all windows together; count. Windows overlap: they are not so many
            independent values, and no standard error follows from it.
        reason: (m,) why there is no alpha, or empty text.
    """

    alpha: PerSpectrum
    tail: int
    reason: Shaped[np.ndarray, "*batch"]


def window_shape(shape: tuple[int, int], side: int, aspect: float = 1.0) -> tuple[int, int] | None:
    """Rows and columns of the window, its longer side along the matrix's; None where it does not fit.

    Args:
        shape: rows and columns of the matrix.
        side: the window's shorter side; count, >= 3.
        aspect: longer over shorter side, >= 1; the longer side is round(aspect * side), halves up.
    Raises:
        ValueError: side or aspect is out of range.

    >>> window_shape((64, 32), side=8, aspect=2.0), window_shape((4, 64), side=8)
    ((16, 8), None)
    """
    if side < 3:
        raise ValueError(f"side = {side}: must be >= 3, as Hill's tail of two values and its threshold need")
    if not 1 <= aspect < math.inf:
        raise ValueError(f"aspect = {aspect}: must be finite and >= 1")
    longer = math.floor(aspect * side + 0.5)
    rows, columns = (longer, side) if shape[0] >= shape[1] else (side, longer)
    return (rows, columns) if rows <= shape[0] and columns <= shape[1] else None


def window_starts(length: int, window: int, count: int) -> Int[np.ndarray, " windows"]:
    """First positions of at most `count` windows, evenly from one end to the other.

    Args:
        length: of the matrix's axis; count.
        window: of the window's axis; count, <= length.
        count: >= 1; a single window lies in the middle.
    Returns:
        (min(count, length - window + 1),) whole, rising, from 0 to length - window.

    >>> window_starts(10, window=4, count=3)
    array([0, 3, 6])
    """
    space = length - window
    count = min(count, space + 1)
    if count == 1:
        return np.array([space // 2])
    return np.arange(count) * space // (count - 1)


def farms_eigenvalues(
    matrices: Matrices, *, side: int, aspect: float = 1.0, windows: int = 5
) -> Float64[np.ndarray, "*m pooled"]:
    """Eigenvalues s^2 of all windows of each matrix together: the average of the windows' spectral densities.

    Windows stand on a grid of at most windows x windows places from edge to edge, and overlap in a small matrix. The
    authors' code does the same with 10 x 10 windows, but may leave the last rows and columns out. As elsewhere, a
    singular value not above `metrics.storage_rounding`, here of the window, is rounding of float32 and counts as 0.

    Args:
        matrices: (m, rows, columns) or (rows, columns), W's units.
        side, aspect: of a window, see `window_shape`.
        windows: most windows along either axis; count, >= 1.
    Returns:
        (m, n) or (n,) float64, descending, W's units squared, n = number of windows * side. With aspect 1 unchanged
        when W is transposed; with more, unchanged unless W is square.
    Raises:
        ValueError: a window does not fit, an argument is out of range, an entry is not finite.
    Source: Hu, Goel, Killiakov & Yang (2025), ICML, arXiv:2506.06280.

    >>> farms_eigenvalues(2 * np.eye(6), side=3, windows=2)  # windows at the corners: two of them hold a diagonal
    array([4., 4., 4., 4., 4., 4., 0., 0., 0., 0., 0., 0.])
    """
    stack = torch.as_tensor(matrices).detach().cpu().double().numpy()
    if stack.ndim == 2:
        return farms_eigenvalues(stack[None], side=side, aspect=aspect, windows=windows)[0]
    if stack.ndim != 3 or not stack.size:
        raise ValueError(f"matrices of shape {stack.shape}: must be (m, rows, columns), none of them 0")
    if not np.isfinite(stack).all():
        raise ValueError("matrices must be finite")
    if windows < 1:
        raise ValueError(f"windows = {windows}: must be >= 1")
    window = window_shape(stack.shape[1:], side, aspect)
    if window is None:
        raise ValueError(f"side = {side} with aspect = {aspect}: no such window fits a matrix of {stack.shape[1:]}")
    rows, columns = (window_starts(*sizes, windows) for sizes in zip(stack.shape[1:], window, strict=True))
    views = np.lib.stride_tricks.sliding_window_view(stack, window, axis=(1, 2))  # (m, places, places, *window)
    chunk = max(1, ENTRIES // (len(rows) * len(columns) * math.prod(window)))
    parts = []
    for first in range(0, len(stack), chunk):
        chosen = views[first : first + chunk, rows[:, None], columns]
        parts.append(spectrum(chosen.reshape(-1, *window)))
    values = np.concatenate(parts)  # (m * number of windows, side)
    values[values <= np.asarray(storage_rounding(values, window))[:, None]] = 0.0
    return -np.sort(-(values.reshape(len(stack), -1) ** 2), axis=-1)


def farms_alpha(
    matrices: Matrices, *, side: int, aspect: float = 1.0, windows: int = 5, fraction: float = 0.5
) -> FarmsAlpha:
    """Hill's alpha of the pooled eigenvalues of windows, `power_law.hill_alpha` of `farms_eigenvalues`.

    The paper fits the larger half (PL_Alpha_Hill, k = n / 2). Its code counts the threshold itself into the tail,
    which makes alpha - 1 larger by the factor 1 + 1 / k.

    Args:
        matrices: (m, rows, columns), W's units; a single (rows, columns) gives fields without an axis.
        side, aspect, windows: see `farms_eigenvalues`.
        fraction: of the pooled eigenvalues that are the tail; see `power_law.hill_count`.
    Returns:
        See `FarmsAlpha`; unchanged when W is rescaled.
    Raises:
        ValueError: as `farms_eigenvalues`.

    >>> noise = np.random.default_rng(0).normal(size=(2, 32, 64))
    >>> farms_alpha(noise, side=16).alpha.round(1), farms_alpha(np.eye(32), side=16).reason.item()
    (array([2.1, 2.1]), 'all eigenvalues of the tail are equal')
    """
    eigenvalues = farms_eigenvalues(matrices, side=side, aspect=aspect, windows=windows)
    k = hill_count(eigenvalues.shape[-1], fraction)
    top, threshold = eigenvalues[..., 0], eigenvalues[..., k]
    constant = np.sqrt(top) - np.sqrt(threshold) <= EQUAL * np.sqrt(top)
    reason = np.where(threshold > 0, np.where(constant, CONSTANT_TAIL, COMPUTED), SHORT_TAIL)
    alpha = np.full(reason.shape, np.nan)
    computed = reason == COMPUTED
    if computed.any():
        alpha[computed] = hill_alpha(eigenvalues[computed], k)
    return FarmsAlpha(alpha, k, reason)
