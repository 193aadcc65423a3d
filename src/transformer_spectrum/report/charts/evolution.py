"""How the spectra evolve: the chart of the page."""

from __future__ import annotations

from collections.abc import Sequence

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
from transformer_spectrum.vocabulary import display_name, family_words, metric_words

COLUMNS = ["optimizer", "step", "evaluations", "family", "metric", "value", "initial", "null_low", "null_high"]
TICKS = [0, *(digit * 10**power for power in range(9) for digit in (1, 2, 5))]
"""Of steps and evaluations; Vega-Lite has no good ones for a symlog axis."""


def chart(run: Run) -> Chart | None:
    """Every metric against steps and evaluations; None where none has a value.

    >>> [parameter["name"] for parameter in chart(run).spec["params"]]
    ['metric', 'labels', 'across']
    """
    table = run.curves["spectra_evolution"]
    if table.empty:
        return None
    table = table[COLUMNS]
    return Chart(
        "evolution",
        figure_words.TITLE,
        figure_words.TEXT,
        "A panel for each family: a spectral metric of each optimizer against steps or evaluations, with the null.",
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
    """Each family's mean against steps or evaluations, beside the initial value and the null's band.

    Args:
        families: in the order of their panels.
        optimizers: those that have lines.
        metrics: what `metric_select` makes of the metrics to choose from.

    >>> spec(["readout"], ["adam"], metric_select(["stable_rank"]))["params"][0]["value"]
    'stable_rank'
    """
    x = {
        "field": "x",
        "type": "quantitative",
        "title": "= across + ' (symmetric log)'",
        "scale": {"type": "symlog", "constant": 1, "nice": False},
        # Not `format`, by which Vega gives all ticks the unit of the largest: 0k for 0, for 1 and for 200.
        "axis": {"values": TICKS, "labelExpr": "format(datum.value, '~s')", "labelOverlap": True},
    }
    title = "= labels[metric]"  # the same in every layer, or Vega-Lite drops it
    y = axis("value", title)
    tooltip = tip(
        ("optimizer", "optimizer", ""),
        ("step", "step", ",d"),
        ("evaluations", "evaluations", ",d"),
        ("value", "value", ".4g"),
        ("initial", "initial", ".4g"),
    )
    once = [{"aggregate": [{"op": "min", "field": name, "as": name} for name in ("initial", "null_low", "null_high")]}]
    band = {"y": axis("null_low", title), "y2": {"field": "null_high"}}
    place = {"x": x, "y": y, "color": colour(optimizers)}
    layers = [
        {
            "transform": [*once, {"filter": "isValid(datum.null_low)"}],
            "mark": {"type": "rect", "color": NULL, "opacity": 0.18},
            "encoding": band,
        },
        {
            "transform": once,
            "mark": {"type": "rule", "color": NULL, "strokeDash": DASH},
            "encoding": {"y": axis("initial", title)},
        },
        {"mark": {"type": "line", "strokeWidth": 1.8, **muted()}, "encoding": place},
        {"mark": HOVER, "encoding": {**place, "tooltip": tooltip}},
    ]
    return {
        "params": [*metrics, select("across", "across", ["step", "evaluations"], ["steps", "evaluations"])],
        "transform": [
            {"filter": "datum.metric === metric"},
            {"calculate": "across === 'step' ? datum.step : datum.evaluations", "as": "x"},
        ],
        **family_facets(families, layers, shared="x"),
    }


def numbers(run: Run) -> Table:
    """Every metric of every family: the null, and where each training ended.

    >>> numbers(run).header[:3]
    ('metric', 'family', 'initial')
    """
    rows = []
    for metric in dict.fromkeys(shift.metric for shift in run.shifts):
        for family in run.families:
            shifts = [shift for name in run.trainings if (shift := run.shift(name, family, metric))]
            if shifts:
                last = {shift.optimizer: short(shift.last) for shift in shifts}
                low, high = shifts[0].low, shifts[0].high
                null = LACKING if low is None else f"{short(low)} to {short(high)}"
                cells = (last.get(name, LACKING) for name in run.trainings)
                rows.append((metric_words(metric), family_words(family), short(shifts[0].initial), null, *cells))
    titles = (f"{display_name(name)}, last step" for name in run.trainings)
    header = ("metric", "family", "initial", "null ± 2 sd", *titles)
    return Table("Family means beside their nulls.", header, tuple(rows), left=(0, 1))
