"""One training at its tracked steps: every quantity, the mean of its null's draws, and their standard deviation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from transformer_spectrum.analysis.of_training.nulls import NullDraws
from transformer_spectrum.analysis.of_training.summary import estimators_of
from transformer_spectrum.analysis.of_training.thinning import tracked_of
from transformer_spectrum.analysis.of_training.tracked_steps import entries, farms_of, recorded_matrices, spectra_of
from transformer_spectrum.config.schema import SpectraParams
from transformer_spectrum.runtime.seeds import torch_generator
from transformer_spectrum.spectra.arrangements import shuffled_entries
from transformer_spectrum.spectra.nulls import null_of
from transformer_spectrum.study.beside_nulls.quantities import (
    CHANGE_RANK,
    DISTANCE,
    FARMS,
    HILL,
    KS,
    RANK,
    columns,
    null_name,
    spread_name,
)
from transformer_spectrum.study.inference.endpoints import group_mean
from transformer_spectrum.training.records.history import History
from transformer_spectrum.training.records.snapshots import Snapshots

Matrices = Sequence[np.ndarray]


def beside_nulls(
    history: History, snapshots: Snapshots, spectra: SpectraParams, *, optimizer: str, seed: int
) -> dict[str, np.ndarray]:
    """Every column of `quantities.columns`, a number a record; NaN but at the tracked steps after the first.

    A quantity is averaged over matrices as the primary endpoints are, see `inference.endpoints.group_mean`, and so is
    each draw: the spread is that of the mean, not of a matrix. The draws of W's spectra are those of the endpoint
    `path_log_stable_rank`.

    Args:
        history: of the training.
        snapshots: its weights at the tracked steps.
        spectra: settings of the estimators, and how many draws.
        optimizer: the section that trained it, which names the random streams as in `analysis.of_training`.
        seed: of the training.
    Raises:
        InputError: a tracked step has no weights.

    >>> history, snapshots = History.load("models/es/history.npz"), Snapshots.load("models/es/snapshots.safetensors")
    >>> values = beside_nulls(history, snapshots, params.spectra, optimizer="es", seed=1)
    >>> len(values["log_stable_rank null sd"]) == len(history.steps), float(values["log_stable_rank null sd"][-1]) > 0
    (True, True)
    """
    families = history.families.tolist()
    specs = recorded_matrices(history, heads=0)
    start = [matrix.astype(np.float64) for matrix in entries(snapshots, 0, specs)]
    draws = NullDraws(start, spectra.shuffles, estimators_of(spectra))
    values = {name: np.full(len(history.steps), np.nan) for name in columns()}
    for record in tracked_of(history, spectra):
        step = int(history.steps[record])
        if step == 0:  # W_0 is its own null
            continue
        matrices = [matrix.astype(np.float64) for matrix in entries(snapshots, step, specs)]
        changes = [matrix - first for matrix, first in zip(matrices, start, strict=True)]
        stream = f"{optimizer} {step}"
        of_weights = np.concatenate(
            [spectra_of(matrices)[None], draws.path(changes, torch_generator(seed, f"path {stream}"))]
        )
        of_changes = np.concatenate(
            [spectra_of(changes)[None], draws.shuffled(changes, torch_generator(seed, f"change shuffles {stream}"))]
        )
        shuffled = _shuffled(start, changes, spectra.shuffles, torch_generator(seed, f"farms {stream}"))
        farms = np.stack([farms_of(each, spectra.farms_size)[0] for each in (matrices, *shuffled)])
        weights, change = (
            draws.metrics(of_weights),
            draws.metrics(of_changes, np.repeat(of_weights[:1], len(of_changes), axis=0)),
        )
        measured = {
            CHANGE_RANK: np.log(change.values["stable_rank"]),
            RANK: np.log(weights.values["stable_rank"]),
            **{name: weights.values[name] for name in (HILL, KS, DISTANCE)},
            FARMS: farms,
        }
        for name, of_matrices in measured.items():
            means = group_mean(of_matrices, families)  # the training's own first, then a draw each
            null = null_of(means[1:])
            values[name][record] = means[0]
            values[null_name(name)][record], values[spread_name(name)][record] = null.mean, null.standard_deviation
    return values


def _shuffled(start: Matrices, changes: Matrices, draws: int, generator: torch.Generator) -> list[list[np.ndarray]]:
    """W_0 plus its change with shuffled entries, of every matrix, so many times."""
    return [
        [
            first + shuffled_entries(torch.from_numpy(change[None]), generator)[0].numpy()
            for first, change in zip(start, changes, strict=True)
        ]
        for _ in range(draws)
    ]
