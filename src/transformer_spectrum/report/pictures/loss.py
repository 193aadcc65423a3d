"""What was reached, as a picture."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from transformer_spectrum.analysis.of_training import plot_tables
from transformer_spectrum.analysis.of_training.budget import budget_of
from transformer_spectrum.analysis.of_training.summary import Summary
from transformer_spectrum.report.figures import loss as figure_words
from transformer_spectrum.report.figures.caption import Caption
from transformer_spectrum.report.pictures.style import (
    best_dot,
    draw_curve,
    finish,
    house_style,
    legend_above,
    log_axes,
    new_figure,
)
from transformer_spectrum.vocabulary import colour_of


def draw(summaries: Mapping[str, Summary], caption: Caption) -> Figure:
    """Losses, and below them validation MAE, against steps and against the budget that the optimizers share.

    >>> figure = draw(summaries, caption)
    >>> [axes.get_xlabel() for axes in figure.axes[2:]]
    ['step (an update of the weights, or a generation)', 'evaluations (forward passes over a batch) (log)']
    """
    with house_style():
        figure = new_figure(10.2, 6.4)
        grid = figure.subplots(2, 2, sharex="col", sharey="row")
        for optimizer, summary in summaries.items():
            history, colour = summary.history, colour_of(optimizer)
            best = int(np.flatnonzero(history.steps == history.best_step)[0])
            for column, x in zip(grid.T, (history.steps, budget_of(summaries, optimizer)), strict=True):
                draw_curve(column[0], x, history.loss, linewidth=0.7, alpha=0.5, color=colour)
                for axes, reached in zip(column, (history.validation_loss, history.validation_mae), strict=True):
                    draw_curve(axes, x, reached, linewidth=1.9, color=colour)
                    axes.plot(x[best], reached[best], "o", **best_dot(colour))
        grid[1, 0].xaxis.get_major_locator().set_params(integer=True)
        grid[1, 0].set_xlabel(figure_words.STEPS)
        grid[0, 0].set_ylabel(f"loss: {caption.loss}\n({caption.loss_unit})")
        grid[1, 0].set_ylabel(figure_words.MAE)
        grid[1, 1].set_xlabel(figure_words.EVALUATIONS)
        log_axes(grid[1, 1], "x")
        fit_losses(grid[0, 0], summaries)
        grey = "#555555"
        extra = (
            Line2D([], [], color=grey, linewidth=0.7, alpha=0.6, label="training loss"),
            Line2D([], [], color=grey, linewidth=1.9, label="validation"),
            Line2D([], [], color=grey, marker="o", linestyle="", label=figure_words.BEST.split(",")[0]),
        )
        legend_above(figure, caption.names_of(summaries), *extra)
        meaning = f"{figure_words.MAE_MEANING[:1].upper()}{figure_words.MAE_MEANING[1:]}."
        return finish(figure, figure_words.TITLE, caption, meaning)


def fit_losses(axes: Axes, summaries: Mapping[str, Summary]) -> None:
    """A logarithmic axis where the rule of the figure asks for it, by the same table as the page's.

    >>> axes = new_figure(4, 3).subplots()
    >>> fit_losses(axes, summaries)
    >>> axes.get_yscale()
    'linear'
    """
    if figure_words.is_logarithmic(plot_tables.loss(summaries)["loss"]):
        log_axes(axes, "y")
