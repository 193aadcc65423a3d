"""How large a paired difference is: the mean with the interval that inverts the sign-flip test, and what is beside."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.study.inference.signflip import as_numbers, check_share, spread
from transformer_spectrum.study.inference.signs import flipped_sums, in_unit, rounding, sign_count

Pairs = Float[np.ndarray, " pairs"]
WHOLE = 1e-12
"""Relative error of a rank that is a share of a count: what is nearer to a whole number is that number."""


@dataclass(frozen=True)
class MeanDifference:
    """Of one contrast; NaN where it has too few pairs to say.

    Attributes:
        pairs: seeds with both arms; count.
        mean: of the differences, their unit.
        low, high: the interval: every theta that the two-sided sign-flip test of differences - theta does not reject
            at 1 - confidence; infinite where n pairs reject nothing at that level.
        confidence: of the interval, for this contrast alone; 0 < x < 1.
        p_value: two-sided, of theta = 0.
        hodges_lehmann: median of the means of all pairs of differences, each with itself among them.
        d_z: mean / standard deviation of the differences; dimensionless; infinite where all are equal.
        signs: sign vectors behind p and interval; count.
        exact: whether these are all.
    """

    pairs: int
    mean: float
    low: float
    high: float
    confidence: float
    p_value: float
    hodges_lehmann: float
    d_z: float
    signs: int
    exact: bool


def mean_difference(differences: Pairs, *, confidence: float = 0.95, seed: int = 0) -> MeanDifference:
    """The mean with its exact interval, Hodges-Lehmann estimate and d_z.

    Flipping the seeds of a set A raises sum(d - theta) to at least itself exactly if the mean of d over A is at most
    theta. So theta below the mean has p = (1 + #{A : mean over A <= theta}) / 2^(n - 1), and the limits are order
    statistics of the means of all subsets: the K-th smallest and largest, K = floor((1 - confidence) 2^(n - 1)).

    Args:
        differences: of the seeds; NaN = no pair, which is left out.
        confidence: of the interval; 0 < x < 1. Divided among k contrasts, 1 - (1 - confidence) / k, intervals cover
            all at once (Bonferroni); max-T itself inverts to a joint region, not to intervals.
        seed: of the sample of signs of more than 20 pairs.
    Raises:
        InputError: an infinite difference, or a confidence outside.

    >>> effect = mean_difference(np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))
    >>> effect.mean, effect.low, effect.high, effect.p_value
    (3.5, 1.0, 6.0, 0.03125)
    >>> mean_difference(np.array([1.0, 2.0, 3.0])).low  # three pairs reject nothing at .05
    -inf
    """
    values = _checked(differences)
    check_share("confidence", confidence)
    count, counts = len(values), sign_count(len(values))
    if not count:
        nan = float("nan")
        return MeanDifference(0, nan, nan, nan, confidence, nan, nan, nan, counts.signs, counts.exact)
    column, exponents = in_unit(values[:, None])
    values, exponent = column[:, 0], int(exponents[0])
    means, at_least = _subset_means(values, seed)
    drawn_again = counts.signs - 1 - len(means)  # the identity, in a sample: against every theta on both sides
    rank = int(np.floor((1 - confidence) * counts.signs / 2 * (1 + WHOLE))) - drawn_again
    low, high = -np.inf, np.inf
    if rank > 0:
        ordered = np.partition(means, (rank - 1, len(means) - rank))
        low, high = float(ordered[rank - 1]), float(ordered[len(means) - rank])
    sd, mean = spread(values), float(values.mean())
    return MeanDifference(
        pairs=count,
        mean=math.ldexp(mean, exponent),
        low=math.ldexp(low, exponent),
        high=math.ldexp(high, exponent),
        confidence=confidence,
        p_value=min(1.0, 2 * at_least / counts.signs),
        hodges_lehmann=math.ldexp(hodges_lehmann(values), exponent),
        d_z=mean / sd if sd else float(np.copysign(np.inf, mean)) if mean else 0.0,
        signs=counts.signs,
        exact=counts.exact,
    )


def p_above(differences: Pairs, bound: float, *, seed: int = 0) -> float:
    """One-sided p of mean <= bound against mean > bound: share of signs with sum s (d - bound) >= sum (d - bound).

    Args:
        differences: finite or NaN = no pair.
        bound: the hypothesis; the differences' unit.
        seed: of the sample of signs of more than 20 pairs.
    Returns:
        In [2^-n, 1]; NaN without a pair.
    Raises:
        InputError: an infinite difference, or bound.

    >>> p_above(np.array([1.0, 2.0, 3.0]), 0.0), p_above(np.array([1.0, 2.0, 3.0]), 4.0)
    (0.125, 1.0)
    """
    values = _checked(differences)
    if not np.isfinite(as_numbers(bound, "bound")):
        raise InputError(f"bound = {bound}: must be finite")
    if not len(values):
        return float("nan")
    scaled, _ = in_unit(np.append(values, bound)[:, None])
    values = (scaled[:-1] - scaled[-1])[:, 0]
    least, reached = values.sum() - rounding(values[:, None])[0], 0
    for sums in flipped_sums(values[:, None], seed):
        reached += int((sums >= least).sum()) + int((-sums >= least).sum())
    return reached / sign_count(len(values)).signs


def hodges_lehmann(differences: Pairs) -> float:
    """Median of (d_i + d_j) / 2 over i <= j, which a few odd seeds move little; NaN without a pair.

    Args:
        differences: finite or NaN = no pair.
    Raises:
        InputError: an infinite difference.

    >>> hodges_lehmann(np.array([1.0, 2.0, 30.0]))
    8.75
    """
    values = _checked(differences)
    if not len(values):
        return float("nan")
    rows, columns = np.triu_indices(len(values))
    return float(np.median(values[rows] / 2 + values[columns] / 2))


def _checked(differences: Any) -> Float[np.ndarray, " present"]:
    """Those of the seeds that have a pair."""
    values = as_numbers(differences, "differences")
    if values.ndim != 1:
        raise InputError(f"differences of shape {values.shape}: must be of one contrast, (seeds,)")
    if np.isinf(values).any():
        raise InputError("differences: must not be infinite; NaN = no pair")
    return values[~np.isnan(values)]


def _subset_means(values: np.ndarray, seed: int) -> tuple[np.ndarray, int]:
    """Means over the flipped seeds of every sign vector that flips any, and how many |sums| of half of them reach the
    observed one."""
    count, total, tolerance = len(values), values.sum(), rounding(values[:, None])[0]
    both = np.stack([values, np.ones(count)], axis=1)
    means, at_least = [], 0
    for sums in flipped_sums(both, seed):
        at_least += int((np.abs(sums[:, 0]) >= abs(total) - tolerance).sum())
        flipped = (total - sums[:, 0]) / 2, (count - sums[:, 1]) / 2
        rest = (total + sums[:, 0]) / 2, (count + sums[:, 1]) / 2
        with np.errstate(invalid="ignore", divide="ignore"):
            means += [flipped[0] / flipped[1], rest[0] / rest[1]]
    joined = np.concatenate(means)
    return joined[np.isfinite(joined)], at_least
