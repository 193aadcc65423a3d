"""When a training first reaches a target on an axis, and what its metrics are at that moment."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from transformer_spectrum.analysis.comparison.trajectory import FALLING, Trajectory


class Crossing(StrEnum):
    """What a record of a training says of its reaching a target.

    >>> Crossing("left_censored") is Crossing.LEFT_CENSORED
    True
    """

    REACHED = "reached"
    LEFT_CENSORED = "left_censored"  # before the first record after step 0: when, and with which metrics, is unknown
    RIGHT_CENSORED = "right_censored"  # in no record


class Place(NamedTuple):
    """Between two records, or at one where both are the same.

    Attributes:
        earlier, later: positions of the records, > 0.
        share: of the way from the earlier to the later; fraction, 0 < x <= 1.
    """

    earlier: int
    later: int
    share: float

    def between(self, values: np.ndarray) -> float | None:
        """Linear interpolation of (S,) values; None where a record that it needs has none."""
        first, second = float(values[self.earlier]), float(values[self.later])
        value = first + self.share * (second - first)
        return value if math.isfinite(value) else None


@dataclass(frozen=True)
class Arrival:
    """One training at a target.

    Attributes:
        arm, seed: of the training.
        crossing: whether its metrics there are known.
        updates: when, interpolated; None unless reached.
        values: metric -> value, interpolated; None unless reached, and where a record there has none.
    """

    arm: str
    seed: int
    crossing: Crossing
    updates: float | None
    values: Mapping[str, float | None]


def first_crossing(positions: np.ndarray, target: float, *, falling: bool) -> tuple[Crossing, Place | None]:
    """Where a path first is at or beyond a target, by a straight line between records after step 0.

    Args:
        positions: (S,) on the axis, step 0 first; what is not finite counts as not recorded. They need not be
            monotone: what counts is the first time.
        target: on the axis.
        falling: beyond means below, as on the axis of the MAE, and not above.
    Returns:
        What is known and, if it is reached, where. A target that step 0 or the first record after it is already
        beyond is left-censored; one that a record meets exactly is reached there. A path of step 0 alone reaches
        nothing.

    >>> first_crossing(np.array([3.0, 2.0, 1.0, 0.5]), 1.5, falling=True)
    (<Crossing.REACHED: 'reached'>, Place(earlier=1, later=2, share=0.5))
    >>> first_crossing(np.array([3.0, 2.0, 1.0, 0.5]), 2.5, falling=True)
    (<Crossing.LEFT_CENSORED: 'left_censored'>, None)
    """
    progress, goal = (-positions, -target) if falling else (positions, target)
    recorded = np.flatnonzero(np.isfinite(positions))
    beyond = recorded[progress[recorded] >= goal]
    if not len(beyond) or len(positions) == 1:  # of one that has ended at step 0 nothing was ever recorded
        return Crossing.RIGHT_CENSORED, None
    later = int(beyond[0])
    before = recorded[(recorded < later) & (recorded > 0)]
    if later > 0 and progress[later] == goal:
        return Crossing.REACHED, Place(later, later, 1.0)
    if not len(before):
        return Crossing.LEFT_CENSORED, None
    earlier = int(before[-1])
    share = (goal - progress[earlier]) / (progress[later] - progress[earlier])
    return Crossing.REACHED, Place(earlier, later, float(share))


def arrive(trajectory: Trajectory, axis: str, target: float | None) -> Arrival:
    """A training at a target of one of `trajectory.AXES`; None = no target, so that nothing arrives.

    >>> path = Trajectory("es", "population", "synthetic", [0, 2, 4], [1, 9, 17], [0.9, 0.7, 0.5],
    ...     [0, 0.1, 0.2], {"stable_rank": [20, 19, 18]})
    >>> arrive(path, "evaluations", 13)
    Arrival(arm='es', seed=0, crossing=<Crossing.REACHED: 'reached'>, updates=3.0, values={'stable_rank': 18.5})
    """
    crossing, place = Crossing.RIGHT_CENSORED, None
    if target is not None:
        crossing, place = first_crossing(trajectory.along(axis), target, falling=axis == FALLING)
    if place is None:
        return Arrival(trajectory.name, trajectory.seed, crossing, None, dict.fromkeys(trajectory.metrics))
    values = {name: place.between(trajectory.metric(name)) for name in trajectory.metrics}
    return Arrival(trajectory.name, trajectory.seed, crossing, place.between(trajectory.along("updates")), values)


def reached_by_all(trajectories: Iterable[Trajectory], axis: str) -> float | None:
    """The worst arm's best after step 0: the largest of the lowest MAEs, the smallest of the other axes' largest.

    An arm without a finite position after step 0, as one that has diverged, has no best: it does not decide where the
    others are compared, and reaches nothing itself.

    Returns:
        In units of the axis; None where fewer than two arms have such a position.

    >>> short, long = (
    ...     Trajectory(name, "gradient", "synthetic", [0, last], [1, last + 1], [0.9, mae], [0, 0.1])
    ...     for name, last, mae in (("sgd", 4, 0.7), ("adam", 8, 0.6))
    ... )
    >>> reached_by_all([short, long], "validation_mae"), reached_by_all([short, long], "updates")
    (0.7, 4.0)
    """
    bests = []
    for trajectory in trajectories:
        positions = trajectory.along(axis)[1:]
        recorded = positions[np.isfinite(positions)]
        if len(recorded):
            bests.append(float(recorded.min() if axis == FALLING else recorded.max()))
    if len(bests) < 2:
        return None
    return max(bests) if axis == FALLING else min(bests)
