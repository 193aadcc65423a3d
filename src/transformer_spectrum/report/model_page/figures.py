"""A checkpoint in pictures: metrics along the depth of the model, and each matrix's spectrum beside its null."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from transformer_spectrum.analysis.of_checkpoint.results import Measured
from transformer_spectrum.report.page.svg import Axis, Panel
from transformer_spectrum.spectra.analysis import Estimators
from transformer_spectrum.spectra.power_law import hill_count, hill_plot
from transformer_spectrum.spectra.random_matrix import mp_density
from transformer_spectrum.weights.matrices.shapes import by_shape

MARKERS = ("circle", "square", "up", "diamond", "down", "plus")
COLOURS = 7  # classes c0 ... of the page, see `model_page`
OVERVIEW = {
    "ks_alpha": "KS alpha",
    "stable_rank": "stable rank (count)",
    "spectral_entropy_normalised": "entropy / ln r",
    "mp_spikes": "spikes (count)",
}
COUNTS = ("mp_spikes",)
IN_SIGHT = ("values", "low", "high", "null_low", "null_high", "bound")  # of `_Column`: what the axis reaches to
SHAPES = 5  # in the overview
BINS = 60
HILL_FROM = 3  # the first few k scatter over decades and would press the rest flat
HILL_POINTS = 160  # of a curve, evenly on its logarithmic axis: more than a screen can show


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
        groups.setdefault((stack, matrix.part.family.task), []).append((layer, matrix))
    many = len({stack for (stack, _), members in groups.items() if len(members) > 1}) > 1
    found = []
    for (stack, task), members in groups.items():
        layers, inside = [layer for layer, _ in members], tuple(matrix for _, matrix in members)
        several = any(matrix.part.head is not None or matrix.part.index for matrix in inside)
        known = None not in layers and (several or len(set(layers)) == len(layers))
        depth = tuple(layers) if known else tuple(range(len(members)))
        label = task.replace("_", " ")
        label = f"{stack.rsplit('.', 1)[-1] or stack}: {label}" if many and stack else label
        found.append(Line(label, depth, known, len(set(depth)) == len(depth), inside))
    return found


def _place(name: str) -> tuple[str, int | None]:
    """What comes before the first number of a name, and that number: ("encoder", 3) of "encoder.layer.3.output"."""
    found = re.match(r"(?P<stack>.*?)\.?(?<![^.])(?P<layer>\d+)(?=[.@]|$)", name)
    if not found:
        return "", None
    return re.sub(r"\.?(layers?|blocks?|h)$", "", found["stack"]), int(found["layer"])


def by_size(matrices: Sequence[Measured]) -> list[tuple[tuple[int, int], list[Measured]]]:
    """The matrices of each shape, larger side first, those of most matrices first; never more than SHAPES."""
    groups = by_shape(matrix.part.shape for matrix in matrices)
    order = sorted(groups, key=lambda shape: (-len(groups[shape]), [-side for side in shape]))
    return [(shape, [matrices[i] for i in groups[shape]]) for shape in order[:SHAPES]]


# -- along the depth -------------------------------------------------------------------------------------------
def colour(i: int) -> str:
    """Class of the i-th line."""
    return f"c{i % COLOURS}"


def marker(i: int) -> str:
    """Its marker: a new pair in every round of the colours, so that grey tells lines apart too."""
    return MARKERS[(i + i // COLOURS) % len(MARKERS)]


def depth_panels(found: Sequence[Line], estimators: Estimators) -> list[str]:
    """A panel for each metric of OVERVIEW of matrices of one shape, since alphas of several cannot be compared."""
    return [_depth_panel(found, metric, estimators) for metric in OVERVIEW]


def _depth_panel(found: Sequence[Line], metric: str, estimators: Estimators) -> str:
    """One metric: the matrices in colour, alpha with its standard error; their nulls, mean ± sd, in grey."""
    lone = len({depth for line in found for depth in line.depth}) == 1
    spread = 1.2 if lone else min(0.7, 0.08 * len(found))
    columns = [_column(line, metric, estimators) for line in found]
    heights = np.concatenate([np.concatenate([getattr(c, name) for name in IN_SIGHT]) for c in columns])
    depths = [depth for line in found for depth in line.depth]
    panel = Panel(
        OVERVIEW[metric],
        Axis(min(depths) - (1 if lone else 0.5), max(depths) + (1 if lone else 0.5), whole=True, bare=lone),
        Axis.around(heights, whole=metric in COUNTS),
        "" if lone else _depth_title(found),
    )
    for i, (line, column) in enumerate(zip(found, columns, strict=True)):
        shift = (i - (len(found) - 1) / 2) * spread / len(found)
        x = np.array(line.depth) + shift
        panel.errors(x, column.null_low, column.null_high, "null")
        panel.points(x, column.null, "null dot", "bar")
        panel.errors(x, column.low, column.high, colour(i))
        if line.joined:
            panel.line(x, column.values, colour(i))
        panel.points(x, column.values, f"{colour(i)} dot", marker(i), column.titles)
        panel.points(x, column.bound, f"{colour(i)} hollow", "up", column.titles)
    if not np.isfinite(heights).any():
        panel.note("no value", middle=True)
    return panel.svg(f"{OVERVIEW[metric]} of {sum(len(line.matrices) for line in found)} matrices along the model")


@dataclass(frozen=True)
class _Column:
    """One metric of the matrices of a line: values, alpha's error, the null, and values that are a bound alone."""

    values: np.ndarray
    low: np.ndarray
    high: np.ndarray
    null: np.ndarray
    null_low: np.ndarray
    null_high: np.ndarray
    bound: np.ndarray
    titles: list[str]


def _column(line: Line, metric: str, estimators: Estimators) -> _Column:
    values = np.array([m.values[metric] for m in line.matrices])
    null = np.array([float(m.nulls[metric].null_mean) for m in line.matrices])
    sd = np.nan_to_num([float(m.nulls[metric].null_sd) for m in line.matrices])
    error = np.array([m.values["ks_alpha_se"] if metric == "ks_alpha" else np.nan for m in line.matrices])
    bounds = [m.bounds(estimators).get(metric, "") for m in line.matrices]
    bound = np.array([float(words.split()[-1]) if words else np.nan for words in bounds])
    titles = [
        f"{m.part.name}: {words or f'{value:.4g}'}" + (f"; null {mean:.4g} ± {spread:.2g}" if np.isfinite(mean) else "")
        for m, value, words, mean, spread in zip(line.matrices, values, bounds, null, sd, strict=True)
    ]
    return _Column(values, values - error, values + error, null, null - sd, null + sd, bound, titles)


def _depth_title(found: Sequence[Line]) -> str:
    kinds = {line.layered for line in found}
    return {1: "layer" if True in kinds else "order in the table"}.get(len(kinds), "layer, or order")


# -- one matrix ------------------------------------------------------------------------------------------------
def spectrum_panels(matrix: Measured, estimators: Estimators) -> list[str]:
    """ESD on linear and on logarithmic axes with bulk, fit and null; Hill's alpha against the size of the tail."""
    eigenvalues = matrix.singular_values.astype(np.float64) ** 2
    name = matrix.part.name
    return [
        _linear_panel(matrix, eigenvalues).svg(f"spectral density of {name}, linear"),
        _logarithmic_panel(matrix, eigenvalues).svg(f"spectral density of {name}, logarithmic"),
        _hill_panel(matrix, eigenvalues, estimators).svg(f"Hill plot of {name}"),
    ]


def _density(eigenvalues: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Share of all eigenvalues in each bin over the bin's width."""
    return np.histogram(eigenvalues, edges)[0] / (max(1, len(eigenvalues)) * np.diff(edges))


def _null_eigenvalues(matrix: Measured) -> np.ndarray:
    return matrix.shuffled.astype(np.float64).ravel() ** 2


def _has_bulk(matrix: Measured) -> bool:
    return bool(np.isfinite(matrix.values["mp_variance"]))


def _bulk(eigenvalues: np.ndarray, matrix: Measured) -> np.ndarray:
    """Density of the bulk that `random_matrix.fit_bulk` left below the spikes, times its share of all eigenvalues."""
    rows, columns = matrix.part.shape
    spikes = int(matrix.values["mp_spikes"])
    share = 1 - spikes / min(rows, columns)
    density = share * mp_density(eigenvalues, (rows - spikes, columns - spikes), matrix.values["mp_variance"])
    return np.where(density > 0, density, np.nan)


def _empty(title: str, words: str) -> Panel:
    panel = Panel(title, Axis(0.0, 1.0), Axis(0.0, 1.0))
    panel.note(words, middle=True)
    return panel


def _linear_panel(matrix: Measured, eigenvalues: np.ndarray) -> Panel:
    """The bulk: a little more than what noise would reach."""
    title, null = "ESD, linear", _null_eigenvalues(matrix)
    edge = float(np.nan_to_num(matrix.values["tw_edge"]))
    largest = max(float(eigenvalues.max()), float(null.max(initial=0.0)))
    end = max(1.3 * edge, float(np.quantile(eigenvalues, 0.9)))
    end = max(end, 1.3 * float(np.quantile(null, 0.98))) if len(null) else end
    end = min(end, 1.05 * largest)
    if end <= 0:
        return _empty(title, "zero matrix")
    edges = np.linspace(0, end, BINS + 1)
    heights = _density(eigenvalues, edges)
    panel = Panel(title, Axis(0.0, end), Axis(0.0, 1.12 * float(heights.max())), "eigenvalue λ = s²", "density")
    if len(null):
        panel.stairs(edges, _density(null, edges), "null", filled=True)
    if _has_bulk(matrix):
        panel.vertical(edge, "bulk")
        x = np.linspace(0, end, 200)[1:]
        panel.line(x, _bulk(x, matrix), "bulk")
    panel.stairs(edges, heights, "own")
    beyond = int((eigenvalues > end).sum())
    if beyond:
        panel.note(f"{beyond} beyond, largest {eigenvalues.max():.3g}")
    return panel


def _logarithmic_panel(matrix: Measured, eigenvalues: np.ndarray) -> Panel:
    """The tail: density in logarithmic bins, and the fitted line scaled to the share of the tail."""
    title, null = "ESD, log-log", _null_eigenvalues(matrix)
    positive = eigenvalues[eigenvalues > 0]
    if len(positive) < 2 or positive.max() <= positive.min() * (1 + 1e-6):
        return _empty(title, "all eigenvalues equal")
    low = float(np.quantile(positive, 0.02))
    high = 1.1 * max(float(positive.max()), float(null.max(initial=0.0)))
    edges = np.geomspace(low, high, BINS // 2 + 1)
    heights, grey = _density(eigenvalues, edges), _density(null, edges)
    y = Axis(0.3 * float(heights[heights > 0].min()), 2.5 * max(float(heights.max()), float(grey.max())), log=True)
    panel = Panel(title, Axis(low, high, log=True), y, "eigenvalue λ = s²", "density")
    if len(null):
        panel.stairs(edges, grey, "null", filled=True)
    if _has_bulk(matrix):
        x = np.geomspace(low, high, 300)
        panel.line(x, _bulk(x, matrix), "bulk")
    panel.stairs(edges, heights, "own")
    if np.isfinite(matrix.values["ks_alpha"]):
        alpha, xmin = matrix.values["ks_alpha"], matrix.values["ks_xmin"]
        x = np.array([xmin, float(positive.max())])
        share = matrix.values["ks_tail"] / len(eigenvalues)
        panel.vertical(xmin, "fit")
        panel.line(x, share * (alpha - 1) / xmin * (x / xmin) ** -alpha, "fit")
    return panel


def _hill_panel(matrix: Measured, eigenvalues: np.ndarray, estimators: Estimators) -> Panel:
    """Hill's alpha for every k: no plateau, no power law."""
    title, rank = "Hill plot", len(eigenvalues)
    curve = hill_plot(eigenvalues) if rank > 1 else np.empty(0)
    if not np.isfinite(curve).any():
        return _empty(title, "no tail")
    places = np.unique(np.geomspace(1, rank - 1, HILL_POINTS).round().astype(int)) - 1
    k = places + 1.0
    null = hill_plot(matrix.shuffled.astype(np.float64) ** 2)[:, places]
    curve = curve[places]
    in_sight = [curve[np.isfinite(curve) & (k > HILL_FROM)]]
    if len(null):
        mean, sd = null.mean(axis=0), null.std(axis=0, ddof=1)  # NaN where a draw has none
        in_sight.append(mean[np.isfinite(mean) & (k > HILL_FROM)])
    alpha, error = matrix.values["ks_alpha"], matrix.values["ks_alpha_se"]
    in_sight.append(np.array([alpha + error])[np.isfinite([alpha])])
    heights = np.concatenate(in_sight)
    top = float(heights.max()) if len(heights) else float(np.nanmax(curve))
    panel = Panel(
        title,
        Axis(1.0, max(2.0, rank), log=True),
        Axis(1.0, max(1.5, 1.1 * top), log=True),
        "k, eigenvalues in the tail",
        "alpha",
    )
    if len(null):
        panel.band(k, np.maximum(mean - sd, 1e-3), mean + sd, "null")
        panel.line(k, mean, "null dashed")
    panel.line(k, curve, "own")
    panel.vertical(hill_count(rank, estimators.hill_fraction), "own")
    if np.isfinite(alpha):
        tail = np.array([matrix.values["ks_tail"]])
        panel.errors(tail, np.array([alpha - error]), np.array([alpha + error]), "fit")
        bounded = "ks_tail" in matrix.bounds(estimators)
        panel.points(tail, np.array([alpha]), "fit hollow" if bounded else "fit dot", "circle")
    return panel
