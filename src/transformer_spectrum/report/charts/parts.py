"""What the charts of the report's page are made of.

Colours are CSS variables, so that dark, light and print need no new drawing. `usermeta.panels` tells page.js how wide
a panel may become; `muted` is the list of optimizers that the reader has switched off; an axis title that begins with
"=" is an expression, see page.js.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from transformer_spectrum.report.page.html import Table
from transformer_spectrum.report.page.numbers import short
from transformer_spectrum.report.run import Run
from transformer_spectrum.vocabulary import (
    EVOLUTION_METRICS,
    METRICS,
    family_expression,
    family_words,
    metric_label,
)

Spec = dict[str, Any]

DIGITS = 5
"""Significant digits of the data: more than a screen can show."""
NULL = "var(--null)"
DASH = [4, 3]
HOVER = {"type": "point", "size": 90, "opacity": 0}
ONCE: Spec = {"data": {"values": [{}]}}
"""For marks that stand in a figure once and not for every row."""
TEXT = ("optimizer", "family", "metric", "of", "split", "series", "window")
"""Columns of words in the data of charts."""


@dataclass(frozen=True)
class Chart:
    """One figure of the page.

    Attributes:
        name: of its anchor and of the file that its data are saved as.
        title: a short heading.
        text: what to look at, and how to read it.
        alternative: what it shows, for those who cannot see it; the numbers are in the table.
        spec: Vega-Lite, without data.
        parse: columns that hold numbers.
        data: CSV.
        numbers: the figure in numbers.
        legend: what else than the optimizers has a colour; names of CSS variables.
        optimizers: it has lines of the optimizers, which a reader can mute.
    """

    name: str
    title: str
    text: str
    alternative: str
    spec: Spec
    parse: tuple[str, ...]
    data: str
    numbers: Table
    legend: tuple[str, ...] = ("null",)
    optimizers: bool = True


def csv(table: pd.DataFrame) -> str:
    """A table as CSV, its numbers cut to DIGITS.

    >>> csv(pd.DataFrame({"step": [3], "value": [1.2345678], "initial": [float("nan")]}))
    'step,value,initial\\n3,1.2346,\\n'
    """
    return table.to_csv(index=False, float_format=f"%.{DIGITS}g", lineterminator="\n")


def number_columns(table: pd.DataFrame) -> tuple[str, ...]:
    """Its columns that hold numbers.

    >>> number_columns(pd.DataFrame({"optimizer": ["adam"], "step": [3]}))
    ('step',)
    """
    return tuple(name for name in table.columns if name not in TEXT)


def progress(table: pd.DataFrame) -> pd.Series:
    """Where each row's step stands among its optimizer's tracked ones: "0" the first, "1" the last.

    >>> progress(pd.DataFrame({"optimizer": ["ga", "ga", "ga"], "step": [0, 5, 9]})).tolist()
    ['0', '0.5', '1']
    """
    steps = table.groupby("optimizer")["step"]
    shares = (steps.rank(method="dense") - 1) / (steps.transform("nunique") - 1).clip(lower=1)
    return shares.map("{:.2g}".format)


def ends_by_family(run: Run, table: pd.DataFrame, value: str, caption: str) -> Table:
    """The largest value of a column in each family, at the start and at each training's last tracked step.

    >>> table = run.curves["singular_values"].query("of == 'weights'")
    >>> ends_by_family(run, table, "value", "Largest singular values.").rows[0]
    ('feed-forward', '1.95', '1.951', '1.967', '1.925')
    """
    last = table["step"] == table.groupby("optimizer")["step"].transform("max")
    starts = table[table["step"] == 0].groupby("family")[value].max()
    tops = table[last].groupby(["family", "optimizer"])[value].max()
    rows = tuple(
        (
            family_words(family),
            short(starts.get(family)),
            *(short(tops.get((family, optimizer))) for optimizer in run.trainings),
        )
        for family in table["family"].unique()
    )
    titles = (f"{run.caption.name_of(name)}, last step" for name in run.trainings)
    return Table(caption, ("family", "initial", *titles), rows)


def select(name: str, label: str, options: Sequence[str], labels: Sequence[str]) -> Spec:
    """A variable with a list to choose from above the figure.

    >>> select("steps", "steps", ("last", "all"), ("the last one", "all"))["bind"]["name"]
    'steps '
    """
    bind = {"input": "select", "options": list(options), "labels": list(labels), "name": f"{label} "}
    return {"name": name, "value": options[0], "bind": bind}


def labels_of(metrics: Sequence[str], settings: Mapping[str, str] | None = None) -> dict[str, str]:
    """Metric -> its label in one line.

    >>> labels_of(["ks_alpha", "mp_spikes"], {"ks_alpha": "tail ≥ 8", "mp_spikes": "level 0.99"})
    {'ks_alpha': 'KS alpha (tail ≥ 8)', 'mp_spikes': 'spikes (count, level 0.99)'}
    """
    labels = {metric: metric_label(metric, settings=settings) for metric in metrics}
    return {metric: label.replace(")\n(", ", ").replace("\n", " ") for metric, label in labels.items()}


def metric_select(metrics: Sequence[str], settings: Mapping[str, str] | None = None) -> list[Spec]:
    """The list of metrics in the order of the vocabulary, and their labels for titles of axes.

    >>> metric_select(["ks_alpha", "stable_rank", "change_stable_rank"])[0]["bind"]["options"]
    ['change_stable_rank', 'stable_rank', 'ks_alpha']
    """
    ordered = [name for name in dict.fromkeys((*EVOLUTION_METRICS, *METRICS, *metrics)) if name in metrics]
    labels = labels_of(ordered, settings)
    return [select("metric", "metric", ordered, list(labels.values())), {"name": "labels", "value": labels}]


def colour(optimizers: Sequence[str]) -> Spec:
    """Optimizers by colour; the legend is HTML, for keyboards.

    >>> colour(["adam"])["scale"]
    {'domain': ['adam'], 'range': ['var(--adam)']}
    """
    scale = {"domain": list(optimizers), "range": [f"var(--{name})" for name in optimizers]}
    return {"field": "optimizer", "type": "nominal", "scale": scale, "legend": None}


def name_expression(run: Run, field: str) -> str:
    """`Caption.name_of` in the language of Vega.

    >>> name_expression(run, "datum.value")
    '({"adam": "Adam", "es": "ES", "ga": "GA"})[datum.value] || datum.value'
    """
    return f"({json.dumps(run.caption.names_of(run.trainings))})[{field}] || {field}"


def muted(otherwise: str = "1") -> Spec:
    """Opacity of what may be switched off.

    >>> muted("0.5")["opacity"]["expr"]
    'indexof(muted, datum.optimizer) >= 0 ? 0.06 : (0.5)'
    """
    return {"opacity": {"expr": f"indexof(muted, datum.optimizer) >= 0 ? 0.06 : ({otherwise})"}}


def tip(*fields: tuple[str, str, str]) -> list[Spec]:
    """A tooltip of (field, title, number format or "").

    >>> tip(("step", "step", ",d"))
    [{'field': 'step', 'title': 'step', 'type': 'quantitative', 'format': ',d'}]
    """
    return [
        {"field": field, "title": title, **({"type": "quantitative", "format": form} if form else {"type": "nominal"})}
        for field, title, form in fields
    ]


def axis(field: str, title: str | None, *, log: bool = False, **scale: Any) -> Spec:
    """A quantitative axis that need not begin at 0; the title of a logarithmic one says what it is.

    >>> axis("rank", "rank", log=True)["title"]
    'rank (log)'
    """
    if log and title and not title.startswith("="):
        title = f"{title} (log)"
    kind = {"type": "log"} if log else {"zero": False}
    ticks = {"tickCount": 4, **({"format": "~g"} if log else {})}
    return {
        "field": field,
        "type": "quantitative",
        "title": title,
        "scale": {**kind, "nice": False, **scale},
        "axis": ticks,
    }


def family_facets(families: Sequence[str], layers: list[Spec], *, shared: Sequence[str] = ()) -> Spec:
    """A panel for each family; every panel has axes of its own, and of the `shared` channels one scale.

    >>> family_facets(["readout"], [], shared="x")["resolve"]["scale"]
    {'x': 'shared', 'y': 'independent'}
    """
    return {
        "facet": {
            "field": "family",
            "type": "nominal",
            "sort": list(families),
            "title": None,
            "header": {"labelExpr": family_expression("datum.value")},
        },
        "spec": {"height": 170, "layer": layers},
        "resolve": {
            "scale": {channel: "shared" if channel in shared else "independent" for channel in "xy"},
            "axis": {"x": "independent", "y": "independent"},
        },
        "usermeta": {"panels": {"least": 230, "most": 3, "gutter": 66}},
    }
