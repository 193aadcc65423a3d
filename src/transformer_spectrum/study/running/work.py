"""What a worker does, one piece of work each: windows, trainings, spectra.

Names and bytes of files go in and come out; in between lies a temporary folder of the worker's own. So a worker needs
no file system in common with whoever asks, who alone writes into the study's folder (`results`).
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from transformer_spectrum.analysis.comparison.recorded import METHODS
from transformer_spectrum.data.prepare import prepare
from transformer_spectrum.data.synthesis.drawing import draw_synthetic
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.files import write_csv
from transformer_spectrum.study.endpoint_paths import PATH_COLUMNS, endpoint_path, path_rows
from transformer_spectrum.study.running.files import Files, read_files, scratch, write_files
from transformer_spectrum.study.running.grid import Cell
from transformer_spectrum.study.running.spectra_rows import (
    COLUMNS,
    FAMILY_COLUMNS,
    family_rows,
    matrix_rows,
    summary_of,
    thin_snapshots,
)
from transformer_spectrum.tracking.folders import SCORES_FILE
from transformer_spectrum.training.footprint import check_it_fits
from transformer_spectrum.training.records.history import History
from transformer_spectrum.training.records.snapshots import Snapshots
from transformer_spectrum.training.train import Job, train_all

RAW, WINDOWS, MATRICES, FAMILIES, PATHS = "raw", "windows", "matrices.csv", "families.csv", "paths.csv"
WINDOWS_FILES = ("windows/windows.npz", "windows/provenance.json")
"""Of the windows' folder, what a training reads."""
TRAINING_FILES = ("best.safetensors", "last.safetensors", "snapshots.safetensors", "history.npz", "run.json")
"""What is kept of a training's models folder."""
SCALARS_FILES = (SCORES_FILE, "seconds.tsv")
"""And of DVCLive's."""


def make_windows(cell: Cell, raw: Files) -> Files:
    """Prepares the windows of the cell's data set and seed; draws the series, where they are synthetic.

    Args:
        cell: one of those that share the windows.
        raw: see `raw_series`.

    >>> from transformer_spectrum.config.load import parse_params, read_tree
    >>> content = read_tree("params.yaml")
    >>> content["data"]["synthetic"] |= {"series": 20}
    >>> cell = Cell("synthetic", "narrow", "mse", "adam", 1, parse_params(content))
    >>> sorted(make_windows(cell, {}))
    ['description.json', 'windows/provenance.json', 'windows/windows.npz']
    """
    with tempfile.TemporaryDirectory(dir=scratch()) as name:
        folder = Path(name)
        if cell.params.data.dataset == "synthetic":
            draw_synthetic(cell.params, folder / RAW)
        else:
            write_files(folder / RAW, raw)
        prepare(cell.params, folder / RAW, folder / WINDOWS, folder / "description.json")
        shutil.rmtree(folder / RAW)  # the same seed draws it again
        return read_files(folder)


def train_cells(
    cells: Sequence[Cell], resume: Sequence[Path | None], chosen: Sequence[int], *windows: Files
) -> list[Files | str]:
    """Trains cells as one ensemble.

    Args:
        cells: at least one; members of one group, see `ensembles`.
        resume: folder of each cell's resume files; None where these need not outlive this process.
        chosen: of each cell, which of the windows it trains on.
        windows: `WINDOWS_FILES` of each data set and seed.
    Returns:
        Of each cell what is kept of its training, or the reason why it has failed.
    """
    with tempfile.TemporaryDirectory(dir=scratch()) as name:
        jobs = []
        for position, files in enumerate(windows):
            write_files(Path(name) / f"windows_{position}", files)
        for number, (cell, lasting, position) in enumerate(zip(cells, resume, chosen, strict=True)):
            folder, data = Path(name) / str(number), Path(name) / f"windows_{position}" / WINDOWS
            folder.mkdir()
            jobs.append(
                Job(
                    cell.params,
                    cell.optimizer,
                    data=data / "windows.npz",
                    models=folder / "models",
                    metrics=folder / "metrics",
                    provenance=data / "provenance.json",
                    resume=lasting or folder / "resume",
                    name=cell.name,
                )
            )
        reasons = [_refusal(job) for job in jobs]
        fitting = [number for number, reason in enumerate(reasons) if not reason]
        for number, reason in zip(fitting, train_all([jobs[number] for number in fitting]), strict=True):
            reasons[number] = reason
        return [reason or _results(cell, job) for cell, job, reason in zip(cells, jobs, reasons, strict=True)]


def _refusal(job: Job) -> str:
    """Why it cannot fit into the memory; empty where it does."""
    try:
        check_it_fits(job.params, job.optimizer, job.data)
    except InputError as error:
        return str(error)
    return ""


def _results(cell: Cell, job: Job) -> Files:
    folder = job.models.with_name("results")
    folder.mkdir()
    keep(cell, job.models, job.metrics, folder)
    return read_files(folder)


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


def measure(cell: Cell, standin: bool, training: Files) -> Files:
    """Measures the spectra of a training of a sweep: MATRICES and FAMILIES.

    Args:
        cell: whose training.
        standin: whether it was trained on simulated series in the place of real ones.
        training: what is kept of it.
    """
    with tempfile.TemporaryDirectory(dir=scratch()) as name:
        folder = Path(name)
        write_files(folder / "training", training)
        summary, tables = summary_of(cell, folder / "training"), folder / "tables"
        write_csv(tables / MATRICES, COLUMNS, matrix_rows(cell, summary, standin=standin))
        write_csv(tables / FAMILIES, FAMILY_COLUMNS, family_rows(cell, summary, standin=standin))
        return read_files(tables)


def measure_path(cell: Cell, standin: bool, training: Files) -> Files:
    """Measures the endpoints of a training of a protocol: PATHS.

    Args: of `measure`.
    """
    with tempfile.TemporaryDirectory(dir=scratch()) as name:
        folder = Path(name)
        write_files(folder / "training", training)
        path = endpoint_path(
            History.load(folder / "training" / "history.npz"),
            Snapshots.load(folder / "training" / "snapshots.safetensors"),
            cell.params.spectra,
            optimizer=cell.optimizer,
            heads=cell.params.model.heads,
            name=cell.loss,
            method=METHODS[cell.optimizer],
            dataset=cell.dataset,
            seed=cell.seed,
        )
        write_csv(folder / "tables" / PATHS, PATH_COLUMNS, path_rows(path))
        return read_files(folder / "tables")
