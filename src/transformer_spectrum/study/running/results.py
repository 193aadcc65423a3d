"""What a study's folder holds of a cell: whether it is there and what was asked for, and how it gets there."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from transformer_spectrum.data.fetch.exports import fetch_covid, fetch_rvr
from transformer_spectrum.data.fetch.sources import MIRROR_VARIABLE
from transformer_spectrum.optimizers.contract import StopCause
from transformer_spectrum.runtime import provenance
from transformer_spectrum.runtime.files import atomic_folder, read_json
from transformer_spectrum.study.running.files import Files, read_files, write_files
from transformer_spectrum.study.running.grid import Cell
from transformer_spectrum.study.running.request import (
    Request,
    raw_request,
    spectra_request,
    training_request,
    windows_request,
)
from transformer_spectrum.study.running.store import RECORD, Store, fault, own_names, read_record, write_record
from transformer_spectrum.study.running.work import RAW, SCALARS_FILES, TRAINING_FILES, WINDOWS_FILES
from transformer_spectrum.tracking.folders import SCORES_FILE
from transformer_spectrum.training.records.history import History

logger = logging.getLogger(__name__)


def raw_fault(store: Store, cell: Cell) -> str:
    """Why raw series have to be fetched; empty when they need not be.

    >>> from transformer_spectrum.config.load import load_params
    >>> cell = Cell("synthetic", "narrow", "mse", "adam", 1, load_params("params.yaml"))
    >>> cell.params.data.dataset, raw_fault(Store("study"), cell)  # drawn with the windows
    ('synthetic', '')
    """
    params = cell.params
    if params.data.dataset == "synthetic":
        return ""
    why = fault(store.raw(cell), raw_request(params))
    if not why and (os.environ.get(MIRROR_VARIABLE) or params.data.mirror):
        return "a stand-in, though a mirror is named now" if is_standin(store, cell) else ""
    return why


def is_standin(store: Store, cell: Cell) -> bool:
    """Whether the raw series that were fetched for the cell are simulated in the place of real ones.

    >>> from transformer_spectrum.config.load import load_params
    >>> cell = Cell("synthetic", "narrow", "mse", "adam", 1, load_params("params.yaml"))
    >>> (folder := Store("standins").raw(cell) / RAW).mkdir(parents=True)
    >>> _ = (folder / "provenance.json").write_text('{"standin": true}')
    >>> is_standin(Store("standins"), cell)
    True
    """
    return provenance.is_standin(store.raw(cell) / RAW)


def fetch(store: Store, cell: Cell) -> None:
    """Fetches the raw series of the cell's data set; keeps real ones that are there when no source is within reach."""
    earlier = [store.raw(cell) / RAW]
    with atomic_folder(store.raw(cell), own_names(store.raw(cell))) as folder:
        if cell.params.data.dataset == "covid":
            fetch_covid(cell.params, folder / RAW, earlier)
        else:
            fetch_rvr(cell.params, [folder / RAW], earlier)
        write_record(folder, raw_request(cell.params), {})


def raw_series(store: Store, cell: Cell) -> Files:
    """The raw series that the cell's windows are made from; none where they are drawn."""
    return {} if cell.params.data.dataset == "synthetic" else read_files(store.raw(cell) / RAW)


def asked_windows(store: Store, cell: Cell) -> Request:
    """What the cell's windows are made from; its raw series must be there.

    >>> from transformer_spectrum.config.load import load_params
    >>> cell = Cell("synthetic", "narrow", "mse", "adam", 1, load_params("params.yaml"))
    >>> list(asked_windows(Store("study"), cell))
    ['seed', 'data', 'raw', 'code']
    """
    synthetic = cell.params.data.dataset == "synthetic"
    return windows_request(cell.params, {} if synthetic else read_record(store.raw(cell))["files"])


def put_windows(store: Store, cell: Cell, files: Files) -> None:
    """Writes windows into the study's folder, with the record of what they are made from."""
    _put(store.windows(cell), files, asked_windows(store, cell))


def asked_training(store: Store, cell: Cell) -> Request:
    """What the cell's training is made from; its windows must be there.

    >>> from transformer_spectrum.config.load import load_params
    >>> cell, store = Cell("synthetic", "narrow", "mse", "adam", 1, load_params("params.yaml")), Store("training")
    >>> (store.windows(cell) / "windows").mkdir(parents=True)
    >>> for name in WINDOWS_FILES:
    ...     (store.windows(cell) / name).touch()
    >>> write_record(store.windows(cell), {}, {})
    >>> list(asked_training(store, cell)["windows"])
    ['windows/windows.npz', 'windows/provenance.json']
    """
    files = read_record(store.windows(cell))["files"]
    return training_request(cell, {name: files[name] for name in WINDOWS_FILES})


def put_training(store: Store, cell: Cell, files: Files, request: Request) -> None:
    """Writes what is kept of a training into the study's folder, with the record of what it is made from."""
    with atomic_folder(store.training(cell), own_names(store.training(cell))) as folder:
        write_files(folder, files)
        write_record(folder, request, outcome(folder))
    shutil.rmtree(store.resume(cell), ignore_errors=True)  # of a worker that was lost as it ended


def asked_spectra(store: Store, cell: Cell) -> Request:
    """What the cell's spectra are measured on; its training must be there."""
    return spectra_request(cell, read_record(store.training(cell))["files"])


def put_spectra(store: Store, cell: Cell, files: Files) -> None:
    """Writes a training's spectra into the study's folder, with the record of what they are measured on."""
    _put(store.spectra(cell), files, asked_spectra(store, cell))


def _put(path: Path, files: Files, request: Request) -> None:
    with atomic_folder(path, own_names(path)) as folder:
        write_files(folder, files)
        write_record(folder, request, {})


def is_standin_training(store: Store, cell: Cell) -> bool:
    """Whether the cell's training, which must be there, saw simulated series in the place of real ones."""
    return bool(read_record(store.training(cell))["outcome"]["standin"])


def is_done(store: Store, cell: Cell, request: Request) -> bool:
    """Whether training and spectra are there, whole, and what was asked for.

    >>> from transformer_spectrum.config.load import load_params
    >>> cell = Cell("synthetic", "narrow", "mse", "adam", 1, load_params("params.yaml"))
    >>> is_done(Store("nowhere"), cell, {})
    False
    """
    return not training_fault(store, cell, request) and not fault(store.spectra(cell), asked_spectra(store, cell))


def windows_fault(store: Store, cell: Cell, request: Request) -> str:
    """Why the cell's windows are not there, one sentence; empty when they are.

    >>> from transformer_spectrum.config.load import load_params
    >>> windows_fault(Store("nowhere"), Cell("synthetic", "a", "mse", "adam", 1, load_params("params.yaml")), {})
    'missing'
    """
    return fault(store.windows(cell), request, WINDOWS_FILES)


def training_fault(store: Store, cell: Cell, request: Request) -> str:
    """Why the cell's training is not there, one sentence; empty when it is, and its record says what came of it.

    >>> from transformer_spectrum.config.load import load_params
    >>> training_fault(Store("nowhere"), Cell("synthetic", "a", "mse", "adam", 1, load_params("params.yaml")), {})
    'missing'
    """
    folder = store.training(cell)
    why = fault(folder, request, (*TRAINING_FILES, *SCALARS_FILES))
    if why or read_record(folder)["outcome"] == outcome(folder):
        return why
    return f"{folder / RECORD} is damaged"


def outcome(folder: Path) -> dict[str, Any]:
    """What came of the training in that folder, in short; see `table.CELLS`."""
    scores = read_json(folder / SCORES_FILE)
    history = History.load(folder / "history.npz", folder / "seconds.tsv")
    assert history.seconds is not None  # it was asked for
    start, best = (int(np.flatnonzero(history.steps == step)[0]) for step in (0, history.best_step))
    return {
        "steps": int(history.steps[-1]),
        "evaluations": int(history.evaluations[-1]),
        "seconds": round(float(history.seconds[-1]), 3),
        "best_step": int(history.best_step),
        "initial_validation_loss": float(history.validation_loss[start]),
        "best_validation_loss": float(history.validation_loss[best]),
        "initial_validation_mae": float(history.validation_mae[start]),
        "best_validation_mae": float(history.validation_mae[best]),
        "influence_cosine": _finite(history.influence_cosine[best]),
        "residual_mad": _finite(history.residual_mad[best]),
        "teacher_forced_mae": scores["teacher_forced"].get("mae"),
        "free_running_mae": scores["free_running"].get("mae"),
        "standin": bool(scores["standin_data"]),
        "stop_cause": scores["stop_cause"],
        "stop_reason": scores["stop_reason"],
        "diverged": scores["stop_cause"] == StopCause.DIVERGED,
    }


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def say_standins(study: str, datasets: Collection[str]) -> None:
    """Warns of data sets in whose place simulations stand.

    Args:
        study: its name.
        datasets: names; may be none.

    >>> say_standins("synthetic", [])
    """
    if datasets:
        words = "a STAND-IN, simulated, not data; name a mirror or run it again when upstream is within reach"
        logger.warning(f"sweep {study}: {', '.join(sorted(datasets))}: {words}")
