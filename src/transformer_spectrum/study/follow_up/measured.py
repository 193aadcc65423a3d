"""One training measured where it ends, from its history and the weights that it has kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from transformer_spectrum.analysis.of_training.nulls import NullDraws
from transformer_spectrum.analysis.of_training.summary import analyzed, estimators_of
from transformer_spectrum.analysis.of_training.tracked_steps import entries, recorded_matrices, spectra_of
from transformer_spectrum.analysis.of_training.vectors import overlaps_at
from transformer_spectrum.config.schema import SpectraParams
from transformer_spectrum.runtime.seeds import torch_generator
from transformer_spectrum.study.follow_up.endpoints import (
    AGREEMENT,
    CHANGE_SETTLED,
    ENTROPY_EXCESS,
    ENTROPY_GAIN,
    HALF,
    KEPT,
    LARGE_EXCESS,
    SETTLED,
    SMALL_EXCESS,
)
from transformer_spectrum.study.inference.endpoints import group_mean
from transformer_spectrum.training.records.history import History
from transformer_spectrum.training.records.snapshots import Snapshots

NAN = float("nan")


def followed(
    history: History, snapshots: Snapshots, spectra: SpectraParams, *, optimizer: str, seed: int
) -> dict[str, float]:
    """Every endpoint of `endpoints.FOLLOWED` of one training.

    Half of the updates is the kept step nearest to it, at most `HALF` of all updates away. Matrices are averaged as for
    the primary endpoints, see `inference.endpoints.group_mean`.

    Args:
        history: of the training.
        snapshots: its weights, at step 0 and where it ends at least.
        spectra: settings of the estimators, how many shuffles, and k of the leading vectors.
        optimizer: the section that trained it, which names the random streams as in `analysis.of_training`.
        seed: of the training.
    Returns:
        Name -> value; NaN where a training has none, such as vectors at half of the updates where no weights were kept.
    Raises:
        InputError: the snapshots are of other matrices.

    >>> history, snapshots = History.load("models/es/history.npz"), Snapshots.load("models/es/snapshots.safetensors")
    >>> values = followed(history, snapshots, params.spectra, optimizer="es", seed=1)
    >>> [name for name, value in values.items() if not np.isfinite(value)]
    []
    """
    families = history.families.tolist()
    entropy = group_mean(analyzed(history, estimators_of(spectra)).values["spectral_entropy"], families)
    specs = recorded_matrices(history, heads=0)
    end = snapshots.steps[-1]
    half = min(snapshots.steps, key=lambda step: abs(step - end / 2))
    start, middle, last = (
        [matrix.astype(np.float64) for matrix in entries(snapshots, step, specs)] for step in (0, half, end)
    )
    changes, changes_middle = (
        [matrix - first for matrix, first in zip(matrices, start, strict=True)] for matrices in (last, middle)
    )

    def agreement(before: Sequence[np.ndarray], after: Sequence[np.ndarray]) -> float:
        overlaps = overlaps_at(before, after, spectra.overlap_rank)
        return float(group_mean((overlaps.left + overlaps.right)[None] / 2, families).item()) - AGREEMENT

    nulls = NullDraws(start, spectra.shuffles, estimators_of(spectra))
    draws, values = nulls.path(changes, torch_generator(seed, f"path {optimizer} {end}")), spectra_of(last)

    def excess(measure: Callable[[np.ndarray], np.ndarray]) -> float:
        return float(group_mean((measure(values) - measure(draws).mean(axis=0))[None], families).item())

    has_half = abs(half / end - 0.5) <= HALF if end else False
    return {
        ENTROPY_GAIN: float(entropy[-1] - entropy[0]),
        ENTROPY_EXCESS: excess(_entropy),
        SMALL_EXCESS: excess(small_value_log_ratio),
        LARGE_EXCESS: excess(lambda values: _log_over_median(values[..., 0], values)),
        SETTLED: agreement(middle, last) if has_half else NAN,
        CHANGE_SETTLED: agreement(changes_middle, changes) if has_half else NAN,
        KEPT: agreement(start, last),
    }


def _entropy(values: np.ndarray) -> np.ndarray:
    """Of sigma^2 / sum sigma^2, in nats; (..., R) with NaN behind the last -> (...)."""
    shares = values**2 / np.nansum(values**2, axis=-1, keepdims=True)
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    return -np.nansum(shares * logs, axis=-1)


def small_value_log_ratio(values: np.ndarray) -> np.ndarray:
    """ln(mean of the smallest tenth of the singular values / their median).

    Args:
        values: (..., R) descending, NaN behind the last of a matrix of a lower rank; a tenth of r values is r / 10
            rounded, one at least.
    Returns:
        (...) NaN where that tenth, or the median, is zero.

    >>> small_value_log_ratio(np.array([[9.0, 4.0, 4.0, 2.0], [3.0, 1.0, 0.0, np.nan]])).round(6)
    array([-0.693147,       nan])
    """
    counts = np.isfinite(values).sum(axis=-1, keepdims=True)
    ranks = np.arange(values.shape[-1])
    smallest = (ranks < counts) & (ranks >= counts - np.maximum(1, np.round(counts / 10)))
    means = np.nanmean(np.where(smallest, values, np.nan), axis=-1)
    return _log_over_median(means, values)


def _log_over_median(sizes: np.ndarray, values: np.ndarray) -> np.ndarray:
    """ln(sizes / median of the values); NaN where either is zero."""
    medians = np.nanmedian(values, axis=-1)
    nothing = np.full(np.shape(sizes), NAN)
    return np.log(np.divide(sizes, medians, out=nothing, where=(sizes > 0) & (medians > 0)))
