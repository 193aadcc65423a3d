"""All charts of the page in their order, and why one may be lacking."""

from __future__ import annotations

from collections.abc import Sequence

from transformer_spectrum.report.charts import esd, evolution, forecasts, heatmap, loss, moved, singular_values
from transformer_spectrum.report.charts.parts import Chart
from transformer_spectrum.report.figures import esd as esd_words
from transformer_spectrum.report.figures import evolution as evolution_words
from transformer_spectrum.report.figures import heatmap as heatmap_words
from transformer_spectrum.report.figures import moved as moved_words
from transformer_spectrum.report.figures import singular_values as singular_value_words
from transformer_spectrum.report.run import Run

ORDER = (moved, loss, evolution, esd, singular_values, heatmap, forecasts)
MAY_LACK = (
    ("moved", moved_words.TITLE, "no family has a null that varies"),
    ("evolution", evolution_words.TITLE, "no metric has a value"),
    ("esd", esd_words.TITLE, "no eigenvalue is positive"),
    ("singular-values", singular_value_words.TITLE, "none is positive"),
    ("layers", heatmap_words.TITLE, "no matrix has a change since step 0 that can be told"),
)


def charts(run: Run) -> list[Chart]:
    """All charts that have anything to show, in the page's order.

    >>> [drawing.name for drawing in charts(run)]
    ['moved', 'loss', 'evolution', 'esd', 'singular-values', 'layers', 'forecasts']
    """
    return [drawing for module in ORDER if (drawing := module.chart(run)) is not None]


def missing(drawings: Sequence[Chart]) -> list[str]:
    """A line for each chart that has nothing to show, as where every weight is 0.

    Args:
        drawings: those that have.

    >>> missing([])[1]
    "The figure 'How the spectra evolve' is left out: no metric has a value."
    """
    names = {drawing.name for drawing in drawings}
    return [f"The figure {title!r} is left out: {reason}." for name, title, reason in MAY_LACK if name not in names]
