"""What the Vega-Lite specifications of the report's figures are made of.

Colours are CSS variables, so that dark, light and print need no new drawing. `usermeta.panels` tells page.js how wide
a panel may become; `muted` is the list of optimizers that the reader has switched off; an axis title that begins with
"=" is an expression, see page.js.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Spec = dict[str, Any]

NULL, INK = "var(--null)", "var(--ink)"
DASH = [4, 3]
HOVER = {"type": "point", "size": 90, "opacity": 0}
WORDS = (
    "replace(replace(replace(replace(datum.value, /_/g, ' '), ' attention', '-attention'), 'feed forward', "
    "'feed-forward'), /(\\d)x(\\d)/, '$1×$2')"
)
ONCE: Spec = {"data": {"values": [{}]}}
"""For marks that stand in a figure once and not for every row."""
METRICS = {
    "stable_rank": "stable rank (count)",
    "spectral_entropy": "spectral entropy (nats)",
    "spectral_norm": "spectral norm (weight units)",
    "alpha_exponent": "alpha exponent",
    "mp_spikes": "spikes (count)",
    "hill_alpha": "Hill alpha",
    "ks_alpha": "KS alpha",
}


def select(name: str, label: str, options: Sequence[str], labels: Sequence[str]) -> Spec:
    """A variable with a list to choose from above the figure."""
    bind = {"input": "select", "options": list(options), "labels": list(labels), "name": f"{label} "}
    return {"name": name, "value": options[0], "bind": bind}


def metric_select(metrics: Sequence[str]) -> Spec:
    """The list of metrics, the first of METRICS that is there in front."""
    known = [name for name in METRICS if name in metrics] + [name for name in metrics if name not in METRICS]
    return select("metric", "metric", known, [METRICS.get(name, name.replace("_", " ")) for name in known])


def colour(optimizers: Sequence[str]) -> Spec:
    """Optimizers by colour; the legend is HTML, for keyboards."""
    scale = {"domain": list(optimizers), "range": [f"var(--{name})" for name in optimizers]}
    return {"field": "optimizer", "type": "nominal", "scale": scale, "legend": None}


def muted(otherwise: str = "1") -> Spec:
    """Opacity of what may be switched off."""
    return {"opacity": {"expr": f"indexof(muted, datum.optimizer) >= 0 ? 0.06 : ({otherwise})"}}


def tip(*fields: tuple[str, str, str]) -> list[Spec]:
    """A tooltip of (field, title, number format or "")."""
    return [
        {"field": field, "title": title, **({"type": "quantitative", "format": form} if form else {"type": "nominal"})}
        for field, title, form in fields
    ]


def axis(field: str, title: str | None, *, log: bool = False, **scale: Any) -> Spec:
    """A quantitative axis that need not begin at 0; the title of a logarithmic one says what it is."""
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
    """A panel for each family; every panel has axes of its own, and of the `shared` channels one scale."""
    return {
        "facet": {
            "field": "family",
            "type": "nominal",
            "sort": list(families),
            "title": None,
            "header": {"labelExpr": WORDS},
        },
        "spec": {"height": 170, "layer": layers},
        "resolve": {
            "scale": {one: "shared" if one in shared else "independent" for one in "xy"},
            "axis": {"x": "independent", "y": "independent"},
        },
        "usermeta": {"panels": {"least": 230, "most": 3, "gutter": 66}},
    }
