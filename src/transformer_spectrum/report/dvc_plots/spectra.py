"""Templates of whole spectra: densities, singular values, and where in the model they change."""

from __future__ import annotations

from transformer_spectrum.report.dvc_plots.curves import COLOURS
from transformer_spectrum.report.dvc_plots.frame import folded, template
from transformer_spectrum.report.dvc_plots.pieces import (
    BROAD,
    FAMILY_WORDS,
    METHODS,
    NULL,
    NULL_AREA,
    WORDS,
    X_LABEL,
    Y_LABEL,
    Spec,
    X,
    Y,
    axis,
    colour,
    distinct_starts,
    of_start,
    ordered,
    quantitative,
    start_of,
    tooltip,
)
from transformer_spectrum.report.figures import heatmap as heatmap_words
from transformer_spectrum.report.figures import singular_values as spectrum_words
from transformer_spectrum.vocabulary import HEAT_METRICS, START_LABEL, metric_words

LOG = {"type": "log", "nice": False, "padding": 5}
FEW = {"tickCount": 4, "format": "~g", "labelOverlap": True, "grid": False}
# The same colours in every run, and as far below 0 as above: half of the range by 10 %, the end at 100 %.
CHANGE = {"type": "symlog", "constant": 2, "domain": [-100, 100], "clamp": True, "scheme": "redblue", "reverse": True}
CHANGES = [-100, -30, -10, -3, 0, 3, 10, 30, 100]
# A panel a family; where there are several revisions a row a family and a column an optimizer.
PANELS = [
    {"joinaggregate": [{"op": "max", "field": "step", "as": "last"}], "groupby": ["rev", "optimizer"]},
    {"calculate": "datum.family_words + (several ? ' · ' + datum.method : '')", "as": "panel"},
    {
        "calculate": f"datum.family_order * 10 + (several ? indexof({METHODS!r}, datum.method) : 0)",
        "as": "order",
    },
]
EARLIER = {
    "name": "earlier",
    "value": False,
    "bind": {"input": "checkbox", "name": "the earlier tracked steps too, thin "},
}
LAST = "datum.step == datum.last"
VIEW = {
    "name": "view",
    "value": "ratio",
    "bind": {
        "input": "select",
        "name": "values ",
        "options": ["ratio", "value"],
        "labels": ["over what is beside them", "in weight units"],
    },
}
SUBJECT = {
    "name": "subject",
    "value": "change",
    "bind": {
        "input": "select",
        "name": "singular values ",
        "options": ["change", "weights"],
        "labels": [spectrum_words.SUBJECTS["change"], spectrum_words.SUBJECTS["weights"]],
    },
}


def _panels(layers: list[Spec]) -> Spec:
    return {
        "facet": {"field": "panel", "type": "nominal", "title": None, "sort": {"field": "order", "op": "min"}},
        "columns": 3,
        "spec": {"width": 280, "height": 180, "layer": layers},
        "resolve": {"scale": {"x": "independent", "y": "independent"}},
        "spacing": 14,
    }


def _steps(**mark: str) -> Spec:
    """The last step bold, the tracked ones before it thin and only when asked for."""
    return {
        "transform": [{"filter": f"datum.step > 0 && ({LAST} || earlier)"}],
        "mark": {"type": "line", **mark},
        "encoding": {
            "color": colour(),
            "detail": [{"field": "step"}, {"field": "method"}],
            "strokeWidth": {"condition": {"test": LAST, "value": 1.8}, "value": 0.8},
            "strokeOpacity": {"condition": {"test": LAST, "value": 1}, "value": 0.5},
            "tooltip": tooltip("rev", "method", "step"),
        },
    }


def esd() -> Spec:
    """Empirical spectral densities at the last step on log-log axes, the null behind.

    >>> esd()["vconcat"][1]["facet"]["field"]
    'panel'
    """
    x = {**quantitative(X, X_LABEL, **LOG), "axis": FEW}
    y = {**quantitative(Y, Y_LABEL, **LOG), "axis": {**FEW, "minExtent": 38}}
    null = {
        "transform": [
            {"filter": "datum.step == 0"},
            # All optimizers start from the same weights; one density is enough where they share a panel.
            {
                "window": [{"op": "dense_rank", "as": "number"}],
                "sort": [{"field": "optimizer"}],
                "groupby": [],
            },
            {"filter": "several || datum.number == 1"},
        ],
        "mark": {"type": "area", "interpolate": "step", "color": NULL_AREA, "opacity": {"expr": "several ? 0.6 : 1"}},
        "encoding": {
            "x": x,
            "y": {**y, "stack": None},
            "y2": {"field": "floor"},
            "detail": [{"field": "rev"}],
            "tooltip": {"value": START_LABEL},
        },
    }
    lines = _steps(interpolate="step")
    lines["encoding"] |= {"x": x, "y": y}
    return template(
        "Empirical spectral density at the last step, log-log; the grey area is the initial weights.",
        [COLOURS, "'grey area: initial weights; pooled over the matrices of a family, log-log'"],
        ["step", "eigenvalue", "density"],
        [
            *WORDS,
            *FAMILY_WORDS,
            *PANELS,
            {"joinaggregate": [{"op": "min", "field": "density", "as": "floor"}], "groupby": ["family"]},
        ],
        _panels([null, lines]),
        choices=(EARLIER,),
    )


def singular_values() -> Spec:
    """Mean singular values by rank at the last step: over what they are measured against, or in weight units.

    The values themselves are so many times larger than their differences that all curves would lie on each other.

    >>> [param["name"] for param in singular_values()["params"] if "bind" in param]
    ['subject', 'view', 'earlier']
    """
    x = {**quantitative(X, X_LABEL, zero=False, nice=False), "axis": axis(5)}
    of_change, number = "datum.of == 'change'", f"datum['{Y}']"
    beside = {
        "transform": [{"filter": f"{of_change} ? {LAST} : datum.step == 0"}],
        "mark": {"type": "line", **BROAD},
        "encoding": {
            "x": x,
            "y": quantitative("beside", None, zero=False),
            "detail": [{"field": "rev"}, {"field": "method"}],
            "color": of_start(NULL, of_change),
            "tooltip": {"value": spectrum_words.AT_ONE},
        },
    }
    lines = _steps()
    lines["encoding"] |= {"x": x, "y": {**quantitative("height", None, zero=False), "axis": axis(4, minExtent=38)}}
    upwards = [f"subject == '{subject}' ? 'upwards: {words}'" for subject, words in spectrum_words.RATIOS.items()]
    return template(
        "Mean singular value by rank at the last step, over what it is measured against, or beside that.",
        [
            COLOURS,
            f"view == 'value' ? 'upwards: {spectrum_words.VALUE}' : {' : '.join(upwards)} : ''",
            f"'broad and pale: {spectrum_words.AT_ONE}; means over the matrices of a family'",
        ],
        ["step", "rank", "value", "reference"],
        [
            {"filter": "datum.of == subject"},
            {
                "joinaggregate": [{"op": "max", "field": Y, "as": "largest"}],
                "groupby": ["rev", "optimizer", "family", "step"],
            },
            {"filter": f"{number} > 0 && {number} >= datum.largest / {spectrum_words.DEPTH}"},
            {"filter": "view == 'value' || datum.reference > 0"},
            {"calculate": f"view == 'ratio' ? {number} / datum.reference : {number}", "as": "height"},
            {"calculate": "view == 'ratio' ? 1 : datum.reference", "as": "beside"},
            *WORDS,
            *FAMILY_WORDS,
            *PANELS,
            start_of("reference"),
            distinct_starts("family", "rank"),
        ],
        _panels([beside, lines]),
        choices=(SUBJECT, VIEW, EARLIER),
    )


def _cells(words: str) -> Spec:
    """One rectangle for each matrix and step."""
    axis_of_steps = {"labelOverlap": True, "labelSeparation": 6, "ticks": False, "labelAngle": 0, "domain": False}
    return {
        "mark": "rect",
        "encoding": {
            "x": {"field": X, "type": "ordinal", "title": X_LABEL, "axis": axis_of_steps},
            "y": {
                "field": "matrix",
                "type": "nominal",
                "title": None,
                "sort": {"field": "row", "op": "min"},
                "axis": {
                    "labelFontSize": 8,
                    "labelExpr": heatmap_words.short_expression("datum.label"),
                    "labelLimit": 150,
                    "ticks": False,
                    "domain": False,
                },
            },
            "color": {
                "field": Y,
                "type": "quantitative",
                "title": None,
                "scale": CHANGE,
                "legend": {
                    "gradientLength": 260,
                    "values": CHANGES,
                    "labelExpr": "datum.value ? format(datum.value, '+.0f') : '0'",
                },
            },
            "tooltip": [
                *tooltip("rev", "method", "matrix", "step", "evaluations"),
                {"field": "value", "type": "quantitative", "format": ".4g", "title": words},
                {"field": Y, "type": "quantitative", "format": "+.3g", "title": "change (%)"},
            ],
        },
    }


def heatmap() -> Spec:
    """Every matrix at every shown step, coloured by its change: a column an optimizer, a row a revision.

    >>> len(heatmap()["vconcat"])  # the banner, and a block for each metric
    4
    """

    def block(metric: str) -> Spec:
        words = metric_words(metric)
        return {
            "title": {"text": f"{words}: {heatmap_words.CHANGE}", "fontSize": 13, "offset": 4},
            "transform": [{"filter": f"datum.metric == '{metric}'"}],
            "facet": {
                "column": {"field": "method", "type": "nominal", "title": None, "sort": METHODS},
                "row": {"field": "place", "type": "nominal", "title": None, "sort": {"field": "turn", "op": "min"}},
            },
            "spec": {"width": 250, "height": {"step": 9}, **_cells(words)},
            "spacing": 8,
            "resolve": {"scale": {"x": "independent"}},
        }

    spec = template(
        "Change of every matrix since step 0, from the input (top) to the output (bottom).",
        ["(several ? 'a row a revision; ' : '') + 'matrices from the input (top) to the output (bottom)'"],
        ["step", "evaluations", "row", "value", "change"],
        [
            *WORDS,
            {"calculate": "several ? datum.rev : ' '", "as": "place"},
            {"calculate": "indexof(revisions.scale.domain, datum.rev)", "as": "turn"},
            ordered("place_words", "datum.turn", "datum.place"),
            ordered("method_words", f"indexof({METHODS!r}, datum.method)", "datum.method"),
            {"calculate": "datum.place_words + '|' + datum.method_words", "as": "folded"},
        ],
        *map(block, HEAT_METRICS),
        panels={"least": 150, "most": 420, "gutter": 124, "grid": "optimizer", "folded": folded()},
    )
    return {**spec, "spacing": 18, "resolve": {"scale": {"color": "independent"}}}
