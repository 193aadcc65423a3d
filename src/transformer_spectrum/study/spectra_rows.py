"""One training's spectra at its tracked steps as rows of the study's table, each beside its nulls."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

from transformer_spectrum.analysis.of_training.long_tables import spectra_nulls
from transformer_spectrum.analysis.of_training.rows import cells
from transformer_spectrum.analysis.of_training.summary import Summary, summarize
from transformer_spectrum.analysis.of_training.thinning import tracked_of
from transformer_spectrum.config.schema import SpectraParams
from transformer_spectrum.runtime.files import atomic_path
from transformer_spectrum.spectra.analysis import METRICS
from transformer_spectrum.spectra.nulls import family_null
from transformer_spectrum.study.grid import Cell
from transformer_spectrum.training.records.history import History
from transformer_spectrum.training.records.snapshots import Snapshots

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
"""Column of the table -> column of `long_tables.spectra_nulls`."""
COLUMNS = (*KEYS, *PLACE, *VALUES)
FAMILY_PLACE = ("step", "evaluations", "last", "family", "matrices", "larger", "smaller", "metric")
FAMILY_COLUMNS = (*KEYS, *FAMILY_PLACE, *VALUES)

Rows = Iterator[tuple[Any, ...]]


def summary_of(cell: Cell, training: Path) -> Summary:
    """Every spectral metric of a training and its nulls.

    Raises:
        InputError: a file of the training is missing or corrupt.

    >>> cell = Cell("synthetic", "narrow", "mse", "adam", 1, params)
    >>> summary_of(cell, Path("models/adam")).spectral_families
    ['feed_forward', 'readout']
    """
    summaries = summarize(
        {cell.optimizer: History.load(training / "history.npz")},
        {cell.optimizer: Snapshots.load(training / "snapshots.safetensors")},
        cell.params.spectra.model_copy(update={"bootstrap": 0}),  # no column of ours shows it
        heads=cell.params.model.heads,
        seed=cell.seed,
    )
    return summaries[cell.optimizer]


def matrix_rows(cell: Cell, summary: Summary, *, standin: bool) -> Rows:
    """COLUMNS for every metric of every matrix at the tracked steps.

    `null` is the metric of the initial matrix and `null_sd` its spread over shuffles of that; `shuffled` and
    `shuffled_sd` are mean and spread over shuffles of the step's own matrix; `reason` says why a value is missing.

    >>> cell = Cell("synthetic", "narrow", "mse", "adam", 1, params)
    >>> row = dict(zip(COLUMNS, next(matrix_rows(cell, summaries["adam"], standin=False)), strict=True))
    >>> row["loss"], row["step"], row["matrix"], row["metric"], row["value"] == row["null"]  # at step 0
    ('mse', 0, 'encoder.0.feed_forward.up', 'spectral_entropy', True)
    """
    keys = (*cell.key, int(standin))
    table = spectra_nulls({cell.optimizer: summary})[[*PLACE, *VALUES.values()]]
    for row in cells(table):
        # Nine digits of a number, as many as a float32 has.
        yield (*keys, *(f"{value:.9g}" if isinstance(value, float) else value for value in row))


def family_rows(cell: Cell, summary: Summary, *, standin: bool) -> Rows:
    """FAMILY_COLUMNS: the same for means over the matrices of one family and shape, whose nulls are narrower.

    `last` is 1 at the last step of the training; `matrices` of sides `larger` x `smaller` are in the mean, if each has
    a value.

    >>> cell = Cell("synthetic", "narrow", "mse", "adam", 1, params)
    >>> rows = [dict(zip(FAMILY_COLUMNS, row)) for row in family_rows(cell, summaries["adam"], standin=False)]
    >>> [(row["step"], row["last"], row["matrices"]) for row in rows if row["metric"] == "stable_rank"][:3]
    [(0, 0, 8), (1, 0, 8), (3, 1, 8)]
    """
    evidence, keys = summary.evidence, (*cell.key, int(standin))
    budget = dict(zip(summary.history.steps.tolist(), summary.history.evaluations.tolist(), strict=True))
    for label, members in summary.families.items():
        sides = sorted(summary.history.shapes[members[0]].tolist(), reverse=True)
        for metric in METRICS:
            mean = evidence.observed.class_mean(metric, members)
            initial = family_null(evidence.initial.values[metric][:, members])
            for position, step in enumerate(evidence.steps):
                own = family_null(evidence.shuffled[position].values[metric][:, members])
                last = int(step == evidence.steps[-1])
                numbers = (mean[position], mean[0], initial.standard_deviation, own.mean, own.standard_deviation)
                reason = evidence.observed.class_reason(metric, position, members)
                place = (step, budget[step], last, label, len(members), *sides, metric)
                yield (*keys, *place, *(float(x) if np.isfinite(x) else "" for x in numbers), reason)


def thin_snapshots(path: Path, history: History, spectra: SpectraParams) -> None:
    """Keeps of a training's weights those at the tracked steps, which the table needs; a study has many trainings.

    >>> from types import SimpleNamespace
    >>> path, steps = Path("snapshots.safetensors"), np.arange(6)
    >>> weights = {"head": np.zeros((6, 2, 2), np.float32)}
    >>> _ = path.write_bytes(save(weights, {"run": json.dumps({"steps": steps.tolist()})}))
    >>> history = SimpleNamespace(steps=steps, rounds=steps, best_step=5)
    >>> thin_snapshots(path, history, SimpleNamespace(tracked_every=3, tracked_at_most=10))
    >>> Snapshots.load(path).steps
    (0, 1, 3, 5)
    """
    snapshots = Snapshots.load(path)
    wanted = history.steps[tracked_of(history, spectra)].tolist()
    positions = [snapshots.steps.index(step) for step in wanted]
    with safe_open(path, framework="numpy") as file:
        header = json.loads(file.metadata()["run"])
    stacked = {name: np.ascontiguousarray(stack[positions]) for name, stack in snapshots.weights.items()}
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(stacked, {"run": json.dumps({**header, "steps": wanted})}))
