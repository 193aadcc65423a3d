"""The result at one glance, as a picture."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from transformer_spectrum.analysis.comparison.endpoints import MAIN_METRIC
from transformer_spectrum.analysis.of_training.budget import budget_of
from transformer_spectrum.analysis.of_training.summary import Summary
from transformer_spectrum.report.figures import loss as loss_words
from transformer_spectrum.report.figures import overview as figure_words
from transformer_spectrum.report.figures import singular_values as spectrum_words
from transformer_spectrum.report.figures.caption import Caption
from transformer_spectrum.report.pictures.style import (
    band_handle,
    best_dot,
    draw_band,
    draw_curve,
    finish,
    house_style,
    legend_above,
    log_axes,
    new_figure,
    null_curve,
)
from transformer_spectrum.vocabulary import colour_of, family_words, metric_label
from transformer_spectrum.weights.matrices.families import moving_family


def draw(summaries: Mapping[str, Summary], caption: Caption) -> Figure:
    """The result at one glance: what was reached, and how the matrices that move most have changed on the way.

    >>> figure = draw(summaries, caption)
    >>> [axes.get_title(loc="left") for axes in figure.axes]
    ['Validation MAE', 'Stable rank of the change', 'Singular values of the change']
    """
    reference = next(iter(summaries.values()))
    family = moving_family(reference.spectral_families or reference.families)
    with house_style():
        figure = new_figure(12.6, 4.4)
        panels = figure.subplots(1, 3)
        for axes, name in zip(panels, (figure_words.REACHED, figure_words.RANKS, figure_words.SPECTRUM), strict=True):
            axes.set_title(name, loc="left", fontweight="bold")
        _reached(panels[0], summaries)
        _ranks(panels[1], summaries, family)
        _spectra(panels[2], summaries, family)
        legend_above(figure, caption.names_of(summaries), band_handle(figure_words.NULL))
        note = figure_words.TEXT.format(family=family_words(family))
        return finish(figure, figure_words.title(len(summaries)), caption, note)


def best_of(summary: Summary) -> int:
    """Recorded position of the step whose weights are scored.

    >>> best_of(summaries["adam"])
    3
    """
    return int(np.flatnonzero(summary.history.steps == summary.history.best_step)[0])


def draw_to_best(axes: Axes, x: np.ndarray, y: np.ndarray, best: int, colour: str) -> None:
    """A line to the best step, a dot there, and a thin line after it.

    >>> axes = new_figure(4, 3).subplots()
    >>> draw_to_best(axes, np.arange(4.0), np.arange(4.0), 2, "black")
    >>> [line.get_xdata().tolist() for line in axes.lines]
    [[2.0, 3.0], [0.0, 1.0, 2.0], [2.0]]
    """
    draw_curve(axes, x[best:], y[best:], linewidth=0.8, alpha=0.6, color=colour)
    draw_curve(axes, x[: best + 1], y[: best + 1], linewidth=1.9, color=colour)
    axes.plot(x[best : best + 1], y[best : best + 1], "o", **best_dot(colour))


def _reached(axes: Axes, summaries: Mapping[str, Summary]) -> None:
    """Validation MAE over the budget that the optimizers share."""
    for optimizer, summary in summaries.items():
        evaluations, best = budget_of(summaries, optimizer), best_of(summary)
        draw_to_best(axes, evaluations, summary.history.validation_mae, best, colour_of(optimizer))
    axes.set_xlabel(loss_words.EVALUATIONS)
    axes.set_ylabel(loss_words.MAE)
    log_axes(axes, "x")


def _ranks(axes: Axes, summaries: Mapping[str, Summary], family: str) -> None:
    """Stable rank of the change over validation MAE, so that the trainings are compared where they are equally good."""
    for optimizer, summary in summaries.items():
        errors, colour = summary.history.validation_mae, colour_of(optimizer)
        draw_to_best(axes, errors, summary.mean(MAIN_METRIC, family), best_of(summary), colour)
        draw_band(axes, errors, *summary.band(MAIN_METRIC, family), colour)
    axes.set_xlabel(loss_words.MAE)
    axes.set_ylabel(" ".join(metric_label(MAIN_METRIC).split("\n")))
    axes.invert_xaxis()


def _spectra(axes: Axes, summaries: Mapping[str, Summary], family: str) -> None:
    """Mean singular values of the change at each best step, beside those of the same changes shuffled."""
    for optimizer, summary in summaries.items():
        values, shuffled = summary.mean_change_spectra(family, summary.tracked.index(best_of(summary)))
        visible, ranks = spectrum_words.in_sight(values, values[0]), np.arange(1, len(values) + 1)
        look = {"color": colour_of(optimizer), "marker": ".", "markersize": 5}
        axes.plot(ranks[visible], values[visible], linewidth=1.9, **look)
        axes.plot(ranks, np.where(shuffled > 0, shuffled, np.nan), **null_curve(colour_of(optimizer)))
    axes.set_xlabel(spectrum_words.RANK)
    axes.set_ylabel(spectrum_words.VALUE)
    log_axes(axes)
