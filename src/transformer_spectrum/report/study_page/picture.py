"""The answer as one picture: contrasts of optimizers and losses side by side, and whose the variance is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from transformer_spectrum.report.pictures.style import house_style, new_figure
from transformer_spectrum.report.study_page.figures import TERMS, parts_of_variance
from transformer_spectrum.report.study_page.words import endpoint_words, first_axis
from transformer_spectrum.vocabulary import AXIS_WORDS, LINE_SHADES, NULL_AREA_COLOUR

DRAWN = {name: LINE_SHADES[TERMS.index(name)].light for name in ("optimizer", "loss")}
"""What arms differ in -> its colour, which is that of its share of the variance."""


def answer_picture(verdicts: Mapping[str, Any], variance: pd.DataFrame) -> Figure:
    """Rows of contrasts at the primary axis, a panel a primary endpoint; below them bars of variance.

    >>> verdicts = {"contrasts": [], "controls": [], "axes": ["distance"]}
    >>> answer_picture(verdicts, pd.DataFrame()).get_size_inches().tolist()[0]
    11.0
    """
    shown = [verdict for verdict in verdicts["contrasts"] if verdict["between"] in DRAWN]
    endpoints = list(dict.fromkeys(verdict["endpoint"] for verdict in shown)) or [""]
    names = list(dict.fromkeys(verdict["contrast"]["name"] for verdict in shown))
    with house_style():
        figure = new_figure(11.0, 2.6 + 0.21 * len(names))
        top, bottom = figure.subfigures(2, 1, height_ratios=[1.0 + 0.21 * len(names), 1.3])
        for axes, endpoint in zip(np.atleast_1d(top.subplots(1, len(endpoints), sharey=True)), endpoints, strict=True):
            _forest(axes, [verdict for verdict in shown if verdict["endpoint"] == endpoint], names)
            axes.set_title(endpoint_words(endpoint))
            axes.set_xlabel(
                f"first − second at equal {AXIS_WORDS[verdicts['axes'][0]]}, ln units, 95 % interval\n"
                "full: found; hollow: null or inconclusive; dotted: no end; grey: margin"
            )
        _bars(bottom.subplots(), variance, endpoints, verdicts["axes"][0])
        return figure


def _forest(axes: Axes, verdicts: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
    axes.axvline(0.0, color="#555555", linewidth=0.8)
    margins = [verdict["equivalence"]["margin"] for verdict in verdicts if verdict["equivalence"]]
    if margins:
        axes.axvspan(-margins[0], margins[0], color=NULL_AREA_COLOUR, linewidth=0)
    for verdict in verdicts:
        effect, place = verdict["axes"][first_axis(verdict)], names.index(verdict["contrast"]["name"])
        if effect["mean"] is None:
            continue
        colour = DRAWN[verdict["between"]]
        if effect["low"] is not None and effect["high"] is not None:
            axes.plot([effect["low"], effect["high"]], [place, place], color=colour, linewidth=1.4)
        else:  # so few pairs that the interval has no end
            axes.axhline(place, color=colour, linewidth=1.0, linestyle=":")
        found = verdict["judgement"] == "found"
        axes.plot(effect["mean"], place, "o", color=colour, markersize=5, markerfacecolor=colour if found else "white")
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)


def _bars(axes: Axes, variance: pd.DataFrame, endpoints: Sequence[str], axis: str) -> None:
    usable = variance[variance["share"].notna()] if "share" in variance else variance
    drawn = [
        (endpoint, rows)
        for endpoint in endpoints
        if len(usable) and len(rows := usable[(usable["endpoint"] == endpoint) & (usable["axis"] == axis)])
    ]
    for place, (_, rows) in enumerate(drawn):
        left = 0.0
        parts = parts_of_variance(rows)
        total = sum(parts.values()) or 1.0
        for position, (term, share) in enumerate(parts.items()):
            label = term if place == 0 else None
            axes.barh(place, share / total, left=left, color=LINE_SHADES[position].light, label=label)
            if share / total > 0.05:
                look = {"ha": "center", "va": "center", "color": "white", "fontsize": 8}
                axes.text(left + share / total / 2, place, f"{100 * share / total:.3g} %", **look)
            left += share / total
    axes.set_yticks(range(len(drawn)), [endpoint_words(endpoint) for endpoint, _ in drawn])
    axes.set_xlim(0, 1)
    axes.set_xlabel(
        f"share of variance over {', '.join(TERMS[:4])} and seed, at equal {AXIS_WORDS[axis]}; below 0 is drawn as 0"
    )
    axes.grid(visible=False)
    if drawn:
        axes.invert_yaxis()
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(TERMS))
