"""The result at one glance, as a picture."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from transformer_spectrum.analysis.of_training.budget import budget_of
from transformer_spectrum.analysis.of_training.summary import Summary
from transformer_spectrum.report.figures import loss as loss_words
from transformer_spectrum.report.figures import overview as figure_words
from transformer_spectrum.report.figures import singular_values as spectrum_words
from transformer_spectrum.report.figures.caption import Caption
from transformer_spectrum.report.pictures.evolution import titled
from transformer_spectrum.report.pictures.loss import fit_losses
from transformer_spectrum.report.pictures.singular_values import singular_value_ratios
from transformer_spectrum.report.pictures.style import (
    band_handle,
    draw_curve,
    finish,
    house_style,
    legend_above,
    log_axes,
    new_figure,
    null_handle,
    null_line,
)
from transformer_spectrum.vocabulary import colour_of, family_words


def draw(summaries: Mapping[str, Summary], caption: Caption) -> Figure:
    """The result at one glance: what was reached, what it did to the stable rank, and to one family's spectrum.

    >>> figure = draw(summaries, caption)
    >>> [axes.get_title(loc="left") for axes in figure.axes]
    ['Validation loss', 'Stable rank', 'Singular values, feed-forward']
    """
    with house_style():
        figure = new_figure(12.6, 4.2)
        budget, ranks, spectrum = figure.subplots(1, 3, width_ratios=(1, 1.1, 1))
        for optimizer, summary in summaries.items():
            evaluations = budget_of(summaries, optimizer)
            draw_curve(budget, evaluations, summary.history.validation_loss, color=colour_of(optimizer))
        budget.set_xlabel(loss_words.EVALUATIONS)
        budget.set_ylabel(f"{caption.loss}\n({caption.loss_unit})")
        log_axes(budget, "x")
        fit_losses(budget, summaries)
        budget.set_title(figure_words.LOSS, loc="left", fontweight="bold")
        _stable_ranks(ranks, summaries)
        _last_spectrum(spectrum, summaries)
        legend_above(figure, list(summaries), null_handle(), band_handle())
        return finish(figure, figure_words.title(len(summaries)), caption, figure_words.TEXT)


def _stable_ranks(axes: Axes, summaries: Mapping[str, Summary]) -> None:
    """A line for each family and optimizer, from the initial weights to the last step, over the null's band."""
    reference = next(iter(summaries.values()))
    families = [name for name in reference.families if reference.mean("stable_rank", name)[0] > 0]
    for y, family in enumerate(families):
        for i, (optimizer, summary) in enumerate(summaries.items()):
            last = summary.mean_change("stable_rank", family, start=reference)[-1]
            at, colour = y + 0.22 * (i - (len(summaries) - 1) / 2), colour_of(optimizer)
            axes.plot([0.0, last], [at, at], color=colour, linewidth=1.8)
            axes.plot(last, at, "o", color=colour, markersize=6)
    axes.use_sticky_edges = False  # a band ends inside the axes
    axes.axvline(0.0, zorder=1, **null_line())
    axes.set_yticks(range(len(families)), [titled(reference, name) for name in families])
    axes.invert_yaxis()
    axes.grid(False, axis="y")
    axes.set_xlabel(figure_words.CHANGE)
    axes.set_title(figure_words.RANKS, loc="left", fontweight="bold")


def _last_spectrum(axes: Axes, summaries: Mapping[str, Summary]) -> None:
    """Mean singular values, over the initial ones, of the first of the families with the largest rank."""
    reference = next(iter(summaries.values()))
    family = max(reference.families, key=lambda name: len(reference.mean_singular_values(name, 0)))
    for optimizer, summary in summaries.items():
        ratios = singular_value_ratios(summary, family, -1)
        axes.plot(np.arange(1, len(ratios) + 1), ratios, color=colour_of(optimizer))
    axes.axhline(1.0, **{**null_line(), "zorder": 4})
    axes.set_xlabel(spectrum_words.RANK)
    axes.set_ylabel(spectrum_words.RATIO)
    log_axes(axes, "x")
    axes.set_title(f"{figure_words.SPECTRUM}, {family_words(family)}", loc="left", fontweight="bold")
