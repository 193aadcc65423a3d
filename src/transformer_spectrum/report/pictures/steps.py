"""Colours of the tracked steps of one optimizer, and their bar."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure, SubFigure

from transformer_spectrum.analysis.of_training.summary import Summary

SHADES = "viridis_r"


def step_colours(summary: Summary) -> ScalarMappable:
    """A colour for each tracked step of one optimizer after step 0, from its first to its last.

    Epochs are tens and generations hundreds: on one scale for all, every step of Adam would have the same colour.

    >>> colours = step_colours(summaries["es"])
    >>> len(summaries["es"].tracked), colours.cmap.N
    (3, 2)
    """
    count = max(1, len(summary.tracked) - 1)
    shades = matplotlib.colormaps[SHADES](np.linspace(0.08, 1.0, count) if count > 1 else [1.0])
    return ScalarMappable(BoundaryNorm(np.arange(count + 1) - 0.5, count), ListedColormap(shades))


def step_bar(figure: Figure | SubFigure, axes: Sequence[Axes], summary: Summary, **place: Any) -> None:
    """The colour bar of `step_colours`, labelled with the steps; none where there is no step after 0.

    >>> figure = Figure()
    >>> step_bar(figure, [figure.subplots()], summaries["es"])
    >>> [text.get_text() for text in figure.axes[-1].get_yticklabels()]
    ['1', '4']
    """
    steps = summary.history.steps[summary.tracked[1:]].tolist()
    if steps:
        bar = figure.colorbar(step_colours(summary), ax=axes, ticks=range(len(steps)), **place)
        bar.set_ticklabels([f"{step:,}" for step in steps])
        bar.ax.tick_params(length=0, labelsize=7)
        bar.outline.set_visible(False)
