"""What the templates share: colours and their meaning, words, the stand-in's banner, the look.

Widths are those of pages that know no better (VS Code's, PNG files). page.js makes panels fit the reader's window:
`usermeta` tells it how narrow a panel may become, and how a grid of panels is folded where it does not fit.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from transformer_spectrum.weights.matrices.families import BLOCKS

Spec = dict[str, Any]

SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"
X, Y, X_LABEL, Y_LABEL = "<DVC_METRIC_X>", "<DVC_METRIC_Y>", "<DVC_METRIC_X_LABEL>", "<DVC_METRIC_Y_LABEL>"

OPTIMIZERS = {"adam": "Adam", "es": "ES", "ga": "GA"}
# Okabe & Ito (2008) for optimizers, as in the PNG figures; other hues for revisions. On white and on black paper.
OPTIMIZER_COLOURS = (("#0072B2", "#56B4E9"), ("#D55E00", "#FF8C42"), ("#009E73", "#2FD0A0"))
REVISION_COLOURS = (
    ("#7B3FA0", "#C29BE8"),
    ("#C77C00", "#FFC65C"),
    ("#1B7F8C", "#5BD1DE"),
    ("#B0305C", "#FF8FB1"),
    ("#5F6B2D", "#C3D36B"),
    ("#44546A", "#A9BCD6"),
)
METRICS = {
    "spectral_entropy": "spectral entropy\n(nats)",
    "stable_rank": "stable rank\n(count)",
    "spectral_norm": "spectral norm\n(weight units)",
    "alpha_exponent": "alpha exponent\n(dimensionless)",
    "mp_spikes": "spikes\n(count)",
    "hill_alpha": "Hill alpha\n(dimensionless)",
    "ks_alpha": "KS alpha\n(dimensionless)",
}


def ink(light: str, dark: str) -> Spec:
    """A colour that follows the paper's."""
    return {"expr": f"dark ? '{dark}' : '{light}'"}


INK, FAINT, RULE = ink("#222222", "#e6e6e6"), ink("#555555", "#a8a8a8"), ink("#e6e6e6", "#3a3a3a")
NULL, NULL_AREA, WARNING = ink("#6b6b6b", "#a0a0a0"), ink("#e3e3e3", "#3c3c3c"), ink("#c00000", "#ff6b6b")

# DVC fills in {field, scale: {domain: the revisions with data, range}}: so a template knows how many there are.
PARAMS = [
    {"name": "dark", "value": False},
    {"name": "revisions", "value": "<DVC_METRIC_COLOR>"},
    {"name": "several", "expr": "length(revisions.scale.domain) > 1"},
]
WORDS = [
    {"calculate": f"({OPTIMIZERS!r})[datum.optimizer] || datum.optimizer", "as": "method"},
    {"calculate": "several ? datum.rev : datum.method", "as": "series"},
]
FAMILY_WORDS = [
    {"calculate": "replace(replace(datum.family, /_/g, ' '), ' attention', '-attention')", "as": "family_words"},
    {
        "calculate": f"indexof({list(BLOCKS)!r}, replace(datum.family, /_[0-9]+x[0-9]+$/, ''))",
        "as": "family_order",
    },
]


def ordered(name: str, order: str, words: str) -> Spec:
    """Words that sort in an order of ours: "03|feed forward".

    A facet of rows and columns has empty panels too, for a family without values of a metric. They know the words
    alone, so nothing but these can sort them; any other order puts them before all and shifts the rest.
    """
    return {"calculate": f"format({order} < 0 ? 99 : {order}, '02d') + '|' + {words}", "as": name}


def in_order(field: str) -> Spec:
    """A row or column channel of such words."""
    return {
        "field": field,
        "type": "nominal",
        "title": None,
        "header": {"labelExpr": "split(datum.label, '|')[1]"},
    }


def colour(**more: Any) -> Spec:
    """Revisions where there are several, else optimizers."""
    range_ = []
    for i, (light, dark) in enumerate(REVISION_COLOURS):
        one = (light, dark) if i >= len(OPTIMIZER_COLOURS) else OPTIMIZER_COLOURS[i]
        range_.append(
            {"expr": f"several ? (dark ? '{dark}' : '{light}') : (dark ? '{one[1]}' : '{one[0]}')"},
        )
    return {
        "field": "series",
        "type": "nominal",
        "title": None,
        "scale": {
            "domain": {"expr": f"several ? revisions.scale.domain : {list(OPTIMIZERS.values())!r}"},
            "range": range_,
        },
        **more,
    }


OWN_NULLS = "several && datum.nulls > 1"  # revisions have nulls of their own where seeds or models differ
# Trainings that start from the same weights may differ in the last bits of their spectra.
START = {"calculate": "format(datum.initial, '.5g')", "as": "start"}


def distinct_starts(*groupby: str) -> Spec:
    """Counts the nulls among the rows that show the same thing."""
    return {"joinaggregate": [{"op": "distinct", "field": "start", "as": "nulls"}], "groupby": list(groupby)}


def of_null(shade: Spec) -> Spec:
    """Grey, for the null of all; where revisions have nulls of their own, the revision's colour."""
    return {"condition": {"test": OWN_NULLS, **colour(field="rev")}, "value": shade}


# No dash of an optimizer may be taken for the null, nor for another optimizer's, also where all have one colour.
DASHES = {"Adam": [1, 0], "ES": [8, 3], "GA": [1.5, 2.5]}
BROAD = {"strokeWidth": 5, "opacity": 0.45}
"""The look of the null as a line: broad, pale, never dashed."""


def dash() -> Spec:
    """Optimizers, where colours mean revisions; else all lines are solid and the legend is invisible."""
    shown = {"expr": "several ? 1 : 0"}
    return {
        "field": "method",
        "type": "nominal",
        "title": None,
        "scale": {
            "domain": list(DASHES),
            "range": [{"expr": f"several ? {pattern} : [1, 0]"} for pattern in DASHES.values()],
        },
        "legend": {
            "labelOpacity": shown,
            "symbolOpacity": shown,
            "symbolStrokeColor": FAINT,
            "symbolFillColor": "transparent",
        },
    }


def quantitative(field: str, title: Any, **scale: Any) -> Spec:
    """A position channel."""
    return {"field": field, "type": "quantitative", "title": title, "scale": scale}


def axis(count: int, **more: Any) -> Spec:
    """An axis with about so many ticks: 0.2, 20, 2k."""
    words = "abs(datum.value) >= 1e3 ? format(datum.value, '~s') : format(datum.value, '~r')"
    return {"tickCount": count, "labelExpr": words, "labelOverlap": "greedy", **more}


def tooltip(*fields: str) -> list[Spec]:
    """Lines of a tooltip."""
    return [
        {"field": field, "title": {"rev": "revision", "method": "optimizer"}.get(field, field.replace("_", " "))}
        for field in fields
    ]


def lines(field: str, words: str, mark: Spec, encoding: Spec | None = None) -> Spec:
    """A line of text for each revision and value of a column; without a value it has no height.

    Args:
        field: the column.
        words: with {rev} and {value} in it. The page makes HTML of them, which wraps; see `description`.
        mark: how the text looks.
        encoding: more of it.
    """
    columns = {"rev": "rev", "value": field}
    parts = [f"datum.{columns[part]}" if i % 2 else repr(part) for i, part in enumerate(re.split(r"[{}]", words))]
    return {
        "description": words,
        "width": 400,
        "height": {"step": 17},
        "view": {"stroke": None},
        "transform": [
            {"filter": f"datum.{field}"},
            {"aggregate": [{"op": "count", "as": "count"}], "groupby": ["rev", field]},
            {"calculate": " + ".join(parts), "as": "words"},
            {"calculate": "datum.rev", "as": "series"},
            {"window": [{"op": "row_number", "as": "line"}], "groupby": []},
        ],
        "mark": {"type": "text", "align": "left", "baseline": "middle", **mark},
        "encoding": {
            "x": {"value": 0},
            "y": {"field": "line", "type": "ordinal", "axis": None},
            "text": {"field": "words"},
            **(encoding or {}),
        },
    }


BANNER = lines(
    "standin",
    "{value} ({rev}): simulated, no real series",
    {"color": WARNING, "fontWeight": "bold", "fontSize": 13},
)


def template(
    description: str,
    note: list[str],
    numbers: list[str],
    transform: list[Spec],
    *bodies: Spec,
    choices: Sequence[Spec] = (),
    panels: Spec | None = None,
) -> Spec:
    """A whole template.

    Args:
        description: what it shows; for readers of the file and for screen readers.
        note: lines under the title; Vega expressions.
        numbers: columns to read as numbers, for DVC hands over text.
        transform: of all bodies.
        bodies: views, one below the other.
        choices: parameters that the reader sets, above the figure.
        panels: how page.js fits the panels: "least" and "most" width of one, "gutter" beside it for axes (pixels), and
            for a grid "grid", the column of the data that its columns stand for, and "folded", the facet that takes
            the grid's place where it is too wide.
    """
    return {
        "$schema": SCHEMA,
        "description": description,
        "background": ink("#ffffff", "#16181c"),
        "padding": 8,
        "params": [*PARAMS, *choices, {"name": "note", "expr": f"[{', '.join(note)}]"}],
        "data": {"values": "<DVC_METRIC_DATA>", "format": {"parse": dict.fromkeys(numbers, "number")}},
        "title": {"text": "<DVC_METRIC_TITLE>", "subtitle": {"expr": "note"}},
        "transform": transform,
        "vconcat": [BANNER, *bodies],
        "spacing": 6,
        "config": CONFIG,
        "usermeta": {"panels": {"least": 220, "most": 420, "gutter": 56, **(panels or {})}},
    }


def folded() -> Spec:
    """The facet that takes the place of a grid of two fields made by `ordered`: one below the other, in the same order.

    The template calculates `folded`, both joined by "|".
    """
    words = [f"split(split(datum.label, '|')[{2 * i + 1}], '\\n')[0]" for i in range(2)]
    header = {"labelExpr": " + '\\n' + ".join(reversed(words))}
    return {"field": "folded", "type": "nominal", "title": None, "header": header}


CONFIG: Spec = {
    "font": "system-ui, 'DejaVu Sans', sans-serif",
    "lineBreak": "\n",
    "axis": {
        "labelFontSize": 10,
        "titleFontSize": 11,
        "titleFontWeight": "normal",
        "titleColor": FAINT,
        "labelColor": FAINT,
        "gridColor": RULE,
        "domainColor": FAINT,
        "tickColor": FAINT,
    },
    "view": {"stroke": None},
    "header": {
        "labelFontSize": 11,
        "labelFontWeight": "bold",
        "labelColor": INK,
        "labelLineHeight": 14,
        "labelLimit": 400,
    },
    "legend": {
        "orient": "top",
        "labelFontSize": 12,
        "labelColor": INK,
        "titleColor": INK,
        "symbolSize": 200,
        "symbolStrokeWidth": 2.5,
        "labelLimit": 300,
        "columnPadding": 16,
        "symbolType": "stroke",
    },
    "title": {
        "anchor": "start",
        "fontSize": 16,
        "color": INK,
        "subtitleColor": FAINT,
        "subtitleFontSize": 11.5,
        "subtitleLineHeight": 15,
        "subtitlePadding": 5,
        "offset": 10,
    },
}
