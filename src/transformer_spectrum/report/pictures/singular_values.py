"""Singular values at the tracked steps, as a picture."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from transformer_spectrum.analysis.of_training.summary import Summary
from transformer_spectrum.report.figures import singular_values as figure_words
from transformer_spectrum.report.figures.caption import Caption
from transformer_spectrum.report.pictures.evolution import titled
from transformer_spectrum.report.pictures.steps import step_bar, step_colours
from transformer_spectrum.report.pictures.style import (
    finish,
    house_style,
    legend_above,
    log_axes,
    new_figure,
    null_handle,
    null_line,
)
from transformer_spectrum.vocabulary import display_name


def draw(summaries: Mapping[str, Summary], caption: Caption) -> Figure:
    """Mean singular value over the initial one against rank: a row for each optimizer, a column for each family.

    Against each other, not over the initial ones, all curves would lie on each other.

    >>> figure = draw(summaries, caption)
    >>> [axes.get_title() for axes in figure.axes[:2]]
    ['feed-forward\\n8 matrices, 32×16', 'readout\\n1 matrix, 16×12']
    """
    reference = next(iter(summaries.values()))
    families = reference.spectral_families
    with house_style():
        figure = new_figure(2.1 * len(families) + 1.7, 1.9 * len(summaries) + 1.3)
        grid = figure.subplots(len(summaries), len(families), sharex="col", squeeze=False)
        for row, (optimizer, summary) in enumerate(summaries.items()):
            grid[row, 0].set_ylabel(f"{display_name(optimizer)}\n{textwrap.fill(figure_words.RATIO, 20)}")
            for column, family in enumerate(families):
                _draw_ratios(grid[row, column], summary, family)
            step_bar(figure, list(grid[row]), summary, label="step", aspect=16, pad=0.01)
        for column, family in enumerate(families):
            grid[0, column].set_title(titled(reference, family))
            grid[-1, column].set_xlabel(figure_words.RANK)
            log_axes(grid[-1, column], "x")
        legend_above(figure, [], null_handle())
        note = (
            f"{figure_words.TEXT}, over that of the initial weights; colours run from each optimizer's first tracked "
            "step to its last."
        )
        return finish(figure, f"{figure_words.TITLE} at the tracked steps", caption, note)


def singular_value_ratios(summary: Summary, family: str, position: int) -> np.ndarray:
    """(r,) mean singular values over the initial ones of the same rank.

    NaN where the initial one is 0 and where a value is less than 1/`singular_values.DEPTH` of the largest.

    >>> singular_value_ratios(summaries["es"], "readout", 0)[:3]
    array([1., 1., 1.])
    """
    values = summary.mean_singular_values(family, position)
    visible = figure_words.in_sight(values, values[0])
    return np.where(visible, summary.singular_value_ratios(family, position), np.nan)


def _draw_ratios(axes: Axes, summary: Summary, family: str) -> None:
    """One panel: the tracked steps by colour, the initial weights dashed at 1."""
    colours = step_colours(summary)
    for i, position in enumerate(summary.tracked[1:]):
        ratios = singular_value_ratios(summary, family, position)
        last = position == summary.tracked[-1]
        look = {"linewidth": 1.8, "zorder": 3} if last else {"linewidth": 1.1, "zorder": 2}
        axes.plot(np.arange(1, len(ratios) + 1), ratios, color=colours.to_rgba(i), **look)
    ranks = np.arange(1, len(summary.mean_singular_values(family, 0)) + 1)
    axes.plot(ranks, np.ones(len(ranks)), **{**null_line(), "zorder": 4})
    axes.yaxis.get_major_locator().set_params(nbins=4)
