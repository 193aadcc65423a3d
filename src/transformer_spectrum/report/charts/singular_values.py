"""Singular values by rank: the chart of the page."""

from __future__ import annotations

from transformer_spectrum.report.charts.parts import Chart, axis, csv, ends_by_family, number_columns, progress, select
from transformer_spectrum.report.charts.steps import spectrum
from transformer_spectrum.report.figures import singular_values as figure_words
from transformer_spectrum.report.page.html import Table
from transformer_spectrum.report.run import Run

COLUMNS = ["optimizer", "step", "progress", "family", "rank", "value", "initial"]


def chart(run: Run) -> Chart | None:
    """Singular values on log-log axes: over the initial ones of the same rank, which shows more, or bare.

    >>> chart(run).spec["params"][-1]["bind"]["options"]
    ['ratio', 'value']
    """
    table = run.curves["singular_values"]
    table = table.assign(progress=progress(table))[COLUMNS]
    largest = table.groupby(["optimizer", "step", "family"])["value"].transform("max")
    visible = table[figure_words.in_sight(table["value"].to_numpy(), largest.to_numpy())]
    if visible.empty:
        return None
    title = f"= (scaled === 'ratio' ? '{figure_words.RATIO}' : '{figure_words.VALUE}') + ' (log)'"
    spec = spectrum(
        table["family"].unique().tolist(),
        list(run.trainings),
        axis("rank", figure_words.RANK, log=True),
        axis("y", title, log=True),
        [("rank", figure_words.RANK, "d"), ("y", "value", ".4g")],
    )
    spec["params"].append(select("scaled", "values", ["ratio", "value"], ["over the initial ones", "in weight units"]))
    # A ratio to nothing has no value.
    spec["transform"] = [
        {"filter": "scaled === 'value' || datum.initial > 0"},
        {"calculate": "scaled === 'ratio' ? datum.value / datum.initial : datum.value", "as": "y"},
    ]
    return Chart(
        "singular-values",
        figure_words.TITLE,
        f"{figure_words.TEXT}, on logarithmic axes; first over the initial one of the same rank, where a flat line "
        "would be mere growth. Dashed: the initial weights.",
        "A panel for each family: singular values against rank for each optimizer and the initial weights.",
        spec,
        number_columns(visible),
        csv(visible),
        numbers(run),
    )


def numbers(run: Run) -> Table:
    """The largest singular value of each family.

    >>> numbers(run).header[:3], numbers(run).rows[0][:3]
    (('family', 'initial', 'Adam, last step'), ('feed-forward', '1.95', '1.951'))
    """
    caption = "Mean largest singular value of each family, weight units."
    return ends_by_family(run, "singular_values", "value", caption)
