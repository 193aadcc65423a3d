"""Power-law tails of the empirical spectral density (ESD), the eigenvalues s^2 of W^T W.

Both estimators give the exponent of the density p(x) ~ x^-alpha, so their values can be compared. An alpha says
nothing alone: an untrained Gaussian matrix gets one too. Read it beside that null, D and the size of the tail.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from transformer_spectrum.spectra.xmin_scan import scan
from transformer_spectrum.weights.matrices.energy import checked_spectra
from transformer_spectrum.weights.matrices.spectrum_types import PerSpectrum, Spectra, Values

Distance = Literal["two_sided", "powerlaw"]
HILL_MINIMUM = 2


class PowerLawFit(NamedTuple):
    """One fitted tail a spectrum, each (...).

    Attributes:
        alpha: exponent of the density, > 1, dimensionless.
        xmin: the eigenvalue at which the tail begins, itself in the tail; units of eigenvalues.
        distance: Kolmogorov-Smirnov D between tail and fit, in [0, 1].
        tail: eigenvalues >= xmin; count.
    """

    alpha: PerSpectrum
    xmin: PerSpectrum
    distance: PerSpectrum
    tail: PerSpectrum

    @property
    def standard_error(self) -> PerSpectrum:
        """Of alpha for a given xmin: (alpha - 1) / sqrt(tail), dimensionless; the choice of xmin adds to it.

        Source: Clauset, Shalizi & Newman (2009), SIAM Review 51(4), eq. 3.2.
        """
        return (self.alpha - 1.0) / np.sqrt(self.tail)


def hill_count(rank: int, fraction: float) -> int:
    """k, how many of r eigenvalues are the tail: round(fraction * r), halves up, from 2 to r - 1 (at least 2).

    >>> hill_count(64, 0.25), hill_count(4, 0.9), hill_count(2, 0.5)
    (16, 3, 2)
    """
    return max(HILL_MINIMUM, min(math.floor(fraction * rank + 0.5), rank - 1))


def hill_alpha(eigenvalues: Spectra, k: int) -> PerSpectrum:
    """Hill's estimate from the k largest: alpha = 1 + k / sum_{i<=k} ln(x_(i) / x_(k+1)), x descending.

    The 1 turns Hill's index of P(X > x) into the exponent of the density, Clauset's alpha. The threshold is the
    eigenvalue after the k-th, as Hill has it; Clauset's xmin belongs to its own tail.

    Args:
        eigenvalues: (..., n), any order and unit.
        k: size of the tail; count, 1 <= k < n.
    Returns:
        (...) dimensionless, > 1; unchanged when the eigenvalues are rescaled.
    Raises:
        ValueError: k is out of range, fewer than k + 1 eigenvalues are positive, or the largest k + 1 are equal.
    Source: Hill (1975), Ann. Statist. 3(5), eq. 2.2.

    >>> float(hill_alpha(np.array([16.0, 4.0, 2.0]), k=2).round(4))  # 1 + 2 / (ln 8 + ln 2)
    1.7213
    """
    eigenvalues = checked_spectra(eigenvalues, "eigenvalues")
    if not 1 <= k < eigenvalues.shape[-1]:
        raise ValueError(f"k = {k} with {eigenvalues.shape[-1]} eigenvalues: must be 1 <= k < n")
    top = -np.sort(-eigenvalues, axis=-1)[..., : k + 1]
    if not (top[..., k] > 0).all():
        raise ValueError(f"k = {k}: fewer than k + 1 eigenvalues are positive")
    total = np.log(top[..., :k] / top[..., k:]).sum(axis=-1)
    if not (total > 0).all():
        raise ValueError(f"k = {k}: the largest k + 1 eigenvalues are equal")
    return 1.0 + k / total


def hill_standard_error(alpha: PerSpectrum | float, k: Values | int) -> PerSpectrum:
    """Of Hill's estimate for a given k: (alpha - 1) / sqrt(k).

    Args:
        alpha: (...) by `hill_alpha` or `hill_plot`, dimensionless.
        k: size of the tail; count.
    Returns:
        (...) dimensionless; NaN where alpha is.
    Source: Hall (1982), J. R. Statist. Soc. B 44(1), theorem 2: the asymptotic variance of independent values.

    >>> float(hill_standard_error(3.0, k=16))
    0.5
    """
    return (np.asarray(alpha, dtype=np.float64) - 1.0) / np.sqrt(k)


def hill_plot(eigenvalues: Spectra) -> Float[np.ndarray, "*batch rank-1"]:
    """Hill's alpha for every size of the tail: position k - 1 holds `hill_alpha` of k = 1, ..., n - 1.

    Args:
        eigenvalues: (..., n), any order and unit, n >= 2.
    Returns:
        (..., n - 1) dimensionless, > 1; unchanged when the eigenvalues are rescaled. NaN exactly where Hill's
        estimate does not exist: the largest k + 1 eigenvalues are equal, or the (k + 1)-th is zero.
    Raises:
        ValueError: a spectrum has a single eigenvalue.
    Source: Hill (1975), Ann. Statist. 3(5), eq. 2.2; the plot: Drees, de Haan & Resnick (2000), Ann. Statist. 28(1).

    >>> hill_plot(np.array([8.0, 4.0, 2.0, 2.0])).round(4)
    array([2.4427, 1.9618, 2.4427])
    """
    descending = np.sort(checked_spectra(eigenvalues, "eigenvalues"), axis=-1)[..., ::-1]
    n = descending.shape[-1]
    if n < 2:
        raise ValueError("a single eigenvalue has no Hill plot")
    upper, lower = descending[..., :-1], descending[..., 1:]
    k = np.arange(1, n)
    # sum_{i<=k} ln(x_i / x_(k+1)) = sum_{i<=k} i ln(x_i / x_(i+1)): terms >= 0, so that nothing cancels.
    gaps = np.log(np.divide(upper, lower, out=np.ones_like(upper), where=lower > 0))
    total = np.cumsum(k * gaps, axis=-1)
    exists = (lower > 0) & (total > 0)
    return 1.0 + np.divide(k, total, out=np.full_like(total, np.nan), where=exists)


def alpha_hat(alpha: PerSpectrum | float, eigenvalues: Spectra) -> PerSpectrum:
    """Alpha weighted by the scale of the matrix: alpha * log10(largest eigenvalue), WeightWatcher's alpha_weighted.

    Args:
        alpha: (...) exponent of the tail, dimensionless.
        eigenvalues: (..., n) s^2 of W, not divided by its size, any order, in squared units of W.
    Returns:
        (...) dimensionless, of either sign. It depends on the unit of W: a factor c adds 2 alpha log10 c.
    Raises:
        ValueError: alpha is not finite and positive, or no eigenvalue is.
    Source: Martin, Peng & Mahoney (2021), Nature Communications 12, 4122.

    >>> float(alpha_hat(2.5, np.array([100.0, 1.0])))
    5.0
    """
    exponent, _, largest = _weighted(alpha, eigenvalues)
    return exponent * np.log10(largest)


def log_alpha_norm(alpha: PerSpectrum | float, eigenvalues: Spectra) -> PerSpectrum:
    """Logarithm of the alpha-norm: log10(sum_i l_i^alpha), without overflow at any alpha.

    Args:
        alpha: (...) exponent of the tail, dimensionless.
        eigenvalues: (..., n) l = s^2 of W, not divided by its size, any order, in squared units of W.
    Returns:
        (...) dimensionless, of either sign: `alpha_hat` plus a term in [0, log10 n]. It depends on the unit of W.
    Raises:
        ValueError: alpha is not finite and positive, or no eigenvalue is.
    Source: Martin, Peng & Mahoney (2021), Nature Communications 12, 4122.

    >>> float(log_alpha_norm(2.0, np.array([3.0, 1.0])).round(6))  # log10(9 + 1)
    1.0
    """
    exponent, values, largest = _weighted(alpha, eigenvalues)
    relative = values / largest[..., None]
    return exponent * np.log10(largest) + np.log10((relative ** exponent[..., None]).sum(axis=-1))


def _weighted(alpha: PerSpectrum | float, eigenvalues: Spectra) -> tuple[np.ndarray, Spectra, PerSpectrum]:
    """Alpha, eigenvalues and the largest of each spectrum, checked."""
    exponent, values = np.asarray(alpha, dtype=np.float64), checked_spectra(eigenvalues, "eigenvalues")
    if not ((exponent > 0) & np.isfinite(exponent)).all():
        raise ValueError("alpha must be finite and > 0")
    largest = values.max(axis=-1)
    if not (largest > 0).all():
        raise ValueError("no eigenvalue is positive")
    return exponent, values, largest


def clauset_fit(eigenvalues: Spectra, min_tail: int, distance: Distance = "two_sided") -> PowerLawFit:
    """Maximum likelihood above the xmin of smallest KS distance: alpha = 1 + n / sum ln(x / xmin).

    Every distinct positive eigenvalue with at least `min_tail` eigenvalues in its tail, the largest excepted, is
    tried as xmin; of equal distances the smallest xmin wins. Zeros belong to no tail.

    Args:
        eigenvalues: (..., n), any order and unit.
        min_tail: fewest eigenvalues in a tail; count, >= 2.
        distance: with F the fitted and S the empirical distribution function of the tail,
            "two_sided": D = sup_x |F(x) - S(x)|, S right-continuous: both sides of every jump count (Clauset's D);
            "powerlaw": D = max_i |F(x_i) - S(x_i-)|, the left limits (i-1)/n alone, as the powerlaw package 2.0.
            Never larger than the other, and smaller where S overshoots F.
    Returns:
        The fit; alpha, distance and tail are unchanged when the eigenvalues are rescaled.
    Raises:
        ValueError: min_tail < 2, distance is unknown, or a spectrum has no candidate: fewer than min_tail
            eigenvalues are positive, or all that are have one value.
    Source: Clauset, Shalizi & Newman (2009), SIAM Review 51(4), eqs. 3.1 and 3.9.

    >>> quantiles = (1 - (np.arange(500) + 0.5) / 500) ** -0.5  # of the density 2 x^-3, x >= 1
    >>> fit = clauset_fit(quantiles, min_tail=50)
    >>> float(fit.alpha.round(1)), int(fit.tail) > 400
    (3.0, True)
    """
    if min_tail < 2:
        raise ValueError(f"min_tail = {min_tail}: must be >= 2")
    if distance not in ("two_sided", "powerlaw"):
        raise ValueError(f"distance = {distance!r}: must be two_sided or powerlaw")
    eigenvalues = checked_spectra(eigenvalues, "eigenvalues")
    batch, n = eigenvalues.shape[:-1], eigenvalues.shape[-1]
    ascending = np.sort(eigenvalues.reshape(-1, n), axis=-1)
    start, alpha, smallest = scan(ascending, min_tail, distance == "two_sided")
    xmin = ascending[np.arange(len(start)), start]
    return PowerLawFit(*(values.reshape(batch) for values in (alpha, xmin, smallest, n - start)))
