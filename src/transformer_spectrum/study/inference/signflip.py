"""Exact tests of paired differences by their signs, and the step-down max-T test of a family of contrasts.

The unit is the seed. Under the hypothesis that two arms do not differ, the difference of a seed is as likely as its
negative; no normality is needed. One sign a seed flips the differences of all contrasts at once, so that whatever
correlation the contrasts have is in the null distribution too.

A pair of which either arm is censored is missing. Exchanging the arms leaves it missing, so the test holds given which
pairs are missing: such a seed adds nothing to that contrast and goes on to flip the others. What is lost is that the
mean is one of the seeds in which both arrive; `FamilyTest.pairs` counts them. A contrast whose smallest reachable p,
2^(1 - pairs), is above the level cannot be rejected and would only make the others harder to: it leaves the family,
has no adjusted p, and is called untestable. That is decided by which pairs are missing alone, never by their values.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from transformer_spectrum.runtime.errors import InputError, quoted
from transformer_spectrum.study.inference.signs import (
    EXACT_AT_MOST,
    flipped_sums,
    in_unit,
    rounding,
    sign_count,
)

Differences = Float[np.ndarray, "seeds contrasts"]
NEAR_ONE = 1e-8
"""Least 1 - r^2: equal differences have an infinite t, and rounding must not decide between two of them."""


@dataclass(frozen=True)
class FamilyTest:
    """A family of k contrasts, each field (k,) unless said.

    Attributes:
        pairs: seeds with both arms; count.
        statistics: Student's t of the mean difference; inf where all differences are equal, NaN of fewer than 2 pairs.
        p_values: two-sided, of each contrast alone, by all signs of its own pairs where these are 20 or fewer; NaN
            without a pair.
        adjusted: by step-down max-T, within the family; NaN where it is untestable.
        untestable: the smallest p that its pairs, or the sample of signs, can reach is above the level.
        signs: sign vectors that the family's p-values count; one number.
        exact: whether these are all there are, or a seeded sample of them; one flag.
    """

    pairs: Int[np.ndarray, " contrasts"]
    statistics: Float[np.ndarray, " contrasts"]
    p_values: Float[np.ndarray, " contrasts"]
    adjusted: Float[np.ndarray, " contrasts"]
    untestable: Bool[np.ndarray, " contrasts"]
    signs: int
    exact: bool


def smallest_p(pairs: int) -> float:
    """2^(1 - n): the smallest two-sided p that n pairs can reach; 1 without a pair.

    >>> smallest_p(5), smallest_p(6)
    (0.0625, 0.03125)
    """
    return 2.0 ** min(1 - pairs, 0)


def family_test(differences: Differences, *, level: float = 0.05, seed: int = 0) -> FamilyTest:
    """Sign-flip test of every contrast and step-down max-T over the family, two-sided.

    |t| of a contrast rises with r^2 = (sum d)^2 / (n sum d^2), of which flips change the numerator alone. Where
    contrasts have different numbers of pairs their t have different scales: the maximum is over
    z = (8 f + 1) / (8 f + 3) sqrt(f ln(1 + t^2 / f)), f = n - 1, near to normal for every f. It rises with |t|, so
    with equal numbers of pairs it is the maximum of |t|. The adjusted p of the contrast with the i-th largest z is the
    share of sign vectors under which the maximum over it and the contrasts behind it reaches its z, and at least that
    of the contrast before it. Each p-value alone is exact where its two arms can be exchanged. The family-wise error
    is at most `level`, whichever hypotheses hold, where the differences of the true ones are jointly symmetric: the
    null distribution of a subset of contrasts does not depend on the others. Those of skewed arms that share a
    reference are symmetric one by one and not jointly; benchmarks/RESULTS.md has the error then.

    Args:
        differences: first arm - second arm, a row a seed, a column a contrast; NaN = no pair.
        level: of the family; 0 < x < 1. It decides which contrasts are testable and nothing else.
        seed: of the sample of signs, where there are more than 20 seeds with a pair.
    Raises:
        InputError: no contrast, an infinite difference, or a level outside.
    Source: the step-down procedure is Westfall and Young's.

    >>> both = family_test(np.array([[2.0, 0.1], [1.0, -0.3], [3.0, 0.2], [1.5, 0.1], [2.5, -0.2], [0.5, 0.4]]))
    >>> both.p_values.tolist(), both.adjusted.tolist()
    ([0.03125, 0.75], [0.03125, 0.75])
    >>> both.signs, both.exact
    (64, True)
    """
    values = checked(differences, level)
    values = values[np.isfinite(values).any(axis=1)]
    counts = sign_count(len(values))
    present = np.isfinite(values)
    pairs = present.sum(axis=0)
    contrasts = values.shape[1]
    statistics = np.array([student_t(column[mask]) for column, mask in zip(values.T, present.T, strict=True)])
    reachable = [smallest_p(int(count)) if count <= EXACT_AT_MOST else 2 / counts.signs for count in pairs]
    untestable = np.array(reachable) > level
    if not len(values):
        nothing = np.full(contrasts, np.nan)
        return FamilyTest(pairs, statistics, nothing, nothing, untestable, counts.signs, counts.exact)
    filled, _ = in_unit(np.where(present, values, 0.0))
    squares = np.maximum((filled**2).sum(axis=0) * pairs, np.finfo(float).tiny)
    sums = np.abs(filled.sum(axis=0))
    observed = _normal_scale(sums, squares, pairs)
    least = sums - rounding(filled)
    least_of_maxima = _normal_scale(np.maximum(least - rounding(filled), 0.0), squares, pairs)
    tested = np.flatnonzero(~untestable)
    order = tested[np.argsort(-observed[tested], kind="stable")]
    alone, stepped = np.zeros(contrasts), np.zeros(len(order))
    for flipped in flipped_sums(filled, seed):
        alone += (np.abs(flipped) >= least).sum(axis=0)
        maxima = np.maximum.accumulate(_normal_scale(flipped, squares, pairs)[:, order[::-1]], axis=1)[:, ::-1]
        stepped += (maxima >= least_of_maxima[order]).sum(axis=0)
    half = counts.signs // 2
    p_values = np.where(pairs > 0, alone / half, np.nan)
    if not counts.exact:
        for place in np.flatnonzero((pairs > 0) & (pairs <= EXACT_AT_MOST)):
            p_values[place] = _alone(filled[present[:, place], place])
    adjusted = np.full(contrasts, np.nan)
    adjusted[order] = np.maximum.accumulate(np.maximum(stepped / half, p_values[order]))
    return FamilyTest(pairs, statistics, p_values, adjusted, untestable, counts.signs, counts.exact)


def _alone(differences: Float[np.ndarray, " pairs"]) -> float:
    """The two-sided p of one contrast by all signs of its pairs."""
    column = differences[:, None]
    least = abs(column.sum()) - rounding(column)
    reached = sum(int((np.abs(sums) >= least).sum()) for sums in flipped_sums(column))
    return 2 * reached / sign_count(len(column)).signs


def student_t(differences: Float[np.ndarray, " pairs"]) -> float:
    """mean / (sd / sqrt(n)); inf with the mean's sign where all differences are equal, NaN of fewer than 2.

    >>> round(student_t(np.array([1.0, 2.0, 3.0])), 3), student_t(np.array([2.0, 2.0]))
    (3.464, inf)
    """
    if len(differences) < 2:
        return float("nan")
    values = in_unit(differences[:, None])[0][:, 0]
    mean, sd = float(values.mean()), spread(values)
    if not sd:
        return float(np.sign(mean)) * float("inf") if mean else 0.0
    return mean / (sd / len(values) ** 0.5)


def spread(values: Float[np.ndarray, " pairs"]) -> float:
    """Their standard deviation, n - 1 in it; 0 where they are equal but for rounding, NaN of fewer than 2.

    >>> spread(np.full(7, 0.1)), round(spread(np.array([1.0, 2.0])), 4)
    (0.0, 0.7071)
    """
    if len(values) < 2:
        return float("nan")
    sd = float(values.std(ddof=1))
    return 0.0 if sd <= 4 * np.finfo(float).eps * np.abs(values).max() else sd


def checked(differences: Any, level: Any) -> np.ndarray:
    """Two axes, no infinity, 0 < level < 1; float64.

    Raises:
        InputError: they are not.

    >>> checked(np.array([[1, 2]]), 0.05)
    array([[1., 2.]])
    """
    values = as_numbers(differences, "differences")
    if values.ndim != 2 or not values.shape[1]:
        raise InputError(f"differences of shape {values.shape}: must be (seeds, contrasts), with a contrast")
    if np.isinf(values).any():
        raise InputError("differences: must not be infinite; NaN = no pair")
    check_share("level", level)
    return values


def as_numbers(values: Any, name: str) -> np.ndarray:
    """float64, NaN where a mask hides a value.

    Raises:
        InputError: they are no real numbers.

    >>> as_numbers([1, 2], "differences")
    array([1., 2.])
    """
    if np.ma.isMaskedArray(values):
        values = np.ma.filled(values.astype(np.float64), np.nan)
    try:
        array = np.asarray(values)
        if array.dtype.kind == "c":
            raise TypeError
        return array.astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{name} = {quoted(values)}: must be real numbers") from None


def check_share(name: str, value: Any) -> None:
    """Raises InputError unless 0 < value < 1.

    >>> check_share("level", 0.05)
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < float(value) < 1:
        raise InputError(f"{name} = {quoted(value)}: must be > 0 and < 1")


def _normal_scale(sums: np.ndarray, squares: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """z of `family_test` from sums (..., k), n sum d^2 (k,) and n (k,)."""
    degrees = np.maximum(pairs - 1, 0.5)  # of a lone pair, which only takes part where 1 is a level it could reach
    shortfall = np.maximum(1.0 - sums**2 / squares, NEAR_ONE)  # 1 / (1 + t^2 / f)
    return (8 * degrees + 1) / (8 * degrees + 3) * np.sqrt(degrees * -np.log(shortfall))
