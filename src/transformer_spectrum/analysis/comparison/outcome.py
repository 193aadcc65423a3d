"""The outcome of a comparison: who stands where on each axis, differences, verdicts and sentences."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from transformer_spectrum.analysis.comparison.held_equal import EqualAxis
from transformer_spectrum.analysis.comparison.trajectory import ALIKE, Trajectory, curves, min_cosine
from transformer_spectrum.analysis.comparison.verdict import AxisDifference, PairVerdict
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.vocabulary import display_name

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("family", "axis", "target", "target_is_given", "seed", "arm", "crossing", "updates", "metric", "value")
"""Of `Comparison.table`."""


@dataclass(frozen=True)
class Comparison:
    """Two or more arms on all axes that they share.

    A verdict and its sentence are over the seeds that have a value on all axes, `differences` over those of each axis.

    Attributes:
        arms: names, in the order in which they were given.
        seeds: of which each has every arm.
        metrics: names.
        family: of the matrices; "" where the trajectories say none.
        axes: axis -> all trainings there, in the order of AXES; without updates unless two arms are gradient methods.
        trajectories: what was compared.
    """

    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    metrics: tuple[str, ...]
    family: str
    axes: Mapping[str, EqualAxis]
    trajectories: tuple[Trajectory, ...] = field(compare=False)

    def __repr__(self) -> str:
        seeds = f"{len(self.seeds)} seed{'s' if len(self.seeds) > 1 else ''}"
        return f"Comparison({', '.join(self.arms)} over {seeds} at equal {', '.join(self.axes)})"

    @cached_property
    def verdicts(self) -> tuple[PairVerdict, ...]:
        """Of each metric and pair of arms, differences first - second in the order of the arms."""
        return tuple(
            PairVerdict(metric, first, second, tuple(_differences(self.axes, metric, first, second)))
            for metric in self.metrics
            for first, second in itertools.combinations(self.arms, 2)
        )

    def verdict(self, metric: str, first: str, second: str) -> PairVerdict:
        """That of one metric and pair.

        Raises:
            InputError: there is none.
        """
        for verdict in self.verdicts:
            if (verdict.metric, verdict.first, verdict.second) == (metric, first, second):
                return verdict
        raise InputError(f"verdict on {metric} of {first} and {second}: no such comparison")

    @property
    def sentences(self) -> tuple[str, ...]:
        """Every verdict in words, then who has no value on which axis, which losses are one, what seeds these are."""
        if len(self.seeds) == 1:
            scope = f"This is one seed ({self.seeds[0]}): what another would show, it does not say."
        else:
            scope = f"Differences are means of {len(self.seeds)} seeds, paired within each; no test is made of them."
        censored = filter(None, (equal.sentence for equal in self.axes.values()))
        return (*(verdict.sentence for verdict in self.verdicts), *censored, *self._alike(), scope)

    def _alike(self) -> Iterator[str]:
        """Of pairs of arms with different losses which both pull on the residuals as MSE does, in every seed."""
        losses = {path.name: path.loss for path in self.trajectories}
        cosines = {arm: [path.influence_cosine for path in self.trajectories if path.name == arm] for arm in self.arms}
        for pair in itertools.combinations(self.arms, 2):
            if len({losses[arm] for arm in pair}) > 1 and all(min_cosine(cosines[arm]) > ALIKE for arm in pair):
                first, second = (f"{display_name(arm)} ({min_cosine(cosines[arm]):.4f})" for arm in pair)
                yield (
                    f"The losses of {first} and {second} both pull on the validation residuals of the best steps as "
                    f"MSE does (cosines; above {ALIKE:g}): one loss is compared with itself."
                )

    def table(self) -> pd.DataFrame:
        """A row for each axis, training and metric: target, crossing, updates, value; NaN where there is none."""
        import pandas as pd

        rows = [
            (
                self.family,
                equal.axis,
                equal.targets[arrival.seed],
                equal.is_given,
                arrival.seed,
                arrival.arm,
                arrival.crossing.value,
                arrival.updates,
                metric,
                arrival.values[metric],
            )
            for equal in self.axes.values()
            for arrival in equal.arrivals
            for metric in self.metrics
        ]
        numbers = dict.fromkeys(("target", "updates", "value"), "float64")
        return pd.DataFrame(rows, columns=list(COLUMNS)).astype(numbers)

    def curves(self) -> pd.DataFrame:
        """Every metric of every record beside its position on all axes, see `trajectory.curves`."""
        return curves(self.trajectories)

    def differences(self) -> pd.DataFrame:
        """A row for each metric, pair and axis: mean of first - second, seeds with a difference and without."""
        import pandas as pd

        columns = ["metric", "first", "second", "axis", "difference", "seeds", "seeds_without", "agrees"]
        rows = [
            (
                verdict.metric,
                verdict.first,
                verdict.second,
                difference.axis,
                difference.mean,
                len(difference.by_seed),
                len(difference.without),
                verdict.agrees,
            )
            for verdict in self.verdicts
            for difference in verdict.differences
        ]
        return pd.DataFrame(rows, columns=columns).astype({"difference": "float64"})


def _differences(axes: Mapping[str, EqualAxis], metric: str, first: str, second: str) -> Iterator[AxisDifference]:
    """first - second on each axis that both are on."""
    for axis, equal in axes.items():
        values = {(arrival.arm, arrival.seed): arrival.values[metric] for arrival in equal.arrivals}
        if (first, next(iter(equal.targets))) not in values or (second, next(iter(equal.targets))) not in values:
            continue
        by_seed, without = {}, []
        for seed in equal.targets:
            minuend, subtrahend = values[first, seed], values[second, seed]
            if minuend is None or subtrahend is None:
                without.append(seed)
            else:
                by_seed[seed] = minuend - subtrahend
        yield AxisDifference(axis, by_seed, tuple(without))
