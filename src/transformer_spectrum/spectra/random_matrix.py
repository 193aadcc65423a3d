"""What a matrix of independent entries would have for a spectrum: Marchenko-Pastur bulk, and spikes above it.

Convention: N = max(rows, columns), M = min(rows, columns), eigenvalues x = s^2 of W^T W, not divided by N. Entries
of mean 0 and variance v then fill [v (sqrt N - sqrt M)^2, v (sqrt N + sqrt M)^2] = N v (1 -+ 1/sqrt Q)^2, Q = N / M.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Integer

from transformer_spectrum.spectra.tracy_widom import edge_over_mean
from transformer_spectrum.spectra.tracy_widom import tracy_widom_cdf as tracy_widom_cdf
from transformer_spectrum.spectra.tracy_widom import tracy_widom_quantile as tracy_widom_quantile
from transformer_spectrum.weights.matrices.energy import checked_spectra
from transformer_spectrum.weights.matrices.spectrum_types import FlagPerSpectrum, PerSpectrum, Spectra, Values

Shape = tuple[int, int] | Integer[np.ndarray, "2"]
"""Rows and columns."""
MASKED = 3  # spikes that the median must find beyond the sequence before the sequence counts as masked


class BulkFit(NamedTuple):
    """Noise part of a spectrum and what exceeds it, each (...).

    Attributes:
        variance: of the entries that make the bulk; W's units squared, > 0. It and all others but `spikes` are NaN
            where the count is `bounded`: what is left below is no bulk, and every one of them would rest on it.
        lower_edge, upper_edge: support of the bulk, of an (N - spikes) x (M - spikes) matrix; units of eigenvalues.
        tracy_widom_edge: what the largest eigenvalue of the bulk exceeds with probability 1 - level.
        spikes: eigenvalues above it; count, from 0 to floor(r / 2). At least so many where `bounded`.
        soft_rank: upper_edge / largest eigenvalue, > 0: near 0 when spikes dominate, a little above 1 for noise,
            whose largest eigenvalue lies below the limit of large matrices. Not cut at 1: that would hide its spread.
        distance: Kolmogorov-Smirnov D between the eigenvalues that are no spikes and the law of the bulk, in [0, 1].
        bounded: bool; the search stopped at floor(r / 2) spikes, and the next eigenvalue is above the edge as well.
    """

    variance: PerSpectrum
    lower_edge: PerSpectrum
    upper_edge: PerSpectrum
    tracy_widom_edge: PerSpectrum
    spikes: PerSpectrum
    soft_rank: PerSpectrum
    distance: PerSpectrum
    bounded: FlagPerSpectrum


# -- Marchenko-Pastur ------------------------------------------------------------------------------------------
def mp_support(shape: Shape, variance: float | Values = 1.0) -> tuple[Values, Values]:
    """Ends of the bulk: variance (sqrt N -+ sqrt M)^2.

    Args:
        shape: rows and columns in any order, each >= 1.
        variance: (...) of the entries, W's units squared, > 0.
    Returns:
        Lower and upper end, each (...), units of eigenvalues; the lower one is 0 for a square matrix.
    Source: Marchenko & Pastur (1967), Math. USSR-Sbornik 1(4).

    >>> tuple(float(end) for end in mp_support((4, 1)))  # (2 -+ 1)^2
    (1.0, 9.0)
    """
    large, small = _dimensions(shape)
    variances = np.asarray(variance, dtype=np.float64)
    return variances * _edge(large, small, -1), variances * _edge(large, small, +1)


def mp_density(eigenvalues: Values, shape: Shape, variance: float = 1.0) -> Values:
    """Density of one of the M eigenvalues: sqrt((b - x)(x - a)) / (2 pi M variance x) on [a, b] = `mp_support`.

    Args:
        eigenvalues: any shape, units of eigenvalues.
        shape: rows and columns in any order, each >= 1.
        variance: of the entries, W's units squared, > 0.
    Returns:
        As eigenvalues, per unit of eigenvalues, >= 0; infinite at x = 0 for a square matrix; integral 1.
    Source: Marchenko & Pastur (1967).

    >>> mp_density(np.array([0.5, 4.0]), (4, 1)).round(4)
    array([0.    , 0.1541])
    """
    _, small = _dimensions(shape)
    lower, upper = mp_support(shape, variance)
    x = np.asarray(eigenvalues, dtype=np.float64)
    inside = (x >= lower) & (x <= upper)
    root = np.sqrt(np.where(inside, (upper - x) * (x - lower), 0.0))
    density = np.divide(root, 2 * np.pi * small * variance * x, out=np.zeros_like(x), where=inside & (x > 0))
    return np.where(inside & (x == 0), np.inf, density)


def mp_cdf(eigenvalues: Values, shape: Shape, variance: float = 1.0) -> Values:
    """Share of the bulk below x, in closed form.

    With y = M / N and the angle t in [0, pi] of x = variance N (1 + y - 2 sqrt(y) cos t), the integral of
    `mp_density` is F = [2 sqrt(y) sin t + (1 + y) t - 2 (1 - y) u] / (2 pi y), where
    tan u = (1 + sqrt y) / (1 - sqrt y) tan(t / 2).

    Args:
        eigenvalues: any shape, units of eigenvalues.
        shape: rows and columns in any order, each >= 1.
        variance: of the entries, W's units squared, > 0.
    Returns:
        As eigenvalues, in [0, 1]; 0 below the support, 1 above it.

    >>> mp_cdf(np.array([1.0, 4.0, 9.0]), (4, 1)).round(4)
    array([0.    , 0.5534, 1.    ])
    """
    large, small = _dimensions(shape)
    return _cdf(np.asarray(eigenvalues, dtype=np.float64) / variance, large, small)


def mp_quantile(probability: Values, shape: Shape, variance: float = 1.0) -> Values:
    """Inverse of `mp_cdf`, by bisection of the angle down to float64's spacing.

    Args:
        probability: any shape, in [0, 1].
        shape: rows and columns in any order, each >= 1.
        variance: of the entries, W's units squared, > 0.
    Returns:
        As probability, units of eigenvalues.
    Raises:
        ValueError: a probability is outside [0, 1].

    >>> mp_quantile(np.array([0.0, 1.0]), (4, 1))
    array([1., 9.])
    """
    large, small = _dimensions(shape)
    target = np.asarray(probability, dtype=np.float64)
    if not ((target >= 0) & (target <= 1)).all():
        raise ValueError("probability must lie in [0, 1]")
    below, above = np.zeros_like(target), np.full_like(target, np.pi / 2)
    for _ in range(54):
        half = (below + above) / 2
        left = _cdf_at(np.sin(half), np.cos(half), half, small / large) < target
        below, above = np.where(left, half, below), np.where(left, above, half)
    # x = a + (b - a) sin^2(t / 2): exact near both ends, where the cosine of t would cancel
    return variance * (_edge(large, small, -1) + 4 * math.sqrt(large * small) * np.sin((below + above) / 2) ** 2)


def _dimensions(shape: Shape) -> tuple[int, int]:
    """N and M."""
    rows, columns = (int(n) for n in shape)
    if min(rows, columns) < 1:
        raise ValueError(f"shape = {(rows, columns)}: must be at least 1 x 1")
    return max(rows, columns), min(rows, columns)


def _edge(large: Values | int, small: Values | int, sign: int) -> Values:
    return (np.sqrt(large) + sign * np.sqrt(small)) ** 2


def _cdf(unit: Values, large: Values | int, small: Values | int) -> Values:
    """Cdf of eigenvalues of entries of variance 1; the dimensions may differ from spectrum to spectrum."""
    lower, upper = _edge(large, small, -1), _edge(large, small, +1)
    from_left, from_right = np.maximum(unit - lower, 0.0), np.maximum(upper - unit, 0.0)
    width = upper - lower
    sine, cosine = np.sqrt(np.minimum(from_left / width, 1.0)), np.sqrt(np.minimum(from_right / width, 1.0))
    return _cdf_at(sine, cosine, np.arctan2(sine, cosine), small / large)


def _cdf_at(sine: Values, cosine: Values, half: Values, y: Values | float) -> Values:
    """Cdf from sine and cosine of t / 2, and t / 2; see `mp_cdf`."""
    root = np.sqrt(y)
    steep = np.arctan2((1 + root) * sine, (1 - root) * cosine)
    total = 4 * root * sine * cosine + 2 * (1 + y) * half - 2 * (1 - y) * steep
    return np.clip(total / (2 * np.pi * y), 0.0, 1.0)


# -- bulk and spikes -------------------------------------------------------------------------------------------
@lru_cache(maxsize=256)
def _table(large: int, small: int, level: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Of k = 0, ..., floor(M / 2) spikes: free entries, edge over the mean square; and the median of the bulk."""
    k = np.arange(small // 2 + 1)
    free = (large - k) * (small - k)
    edge = edge_over_mean(large - k, small - k, level)
    free.flags.writeable = edge.flags.writeable = False
    return free, edge, float(mp_quantile(np.array(0.5), (large, small)))


def has_bulk(singular_values: Spectra) -> FlagPerSpectrum:
    """Whether `fit_bulk` can fit: at least two singular values, and more than half of them positive.

    Args:
        singular_values: (..., r), any order.
    Returns:
        (...) bool.

    >>> bool(has_bulk(np.array([2.0, 1.0, 0.0]))), bool(has_bulk(np.array([2.0, 0.0, 0.0])))
    (True, False)
    """
    values = checked_spectra(singular_values)
    return (values.shape[-1] >= 2) & (2 * (values > 0).sum(axis=-1) > values.shape[-1])


def fit_bulk(singular_values: Spectra, shape: Shape, level: float = 0.99) -> BulkFit:
    """Variance of the bulk and the spikes above it, v_k = sum_{i>k} x_i / ((N - k)(M - k)), x descending.

    k spikes take k dimensions from either side and leave (N - k)(M - k) free entries. k is the first count whose
    next eigenvalue is not above the Tracy-Widom edge of v_k, so that noise gets a spike with probability
    1 - level. Many spikes of one size (a quarter of a square matrix) raise v_0 until they hide themselves:
    where the edge of the median-matched variance x_median / `mp_quantile`(1/2) shows at least three spikes more,
    the search goes on from those. At most floor(r / 2) spikes: the bulk is the majority. Where the next eigenvalue
    still is above the edge, that count is the bound of the search and no estimate: `BulkFit.bounded` says so.
    v_k has half the spread of the median-matched variance at 64 x 64 and, unlike it, no bias from clear spikes.
    The rate of false spikes is 1 - level for Gaussian entries, lower for entries of lighter tails (0.4 for 1 % where
    they are uniform), and lower where a side is below about eight (none at 4 x 4 for the default level).

    Args:
        singular_values: (..., r) of W, any order, in W's units.
        shape: rows and columns of W in any order; the smaller is r.
        level: probability that noise has no spike; 0.5 <= level < 1.
    Returns:
        The fit; soft_rank, spikes, distance and bounded are unchanged when W is rescaled or transposed.
    Raises:
        ValueError: shape does not fit r, level is outside, there is one singular value only, or at least half of
            them are zero: see `has_bulk`.
    Source: Kritchman & Nadler (2009), IEEE Trans. Signal Process. 57(10); soft rank: Martin & Mahoney (2021),
        JMLR 22(165), as WeightWatcher's mp_softrank.

    >>> noise = np.linalg.svd(np.random.default_rng(0).normal(size=(64, 64)), compute_uv=False)
    >>> int(fit_bulk(noise, (64, 64)).spikes), int(fit_bulk(np.append(noise[1:], 40.0), (64, 64)).spikes)
    (0, 1)
    """
    values = checked_spectra(singular_values)
    large, small = _dimensions(shape)
    if values.shape[-1] != small:
        raise ValueError(f"{values.shape[-1]} singular values with shape {tuple(shape)}: must be as many as {small}")
    if small < 2:
        raise ValueError("a single singular value has no bulk")
    if not has_bulk(values).all():
        raise ValueError("no bulk: at least half of the singular values are zero")
    batch = values.shape[:-1]
    ascending = np.sort(values.reshape(-1, small), axis=-1)
    largest = ascending[:, -1:]
    ascending = (ascending / largest) ** 2  # relative: squares can neither overflow nor underflow together
    free, edge, median = _table(large, small, level)
    total = np.cumsum(ascending, axis=-1)[:, : -len(free) - 1 : -1]  # (B, K): sum of all but the k largest
    variances = total / free
    spikes, bounded = _count(ascending, variances * edge, np.median(ascending, axis=-1) / median * edge[0])
    chosen = spikes[:, None]
    variance = np.take_along_axis(variances, chosen, axis=-1)
    lower, upper = (variance * _edge(large - chosen, small - chosen, sign) for sign in (-1, +1))
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):  # squares beyond float64; a bulk of variance 0
        distance = _distance(ascending / variance, large, small, chosen)
        square = largest**2
        of_bulk = (
            variance * square,
            lower * square,
            upper * square,
            variance * square * edge[chosen],
            upper,  # the largest eigenvalue is 1
            distance[:, None],
        )
    variance, lower, upper, tracy_widom, soft_rank, distance = (
        np.where(bounded, np.nan, result[:, 0]).reshape(batch) for result in of_bulk
    )
    counted = spikes.reshape(batch), soft_rank, distance, bounded.reshape(batch)
    return BulkFit(variance, lower, upper, tracy_widom, *counted)


def _count(ascending: np.ndarray, edges: np.ndarray, median_edge: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Spikes of each of B spectra (B, M), given the edges (B, K) of k = 0, ..., K - 1 of them; see `fit_bulk`.

    And whether there are more of them than K - 1, the most that are counted. A last single eigenvalue is always as
    large as itself: it is not asked.
    """
    columns = edges.shape[1]
    above = ascending[:, : -columns - 1 : -1] > edges  # whether the eigenvalue after the k largest is one more
    more = above[:, -1] & (ascending.shape[1] - (columns - 1) >= 2)
    above[:, -1] = False
    by_median = np.minimum((ascending > median_edge[:, None]).sum(axis=-1), columns - 1)
    start = np.where(by_median >= above.argmin(axis=-1) + MASKED, by_median, 0)
    spikes = (above | (np.arange(columns) < start[:, None])).argmin(axis=-1)
    return spikes, more & (spikes == columns - 1)


def _distance(unit: np.ndarray, large: int, small: int, spikes: np.ndarray) -> np.ndarray:
    """D of the M - k smallest of (B, M) eigenvalues, ascending, from the bulk of variance 1; spikes is (B, 1)."""
    count = small - spikes
    rank, fitted = np.arange(small), _cdf(unit, large - spikes, count)
    worst = np.maximum((rank + 1) / count - fitted, fitted - rank / count)
    return np.where(rank < count, worst, 0.0).max(axis=-1)
