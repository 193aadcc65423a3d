"""The change of one family at equal steps, evaluations, distance and loss.

At their last steps optimizers stand at different losses, so what is said of these alone may turn round elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd


class Record(NamedTuple):
    """One step of a training that the curves keep.

    Attributes:
        step: its number.
        evaluations: forward passes over a batch until then.
        distance: of all weights from the initial ones; Euclidean, weight units.
        validation_loss: loss units.
        change: of the family's mean metric since step 0; the metric's unit.
    """

    step: int
    evaluations: int
    distance: float
    validation_loss: float
    change: float


AXES = ("step", "evaluations", "distance", "validation_loss")
"""Fields of a record that can be held equal."""


def records(
    evolution: pd.DataFrame,
    family: str,
    metric: str,
    distances: Mapping[str, Mapping[int, float]],
    validation_losses: Mapping[str, Mapping[int, float]],
) -> dict[str, list[Record]]:
    """Those of each optimizer whose family has the metric at two steps at least, in order.

    Args:
        evolution: `plot_tables.spectra_evolution`.
        family, metric: whose change it is.
        distances: optimizer -> step -> distance of its weights from the initial ones.
        validation_losses: optimizer -> step -> validation loss.

    >>> rows = [("es", 0, 0, 4.0), ("es", 5, 80, 3.0)]
    >>> evolution = pd.DataFrame(rows, columns=["optimizer", "step", "evaluations", "value"])
    >>> evolution = evolution.assign(family="readout", metric="stable_rank", initial=4.0)
    >>> records(evolution, "readout", "stable_rank", {"es": {0: 0.0, 5: 2.0}}, {"es": {0: 1.5, 5: 0.9}})["es"][1]
    Record(step=5, evaluations=80, distance=2.0, validation_loss=0.9, change=-1.0)
    """
    histories: dict[str, list[Record]] = {}
    if evolution.empty:
        return histories
    curves = evolution[(evolution["family"] == family) & (evolution["metric"] == metric) & evolution["value"].notna()]
    for optimizer, distance in distances.items():
        curve = curves[curves["optimizer"] == optimizer]
        if len(curve) > 1:
            losses = validation_losses[optimizer]
            histories[optimizer] = [
                Record(step, evaluations, distance[step], losses[step], value - initial)
                for step, evaluations, value, initial in curve[["step", "evaluations", "value", "initial"]].itertuples(
                    index=False, name=None
                )
            ]
    return histories


def at_equal(axis: str, histories: Mapping[str, Sequence[Record]]) -> tuple[float, dict[str, Record]]:
    """What all optimizers reach on an axis, and the record of each that is there.

    Args:
        axis: of `AXES`.
        histories: optimizer -> its records, in order.
    Returns:
        The lowest loss that all reach, and the first record of each at or below it; of the other axes the largest
        value that all reach, and the record of each that is nearest to it.

    >>> fast, slow = [Record(1, 10, 2.0, 0.9, -0.1)], [Record(1, 4, 3.0, 2.0, -1.0), Record(5, 16, 9.0, 1.0, -2.0)]
    >>> reached, records_there = at_equal("evaluations", {"adam": fast, "es": slow})
    >>> reached, records_there["es"].step
    (10, 1)
    """
    values = {optimizer: [getattr(record, axis) for record in history] for optimizer, history in histories.items()}
    if axis == "validation_loss":
        reached = max(min(column) for column in values.values())
        return reached, {
            optimizer: next(record for record in history if record.validation_loss <= reached)
            for optimizer, history in histories.items()
        }
    reached = min(max(column) for column in values.values())
    return reached, {
        optimizer: min(history, key=lambda record: abs(getattr(record, axis) - reached))
        for optimizer, history in histories.items()
    }


def furthest(axis: str, histories: Mapping[str, Sequence[Record]]) -> str:
    """The optimizer whose change is the largest of size where an axis is held equal.

    >>> furthest("step", {"adam": [Record(1, 10, 2.0, 0.9, -0.1)], "es": [Record(1, 4, 3.0, 2.0, -1.0)]})
    'es'
    """
    _, records_there = at_equal(axis, histories)
    return max(records_there, key=lambda optimizer: abs(records_there[optimizer].change))
