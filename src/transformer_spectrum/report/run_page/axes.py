"""The change of one family at equal steps, evaluations, distance and loss.

At their last steps optimizers stand at different losses, so what is said of these alone may turn round elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from transformer_spectrum.report.page.html import Table
from transformer_spectrum.report.run_page.inputs import Run
from transformer_spectrum.report.run_page.text import CHANGED, joined, number, shown_family, signed, words
from transformer_spectrum.report.run_page.text import answer as page_answer
from transformer_spectrum.vocabulary import display_name


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


AXES = {
    "step": ("steps", 0),
    "evaluations": ("evaluations", 0),
    "distance": ("distance", 1),
    "validation_loss": ("validation loss", 3),
}
"""Field of a record -> what is held equal, and the decimals of its values."""


def records(run: Run) -> dict[str, list[Record]]:
    """Those of each optimizer whose family has the metric at two steps at least, in order."""
    family, found = shown_family(run), {}
    for optimizer, training in run.trainings.items():
        rows = [
            row
            for row in run.curves["spectra_evolution"]
            if (row["optimizer"], row["family"], row["metric"]) == (optimizer, family, CHANGED) and row["value"]
        ]
        if len(rows) > 1:
            found[optimizer] = [
                Record(
                    step := int(row["step"]),
                    int(row["evaluations"]),
                    training.distances[step],
                    training.validation_losses[step],
                    float(row["value"]) - float(row["initial"]),
                )
                for row in rows
            ]
    return found


def at_equal(axis: str, histories: Mapping[str, list[Record]]) -> tuple[float, dict[str, Record]]:
    """What all optimizers reach on an axis, and the record of each that is there.

    Args:
        axis: of `AXES`.
        histories: optimizer -> its records, in order.
    Returns:
        The lowest loss that all reach, and the first record of each at or below it; of the other axes the largest
        value that all reach, and the record of each that is nearest to it.
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


def table(run: Run) -> Table | None:
    """The change on each axis; None where fewer than two optimizers can be compared."""
    histories = records(run)
    if len(histories) < 2:
        return None
    rows = []
    for axis, (title, digits) in AXES.items():
        reached, there = at_equal(axis, histories)
        cells = (
            f"{signed(record.change, 2)} (at {number(getattr(record, axis), digits)})" for record in there.values()
        )
        rows.append((f"{title}: {number(reached, digits)}", *cells))
    caption = (
        f"Change of the mean stable rank of the {words(shown_family(run))} matrices where all optimizers have reached "
        "the same; of the steps that the curves keep, the nearest, or the first at or below the loss."
    )
    return Table(caption, ("held equal", *map(display_name, histories)), tuple(rows))


def answer(run: Run) -> list[str]:
    """What came out, and what becomes of it where something else than the last step is held equal."""
    return [*page_answer(run), *filter(None, [sentence(run)])]


def sentence(run: Run) -> str:
    """Who moved the family furthest on which axis; empty where fewer than two optimizers can be compared."""
    histories = records(run)
    if len(histories) < 2:
        return ""
    axes_of: dict[str, list[str]] = {}
    for axis, (title, _) in AXES.items():
        _, there = at_equal(axis, histories)
        furthest = max(there, key=lambda optimizer: abs(there[optimizer].change))
        axes_of.setdefault(display_name(furthest), []).append(title)
    order = joined([f"under {optimizer} at equal {joined(axes)}" for optimizer, axes in axes_of.items()])
    reached, there = at_equal("validation_loss", histories)
    changes = joined([f"{signed(record.change, 2)} under {display_name(name)}" for name, record in there.items()])
    return (
        f"The stable rank of the {words(shown_family(run))} matrices moved furthest {order}. At a validation loss of "
        f"{number(reached)}, which all reach, the change was {changes}."
    )
