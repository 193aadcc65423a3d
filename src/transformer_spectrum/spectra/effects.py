"""An effect against a null: a difference, and its size in standard deviations of the null's draws where that says much.

The unit of an effect is the spread of its null. That unit is worth something only where the draws have a spread, and
where draws that are many of them away hardly happen by themselves. Both are asked here, of the draws at hand and, once
for all, of each metric.

How often a metric leaves its own null by more than 5 standard deviations of 20 draws though nothing happened, in
percent, the largest of three nulls (shuffles of a Gaussian matrix, its random signs, Xavier-uniform W_0 plus a shuffled
Gaussian change of a quarter of its length), {matrices} matrices with 21 effects in each cell, by
`python benchmarks/effects.py` (a normal metric: Student's t of 19 degrees has .01):

{table}

What exceeds 1 in 1,000 at some size is heavy-tailed there (`BEYOND_FIVE`, `UNUSABLE`): one matrix in {worst} has such a
condition number at 64 x 64, and skewed alphas follow far behind. Of these the difference is given and no number of
standard deviations; the draws themselves say how rare it is.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped

from transformer_spectrum.spectra.nulls import COMPUTED, DRAWS_MINIMUM, FEW_DRAWS, NO_DRAWS, NO_VALUE, Draws, null_of
from transformer_spectrum.spectra.shapes import Values

NO_SPREAD = "the metric is the same in half of the null draws or more"
HEAVY_TAILED = "the metric has no usable spread: its null alone exceeds 5 standard deviations more than once in 1,000"
REASONS = (COMPUTED, NO_VALUE, NO_DRAWS, FEW_DRAWS, NO_SPREAD, HEAVY_TAILED)

EQUAL = 1e-6
"""Relative difference below which draws are equal: recorded singular values are float32, which leaves 6e-8 in each."""
RARE = 0.001
"""Share of effects beyond 5 under the null itself that a metric may have, ten times that of a normal one."""


BEYOND_FIVE = {"condition_number": 3.3}
UNUSABLE = frozenset(metric for metric, percent in BEYOND_FIVE.items() if percent > 100 * RARE)


class Effect(NamedTuple):
    """A metric against its null, each (...).

    Attributes:
        difference: value - mean of the null's draws, the metric's unit; NaN where either is missing.
        deviations: difference / standard deviation of the draws, dimensionless; NaN exactly where `reason` is not
            empty.
        reason: why there are no deviations, or empty text; one of REASONS.
    """

    difference: Values
    deviations: Values
    reason: Shaped[np.ndarray, "*shape"]


def effect(metric: str, values: Values, draws_values: Draws) -> Effect:
    """Effect (value - mean) / sd of a metric against the draws of its null.

    Args:
        metric: its name, one of `spectra.analysis.METRICS` or any other; see UNUSABLE.
        values: (...) of the metric, its unit, NaN where it has none.
        draws_values: (D, ...) the same in each draw; D = 0 where no null was drawn.
    Returns:
        See `Effect`. `reason` is the first that holds: the value is missing, nothing was drawn, fewer than 3 draws have
        the metric, at least half of those that have it are equal (so that their standard deviation is made by a few
        exceptions, such as a spike in one of them, or by rounding), or the metric is in UNUSABLE.
    Raises:
        ValueError: a value or a draw is infinite.

    >>> effect("stable_rank", np.array(5.0), np.array([1.0, 2.0, 3.0])).deviations.item()
    3.0
    >>> heavy = effect("condition_number", np.array(5.0), np.array([1.0, 2.0, 3.0]))
    >>> heavy.difference.item(), heavy.deviations.item(), heavy.reason.item()[:32]
    (3.0, nan, 'the metric has no usable spread:')
    """
    values = np.asarray(values, dtype=np.float64)
    draws_values = np.asarray(draws_values, dtype=np.float64)
    if np.isinf(values).any():
        raise ValueError(f"{metric}: values must not be infinite")
    if not len(draws_values):
        draws_values = np.full((1, *values.shape), np.nan)
        count_reason = NO_DRAWS
    else:
        count_reason = FEW_DRAWS
    null = null_of(draws_values)
    difference = values - null.mean
    excluded = [
        (NO_VALUE, np.isnan(values)),
        (count_reason, null.draws < DRAWS_MINIMUM),
        (NO_SPREAD, _half_equal(draws_values)),
        (HEAVY_TAILED, np.asarray(metric in UNUSABLE)),
    ]
    reason = np.full(difference.shape, COMPUTED, dtype=f"U{max(len(name) for name in REASONS)}")
    for name, mask in reversed(excluded):
        reason[np.broadcast_to(mask, difference.shape)] = name
    deviations = np.full(difference.shape, np.nan)
    sd = np.broadcast_to(null.standard_deviation, difference.shape)
    return Effect(difference, np.divide(difference, sd, out=deviations, where=reason == COMPUTED), reason)


def _half_equal(draws_values: np.ndarray) -> np.ndarray:
    """Whether half of the draws that have the metric, or more, lie within EQUAL of their median."""
    computed = ~np.isnan(draws_values)
    ascending = np.sort(draws_values, axis=0)  # NaN last
    middle = np.maximum(computed.sum(axis=0) - 1, 0) // 2
    median = np.take_along_axis(ascending, middle[None], axis=0)  # the lower one of two, which is a draw
    with np.errstate(invalid="ignore"):
        equal = np.abs(draws_values - median) <= EQUAL * np.abs(median)
    return np.asarray(2 * equal.sum(axis=0) >= computed.sum(axis=0))
