"""Empirical spectral densities at the tracked steps, as a picture."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from transformer_spectrum.analysis.of_training.densities import density, esd_edges
from transformer_spectrum.analysis.of_training.summary import Summary
from transformer_spectrum.report.figures import esd as figure_words
from transformer_spectrum.report.figures.caption import Caption
from transformer_spectrum.report.pictures.evolution import titled
from transformer_spectrum.report.pictures.steps import step_bar, step_colours
from transformer_spectrum.report.pictures.style import finish, house_style, legend_above, log_axes, new_figure
from transformer_spectrum.vocabulary import NULL_AREA_COLOUR, NULL_COLOUR, START_LABEL


def draw(summaries: Mapping[str, Summary], caption: Caption) -> Figure:
    """Densities of the eigenvalues s^2 at the tracked steps: a row for each family; linear, then log-log.

    >>> figure = draw({"es": summaries["es"]}, caption)
    >>> [half.get_suptitle() for half in figure.subfigs]
    ['linear', 'log-log']
    """
    reference = next(iter(summaries.values()))
    families = reference.spectral_families
    with house_style():
        figure = new_figure(max(10.0, 4.2 * len(summaries) + 1.6), 1.5 * len(families) + 1.6)
        left, right = figure.subfigures(1, 2, wspace=0.01, width_ratios=(1.03, 1))
        for half, log in ((left, False), (right, True)):
            half.suptitle("log-log" if log else "linear", fontsize=10)
            grid = half.subplots(len(families), len(summaries), sharex="row", sharey="row", squeeze=False)
            for row, family in enumerate(families):
                edges = esd_edges(summaries, family, log=log)
                for axes, summary in zip(grid[row], summaries.values(), strict=True):
                    _esd_panel(axes, summary, family, edges, log=log)
                grid[row, 0].set_ylabel(
                    figure_words.DENSITY if log else f"{titled(reference, family)}\n{figure_words.DENSITY}"
                )
                for axes in grid[row]:
                    if log:
                        log_axes(axes)
                    else:
                        axes.yaxis.get_major_locator().set_params(nbins=4)
            for column, optimizer in enumerate(summaries):
                grid[0, column].set_title(caption.name_of(optimizer), fontweight="bold")
                grid[-1, column].set_xlabel(figure_words.EIGENVALUES)
            for column, summary in enumerate(summaries.values()):
                step_bar(half, list(grid[:, column]), summary, label="step", location="bottom", aspect=30, pad=0.01)
        filled = Line2D(
            [], [], color=NULL_AREA_COLOUR, marker="s", markersize=9, markeredgecolor=NULL_COLOUR, linestyle=""
        )
        filled.set_label(START_LABEL)
        legend_above(figure, {}, filled)
        note = (
            f"{figure_words.TEXT};\nthe last step is bold, colours run from each optimizer's first tracked step to its "
            "last. "
            "On the logarithmic axes the smallest 2 % are left out."
        )
        return finish(figure, f"{figure_words.TITLE} at the tracked steps", caption, note)


def _esd_panel(axes: Axes, summary: Summary, family: str, edges: np.ndarray, *, log: bool) -> None:
    def heights(position: int) -> np.ndarray:
        shares = density(summary.pooled_eigenvalues(family, position), edges)
        return np.where(shares > 0, shares, np.nan) if log else shares

    colours = step_colours(summary)
    for i, position in enumerate(summary.tracked[1:]):
        last = position == summary.tracked[-1]
        look = {"linewidth": 1.8, "zorder": 5} if last else {"linewidth": 0.8, "zorder": 3}
        axes.stairs(heights(position), edges, baseline=None, color=colours.to_rgba(i), **look)
    axes.stairs(np.nan_to_num(heights(0)), edges, color=NULL_AREA_COLOUR, fill=True, zorder=1)
    axes.stairs(heights(0), edges, baseline=None, color=NULL_COLOUR, linewidth=1.0, zorder=4)
