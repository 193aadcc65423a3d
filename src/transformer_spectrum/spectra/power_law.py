"""Power-law tails of the empirical spectral density (ESD), the eigenvalues s^2 of W^T W.

Both estimators give the exponent of the density p(x) ~ x^-alpha, so their values can be compared. An alpha says
nothing alone: an untrained Gaussian matrix gets one too. Read it beside that null, D and the size of the tail.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np

from transformer_spectrum.spectra.metrics import checked_spectra

Distance = Literal["two_sided", "powerlaw"]
HILL_MINIMUM = 2
CELLS = 1 << 17  # float64 numbers in a working array: 1 MiB, which stays in a core's cache


class PowerLawFit(NamedTuple):
    """One fitted tail a spectrum, each (...).

    Attributes:
        alpha: exponent of the density, > 1, dimensionless.
        xmin: the eigenvalue at which the tail begins, itself in the tail; units of eigenvalues.
        distance: Kolmogorov-Smirnov D between tail and fit, in [0, 1].
        tail: eigenvalues >= xmin; count.
    """

    alpha: np.ndarray
    xmin: np.ndarray
    distance: np.ndarray
    tail: np.ndarray


def hill_count(rank: int, fraction: float) -> int:
    """k, how many of r eigenvalues are the tail: round(fraction * r), halves up, from 2 to r - 1 (at least 2)."""
    return max(HILL_MINIMUM, min(math.floor(fraction * rank + 0.5), rank - 1))


def hill_alpha(eigenvalues: np.ndarray, k: int) -> np.ndarray:
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


def clauset_fit(eigenvalues: np.ndarray, min_tail: int, distance: Distance = "two_sided") -> PowerLawFit:
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
    """
    if min_tail < 2:
        raise ValueError(f"min_tail = {min_tail}: must be >= 2")
    if distance not in ("two_sided", "powerlaw"):
        raise ValueError(f"distance = {distance!r}: must be two_sided or powerlaw")
    eigenvalues = checked_spectra(eigenvalues, "eigenvalues")
    batch, n = eigenvalues.shape[:-1], eigenvalues.shape[-1]
    ascending = np.sort(eigenvalues.reshape(-1, n), axis=-1)
    start, alpha, smallest = _scan(ascending, min_tail, distance)
    if not np.isfinite(smallest).all():
        raise ValueError(f"no xmin: fewer than min_tail = {min_tail} eigenvalues are positive, or all are equal")
    xmin = np.take_along_axis(ascending, start[:, None], axis=-1)[:, 0]
    return PowerLawFit(*(np.reshape(values, batch) for values in (alpha, xmin, smallest, n - start)))


def _scan(ascending: np.ndarray, min_tail: int, distance: Distance) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Best xmin of each of B spectra (B, n): position, alpha, D; D is inf where no candidate exists."""
    spectra, n = ascending.shape
    start, alpha, smallest = np.zeros(spectra, dtype=int), np.full(spectra, np.nan), np.full(spectra, np.inf)
    rows = max(1, min(spectra, CELLS // n))
    columns = max(1, min(n, CELLS // (rows * n), 16))
    rows = max(1, CELLS // (columns * n))
    for row in range(0, spectra, rows):
        part = slice(row, row + rows)
        logs, first, exponents = _candidates(ascending[part])
        for left in range(0, n - min_tail + 1, columns):
            right = min(left + columns, n - min_tail + 1)
            distances = _distances(logs, first, exponents, left, right, distance)  # (rows, candidates)
            best = distances.argmin(axis=-1)
            found = np.take_along_axis(distances, best[:, None], axis=-1)[:, 0]
            better = found < smallest[part]
            start[part] = np.where(better, left + best, start[part])
            smallest[part] = np.where(better, found, smallest[part])
        position = start[part][:, None]
        alpha[part] = 1.0 + np.take_along_axis(exponents, position, axis=-1)[:, 0]
    return start, alpha, smallest


def _candidates(ascending: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of (B, n) spectra: logs, position of the first equal value, and alpha - 1 above each value (NaN: no xmin)."""
    n = ascending.shape[-1]
    positive = ascending > 0
    largest = ascending[:, -1:]
    ratio = np.divide(ascending, largest, out=np.zeros_like(ascending), where=positive)
    logs = np.log(np.maximum(ratio, np.finfo(np.float64).smallest_subnormal))  # zeros stay below every xmin
    fresh = np.ones_like(positive)
    fresh[:, 1:] = ascending[:, 1:] > ascending[:, :-1]
    first = np.maximum.accumulate(np.where(fresh, np.arange(n), 0), axis=-1)
    tail = n - np.arange(n)
    total = np.cumsum(logs[:, ::-1], axis=-1)[:, ::-1] - tail * logs  # sum of ln(x / xmin) above each value
    usable = positive & fresh & (ascending < largest) & (total > 0)
    exponents = np.divide(tail, total, out=np.full_like(total, np.nan), where=usable)  # eq. 3.1
    return logs, first, exponents


def _distances(
    logs: np.ndarray, first: np.ndarray, exponents: np.ndarray, left: int, right: int, distance: Distance
) -> np.ndarray:
    """D of the candidates left <= i < right, (B, right - left); inf where a value is no candidate."""
    n = logs.shape[-1]
    candidate = np.arange(left, right)[:, None]
    tail = n - candidate
    steep = exponents[:, left:right, None]
    usable = np.isfinite(steep)
    # Below xmin both distribution functions are 0 and D gains nothing.
    above = np.maximum(logs[:, None, left:] - logs[:, left:right, None], 0.0)  # (B, candidates, n - left)
    fitted = -np.expm1(np.where(usable, -steep, 0.0) * above)
    before = np.maximum(first[:, None, left:] - candidate, 0) / tail  # S just below each value
    worst = fitted - before
    if distance == "powerlaw":
        worst = np.abs(worst).max(axis=-1)
    else:
        after = np.maximum(np.arange(left + 1, n + 1) - candidate, 0) / tail  # S at each value
        worst = np.maximum(worst, after - fitted).max(axis=-1)
    return np.where(usable[..., 0], worst, np.inf)
