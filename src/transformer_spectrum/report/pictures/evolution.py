"""How the spectra evolve, as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from transformer_spectrum.analysis.of_training.budget import budget_of
from transformer_spectrum.analysis.of_training.smoothing import running_median
from transformer_spectrum.analysis.of_training.summary import Summary
from transformer_spectrum.report.figures import evolution as figure_words
from transformer_spectrum.report.figures.caption import Caption
from transformer_spectrum.report.pictures.style import (
    band_handle,
    draw_band,
    draw_curve,
    finish,
    house_style,
    legend_above,
    log_axes,
    new_figure,
    show_constants,
    start_handle,
    start_line,
)
from transformer_spectrum.vocabulary import (
    ALPHA_CAUTION,
    BAND_MEANING,
    EVOLUTION_METRICS,
    NULL_COLOUR,
    colour_of,
    family_title,
    metric_label,
    subject_of,
)

BAND_NOTE = f"Bands, between the tracked steps and in each optimizer's colour:\n{BAND_MEANING}."
ALPHA_NOTE = (
    f"{BAND_NOTE}\nKS and Hill alpha are {ALPHA_CAUTION}. KS alpha: thin lines are steps, bold ones\ntheir running "
    "median; D (distance of the fit) and n (size of the tail) are means at the last step, in grey those of the initial "
    "weights."
)


def titled(summary: Summary, family: str) -> str:
    """A family's name, count and shape.

    >>> titled(summaries["es"], "feed_forward")
    'feed-forward\\n8 matrices, 32×16'
    """
    members = summary.families[family]
    return family_title(family, len(members), summary.history.shapes[members[0]].tolist())


def draw(
    summaries: Mapping[str, Summary],
    caption: Caption,
    *,
    across: str = "step",
    metrics: Sequence[str] = EVOLUTION_METRICS,
) -> Figure:
    """Metrics against steps, a row each; a column for each family of matrices; a line for each optimizer.

    Args:
        summaries: the trainings.
        caption: of the run.
        across: the axis, of `figures.evolution.ACROSS`; that of evaluations is logarithmic, which has no place for step
            0 unless that is all there is.
        metrics: names, from top to bottom.

    >>> figure = draw(summaries, caption, across="evaluations", metrics=["stable_rank"])
    >>> figure.axes[-1].get_xlabel(), figure.axes[-1].get_xscale()
    ('evaluations', 'log')
    """
    reference = next(iter(summaries.values()))
    families, settings = list(reference.families), figure_words.settings_of(reference.settings)
    with house_style():
        figure = new_figure(2.1 * len(families) + 1.0, 1.45 * len(metrics) + 1.8)
        grid = figure.subplots(len(metrics), len(families), sharex=True, squeeze=False)
        for axes in grid.flat:
            axes.set_autoscalex_on(False)  # else every panel fits the steps of all, again and again
        for row, metric in enumerate(metrics):
            grid[row, 0].set_ylabel(metric_label(metric, settings=settings))
            for column, family in enumerate(families):
                _evolution_panel(grid[row, column], summaries, metric, family, across)
        for axes in grid.flat:
            axes.set_autoscalex_on(True)
        grid[0, 0].autoscale_view(scaley=False)
        for column, family in enumerate(families):
            grid[0, column].set_title(titled(reference, family))
            grid[-1, column].set_xlabel(figure_words.ACROSS[across].label)
        if across == "evaluations":
            log_axes(grid[0, 0], "x")
        else:
            grid[0, 0].xaxis.get_major_locator().set_params(integer=across == "step", nbins=4)
        if figure_words.ACROSS[across].falling:
            grid[0, 0].invert_xaxis()
        figure.align_ylabels(grid[:, 0])
        legend_above(figure, caption.names_of(summaries), start_handle(), band_handle())
        note = ALPHA_NOTE if "ks_alpha" in metrics else BAND_NOTE
        return finish(figure, figure_words.title(across), caption, note)


def places(summaries: Mapping[str, Summary], optimizer: str, family: str, across: str) -> np.ndarray:
    """(S,) where the steps of a training lie on an axis of `figures.evolution.ACROSS`; NaN where it has no place.

    >>> places(summaries, "es", "readout", "evaluations").tolist()
    [nan, 32.0, 64.0, 96.0, 128.0]
    """
    history = summaries[optimizer].history
    if across == "evaluations":
        trained = len(history.steps) > 1  # else step 0 is all there is
        return np.where((history.steps > 0) | (not trained), budget_of(summaries, optimizer), np.nan)
    if across == "distance":
        return summaries[optimizer].distance(family)
    return {"step": history.steps, "validation_mae": history.validation_mae}[across]


def _evolution_panel(axes: Axes, summaries: Mapping[str, Summary], metric: str, family: str, across: str) -> None:
    reference = next(iter(summaries.values()))
    means = {optimizer: summary.mean(metric, family) for optimizer, summary in summaries.items()}
    if not any(np.isfinite(mean).any() for mean in means.values()):
        *_, absence = reference.analysis.absences(metric, -1, reference.families[family])
        words = "not computed:\n" + absence.reason.replace(" than", "\nthan").replace(" in the", "\nin the")
        axes.text(0.5, 0.5, words, ha="center", va="center", fontsize=7, color="#888888", transform=axes.transAxes)
        axes.set_yticks([])
        return
    for optimizer, mean in means.items():
        at, colour = places(summaries, optimizer, family, across), colour_of(optimizer)
        if metric == "ks_alpha":
            axes.plot(at, mean, linewidth=0.6, alpha=0.35, color=colour)
            mean = running_median(mean)
        draw_curve(axes, at, mean, color=colour)
        draw_band(axes, at, *summaries[optimizer].band(metric, family), colour)
    initial = means[next(iter(means))][0]
    if np.isfinite(initial) and not subject_of(metric)[0]:
        axes.axhline(initial, zorder=1, **start_line())
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
