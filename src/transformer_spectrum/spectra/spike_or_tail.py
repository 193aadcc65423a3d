"""Spikes or a heavy tail? A test of a spectrum made for eigenvalues that repel each other.

A power law fits the largest eigenvalues of noise with one spike as well as those of a heavy tail. Here the null is
Gaussian noise with at most K spikes of any strengths in any directions. The K largest eigenvalues are taken for
spikes, each at the strength that its place tells; what lies below must then be a Marchenko-Pastur bulk, whose entropy
independent draws of noise give. A heavy tail has more large eigenvalues than K spikes explain, and a broader bulk.

Convention: `random_matrix`. Of an N x M matrix without its K spikes n = N - K and m = M - K; z = x / (n v) with v the
variance of the noise, y = m / n and g = sqrt y, so that the bulk is [(1 - g)^2, (1 + g)^2] and the mean of z 1. A spike
whose singular value alone were sqrt(g n v / rho), 0 < rho <= 1, puts an eigenvalue at z = (1 + g rho)(1 + g / rho).
"""

from __future__ import annotations

import math
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64
from scipy.linalg import eigvalsh_tridiagonal

from transformer_spectrum.runtime.seeds import numpy_generator
from transformer_spectrum.spectra.random_matrix import Shape, fit_bulk
from transformer_spectrum.weights.matrices.energy import checked_spectra
from transformer_spectrum.weights.matrices.spectrum_types import PerSpectrum, Spectra, Values

SMALLEST_RANK = 20  # below it a tenth of the eigenvalues is a single spike, and no tail is left to ask for
FEW_SPIKES = 6  # allowed in any matrix of at least ten times as many eigenvalues
STRONGEST_SHARE = 0.75  # rho of the weakest spike that is taken at its strength, while spikes are few
CROWD = 0.6  # K^2 / sqrt(n m) from which spikes blur each other's places
ITERATIONS = 40  # of the variance, each of which leaves less than half of its error
LARGEST_DRAWN = 128  # smaller side of the noise that is drawn; of larger noise the entropy's law moves with its mean

TOO_SMALL = f"fewer than {SMALLEST_RANK} singular values"
NO_BULK = "half of the singular values or more are zero"


class Verdict(StrEnum):
    """What a spectrum is, as far as the test can tell."""

    NOISE = "noise"
    SPIKES = "spikes"
    HEAVY_TAIL = "heavy_tail"
    NOT_TESTED = "not_tested"


class SpikeOrTail(NamedTuple):
    """Whether noise with a few spikes explains a spectrum, each (...) but for the last three.

    Attributes:
        verdict: of `Verdict`, as text. heavy_tail: p <= level, so that not even `most_spikes` spikes explain the
            spectrum; spikes: they do, and there are some; noise: there are none.
        p_value: probability of so large a statistic for noise with at most `most_spikes` spikes, in (0, 1]; at least
            1 / (draws + 1). NaN where not tested.
        spikes: those of `random_matrix.fit_bulk`; count, `most_spikes` where it finds more. Beside heavy_tail they
            explain too little. NaN where not tested.
        statistic: entropy in standard deviations of its null from the mean of its null; NaN where not tested.
        reason: why there is no test, or empty.
        most_spikes: the most that the null allows; count.
        level: of the test.
        draws: of the null; count.
    """

    verdict: np.ndarray
    p_value: PerSpectrum
    spikes: PerSpectrum
    statistic: PerSpectrum
    reason: np.ndarray
    most_spikes: int
    level: float
    draws: int


def most_spikes(shape: Shape) -> int:
    """K = min(floor(r / 10), max(6, floor(r / 16))): the most spikes that the null allows, at most a tenth of r.

    Each spike allowed for costs power. A tenth up to 64 eigenvalues, a sixteenth from 96 on: with a tenth of 128 the
    test finds 9 of 10 matrices of t(2.5) entries, with a sixteenth 99 of 100.

    Args:
        shape: rows and columns in any order, each >= 1.

    >>> [most_spikes((side, side)) for side in (20, 64, 128, 512)]
    [2, 6, 8, 32]
    """
    rank = min(int(side) for side in shape)
    return min(rank // 10, max(FEW_SPIKES, rank // 16))


def spike_or_tail(
    singular_values: Spectra,
    shape: Shape,
    *,
    level: float = 0.05,
    draws: int = 1999,
    seed: int = 0,
    spikes_allowed: int | None = None,
) -> SpikeOrTail:
    """p = share of noise whose entropy sum z ln z is at least T, the entropy below the K largest, credited for them.

    T = sum_{i>K} z_i ln z_i + sum_{j<=K} c(rho_j), where c(rho) = (1 + g rho)(1 + g / rho) ln(1 + g rho) - y is what a
    spike lacks to have lifted the bulk as one of infinite strength does (rho = 0, c = 0), and the variance follows from
    sum_{i>K} z_i = m - g sum_j rho_j. An infinite spike takes a dimension from either side and leaves noise; so T has
    the law of sum z ln z of n x m noise, whatever the strengths. Eigenvalues too near the bulk to tell their strength
    (also those that are no spikes) are taken for spikes of rho = 0.75, less where spikes are many: that lowers T, and
    makes the test conservative for fewer or weaker spikes.

    The law depends on n, m, draws and seed alone. It is drawn once, in O(m^2) a draw, from the bidiagonal model.

    The level is kept within 0.01 for exactly K spikes of one strength, the worst case, and by far for 5 spikes and
    fewer of 64 eigenvalues and more (docs/spectra.md).

    What else is found: bulks broader than Marchenko-Pastur's, whatever made them, such as rows of different scales
    or more spikes than allowed. Not found: bulks narrower than noise's.

    Args:
        singular_values: (..., r) of W, any order, in W's units.
        shape: rows and columns of W in any order; the smaller is r.
        level: of the test, 0 < level < 1.
        draws: of noise, count, >= 1 / level - 1, so that p can reach the level.
        seed: of the draws.
        spikes_allowed: K of the null, 0 to floor(r / 10); None for `most_spikes`.
    Returns:
        Verdict, p and the rest; unchanged when W is rescaled or transposed.
    Raises:
        ValueError: shape does not fit r, or level, draws or spikes_allowed is outside.
    Source: derived here and checked by simulation (benchmarks/spike_or_tail.py). c(rho) is the integral of
        d(z ln z) / dz over what the spectral shift arg(1 - e^(-i phi) / rho) / pi, z = |1 + g e^(i phi)|^2, lacks of
        that of an infinite spike. That a spike leaves the bulk from a strength on: Benaych-Georges & Nadakuditi
        (2012), J. Multivariate Anal. 111, arXiv:1103.2221.

    >>> noise = np.linalg.svd(np.random.default_rng(0).normal(size=(64, 64)), compute_uv=False)
    >>> str(spike_or_tail(noise, (64, 64)).verdict), str(spike_or_tail(np.append(noise[1:], 40.0), (64, 64)).verdict)
    ('noise', 'spikes')
    >>> heavy = np.random.default_rng(0).standard_t(2, size=(64, 64))
    >>> str(spike_or_tail(np.linalg.svd(heavy, compute_uv=False), (64, 64)).verdict)
    'heavy_tail'
    """
    values = checked_spectra(singular_values)
    large, small = max(map(int, shape)), min(map(int, shape))
    if values.shape[-1] != small:
        raise ValueError(f"{values.shape[-1]} singular values with shape {tuple(shape)}: must be as many as {small}")
    allowed = most_spikes(shape) if spikes_allowed is None else spikes_allowed
    if not 0 <= allowed <= small // 10:
        raise ValueError(f"spikes_allowed = {allowed}: must be 0 to {small // 10}, a tenth of the singular values")
    if not 0 < level < 1:
        raise ValueError(f"level = {level}: must be between 0 and 1")
    if draws < 1 / level - 1 - 1e-9:
        raise ValueError(f"draws = {draws}: must be >= 1 / level - 1 = {1 / level - 1:.0f}")
    batch = values.shape[:-1]
    spectra = values.reshape(-1, small)
    reason = np.where(2 * (spectra > 0).sum(axis=-1) > small, "" if small >= SMALLEST_RANK else TOO_SMALL, NO_BULK)
    tested = reason == ""
    p_value, spikes, statistic = np.full((3, len(spectra)), np.nan)
    verdict = np.full(len(spectra), Verdict.NOT_TESTED.value)
    if tested.any():
        null = noise_entropies(large - allowed, small - allowed, draws, seed)
        entropy = _credited_entropies(spectra[tested], large, small, allowed)
        spikes[tested] = np.minimum(fit_bulk(spectra[tested], shape).spikes, allowed)
        p_value[tested] = (1 + draws - np.searchsorted(null, entropy)) / (1 + draws)
        statistic[tested] = (entropy - null.mean()) / null.std()
        explained = np.where(spikes[tested] > 0, Verdict.SPIKES.value, Verdict.NOISE.value)
        verdict[tested] = np.where(p_value[tested] <= level, Verdict.HEAVY_TAIL.value, explained)
    arrays = (array.reshape(batch)[()] for array in (p_value, spikes, statistic))
    p_value, spikes, statistic = arrays
    return SpikeOrTail(verdict.reshape(batch), p_value, spikes, statistic, reason.reshape(batch), allowed, level, draws)


def _credited_entropies(spectra: np.ndarray, large: int, small: int, spikes: int) -> np.ndarray:
    """T of each of B spectra (B, M)."""
    n, m = large - spikes, small - spikes
    ratio = m / n
    root = math.sqrt(ratio)
    descending = -np.sort(-spectra, axis=-1)
    squares = (descending / descending[:, :1]) ** 2
    top, rest = squares[:, :spikes], squares[:, spikes:]
    total = rest.sum(axis=-1, keepdims=True)
    share = strongest_share(n, m, spikes)
    nearest = (share + 1 / share) / 2
    mass = np.full((len(spectra), 1), float(m))  # sum of z below the spikes
    rho = np.zeros_like(top)
    for _ in range(ITERATIONS):
        place = np.maximum((top * (mass / total) - 1 - ratio) / (2 * root), nearest)
        rho = 1 / (place + np.sqrt(place**2 - 1))
        mass = m - root * rho.sum(axis=-1, keepdims=True)
    return _entropy(rest * (mass / total)) + spike_credit(rho, ratio).sum(axis=-1)


def _entropy(unit: np.ndarray) -> np.ndarray:
    """Sum z ln z along the last axis, 0 at z = 0."""
    return (unit * np.log(np.where(unit > 0, unit, 1.0))).sum(axis=-1)


def strongest_share(n: int, m: int, spikes: int) -> float:
    """The largest rho that a spike is given: 0.75, or less by the root of how far K^2 / sqrt(n m) is above 0.6.

    K spikes of one strength repel each other, and the mean of their c(rho) is above c of their strength, the more the
    nearer they are to the bulk.

    >>> round(strongest_share(58, 58, 6), 2), round(strongest_share(480, 480, 32), 2)
    (0.74, 0.4)
    """
    crowd = spikes**2 / math.sqrt(n * m)
    return STRONGEST_SHARE * min(1.0, math.sqrt(CROWD / crowd)) if crowd else STRONGEST_SHARE


def spike_credit(rho: Values, ratio: float) -> Values:
    """c(rho) = (1 + g rho)(1 + g / rho) ln(1 + g rho) - y, y = g^2: what one spike leaves in sum z ln z of the rest.

    Args:
        rho: any shape, in (0, 1]: 1 at the edge, towards 0 for strong spikes.
        ratio: y = m / n, in (0, 1].
    Returns:
        As rho; 0 for an infinite spike, and 4 ln 2 - 1 for a square matrix's at the edge.

    >>> spike_credit(np.array([1e-9, 1.0]), 1.0).round(4)
    array([0.    , 1.7726])
    """
    root = math.sqrt(ratio)
    return (1 + root * rho) * (1 + root / rho) * np.log1p(root * rho) - ratio


@lru_cache(maxsize=256)
def noise_entropies(n: int, m: int, draws: int, seed: int) -> Float64[np.ndarray, " draws"]:
    """Sum z ln z of the m eigenvalues z, scaled to mean 1, of n x m Gaussian matrices, in ascending order.

    Above 128 eigenvalues those of a smaller matrix of the same aspect, moved by the difference of m y / 2, the mean in
    the limit: fluctuations of such a sum do not depend on the size.

    Args:
        n, m: the larger and the smaller side; counts.
        draws: count.
        seed: of the draws.
    Returns:
        Read-only; kept for the next call.
    Source: Dumitriu & Edelman (2002), J. Math. Phys. 43(11), arXiv:math-ph/0206043: reflections from both sides leave a
        bidiagonal matrix of independent chi variables, with the same singular values.

    >>> mean = noise_entropies(100, 50, 99, 0).mean()
    >>> bool(abs(mean - 50 * 50 / 100 / 2) < 0.3)
    True
    """
    side, length = m, n
    if m > LARGEST_DRAWN:
        side, length = LARGEST_DRAWN, round(LARGEST_DRAWN * n / m)
    generator = numpy_generator(seed, f"noise of {length} x {side}")
    diagonal = generator.chisquare(length - np.arange(side), size=(draws, side))
    below = generator.chisquare(np.arange(side - 1, 0, -1), size=(draws, side - 1))
    main = diagonal.copy()
    main[:, 1:] += below
    beside = np.sqrt(diagonal[:, :-1] * below)
    eigenvalues = np.array([eigvalsh_tridiagonal(*pair) for pair in zip(main, beside, strict=True)]).clip(min=0.0)
    entropies = np.sort(_entropy(eigenvalues / eigenvalues.mean(axis=-1, keepdims=True)))
    entropies += (m * m / n - side * side / length) / 2
    entropies.flags.writeable = False
    return entropies
