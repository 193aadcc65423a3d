"""What the templates share: colours and their meaning, words, the stand-in's banner, the look.

Widths are those of pages that know no better (VS Code's, PNG files). page.js makes panels fit the reader's window:
`usermeta` tells it how narrow a panel may become, and how a grid of panels is folded where it does not fit.
"""

from __future__ import annotations

from typing import Any

from transformer_spectrum.vocabulary import (
    EVOLUTION_METRICS,
    NAMES,
    REVISION_SHADES,
    SHADES,
    Shade,
    family_expression,
    metric_label,
)
from transformer_spectrum.weights.matrices.families import BLOCKS

Spec = dict[str, Any]

SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"
X, Y, X_LABEL, Y_LABEL = "<DVC_METRIC_X>", "<DVC_METRIC_Y>", "<DVC_METRIC_X_LABEL>", "<DVC_METRIC_Y_LABEL>"

METRIC_LABELS = {metric: metric_label(metric) for metric in EVOLUTION_METRICS}
METHODS = list(NAMES.values())


def ink(shade: Shade) -> Spec:
    """A colour that follows the paper's.

    >>> ink(Shade("#222222", "#e6e6e6"))
    {'expr': "dark ? '#e6e6e6' : '#222222'"}
    """
    return {"expr": f"dark ? '{shade.dark}' : '{shade.light}'"}


INK, FAINT = ink(Shade("#222222", "#e6e6e6")), ink(Shade("#555555", "#a8a8a8"))
RULE = ink(Shade("#e6e6e6", "#3a3a3a"))
NULL, NULL_AREA, TRUTH, WARNING = (ink(SHADES[name]) for name in ("null", "null_area", "truth", "warning"))

# DVC fills in {field, scale: {domain: the revisions with data, range}}: so a template knows how many there are.
PARAMS = [
    {"name": "dark", "value": False},
    {"name": "revisions", "value": "<DVC_METRIC_COLOR>"},
    {"name": "several", "expr": "length(revisions.scale.domain) > 1"},
]
WORDS = [
    {"calculate": f"({dict(NAMES)!r})[datum.optimizer] || datum.optimizer", "as": "method"},
    {"calculate": "several ? datum.rev : datum.method", "as": "series"},
]
FAMILY_WORDS = [
    {"calculate": family_expression("datum.family"), "as": "family_words"},
    {
        "calculate": f"indexof({list(BLOCKS)!r}, replace(datum.family, /_[0-9]+x[0-9]+$/, ''))",
        "as": "family_order",
    },
]


def ordered(name: str, order: str, words: str) -> Spec:
    """Words that sort in an order of ours: "03|feed forward".

    A facet of rows and columns has empty panels too, for a family without values of a metric. They know the words
    alone, so nothing but these can sort them; any other order puts them before all and shifts the rest.

    >>> ordered("names", "datum.turn", "datum.name")["calculate"]
    "format(datum.turn < 0 ? 99 : datum.turn, '02d') + '|' + datum.name"
    """
    return {"calculate": f"format({order} < 0 ? 99 : {order}, '02d') + '|' + {words}", "as": name}


def in_order(field: str) -> Spec:
    """A row or column channel of such words.

    >>> in_order("names")["header"]
    {'labelExpr': "split(datum.label, '|')[1]"}
    """
    return {
        "field": field,
        "type": "nominal",
        "title": None,
        "header": {"labelExpr": "split(datum.label, '|')[1]"},
    }


def colour(**more: Any) -> Spec:
    """Revisions where there are several, else optimizers.

    >>> colour()["scale"]["domain"]
    {'expr': "several ? revisions.scale.domain : ['Adam', 'ES', 'GA']"}
    """
    alone = [SHADES[name] for name in NAMES] + list(REVISION_SHADES[len(NAMES) :])
    colours = [
        {"expr": f"several ? ({ink(revision)['expr']}) : ({ink(optimizer)['expr']})"}
        for revision, optimizer in zip(REVISION_SHADES, alone, strict=True)
    ]
    return {
        "field": "series",
        "type": "nominal",
        "title": None,
        "scale": {
            "domain": {"expr": f"several ? revisions.scale.domain : {METHODS!r}"},
            "range": colours,
        },
        **more,
    }


OWN_STARTS = "several && datum.starts > 1"  # where seeds or models differ
# Trainings that start from the same weights may differ in the last bits of their spectra.


def start_of(field: str) -> Spec:
    """What the initial weights are told apart by.

    >>> start_of("initial")["calculate"]
    "format(datum.initial, '.5g')"
    """
    return {"calculate": f"format(datum.{field}, '.5g')", "as": "start"}


def distinct_starts(*groupby: str) -> Spec:
    """Counts the initial weights among the rows that show the same thing.

    >>> distinct_starts("family")["groupby"]
    ['family']
    """
    return {"joinaggregate": [{"op": "distinct", "field": "start", "as": "starts"}], "groupby": list(groupby)}


def of_start(shade: Spec, otherwise: str = "false") -> Spec:
    """Grey, for the initial weights of all; where revisions have some of their own, the revision's colour.

    Args:
        shade: of all.
        otherwise: what is of a training and has its colour, an expression.

    >>> of_start("grey")["value"], of_start("grey")["condition"]["field"]
    ('grey', 'series')
    """
    return {"condition": {"test": f"({OWN_STARTS}) || {otherwise}", **colour()}, "value": shade}


# No dash of an optimizer may be taken for another one's, also where all have one colour.
DASHES = {"Adam": [1, 0], "ES": [8, 3], "GA": [1.5, 2.5]}
BROAD = {"strokeWidth": 5, "opacity": 0.45}
"""The look of what curves are measured against, as a line: broad, pale, never dashed."""


def dash() -> Spec:
    """Optimizers, where colours mean revisions; else all lines are solid and the legend is invisible.

    >>> dash()["scale"]["domain"]
    ['Adam', 'ES', 'GA']
    """
    visible = {"expr": "several ? 1 : 0"}
    return {
        "field": "method",
        "type": "nominal",
        "title": None,
        "scale": {
            "domain": list(DASHES),
            "range": [{"expr": f"several ? {pattern} : [1, 0]"} for pattern in DASHES.values()],
        },
        "legend": {
            "labelOpacity": visible,
            "symbolOpacity": visible,
            "symbolStrokeColor": FAINT,
            "symbolFillColor": "transparent",
        },
    }


def quantitative(field: str, title: Any, **scale: Any) -> Spec:
    """A position channel.

    >>> quantitative("value", "loss", zero=False)
    {'field': 'value', 'type': 'quantitative', 'title': 'loss', 'scale': {'zero': False}}
    """
    return {"field": field, "type": "quantitative", "title": title, "scale": scale}


def axis(count: int, **more: Any) -> Spec:
    """An axis with about so many ticks: 0.2, 20, 2k.

    >>> axis(4, minExtent=30)["tickCount"]
    4
    """
    words = "abs(datum.value) >= 1e3 ? format(datum.value, '~s') : format(datum.value, '~r')"
    return {"tickCount": count, "labelExpr": words, "labelOverlap": "greedy", **more}


def tooltip(*fields: str) -> list[Spec]:
    """Lines of a tooltip.

    >>> tooltip("rev", "last_step")
    [{'field': 'rev', 'title': 'revision'}, {'field': 'last_step', 'title': 'last step'}]
    """
    return [
        {"field": field, "title": {"rev": "revision", "method": "optimizer"}.get(field, field.replace("_", " "))}
        for field in fields
    ]
