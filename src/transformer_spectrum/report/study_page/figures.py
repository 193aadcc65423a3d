"""Panels of the page: curves along MAE and distance, spectra of the arms, and shares of variance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from transformer_spectrum.report.page.svg import Axis, Panel
from transformer_spectrum.report.study_page.words import endpoint_words, percent
from transformer_spectrum.vocabulary import AXIS_WORDS, LINE_SHADES

LINES = {f"c{i}": shade for i, shade in enumerate(LINE_SHADES)}
"""Class of an arm's line -> its colours; behind the last one they begin again, dashed."""
MATRIX_WORDS: Mapping[str, str] = {"weights": "W", "change": "W_t − W_0"}
GROUP_WORDS: Mapping[str, str] = {
    "feed_forward": "feed-forward",
    "attention": "attention",
    "encoder": "encoder gates",
    "decoder": "decoder gates",
}
BAR_WIDTH, BAR_HEIGHT = 640, 22
TERMS = ("optimizer", "loss", "rate", "dataset", "interactions", "seed and all with it")
"""Parts of a bar of variance, in order; an interaction is one of factors alone."""


def look(position: int) -> str:
    """Classes of the line of an arm.

    >>> look(0), look(8)
    ('c0', 'c1 dashed')
    """
    again = " dashed" if position >= len(LINES) else ""
    return f"c{position % len(LINES)}{again}"


def groups_of_curves(curves: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Title, key and panels of each block and data set, a panel an endpoint and axis; bands are ± 1 sd over seeds.

    >>> row = ("losses", "light", "adam-mse", "distance", "mp_spikes")
    >>> rows = [(*row, at, 2.0 * at, 0.1) for at in (0.1, 0.2)]
    >>> columns = ["block", "dataset", "arm", "axis", "endpoint", "at", "mean", "sd"]
    >>> next(groups_of_curves(pd.DataFrame(rows, columns=columns)))["title"]
    'losses, light'
    """
    for (block, dataset), rows in curves.groupby(["block", "dataset"], sort=False):
        arms = list(dict.fromkeys(rows["arm"]))
        panels = []
        for (endpoint, axis), inside in rows.groupby(["endpoint", "axis"], sort=False):
            panel = Panel(
                endpoint_words(endpoint),
                Axis.around(inside["at"].to_numpy(), log=True, margin=0.02),
                Axis.around(
                    np.concatenate([inside["mean"] - inside["sd"].fillna(0), inside["mean"] + inside["sd"].fillna(0)])
                ),
                AXIS_WORDS[str(axis)],
            )
            for arm, curve in inside.groupby("arm", sort=False):
                at, mean, sd = (curve[name].to_numpy() for name in ("at", "mean", "sd"))
                panel.band(at, mean - sd, mean + sd, look(arms.index(arm)).split()[0])
                panel.line(at, mean, look(arms.index(arm)))
            panels.append(
                panel.svg(
                    f"{endpoint_words(endpoint)} of each arm of {block} on {dataset} over {AXIS_WORDS[str(axis)]}"
                )
            )
        yield {"title": f"{block}, {dataset}", "key": _key(arms), "panels": panels}


def groups_of_spectra(spectra: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Title, key and panels of each block and data set, a panel a matrix (W, its change) and group.

    >>> row = ("losses", "light", "adam-mse", "change", "attention")
    >>> rows = [(*row, rank, -0.1 * rank, 0.01) for rank in (1, 2, 3)]
    >>> columns = ["block", "dataset", "arm", "matrix", "group", "rank", "mean", "sd"]
    >>> len(next(groups_of_spectra(pd.DataFrame(rows, columns=columns)))["panels"])
    1
    """
    for (block, dataset), rows in spectra.groupby(["block", "dataset"], sort=False):
        arms = list(dict.fromkeys(rows["arm"]))
        panels = []
        for (matrix, group), inside in rows.groupby(["matrix", "group"], sort=False):
            title = f"{MATRIX_WORDS.get(str(matrix), str(matrix))}, {GROUP_WORDS.get(str(group), str(group))}"
            panel = Panel(
                title,
                Axis.around(inside["rank"].to_numpy(), log=True, margin=0.02),
                Axis.around(inside["mean"].to_numpy()),
                "rank of the singular value",
                "log10 of s / rms",
            )
            for arm, curve in inside.groupby("arm", sort=False):
                rank, mean, sd = (curve[name].to_numpy() for name in ("rank", "mean", "sd"))
                panel.band(rank, mean - sd, mean + sd, look(arms.index(arm)).split()[0])
                panel.line(rank, mean, look(arms.index(arm)))
            panels.append(panel.svg(f"Spectrum of {title} of each arm of {block} on {dataset}"))
        yield {"title": f"{block}, {dataset}", "key": _key(arms), "panels": panels}


def _key(arms: Sequence[str]) -> list[dict[str, str]]:
    return [{"look": f"line {look(position)}", "label": arm} for position, arm in enumerate(arms)]


def parts_of_variance(rows: pd.DataFrame) -> dict[str, float]:
    """Shares by TERMS of one block, endpoint and axis; what is below 0 counts as 0, so that a bar can be drawn.

    >>> terms = ["optimizer", "loss", "optimizer x loss", "seed"]
    >>> rows = pd.DataFrame({"term": terms, "share": [0.7, -0.01, 0.2, 0.1]})
    >>> parts_of_variance(rows)["interactions"]
    0.2
    """
    parts = dict.fromkeys(TERMS, 0.0)
    for term, share in zip(rows["term"].astype(str), rows["share"], strict=True):
        name = TERMS[-1] if "seed" in term.split(" x ") else "interactions" if " x " in term else term
        parts[name] += max(0.0, float(share))
    return parts


def bars_of_variance(variance: pd.DataFrame) -> list[dict[str, Any]]:
    """Title, drawing and words of every block, endpoint and axis that has shares.

    >>> rows = pd.DataFrame({"block": ["crossed"], "endpoint": ["mp_spikes"], "axis": ["distance"],
    ...     "term": ["optimizer"], "share": [1.0]})
    >>> bars_of_variance(rows)[0]["title"]
    'mp spikes at equal relative distance'
    """
    bars = []
    usable = variance[variance["share"].notna()] if len(variance) else variance
    for (_, endpoint, axis), rows in usable.groupby(["block", "endpoint", "axis"], sort=False) if len(usable) else []:
        parts, left, pieces = parts_of_variance(rows), 0.0, []
        total = sum(parts.values()) or 1.0
        for position, (name, share) in enumerate(parts.items()):
            width = BAR_WIDTH * share / total
            pieces.append(
                f'<rect class="part c{position}" x="{left:.1f}" y="0" width="{width:.1f}" height="{BAR_HEIGHT}">'
                f"<title>{escape(name)} {percent(share)}</title></rect>"
            )
            left += width
        title = f"{endpoint_words(str(endpoint))} at equal {AXIS_WORDS[str(axis)]}"
        words = ", ".join(f"{name} {percent(share)}" for name, share in parts.items())
        drawing = Markup(
            f'<svg class="bar" viewBox="0 0 {BAR_WIDTH} {BAR_HEIGHT}" preserveAspectRatio="none" role="img" '
            f'aria-label="{escape(title)}: {escape(words)}">{"".join(pieces)}</svg>'
        )
        bars.append({"title": title, "drawing": drawing, "words": words})
    return bars
