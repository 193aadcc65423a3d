"""How the spectra evolve, as a picture."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from transformer_spectrum.analysis.of_training.budget import budget_of
from transformer_spectrum.analysis.of_training.smoothing import running_median
from transformer_spectrum.analysis.of_training.summary import Summary
from transformer_spectrum.report.figures import evolution as figure_words
from transformer_spectrum.report.figures.caption import Caption
from transformer_spectrum.report.pictures.style import (
    draw_curve,
    finish,
    house_style,
    legend_above,
    log_axes,
    new_figure,
    null_handle,
    null_line,
    show_constants,
)
from transformer_spectrum.vocabulary import (
    ALPHA_CAUTION,
    BAND_MEANING,
    EVOLUTION_METRICS,
    NULL_COLOUR,
    colour_of,
    family_title,
    metric_label,
)

ALPHA_NOTE = (
    f"KS and Hill alpha are {ALPHA_CAUTION}, so read them against the dashed null and its band\n({BAND_MEANING}). KS "
    "alpha: thin lines are steps, bold ones their running median; D (distance of the fit) and\nn (size of the tail) "
    "are means at the last step, in grey those of the null."
)


def titled(summary: Summary, family: str) -> str:
    """A family's name, count and shape.

    >>> titled(summaries["es"], "feed_forward")
    'feed-forward\\n8 matrices, 32×16'
    """
    members = summary.families[family]
    return family_title(family, len(members), summary.history.shapes[members[0]].tolist())


def draw(summaries: Mapping[str, Summary], caption: Caption, *, budget: bool = False) -> Figure:
    """Every metric against steps, a row each; a column for each family of matrices; a line for each optimizer.

    With `budget`, against evaluations on a logarithmic axis, which has no place for step 0 unless that is all there is.

    >>> figure = draw(summaries, caption, budget=True)
    >>> figure.axes[-1].get_xlabel(), figure.axes[-1].get_xscale()
    ('evaluations', 'log')
    """
    reference = next(iter(summaries.values()))
    families, settings = list(reference.families), figure_words.settings_of(reference.settings)
    with house_style():
        figure = new_figure(2.1 * len(families) + 1.0, 1.45 * len(EVOLUTION_METRICS) + 1.5)
        grid = figure.subplots(len(EVOLUTION_METRICS), len(families), sharex=True, squeeze=False)
        for axes in grid.flat:
            axes.set_autoscalex_on(False)  # else every panel fits the steps of all, again and again
        for row, metric in enumerate(EVOLUTION_METRICS):
            grid[row, 0].set_ylabel(metric_label(metric, settings=settings))
            for column, family in enumerate(families):
                _evolution_panel(grid[row, column], summaries, metric, family, budget)
        for axes in grid.flat:
            axes.set_autoscalex_on(True)
        grid[0, 0].autoscale_view(scaley=False)
        for column, family in enumerate(families):
            grid[0, column].set_title(titled(reference, family))
            grid[-1, column].set_xlabel(figure_words.EVALUATIONS if budget else figure_words.STEPS)
        if budget:
            log_axes(grid[0, 0], "x")
        else:
            grid[0, 0].xaxis.get_major_locator().set_params(integer=True)
        figure.align_ylabels(grid[:, 0])
        legend_above(figure, list(summaries), null_handle())
        title = f"{figure_words.TITLE}, by budget" if budget else figure_words.TITLE
        return finish(figure, title, caption, ALPHA_NOTE)


def _evolution_panel(axes: Axes, summaries: Mapping[str, Summary], metric: str, family: str, budget: bool) -> None:
    reference = next(iter(summaries.values()))
    means = {optimizer: summary.mean(metric, family) for optimizer, summary in summaries.items()}
    if not any(np.isfinite(mean).any() for mean in means.values()):
        reason = reference.analysis.class_reason(metric, 0, reference.families[family]).split(": ")[-1]
        words = "not computed:\n" + reason.replace(" than", "\nthan").replace(" in the", "\nin the")
        axes.text(0.5, 0.5, words, ha="center", va="center", fontsize=7, color="#888888", transform=axes.transAxes)
        axes.set_yticks([])
        return
    for optimizer, mean in means.items():
        history, colour = summaries[optimizer].history, colour_of(optimizer)
        steps = history.steps
        if budget:
            trained = len(steps) > 1  # else step 0 is all there is
            steps = np.where((steps > 0) | (not trained), budget_of(summaries, optimizer), np.nan)
        if metric == "ks_alpha":
            axes.plot(steps, mean, linewidth=0.6, alpha=0.35, color=colour)
            mean = running_median(mean)
        draw_curve(axes, steps, mean, color=colour)
        low, high = summaries[optimizer].band(metric, family)
        tracked = np.isfinite(low) & np.isfinite(steps)
        axes.fill_between(steps[tracked], low[tracked], high[tracked], color=colour, alpha=0.12, linewidth=0, zorder=0)
    initial = means[next(iter(means))][0]
    if np.isfinite(initial):
        axes.axhline(initial, zorder=1, **null_line())
    axes.margins(y=0.12)
    show_constants(axes)
    axes.yaxis.get_major_locator().set_params(nbins=4)
    if metric == "ks_alpha":
        _tail_facts(axes, summaries, family)


def _tail_facts(axes: Axes, summaries: Mapping[str, Summary], family: str) -> None:
    """Above the alphas what they rest on: D and n of the null and of each optimizer's last step."""
    facts = [(NULL_COLOUR, next(iter(summaries.values())), 0)]
    facts += [(colour_of(optimizer), summary, -1) for optimizer, summary in summaries.items()]
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.5 * (high - low))
    for i, (colour, summary, position) in enumerate(facts):
        distance, tail = (summary.mean(name, family)[position] for name in ("ks_distance", "ks_tail"))
        if np.isfinite(distance):
            place = 0.02 + 0.5 * (i % 2), 0.99 - 0.14 * (i // 2)
            text = f"D {distance:.2f}, n {tail:.0f}"
            axes.text(*place, text, color=colour, fontsize=6.5, va="top", transform=axes.transAxes)
