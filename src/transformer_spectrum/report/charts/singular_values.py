"""Singular values by rank: the chart of the page."""

from __future__ import annotations

from collections.abc import Sequence

from transformer_spectrum.report.charts.parts import (
    DASH,
    NULL,
    Chart,
    Spec,
    axis,
    colour,
    csv,
    ends_by_family,
    muted,
    number_columns,
    progress,
    select,
)
from transformer_spectrum.report.charts.steps import spectrum
from transformer_spectrum.report.figures import singular_values as figure_words
from transformer_spectrum.report.page.html import Table
from transformer_spectrum.report.page.numbers import short
from transformer_spectrum.report.run import Run

COLUMNS = ["optimizer", "step", "progress", "of", "family", "rank", "value", "reference"]


def chart(run: Run) -> Chart | None:
    """Singular values on log-log axes: over what they are measured against, which shows more, or bare.

    >>> [parameter["bind"]["options"] for parameter in chart(run).spec["params"][1:]]
    [['change', 'weights'], ['ratio', 'value']]
    """
    table = run.curves["singular_values"]
    table = table.assign(progress=progress(table))[COLUMNS]
    largest = table.groupby(["optimizer", "step", "of", "family"])["value"].transform("max")
    visible = table[figure_words.in_sight(table["value"].to_numpy(), largest.to_numpy())]
    if visible.empty:
        return None
    return Chart(
        "singular-values",
        figure_words.TITLE,
        f"{figure_words.TEXT}, on logarithmic axes; first over these, where a flat line would be mere growth. Dashed: "
        "the initial weights. Broad and pale: the changes' shuffled entries.",
        "A panel for each family: singular values of the change or of the weights against rank for each optimizer.",
        _spec(run, visible["family"].unique().tolist(), visible["of"].unique().tolist()),
        number_columns(visible),
        csv(visible),
        numbers(run),
    )


def _spec(run: Run, families: list[str], subjects: Sequence[str]) -> Spec:
    """What is shown, and over what, is the reader's choice."""
    ratios = " : ".join(f"of === '{subject}' ? '{words}'" for subject, words in figure_words.RATIOS.items())
    title = f"= (scaled === 'value' ? '{figure_words.VALUE}' : {ratios} : '') + ' (log)'"
    x, optimizers = axis("rank", figure_words.RANK, log=True), list(run.trainings)
    of_weights = "of === 'weights'"
    beside = {
        "transform": [
            {"filter": f"{of_weights} ? datum.step == 0 && datum.optimizer === '{optimizers[0]}' : datum.progress == 1"}
        ],
        "mark": {
            "type": "line",
            "strokeWidth": {"expr": f"{of_weights} ? 1.6 : 6"},
            "strokeDash": {"expr": f"{of_weights} ? {DASH} : [1, 0]"},
            "opacity": {"expr": f"{of_weights} ? 1 : {muted('0.28')['opacity']['expr']}"},
        },
        "encoding": {
            "x": x,
            "y": axis("beside", title, log=True),
            "color": {"condition": {"test": "datum.of === 'weights'", "value": NULL}, **colour(optimizers)},
        },
    }
    tips = [("rank", figure_words.RANK, "d"), ("y", "value", ".4g"), ("beside", "beside", ".4g")]
    spec = spectrum(families, optimizers, x, axis("y", title, log=True), tips, start=beside)
    subjects = sorted(subjects)  # the change first, for there the optimizers differ
    spec["params"] += [
        select("of", "singular values", subjects, [figure_words.SUBJECTS[subject] for subject in subjects]),
        select("scaled", "values", ["ratio", "value"], ["over what is beside them", "in weight units"]),
    ]
    # A ratio to nothing has no value.
    spec["transform"] = [
        {"filter": "datum.of === of && (scaled === 'value' || datum.reference > 0)"},
        {"calculate": "scaled === 'ratio' ? datum.value / datum.reference : datum.value", "as": "y"},
        {"calculate": "scaled === 'ratio' ? 1 : datum.reference", "as": "beside"},
    ]
    return spec


def numbers(run: Run) -> Table:
    """The largest singular value of each family, of the weights and of the change.

    >>> numbers(run).header[:3], numbers(run).rows[0][:3]
    (('family', 'initial', 'Adam, last step'), ('feed-forward', '1.95', '1.951'))
    >>> numbers(run).header[5:8]
    ('Adam, change', 'its shuffled entries', 'ES, change')
    """
    curve = run.curves["singular_values"]
    caption = "Mean largest singular value of each family at the last step, weight units."
    table = ends_by_family(run, curve[curve["of"] == "weights"], "value", caption)
    tops = curve[(curve["of"] == "change") & (curve["rank"] == 1)].drop_duplicates(["optimizer", "family"], keep="last")
    changes = {
        (optimizer, family): (value, beside)
        for optimizer, family, value, beside in tops[["optimizer", "family", "value", "reference"]].itertuples(
            index=False, name=None
        )
    }
    families = curve["family"].unique()
    rows = tuple(
        (*row, *(short(value) for name in run.trainings for value in changes.get((name, family), (None, None))))
        for row, family in zip(table.rows, families, strict=True)
    )
    titles = (
        title for name in run.trainings for title in (f"{run.caption.name_of(name)}, change", "its shuffled entries")
    )
    return Table(caption, (*table.header, *titles), rows)
