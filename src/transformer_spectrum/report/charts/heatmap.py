"""Where the spectra change, matrix by matrix: the chart of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from transformer_spectrum.report.charts.parts import (
    Chart,
    Spec,
    csv,
    metric_select,
    name_expression,
    number_columns,
    tip,
)
from transformer_spectrum.report.figures import heatmap as figure_words
from transformer_spectrum.report.figures.evolution import settings_of
from transformer_spectrum.report.page.html import Table
from transformer_spectrum.report.page.numbers import short, signed
from transformer_spectrum.report.run import Run
from transformer_spectrum.vocabulary import HEAT_METRICS, metric_words

COLUMNS = ["optimizer", "step", "row", "metric", "value", "change"]
MOST = 12
"""Matrices in the table of those that changed most."""


MATRICES: Spec = {
    "labelExpr": figure_words.short_expression("matrices[datum.value]"),
    "labelLimit": 120,
    "labelFontSize": 9,
    "labelOverlap": True,
}
CHANGE_COLOUR: Spec = {
    "field": "shade",
    "type": "quantitative",
    "scale": {"domain": [-1, 0, 1], "range": ["#2166ac", "#f2f2f2", "#b2182b"]},
    "legend": {
        "title": figure_words.CHANGE,
        "labelExpr": "datum.value ? format(datum.value * limits[metric], '+.2~g') : '0'",
        "orient": "top",
        "gradientLength": 220,
        "values": [-1, 0, 1],
    },
}


def chart(run: Run) -> Chart | None:
    """Every matrix at every step; None where no matrix has a change that can be told.

    >>> print(*chart(run).data.splitlines()[:2], sep="\\n")
    optimizer,step,row,metric,value,change
    adam,0,0,stable_rank,5.8707,0
    """
    table = run.curves["heatmap"]
    if table.empty:
        return None
    names = dict(zip(table["row"].tolist(), table["matrix"], strict=True))
    limits = {metric: figure_words.limit(changes) for metric, changes in table.groupby("metric", sort=False)["change"]}
    return Chart(
        "layers",
        figure_words.TITLE,
        f"{figure_words.TEXT} Bare where a metric has no value.",
        "A heat map for each optimizer: change of a spectral metric by matrix and step.",
        _spec(run, limits, [names.get(i, "") for i in range(max(names) + 1)]),
        number_columns(table[COLUMNS]),
        csv(table[COLUMNS]),
        numbers(run),
        legend=(),
        optimizers=False,
    )


def _spec(run: Run, limits: Mapping[str, float], names: Sequence[str]) -> Spec:
    """The change of every matrix at every step; colours end at `limits`, metric -> percent."""
    tooltip = tip(
        ("optimizer", "optimizer", ""),
        ("matrix", "matrix", ""),
        ("step", "step", ",d"),
        ("value", "value", ".4g"),
        ("change", "change (%)", "+.2f"),
    )
    return {
        "params": [
            *metric_select(list(limits), settings_of(run.params.spectra)),
            {"name": "limits", "value": dict(limits)},
            {"name": "matrices", "value": list(names)},
        ],
        "transform": [
            {"filter": "datum.metric === metric"},
            {
                "window": [{"op": "lead", "field": "step", "as": "next"}],
                "sort": [{"field": "step", "order": "ascending"}],
                "groupby": ["optimizer", "row", "metric"],
            },
            {"calculate": "isValid(datum.next) ? datum.next : datum.step + 1", "as": "until"},
            {"calculate": "clamp(datum.change / limits[metric], -1, 1)", "as": "shade"},
            {"calculate": "matrices[datum.row]", "as": "matrix"},
        ],
        "facet": {
            "field": "optimizer",
            "type": "nominal",
            "sort": list(run.trainings),
            "title": None,
            "header": {"labelExpr": name_expression(run, "datum.value")},
        },
        "spec": {
            "height": {"step": 10},
            "mark": {"type": "rect"},
            "encoding": {
                "x": {
                    "field": "step",
                    "type": "quantitative",
                    "title": "step",
                    "scale": {"nice": False},
                    "axis": {"tickCount": 4},
                },
                "x2": {"field": "until"},
                "y": {"field": "row", "type": "ordinal", "title": None, "axis": MATRICES},
                "color": CHANGE_COLOUR,
                "tooltip": tooltip,
            },
        },
        "resolve": {"scale": {"x": "independent"}, "axis": {"x": "independent", "y": "independent"}},
        "usermeta": {"panels": {"least": 190, "most": 3, "gutter": 128}},
    }


def numbers(run: Run) -> Table:
    """The matrices that changed most by the last step.

    >>> numbers(run).caption
    'The 12 matrices whose stable rank has changed most by the last step.'
    >>> numbers(run).rows[0]
    ('encoder.1.feed_forward.up', 'ES', '6.429', '−2.8')
    """
    table = run.curves["heatmap"]
    last = table[table["metric"] == HEAT_METRICS[0]].drop_duplicates(["optimizer", "matrix"], keep="last")
    ranked = last.sort_values("change", key=lambda changes: -changes.abs(), kind="stable").head(MOST)
    rows = tuple(
        (row.matrix, run.caption.name_of(row.optimizer), short(row.value), signed(row.change))
        for row in ranked.itertuples(index=False)
    )
    name = metric_words(HEAT_METRICS[0])
    caption = f"The {len(rows)} matrices whose {name} has changed most by the last step."
    return Table(caption, ("matrix", "optimizer", name, "change (%)"), rows, left=(0, 1))
