"""The spectra of a study's arms: mean singular values by rank, where all arms are equally good."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from transformer_spectrum.study.answer.matched import DIVERGED
from transformer_spectrum.study.answer.stored import SPECTRA
from transformer_spectrum.study.inference.endpoints import GROUPS, RECURRENT_GROUPS
from transformer_spectrum.study.protocol.sections import TuningOutcome
from transformer_spectrum.training.records.history import History


def arm_spectra(cells: pd.DataFrame, tuning: TuningOutcome, history_of: Callable[[str], History]) -> pd.DataFrame:
    """SPECTRA of every arm at its first record at or below the validation MAE that is held equal.

    A singular value counts by its log10 over the root mean square of its spectrum, whose mean over the matrices of a
    group (feed-forward, attention; of an LSTM its gates) is taken within a seed. Where a block has no target, and in a
    training that does not reach it, the best record is taken.

    Args:
        cells: of `trainings.run_cells`; trainings that diverged are left out.
        tuning: whose targets they are.
        history_of: a training's name -> its history.

    >>> tuning = TuningOutcome(rates={}, targets={}, margins={})
    >>> cells = pd.DataFrame(columns=["block", "dataset", "arm", "status"])
    >>> arm_spectra(cells, tuning, History.load).columns.tolist()[:4]
    ['block', 'dataset', 'arm', 'matrix']
    """
    done = cells[cells["status"] != DIVERGED]
    rows = []
    for place, of_arm in done.groupby(["block", "dataset", "arm"], sort=False):
        block, dataset, _ = map(str, place)
        target = tuning.target(block, dataset)
        spectra = [_of_training(history_of(str(training)), target) for training in of_arm["training"]]
        rows += [(*place, *row) for row in _mean_over_seeds(spectra)]
    return pd.DataFrame(rows, columns=list(SPECTRA))


def _of_training(history: History, target: float | None) -> dict[tuple[str, str], np.ndarray]:
    """(matrix, group) -> (r,) logarithms."""
    maes = np.asarray(history.validation_mae)
    arrived = np.flatnonzero(maes <= (-np.inf if target is None else target))
    # W_0 has no change: the first record is never taken.
    record = max(1, int(arrived[0]) if len(arrived) else int(np.nanargmin(maes)))
    return {
        (matrix, group): _group_spectrum(values[record][positions])
        for matrix, values in (("weights", history.singular_values), ("change", history.change_singular_values))
        for group, positions in _groups(history.families.tolist()).items()
    }


def _groups(families: Sequence[str]) -> Mapping[str, list[int]]:
    members = {
        name: [place for place, family in enumerate(families) if family in inside]
        for name, inside in (*GROUPS.items(), *RECURRENT_GROUPS.items())
    }
    return {name: positions for name, positions in members.items() if positions}


def _group_spectrum(values: np.ndarray) -> np.ndarray:
    """(matrices, r) singular values, NaN where a matrix has fewer -> (r,) mean logs over their root mean square."""
    values = values.astype(np.float64)
    scale = np.sqrt(np.nanmean(values**2, axis=1, keepdims=True))
    shares = np.divide(values, scale, out=np.full_like(values, np.nan), where=(scale > 0) & (values > 0))
    logs = np.log10(shares)
    counts = np.isfinite(logs).sum(axis=0)
    return np.divide(np.nansum(logs, axis=0), counts, out=np.full(logs.shape[1], np.nan), where=counts > 0)


def _mean_over_seeds(spectra: Sequence[Mapping[tuple[str, str], np.ndarray]]) -> Iterator[tuple[object, ...]]:
    for key in spectra[0] if spectra else ():
        stack = np.stack([of_seed[key] for of_seed in spectra])
        for rank in range(stack.shape[1]):
            values = stack[:, rank][np.isfinite(stack[:, rank])]
            if len(values):
                spread = float(values.std(ddof=1)) if len(values) > 1 else np.nan
                yield (*key, rank + 1, len(values), float(values.mean()), spread)
