"""One training from its inputs to its outputs: windows in; weights, history, scores out.

Read on in this order: `setup` makes model and losses, `loop` trains, `artifacts` scores and writes what came of it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from transformer_spectrum.config.load import Params
from transformer_spectrum.runtime.files import read_json
from transformer_spectrum.runtime.interruption import Interrupted, Interruption
from transformer_spectrum.runtime.progress import Progress
from transformer_spectrum.spectra.metrics import spectral_entropy, stable_rank
from transformer_spectrum.tracking.mlflow_run import Tracking
from transformer_spectrum.tracking.recorder import Recorder
from transformer_spectrum.training import build
from transformer_spectrum.training.artifacts import write_results
from transformer_spectrum.training.fingerprint import fingerprint
from transformer_spectrum.training.loop import Fit
from transformer_spectrum.training.recording import Budget
from transformer_spectrum.training.resume import ResumeFiles
from transformer_spectrum.training.setup import Setup, make_deterministic, read_windows
from transformer_spectrum.training.state import StepRecord
from transformer_spectrum.vocabulary import colour_of
from transformer_spectrum.weights.matrices.moving import positions_watched

logger = logging.getLogger(__name__)


def train(
    params: Params,
    optimizer: str,
    data: Path,
    models: Path,
    metrics: Path,
    provenance: Path,
    resume: Path,
    name: str | None = None,
) -> None:
    """Trains by one optimizer and writes what came of it; goes on where an earlier process was stopped.

    SIGINT and SIGTERM end it after the step that is being computed, a second one at once; what has been reached is
    kept in `resume`, and `models` and `metrics` stay as they were.

    Args:
        params: all parameters.
        optimizer: adam, es or ga.
        data: the windows that the prepare stage has written.
        models: folder for best.safetensors, last.safetensors, snapshots.safetensors (every matrix at step 0, at the
            records inside the first epoch, every training.snapshot_every and at the last), best_candidate.safetensors
            where the optimizer has candidates, history.npz, forecasts.npz and run.json; replaced as a whole at the
            end.
        metrics: DVCLive's folder with scores.json; wall seconds (a curve) and the steps at which the training was
            resumed (in scores.json) are kept only here, so that everything in `models` depends on nothing but the
            parameters and the machine.
        provenance: JSON of the data's provenance.
        resume: folder for the resume files; removed at the end.
        name: of its run in MLflow; None = one made of optimizer, loss, data set and seed.
    Raises:
        InputError: an input is missing or corrupt, or the device is not there.
        SystemExit: a signal has ended it; 128 + its number.
    """
    splits, origin = read_windows(data), read_json(provenance)
    make_deterministic(params, optimizer)
    setup = Setup.of(params, splits)
    identity = fingerprint(params, optimizer, data, build.device(params.device))
    resume_files = ResumeFiles(resume, identity, lambda line: _say(optimizer, line))
    interruption, mlflow = Interruption(), _mlflow(params, optimizer, origin, identity, resume, name)
    try:
        with interruption, Recorder(metrics, mlflow, models) as recorder:
            with interruption.deferred():
                result = _fit(params, optimizer, setup, recorder, resume_files, interruption)
            write_results(params, optimizer, setup.forecaster, splits["test"], result, origin, recorder, models)
    except Interrupted as signal:
        reached = "before its first step was kept" if resume_files.saved is None else f"at step {resume_files.saved}"
        _say(optimizer, f"interrupted {reached}; run again to go on")
        raise SystemExit(128 + signal.number) from None
    resume_files.remove()
    _say(optimizer, f"{result.stop_reason}; best step {result.history.best_step}")


def _fit(
    params: Params,
    optimizer: str,
    setup: Setup,
    recorder: Recorder,
    resume_files: ResumeFiles,
    interruption: Interruption,
) -> Fit:
    moving = positions_watched(setup.matrices)
    search = build.searcher(params, optimizer, setup.layout)
    with Progress(f"train {optimizer}", search.rounds) as progress:

        def observe(record: StepRecord) -> None:
            rank, entropy = (
                float(np.mean(metric(record.singular_values[moving]))) for metric in (stable_rank, spectral_entropy)
            )
            values = {"rounds": record.rounds, "evaluations": record.evaluations, "seconds": record.seconds}
            values |= {"train_loss": record.loss, "validation_loss": record.validation.loss}
            values |= {"validation_mae": record.validation.mae, "residual_mad": record.validation.residual_mad}
            values |= {"influence_cosine": record.validation.influence_cosine, "distance": record.distance}
            spectra = {"spectral_entropy": entropy, "stable_rank": rank}
            if record.step > 0:
                spectra["change_stable_rank"] = float(np.nanmean(stable_rank(record.change_singular_values[moving])))
            recorder.step(record.step, {**values, **record.scalars, **spectra})
            if resume_files.saved is not None and record.step <= resume_files.saved:
                progress.resume(record.rounds)
            elif record.step == 0 or record.rounds > 0:  # counts epochs or generations
                progress.update(record.rounds, loss=record.loss, mae=record.validation.mae, stable_rank=rank)

        return setup.fit(
            optimizer,
            search,
            recording=build.recording(params, search),
            budget=Budget(params.budget.evaluations, params.budget.seconds),
            observe=observe,
            resume_files=resume_files,
            interruption=interruption,
        )


def _mlflow(
    params: Params,
    optimizer: str,
    origin: Mapping[str, Any],
    identity: Mapping[str, Any],
    resume: Path,
    name: str | None,
) -> Tracking | None:
    """The training's MLflow run, where tracking.mlflow names a store; see `fingerprint` for `identity`."""
    address = params.tracking.mlflow
    if address is None:
        return None
    tags = {"optimizer": optimizer, "source": str(origin["source"]), "standin_data": str(bool(origin["standin"]))}
    tags["mlflow.runColor"] = colour_of(optimizer)
    if "DVC_EXP_NAME" in os.environ:
        tags["dvc_experiment"] = os.environ["DVC_EXP_NAME"]
    return Tracking(
        address=address,
        name=name or f"{optimizer} {params.loss.type} {params.data.dataset} seed {params.seed}",
        training=hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest(),
        params=params.model_dump(mode="json", exclude={"tracking"}),
        tags=tags,
        memory=resume.with_name(f"{resume.name}.mlflow.json"),
        say=lambda line: _say(optimizer, line),
    )


def _say(optimizer: str, line: str) -> None:
    logger.info("train %s: %s", optimizer, line)
