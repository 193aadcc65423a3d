"""A checkpoint in pictures: metrics along the depth of the model, and each matrix's spectrum beside its null."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from transformer_spectrum.report.model_results import Measured
from transformer_spectrum.report.style import NULL_COLOUR, TRUTH_COLOUR, house_style, log_axes, new_figure, null_line
from transformer_spectrum.report.tables import density
from transformer_spectrum.spectra.analysis import Estimators
from transformer_spectrum.spectra.power_law import hill_count, hill_plot
from transformer_spectrum.spectra.random_matrix import mp_density

# Okabe & Ito (2008), ordered so that neighbours differ in lightness too; the marker tells them apart in grey.
LINE_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
ESD_COLOUR, FIT_COLOUR, BULK_COLOUR = "#0072B2", "#D55E00", TRUTH_COLOUR
OVERVIEW = {
    "ks_alpha": "KS alpha",
    "stable_rank": "stable rank\n(count)",
    "spectral_entropy_normalised": "entropy / ln r",
    "mp_spikes": "spikes\n(count)",
}
COLUMNS = 5  # shapes in the overview
BINS = 60
HILL_FROM = 3  # the first few k scatter over decades and would press the rest flat


@dataclass(frozen=True)
class Line:
    """Matrices of one family and one stack along the depth of the model.

    Attributes:
        label: such as "query", or "decoder: query" in a model of several stacks.
        depth: x of each matrix: its layer, or its place in order where layers do not tell them apart.
        layered: whether depth is the layer.
        joined: whether there is one matrix a depth, so that a line may join them.
        matrices: in order.
    """

    label: str
    depth: tuple[int, ...]
    layered: bool
    joined: bool
    matrices: tuple[Measured, ...]


def lines(matrices: Sequence[Measured]) -> list[Line]:
    """The matrices of one shape by family and stack, in order of their appearance."""
    groups: dict[tuple[str, str], list[tuple[int | None, Measured]]] = {}
    for matrix in matrices:
        stack, layer = _place(matrix.part.name)
        groups.setdefault((stack, matrix.part.family), []).append((layer, matrix))
    many = len({stack for (stack, _), members in groups.items() if len(members) > 1}) > 1
    found = []
    for (stack, family), members in groups.items():
        layers, inside = [layer for layer, _ in members], tuple(matrix for _, matrix in members)
        several = any(matrix.part.head is not None or matrix.part.index for matrix in inside)
        known = None not in layers and (several or len(set(layers)) == len(layers))
        depth = tuple(layers) if known else tuple(range(len(members)))
        label = family.replace("_", " ")
        label = f"{stack.rsplit('.', 1)[-1] or stack}: {label}" if many and stack else label
        found.append(Line(label, depth, known, len(set(depth)) == len(depth), inside))
    return found


def _place(name: str) -> tuple[str, int | None]:
    """What comes before the first number of a name, and that number: ("encoder", 3) of "encoder.layer.3.output"."""
    found = re.match(r"(?P<stack>.*?)\.?(?<![^.])(?P<layer>\d+)(?=[.@]|$)", name)
    if not found:
        return "", None
    return re.sub(r"\.?(layers?|blocks?|h)$", "", found["stack"]), int(found["layer"])


def sizes(matrices: Sequence[Measured]) -> list[tuple[int, int]]:
    """The shapes, larger side first, those of most matrices first; never more than COLUMNS."""
    shapes = [tuple(sorted(matrix.part.shape, reverse=True)) for matrix in matrices]
    return sorted(set(shapes), key=lambda shape: (-shapes.count(shape), [-side for side in shape]))[:COLUMNS]


def overview(matrices: Sequence[Measured]) -> Figure:
    """Metrics against depth, a row each; a column for each shape, since alphas of several cannot be compared."""
    columns = sizes(matrices)
    with house_style():
        figure = new_figure(max(4.6, 2.6 * len(columns) + 0.6), 1.65 * len(OVERVIEW) + 1.3)
        grid = figure.subplots(len(OVERVIEW), len(columns), squeeze=False, sharex="col")
        for column, size in enumerate(columns):
            inside = [m for m in matrices if tuple(sorted(m.part.shape, reverse=True)) == size]
            found = lines(inside)
            for row, metric in enumerate(OVERVIEW):
                _depth_panel(grid[row, column], found, metric)
            title = f"{size[0]}×{size[1]}, {len(inside)} {'matrix' if len(inside) == 1 else 'matrices'}"
            grid[0, column].set_title(title, fontweight="bold")
            _depth_axis(grid[-1, column], found)
            handles = [_handle(i, line) for i, line in enumerate(found[:12])]
            grid[-1, column].legend(
                handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.42), fontsize=7.5, handlelength=1.5
            )
        for row, label in enumerate(OVERVIEW.values()):
            grid[row, 0].set_ylabel(label)
        figure.align_ylabels(grid[:, 0])
        return figure


def _look(i: int) -> dict[str, object]:
    marker = MARKERS[(i + i // len(LINE_COLOURS)) % len(MARKERS)]  # a new pair in every round of the colours
    return {"color": LINE_COLOURS[i % len(LINE_COLOURS)], "marker": marker, "markersize": 4}


def _handle(i: int, line: Line) -> Line2D:
    joined = "-" if line.joined and len(line.depth) > 1 else ""
    return Line2D([], [], label=line.label, linestyle=joined, linewidth=1.2, **_look(i))


def _depth_axis(axes: Axes, found: Sequence[Line]) -> None:
    depths = sorted({depth for line in found for depth in line.depth})
    if len(depths) == 1:
        axes.set_xticks([])
        axes.set_xlim(depths[0] - 1, depths[0] + 1)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
        kinds = {line.layered for line in found}
        axes.set_xlabel({1: "layer" if True in kinds else "order in the table"}.get(len(kinds), "layer, or order"))


def _depth_panel(axes: Axes, found: Sequence[Line], metric: str) -> None:
    """One metric: the matrices in colour, with the standard error of alpha; their nulls, mean ± sd, in grey."""
    lone = len({depth for line in found for depth in line.depth}) == 1
    spread = 1.2 if lone else min(0.7, 0.08 * len(found))
    for i, line in enumerate(found):
        shift = (i - (len(found) - 1) / 2) * spread / len(found)
        x = np.array(line.depth) + shift
        values = np.array([m.values[metric] for m in line.matrices])
        mean = np.array([float(m.nulls[metric].null_mean) for m in line.matrices])
        sd = np.nan_to_num([float(m.nulls[metric].null_sd) for m in line.matrices])
        look = {"linewidth": 1.0 if line.joined else 0.0, "zorder": 4, **_look(i)}
        null = {"color": NULL_COLOUR, "linestyle": "", "elinewidth": 1.0, "alpha": 0.55, "zorder": 2}
        axes.errorbar(x, mean, yerr=sd, marker="_", markersize=5, **null)
        if metric == "ks_alpha":
            error = np.array([m.values["ks_alpha_se"] for m in line.matrices])
            axes.errorbar(x, values, yerr=error, elinewidth=0.8, **look)
        else:
            axes.plot(x, values, **look)
    axes.yaxis.get_major_locator().set_params(nbins=5)
    axes.margins(y=0.1)
    low, high = axes.get_ylim()
    if metric == "mp_spikes" and high - low < 2:  # a count: fractions of it mean nothing
        axes.set_ylim(low - 0.5, high + 0.5)


def overview_legend() -> str:
    """What the overview's marks mean, for the text beside it."""
    return (
        "Colour: the matrices, alpha with its standard error. Grey: the mean ± standard deviation over shuffles of "
        "the same entries, the null. Layers count from 0 as in the names; families are set slightly apart."
    )


# -- one matrix ------------------------------------------------------------------------------------------------
def spectrum_figure(matrix: Measured, estimators: Estimators) -> Figure:
    """ESD on linear and on logarithmic axes with bulk, fit and null; Hill's alpha against the size of the tail."""
    eigenvalues = matrix.singular_values.astype(np.float64) ** 2
    with house_style():
        figure = new_figure(10.2, 2.75)
        linear, logarithmic, hill = figure.subplots(1, 3, width_ratios=(1, 1.1, 1))
        _linear_panel(linear, matrix, eigenvalues)
        _logarithmic_panel(logarithmic, matrix, eigenvalues)
        _hill_panel(hill, matrix, eigenvalues, estimators)
        return figure


def _null_eigenvalues(matrix: Measured) -> np.ndarray:
    return matrix.shuffled.astype(np.float64).ravel() ** 2


def _bulk(eigenvalues: np.ndarray, matrix: Measured) -> np.ndarray:
    """Density of the bulk that `random_matrix.fit_bulk` left below the spikes, times its share of all eigenvalues."""
    rows, columns = matrix.part.shape
    spikes = int(matrix.values["mp_spikes"])
    share = 1 - spikes / min(rows, columns)
    return share * mp_density(eigenvalues, (rows - spikes, columns - spikes), matrix.values["mp_variance"])


def _linear_panel(axes: Axes, matrix: Measured, eigenvalues: np.ndarray) -> None:
    """The bulk: a little more than what noise would reach."""
    null = _null_eigenvalues(matrix)
    edge = np.nan_to_num(matrix.values["tw_edge"])
    end = max(1.3 * edge, 1.3 * float(np.quantile(null, 0.98)), float(np.quantile(eigenvalues, 0.9)))
    end = min(end, 1.05 * max(float(eigenvalues.max()), float(null.max())))
    if end <= 0:
        axes.text(0.5, 0.5, "zero matrix", ha="center", va="center", transform=axes.transAxes)
        return
    edges = np.linspace(0, end, BINS + 1)
    heights = density(eigenvalues, edges)
    axes.stairs(density(null, edges), edges, color="#dddddd", fill=True, zorder=1)
    axes.stairs(heights, edges, color=ESD_COLOUR, linewidth=1.1, zorder=3)
    if np.isfinite(matrix.values["mp_variance"]):
        x = np.linspace(0, end, 800)[1:]
        axes.plot(x, _bulk(x, matrix), color=BULK_COLOUR, linewidth=1.0, zorder=4)
        axes.axvline(edge, color=BULK_COLOUR, linewidth=0.8, linestyle=":", zorder=2)
    beyond = int((eigenvalues > end).sum())
    if beyond:
        text = f"{beyond} beyond,\nlargest {eigenvalues.max():.3g}"
        axes.text(0.98, 0.97, text, ha="right", va="top", fontsize=7.5, color="#555555", transform=axes.transAxes)
    axes.set_ylim(0, 1.12 * float(heights.max()))
    axes.set(title="ESD, linear", xlabel="eigenvalue λ = s²", ylabel="density", xlim=(0, end))
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    axes.yaxis.get_offset_text().set_fontsize(7)
    axes.yaxis.get_major_locator().set_params(nbins=4)


def _logarithmic_panel(axes: Axes, matrix: Measured, eigenvalues: np.ndarray) -> None:
    """The tail: density in logarithmic bins, and the fitted line scaled to the share of the tail."""
    axes.set(title="ESD, log-log", xlabel="eigenvalue λ = s²", ylabel="density")
    positive = eigenvalues[eigenvalues > 0]
    if len(positive) < 2 or positive.max() <= positive.min() * (1 + 1e-6):
        axes.text(0.5, 0.5, "all eigenvalues equal", ha="center", va="center", transform=axes.transAxes)
        return
    null = _null_eigenvalues(matrix)
    low = float(np.quantile(positive, 0.02))
    high = 1.1 * max(float(positive.max()), float(null.max()))
    edges = np.geomspace(low, high, BINS // 2 + 1)
    heights, grey = density(eigenvalues, edges), density(null, edges)
    bottom = 0.3 * float(heights[heights > 0].min())
    axes.stairs(grey, edges, baseline=bottom, color="#dddddd", fill=True, zorder=1)
    axes.stairs(np.where(heights > 0, heights, np.nan), edges, baseline=None, color=ESD_COLOUR, linewidth=1.1, zorder=3)
    if np.isfinite(matrix.values["mp_variance"]):
        x = np.geomspace(low, high, 800)
        curve = _bulk(x, matrix)
        axes.plot(x, np.where(curve > bottom, curve, np.nan), color=BULK_COLOUR, linewidth=1.0, zorder=4)
    if np.isfinite(matrix.values["ks_alpha"]):
        alpha, xmin = matrix.values["ks_alpha"], matrix.values["ks_xmin"]
        x = np.geomspace(xmin, float(positive.max()), 50)
        share = matrix.values["ks_tail"] / len(eigenvalues)
        axes.plot(x, share * (alpha - 1) / xmin * (x / xmin) ** -alpha, color=FIT_COLOUR, linewidth=1.6, zorder=5)
        axes.axvline(xmin, color=FIT_COLOUR, linewidth=0.8, linestyle=":", zorder=2)
    top = 2.5 * max(float(heights.max()), float(grey.max()))
    axes.set(xlim=(low, high), ylim=(bottom, top))
    log_axes(axes)


def _hill_panel(axes: Axes, matrix: Measured, eigenvalues: np.ndarray, estimators: Estimators) -> None:
    """Hill's alpha for every k: no plateau, no power law."""
    rank = len(eigenvalues)
    axes.set(title="Hill plot", xlabel="k, eigenvalues in the tail", ylabel="alpha")
    curves = hill_plot(eigenvalues) if rank > 1 else np.empty(0)
    if not np.isfinite(curves).any():
        axes.text(0.5, 0.5, "no tail", ha="center", va="center", transform=axes.transAxes)
        return
    k = np.arange(1, rank)
    null = hill_plot(matrix.shuffled.astype(np.float64) ** 2)
    known = np.isfinite(null).all(axis=0)
    mean, sd = null[:, known].mean(axis=0), null[:, known].std(axis=0, ddof=1)
    axes.fill_between(k[known], mean - sd, mean + sd, color="#dddddd", linewidth=0, zorder=1)
    axes.plot(k[known], mean, **{**null_line(), "linewidth": 0.9}, zorder=2)
    axes.plot(k, curves, color=ESD_COLOUR, linewidth=1.2, zorder=3)
    chosen = hill_count(rank, estimators.hill_fraction)
    axes.axvline(chosen, color=ESD_COLOUR, linewidth=0.8, linestyle=":", zorder=2)
    shown = [curves[np.isfinite(curves)][HILL_FROM:], mean[HILL_FROM:]]
    if np.isfinite(matrix.values["ks_alpha"]):
        alpha, error = matrix.values["ks_alpha"], matrix.values["ks_alpha_se"]
        look = {"color": FIT_COLOUR, "marker": "o", "markersize": 4, "elinewidth": 1.2, "zorder": 5}
        axes.errorbar([matrix.values["ks_tail"]], [alpha], yerr=[error], **look)
        shown.append(np.array([alpha - error, alpha + error]))
    heights = np.concatenate(shown)
    top = float(heights.max()) if len(heights) else float(np.nanmax(curves))
    axes.set(xlim=(1, rank), ylim=(1, max(1.5, 1.1 * top)))
    log_axes(axes)


def spectrum_legend() -> Figure:
    """One legend for the pictures of all matrices."""
    with house_style():
        figure = new_figure(10.2, 0.55)
        handles = [
            Line2D([], [], color=ESD_COLOUR, linewidth=1.4, label="this matrix; dotted: Hill's k"),
            Patch(color="#dddddd", label="shuffled entries (null)"),
            Line2D([], [], color=BULK_COLOUR, linewidth=1.0, label="Marchenko-Pastur; dotted: Tracy-Widom edge"),
            Line2D([], [], color=FIT_COLOUR, linewidth=1.6, label="power-law fit; dotted: xmin; dot: KS alpha ± se"),
        ]
        figure.legend(handles=handles, loc="center", ncols=4, fontsize=8, columnspacing=1.2, handlelength=1.8)
        return figure
