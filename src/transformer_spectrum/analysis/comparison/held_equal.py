"""All trainings of a comparison where one axis is held equal, and who has no value there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from transformer_spectrum.analysis.comparison.arrival import Arrival, Crossing, arrive, reached_by_all
from transformer_spectrum.analysis.comparison.trajectory import Trajectory
from transformer_spectrum.analysis.comparison.verdict import AXIS_WORDS
from transformer_spectrum.vocabulary import display_name


@dataclass(frozen=True)
class EqualAxis:
    """All trainings where one axis is held equal.

    Attributes:
        axis: one of AXES.
        targets: seed -> what is held equal, in units of the axis; None where fewer than two arms have one.
        is_given: whether the target was set in advance; else it is what all arms of the seed reach.
        arrivals: of each training that can be compared on this axis, seed by seed.
    """

    axis: str
    targets: Mapping[int, float | None]
    is_given: bool
    arrivals: tuple[Arrival, ...]

    def counts(self, crossing: Crossing | str) -> dict[str, int]:
        """Arm -> how many of its trainings, one a seed, have that crossing.

        >>> early = Arrival("adam", 1, Crossing.LEFT_CENSORED, None, {})
        >>> EqualAxis("evaluations", {1: 11.0}, is_given=True, arrivals=(early,)).counts("left_censored")
        {'adam': 1}
        """
        wanted = Crossing(crossing)
        counted = Counter(arrival.arm for arrival in self.arrivals if arrival.crossing is wanted)
        return {arm: counted[arm] for arm in dict.fromkeys(arrival.arm for arrival in self.arrivals)}

    @property
    def sentence(self) -> str:
        """Who has no value here and why; empty where all have arrived.

        >>> early = Arrival("adam", 1, Crossing.LEFT_CENSORED, None, {})
        >>> EqualAxis("evaluations", {1: 11.0}, is_given=True, arrivals=(early,)).sentence
        'At equal evaluations (11) no value has Adam, which was beyond it before its first record (left-censored).'
        """
        reasons = {
            Crossing.LEFT_CENSORED: "was beyond it before its first record (left-censored)",
            Crossing.RIGHT_CENSORED: "never arrives (right-censored)",
        }
        clauses = [
            f"{display_name(arm)}, which {reason}{f' in {count} of {seeds} seeds' if seeds > 1 else ''}"
            for crossing, reason in reasons.items()
            for arm, count in self.counts(crossing).items()
            if count and (seeds := len(self.targets))
        ]
        if not clauses:
            return ""
        goals = {target for target in self.targets.values() if target is not None}
        goal = f" ({goals.pop():.4g})" if len(goals) == 1 else ""
        return f"At equal {AXIS_WORDS[self.axis]}{goal} no value has {'; nor '.join(clauses)}."


def hold_equal(axis: str, rows: Sequence[Sequence[Trajectory]], targets: Mapping[str, float] | None) -> EqualAxis:
    """All trainings at their target on one axis.

    Args:
        axis: one of AXES.
        rows: the trainings of each seed.
        targets: axis -> what to hold equal; on an axis without one it is what all of a seed reach.

    >>> row = [
    ...     Trajectory(name, "gradient", "synthetic", [0, 1, 2], [1, 4, last], [0.9, 0.7, 0.6], [0, 0.1, 0.2])
    ...     for name, last in (("sgd", 7), ("adam", 9))
    ... ]
    >>> equal = hold_equal("evaluations", [row], None)
    >>> equal.targets, [arrival.updates for arrival in equal.arrivals]
    ({0: 7.0}, [2.0, 1.6])
    """
    is_given = targets is not None and axis in targets
    goals = {row[0].seed: targets[axis] if targets and is_given else reached_by_all(row, axis) for row in rows}
    arrivals = tuple(arrive(path, axis, goals[path.seed]) for row in rows for path in row)
    return EqualAxis(axis, goals, is_given, arrivals)
