"""What moved, and how far from its null: the chart of the page."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from transformer_spectrum.analysis.comparison.endpoints import MAIN_METRIC
from transformer_spectrum.report.charts.parts import (
    DASH,
    NULL,
    ONCE,
    Chart,
    Spec,
    colour,
    csv,
    metric_select,
    muted,
    number_columns,
    tip,
)
from transformer_spectrum.report.figures import moved as figure_words
from transformer_spectrum.report.figures.evolution import settings_of
from transformer_spectrum.report.page.html import Table
from transformer_spectrum.report.page.numbers import short, signed
from transformer_spectrum.report.run import Run
from transformer_spectrum.vocabulary import family_expression, family_words, metric_words

COLUMNS = ["optimizer", "family", "metric", "initial", "value", "null", "effect", "deviations"]
TICKS = [-300, -100, -30, -10, -4, -2, 0, 2, 4, 10, 30, 100, 300]


def chart(run: Run) -> Chart | None:
    """How far each family's spectrum came from its null; None where no null varies.

    >>> chart(run).parse
    ('initial', 'value', 'null', 'effect', 'deviations')
    """
    moves = [shift for shift in run.shifts if shift.deviations is not None]
    if not moves:
        return None
    table = pd.DataFrame([[getattr(shift, name) for name in COLUMNS] for shift in moves], columns=COLUMNS)
    table["initial"] = table["initial"].astype(float)  # also where none has one
    return Chart(
        "moved",
        figure_words.TITLE,
        figure_words.TEXT,
        f"Dots by family and optimizer on an axis of standard deviations, with a grey band from "
        f"−{figure_words.INSIDE:g} to {figure_words.INSIDE:g}.",
        _spec(run, list(table["metric"].unique())),
        number_columns(table),
        csv(table),
        numbers(run),
        legend=(),
    )


def _spec(run: Run, metrics: Sequence[str]) -> Spec:
    """Each family's change under each optimizer in standard deviations of its null."""
    families, optimizers = run.families, list(run.trainings)
    y = {
        "field": "family",
        "type": "nominal",
        "sort": families,
        "title": None,
        "axis": {"labelExpr": family_expression("datum.value"), "labelLimit": 170},
    }
    offset = {"field": "optimizer", "type": "nominal", "sort": optimizers}
    x = {
        "field": "deviations",
        "type": "quantitative",
        "title": "= 'effect on the ' + names[metric] + ', deviations of its null (symmetric log)'",
        "scale": {"type": "symlog", "constant": 2, "padding": 14},
        "axis": {"values": TICKS, "labelOverlap": True},
    }
    tooltip = tip(
        ("optimizer", "optimizer", ""),
        ("family", "family", ""),
        ("initial", "initial", ".4g"),
        ("value", "value", ".4g"),
        ("null", "null", ".4g"),
        ("effect", "effect", "+.4g"),
        ("deviations", "deviations", "+.2f"),
    )
    where = {"y": y, "yOffset": offset, "color": colour(optimizers)}
    return {
        "params": [
            *metric_select(metrics, settings_of(run.params.spectra)),
            {"name": "names", "value": {metric: metric_words(metric) for metric in metrics}},
        ],
        "transform": [{"filter": "datum.metric === metric"}],
        "width": 600,
        "height": 17 * len(families) * len(optimizers),
        "layer": [
            {
                **ONCE,
                "mark": {"type": "rect", "color": NULL, "opacity": 0.18},
                "encoding": {"x": {"datum": -figure_words.INSIDE}, "x2": {"datum": figure_words.INSIDE}},
            },
            {**ONCE, "mark": {"type": "rule", "color": NULL, "strokeDash": DASH}, "encoding": {"x": {"datum": 0}}},
            {
                "mark": {"type": "rule", "strokeWidth": 2.5, **muted()},
                "encoding": {**where, "x": x, "x2": {"datum": 0}},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 90, **muted()},
                "encoding": {**where, "x": x, "tooltip": tooltip},
            },
        ],
        "usermeta": {"panels": {"least": 300, "most": 1, "gutter": 0}},
    }


def numbers(run: Run) -> Table:
    """Every effect on every metric, those of the answer's metric first.

    >>> numbers(run).header[3:]
    ('initial', 'value', 'null', 'effect', 'deviations')
    """
    rows = tuple(
        (
            metric_words(shift.metric),
            family_words(shift.family),
            run.caption.name_of(shift.optimizer),
            short(shift.initial),
            short(shift.value),
            short(shift.null),
            short(shift.effect),
            signed(shift.deviations, 2),
        )
        for shift in sorted(run.shifts, key=lambda shift: (shift.metric != MAIN_METRIC,))
    )
    header = ("metric", "family", "optimizer", "initial", "value", "null", "effect", "deviations")
    return Table(
        "Every family's mean at the best step of each training, against its null.", header, rows, left=(0, 1, 2)
    )
