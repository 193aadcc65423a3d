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
from transformer_spectrum.analysis.of_training.nulls import main_null
from transformer_spectrum.analysis.of_training.rows import cells
from transformer_spectrum.analysis.of_training.summary import Summary, summarize
from transformer_spectrum.analysis.of_training.thinning import tracked_of
from transformer_spectrum.config.schema import SpectraParams
from transformer_spectrum.runtime.files import atomic_path
from transformer_spectrum.study.running.grid import Cell
from transformer_spectrum.training.records.history import History
from transformer_spectrum.training.records.snapshots import Snapshots

KEYS = ("study", "dataset", "loss", "optimizer", "seed", "standin")
PLACE = ("step", "evaluations", "matrix", "family", "rows", "columns", "metric")
VALUES = {
    "value": "value",
    "missing": "missing",
    "initial": "initial",
    "null": "null_mean",
    "null_sd": "null_sd",
    "effect": "difference",
    "deviations": "deviations",
    "reason": "reason",
}
"""Column of the table -> column of `long_tables.spectra_nulls`."""
COLUMNS = (*KEYS, *PLACE, *VALUES)
FAMILY_PLACE = (
    "step",
    "evaluations",
    "validation_mae",
    "distance",
    "best",
    "last",
    "family",
    "matrices",
    "larger",
    "smaller",
    "metric",
)
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
    """COLUMNS for every metric of every matrix, and of its change, at the tracked steps, beside its main null.

    `null` and `null_sd` are mean and spread over draws of W_0 plus the change with shuffled entries, of a change over
    that change with shuffled entries; `effect` is value - null, `deviations` the same in standard deviations of the
    draws; `initial` is the metric at step 0. `missing` says why there is no value, `reason` why no deviations.

    >>> cell = Cell("synthetic", "narrow", "mse", "adam", 1, params)
    >>> row = dict(zip(COLUMNS, next(matrix_rows(cell, summaries["adam"], standin=False)), strict=True))
    >>> row["loss"], row["step"], row["matrix"], row["metric"], row["value"] == row["initial"]
    ('mse', 0, 'encoder.0.feed_forward.up', 'spectral_entropy', True)
    """
    keys = (*cell.key, int(standin))
    table = spectra_nulls({cell.optimizer: summary})
    main = table["null"].astype(str) == table["metric"].astype(str).map(main_null)
    for row in cells(table[main][[*PLACE, *VALUES.values()]]):
        # Nine digits of a number, as many as a float32 has.
        yield (*keys, *(f"{value:.9g}" if isinstance(value, float) else value for value in row))


def family_rows(cell: Cell, summary: Summary, *, standin: bool) -> Rows:
    """FAMILY_COLUMNS: the same for means over the matrices of one family and shape, whose nulls are narrower.

    `best` is 1 at the best step by validation and `last` at the last one; `distance` is |W_t - W_0| / |W_0| of the
    family; `matrices` of sides `larger` x `smaller` are in the mean, if each has a value.

    >>> cell = Cell("synthetic", "narrow", "mse", "adam", 1, params)
    >>> rows = [dict(zip(FAMILY_COLUMNS, row)) for row in family_rows(cell, summaries["adam"], standin=False)]
    >>> [(row["step"], row["last"], row["matrices"]) for row in rows if row["metric"] == "stable_rank"][:3]
    [(0, 0, 8), (1, 0, 8), (3, 1, 8)]
    """
    evidence, history, keys = summary.evidence, summary.history, (*cell.key, int(standin))
    for label, members in summary.families.items():
        sides = sorted(history.shapes[members[0]].tolist(), reverse=True)
        distance = summary.distance(label)
        for metric in evidence.observed.values:
            mean = [summary.observed(metric, label, position) for position in range(len(evidence.steps))]
            for position, at in enumerate(summary.tracked):
                step, null = int(history.steps[at]), summary.null(metric, label, position)
                against = summary.effect(metric, label, position)
                flags = int(step == history.best_step), int(at == len(history.steps) - 1)
                axes = int(history.evaluations[at]), float(history.validation_mae[at]), _cell(distance[at])
                numbers = (null.mean, null.standard_deviation, against.difference, against.deviations)
                yield (
                    *keys,
                    *(step, *axes, *flags, label, len(members), *sides, metric),
                    *(_cell(mean[position]), evidence.observed.class_reason(metric, position, members), _cell(mean[0])),
                    *map(_cell, numbers),
                    str(against.reason),
                )


def _cell(value: Any) -> float | str:
    return float(value) if np.isfinite(value) else ""


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
    tensors = {**snapshots.weights, **snapshots.gains}
    stacked = {name: np.ascontiguousarray(stack[positions]) for name, stack in tensors.items()}
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(stacked, {"run": json.dumps({**header, "steps": wanted})}))
