"""What is around the figure of every template: title and note, the stand-in's banner, lines of text, the look."""

from __future__ import annotations

import re
from collections.abc import Sequence

from transformer_spectrum.report.dvc_plots.pieces import FAINT, INK, PARAMS, RULE, SCHEMA, WARNING, Spec, ink
from transformer_spectrum.vocabulary import (
    STANDIN_MEANING,
    Shade,
)


def lines(field: str, words: str, mark: Spec, encoding: Spec | None = None) -> Spec:
    """A line of text for each revision and value of a column; without a value it has no height.

    Args:
        field: the column.
        words: with {rev} and {value} in it. The page makes HTML of them, which wraps; see `description`.
        mark: how the text looks.
        encoding: more of it.

    >>> lines("objective", "{rev} minimises {value}", {})["transform"][2]["calculate"]
    "'' + datum.rev + ' minimises ' + datum.objective + ''"
    """
    columns = {"rev": "rev", "value": field}
    pieces = [f"datum.{columns[piece]}" if i % 2 else repr(piece) for i, piece in enumerate(re.split(r"[{}]", words))]
    return {
        "description": words,
        "width": 400,
        "height": {"step": 17},
        "view": {"stroke": None},
        "transform": [
            {"filter": f"datum.{field}"},
            {"aggregate": [{"op": "count", "as": "count"}], "groupby": ["rev", field]},
            {"calculate": " + ".join(pieces), "as": "words"},
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
    f"{{value}} ({{rev}}): {STANDIN_MEANING}",
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

    >>> template("What it shows.", [], ["step"], [])["data"]["format"]
    {'parse': {'step': 'number'}}
    """
    return {
        "$schema": SCHEMA,
        "description": description,
        "background": ink(Shade("#ffffff", "#16181c")),
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

    >>> folded()["field"]
    'folded'
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
        "symbolOpacity": 1,  # not that of a pale area
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
