"""Forecasts against truth, as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from transformer_spectrum.analysis.of_training.thinning import evenly
from transformer_spectrum.report.figures import forecasts as figure_words
from transformer_spectrum.report.figures.caption import Caption
from transformer_spectrum.report.pictures.style import finish, house_style, legend_above, new_figure
from transformer_spectrum.vocabulary import CONTEXT_COLOUR, TRUTH_COLOUR, colour_of


def draw(forecast: Mapping[str, Any], caption: Caption, *, windows_at_most: int = 6, feature: int = 0) -> Figure:
    """Several windows of the test split: context, truth and each optimizer's forecast, in data units.

    Args:
        forecast: "context" (n, C, F), "truth" (n, H, F), "forecast" optimizer -> (n, H, F), "entities" (n,); without
            "truth" the windows are of the future, which nobody knows.
        caption: of the run.
        windows_at_most: windows, taken evenly.
        feature: which of the F channels.

    >>> figure = draw(forecast, caption, windows_at_most=2)
    >>> [axes.get_title(loc="left") for axes in figure.axes]
    ['north (window 0)', 'south (window 1)']
    """
    context = forecast["context"][..., feature]
    truth = forecast["truth"][..., feature] if "truth" in forecast else None
    horizon = next(iter(forecast["forecast"].values())).shape[1]
    windows = evenly(len(context), windows_at_most).tolist()
    columns = min(3, len(windows))
    rows = -(-len(windows) // columns)
    after = np.arange(horizon)
    length = figure_words.context_shown(context.shape[1], horizon)
    with house_style():
        figure = new_figure(max(9.0, 3.8 * columns + 0.4), 2.2 * rows + 1.2)
        grid = figure.subplots(rows, columns, sharex=True, squeeze=False)
        for axes in grid.flat[len(windows) :]:
            axes.set_axis_off()
        for axes, window in zip(grid.flat, windows, strict=False):
            axes.axvspan(-0.5, after[-1] + 0.5, color="#f4f4f4", zorder=0)
            joined = context[window, -length:]
            if truth is not None:
                joined = np.concatenate([joined, truth[window, :1]])
                axes.plot(after, truth[window], color=TRUTH_COLOUR, linewidth=2.2)
            axes.plot(np.arange(-length, len(joined) - length), joined, color=CONTEXT_COLOUR, linewidth=1.1)
            for optimizer, values in forecast["forecast"].items():
                axes.plot(after, values[window, :, feature], linewidth=1.3, color=colour_of(optimizer))
            axes.set_title(_title(forecast, window), loc="left")
        for axes in grid[-1]:
            axes.set_xlabel(figure_words.TIME)
        for axes in grid[:, 0]:
            axes.set_ylabel(caption.data_unit)
        extra = [Line2D([], [], color=CONTEXT_COLOUR, linewidth=1.1, label="context")]
        if truth is None:
            legend_above(figure, caption.names_of(forecast["forecast"]), *extra)
            return finish(figure, "Forecasts", caption, "Free-running forecasts by the best weights.")
        extra.append(Line2D([], [], color=TRUTH_COLOUR, linewidth=2.2, label="truth"))
        legend_above(figure, caption.names_of(forecast["forecast"]), *extra)
        return finish(figure, figure_words.TITLE, caption, figure_words.TEXT)


def _title(forecast: Mapping[str, Any], window: int) -> str:
    """The window's name; of the future, which every entity has once, the entity's alone."""
    entity = str(forecast["entities"][window])
    return figure_words.window_name(entity, window) if "truth" in forecast else entity
