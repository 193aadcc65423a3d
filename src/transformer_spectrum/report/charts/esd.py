"""Empirical spectral densities: the chart of the page."""

from __future__ import annotations

from transformer_spectrum.report.charts.parts import Chart, axis, csv, ends_by_family, number_columns, progress
from transformer_spectrum.report.charts.steps import spectrum
from transformer_spectrum.report.figures import esd as figure_words
from transformer_spectrum.report.page.html import Table
from transformer_spectrum.report.run import Run

COLUMNS = ["optimizer", "step", "progress", "family", "eigenvalue", "density"]


def chart(run: Run) -> Chart | None:
    """Densities on log-log axes; None where no eigenvalue is positive.

    >>> chart(run).title, chart(run).parse
    ('Empirical spectral densities', ('step', 'progress', 'eigenvalue', 'density'))
    """
    table = run.curves["esd"]
    if table.empty:
        return None
    table = table.assign(progress=progress(table))[COLUMNS]
    return Chart(
        "esd",
        figure_words.TITLE,
        f"{figure_words.TEXT}; both axes logarithmic. Dashed: the initial weights. A tail that grows to the right is "
        "where training has put its work.",
        "A panel for each family: density of eigenvalues, axes logarithmic, by optimizer, and the initial weights.",
        spectrum(
            table["family"].unique().tolist(),
            list(run.trainings),
            axis("eigenvalue", figure_words.EIGENVALUES, log=True),
            axis("density", figure_words.DENSITY, log=True),
            [
                ("eigenvalue", figure_words.EIGENVALUES, ".3g"),
                ("density", figure_words.DENSITY, ".4g"),
            ],
        ),
        number_columns(table),
        csv(table),
        numbers(run),
    )


def numbers(run: Run) -> Table:
    """How far the right end of each density has come.

    >>> numbers(run).header
    ('family', 'initial', 'Adam, last step', 'ES, last step', 'GA, last step')
    >>> [row[0] for row in numbers(run).rows]
    ['feed-forward', 'readout']
    """
    caption = "The largest eigenvalue of each family (centre of its bin), over the family's mean initial eigenvalue."
    return ends_by_family(run, run.curves["esd"], "eigenvalue", caption)
