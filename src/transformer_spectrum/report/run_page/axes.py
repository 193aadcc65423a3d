"""The change of one family at equal steps, evaluations, distance and loss.

At their last steps optimizers stand at different losses, so what is said of these alone may turn round elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from transformer_spectrum.report.page.html import Table
from transformer_spectrum.report.page.numbers import joined, number, signed
from transformer_spectrum.report.run import MAIN_METRIC, Run
from transformer_spectrum.report.run_page import text
from transformer_spectrum.vocabulary import display_name, family_words


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
    table, histories = run.curves["spectra_evolution"], {}
    mine = table[(table["family"] == run.main_family) & (table["metric"] == MAIN_METRIC)].dropna(subset=["value"])
    for optimizer, training in run.trainings.items():
        rows = list(mine[mine["optimizer"] == optimizer].itertuples(index=False))
        if len(rows) > 1:
            histories[optimizer] = [
                Record(
                    row.step,
                    row.evaluations,
                    training.distances[row.step],
                    training.validation_losses[row.step],
                    row.value - row.initial,
                )
                for row in rows
            ]
    return histories


def at_equal(axis: str, histories: Mapping[str, list[Record]]) -> tuple[float, dict[str, Record]]:
    """What all optimizers reach on an axis, and the record of each that is there.

    Args:
        axis: of `AXES`.
        histories: optimizer -> its records, in order.
    Returns:
        The lowest loss that all reach, and the first record of each at or below it; of the other axes the largest
        value that all reach, and the record of each that is nearest to it.

    >>> adam = [Record(0, 1, 0.0, 3.0, 0.0), Record(1, 10, 2.0, 0.9, -0.1), Record(2, 20, 4.0, 0.5, -5.0)]
    >>> es = [Record(0, 1, 0.0, 3.0, 0.0), Record(1, 4, 3.0, 2.0, -1.0), Record(5, 16, 9.0, 1.0, -2.0)]
    >>> reached, matches = at_equal("validation_loss", {"adam": adam, "es": es})
    >>> reached, matches["adam"].change, matches["es"].change
    (1.0, -0.1, -2.0)
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
        reached, matches = at_equal(axis, histories)
        cells = (
            f"{signed(record.change, 2)} (at {number(getattr(record, axis), digits)})" for record in matches.values()
        )
        rows.append((f"{title}: {number(reached, digits)}", *cells))
    caption = (
        f"Change of the mean {text.METRIC_WORDS} of the {family_words(run.main_family)} matrices where all optimizers "
        "have reached the same; of the steps that the curves keep, the nearest, or the first at or below the loss."
    )
    return Table(caption, ("held equal", *map(display_name, histories)), tuple(rows))


def answer(run: Run) -> list[str]:
    """What came out, and what becomes of it where something else than the last step is held equal."""
    return [*text.answer(run), *filter(None, [sentence(run)])]


def sentence(run: Run) -> str:
    """Who moved the family furthest on which axis; empty where fewer than two optimizers can be compared."""
    histories = records(run)
    if len(histories) < 2:
        return ""
    axes_of: dict[str, list[str]] = {}
    for axis, (title, _) in AXES.items():
        _, matches = at_equal(axis, histories)
        furthest = max(matches, key=lambda optimizer: abs(matches[optimizer].change))
        axes_of.setdefault(display_name(furthest), []).append(title)
    order = joined([f"under {optimizer} at equal {joined(axes)}" for optimizer, axes in axes_of.items()])
    reached, matches = at_equal("validation_loss", histories)
    changes = joined([f"{signed(record.change, 2)} under {display_name(name)}" for name, record in matches.items()])
    return (
        f"The {text.METRIC_WORDS} of the {family_words(run.main_family)} matrices moved furthest {order}. At a "
        f"validation loss of {number(reached)}, which all reach, the change was {changes}."
    )
