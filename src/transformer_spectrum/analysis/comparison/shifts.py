"""How far each family's mean came from the initial weights, in percent and in standard deviations of its null."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

CURVE = ["optimizer", "family", "metric"]


@dataclass(frozen=True)
class Shift:
    """One metric of one family under one optimizer: its mean at the initial weights and at the last step.

    Attributes:
        low, high: the null, mean -+ 2 standard deviations over shuffles of the initial matrices; None without one.

    >>> shift = Shift("adam", "readout", "stable_rank", initial=4.0, last=5.0, low=3.5, high=4.5)
    >>> shift.z, shift.percent
    (4.0, 25.0)
    """

    optimizer: str
    family: str
    metric: str
    initial: float
    last: float
    low: float | None
    high: float | None

    @property
    def z(self) -> float | None:
        """Change in standard deviations of the null; None where the null has none."""
        if self.low is None or self.high is None or self.high <= self.low:
            return None
        return 4.0 * (self.last - self.initial) / (self.high - self.low)

    @property
    def percent(self) -> float | None:
        """Change in percent of the initial value; None where that is 0."""
        return 100.0 * (self.last - self.initial) / abs(self.initial) if self.initial else None


def shifts(evolution: pd.DataFrame) -> tuple[Shift, ...]:
    """Of every curve with an initial value, from its last row, which carries that value and the null.

    Args:
        evolution: `plot_tables.spectra_evolution`.

    >>> rows = [("es", "readout", "stable_rank", value, 4.0, 3.5, 4.5) for value in (4.0, 6.0)]
    >>> columns = [*CURVE, "value", "initial", "null_low", "null_high"]
    >>> [shift.z for shift in shifts(pd.DataFrame(rows, columns=columns))]
    [8.0]
    """
    if evolution.empty:
        return ()
    ends = evolution.drop_duplicates(CURVE, keep="last")
    columns = ends[[*CURVE, "initial", "value", "null_low", "null_high"]]
    return tuple(
        Shift(optimizer, family, metric, initial, last, *(None if pd.isna(bound) else bound for bound in null))
        for optimizer, family, metric, initial, last, *null in columns.itertuples(index=False, name=None)
        if not pd.isna(initial)
    )
