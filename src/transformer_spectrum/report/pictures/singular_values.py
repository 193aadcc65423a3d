"""Singular values at the tracked steps, as a picture."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

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
    start_line,
)


def draw(summaries: Mapping[str, Summary], caption: Caption) -> Figure:
    """Mean singular values against rank, as ratios, for all would lie on each other: a column for each family.

    In the upper rows, one for each optimizer, of the weights over the initial ones; in the lower rows of the change
    over those of its shuffled entries.

    >>> figure = draw(summaries, caption)
    >>> [axes.get_title() for axes in figure.axes[:2]]
    ['feed-forward\\n8 matrices, 32×16', 'readout\\n1 matrix, 16×12']
    """
    reference = next(iter(summaries.values()))
    families = reference.spectral_families
    rows = [(subject, optimizer) for subject in figure_words.SUBJECTS for optimizer in summaries]
    with house_style():
        figure = new_figure(2.1 * len(families) + 1.7, 1.75 * len(rows) + 1.6)
        grid = figure.subplots(len(rows), len(families), sharex="col", squeeze=False)
        for panels, (subject, optimizer) in zip(grid, rows, strict=True):
            summary = summaries[optimizer]
            ratio = textwrap.fill(figure_words.RATIOS[subject], 24)
            panels[0].set_ylabel(f"{caption.name_of(optimizer)}\n{ratio}", fontsize=8)
            for axes, family in zip(panels, families, strict=True):
                _draw_ratios(axes, summary, family, subject)
            step_bar(figure, list(panels), summary, label="step", aspect=16, pad=0.01)
        for column, family in enumerate(families):
            grid[0, column].set_title(titled(reference, family))
            grid[-1, column].set_xlabel(figure_words.RANK)
            log_axes(grid[-1, column], "x")
        figure.align_ylabels(grid[:, 0])
        legend_above(figure, {}, Line2D([], [], label=figure_words.AT_ONE, **start_line()))
        note = (
            f"{figure_words.TEXT.replace(': of', ':' + chr(10) + 'of')}.\nColours run from each optimizer's first "
            "tracked step to its last."
        )
        return finish(figure, f"{figure_words.TITLE} at the tracked steps", caption, note)


def ratios(summary: Summary, family: str, position: int, subject: str) -> np.ndarray:
    """(r,) mean singular values over what they are measured against, at a tracked position.

    NaN where that is 0 and where a value is less than 1/`singular_values.DEPTH` of the largest.

    >>> ratios(summaries["es"], "readout", 0, "weights")[:3]
    array([1., 1., 1.])
    """
    if subject == "change":
        values, shuffled = summary.mean_change_spectra(family, position)
        quotients = np.divide(values, shuffled, out=np.full_like(values, np.nan), where=shuffled > 0)
    else:
        values = summary.mean_singular_values(family, summary.tracked[position])
        quotients = summary.singular_value_ratios(family, summary.tracked[position])
    return np.where(figure_words.in_sight(values, values[0]), quotients, np.nan)


def _draw_ratios(axes: Axes, summary: Summary, family: str, subject: str) -> None:
    """One panel: the tracked steps by colour; dashed at 1 what they are measured against."""
    colours, last = step_colours(summary), len(summary.tracked) - 1
    for position in range(1, last + 1):
        curve = ratios(summary, family, position, subject)
        look = {"linewidth": 1.8, "zorder": 3} if position == last else {"linewidth": 1.1, "zorder": 2}
        axes.plot(np.arange(1, len(curve) + 1), curve, color=colours.to_rgba(position - 1), **look)
    rank = int(summary.history.shapes[summary.families[family][0]].min())
    axes.plot([1, rank], [1.0, 1.0], **{**start_line(), "zorder": 4})
    axes.yaxis.get_major_locator().set_params(nbins=4)
