"""Vega-Lite specifications of the report's figures of losses, metrics, layers and forecasts, without their data."""

from __future__ import annotations

from collections.abc import Sequence

from transformer_spectrum.report.run_page.parts import (
    DASH,
    HOVER,
    NULL,
    ONCE,
    WORDS,
    Spec,
    axis,
    colour,
    family_facets,
    metric_select,
    muted,
    select,
    tip,
)

PARTS = {
    "encoder.": "enc.",
    "decoder.": "dec.",
    "self_attention": "self",
    "cross_attention": "cross",
    "feed_forward": "ff",
}
"""How names of matrices are cut beside the heat map."""
TICKS = [0, *(digit * 10**power for power in range(9) for digit in (1, 2, 5))]
"""Of steps and evaluations; Vega-Lite has no good ones for a symlog axis."""


def moved(families: Sequence[str], optimizers: Sequence[str], metrics: Sequence[str]) -> Spec:
    """Each family's change under each optimizer in standard deviations of its null."""
    y = {
        "field": "family",
        "type": "nominal",
        "sort": list(families),
        "title": None,
        "axis": {"labelExpr": WORDS, "labelLimit": 170},
    }
    offset = {"field": "optimizer", "type": "nominal", "sort": list(optimizers)}
    title = "= 'z of the ' + replace(metric, /_/g, ' ') + ' (symmetric log)'"
    ticks = [-300, -100, -30, -10, -4, -2, 0, 2, 4, 10, 30, 100, 300]
    x = {
        "field": "z",
        "type": "quantitative",
        "title": title,
        "scale": {"type": "symlog", "constant": 2, "padding": 14},
        "axis": {"values": ticks, "labelOverlap": True},
    }
    tooltip = tip(
        ("optimizer", "optimizer", ""),
        ("family", "family", ""),
        ("initial", "initial", ".4g"),
        ("last", "last", ".4g"),
        ("percent", "change (%)", "+.2f"),
        ("z", "z", "+.2f"),
    )
    where = {"y": y, "yOffset": offset, "color": colour(optimizers)}
    return {
        "params": [metric_select(metrics)],
        "transform": [{"filter": "datum.metric === metric"}],
        "width": 600,
        "height": 17 * len(families) * len(optimizers),
        "layer": [
            {
                **ONCE,
                "mark": {"type": "rect", "color": NULL, "opacity": 0.18},
                "encoding": {"x": {"datum": -2}, "x2": {"datum": 2}},
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


def loss(optimizers: Sequence[str], unit: str) -> Spec:
    """Training and validation loss against steps and against evaluations."""
    tooltip = tip(
        ("optimizer", "optimizer", ""),
        ("split", "split", ""),
        ("step", "step", ",d"),
        ("evaluations", "evaluations", ",d"),
        ("loss", "loss", ".4g"),
    )

    def panel(x: Spec, only: list[Spec]) -> Spec:
        place = {"x": x, "y": axis("loss", f"loss ({unit})"), "color": colour(optimizers)}
        thin = {"condition": {"test": "datum.split === 'train'", "value": 0.9}, "value": 2}
        dot = {"type": "point", "filled": True, "size": 110, "stroke": "var(--paper)", "strokeWidth": 1.5, **muted()}
        return {
            "height": 280,
            "transform": only,
            "layer": [
                {
                    "mark": {"type": "line", **muted("datum.split === 'train' ? 0.55 : 1")},
                    "encoding": {**place, "strokeWidth": thin, "detail": [{"field": "split"}]},
                },
                {"transform": [{"filter": "datum.best"}], "mark": dot, "encoding": place},
                {"mark": HOVER, "encoding": {**place, "tooltip": tooltip}},
            ],
        }

    steps = panel(axis("step", "step (an epoch of Adam, a generation of ES and GA)"), [])
    budget = axis("evaluations", "evaluations (forward passes over a batch)", log=True)
    budget["axis"] = {"tickCount": 4, "format": "~s"}
    return {
        "concat": [steps, panel(budget, [{"filter": "datum.evaluations > 0"}])],
        "resolve": {"scale": {"y": "shared"}},
        "usermeta": {"panels": {"least": 320, "most": 2, "gutter": 70}},
    }


def evolution(families: Sequence[str], optimizers: Sequence[str], metrics: Sequence[str]) -> Spec:
    """Each family's mean against steps or evaluations, beside the initial value and the null's band."""
    x = {
        "field": "x",
        "type": "quantitative",
        "title": "= across + ' (symmetric log)'",
        "scale": {"type": "symlog", "constant": 1, "nice": False},
        # Not `format`, by which Vega gives all ticks the unit of the largest: 0k for 0, for 1 and for 200.
        "axis": {"values": TICKS, "labelExpr": "format(datum.value, '~s')", "labelOverlap": True},
    }
    title = "= replace(metric, /_/g, ' ')"  # the same in every layer, or Vega-Lite drops it
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
        "params": [
            metric_select(metrics),
            select("across", "across", ["step", "evaluations"], ["steps", "evaluations"]),
        ],
        "transform": [
            {"filter": "datum.metric === metric"},
            {"calculate": "across === 'step' ? datum.step : datum.evaluations", "as": "x"},
        ],
        **family_facets(families, layers, shared="x"),
    }


def heatmap(optimizers: Sequence[str], metrics: Sequence[str], limits: dict[str, float], names: Sequence[str]) -> Spec:
    """The change of every matrix at every step; colours end at `limits`, metric -> percent."""
    short = "matrices[datum.value]"
    for long, cut in PARTS.items():
        short = f"replace({short}, '{long}', '{cut}')"
    labels = {"labelExpr": short, "labelLimit": 120, "labelFontSize": 9, "labelOverlap": True}
    legend = {
        "title": "change since step 0",
        "labelExpr": "(datum.value ? format(datum.value * limits[metric], '+.2~g') : '0') + ' %'",
        "orient": "top",
        "gradientLength": 220,
        "values": [-1, 0, 1],
    }
    shade = {
        "field": "shade",
        "type": "quantitative",
        "scale": {"domain": [-1, 0, 1], "range": ["#2166ac", "#f2f2f2", "#b2182b"]},
        "legend": legend,
    }
    tooltip = tip(
        ("optimizer", "optimizer", ""),
        ("matrix", "matrix", ""),
        ("step", "step", ",d"),
        ("value", "value", ".4g"),
        ("change", "change (%)", "+.2f"),
    )
    groups = ["optimizer", "row", "metric"]
    return {
        "params": [
            metric_select(metrics),
            {"name": "limits", "value": limits},
            {"name": "matrices", "value": list(names)},
        ],
        "transform": [
            {"filter": "datum.metric === metric"},
            {
                "window": [{"op": "lead", "field": "step", "as": "next"}],
                "sort": [{"field": "step", "order": "ascending"}],
                "groupby": groups,
            },
            {"calculate": "isValid(datum.next) ? datum.next : datum.step + 1", "as": "until"},
            {"calculate": "clamp(datum.change / limits[metric], -1, 1)", "as": "shade"},
            {"calculate": "matrices[datum.row]", "as": "matrix"},
        ],
        "facet": {
            "field": "optimizer",
            "type": "nominal",
            "sort": list(optimizers),
            "title": None,
            "header": {"labelExpr": "{adam: 'Adam', es: 'ES', ga: 'GA'}[datum.value] || datum.value"},
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
                "y": {"field": "row", "type": "ordinal", "title": None, "axis": labels},
                "color": shade,
                "tooltip": tooltip,
            },
        },
        "resolve": {"scale": {"x": "independent"}, "axis": {"x": "independent", "y": "independent"}},
        "usermeta": {"panels": {"least": 190, "most": 3, "gutter": 128}},
    }


def forecasts(windows: Sequence[str], optimizers: Sequence[str], features: Sequence[str], unit: str) -> Spec:
    """Several test windows: the end of the context, the truth and each optimizer's forecast."""
    series = ["context", "truth", *optimizers]
    scale = {"domain": series, "range": [f"var(--{name})" for name in series]}
    ink = {"field": "series", "type": "nominal", "scale": scale, "legend": None}
    width = {"condition": {"test": "datum.series === 'truth'", "value": 2.6}, "value": 1.5}
    place = {"x": axis("time", "steps from the start of the forecast"), "y": axis("value", unit), "color": ink}
    off = {"opacity": {"expr": "indexof(muted, datum.series) >= 0 ? 0.06 : 1"}}
    tooltip = tip(("series", "series", ""), ("time", "step", "d"), ("value", "value", ".4g"))
    chosen = select("feature", "channel", features, features)
    return {
        **({"params": [chosen], "transform": [{"filter": "datum.feature == feature"}]} if len(features) > 1 else {}),
        "facet": {"field": "window", "type": "nominal", "sort": list(windows), "title": None},
        "spec": {
            "height": 150,
            "layer": [
                {
                    **ONCE,
                    "mark": {"type": "rule", "color": NULL, "strokeDash": DASH},
                    "encoding": {"x": {"datum": -0.5}},
                },
                {"mark": {"type": "line", **off}, "encoding": {**place, "strokeWidth": width}},
                {"mark": HOVER, "encoding": {**place, "tooltip": tooltip}},
            ],
        },
        "resolve": {"scale": {"y": "independent"}, "axis": {"x": "independent", "y": "independent"}},
        "usermeta": {"panels": {"least": 240, "most": 3, "gutter": 70}},
    }
