"""When each spike of a spectrum is born: the first tracked step from which on it stands until the end."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int, Real, Shaped

from transformer_spectrum.spectra.reasons import COMPUTED

NEVER = "never so many spikes"
PASSING = "so many spikes at times, but not at the last step with a count"
NO_COUNT = "no step has a count"
REASONS = (COMPUTED, NEVER, PASSING, NO_COUNT)


class Births(NamedTuple):
    """Births of the 1st, 2nd, ... spike of each of M matrices, n of them each.

    Attributes:
        steps: (M, n) first step from which on at least i spikes stand at every step that has a count; the unit of the
            steps that were given; NaN exactly where `reason` is not empty. Rises with i.
        crossings: (M, n) first step at all with at least i spikes, never later than `steps`; NaN where there is none.
        censored: (M, n) bool; the spike stands at the first step that has a count already: it was born then or before.
        reason: (M, n) why there is no birth, or empty text; one of REASONS.
    """

    steps: Float64[np.ndarray, "matrices spikes"]
    crossings: Float64[np.ndarray, "matrices spikes"]
    censored: Bool[np.ndarray, "matrices spikes"]
    reason: Shaped[np.ndarray, "matrices spikes"]


def spike_births(
    counts: Real[np.ndarray, "steps matrices"], steps: Int[np.ndarray, " steps"], most: int | None = None
) -> Births:
    """Births from the number of spikes at each tracked step: of the i-th, min the first t with counts >= i from t on.

    A count near the Tracy-Widom edge comes and goes, and noise has a spike once in a hundred looks. The birth therefore
    is the crossing that lasts; the first crossing of all stands beside it. The i-th spike is the i-th in number and not
    a direction that is followed: where one is lost and another gained between two steps, the count does not tell.

    Args:
        counts: (S, M) spikes, such as `mp_spikes` of `spectra.analysis`; NaN where there is no count (more spikes than
            are counted, or no bulk), which neither keeps nor ends a birth.
        steps: (S,) at which they were counted, rising; updates.
        most: n, how many births a matrix gets; count, >= 0; None: the largest count of all.
    Returns:
        See `Births`.
    Raises:
        ValueError: steps that do not rise or are not as many as the counts, counts that are infinite or negative, or
            most < 0.

    >>> births = spike_births(np.array([[0.0], [1.0], [0.0], [1.0], [2.0]]), np.array([0, 10, 20, 30, 40]))
    >>> births.steps, births.crossings
    (array([[30., 40.]]), array([[10., 40.]]))
    """
    counts, steps = np.asarray(counts, dtype=np.float64), np.asarray(steps)
    if len(steps) != len(counts) or (np.diff(steps) <= 0).any():
        raise ValueError(f"{len(steps)} steps for {len(counts)} rows of counts: must be as many, and rise")
    if np.isinf(counts).any() or (counts < 0).any():
        raise ValueError("counts must be >= 0 and finite, or NaN")
    if most is not None and most < 0:
        raise ValueError(f"most = {most}: must be >= 0")
    counted = ~np.isnan(counts)  # (S, M)
    if most is None:
        most = int(np.max(counts, where=counted, initial=0))
    order = np.arange(1, most + 1)
    reached = counted[..., None] & (np.where(counted, counts, 0.0)[..., None] >= order)  # (S, M, n)
    missed = counted[..., None] & ~reached
    lasting = reached & ~np.logical_or.accumulate(missed[::-1], axis=0)[::-1]
    crossings, births = _first(reached, steps), _first(lasting, steps)
    start = _first(counted, steps)[:, None]
    reason = np.full(births.shape, COMPUTED, dtype=f"U{max(len(name) for name in REASONS)}")
    reason[np.isnan(births)] = PASSING
    reason[np.isnan(crossings)] = NEVER
    reason[~counted.any(axis=0)] = NO_COUNT
    return Births(births, crossings, births == start, reason)


def _first(mask: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """The step of the first True along the first axis, NaN where there is none."""
    if not len(steps):
        return np.full(mask.shape[1:], np.nan)
    return np.where(mask.any(axis=0), steps[mask.argmax(axis=0)].astype(np.float64), np.nan)
