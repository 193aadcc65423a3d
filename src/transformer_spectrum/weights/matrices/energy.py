"""How the energy of a matrix is spread over its singular values: stable rank and spectral entropy.

They are told while a network is trained, so they lie beneath the estimators of `spectra`, whose change trains nothing
anew. Every function takes (..., r) singular values, in any order, float32 or wider, and computes in float64.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float, Shaped

from transformer_spectrum.weights.matrices.spectrum_types import PerSpectrum, Spectra


def checked_spectra(values: Shaped[np.ndarray, "*shape"], name: str = "singular values") -> Float[np.ndarray, "*shape"]:
    """The spectra as float64.

    Raises:
        ValueError: the last axis is empty, or a value is not finite or is negative.

    >>> checked_spectra(np.array([3, 1])).dtype
    dtype('float64')
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim == 0 or values.shape[-1] == 0:
        raise ValueError(f"{name} need a last axis of at least one value, got shape {values.shape}")
    if values.size and not (values.min() >= 0 and values.max() < np.inf):  # NaN is neither
        raise ValueError(f"{name} must {'not be negative' if np.isfinite(values).all() else 'be finite'}")
    return values


def relative_to_largest(singular_values: Spectra) -> Spectra:
    """Divided by the largest, so that squares can neither overflow nor underflow together.

    Raises:
        ValueError: no singular value is positive.

    >>> relative_to_largest(np.array([4.0, 1.0]))
    array([1.  , 0.25])
    """
    singular_values = checked_spectra(singular_values)
    largest = singular_values.max(axis=-1, keepdims=True)
    if not (largest > 0).all():
        raise ValueError("no singular value is positive")
    return singular_values / largest


def square_sum(values: Spectra) -> PerSpectrum:
    """Sum of squares over the last axis in one pass.

    >>> float(square_sum(np.array([3.0, 4.0])))
    25.0
    """
    return np.einsum("...i,...i->...", values, values)


def share_entropy(weights: Spectra) -> PerSpectrum:
    """H = ln W - sum_i w_i ln w_i / W, W = sum_j w_j: the entropy in nats of the shares w_i / W, the largest w 1.

    >>> float(share_entropy(np.array([1.0, 1.0]))) == math.log(2)
    True
    """
    total = weights.sum(axis=-1)
    logs = np.log(np.where(weights > 0, weights, 1.0))  # 0 ln 0 = 0
    # Rounding can leave some 1e-17 below zero; + 0.0 turns -0 into 0.
    return np.maximum(np.log(total) - np.einsum("...i,...i->...", weights, logs) / total, 0.0) + 0.0


def spectral_entropy(singular_values: Spectra, *, normalised: bool = False) -> PerSpectrum:
    """Shannon entropy of the energy shares: H = -sum_i p_i ln p_i with p_i = s_i^2 / sum_j s_j^2.

    Args:
        singular_values: (..., r) of W, any order, in W's units.
        normalised: divide by ln r, the entropy of equal singular values.
    Returns:
        (...) nats in [0, ln r], or dimensionless in [0, 1] when normalised; unchanged when W is rescaled.
    Raises:
        ValueError: no singular value is positive, or normalised is asked of a single one (ln 1 = 0).
    Source: Roy & Vetterli (2007), EUSIPCO, with the energies s^2 in the place of s.

    >>> two_equal, four_equal = np.array([1.0, 1.0, 0.0, 0.0]), np.ones(4)
    >>> float(spectral_entropy(two_equal, normalised=True)), float(spectral_entropy(four_equal, normalised=True))
    (0.5, 1.0)
    """
    relative = relative_to_largest(singular_values)
    rank = relative.shape[-1]
    if normalised and rank == 1:
        raise ValueError("a single singular value has no normalised entropy")
    entropy = share_entropy(relative**2)
    return entropy / math.log(rank) if normalised else entropy


def stable_rank(singular_values: Spectra) -> PerSpectrum:
    """Rank that ignores small directions: ||W||_F^2 / ||W||_2^2.

    Args:
        singular_values: (..., r) of W, any order, in W's units.
    Returns:
        (...) dimensionless, in [1, r]; unchanged when W is rescaled.
    Raises:
        ValueError: no singular value is positive.
    Source: Rudelson & Vershynin (2007), J. ACM 54(4).

    >>> stable_rank(np.array([[2.0, 1.0, 1.0], [1.0, 1.0, 1.0]]))
    array([1.5, 3. ])
    """
    return square_sum(relative_to_largest(singular_values))
