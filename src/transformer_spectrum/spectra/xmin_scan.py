"""Clauset's search for xmin: of every candidate the Kolmogorov-Smirnov distance, and the smallest of each spectrum.

The distance of a candidate is the largest deviation over its tail, so the deviation at a few points of the tail
bounds it from below. A candidate whose bound exceeds the distance of another is out; the rest are evaluated at
every point. The answer is that of the full scan, and most spectra need a few of its n^2 / 2 exponentials. The points
are spread evenly at first; then they are those where the likely candidates deviate most, for their neighbours do so
near there too.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Integer

CELLS = 1 << 14  # float64 numbers in a working array: 128 KiB stay in a core's cache, and malloc reuses them
FEW = 1 << 13  # deviations that are all computed at once: to leave some out would take longer
COARSE = 12  # points of a tail in the first bound
FINE = 48  # and in the last one, where tails have many more
LIKELY = 8  # candidates of smallest bound, and one more per 128 values: their distances come first, often also last
SLACK = 1e-12  # bound and distance come from the same arithmetic, but for how a processor groups exponentials
SUBNORMAL = float(np.finfo(np.float64).smallest_subnormal)


class FlatSpectra(NamedTuple):
    """B ascending spectra of n values, flattened, and what all their tails need.

    Attributes:
        logs: (B n) ln(x / largest), -744 for zeros, which stay below every xmin.
        ranks: (B n) position of the first of equal values, None where no rank is shared or none matters.
        slopes: (B n) 1 - alpha of the tail that begins here, eq. 3.1; NaN: no candidate.
        n: values in a spectrum.
        two_sided: whether D counts the upper side of each jump of the empirical distribution too.
    """

    logs: np.ndarray
    ranks: np.ndarray | None
    slopes: np.ndarray
    n: int
    two_sided: bool


def scan(
    ascending: Float64[np.ndarray, "spectra n"], min_tail: int, two_sided: bool
) -> tuple[Integer[np.ndarray, " spectra"], Float64[np.ndarray, " spectra"], Float64[np.ndarray, " spectra"]]:
    """Position of the best xmin, alpha and D of each of B spectra.

    Args:
        ascending: (B, n) finite, >= 0.
        min_tail: fewest values in a tail; count, >= 2.
        two_sided: see `FlatSpectra`.
    Returns:
        (B,) each; of equal distances the smallest position.
    Raises:
        ValueError: a spectrum has no candidate.

    >>> ascending = np.append(np.linspace(0.1, 0.9, 20), (1 - (np.arange(100) + 0.5) / 100) ** -0.5)
    >>> best, alpha, _ = scan(ascending[None], min_tail=50, two_sided=True)  # a power law from the 21st value on
    >>> int(best[0]), float(alpha[0].round(1))
    (20, 3.0)
    """
    spectra, n = ascending.shape
    candidates = max(n - min_tail + 1, 0)
    tails = _tails(ascending, two_sided)
    usable = tails.slopes.reshape(spectra, n)[:, :candidates] < 0
    if not usable.any(axis=1).all():
        raise ValueError(f"no xmin: fewer than min_tail = {min_tail} eigenvalues are positive, or all are equal")
    if usable.size * n <= FEW:
        distances = np.where(usable, _all_distances(tails, candidates), np.inf)
        best, row = distances.argmin(axis=1), np.arange(spectra)
        return best, 1.0 - tails.slopes[row * n + best], distances[row, best]
    bounds = np.where(usable, _bounds(tails, candidates), np.inf)
    likely = min(LIKELY + n // 128, candidates)
    at = bounds.argpartition(likely - 1, axis=1)[:, :likely] + np.arange(0, spectra * n, n)[:, None]
    distances, farthest = (values.reshape(at.shape) for values in _distances(tails, at.ravel()))
    distances = np.fmin(distances, np.inf)  # NaN: no candidate
    smallest = distances.min(axis=1)
    best = np.where(distances == smallest[:, None], at, spectra * n).min(axis=1)
    possible = bounds <= smallest[:, None] + SLACK
    possible[at // n, at % n] = False
    if possible.any():
        _continue(tails, possible, farthest, best, smallest)
    return best % n, 1.0 - tails.slopes[best], smallest


def _continue(
    tails: FlatSpectra, possible: np.ndarray, farthest: np.ndarray, best: np.ndarray, smallest: np.ndarray
) -> None:
    """Brings the best flat positions and their distances, (B,) each, up to date with the other possible candidates.

    Args:
        possible: (B, candidates) those that are not yet evaluated and not yet out.
        farthest: (B, L) positions in the spectrum where those that are evaluated deviate most.
    """
    row, column = np.nonzero(possible)
    near = _at_offsets(tails, row * tails.n + column, np.maximum(farthest[row] - column[:, None], 0))
    row, column = _where(near <= smallest[row] + SLACK, row, column)
    if tails.n > 4 * FINE:
        size = tails.n - column[:, None]
        near = _at_offsets(tails, row * tails.n + column, (np.arange(FINE) * 2 + 1) * size // (2 * FINE))
        row, column = _where(near <= smallest[row] + SLACK, row, column)
    at = row * tails.n + column
    distances, _ = _distances(tails, at)
    order = np.lexsort((at, distances, row))
    leading = order[np.diff(row[order], prepend=-1) > 0]
    row, at, distances = row[leading], at[leading], distances[leading]
    better = (distances < smallest[row]) | ((distances == smallest[row]) & (at < best[row]))
    best[row[better]], smallest[row[better]] = at[better], distances[better]


def _where(mask: np.ndarray, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    return tuple(values[mask] for values in arrays)


def _tails(ascending: np.ndarray, two_sided: bool) -> FlatSpectra:
    n = ascending.shape[-1]
    largest = np.maximum(ascending[:, -1:], SUBNORMAL)
    logs = np.log(np.maximum(ascending / largest, SUBNORMAL))
    size = np.arange(n, 0, -1)
    # sum_{j>=i} ln(x_j / x_i) = sum_{j>i} (n - j) ln(x_j / x_(j-1)): terms >= 0, so that nothing cancels.
    total = np.zeros(logs.shape)
    terms = logs[:, 1:] - logs[:, :-1]
    terms *= size[1:]
    np.add.accumulate(terms[:, ::-1], axis=-1, out=total[:, -2::-1])
    fresh = ascending > 0
    fresh[:, 1:] &= ascending[:, 1:] > ascending[:, :-1]
    slopes = np.empty(logs.shape)
    slopes.fill(np.nan)
    np.divide(-size, total, out=slopes, where=fresh & (total > 0))
    ranks = None
    if not (two_sided or fresh.all()):  # two-sided, one of equal values has the left limit and another the right one
        ranks = np.maximum.accumulate(np.where(fresh, np.arange(n), 0), axis=-1).ravel()
    return FlatSpectra(logs.ravel(), ranks, slopes.ravel(), n, two_sided)


def _excess(tails: FlatSpectra, at: np.ndarray, index: np.ndarray, before: np.ndarray, jump: np.ndarray) -> np.ndarray:
    """1 - F + S(x-) of the tails that begin at flat positions `at`, at their values `index`.

    The deviation F - S(x-) is 1 less this, and S(x) - F is this less 1 plus one jump of S.

    Args:
        before: share of the tail below each value, were all values different.
        jump: 1 / size of the tail.
    """
    excess = tails.logs.take(index)
    excess -= tails.logs.take(at)
    excess *= tails.slopes.take(at)
    np.exp(excess, out=excess)
    excess += before if tails.ranks is None else (tails.ranks[index] - tails.ranks[at]) * jump
    return excess


def _worst(tails: FlatSpectra, lowest: np.ndarray, highest: np.ndarray, jump: np.ndarray) -> np.ndarray:
    """Largest deviation, from the least and the largest excess of each tail."""
    return np.maximum(1.0 - lowest, highest - (1.0 - jump if tails.two_sided else 1.0))


@lru_cache(maxsize=8)
def _triangle(n: int, candidates: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of all values of all tails, one tail after the other: xmin, value, share before it, jump; and tails' starts."""
    first, value = np.triu_indices(candidates, 0, n)
    jump = 1.0 / (n - first)
    return first, value, (value - first) * jump, jump, np.flatnonzero(value == first)


def _all_distances(tails: FlatSpectra, candidates: int) -> np.ndarray:
    """D of every candidate, (B, candidates)."""
    first, value, before, jump, starts = _triangle(tails.n, candidates)
    origin = np.arange(0, len(tails.logs), tails.n)[:, None]
    excess = _excess(tails, first + origin, value + origin, before, jump)
    lowest, highest = np.minimum.reduceat(excess, starts, axis=1), np.maximum.reduceat(excess, starts, axis=1)
    return _worst(tails, lowest, highest, jump[starts])


@lru_cache(maxsize=32)
def _spaced(n: int, left: int, right: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """COARSE evenly spaced values of the tails at left <= i < right: offsets from xmin, shares before them, jumps."""
    size = (n - np.arange(left, right))[None, None]
    offsets = (np.arange(COARSE)[:, None, None] * 2 + 1) * size // (2 * COARSE)
    return offsets, offsets * (1.0 / size), 1.0 / size


def _bounds(tails: FlatSpectra, candidates: int) -> np.ndarray:
    """Lower bound of D of every candidate, (B, candidates)."""
    n = tails.n
    spectra = len(tails.logs) // n
    columns = min(candidates, max(1, CELLS // COARSE))
    rows = max(1, CELLS // (COARSE * columns))
    bounds = np.empty((spectra, candidates))
    for left in range(0, candidates, columns):
        right = min(left + columns, candidates)
        offsets, before, jump = _spaced(n, left, right)
        for row in range(0, spectra, rows):
            last = min(row + rows, spectra)
            at = np.arange(row * n, last * n, n)[:, None] + np.arange(left, right)
            excess = _excess(tails, at, at + offsets, before, jump)  # (points, rows, columns)
            lowest, highest = np.minimum.reduce(excess), np.maximum.reduce(excess)
            bounds[row:last, left:right] = _worst(tails, lowest, highest, jump[0])
    return bounds


def _at_offsets(tails: FlatSpectra, at: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Lower bound of D of the tails that begin at flat positions, (K,), from their values at (K, points) offsets."""
    bounds = np.empty(len(at))
    step = max(1, CELLS // offsets.shape[1])
    for start in range(0, len(at), step):
        chunk = slice(start, start + step)
        xmin, inside = at[chunk, None], offsets[chunk]
        jump = 1.0 / (tails.n - xmin % tails.n)
        excess = _excess(tails, xmin, xmin + inside, inside * jump, jump)
        lowest, highest = np.minimum.reduce(excess, axis=1), np.maximum.reduce(excess, axis=1)
        bounds[chunk] = _worst(tails, lowest, highest, jump[:, 0])
    return bounds


def _distances(tails: FlatSpectra, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """D of the tails that begin at flat positions, (K,), and where in their spectrum they deviate so far."""
    distances, farthest = np.empty(len(at)), np.empty(len(at), dtype=int)
    size = tails.n - at % tails.n
    order = np.argsort(-size, kind="stable")  # tails of like length together
    while len(order):
        width = int(size[order[0]])
        count = max(1, CELLS // width)
        chunk, order = order[:count], order[count:]
        xmin, tail = at[chunk, None], size[chunk, None]
        offsets, jump = np.minimum(np.arange(width), tail - 1), 1.0 / tail  # the last value fills up
        excess = _excess(tails, xmin, xmin + offsets, offsets * jump, jump)
        low, high, each = excess.argmin(axis=1), excess.argmax(axis=1), np.arange(len(chunk))
        lowest, highest = excess[each, low], excess[each, high]
        distances[chunk] = _worst(tails, lowest, highest, jump[:, 0])
        farthest[chunk] = at[chunk] % tails.n + np.where(1.0 - lowest >= distances[chunk], low, high)
    return distances, farthest
