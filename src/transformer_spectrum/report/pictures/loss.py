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
    draw_curve,
    finish,
    house_style,
    legend_above,
    log_axes,
    new_figure,
)
from transformer_spectrum.vocabulary import colour_of


def draw(summaries: Mapping[str, Summary], caption: Caption) -> Figure:
    """Training and validation loss, against steps and against the budget that the optimizers share.

    >>> figure = draw(summaries, caption)
    >>> [axes.get_xlabel() for axes in figure.axes]
    ['step (an epoch of Adam, a generation of ES and GA)', 'evaluations (forward passes over a batch) (log)']
    """
    with house_style():
        figure = new_figure(10.2, 4.2)
        by_step, by_budget = figure.subplots(1, 2, sharey=True)
        for optimizer, summary in summaries.items():
            history, colour = summary.history, colour_of(optimizer)
            best = int(np.flatnonzero(history.steps == history.best_step)[0])
            for axes, x in ((by_step, history.steps), (by_budget, budget_of(summaries, optimizer))):
                draw_curve(axes, x, history.loss, linewidth=0.7, alpha=0.5, color=colour)
                draw_curve(axes, x, history.validation_loss, linewidth=1.9, color=colour)
                dot = {"markersize": 7, "color": colour, "markeredgecolor": "white", "zorder": 5}
                axes.plot(x[best], history.validation_loss[best], "o", **dot)
        by_step.xaxis.get_major_locator().set_params(integer=True)
        by_step.set_xlabel(figure_words.STEPS)
        by_step.set_ylabel(f"loss: {caption.loss}\n({caption.loss_unit})")
        by_budget.set_xlabel(figure_words.EVALUATIONS)
        log_axes(by_budget, "x")
        fit_losses(by_step, summaries)
        grey = "#555555"
        extra = (
            Line2D([], [], color=grey, linewidth=0.7, alpha=0.6, label="training"),
            Line2D([], [], color=grey, linewidth=1.9, label="validation"),
            Line2D([], [], color=grey, marker="o", linestyle="", label=figure_words.BEST),
        )
        legend_above(figure, list(summaries), *extra)
        return finish(figure, figure_words.TITLE, caption)


def fit_losses(axes: Axes, summaries: Mapping[str, Summary]) -> None:
    """A logarithmic axis where the rule of the figure asks for it, by the same table as the page's.

    >>> axes = new_figure(4, 3).subplots()
    >>> fit_losses(axes, summaries)
    >>> axes.get_yscale()
    'linear'
    """
    if figure_words.is_logarithmic(plot_tables.loss(summaries)["loss"]):
        log_axes(axes, "y")
