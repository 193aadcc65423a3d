"""Templates of what changes over time: metrics of the spectra, losses, forecasts."""

from __future__ import annotations

from transformer_spectrum.report.dvc_plots.frame import folded, lines, template
from transformer_spectrum.report.dvc_plots.pieces import (
    BROAD,
    FAINT,
    FAMILY_WORDS,
    METHODS,
    METRIC_LABELS,
    NULL,
    NULL_AREA,
    OWN_NULLS,
    START,
    TRUTH,
    WORDS,
    X_LABEL,
    Y_LABEL,
    Spec,
    X,
    Y,
    axis,
    colour,
    dash,
    distinct_starts,
    in_order,
    of_null,
    ordered,
    quantitative,
    tooltip,
)
from transformer_spectrum.report.figures import forecasts as forecast_words
from transformer_spectrum.report.figures import loss as loss_words
from transformer_spectrum.vocabulary import BAND_MEANING, NAMES, metric_words

COLOURS = "(several ? 'colours: revisions' : 'colours: optimizers')"
MEANING = "(several ? 'colours: revisions; dashes: optimizers' : 'colours: optimizers')"
EVALUATION = f"'{loss_words.EVALUATION_MEANING}'"
VALIDATION = "datum.split == 'validation'"
OWN_TRUTHS = "several && datum.truths > 1"
SAME_POINT = ["window", "entity", "time", "series"]
OPTIMIZER = {
    "name": "shown",
    "value": "all",
    "bind": {"input": "select", "name": "optimizer ", "options": ["all", *METHODS]},
}
METRIC = {
    "name": "chosen",
    "value": "all",
    "bind": {
        "input": "select",
        "name": "metric ",
        "options": ["all", *METRIC_LABELS],
        "labels": ["all", *map(metric_words, METRIC_LABELS)],
    },
}
# Steps of Adam are epochs, tens; those of the others are generations, hundreds.
EARLY = {"type": "symlog", "constant": 10}
EARLY_AXIS = axis(9, labelSeparation=8, values=[0, 1, 3, 10, 30, 100, 300, 1000, 3000, 10000, 100000])


def evolution(budget: bool) -> Spec:
    """Family means of every metric: a row a metric, a column a family, the null behind.

    Args:
        budget: x counts evaluations, linearly; else steps, on a symmetric log axis.

    >>> evolution(budget=True)["vconcat"][1]["facet"]["column"]["field"]
    'family_words'
    """
    band = {
        "transform": [
            {
                "aggregate": [
                    {"op": "min", "field": field, "as": field}
                    for field in ("initial", "null_low", "null_high", "nulls")
                ],
                "groupby": ["rev"],
            },
            # The revisions' nulls are the same, and drawn once, unless seeds or models differ.
            {"window": [{"op": "row_number", "as": "number"}], "groupby": []},
            {"filter": f"datum.number == 1 || {OWN_NULLS}"},
            {"calculate": "datum.rev", "as": "series"},
        ]
    }
    x = quantitative(X, X_LABEL, **({} if budget else EARLY))
    x["axis"] = axis(4) if budget else EARLY_AXIS
    layers = [
        {
            **band,
            "mark": {"type": "rect"},
            "encoding": {
                "color": of_null(NULL_AREA),
                "opacity": {"condition": {"test": OWN_NULLS, "value": 0.15}, "value": 1},
                "y": quantitative("null_low", None, zero=False),
                "y2": {"field": "null_high"},
                "tooltip": tooltip("null_low", "null_high"),
            },
        },
        {
            **band,
            "mark": {"type": "rule", **BROAD},
            "encoding": {
                "color": of_null(NULL),
                "y": quantitative("initial", None, zero=False),
                "tooltip": tooltip("initial"),
            },
        },
        {
            "transform": [{"filter": "shown == 'all' || datum.method == shown"}],
            "mark": {"type": "line", "strokeWidth": 1.4, "clip": True},
            "encoding": {
                "x": x,
                "y": {**quantitative(Y, None, zero=False), "axis": axis(3, minExtent=34)},
                "color": colour(),
                "strokeDash": dash(),
                "tooltip": tooltip("rev", "method", "family_words"),
            },
        },
    ]
    return template(
        "Family means of each spectral metric against its null, the initial weights.",
        [
            MEANING,
            f"'broad and pale: the null, the initial weights; the band is the {BAND_MEANING}'",
            *([EVALUATION] if budget else []),
            "'an alpha means nothing without its null (distance of the fit, size of its tail: metrics/spectra.json)'",
        ],
        ["step", "evaluations", "value", "initial", "null_low", "null_high"],
        [
            *WORDS,
            *FAMILY_WORDS,
            {"calculate": f"({METRIC_LABELS!r})[datum.metric] || datum.metric", "as": "words"},
            ordered("metric_words", f"indexof({list(METRIC_LABELS)!r}, datum.metric)", "datum.words"),
            ordered("family_words", "datum.family_order", "datum.family_words"),
            {"filter": "chosen == 'all' || datum.metric == chosen"},
            {"calculate": "datum.metric_words + '|' + datum.family_words", "as": "folded"},
            START,
            distinct_starts("family", "metric"),
        ],
        {
            "facet": {
                "row": in_order("metric_words"),
                "column": in_order("family_words"),
            },
            "spec": {"width": 145, "height": 105, "layer": layers},
            "resolve": {"scale": {"y": "independent"}},
            "spacing": {"row": 14, "column": 14},
        },
        choices=(METRIC, OPTIMIZER),
        panels={"least": 84, "most": 180, "gutter": 58, "grid": "family", "folded": folded()},
    )


def loss() -> Spec:
    """Losses against steps and against evaluations; a row an optimizer where there are several revisions.

    >>> len(loss()["vconcat"][2]["hconcat"])
    2
    """

    def half(x: str, title: str, early: bool, show: bool) -> Spec:
        position = quantitative(x, title, **(EARLY if early else {}))
        position["axis"] = EARLY_AXIS if early else axis(5)
        return {
            "facet": {"row": {"field": "panel", "type": "nominal", "title": None, "header": {"labels": show}}},
            "spec": {
                "width": 420,
                "height": 200,
                "mark": {"type": "line", "clip": True},
                "encoding": {
                    "x": position,
                    "y": {**quantitative(Y, Y_LABEL, zero=False), "axis": axis(5, minExtent=30)},
                    "color": colour(),
                    "detail": [{"field": "split"}, {"field": "method"}],
                    "strokeWidth": {"condition": {"test": VALIDATION, "value": 2}, "value": 1},
                    "strokeOpacity": {"condition": {"test": VALIDATION, "value": 1}, "value": 0.5},
                    "tooltip": tooltip("rev", "method", "split"),
                },
            },
            "spacing": 12,
        }

    return template(
        "Training and validation loss of each optimizer, against steps and against evaluations.",
        [COLOURS, f"'{loss_words.LINES}'", EVALUATION],
        ["step", "evaluations", "loss"],
        [*WORDS, {"calculate": "several ? datum.method : ' '", "as": "panel"}],
        # Losses of different kinds or parameters are no measure of each other.
        lines("objective", "{rev} minimises {value}", {"color": FAINT, "fontSize": 11.5}),
        {
            "hconcat": [
                half(X, "step (symmetric log)", True, True),
                half("evaluations", "evaluations", False, False),
            ],
            "spacing": 24,
        },
        panels={"least": 300, "most": 620, "gutter": 86},
    )


def forecasts() -> Spec:
    """A panel a window; where there are several revisions a row a window and a column an optimizer.

    >>> forecasts()["vconcat"][1]["columns"]
    3
    """
    own = f"indexof({list(NAMES)!r}, datum.series) < 0"
    methods = f"several && {own} ? {list(NAMES)!r} : [datum.series]"
    line = {
        "x": quantitative(X, X_LABEL),
        "y": {**quantitative(Y, Y_LABEL, zero=False), "axis": axis(4, minExtent=36)},
    }
    return template(
        "Context, truth and the forecasts of each optimizer for several windows of the test split.",
        [COLOURS, "'thin: the end of the context, black: the truth; time 0 is the first step to forecast'"],
        ["window", "feature", "time", "value"],
        [
            {"filter": "datum.feature == 0"},
            {"joinaggregate": [{"op": "max", "field": "time", "as": "horizon"}], "groupby": []},
            {"filter": f"datum.time >= -{forecast_words.HORIZONS} * (datum.horizon + 1)"},
            {"joinaggregate": [{"op": "distinct", "field": "value", "as": "truths"}], "groupby": SAME_POINT},
            {"calculate": own, "as": "is_data"},
            {"calculate": "datum.series", "as": "kind"},
            {"calculate": methods, "as": "optimizer"},
            {"flatten": ["optimizer"]},
            *WORDS,
            {"calculate": "datum.entity + ' (window ' + datum.window + ')'", "as": "place"},
            {"calculate": "datum.place + (several ? ' · ' + datum.method : '')", "as": "panel"},
            {"calculate": f"datum.window * 10 + (several ? indexof({METHODS!r}, datum.method) : 0)", "as": "order"},
        ],
        {
            "facet": {
                "field": "panel",
                "type": "nominal",
                "title": None,
                "sort": {"field": "order", "op": "min"},
            },
            "columns": 3,
            "spec": {
                "width": 290,
                "height": 140,
                "layer": [
                    {
                        "transform": [{"filter": "datum.is_data"}],
                        "mark": {"type": "line"},
                        "encoding": {
                            **line,
                            "detail": [{"field": "kind"}, {"field": "rev"}],
                            "strokeWidth": {"condition": {"test": "datum.kind == 'truth'", "value": 1.8}, "value": 1},
                            # Revisions forecast the same windows unless data or seeds differ.
                            "color": {
                                "condition": {"test": OWN_TRUTHS, **colour(field="rev")},
                                "value": TRUTH,
                            },
                            "strokeOpacity": {
                                "condition": {"test": OWN_TRUTHS, "value": 0.5},
                                "value": 1,
                            },
                            "tooltip": tooltip("kind", "entity"),
                        },
                    },
                    {
                        "transform": [{"filter": "!datum.is_data"}],
                        "mark": {"type": "line", "strokeWidth": 1.6},
                        "encoding": {**line, "color": colour(), "tooltip": tooltip("rev", "method", "entity")},
                    },
                ],
            },
            "resolve": {"scale": {"y": "independent"}},
            "spacing": 12,
        },
    )
