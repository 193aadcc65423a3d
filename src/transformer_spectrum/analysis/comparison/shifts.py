"""Where each family's mean stands at each training's best step: since the initial weights, and against its null."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

CURVE = ["optimizer", "family", "metric"]


@dataclass(frozen=True)
class Shift:
    """One metric of one family under one optimizer, its mean at one step.

    Attributes:
        step: updates done.
        initial: mean at the initial weights; None where the metric has no value there, as those of a change.
        value: mean at the step.
        null: mean of its null; of a matrix W_0 plus its change with shuffled entries, of a change its shuffled entries.
        effect: value - null, the metric's unit; None without a null.
        deviations: the same in standard deviations of the null's draws; None where these say little.

    >>> shift = Shift("adam", "readout", "stable_rank", 9, initial=4.0, value=5.0, null=4.5, effect=0.5, deviations=4.0)
    >>> shift.percent
    25.0
    """

    optimizer: str
    family: str
    metric: str
    step: int
    initial: float | None
    value: float
    null: float | None
    effect: float | None
    deviations: float | None

    @property
    def percent(self) -> float | None:
        """Change since the initial weights in percent; None where the initial value is 0 or missing."""
        return 100.0 * (self.value - self.initial) / abs(self.initial) if self.initial else None


def shifts(evolution: pd.DataFrame, steps: Mapping[str, int]) -> tuple[Shift, ...]:
    """Of every curve that has a row at the step of its optimizer.

    Args:
        evolution: `plot_tables.spectra_evolution`.
        steps: optimizer -> at which step.

    >>> rows = [("es", "readout", "stable_rank", step, value, 4.0, 2.0, 1.0) for step, value in ((2, 6.0), (3, 7.0))]
    >>> columns = [*CURVE, "step", "value", "initial", "effect", "deviations"]
    >>> [(shift.value, shift.null) for shift in shifts(pd.DataFrame(rows, columns=columns), {"es": 3})]
    [(7.0, 5.0)]
    """
    if evolution.empty:
        return ()
    rows = evolution[evolution["step"] == evolution["optimizer"].map(steps)]
    columns = rows[[*CURVE, "step", "initial", "value", "effect", "deviations"]]
    return tuple(
        Shift(
            optimizer,
            family,
            metric,
            int(step),
            _number(initial),
            value,
            None if pd.isna(effect) else value - effect,
            _number(effect),
            _number(deviations),
        )
        for optimizer, family, metric, step, initial, value, effect, deviations in columns.itertuples(
            index=False, name=None
        )
    )


def _number(value: float) -> float | None:
    return None if pd.isna(value) else value
