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
    OWN_STARTS,
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
    of_start,
    ordered,
    quantitative,
    start_of,
    tooltip,
)
from transformer_spectrum.report.figures import evolution as evolution_words
from transformer_spectrum.report.figures import forecasts as forecast_words
from transformer_spectrum.report.figures import loss as loss_words
from transformer_spectrum.vocabulary import (
    BAND_MEANING,
    EVOLUTION_METRICS,
    NAMES,
    START_LABEL,
    metric_words,
    weights_expression,
)

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
SHOWN = {"filter": "shown == 'all' || datum.method == shown"}
PANEL = {"calculate": "several ? datum.method : ' '", "as": "panel"}
# Spectra change most at the beginning, and Adam's steps are many more than generations.
EARLY = {"type": "symlog", "constant": 10}
EARLY_AXIS = axis(9, labelSeparation=8, values=[0, 1, 3, 10, 30, 100, 300, 1000, 3000, 10000, 100000])


def evolution(across: str) -> Spec:
    """Family means of the metrics: a row a metric, a column a family, the nulls behind.

    Args:
        across: x, one of `figures.evolution.ACROSS`; steps on a symmetric log axis, all else linearly.

    >>> evolution("evaluations")["vconcat"][1]["facet"]["column"]["field"]
    'family_words'
    """
    place = {"x": _across(across), "color": colour()}
    first = "all" if across in ("step", "evaluations") else EVOLUTION_METRICS[0]
    return template(
        "Family means of each spectral metric, the initial weights, and the null of what training did.",
        [
            MEANING,
            f"'broad and pale: {START_LABEL}; areas, between tracked steps: {BAND_MEANING}'",
            *([EVALUATION] if across == "evaluations" else []),
            "'an alpha means nothing without its null (distance of the fit, size of its tail: metrics/spectra.json)'",
        ],
        [*evolution_words.ACROSS, "value", "initial", "null_low", "null_high"],
        [
            *WORDS,
            *FAMILY_WORDS,
            {"calculate": f"({METRIC_LABELS!r})[datum.metric] || datum.metric", "as": "words"},
            ordered("metric_words", f"indexof({list(METRIC_LABELS)!r}, datum.metric)", "datum.words"),
            ordered("family_words", "datum.family_order", "datum.family_words"),
            {"filter": f"(chosen == 'all' || datum.metric == chosen) && isValid(datum['{X}'])"},
            {"calculate": "datum.metric_words + '|' + datum.family_words", "as": "folded"},
            start_of("initial"),
            distinct_starts("family", "metric"),
        ],
        {
            "facet": {
                "row": in_order("metric_words"),
                "column": in_order("family_words"),
            },
            "spec": {"width": 145, "height": 105, "layer": [_band(place), _start(), _curve(place)]},
            "resolve": {"scale": {"y": "independent"}},
            "spacing": {"row": 14, "column": 14},
        },
        choices=({**METRIC, "value": first}, OPTIMIZER),
        panels={"least": 84, "most": 180, "gutter": 58, "grid": "family", "folded": folded()},
    )


def _band(place: Spec) -> Spec:
    """The null of what training did."""
    return {
        "transform": [SHOWN, {"filter": "isValid(datum.null_low)"}],
        "mark": {"type": "area", "opacity": 0.16, "clip": True},
        "encoding": {
            **place,
            "y": quantitative("null_low", None, zero=False),
            "y2": {"field": "null_high"},
            "detail": [{"field": "method"}, {"field": "rev"}],
            "tooltip": tooltip("rev", "method", "null_low", "null_high"),
        },
    }


def _start() -> Spec:
    """The initial weights."""
    # A change begins at nothing: its line lies on its curve, unseen, for a layer without rows is warned of.
    of_weights = weights_expression("datum.metric")
    return {
        "transform": [
            {"calculate": f"{of_weights} ? datum.initial : datum['{Y}']", "as": "begun"},
            {
                "aggregate": [{"op": "min", "field": field, "as": field} for field in ("begun", "starts")],
                "groupby": ["rev", "metric"],
            },
            # The revisions start from the same weights, which are drawn once, unless seeds or models differ.
            {"window": [{"op": "row_number", "as": "number"}], "groupby": []},
            {"filter": f"datum.number == 1 || {OWN_STARTS}"},
            {"calculate": "datum.rev", "as": "series"},
        ],
        "mark": {"type": "rule", "strokeWidth": BROAD["strokeWidth"]},
        "encoding": {
            "color": of_start(NULL),
            "opacity": {"condition": {"test": of_weights, "value": BROAD["opacity"]}, "value": 0},
            "y": quantitative("begun", None, zero=False),
            "tooltip": {"value": START_LABEL},
        },
    }


def _curve(place: Spec) -> Spec:
    """The family means."""
    return {
        "transform": [SHOWN],
        "mark": {"type": "line", "strokeWidth": 1.4, "clip": True},
        "encoding": {
            **place,
            "y": {**quantitative(Y, None, zero=False), "axis": axis(3, minExtent=34)},
            "order": {"field": "step"},
            "strokeDash": dash(),
            "tooltip": tooltip("rev", "method", "family_words"),
        },
    }


def _across(across: str) -> Spec:
    """The horizontal channel; training runs to the right on every axis."""
    if across == "step":
        return {**quantitative(X, X_LABEL, **EARLY), "axis": EARLY_AXIS}
    if across == "evaluations":
        return {**quantitative(X, X_LABEL), "axis": axis(4)}
    falling = {"reverse": True} if evolution_words.ACROSS[across].falling else {}
    return {**quantitative(X, X_LABEL, zero=False, **falling), "axis": axis(4)}


def loss() -> Spec:
    """Losses against steps and against evaluations; a row an optimizer where there are several revisions.

    >>> len(loss()["vconcat"][2]["hconcat"])
    2
    """
    looks = {
        "detail": [{"field": "split"}, {"field": "method"}],
        "strokeWidth": {"condition": {"test": VALIDATION, "value": 2}, "value": 1},
        "strokeOpacity": {"condition": {"test": VALIDATION, "value": 1}, "value": 0.5},
        "tooltip": tooltip("rev", "method", "split"),
    }
    return template(
        "Training and validation loss of each optimizer, against steps and against evaluations.",
        [COLOURS, f"'{loss_words.LINES}'", EVALUATION],
        ["step", "evaluations", "loss"],
        [*WORDS, PANEL],
        # Losses of different kinds or parameters are no measure of each other.
        lines("objective", "{rev} minimises {value}", {"color": FAINT, "fontSize": 11.5}),
        _halves({"mark": {"type": "line", "clip": True}, "encoding": looks}),
        panels={"least": 300, "most": 620, "gutter": 86},
    )


def validation() -> Spec:
    """Validation MAE, the same measure under every loss, as the losses are drawn.

    >>> len(validation()["vconcat"][1]["hconcat"])
    2
    """
    words = {"detail": [{"field": "method"}], "tooltip": tooltip("rev", "method", "validation_mae")}
    return template(
        "Teacher-forced validation MAE of each optimizer, against steps and against evaluations.",
        [COLOURS, f"'{loss_words.MAE_MEANING}'", f"'dot: the {loss_words.BEST}'", EVALUATION],
        ["step", "evaluations", "validation_mae", "residual_mad", "influence_cosine", "best"],
        [*WORDS, PANEL],
        _halves(
            {"mark": {"type": "line", "clip": True, "strokeWidth": 2}, "encoding": words},
            {
                "transform": [{"filter": "datum.best == 1"}],
                "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1},
                "encoding": words,
            },
        ),
        panels={"least": 300, "most": 620, "gutter": 86},
    )


def _halves(*layers: Spec) -> Spec:
    """Layers against steps, and beside them against evaluations."""

    def half(x: str, title: str, early: bool, show: bool) -> Spec:
        position = quantitative(x, title, **(EARLY if early else {}))
        position["axis"] = EARLY_AXIS if early else axis(5)
        height = {**quantitative(Y, Y_LABEL, zero=False), "axis": axis(5, minExtent=30)}
        place = {"x": position, "y": height, "color": colour()}
        return {
            "facet": {"row": {"field": "panel", "type": "nominal", "title": None, "header": {"labels": show}}},
            "spec": {
                "width": 420,
                "height": 200,
                "layer": [{**layer, "encoding": {**place, **layer["encoding"]}} for layer in layers],
            },
            "spacing": 12,
        }

    steps, budget = half(X, "step (symmetric log)", True, True), half("evaluations", "evaluations", False, False)
    return {"hconcat": [steps, budget], "spacing": 24}


def forecasts() -> Spec:
    """A panel a window; where there are several revisions a row a window and a column an optimizer.

    >>> forecasts()["vconcat"][1]["columns"]
    3
    """
    own = f"indexof({list(NAMES)!r}, datum.series) < 0"
    methods = f"several && {own} ? {list(NAMES)!r} : [datum.series]"
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
                "layer": _data_and_forecasts(),
            },
            "resolve": {"scale": {"y": "independent"}},
            "spacing": 12,
        },
    )


def _data_and_forecasts() -> list[Spec]:
    line = {
        "x": quantitative(X, X_LABEL),
        "y": {**quantitative(Y, Y_LABEL, zero=False), "axis": axis(4, minExtent=36)},
    }
    data = {
        "transform": [{"filter": "datum.is_data"}],
        "mark": {"type": "line"},
        "encoding": {
            **line,
            "detail": [{"field": "kind"}, {"field": "rev"}],
            "strokeWidth": {"condition": {"test": "datum.kind == 'truth'", "value": 1.8}, "value": 1},
            # Revisions forecast the same windows unless data or seeds differ.
            "color": {"condition": {"test": OWN_TRUTHS, **colour(field="rev")}, "value": TRUTH},
            "strokeOpacity": {"condition": {"test": OWN_TRUTHS, "value": 0.5}, "value": 1},
            "tooltip": tooltip("kind", "entity"),
        },
    }
    forecast = {
        "transform": [{"filter": "!datum.is_data"}],
        "mark": {"type": "line", "strokeWidth": 1.6},
        "encoding": {**line, "color": colour(), "tooltip": tooltip("rev", "method", "entity")},
    }
    return [data, forecast]
