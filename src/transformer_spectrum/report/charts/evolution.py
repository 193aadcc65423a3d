"""How the spectra evolve: the chart of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from transformer_spectrum.analysis.comparison.shifts import Shift
from transformer_spectrum.report.charts.parts import (
    DASH,
    HOVER,
    NULL,
    Chart,
    Spec,
    axis,
    colour,
    csv,
    family_facets,
    metric_select,
    muted,
    number_columns,
    select,
    tip,
)
from transformer_spectrum.report.figures import evolution as figure_words
from transformer_spectrum.report.page.html import Table
from transformer_spectrum.report.page.numbers import LACKING, short
from transformer_spectrum.report.run import Run
from transformer_spectrum.vocabulary import family_words, metric_words, weights_expression

COLUMNS = ["optimizer", *figure_words.ACROSS, "family", "metric", "value", "initial", "null_low", "null_high"]
TICKS = [0, *(digit * 10**power for power in range(9) for digit in (1, 2, 5))]
"""Of steps and evaluations; Vega-Lite has no good ones for a symlog axis."""
COUNTS = ("step", "evaluations")
LINEAR = 1e6
"""The constant of a symlog axis that is so much larger than all values that it is linear."""


def chart(run: Run) -> Chart | None:
    """Every metric over each of the axes; None where none has a value.

    >>> [parameter["name"] for parameter in chart(run).spec["params"]]
    ['metric', 'labels', 'across', 'places']
    """
    table = run.curves["spectra_evolution"]
    if table.empty:
        return None
    table = table[COLUMNS]
    return Chart(
        "evolution",
        figure_words.TITLE,
        figure_words.TEXT,
        "A panel for each family: a spectral metric of each optimizer, with its null, over steps, evaluations, "
        "validation MAE or relative distance.",
        spec(
            run.families,
            list(run.trainings),
            metric_select(table["metric"].unique().tolist(), figure_words.settings_of(run.params.spectra)),
        ),
        number_columns(table),
        csv(table),
        numbers(run),
    )


def spec(families: Sequence[str], optimizers: Sequence[str], metrics: list[Spec]) -> Spec:
    """Each family's mean over one of the axes, beside the initial value and the bands of the nulls.

    Args:
        families: in the order of their panels.
        optimizers: those that have lines.
        metrics: what `metric_select` makes of the metrics to choose from.

    >>> spec(["readout"], ["adam"], metric_select(["stable_rank"]))["params"][0]["value"]
    'stable_rank'
    """
    names = [across.name for across in figure_words.ACROSS.values()]
    places = {
        name: {
            "title": f"{across.label} (symmetric log)" if name in COUNTS else across.label,
            "constant": 1 if name in COUNTS else LINEAR,
            "falling": across.falling,
            "ticks": TICKS if name in COUNTS else None,
            # Not the axis's own `format`, by which Vega gives all ticks the unit of the largest: 0k for 0 and for 200.
            "digits": "~s" if name in COUNTS else "~g",
        }
        for name, across in figure_words.ACROSS.items()
    }
    return {
        "params": [
            *metrics,
            select("across", "across", list(figure_words.ACROSS), names),
            {"name": "places", "value": places},
        ],
        "transform": [
            {"filter": "datum.metric === metric"},
            {"calculate": "datum[across]", "as": "x"},
            {"filter": "isValid(datum.x)"},
        ],
        **family_facets(families, _layers(optimizers), shared="x"),
    }


def _layers(optimizers: Sequence[str]) -> list[Spec]:
    """The band of the null, the initial value, the curves, and what answers the pointer."""
    title = "= labels[metric]"  # the same in every layer, or Vega-Lite drops it
    y = axis("value", title)
    tooltip = tip(
        ("optimizer", "optimizer", ""),
        ("step", "step", ",d"),
        ("evaluations", "evaluations", ",d"),
        ("validation_mae", "validation MAE", ".4g"),
        ("distance", "relative distance", ".4g"),
        ("value", "value", ".4g"),
        ("null_low", "null − 2 sd", ".4g"),
        ("null_high", "null + 2 sd", ".4g"),
    )
    place = {"x": _across(), "y": y, "color": colour(optimizers)}
    course = {**place, "order": {"field": "step"}}  # MAE comes and goes
    return [
        {
            "transform": [{"filter": "isValid(datum.null_low)"}],
            "mark": {"type": "area", **muted("0.16")},
            "encoding": {**place, "y": axis("null_low", title), "y2": {"field": "null_high"}},
        },
        {
            # A change begins at nothing: its rule lies on its curve, unseen, for a layer without rows is warned of.
            "transform": [
                {"calculate": f"{weights_expression('metric')} ? datum.initial : datum.value", "as": "start"},
                {"aggregate": [{"op": "min", "field": "start", "as": "start"}]},
            ],
            "mark": {
                "type": "rule",
                "color": NULL,
                "strokeDash": DASH,
                "opacity": {"expr": f"{weights_expression('metric')} ? 1 : 0"},
            },
            "encoding": {"y": axis("start", title)},
        },
        {"mark": {"type": "line", "strokeWidth": 1.8, **muted()}, "encoding": course},
        {"mark": HOVER, "encoding": {**place, "tooltip": tooltip}},
    ]


def _across() -> Spec:
    """The horizontal channel, whose scale and words follow the reader's choice."""
    return {
        "field": "x",
        "type": "quantitative",
        "title": "= places[across].title",
        "scale": {
            "type": "symlog",
            "constant": {"expr": "places[across].constant"},
            "reverse": {"expr": "places[across].falling"},
            "zero": False,
            "nice": False,
        },
        "axis": {
            "values": {"expr": "places[across].ticks"},
            "tickCount": 4,
            "labelExpr": "format(datum.value, places[across].digits)",
            "labelOverlap": True,
        },
    }


def numbers(run: Run) -> Table:
    """Every metric of every family where each training is best, beside its null.

    >>> numbers(run).header[:5]
    ('metric', 'family', 'initial', 'Adam, best step', 'its null ± 2 sd')
    """
    curves = run.curves["spectra_evolution"].set_index(["optimizer", "step", "family", "metric"])
    nulls = {key: (low, high) for key, low, high in curves[["null_low", "null_high"]].itertuples(name=None)}
    rows = []
    for metric in dict.fromkeys(shift.metric for shift in run.shifts):
        for family in run.families:
            shifts = {name: shift for name in run.trainings if (shift := run.shift(name, family, metric))}
            if shifts:
                cells = [cell for name in run.trainings for cell in _beside_null(shifts.get(name), nulls)]
                initial = short(next(iter(shifts.values())).initial)
                rows.append((metric_words(metric), family_words(family), initial, *cells))
    titles = (
        title for name in run.trainings for title in (f"{run.caption.name_of(name)}, best step", "its null ± 2 sd")
    )
    return Table("Family means beside their nulls.", ("metric", "family", "initial", *titles), tuple(rows), left=(0, 1))


def _beside_null(shift: Shift | None, nulls: Mapping[tuple[str, int, str, str], tuple[float, float]]) -> list[str]:
    """A value and the ends of its null in words."""
    if shift is None:
        return [LACKING, LACKING]
    low, high = nulls[shift.optimizer, shift.step, shift.family, shift.metric]
    return [short(shift.value), LACKING if pd.isna(low) else f"{short(low)} to {short(high)}"]
