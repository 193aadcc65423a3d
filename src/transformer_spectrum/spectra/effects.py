"""An effect against a null: a difference, and its size in standard deviations of the null's draws where that says much.

The unit of an effect is the spread of its null. That unit is worth something only where the draws have a spread, and
where draws that are many of them away hardly happen by themselves. Both are asked here, of the draws at hand and, once
for all, of each metric.

How often a metric leaves its own null by more than 5 standard deviations of 20 draws though nothing happened, in
percent, the largest of three nulls (shuffles of a Gaussian matrix, its random signs, Xavier-uniform W_0 plus a shuffled
Gaussian change of a quarter of its length), 1,000 matrices with 21 effects each for every null and shape, by
`python benchmarks/effects.py` (of draws with any spread at all, and when what lies below max(m, n) 2^-23 s_1 counted as
zero). A normal metric has .01 by Student's t of 19 degrees; the standard error of .1 is .02; "none": equal draws.

    metric                         16 x 16   16 x 64   32 x 32  16 x 128   64 x 64  128 x 64 128 x 128
    spectral_entropy                  .024      .019      .029      .029      .014      .014      .010
    spectral_entropy_normalised       .024      .019      .029      .029      .014      .014      .010
    effective_rank                    .010      .029      .019      .038      .014      .014      .029
    participation_ratio               .024      .019      .019      .024      .010      .014      .010
    stable_rank                       .005      .014      .010      .019      .024      .019      .024
    spectral_norm                     .043      .029      .019      .038      .048      .033      .029
    frobenius_norm                    .005      .010      .010      .014      .014      .010      .010
    condition_number                 3.305      .110     3.196      .067     3.246      .067     3.326
    numerical_rank                       0      none         0      none         0      none         0
    alpha_exponent                    .024      .014      .010      .024      .014      .024      .019
    alpha_exponent_se                 .033      .024      .019      .010      .014      .010      .019
    alpha_exponent_r_squared          .052      .086      .019      .090      .010      .010      .014
    hill_alpha                        .290      .314      .105      .314      .043      .033      .033
    ks_alpha                          .043      .110      .186      .124      .233      .300      .400
    ks_alpha_se                       .071      .148      .233      .167      .386      .519      .638
    ks_xmin                           .129      .086      .090      .067      .105      .062      .143
    ks_distance                       .029      .019      .010      .014      .019      .052      .057
    ks_tail                           .181      .086      .210      .057      .243      .210      .238
    alpha_hat                         .052      .124      .181      .124      .238      .314      .395
    log_alpha_norm                    .048      .124      .190      .119      .257      .319      .419
    mp_variance                       .145      .051      .024      .086      .076      .038      .057
    mp_upper_edge                     .087      .038      .033      .086      .105      .086      .129
    tw_edge                           .087      .051      .033      .086      .105      .086      .129
    mp_spikes                         .186      .025         0         0      .027         0         0
    mp_soft_rank                      .262      .238      .167      .181      .138      .129      .081
    mp_distance                       .100      .095      .090      .071      .076      .071      .105

What exceeds .1, once in 1,000, at some size has no usable spread (`BEYOND_FIVE`, `UNUSABLE`): the condition number of
square matrices, whose smallest singular value can be as near to 0 as it likes, and by far less the skewed alphas of few
eigenvalues and what jumps with a spike. Of these the difference is given and no number of standard deviations; the
draws themselves say how rare it is.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped

from transformer_spectrum.spectra.nulls import DRAWS_MINIMUM, FEW_DRAWS, NO_DRAWS, NO_VALUE, Draws, null_of
from transformer_spectrum.spectra.reasons import COMPUTED
from transformer_spectrum.weights.matrices.spectrum_types import Values

NO_SPREAD = "the metric is the same in half of the null draws or more"
HEAVY_TAILED = "the metric has no usable spread: its null alone exceeds 5 standard deviations more than once in 1,000"
REASONS = (COMPUTED, NO_VALUE, NO_DRAWS, FEW_DRAWS, NO_SPREAD, HEAVY_TAILED)

EQUAL = 1e-6
"""Relative difference below which draws are equal: recorded singular values are float32, which leaves 6e-8 in each."""
RARE = 0.001
"""Share of effects beyond 5 under the null itself that a metric may have, ten times that of a normal one."""


BEYOND_FIVE = {
    "spectral_entropy": 0.029,
    "spectral_entropy_normalised": 0.029,
    "effective_rank": 0.038,
    "participation_ratio": 0.024,
    "stable_rank": 0.024,
    "spectral_norm": 0.048,
    "frobenius_norm": 0.014,
    "condition_number": 3.326,
    "numerical_rank": 0,
    "alpha_exponent": 0.024,
    "alpha_exponent_se": 0.033,
    "alpha_exponent_r_squared": 0.09,
    "hill_alpha": 0.314,
    "ks_alpha": 0.4,
    "ks_alpha_se": 0.638,
    "ks_xmin": 0.143,
    "ks_distance": 0.057,
    "ks_tail": 0.243,
    "alpha_hat": 0.395,
    "log_alpha_norm": 0.419,
    "mp_variance": 0.145,
    "mp_upper_edge": 0.129,
    "tw_edge": 0.129,
    "mp_spikes": 0.186,
    "mp_soft_rank": 0.262,
    "mp_distance": 0.105,
}
"""Metric -> the largest number of its row in the table above, percent."""
UNUSABLE = frozenset(metric for metric, percent in BEYOND_FIVE.items() if percent > 100 * RARE)
"""Metrics whose effects are given without deviations."""


class Effect(NamedTuple):
    """A metric against its null, each (...).

    Attributes:
        null_mean, null_sd: mean and standard deviation of the null's draws, see `nulls.Null`.
        difference: value - mean of the null's draws, the metric's unit; NaN where either is missing.
        deviations: difference / standard deviation of the draws, dimensionless; NaN exactly where `reason` is not
            empty.
        reason: why there are no deviations, or empty text; one of REASONS.
    """

    null_mean: Values
    null_sd: Values
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
    np.divide(difference, sd, out=deviations, where=reason == COMPUTED)
    return Effect(null.mean, null.standard_deviation, difference, deviations, reason)


def _half_equal(draws_values: np.ndarray) -> np.ndarray:
    """Whether half of the draws that have the metric, or more, lie within EQUAL of their median."""
    computed = ~np.isnan(draws_values)
    ascending = np.sort(draws_values, axis=0)  # NaN last
    middle = np.maximum(computed.sum(axis=0) - 1, 0) // 2
    median = np.take_along_axis(ascending, middle[None], axis=0)  # the lower one of two, which is a draw
    with np.errstate(invalid="ignore"):
        equal = np.abs(draws_values - median) <= EQUAL * np.abs(median)
    return np.asarray(2 * equal.sum(axis=0) >= computed.sum(axis=0))
