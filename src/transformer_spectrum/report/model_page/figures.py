"""A checkpoint in pictures: each matrix's spectrum beside its null."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup

from transformer_spectrum.analysis.of_checkpoint.results import MeasuredMatrix
from transformer_spectrum.report.page.svg import Axis, Panel
from transformer_spectrum.spectra.analysis import Estimators
from transformer_spectrum.spectra.power_law import hill_count, hill_plot
from transformer_spectrum.spectra.random_matrix import mp_density

BINS = 60
HILL_FROM = 3  # the first few k scatter over decades and would press the rest flat
HILL_POINTS = 160  # of a curve, evenly on its logarithmic axis: more than a screen can show


def spectrum_panels(matrix: MeasuredMatrix, estimators: Estimators) -> list[Markup]:
    """ESD on linear and on logarithmic axes with bulk, fit and null; Hill's alpha against the size of the tail.

    >>> panels = spectrum_panels(examination.matrices[-1], examination.estimators)
    >>> [words in panel for words, panel in zip(("readout, linear", "readout, logarithmic", "Hill plot"), panels)]
    [True, True, True]
    """
    eigenvalues = matrix.singular_values.astype(np.float64) ** 2
    name = matrix.matrix.name
    return [
        _linear_panel(matrix, eigenvalues).svg(f"spectral density of {name}, linear"),
        _logarithmic_panel(matrix, eigenvalues).svg(f"spectral density of {name}, logarithmic"),
        _hill_panel(matrix, eigenvalues, estimators).svg(f"Hill plot of {name}"),
    ]


def _density(eigenvalues: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Share of all eigenvalues in each bin over the bin's width."""
    return np.histogram(eigenvalues, edges)[0] / (max(1, len(eigenvalues)) * np.diff(edges))


def _null_eigenvalues(matrix: MeasuredMatrix) -> np.ndarray:
    return matrix.shuffled.astype(np.float64).ravel() ** 2


def _has_bulk(matrix: MeasuredMatrix) -> bool:
    return bool(np.isfinite(matrix.values["mp_variance"]))


def _bulk(eigenvalues: np.ndarray, matrix: MeasuredMatrix) -> np.ndarray:
    """Density of the bulk that `random_matrix.fit_bulk` left below the spikes, times its share of all eigenvalues."""
    rows, columns = matrix.matrix.shape
    spikes = int(matrix.values["mp_spikes"])
    share = 1 - spikes / min(rows, columns)
    density = share * mp_density(eigenvalues, (rows - spikes, columns - spikes), matrix.values["mp_variance"])
    return np.where(density > 0, density, np.nan)


def _empty(title: str, words: str) -> Panel:
    panel = Panel(title, Axis(0.0, 1.0), Axis(0.0, 1.0))
    panel.note(words, middle=True)
    return panel


def _linear_panel(matrix: MeasuredMatrix, eigenvalues: np.ndarray) -> Panel:
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


def _logarithmic_panel(matrix: MeasuredMatrix, eigenvalues: np.ndarray) -> Panel:
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


def _hill_panel(matrix: MeasuredMatrix, eigenvalues: np.ndarray, estimators: Estimators) -> Panel:
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
