"""The spectra in pictures: summaries in, a matplotlib Figure out; `style.save` writes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D

from transformer_spectrum.analysis.of_training.budget import budget_of
from transformer_spectrum.analysis.of_training.densities import density, esd_edges
from transformer_spectrum.analysis.of_training.plot_tables import EVOLUTION_METRICS, HEAT_METRICS
from transformer_spectrum.analysis.of_training.smoothing import running_median
from transformer_spectrum.analysis.of_training.summary import Summary
from transformer_spectrum.config.schema import SpectraParams
from transformer_spectrum.report.figures.style import (
    STEP_COLOURS,
    draw_curve,
    family_title,
    finish,
    house_style,
    legend_above,
    log_axes,
    new_figure,
    null_handle,
    null_line,
    show_constants,
)
from transformer_spectrum.report.page.caption import Caption
from transformer_spectrum.vocabulary import NULL_COLOUR, NULL_LABEL, colour_of, display_name

ALPHA_NOTE = (
    "KS and Hill alpha are fits, not proof of a power law: untrained Gaussian matrices get one too, so read them "
    "against the dashed null and its band (mean ± 2 sd over shuffles of the initial matrices).\n"
    "KS alpha: thin lines are steps, bold ones their running median; D (distance of the "
    "fit) and n (size of the tail) are means at the last step, in grey those of the null."
)
CHANGE_COLOURS = "RdBu_r"
SHOWN_DEPTH = 50  # curves of singular values end at the largest over this: the smallest would squeeze the others


def titled(summary: Summary, family: str) -> str:
    """A family's name, count and shape."""
    members = summary.families[family]
    return family_title(family, len(members), summary.history.shapes[members[0]].tolist())


def metric_labels(settings: SpectraParams) -> dict[str, str]:
    """Axis labels with units, and with the settings that an estimate depends on."""
    first, last = (f"{100 * fraction:g}" for fraction in (settings.window_first, settings.window_last))
    return {
        "spectral_entropy": "spectral entropy\n(nats)",
        "stable_rank": "stable rank\n(count)",
        "spectral_norm": "spectral norm\n(weight units)",
        "mp_spikes": f"spikes (count)\n(level {settings.edge_level:g})",
        "alpha_exponent": f"alpha exponent\n(ranks {first}–{last} %)",
        "hill_alpha": f"Hill alpha\n(k = {100 * settings.hill_fraction:g} % of rank)",
        "ks_alpha": f"KS alpha\n(tail ≥ {settings.min_tail})",
    }


def evolution(summaries: Mapping[str, Summary], caption: Caption, *, budget: bool = False) -> Figure:
    """Every metric against steps, a row each; a column for each family of matrices; a line for each optimizer.

    With `budget`, against evaluations on a logarithmic axis, which has no place for step 0 unless that is all there is.
    """
    reference = next(iter(summaries.values()))
    families, labels = list(reference.families), metric_labels(reference.settings)
    with house_style():
        figure = new_figure(2.1 * len(families) + 1.0, 1.45 * len(EVOLUTION_METRICS) + 1.5)
        grid = figure.subplots(len(EVOLUTION_METRICS), len(families), sharex=True, squeeze=False)
        for row, metric in enumerate(EVOLUTION_METRICS):
            grid[row, 0].set_ylabel(labels[metric])
            for column, family in enumerate(families):
                _evolution_panel(grid[row, column], summaries, metric, family, budget)
        for column, family in enumerate(families):
            grid[0, column].set_title(titled(reference, family))
            grid[-1, column].set_xlabel("evaluations" if budget else "step")
        if budget:
            log_axes(grid[0, 0], "x")
        else:
            grid[0, 0].xaxis.get_major_locator().set_params(integer=True)
        figure.align_ylabels(grid[:, 0])
        legend_above(figure, list(summaries), null_handle())
        title = "How the spectra evolve" + (", by budget" if budget else "")
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
    initial = means[next(iter(means))][0]
    if np.isfinite(initial):
        axes.axhline(initial, zorder=1, **null_line())
    low, high = reference.band(metric, family)
    if np.isfinite([low, high]).all():
        axes.axhspan(low, high, color=NULL_COLOUR, alpha=0.15, linewidth=0, zorder=0)
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


def heatmap(summaries: Mapping[str, Summary], caption: Caption) -> Figure:
    """Change since step 0 of every matrix at every step: a row for each metric, a column for each optimizer."""
    reference = next(iter(summaries.values()))
    names, labels = reference.history.names.tolist(), metric_labels(reference.settings)
    with house_style():
        figure = new_figure(3.4 * len(summaries) + 3.2, len(HEAT_METRICS) * (0.105 * len(names) + 0.6) + 1.2)
        grid = figure.subplots(len(HEAT_METRICS), len(summaries), squeeze=False, sharey=True)
        for row, metric in enumerate(HEAT_METRICS):
            changes = {optimizer: summary.change(metric) for optimizer, summary in summaries.items()}
            known = np.concatenate([np.abs(change[np.isfinite(change)]) for change in changes.values()])
            limit = max(float(np.quantile(known, 0.99)) if len(known) else 0.0, 1e-6)
            for axes, (optimizer, change) in zip(grid[row], changes.items(), strict=True):
                steps = summaries[optimizer].history.steps
                shown = axes.pcolormesh(
                    np.append(steps, steps[-1] + 1) - 0.5,
                    np.arange(len(names) + 1) - 0.5,
                    np.ma.masked_invalid(change.T),
                    cmap=CHANGE_COLOURS,
                    vmin=-limit,
                    vmax=limit,
                    rasterized=True,
                )
                axes.set_facecolor("#bbbbbb")
                axes.grid(False)
                if row == 0:
                    axes.set_title(display_name(optimizer), fontweight="bold")
                if row == len(HEAT_METRICS) - 1:
                    axes.set_xlabel("step")
            grid[row, 0].set_yticks(range(len(names)), names, fontsize=5)
            words = labels[metric].split("\n")[0]
            figure.colorbar(shown, ax=grid[row], label=f"{words}\nchange since step 0 (%)", extend="both", pad=0.01)
        grid[0, 0].invert_yaxis()
        note = "Every matrix from the input (top) to the output; grey where the metric has no value."
        return finish(figure, "Where the spectra change", caption, note)


def step_colours(summary: Summary) -> ScalarMappable:
    """A colour for each tracked step of one optimizer after step 0, from its first to its last.

    Epochs are tens and generations hundreds: on one scale for all, every step of Adam would have the same colour.
    """
    count = max(1, len(summary.tracked) - 1)
    shades = matplotlib.colormaps[STEP_COLOURS](np.linspace(0.08, 1.0, count) if count > 1 else [1.0])
    return ScalarMappable(BoundaryNorm(np.arange(count + 1) - 0.5, count), ListedColormap(shades))


def step_bar(figure: Figure | SubFigure, axes: Sequence[Axes], summary: Summary, **place: Any) -> None:
    """The colour bar of `step_colours`, labelled with the steps; none where there is no step after 0."""
    steps = summary.history.steps[summary.tracked[1:]].tolist()
    if steps:
        bar = figure.colorbar(step_colours(summary), ax=axes, ticks=range(len(steps)), **place)
        bar.set_ticklabels([f"{step:,}" for step in steps])
        bar.ax.tick_params(length=0, labelsize=7)
        bar.outline.set_visible(False)


def singular_value_curves(summaries: Mapping[str, Summary], caption: Caption) -> Figure:
    """Mean singular value over the initial one against rank: a row for each optimizer, a column for each family.

    Against each other, not over the initial ones, all curves would lie on each other.
    """
    reference = next(iter(summaries.values()))
    families = reference.spectral_families
    with house_style():
        figure = new_figure(2.1 * len(families) + 1.7, 1.9 * len(summaries) + 1.3)
        grid = figure.subplots(len(summaries), len(families), sharex="col", squeeze=False)
        for row, (optimizer, summary) in enumerate(summaries.items()):
            grid[row, 0].set_ylabel(f"{display_name(optimizer)}\nsingular value\nover the initial one")
            for column, family in enumerate(families):
                draw_ratios(grid[row, column], summary, family)
            step_bar(figure, list(grid[row]), summary, label="step", aspect=16, pad=0.01)
        for column, family in enumerate(families):
            grid[0, column].set_title(titled(reference, family))
            grid[-1, column].set_xlabel("rank")
            log_axes(grid[-1, column], "x")
        legend_above(figure, [], null_handle())
        note = (
            "Mean over a family's matrices of the i-th largest singular value, over that of the initial weights, down "
            f"to 1/{SHOWN_DEPTH} of the largest; colours run from each optimizer's first tracked step to its last."
        )
        return finish(figure, "Singular values at the tracked steps", caption, note)


def singular_value_ratios(summary: Summary, family: str, position: int) -> np.ndarray:
    """(r,) mean singular values over the initial ones of the same rank.

    NaN where the initial one is 0 and where a value is less than 1/SHOWN_DEPTH of the largest.
    """
    values = summary.mean_singular_values(family, position)
    return np.where(values >= values[0] / SHOWN_DEPTH, summary.singular_value_ratios(family, position), np.nan)


def draw_ratios(axes: Axes, summary: Summary, family: str) -> None:
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


def esd(summaries: Mapping[str, Summary], caption: Caption) -> Figure:
    """Densities of the eigenvalues s^2 at the tracked steps: a row for each family; linear, then log-log."""
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
                grid[row, 0].set_ylabel("density" if log else f"{titled(reference, family)}\ndensity")
                for axes in grid[row]:
                    if log:
                        log_axes(axes)
                    else:
                        axes.yaxis.get_major_locator().set_params(nbins=4)
            for column, optimizer in enumerate(summaries):
                grid[0, column].set_title(display_name(optimizer), fontweight="bold")
                grid[-1, column].set_xlabel("λ / mean initial λ")
            for column, summary in enumerate(summaries.values()):
                step_bar(half, list(grid[:, column]), summary, label="step", location="bottom", aspect=30, pad=0.01)
        filled = Line2D([], [], color="#dddddd", marker="s", markersize=9, markeredgecolor=NULL_COLOUR, linestyle="")
        filled.set_label(NULL_LABEL)
        legend_above(figure, [], filled)
        note = (
            "Eigenvalues λ = s² of WᵀW, pooled over a family, in units of that family's mean initial one; the last "
            "step is bold, colours run from each optimizer's first tracked step to its last.\n"
            "On the logarithmic axes the smallest 2 % are left out."
        )
        return finish(figure, "Empirical spectral densities (ESD) at the tracked steps", caption, note)


def _esd_panel(axes: Axes, summary: Summary, family: str, edges: np.ndarray, *, log: bool) -> None:
    def heights(position: int) -> np.ndarray:
        found = density(summary.pooled_eigenvalues(family, position), edges)
        return np.where(found > 0, found, np.nan) if log else found

    colours = step_colours(summary)
    for i, position in enumerate(summary.tracked[1:]):
        last = position == summary.tracked[-1]
        look = {"linewidth": 1.8, "zorder": 5} if last else {"linewidth": 0.8, "zorder": 3}
        axes.stairs(heights(position), edges, baseline=None, color=colours.to_rgba(i), **look)
    axes.stairs(np.nan_to_num(heights(0)), edges, color="#dddddd", fill=True, zorder=1)
    axes.stairs(heights(0), edges, baseline=None, color=NULL_COLOUR, linewidth=1.0, zorder=4)
