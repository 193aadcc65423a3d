"""Shape and decay of a spectrum, each metric a pure function of singular values.

Every function takes (..., r) singular values of matrices of one shape, in any order, float32 or wider, computes
in float64 and returns one value a spectrum, shape (...). All but the two norms ignore the scale of the weights.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

WINDOW_MINIMUM = 3  # a line through two points always fits


class RankDecay(NamedTuple):
    """Line through log s against log rank: its negative slope and how well it fits, each (...)."""

    alpha: np.ndarray
    r_squared: np.ndarray


def checked_spectra(values: np.ndarray, what: str = "singular values") -> np.ndarray:
    """The spectra as float64.

    Raises:
        ValueError: the last axis is empty, or a value is not finite or is negative.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim == 0 or values.shape[-1] == 0:
        raise ValueError(f"{what} need a last axis of at least one value, got shape {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"{what} must be finite")
    if (values < 0).any():
        raise ValueError(f"{what} must not be negative")
    return values


def _relative(singular_values: np.ndarray) -> np.ndarray:
    """Divided by the largest, so that squares can neither overflow nor underflow together."""
    singular_values = checked_spectra(singular_values)
    largest = singular_values.max(axis=-1, keepdims=True)
    if not (largest > 0).all():
        raise ValueError("no singular value is positive")
    return singular_values / largest


def spectral_entropy(singular_values: np.ndarray, *, normalised: bool = False) -> np.ndarray:
    """Shannon entropy of the energy shares: H = -sum_i p_i ln p_i with p_i = s_i^2 / sum_j s_j^2.

    Args:
        singular_values: (..., r) of W, any order, in W's units.
        normalised: divide by ln r, the entropy of equal singular values.
    Returns:
        (...) nats in [0, ln r], or dimensionless in [0, 1] when normalised; unchanged when W is rescaled.
    Raises:
        ValueError: no singular value is positive, or normalised is asked of a single one (ln 1 = 0).
    Source: Roy & Vetterli (2007), EUSIPCO, with the energies s^2 in the place of s.
    """
    relative = _relative(singular_values)
    rank = relative.shape[-1]
    if normalised and rank == 1:
        raise ValueError("a single singular value has no normalised entropy")
    energy = relative**2
    share = energy / energy.sum(axis=-1, keepdims=True)
    entropy = -(share * np.log(np.where(share > 0, share, 1.0))).sum(axis=-1) + 0.0  # + 0.0 turns -0 into 0
    return entropy / math.log(rank) if normalised else entropy


def stable_rank(singular_values: np.ndarray) -> np.ndarray:
    """Rank that ignores small directions: ||W||_F^2 / ||W||_2^2.

    Args:
        singular_values: (..., r) of W, any order, in W's units.
    Returns:
        (...) dimensionless, in [1, r]; unchanged when W is rescaled.
    Raises:
        ValueError: no singular value is positive.
    Source: Rudelson & Vershynin (2007), J. ACM 54(4).
    """
    return (_relative(singular_values) ** 2).sum(axis=-1)


def spectral_norm(singular_values: np.ndarray) -> np.ndarray:
    """Largest singular value: ||W||_2 = max_i s_i.

    Args:
        singular_values: (..., r) of W, any order, in W's units.
    Returns:
        (...) in W's units, >= 0.
    """
    return checked_spectra(singular_values).max(axis=-1)


def frobenius_norm(singular_values: np.ndarray) -> np.ndarray:
    """Root of the energy: ||W||_F = sqrt(sum_i s_i^2).

    Args:
        singular_values: (..., r) of W, any order, in W's units.
    Returns:
        (...) in W's units, >= 0.
    """
    return np.linalg.norm(checked_spectra(singular_values), axis=-1)


def window_ranks(rank: int, window: tuple[float, float]) -> tuple[int, int]:
    """First and last rank, counted from 1, of a window given as fractions of rank.

    (first, last) leaves out the leading round(first * r) ranks and ends with rank round(last * r); halves round up.
    """
    first, last = (math.floor(fraction * rank + 0.5) for fraction in window)
    return first + 1, last


def alpha_exponent(singular_values: np.ndarray, window: tuple[float, float] = (0.0, 1.0)) -> RankDecay:
    """Exponent of s_i ~ i^-alpha: least squares of ln s on ln i over a window of ranks i = 1, 2, ...

    Args:
        singular_values: (..., r) of W, any order, in W's units.
        window: fractions of rank, see `window_ranks`; (0, 0.5) is the larger half.
    Returns:
        alpha, dimensionless, >= 0 (0 for equal values), and R^2 in [0, 1] (1 where all values in the window are
        equal: the flat line is exact). Both unchanged when W is rescaled.
    Raises:
        ValueError: the window holds fewer than 3 ranks, or a singular value that is zero.
    """
    descending = -np.sort(-_relative(singular_values), axis=-1)
    first, last = window_ranks(descending.shape[-1], window)
    if last - first + 1 < WINDOW_MINIMUM:
        raise ValueError(f"ranks {first} to {last}: the window must hold at least {WINDOW_MINIMUM}")
    inside = descending[..., first - 1 : last]
    if not (inside > 0).all():
        raise ValueError(f"ranks {first} to {last}: the window holds a singular value that is zero")
    x = np.log(np.arange(first, last + 1))
    x -= x.mean()
    y = np.log(inside / inside[..., :1])  # exact zeros for equal values
    y = y - y.mean(axis=-1, keepdims=True)
    slope = (y @ x) / (x @ x)
    total = (y**2).sum(axis=-1)
    unexplained = ((y - slope[..., None] * x) ** 2).sum(axis=-1)
    r_squared = 1.0 - np.divide(unexplained, total, out=np.zeros_like(total), where=total > 0)
    return RankDecay(np.maximum(-slope, 0.0), np.clip(r_squared, 0.0, 1.0))
