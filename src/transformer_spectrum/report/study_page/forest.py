"""Forest plots: a row a contrast, a column an axis, each an interval beside 0 and the margin of equivalence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any, NamedTuple

from markupsafe import Markup

from transformer_spectrum.report.page.numbers import number, signed
from transformer_spectrum.report.study_page.words import Verdict, endpoint_words, interval
from transformer_spectrum.vocabulary import AXIS_WORDS

WIDTH, HEIGHT = 150, 18


class Forest(NamedTuple):
    """Of one endpoint.

    Attributes:
        title: its words and unit.
        axes: column titles, the primary one first.
        rows: title, cells (one an axis: drawing and numbers), judgement, adjusted p, pairs.
    """

    title: str
    axes: tuple[str, ...]
    rows: tuple[dict[str, Any], ...]


def forests(verdicts: Sequence[Verdict], axes: Sequence[str]) -> list[Forest]:
    """One forest for each endpoint, all rows of one on one scale.

    Args:
        verdicts: of contrasts, as in verdicts.json.
        axes: of the protocol.

    >>> effect = {"mean": 0.5, "low": 0.25, "high": 0.75, "pairs": 12}
    >>> verdict = {"contrast": {"name": "Muon - Adam", "dataset": "light"}, "endpoint": "mp_spikes",
    ...     "axes": {"distance": effect}, "judgement": "found", "adjusted_p": 0.01, "robust": True,
    ...     "equivalence": {"margin": 0.1}, "censored": 0, "failed_controls": []}
    >>> (forest,) = forests([verdict], ["distance", "updates"])
    >>> forest.rows[0]["cells"][0]["numbers"], forest.rows[0]["cells"][1]["numbers"]
    ('+0.50 [0.25, 0.75]', '')
    """
    drawn = []
    for endpoint in dict.fromkeys(verdict["endpoint"] for verdict in verdicts):
        own = [verdict for verdict in verdicts if verdict["endpoint"] == endpoint]
        ends = [
            abs(effect[end])
            for verdict in own
            for effect in verdict["axes"].values()
            for end in ("mean", "low", "high")
            if effect[end] is not None and math.isfinite(effect[end])
        ]
        reach = 1.05 * max(ends, default=1.0) or 1.0
        rows = tuple(_row(verdict, axes, reach) for verdict in own)
        words = tuple(f"equal {AXIS_WORDS[axis]}" for axis in axes)
        drawn.append(Forest(endpoint_words(endpoint), words, rows))
    return drawn


def _row(verdict: Verdict, axes: Sequence[str], reach: float) -> dict[str, Any]:
    margin = (verdict["equivalence"] or {}).get("margin")
    contrast = verdict["contrast"]
    cells = []
    for axis in axes:
        effect = verdict["axes"].get(axis)
        if effect is None:
            cells.append({"drawing": "", "numbers": ""})
            continue
        numbers = f"{signed(effect['mean'], 2)} {interval(effect)}"
        cells.append({"drawing": _drawing(effect, margin, reach, f"{contrast['name']}: {numbers}"), "numbers": numbers})
    robust = {True: "one sign on all axes", False: "the axis decides the sign", None: "sign unknown"}[verdict["robust"]]
    failed = f"; failed controls: {', '.join(verdict['failed_controls'])}" if verdict["failed_controls"] else ""
    lacking = f", {verdict['censored']} censored" if verdict["censored"] else ""
    pairs = next(iter(verdict["axes"].values()))["pairs"]
    return {
        "title": contrast["name"],
        "dataset": contrast["dataset"],
        "cells": cells,
        "judgement": verdict["judgement"],
        "words": f"{robust}{failed}",
        "p": number(verdict["adjusted_p"], 4),
        "pairs": f"{pairs}{lacking}",
    }


def _drawing(effect: Verdict, margin: float | None, reach: float, title: str) -> Markup:
    def at(value: float) -> float:
        return WIDTH / 2 * (1 + max(-1.0, min(1.0, value / reach)))

    pieces = []
    if margin:
        pieces.append(
            f'<rect class="margin" x="{at(-margin):.1f}" y="0" width="{at(margin) - at(-margin):.1f}" height="18"/>'
        )
    pieces.append(f'<path class="zero" d="M{WIDTH / 2},0v{HEIGHT}"/>')
    low, high, mean = (effect[name] for name in ("low", "high", "mean"))
    if mean is not None:
        left = at(low) if low is not None else 0.0
        right = at(high) if high is not None else float(WIDTH)
        pieces.append(f'<path class="thin own" d="M{left:.1f},{HEIGHT / 2}H{right:.1f}"/>')
        pieces.append(f'<circle class="dot own" cx="{at(mean):.1f}" cy="{HEIGHT / 2}" r="3.2"/>')
    return Markup(
        f'<svg class="forest" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>{''.join(pieces)}</svg>"
    )
