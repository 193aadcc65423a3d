"""What the trainings came to, in pictures: losses, forecasts, and the result at one glance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from transformer_spectrum.analysis.of_training.budget import budget_of
from transformer_spectrum.analysis.of_training.summary import Summary
from transformer_spectrum.analysis.of_training.thinning import evenly
from transformer_spectrum.report.figures.spectra import singular_value_ratios, titled
from transformer_spectrum.report.figures.style import (
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
from transformer_spectrum.report.page.caption import Caption
from transformer_spectrum.vocabulary import NULL_COLOUR, TRUTH_COLOUR, colour_of

BUDGET_LABEL = "evaluations (forward passes over a batch)"
CONTEXT_COLOUR = "#999999"


def loss_curves(summaries: Mapping[str, Summary], caption: Caption) -> Figure:
    """Training and validation loss, against steps and against the budget that the optimizers share."""
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
        by_step.set_xlabel("step (an epoch of Adam, a generation of ES and GA)")
        by_step.set_ylabel(f"loss: {caption.loss}\n({caption.loss_unit})")
        by_budget.set_xlabel(BUDGET_LABEL)
        log_axes(by_budget, "x")
        _log_losses(by_step, summaries)
        grey = "#555555"
        extra = (
            Line2D([], [], color=grey, linewidth=0.7, alpha=0.6, label="training"),
            Line2D([], [], color=grey, linewidth=1.9, label="validation"),
            Line2D([], [], color=grey, marker="o", linestyle="", label="best, whose weights are scored"),
        )
        legend_above(figure, list(summaries), *extra)
        return finish(figure, "Loss", caption)


def _log_losses(axes: Axes, summaries: Mapping[str, Summary]) -> None:
    """A logarithmic axis where losses lie so far apart, as before a divergence, that a linear one shows one of them."""
    histories = [summary.history for summary in summaries.values()]
    losses = np.concatenate([curve for history in histories for curve in (history.validation_loss, history.loss)])
    losses = losses[np.isfinite(losses)]
    if losses.min() > 0 and losses.max() > 1000 * losses.min():
        log_axes(axes, "y")


def forecasts(forecast: Mapping[str, Any], caption: Caption, *, windows_at_most: int = 6, feature: int = 0) -> Figure:
    """Several windows of the test split: context, truth and each optimizer's forecast, in data units.

    Args:
        forecast: "context" (n, C, F), "truth" (n, H, F), "forecast" optimizer -> (n, H, F), "entities" (n,); without
            "truth" the windows are of the future, which nobody knows.
        caption: of the run.
        windows_at_most: windows shown, taken evenly.
        feature: which of the F channels is shown.
    """
    context = forecast["context"][..., feature]
    truth = forecast["truth"][..., feature] if "truth" in forecast else None
    horizon = next(iter(forecast["forecast"].values())).shape[1]
    windows = evenly(len(context), windows_at_most).tolist()
    columns = min(3, len(windows))
    rows = -(-len(windows) // columns)
    after = np.arange(horizon)
    shown = min(context.shape[1], 2 * horizon)  # more context would squeeze what matters
    with house_style():
        figure = new_figure(max(9.0, 3.8 * columns + 0.4), 2.2 * rows + 1.2)
        grid = figure.subplots(rows, columns, sharex=True, squeeze=False)
        for axes in grid.flat[len(windows) :]:
            axes.set_axis_off()
        for axes, window in zip(grid.flat, windows, strict=False):
            axes.axvspan(-0.5, after[-1] + 0.5, color="#f4f4f4", zorder=0)
            joined = context[window, -shown:]
            if truth is not None:
                joined = np.concatenate([joined, truth[window, :1]])
                axes.plot(after, truth[window], color=TRUTH_COLOUR, linewidth=2.2)
            axes.plot(np.arange(-shown, len(joined) - shown), joined, color=CONTEXT_COLOUR, linewidth=1.1)
            for optimizer, values in forecast["forecast"].items():
                axes.plot(after, values[window, :, feature], linewidth=1.3, color=colour_of(optimizer))
            axes.set_title(str(forecast["entities"][window]), loc="left")
        for axes in grid[-1]:
            axes.set_xlabel("steps from the forecast's start")
        for axes in grid[:, 0]:
            axes.set_ylabel(caption.data_unit)
        extra = [Line2D([], [], color=CONTEXT_COLOUR, linewidth=1.1, label="context")]
        if truth is None:
            legend_above(figure, list(forecast["forecast"]), *extra)
            return finish(figure, "Forecasts", caption, "Free-running forecasts by the best weights.")
        extra.append(Line2D([], [], color=TRUTH_COLOUR, linewidth=2.2, label="truth"))
        legend_above(figure, list(forecast["forecast"]), *extra)
        note = "Free-running forecasts of test windows, which selected nothing, by each optimizer's best weights."
        return finish(figure, "Forecasts against truth", caption, note)


def overview(summaries: Mapping[str, Summary], caption: Caption) -> Figure:
    """The result at one glance: what was reached, what it did to the stable rank, and to one family's spectrum."""
    with house_style():
        figure = new_figure(12.6, 4.2)
        budget, ranks, spectrum = figure.subplots(1, 3, width_ratios=(1, 1.1, 1))
        for optimizer, summary in summaries.items():
            evaluations = budget_of(summaries, optimizer)
            draw_curve(budget, evaluations, summary.history.validation_loss, color=colour_of(optimizer))
        budget.set_xlabel(BUDGET_LABEL)
        budget.set_ylabel(f"{caption.loss}\n({caption.loss_unit})")
        log_axes(budget, "x")
        _log_losses(budget, summaries)
        budget.set_title("Validation loss", loc="left", fontweight="bold")
        _stable_ranks(ranks, summaries)
        _last_spectrum(spectrum, summaries)
        legend_above(figure, list(summaries), null_handle(), band_handle())
        title = "One start, three optimizers" if len(summaries) == 3 else "One start"
        note = (
            "Stable ranks and singular values are those of the last step; the band is the mean ± 2 sd over shuffles of "
            "the initial matrices."
        )
        return finish(figure, title, caption, note)


def _stable_ranks(axes: Axes, summaries: Mapping[str, Summary]) -> None:
    """A line for each family and optimizer, from the initial weights to the last step, over the null's band."""
    reference = next(iter(summaries.values()))
    families = [name for name in reference.families if reference.mean("stable_rank", name)[0] > 0]
    for y, family in enumerate(families):
        low, high = reference.band_change("stable_rank", family)
        if np.isfinite([low, high]).all():
            axes.barh(y, high - low, left=low, height=0.84, color=NULL_COLOUR, alpha=0.18, linewidth=0, zorder=0)
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
    axes.set_xlabel("change of the family's mean since step 0 (%)")
    axes.set_title("Stable rank", loc="left", fontweight="bold")


def _last_spectrum(axes: Axes, summaries: Mapping[str, Summary]) -> None:
    """Mean singular values, over the initial ones, of the first of the families with the largest rank."""
    reference = next(iter(summaries.values()))
    family = max(reference.families, key=lambda name: len(reference.mean_singular_values(name, 0)))
    for optimizer, summary in summaries.items():
        ratios = singular_value_ratios(summary, family, -1)
        axes.plot(np.arange(1, len(ratios) + 1), ratios, color=colour_of(optimizer))
    axes.axhline(1.0, **{**null_line(), "zorder": 4})
    axes.set_xlabel("rank")
    axes.set_ylabel("singular value over the initial one")
    log_axes(axes, "x")
    words = titled(reference, family).split("\n")[0]
    axes.set_title(f"Singular values, {words}", loc="left", fontweight="bold")
