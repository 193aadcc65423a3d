"""One training's spectra at its tracked steps as rows of the study's table, each beside its nulls."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

from transformer_spectrum.files import atomic_path, write_csv
from transformer_spectrum.history import History
from transformer_spectrum.report.details import SPECTRA_NULLS, spectra_nulls
from transformer_spectrum.report.summary import summarize, tracked_positions
from transformer_spectrum.schema import SpectraParams
from transformer_spectrum.snapshots import Snapshots
from transformer_spectrum.study.grid import Cell

KEYS = ("study", "dataset", "loss", "optimizer", "seed", "standin")
PLACE = ("step", "evaluations", "matrix", "family", "rows", "columns", "metric")
VALUES = {
    "value": "value",
    "null": "initial",
    "null_sd": "initial_sd",
    "shuffled": "shuffled_mean",
    "shuffled_sd": "shuffled_sd",
    "reason": "reason",
}
"""Column of the table -> column of `report.details.spectra_nulls`."""
COLUMNS = (*KEYS, *PLACE, *VALUES)


def rows(cell: Cell, training: Path, *, standin: bool) -> Iterator[tuple[Any, ...]]:
    """COLUMNS for every metric of every matrix at the tracked steps.

    `null` is the metric of the initial matrix and `null_sd` its spread over shuffles of that; `shuffled` and
    `shuffled_sd` are mean and spread over shuffles of the step's own matrix; `reason` says why a value is missing.

    Args:
        cell: whose training.
        training: its folder.
        standin: the data are simulated in the place of real ones.
    Raises:
        InputError: a file is missing or corrupt.
    """
    spectra = cell.params.spectra.model_copy(update={"bootstrap": 0})  # no column of ours shows it
    summaries = summarize(
        {cell.optimizer: History.load(training / "history.npz")},
        {cell.optimizer: Snapshots.load(training / "snapshots.safetensors")},
        spectra,
        heads=cell.params.model.heads,
        seed=cell.seed,
    )
    positions = [SPECTRA_NULLS.index(name) for name in (*PLACE, *VALUES.values())]
    keys = (*cell.key, int(standin))
    for row in spectra_nulls(summaries):
        yield (*keys, *(row[position] for position in positions))


def write_rows(cell: Cell, training: Path, path: Path, *, standin: bool) -> None:
    """Writes `rows` as CSV."""
    write_csv(path, COLUMNS, rows(cell, training, standin=standin))


def thin_snapshots(path: Path, history: History, spectra: SpectraParams) -> None:
    """Keeps of a training's weights those at the tracked steps, which the table needs; a study has many trainings."""
    kept = Snapshots.load(path)
    wanted = history.steps[tracked_positions(history.steps, spectra.tracked_every, spectra.tracked_at_most)].tolist()
    at = [kept.steps.index(step) for step in wanted]
    with safe_open(path, framework="numpy") as file:
        about = json.loads(file.metadata()["run"])
    stacked = {name: np.ascontiguousarray(stack[at]) for name, stack in kept.weights.items()}
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(stacked, {"run": json.dumps({**about, "steps": wanted})}))
