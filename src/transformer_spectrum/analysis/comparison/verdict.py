"""Whether two arms differ in the same direction whatever is held equal, as a field and in words."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transformer_spectrum.vocabulary import display_name, metric_words

AXIS_WORDS: Mapping[str, str] = {
    "validation_mae": "validation MAE",
    "evaluations": "evaluations",
    "distance": "distance",
    "updates": "updates",
}


@dataclass(frozen=True)
class AxisDifference:
    """One metric, first arm - second arm, where one axis is held equal.

    Attributes:
        axis: that is held equal.
        by_seed: seed -> difference, of the seeds in which both arms have a value there; the metric's unit.
        without: the other seeds, in which an arm is censored or the metric has no value.

    >>> difference = AxisDifference("distance", {1: -2.0, 2: -1.0}, (3,))
    >>> difference.mean, difference.sign
    (-1.5, -1)
    """

    axis: str
    by_seed: Mapping[Any, float]
    without: tuple[Hashable, ...] = ()

    def of_seeds(self, seeds: Collection[Hashable]) -> AxisDifference:
        """Over some of the seeds; the rest are among those without.

        >>> AxisDifference("distance", {1: -2.0, 2: -1.0}, (3,)).of_seeds([2])
        AxisDifference(axis='distance', by_seed={2: -1.0}, without=(3, 1))
        """
        left_out = tuple(seed for seed in self.by_seed if seed not in seeds)
        by_seed = {seed: difference for seed, difference in self.by_seed.items() if seed in seeds}
        return AxisDifference(self.axis, by_seed, (*self.without, *left_out))

    @property
    def mean(self) -> float | None:
        """Over the seeds that have one; None where none has."""
        return sum(self.by_seed.values()) / len(self.by_seed) if self.by_seed else None

    @property
    def sign(self) -> int | None:
        """-1, 0 or 1 of the mean; None without one."""
        return None if self.mean is None else (self.mean > 0) - (self.mean < 0)


@dataclass(frozen=True)
class PairVerdict:
    """One metric of two arms on all axes that both are on.

    Attributes:
        metric: its name.
        first, second: the arms; differences are first - second.
        differences: one for each axis.
    """

    metric: str
    first: str
    second: str
    differences: tuple[AxisDifference, ...]

    @property
    def common_seeds(self) -> tuple[Hashable, ...]:
        """Seeds that have a difference on every axis that has any; what is said of several axes is said of them."""
        recorded = [difference.by_seed for difference in self.differences if difference.by_seed]
        return tuple(seed for seed in recorded[0] if all(seed in by_seed for by_seed in recorded)) if recorded else ()

    @property
    def paired(self) -> tuple[AxisDifference, ...]:
        """`differences` over `common_seeds` alone, so that axes differ by the axis and not by who has arrived there.

        As they are where no seed is common to them.
        """
        common = self.common_seeds
        return tuple(difference.of_seeds(common) for difference in self.differences) if common else self.differences

    @property
    def agrees(self) -> bool | None:
        """Whether the mean differences of the common seeds have one sign on all axes.

        False as soon as two axes have different signs, over the seeds that are on all axes or over those that are on
        these two; None while the axes with a difference agree but one has none, as nobody knows its sign, and where no
        seed has a difference on all axes that have any.
        """
        if not self.common_seeds:
            return None
        signs = {difference.sign for difference in self.paired if difference.sign is not None}
        if len(signs) > 1 or self.turning is not None:
            return False
        return True if all(difference.sign is not None for difference in self.paired) else None

    @property
    def robust(self) -> bool | None:
        """The same, and None where seeds that an axis has alone turn the sign of its own mean.

        >>> all_alike = PairVerdict("rank", "a", "b", (AxisDifference("updates", {1: 5.0, 2: -1.0}),
        ...     AxisDifference("distance", {2: -1.0})))
        >>> all_alike.agrees, all_alike.robust
        (True, None)
        """
        own = {difference.sign for difference in self.differences}
        return None if self.agrees and own != {difference.sign for difference in self.paired} else self.agrees

    @property
    def turning(self) -> tuple[str, str] | None:
        """Two axes that have different signs over the seeds that are on both; None where there are none.

        >>> PairVerdict("rank", "a", "b", (AxisDifference("updates", {1: 5.0, 2: -1.0}),
        ...     AxisDifference("distance", {1: -5.0, 2: -1.0}), AxisDifference("evaluations", {2: -1.0}))).turning
        ('updates', 'distance')
        """
        for first, second in itertools.combinations(self.differences, 2):
            both = [seed for seed in first.by_seed if seed in second.by_seed]
            if both and first.of_seeds(both).sign != second.of_seeds(both).sign:
                return first.axis, second.axis
        return None

    @property
    def sentence(self) -> str:
        """The verdict in words, made from the differences of the common seeds alone.

        >>> fall, rise = (AxisDifference("updates", {1: -0.18}), AxisDifference("validation_mae", {1: 0.26}))
        >>> PairVerdict("stable_rank", "q=1.05", "mse", (rise, fall)).sentence
        'stable rank: q=1.05 is above mse at equal validation MAE (+0.26), below it at equal updates (-0.18): the axis \
decides the sign.'
        >>> PairVerdict("stable_rank", "q=5", "mse", (fall, AxisDifference("distance", {}, (1,)))).sentence
        'stable rank: q=5 is below mse at equal updates (-0.18); at equal distance they have no common value, so the \
sign on all axes is not known.'
        """
        first, second = display_name(self.first), display_name(self.second)
        clauses, grouped = [], _by_sign(self.paired)
        for place, (sign, differences) in enumerate(grouped.items()):
            relation = {1: "above {}", -1: "below {}", 0: "equal to {}"}[sign].format(second if place == 0 else "it")
            clauses.append(f"{relation} at equal {_joined([_told(difference) for difference in differences])}")
        missing = [AXIS_WORDS[difference.axis] for difference in self.differences if difference.sign is None]
        subject = f"{metric_words(self.metric)}: {first}"
        if not clauses:
            return f"{subject} and {second} have no common value at equal {_joined(missing)}."
        text = f"{subject} is {', '.join(clauses)}"
        if missing:
            text += f"; at equal {_joined(missing)} they have no common value"
        if not self.common_seeds:
            return f"{text}; no seed has a value on all of them, so whether they agree is not known."
        if self.agrees is None:
            return f"{text}, so the sign on all axes is not known."
        if self.turning is not None and len(grouped) == 1:
            axes = _joined([AXIS_WORDS[axis] for axis in self.turning])
            return f"{text}; over all seeds that have a value at equal {axes} these two decide the sign."
        return text + (": the same sign on all axes." if self.agrees else ": the axis decides the sign.")


def _by_sign(differences: Sequence[AxisDifference]) -> dict[int, list[AxisDifference]]:
    """Those that have a sign, in the order in which signs first appear."""
    grouped: dict[int, list[AxisDifference]] = {}
    for difference in differences:
        if difference.sign is not None:
            grouped.setdefault(difference.sign, []).append(difference)
    return grouped


def _told(difference: AxisDifference) -> str:
    """distance (+1.5, 2 of 3 seeds)."""
    seeds, without = len(difference.by_seed), len(difference.without)
    count = f", {seeds} of {seeds + without} seeds" if without else ""
    return f"{AXIS_WORDS[difference.axis]} ({difference.mean:+.3g}{count})"


def _joined(phrases: Sequence[str]) -> str:
    return phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} and {phrases[-1]}"
