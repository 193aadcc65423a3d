"""Trainings from their inputs to their outputs: windows in; weights, history, scores out.

Read on in this order: `setup` makes model and losses, `loop` trains, `artifacts` scores and writes what came of it. One
training is an ensemble of one.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformer_spectrum.config.load import Params
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.files import read_json
from transformer_spectrum.runtime.interruption import Interrupted, Interruption
from transformer_spectrum.tracking.mlflow_run import Tracking
from transformer_spectrum.tracking.recorder import Recorder
from transformer_spectrum.training import build
from transformer_spectrum.training.artifacts import write_results
from transformer_spectrum.training.display import Display
from transformer_spectrum.training.ensemble import check_alike, members_at_once
from transformer_spectrum.training.fingerprint import fingerprint
from transformer_spectrum.training.glance import glance
from transformer_spectrum.training.loop import Fit, fit
from transformer_spectrum.training.recording import Budget
from transformer_spectrum.training.resume import ResumeFiles
from transformer_spectrum.training.setup import Setup, make_deterministic, read_windows
from transformer_spectrum.training.state import StepRecord
from transformer_spectrum.vocabulary import colour_of
from transformer_spectrum.weights.matrices.moving import positions_watched

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """One training: where its inputs lie and its outputs go.

    Attributes:
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
    """

    params: Params
    optimizer: str
    data: Path
    models: Path
    metrics: Path
    provenance: Path
    resume: Path
    name: str | None = None


def train(job: Job) -> None:
    """Trains by one optimizer and writes what came of it; goes on where an earlier process was stopped.

    SIGINT and SIGTERM end it after the step that is being computed, a second one at once; what has been reached is
    kept in `resume`, and `models` and `metrics` stay as they were.

    Raises:
        InputError: an input is missing or corrupt, or the device is not there.
        SystemExit: a signal has ended it; 128 + its number.
    """
    (error,) = _together([job])
    if error is not None:
        raise error


def train_all(jobs: Sequence[Job]) -> list[str]:
    """`train` for many trainings at once, side by side as far as memory goes; see `ensemble` for what they share.

    Returns:
        Of each job the reason why it has failed, in one line; empty when it has not.
    Raises:
        InputError: jobs cannot be trained side by side.
        SystemExit: a signal has ended all of them; 128 + its number.

    >>> train_all([])
    []
    """
    check_alike([(job.params, job.optimizer) for job in jobs])
    reasons = [""] * len(jobs)
    # Members with one form of loss are neighbours: they share its kernels.
    order = sorted(range(len(jobs)), key=lambda number: build.loss_form(jobs[number].params))
    while order:
        first = jobs[order[0]]
        count = members_at_once(first.params, first.optimizer)
        turn, order = order[:count], order[count:]
        for number, error in zip(turn, _together([jobs[number] for number in turn]), strict=True):
            reasons[number] = "" if error is None else " ".join(str(error).split())
    return reasons


def _together(jobs: Sequence[Job]) -> list[InputError | None]:
    """Trains side by side; of each job why it has failed."""
    interruption = Interruption()
    make_deterministic(jobs[0].params, jobs[0].optimizer)
    errors: list[InputError | None] = [None] * len(jobs)
    courses: dict[int, _Training] = {}
    try:
        with ExitStack() as stack:
            stack.enter_context(interruption)
            display = stack.enter_context(Display(jobs[0].optimizer, len(jobs)))
            for number, job in enumerate(jobs):
                try:
                    courses[number] = _Training(job, display)
                except InputError as error:
                    errors[number] = error
                else:
                    stack.push(courses[number].trackers)
            with interruption.deferred():
                results = fit([course.member for course in courses.values()], interruption)
            for (number, course), result in zip(courses.items(), results, strict=True):
                errors[number] = course.end(result)
    except Interrupted as signal:
        for course in courses.values():
            course.say_interrupted()
        raise SystemExit(128 + signal.number) from None
    return errors


class _Training:
    """A job at work.

    Raises:
        InputError: an input is missing or corrupt, or the device is not there.
    """

    def __init__(self, job: Job, display: Display) -> None:
        self.job = job
        params, optimizer = job.params, job.optimizer
        self.splits, self.origin = read_windows(job.data), read_json(job.provenance)
        self.setup = Setup.of(params, self.splits)
        identity = fingerprint(params, optimizer, job.data, build.device(params.device))
        self.resume_files = ResumeFiles(job.resume, identity, self.say)
        self.moving = positions_watched(self.setup.matrices)
        mlflow = _mlflow(params, optimizer, self.origin, identity, job.resume, job.name)
        self.trackers = ExitStack()
        self.recorder = self.trackers.enter_context(Recorder(job.metrics, mlflow, job.models))
        search = build.searcher(params, optimizer, self.setup.layout)
        self.progress = display.line(search.rounds)
        self.member = self.setup.member(
            optimizer,
            search,
            recording=build.recording(params, search),
            budget=Budget(params.budget.evaluations, params.budget.seconds),
            observe=self._observe,
            resume_files=self.resume_files,
        )

    def _observe(self, record: StepRecord) -> None:
        spectra = glance(record.singular_values[self.moving], record.change_singular_values[self.moving])
        values = {"rounds": record.rounds, "evaluations": record.evaluations, "seconds": record.seconds}
        values |= {"train_loss": record.loss, "validation_loss": record.validation.loss}
        values |= {"validation_mae": record.validation.mae, "residual_mad": record.validation.residual_mad}
        values |= {"influence_cosine": record.validation.influence_cosine, "distance": record.distance}
        self.recorder.step(record.step, {**values, **record.scalars, **spectra})
        if self.resume_files.saved is not None and record.step <= self.resume_files.saved:
            self.progress.resume(record.rounds)
        elif record.step == 0 or record.rounds > 0:  # counts epochs or generations
            stable_rank = spectra.get("stable_rank", math.nan)
            self.progress.update(record.rounds, loss=record.loss, mae=record.validation.mae, stable_rank=stable_rank)

    def end(self, result: Fit | InputError) -> InputError | None:
        """Writes what came of it; why it has failed, if it has."""
        job = self.job
        try:
            with self.trackers:
                if isinstance(result, InputError):
                    raise result
                forecaster, windows = self.setup.forecaster, self.splits["test"]
                write_results(
                    job.params, job.optimizer, forecaster, windows, result, self.origin, self.recorder, job.models
                )
        except InputError as error:
            return error
        self.resume_files.remove()
        self.say(f"{result.stop_reason}; best step {result.history.best_step}")
        return None

    def say_interrupted(self) -> None:
        """What has been kept when a signal came."""
        saved = self.resume_files.saved
        reached = "before its first step was kept" if saved is None else f"at step {saved}"
        self.say(f"interrupted {reached}; run again to go on")

    def say(self, line: str) -> None:
        """Tells the user."""
        logger.info("train %s: %s", self.job.optimizer, line)


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
        say=lambda line: logger.info("train %s: %s", optimizer, line),
    )
