"""A checkpoint in pictures: metrics along the depth of the model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from transformer_spectrum.analysis.of_checkpoint.results import MeasuredMatrix
from transformer_spectrum.report.page.svg import Axis, Panel
from transformer_spectrum.spectra.analysis import Estimators
from transformer_spectrum.vocabulary import DEPTH_METRICS, DIMENSIONLESS, LINE_SHADES, METRICS, family_words
from transformer_spectrum.weights.matrices.shapes import by_shape

MARKERS = ("circle", "square", "up", "diamond", "down", "plus")
COLOURS = len(LINE_SHADES)  # classes c0 ... of the page
COUNTS = ("mp_spikes",)
IN_SIGHT = ("values", "low", "high", "null_low", "null_high", "bound")  # of `_Column`: what the axis reaches to
SHAPES = 5  # in the overview


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
    matrices: tuple[MeasuredMatrix, ...]


def lines(matrices: Sequence[MeasuredMatrix]) -> list[Line]:
    """The matrices of one shape by family and stack, in order of their appearance.

    >>> [(line.label, line.depth) for line in lines(examination.matrices[:4])]
    [('feed-forward down', (0, 1)), ('feed-forward up', (0, 1))]
    """
    groups: dict[tuple[str, str], list[tuple[int | None, MeasuredMatrix]]] = {}
    for matrix in matrices:
        stack, layer = _place(matrix.matrix.name)
        groups.setdefault((stack, matrix.matrix.family.task), []).append((layer, matrix))
    many = len({stack for (stack, _), members in groups.items() if len(members) > 1}) > 1
    drawn: list[Line] = []
    for (stack, task), members in groups.items():
        layers, inside = [layer for layer, _ in members], tuple(matrix for _, matrix in members)
        several = any(matrix.matrix.head is not None or matrix.matrix.index for matrix in inside)
        layered = None not in layers and (several or len(set(layers)) == len(layers))
        depth = tuple(layers) if layered else tuple(range(len(members)))
        label = family_words(task)
        label = f"{stack.rsplit('.', 1)[-1] or stack}: {label}" if many and stack else label
        drawn.append(Line(label, depth, layered, len(set(depth)) == len(depth), inside))
    return drawn


def _place(name: str) -> tuple[str, int | None]:
    """What comes before the first number of a name, and that number: ("encoder", 3) of "encoder.layer.3.output"."""
    match = re.match(r"(?P<stack>.*?)\.?(?<![^.])(?P<layer>\d+)(?=[.@]|$)", name)
    if not match:
        return "", None
    return re.sub(r"\.?(layers?|blocks?|h)$", "", match["stack"]), int(match["layer"])


def by_size(matrices: Sequence[MeasuredMatrix]) -> list[tuple[tuple[int, int], list[MeasuredMatrix]]]:
    """The matrices of each shape, larger side first, those of most matrices first; never more than SHAPES.

    >>> [(shape, len(members)) for shape, members in by_size(examination.matrices)]
    [((32, 16), 8), ((16, 12), 1)]
    """
    groups = by_shape(matrix.matrix.shape for matrix in matrices)
    order = sorted(groups, key=lambda shape: (-len(groups[shape]), [-side for side in shape]))
    return [(shape, [matrices[i] for i in groups[shape]]) for shape in order[:SHAPES]]


# -- along the depth -------------------------------------------------------------------------------------------
def colour(i: int) -> str:
    """Class of the i-th line.

    >>> colour(0), colour(8)
    ('c0', 'c1')
    """
    return f"c{i % COLOURS}"


def marker(i: int) -> str:
    """Its marker: a new pair in every round of the colours, so that grey tells lines apart too.

    >>> marker(0), marker(7)
    ('circle', 'up')
    """
    return MARKERS[(i + i // COLOURS) % len(MARKERS)]


def depth_panels(families: Sequence[Line], estimators: Estimators) -> list[Markup]:
    """A panel for each metric of DEPTH_METRICS of matrices of one shape, since alphas of several cannot be compared.

    >>> panels = depth_panels(lines(examination.matrices[:4]), examination.estimators)
    >>> len(panels), "of 4 matrices along the model" in panels[0]
    (4, True)
    """
    return [_depth_panel(families, metric, estimators) for metric in DEPTH_METRICS]


def _depth_panel(families: Sequence[Line], metric: str, estimators: Estimators) -> Markup:
    """One metric: the matrices in colour, alpha with its standard error; their nulls, mean ± sd, in grey."""
    lone = len({depth for line in families for depth in line.depth}) == 1
    spread = 1.2 if lone else min(0.7, 0.08 * len(families))
    columns = [_column(line, metric, estimators) for line in families]
    heights = np.concatenate([np.concatenate([getattr(c, name) for name in IN_SIGHT]) for c in columns])
    depths = [depth for line in families for depth in line.depth]
    panel = Panel(
        _title(metric),
        Axis(min(depths) - (1 if lone else 0.5), max(depths) + (1 if lone else 0.5), whole=True, bare=lone),
        Axis.around(heights, whole=metric in COUNTS),
        "" if lone else _depth_title(families),
    )
    for i, (line, column) in enumerate(zip(families, columns, strict=True)):
        shift = (i - (len(families) - 1) / 2) * spread / len(families)
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
    count = sum(len(line.matrices) for line in families)
    return panel.svg(f"{_title(metric)} of {count} matrices along the model")


def _title(metric: str) -> str:
    """Name and, where it has one, unit of a metric."""
    name, unit = METRICS[metric]
    return name if unit == DIMENSIONLESS else f"{name} ({unit})"


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
        f"{m.matrix.name}: {words or f'{value:.4g}'}"
        + (f"; null {mean:.4g} ± {spread:.2g}" if np.isfinite(mean) else "")
        for m, value, words, mean, spread in zip(line.matrices, values, bounds, null, sd, strict=True)
    ]
    return _Column(values, values - error, values + error, null, null - sd, null + sd, bound, titles)


def _depth_title(families: Sequence[Line]) -> str:
    kinds = {line.layered for line in families}
    return {1: "layer" if True in kinds else "order in the table"}.get(len(kinds), "layer, or order")
