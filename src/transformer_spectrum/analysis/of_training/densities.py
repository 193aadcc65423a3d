"""Empirical spectral densities: the bins that trainings share, and the heights over them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from transformer_spectrum.analysis.of_training.summary import Summary

LEFT_OUT = 0.02
"""Share of the smallest eigenvalues that logarithmic bins leave out."""
FEWEST_BINS, MOST_BINS, EIGENVALUES_IN_A_BIN = 8, 30, 6


def density(eigenvalues: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Share of all eigenvalues in each bin over the bin's width; zeros are in no bin of a logarithmic axis.

    Args:
        eigenvalues: (n,), any order and unit.
        edges: (b + 1,) of the bins, rising, in the same unit.
    Returns:
        (b,) per unit of eigenvalues.

    >>> density(np.array([0.0, 1.0, 1.5, 3.0]), np.array([1.0, 2.0, 4.0]))
    array([0.5  , 0.125])
    """
    counts, _ = np.histogram(eigenvalues, edges)
    return counts / (max(1, len(eigenvalues)) * np.diff(edges))


def esd_edges(summaries: Mapping[str, Summary], family: str, *, log: bool = True) -> np.ndarray:
    """Edges of the bins, one set a family, that hold its eigenvalues at all tracked steps of all optimizers.

    About one bin for every six eigenvalues of a step, 8 to 30. Logarithmic bins leave out the smallest 2 % of
    all eigenvalues: they are spread over decades and say nothing about the tail.

    Args:
        summaries: the trainings.
        family: label of the family.
        log: bins of one width on a logarithmic axis; False: on a linear one.
    Returns:
        (b + 1,) rising, in units of the family's mean initial eigenvalue.

    >>> edges = esd_edges(summaries, "feed_forward", log=False)
    >>> len(edges), np.allclose(np.diff(edges), edges[1])
    (22, True)
    """
    steps = [
        summary.pooled_eigenvalues(family, position) for summary in summaries.values() for position in summary.tracked
    ]
    pooled = np.concatenate(steps)
    pooled = pooled[pooled > 0]
    if not len(pooled):
        return np.array([0.5, 1.5])
    bins = int(np.clip(len(steps[0]) // EIGENVALUES_IN_A_BIN, FEWEST_BINS, MOST_BINS))
    if not log:
        return np.linspace(0.0, pooled.max(), bins + 1)
    smallest, largest = np.quantile(pooled, LEFT_OUT), pooled.max()
    if smallest == largest:
        return largest * np.array([0.8, 1.25])
    edges = np.geomspace(smallest, largest, bins + 1)
    edges[-1] = largest  # against rounding
    return edges
