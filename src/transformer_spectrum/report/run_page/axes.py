"""The change of one family at equal steps, evaluations, distance and loss, in words.

At their last steps optimizers stand at different losses, so what is said of these alone may turn round elsewhere.
"""

from __future__ import annotations

from transformer_spectrum.analysis.comparison import equal_axes
from transformer_spectrum.analysis.comparison.equal_axes import Record, at_equal
from transformer_spectrum.report.page.html import Table
from transformer_spectrum.report.page.numbers import joined, number, signed
from transformer_spectrum.report.run import MAIN_METRIC, Run
from transformer_spectrum.report.run_page import answer_words
from transformer_spectrum.vocabulary import display_name, family_words

AXES = {
    "step": ("steps", 0),
    "evaluations": ("evaluations", 0),
    "distance": ("distance", 1),
    "validation_loss": ("validation loss", 3),
}
"""Field of a record -> what is held equal, and the decimals of its values."""


def records(run: Run) -> dict[str, list[Record]]:
    """Those of each optimizer whose family has the metric at two steps at least, in order.

    >>> [record.step for record in records(run)["es"]]
    [0, 1, 2, 3, 4]
    """
    return equal_axes.records(
        run.curves["spectra_evolution"],
        run.main_family,
        MAIN_METRIC,
        {optimizer: training.distances for optimizer, training in run.trainings.items()},
        {optimizer: training.validation_losses for optimizer, training in run.trainings.items()},
    )


def table(run: Run) -> Table | None:
    """The change on each axis; None where fewer than two optimizers can be compared.

    >>> [row[0] for row in table(run).rows]
    ['steps: 3', 'evaluations: 128', 'distance: 3.2', 'validation loss: 1.109']
    """
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
        f"Change of the mean {answer_words.METRIC_WORDS} of the {family_words(run.main_family)} matrices where all "
        "optimizers have reached the same; of the steps that the curves keep, the nearest, or the first at or below "
        "the loss."
    )
    return Table(caption, ("held equal", *map(display_name, histories)), tuple(rows))


def answer(run: Run) -> list[str]:
    """What came out, and what becomes of it where something else than the last step is held equal.

    >>> answer(run)[-1] == sentence(run)
    True
    """
    return [*answer_words.answer(run), *filter(None, [sentence(run)])]


def sentence(run: Run) -> str:
    """Who moved the family furthest on which axis; empty where fewer than two optimizers can be compared.

    >>> sentence(run).split(", which all reach, ")[1]
    'the change was +0.01 under Adam, 0.00 under ES and +0.03 under GA.'
    """
    histories = records(run)
    if len(histories) < 2:
        return ""
    axes_of: dict[str, list[str]] = {}
    for axis, (title, _) in AXES.items():
        axes_of.setdefault(display_name(equal_axes.furthest(axis, histories)), []).append(title)
    order = joined([f"under {optimizer} at equal {joined(axes)}" for optimizer, axes in axes_of.items()])
    reached, matches = at_equal("validation_loss", histories)
    changes = joined([f"{signed(record.change, 2)} under {display_name(name)}" for name, record in matches.items()])
    return (
        f"The {answer_words.METRIC_WORDS} of the {family_words(run.main_family)} matrices moved furthest {order}. At a "
        f"validation loss of {number(reached)}, which all reach, the change was {changes}."
    )
