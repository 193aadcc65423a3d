"""One training outside DVC: what the stages do, from a data set to figures, into a folder of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import logging
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformer_spectrum.config.load import Params, load_params
from transformer_spectrum.config.resolve import Settings
from transformer_spectrum.data.prepare import prepare
from transformer_spectrum.data.synthesis.drawing import draw_synthetic
from transformer_spectrum.models.forecaster import Layout
from transformer_spectrum.report.figures.caption import caption_of
from transformer_spectrum.report.pictures.outputs import write_outputs
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.files import read_json, sha256, write_json, write_text
from transformer_spectrum.runtime.log import work_begins
from transformer_spectrum.runtime.provenance import is_standin, versions
from transformer_spectrum.tracking.mlflow_spectra import attach_spectra
from transformer_spectrum.tracking.mlflow_store import mlflow_address
from transformer_spectrum.training import build
from transformer_spectrum.training.footprint import check_it_fits
from transformer_spectrum.training.loop import CannotBegin
from transformer_spectrum.training.records.run_folder import RunFolder, new_run
from transformer_spectrum.training.setup import read_windows
from transformer_spectrum.training.train import Job, train
from transformer_spectrum.vocabulary import command_of

logger = logging.getLogger(__name__)

RAW = Path("data/raw")


def begin(settings: Settings, optimizer: str, *, name: str, root: Path) -> RunFolder:
    """Makes the folder of a new run and prepares its windows.

    Args:
        settings: all parameters, and where they came from.
        optimizer: adam, es or ga.
        name: of the run.
        root: folder of all runs.
    Raises:
        InputError: bad data, a bad name, windows that do not fit, or a training that cannot start; no folder is left
            then.
    """

    def fill(folder: RunFolder) -> None:
        prepare_windows(settings, folder.data, folder.description)
        _check_startable(settings.params, optimizer, folder.data / "windows.npz")
        write_text(folder.params, settings.text())
        record = {
            "name": name,
            "optimizer": optimizer,
            "dataset": settings.data or settings.params.data.dataset,
            "began": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "ended": None,
            "versions": versions(),
            "windows": sha256(folder.data / "windows.npz"),
        }
        write_json(folder.record, record)

    return new_run(root, name, fill)


def _check_startable(params: Params, optimizer: str, windows: Path) -> None:
    """Meets, before a run is begun, what a training would be refused for before its first step.

    Args:
        params: all parameters.
        optimizer: adam, es or ga.
        windows: the file that `prepare_windows` has written.
    Raises:
        InputError: the device is not there, the loss has no value in float64, the training would not fit in memory, or
            MLflow knows no such address.
    """
    build.device(params.device)
    try:
        build.loss(params)
    except ValueError as error:
        raise InputError(f"loss.type = {params.loss.type}: {error}") from None
    if params.tracking.mlflow is not None:
        mlflow_address(params.tracking.mlflow)
    check_it_fits(params, optimizer, windows)
    features = read_windows(windows)["train"].context.shape[-1]
    build.searcher(params, optimizer, Layout(build.model(params, features)))


def prepare_windows(settings: Settings, processed: Path, description: Path) -> None:
    """What the stages up to `prepare` do, without touching what they have written.

    Args:
        settings: all parameters.
        processed: folder that gets windows.npz and provenance.json.
        description: JSON that gets the data's description.
    Raises:
        InputError: bad or missing data, or windows that do not fit.

    >>> from transformer_spectrum.config.resolve import Asked, resolve
    >>> settings = resolve(Asked({"data.dataset": ("covid", "--dataset")}))
    >>> prepare_windows(settings, Path("processed"), Path("data.json"))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    transformer_spectrum.runtime.errors.InputError: data/raw/covid: no such folder; run ...
    """
    params, dataset = settings.params, settings.params.data.dataset
    if settings.data is not None:
        prepare(params, raw=Path(settings.data), processed=processed, metrics=description)
    elif dataset == "synthetic":  # drawn anew, because what the pipeline has drawn may be of other parameters
        with tempfile.TemporaryDirectory() as scratch:
            raw = Path(scratch) / "synthetic"
            draw_synthetic(params, raw)
            prepare(params, raw=raw, processed=processed, metrics=description)
    else:
        raw = _raw_folder(dataset)
        if not raw.is_dir():
            how = {"covid": "download-covid", "file": "train --dataset FILE"}.get(dataset, "download-rvr")
            raise InputError(f"{raw}: no such folder; run transformer-spectrum {how} first")
        prepare(params, raw=raw, processed=processed, metrics=description)


def _raw_folder(dataset: str) -> Path:
    """Where the raw series lie: the stage's folder, or that of `download-rvr`, whose one download has both columns.

    Of the two, real data go before a stand-in.
    """
    raw, downloaded = RAW / dataset, RAW / "rvr"
    if not dataset.startswith("rvr_") or not downloaded.is_dir():
        return raw
    return downloaded if not raw.is_dir() or (is_standin(raw) and not is_standin(downloaded)) else raw


def carry_out(folder: RunFolder) -> None:
    """Does what is still to do of a run: trains, writes tables and figures, sends them to MLflow where one is named.

    Whatever ends it, and wherever, calling it again goes on; the last step says in run.json that all is done.

    Raises:
        InputError: the folder is not of a run, its files are damaged, or another process is at work in it.
        CannotBegin: the loss has no value for the initial weights; no folder is left then.
        SystemExit: a signal has ended the training, 128 + its number; `folder.resume` keeps what has been reached.
        KeyboardInterrupt: the figures are not drawn yet.
    """
    record = folder.read()
    work_begins()
    with folder.at_work():
        try:
            trained = _train(folder, record)
            _draw(folder, record, anew=trained)
        except CannotBegin:
            shutil.rmtree(folder.path, ignore_errors=True)
            with contextlib.suppress(OSError):  # of other runs of this name
                folder.path.parent.rmdir()
            raise
        except SystemExit as ended:
            if isinstance(ended.code, int) and ended.code > 128:
                _say_how_it_goes_on(folder, record["optimizer"])
            raise
        except KeyboardInterrupt:
            _say_how_it_goes_on(folder, record["optimizer"])
            raise
        folder.end()


def _train(folder: RunFolder, record: Mapping[str, Any]) -> bool:
    """Trains, or goes on training, unless that is done; whether anything was to do."""
    if folder.is_trained:
        shutil.rmtree(folder.resume, ignore_errors=True)  # of a process that was killed while it removed that
        return False
    windows, expected = folder.data / "windows.npz", record.get("windows")
    if expected is not None and windows.is_file() and sha256(windows) != expected:
        raise InputError(f"{windows}: not the windows that the run began with, so nothing can go on; begin another run")
    job = Job(
        load_params(folder.params),
        record["optimizer"],
        data=windows,
        models=folder.model,
        metrics=folder.metrics,
        provenance=folder.data / "provenance.json",
        resume=folder.resume,
        name=record["name"],
    )
    check_it_fits(job.params, job.optimizer, job.data)
    train(job)
    return True


def _draw(folder: RunFolder, record: Mapping[str, Any], *, anew: bool) -> None:
    """Tables and figures, unless they are there, and MLflow's copy of the figures."""
    params, optimizer = load_params(folder.params), record["optimizer"]
    if anew or not folder.figures.is_dir():
        caption = caption_of(params, bool(read_json(folder.data / "provenance.json")["standin"]))
        caption = dataclasses.replace(caption, dataset=Path(record["dataset"]).name)
        write_outputs(params, {optimizer: folder.model}, caption, plots=folder.figures, metrics=folder.spectra)
    if params.tracking.mlflow is not None:
        undelivered = attach_spectra(
            params.tracking.mlflow,
            {optimizer: folder.model},
            folder.figures,
            folder.spectra,
            logger.info,
        )
        path = folder.metrics / "scores.json"
        scores = {name: value for name, value in read_json(path).items() if name != "mlflow_spectra"}
        lacking = {"mlflow_spectra": f"not all was sent: {undelivered}"} if undelivered else {}
        write_json(path, {**scores, **lacking})


def _say_how_it_goes_on(folder: RunFolder, optimizer: str) -> None:
    logger.info(f"go on with: transformer-spectrum {command_of(optimizer)} --resume {folder.path}")
