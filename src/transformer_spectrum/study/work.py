"""What the processes of a study do, one piece of work each: raw series, windows, a training with its spectra."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from transformer_spectrum.data.fetch.exports import fetch_covid, fetch_rvr
from transformer_spectrum.data.fetch.sources import MIRROR_VARIABLE
from transformer_spectrum.data.prepare import prepare
from transformer_spectrum.data.synthesis.drawing import draw_synthetic
from transformer_spectrum.optimizers.contract import StopCause
from transformer_spectrum.runtime import provenance
from transformer_spectrum.runtime.files import atomic_folder, read_json, write_csv
from transformer_spectrum.study.grid import Cell
from transformer_spectrum.study.request import Request, raw_request, spectra_request, training_request, windows_request
from transformer_spectrum.study.spectra_rows import (
    COLUMNS,
    FAMILY_COLUMNS,
    family_rows,
    matrix_rows,
    summary_of,
    thin_snapshots,
)
from transformer_spectrum.study.store import Store, fault, own_names, read_record, write_record
from transformer_spectrum.tracking.folders import SCORES_FILE
from transformer_spectrum.training.records.history import History
from transformer_spectrum.training.train import Job, train

RAW, WINDOWS, MATRICES, FAMILIES = "raw", "windows", "matrices.csv", "families.csv"
WINDOWS_FILES = ("windows/windows.npz", "windows/provenance.json")
"""Of the windows' folder, what a training reads."""
TRAINING_FILES = ("best.safetensors", "last.safetensors", "snapshots.safetensors", "history.npz", "run.json")
"""What is kept of a training's models folder."""


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


def asked_windows(store: Store, cell: Cell) -> Request:
    """What the cell's windows are made from; its raw series must be there.

    >>> from transformer_spectrum.config.load import load_params
    >>> cell = Cell("synthetic", "narrow", "mse", "adam", 1, load_params("params.yaml"))
    >>> list(asked_windows(Store("study"), cell))
    ['seed', 'data', 'raw', 'code']
    """
    synthetic = cell.params.data.dataset == "synthetic"
    return windows_request(cell.params, {} if synthetic else read_record(store.raw(cell))["files"])


def make_windows(store: Store, cell: Cell) -> None:
    """Prepares the windows of the cell's data set and seed; draws the series, where they are synthetic.

    >>> from transformer_spectrum.config.load import parse_params, read_tree
    >>> content = read_tree("params.yaml")
    >>> content["data"]["synthetic"] |= {"series": 20}
    >>> cell = Cell("synthetic", "narrow", "mse", "adam", 1, parse_params(content))
    >>> make_windows(store := Store("small"), cell)
    >>> sorted(read_record(store.windows(cell))["files"])
    ['description.json', 'windows/provenance.json', 'windows/windows.npz']
    """
    with atomic_folder(store.windows(cell), own_names(store.windows(cell))) as folder:
        if cell.params.data.dataset == "synthetic":
            raw = folder / RAW
            draw_synthetic(cell.params, raw)
        else:
            raw = store.raw(cell) / RAW
        prepare(cell.params, raw, folder / WINDOWS, folder / "description.json")
        shutil.rmtree(folder / RAW, ignore_errors=True)  # the same seed draws it again
        write_record(folder, asked_windows(store, cell), {})


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


def is_done(store: Store, cell: Cell, request: Request) -> bool:
    """Whether training and spectra are there, whole, and what was asked for.

    >>> from transformer_spectrum.config.load import load_params
    >>> cell = Cell("synthetic", "narrow", "mse", "adam", 1, load_params("params.yaml"))
    >>> is_done(Store("nowhere"), cell, {})
    False
    """
    training = store.training(cell)
    if fault(training, request):
        return False
    return not fault(store.spectra(cell), spectra_request(cell, read_record(training)["files"]))


def complete(store: Store, cell: Cell, request: Request) -> None:
    """Trains, unless that is done, and measures the spectra, unless that is done.

    Args:
        store: the study's folder.
        cell: the training.
        request: what it is made from.
    """
    if fault(store.training(cell), request):
        _train(store, cell, request)
    _measure(store, cell)


def _measure(store: Store, cell: Cell) -> None:
    """Measures the spectra of a training that is done, unless they are."""
    record = read_record(store.training(cell))
    asked = spectra_request(cell, record["files"])
    if fault(store.spectra(cell), asked):
        with atomic_folder(store.spectra(cell), own_names(store.spectra(cell))) as folder:
            summary, standin = summary_of(cell, store.training(cell)), record["outcome"]["standin"]
            write_csv(folder / MATRICES, COLUMNS, matrix_rows(cell, summary, standin=standin))
            write_csv(folder / FAMILIES, FAMILY_COLUMNS, family_rows(cell, summary, standin=standin))
            write_record(folder, asked, {})


def _train(store: Store, cell: Cell, request: Request) -> None:
    windows = store.windows(cell) / WINDOWS
    with atomic_folder(store.training(cell), own_names(store.training(cell))) as folder:
        models, live = folder / "models", folder / "metrics"
        train(
            Job(
                cell.params,
                cell.optimizer,
                data=windows / "windows.npz",
                models=models,
                metrics=live,
                provenance=windows / "provenance.json",
                resume=store.resume(cell),
                name=cell.name,
            )
        )
        keep(cell, models, live, folder)
        for scratch in (models, live):
            shutil.rmtree(scratch)
        write_record(folder, request, outcome(folder))


def keep(cell: Cell, models: Path, live: Path, folder: Path) -> None:
    """Moves into `folder` what a study keeps of a training's outputs.

    Args:
        cell: whose training.
        models: the folder of weights and history.
        live: DVCLive's folder.
        folder: where to.
    """
    thin_snapshots(models / "snapshots.safetensors", History.load(models / "history.npz"), cell.params.spectra)
    for name in TRAINING_FILES:
        (models / name).replace(folder / name)
    (live / SCORES_FILE).replace(folder / SCORES_FILE)
    (live / "plots" / "metrics" / "seconds.tsv").replace(folder / "seconds.tsv")


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
