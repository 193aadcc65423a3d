"""The trainings behind a protocol's cells: cells of several blocks that are the same training run once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.files import read_json, write_json
from transformer_spectrum.runtime.interruption import Interruption
from transformer_spectrum.study.protocol.cells import PlannedCell, rate_of
from transformer_spectrum.study.protocol.model import Protocol
from transformer_spectrum.study.protocol.sections import UNTREATED
from transformer_spectrum.study.running.grid import Cell
from transformer_spectrum.study.running.request import training_request, windows_request
from transformer_spectrum.study.running.store import Store, read_record
from transformer_spectrum.study.running.work import PATHS, measure_path

if TYPE_CHECKING:
    from transformer_spectrum.study.running.cluster import ComputePlace

LEDGER = "protocols.json"
"""In the store: training -> the protocol under which it was first asked for, and a digest of what decides it."""
CELLS = (
    "block",
    "dataset",
    "arm",
    "seed",
    "optimizer",
    "loss",
    "treatment",
    "rate",
    "training",
    "method",
    "status",
    "validation_mae",
    "influence_cosine",
    "steps",
    "evaluations",
    "stop_reason",
    "protocol",
)
"""`status` is done or diverged, `validation_mae` the lowest of the training, `protocol` the sha256 of its results."""


def training_of(protocol: Protocol, cell: PlannedCell) -> Cell:
    """The training of a cell, named by all that tells it apart from others on its data set and seed.

    >>> from transformer_spectrum.config.load import load_params
    >>> from transformer_spectrum.study.protocol.cells import planned_cells
    >>> from transformer_spectrum.study.protocol.model import EXAMPLE, parse_protocol
    >>> tuning = {"rates": {"adam-mse": 0.001}, "targets": {}, "margins": {}}
    >>> protocol, params = parse_protocol({**EXAMPLE, "tuning": tuning}), load_params("params.yaml")
    >>> training_of(protocol, planned_cells(protocol, ["controls"], params)[1]).place
    'light/adam-mse-decay-0.001/adam/seed_1'
    """
    arm = cell.arm
    treatment = [] if arm.treatment == UNTREATED else [arm.treatment]
    name = "-".join([arm.optimizer, arm.loss, *treatment, f"{rate_of(protocol, arm):g}"])
    return Cell("study", cell.dataset, name, protocol.optimizers[arm.optimizer].trained_by, cell.seed, cell.params)


def distinct(protocol: Protocol, cells: Iterable[PlannedCell]) -> list[Cell]:
    """The trainings of cells, each once, in order.

    Raises:
        InputError: two of one name differ in their parameters.

    >>> from transformer_spectrum.config.load import load_params
    >>> from transformer_spectrum.study.protocol.cells import planned_cells
    >>> from transformer_spectrum.study.protocol.model import EXAMPLE, parse_protocol
    >>> tuning = {"rates": {"adam-mse": 0.001}, "targets": {}, "margins": {}}
    >>> protocol, params = parse_protocol({**EXAMPLE, "tuning": tuning}), load_params("params.yaml")
    >>> cells = planned_cells(protocol, ["controls"], params)
    >>> len(distinct(protocol, [*cells, *cells])) == len(cells)
    True
    """
    trainings: dict[str, Cell] = {}
    for cell in cells:
        training = training_of(protocol, cell)
        if trainings.setdefault(training.place, training).params != training.params:
            raise InputError(f"{training.place}: two cells of this name have other parameters; rates differ too little")
    return list(trainings.values())


def run_cells(
    protocol: Protocol, sha256: str, cells: Sequence[PlannedCell], folder: Path, place: ComputePlace
) -> tuple[pd.DataFrame, pd.DataFrame, Mapping[str, Path]]:
    """Runs the trainings that are missing, in ensembles, and gathers those of all cells.

    Args:
        protocol: whose cells they are.
        sha256: that results bear which are made now; one that was asked for before keeps its own.
        cells: to be run.
        folder: the store.
        place: where to compute.
    Returns:
        CELLS, a row a cell; `endpoint_paths.PATH_COLUMNS` behind `training`, a row a record of every training; and the
        file of every training's history.
    Raises:
        InputError: a training has failed, or its data are not to be had; what is done is kept.
        Interrupted: a signal has ended it; what is done is kept.
    """
    from transformer_spectrum.study.running.execution import execute  # the judge needs no Dask

    trainings, store = distinct(protocol, cells), Store(folder)
    store.check(force=False)
    with Interruption(), store.locked(shared=False):
        store.claim()
        store.sweep_out()
        asked_under = _asked(folder / LEDGER, trainings, sha256)
        failures = execute("study", trainings, store, place, measure=measure_path)
        if failures:
            name, reason = next(iter(failures.items()))
            raise InputError(f"{len(failures)} of {len(trainings)} trainings are not done, {name} among them: {reason}")
        outcomes = {training.place: read_record(store.training(training))["outcome"] for training in trainings}
        histories = {training.place: store.training(training) / "history.npz" for training in trainings}
        paths = pd.concat([_path(store, training) for training in trainings], ignore_index=True)
    rows = [_row(protocol, cell, outcomes, asked_under) for cell in cells]
    return pd.DataFrame(rows, columns=list(CELLS)), paths, histories


def _asked(path: Path, trainings: Sequence[Cell], sha256: str) -> dict[str, str]:
    """Training -> sha256 of the protocol under which it was first asked for with these parameters and this code.

    It is written before anything runs, so that no training is ever taken for one of a later protocol.
    """
    ledger: dict[str, Any] = read_json(path) if path.exists() else {}
    for training in trainings:
        request = training_request(training, windows_request(training.params, {}))
        digest = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
        if ledger.get(training.place, {}).get("request") != digest:
            ledger[training.place] = {"request": digest, "protocol": sha256}
    write_json(path, ledger)
    return {training.place: ledger[training.place]["protocol"] for training in trainings}


def _path(store: Store, training: Cell) -> pd.DataFrame:
    table = pd.read_csv(store.spectra(training) / PATHS)
    table.insert(0, "training", training.place)
    numbers = {name: "float64" for name in table.columns if name not in ("training", "updates", "evaluations")}
    return table.astype(numbers)


def _row(
    protocol: Protocol, cell: PlannedCell, outcomes: Mapping[str, Mapping[str, Any]], asked_under: Mapping[str, str]
) -> tuple[Any, ...]:
    arm, training = cell.arm, training_of(protocol, cell)
    outcome = outcomes[training.place]
    cosine = outcome["influence_cosine"]
    return (
        cell.block,
        cell.dataset,
        arm.name,
        cell.seed,
        arm.optimizer,
        arm.loss,
        arm.treatment,
        rate_of(protocol, arm),
        training.place,
        "gradient" if training.optimizer == "adam" else "population",
        "diverged" if outcome["diverged"] else "done",
        np.nan if outcome["diverged"] else outcome["best_validation_mae"],
        np.nan if cosine is None else cosine,
        outcome["steps"],
        outcome["evaluations"],
        outcome["stop_reason"],
        asked_under[training.place],
    )
