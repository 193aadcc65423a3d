"""One training: runs a searcher, validates every step, records every spectrum, keeps the best weights."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from transformer_spectrum.models.forecaster import Layout
from transformer_spectrum.optimizers.contract import Objective, Searcher, Step, StopCause
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.interruption import Interruption
from transformer_spectrum.training.records.history import History
from transformer_spectrum.training.resume import ResumeFiles
from transformer_spectrum.training.state import Candidate, StepRecord, TrainingState
from transformer_spectrum.weights.matrices.matrix import Matrix, singular_values


@dataclass(frozen=True)
class Budget:
    """What ends a training, whatever searches, after the first step that reaches it: it overshoots by less than a step.

    Attributes:
        evaluations: forward passes over a batch; count, None = no limit.
        seconds: wall seconds of training, validation and resume files included, set-up not; None = no limit.
    """

    evaluations: int | None = None
    seconds: float | None = None

    def spent(self, record: StepRecord) -> tuple[StopCause | None, str]:
        """Which limit is reached, and one sentence about it; None and nothing while none is.

        >>> spectrum = np.ones((1, 1), np.float32)
        >>> record = StepRecord(3, 900, 1.5, 0.4, 0.5, 2.0, {}, spectrum[0], spectrum)
        >>> Budget(evaluations=800).spent(record)[1], Budget(evaluations=1000).spent(record)[1]
        ('budget.evaluations = 800 spent', '')
        """
        if self.evaluations is not None and record.evaluations >= self.evaluations:
            return StopCause.EVALUATIONS, f"budget.evaluations = {self.evaluations} spent"
        if self.seconds is not None and record.seconds >= self.seconds:
            return StopCause.SECONDS, f"budget.seconds = {self.seconds:g} spent"
        return None, ""


@dataclass(frozen=True)
class Fit:
    """What a training produced.

    Attributes:
        history: losses, budget, distances and singular values of every step, with its wall seconds.
        best: (n,) weights with the lowest validation loss.
        last: (n,) weights of the last step.
        snapshots: step -> (n,) weights at steps 0, 1, every so many, and the last.
        stop_reason: why it ended, one sentence.
        stop_cause: the kind of reason.
        candidate: the best single candidate of the run, where the searcher offers any.
        resumed_at: the steps behind which a new process has gone on.
    """

    history: History
    best: Tensor
    last: Tensor
    snapshots: dict[int, Tensor]
    stop_reason: str
    stop_cause: StopCause
    candidate: Candidate | None
    resumed_at: list[int]


class _Start:
    """The initial weights, and how far others are from them."""

    def __init__(self, weights: Tensor, layout: Layout, matrices: Sequence[Matrix]) -> None:
        self.weights, self.layout, self.matrices = weights, layout, matrices
        self.norms = self._norms(weights)

    def _norms(self, weights: Tensor) -> np.ndarray:
        views = self.layout.views(weights.cpu())
        norms = [torch.linalg.vector_norm(spec.of(views), dtype=torch.float64) for spec in self.matrices]
        return torch.stack(norms).numpy()

    def distances(self, weights: Tensor) -> np.ndarray:
        """(M,) float32, see `History`."""
        moved = self._norms(weights - self.weights)
        starts = self.norms > 0
        return np.divide(moved, self.norms, out=np.full(len(moved), np.nan), where=starts).astype(np.float32)


def fit(
    searcher: Searcher,
    objective: Objective,
    weights: Tensor,
    *,
    layout: Layout,
    matrices: Sequence[Matrix],
    validate: Callable[[Tensor], float],
    patience: int | None,
    snapshot_every: int,
    generator: torch.Generator,
    budget: Budget | None = None,
    observe: Callable[[StepRecord], None] = lambda record: None,
    resume_files: ResumeFiles | None = None,
    interruption: Interruption | None = None,
) -> Fit:
    """Runs `searcher` from `weights` until it is through, stops improving, has spent its budget, or diverges.

    Args:
        searcher: any of the three.
        objective: what it minimises.
        weights: (n,) the initial network, the same for all searchers of one seed.
        layout: names the parts of the flat vector.
        matrices: those whose spectra are recorded.
        validate: (n,) -> validation loss; selects the best step, costs no evaluations of the budget.
        patience: ends after so many steps without a better validation loss; >= 1, None = never.
        snapshot_every: see `Fit.snapshots`; >= 1.
        generator: drives batches and search.
        budget: limits that are none of the searcher's.
        observe: called after every recorded step; in a resumed training first with all steps of before, in order.
        resume_files: where the training is kept, and gone on from.
        interruption: heeded after every step, once that is kept.
    Returns:
        The weights and the history; at least step 0 is recorded. The same bits, seconds excepted, however often
        the training was stopped and resumed.
    Raises:
        InputError: the loss of the initial weights is not finite.
        Interrupted: see `interruption`.
    """
    saved = resume_files and resume_files.load(weights, generator)
    training, state = saved or (TrainingState(weights, weights), None)
    for record in training.rows:
        observe(record)
    began = time.monotonic() - training.seconds
    start = _Start(weights, layout, matrices)
    # A training that has ended was killed while its results were being written.
    steps = iter(()) if training.stop_cause else searcher.steps(objective, weights, generator, state)
    for step in steps:
        validation = _validation_loss(step, validate)
        if not math.isfinite(validation):
            why = step.stop_reason or "the loss is not finite"
            training.stop_cause = StopCause.DIVERGED
            training.stop_reason = f"diverged at step {step.index}: {why}; the steps before it are kept"
            break
        record = StepRecord(
            step=step.index,
            evaluations=step.evaluations,
            loss=step.loss,
            validation_loss=validation,
            distance=float(torch.linalg.vector_norm(step.weights - weights)),
            scalars={name: float(value) for name, value in step.scalars.items()},
            distances=start.distances(step.weights),
            singular_values=singular_values(layout.views(step.weights), matrices),
            seconds=time.monotonic() - began,
        )
        training.add(record, step.weights, snapshot=step.index in (0, 1) or step.index % snapshot_every == 0)
        training.offer(step.candidate, step.index, step.candidate_loss)
        training.stop_cause, training.stop_reason = _stop(step, record, training, patience, budget or Budget())
        observe(record)
        # Asked once: a signal that comes while the step is being saved is heeded after the next.
        stop = interruption is not None and interruption.number != 0
        if resume_files is not None:
            resume_files.save(training, step.state, generator, always=stop)
        if interruption is not None and stop:
            interruption.check()
        if training.stop_cause:
            break
    last = training.rows[-1].step
    return Fit(
        history=training.history(matrices),
        best=training.best,
        last=training.last,
        snapshots={**training.snapshots, last: training.last},
        stop_reason=training.stop_reason or f"all {last} steps done",
        stop_cause=training.stop_cause or StopCause.FINISHED,
        candidate=training.candidate,
        resumed_at=training.resumed_at,
    )


def _validation_loss(step: Step, validate: Callable[[Tensor], float]) -> float:
    """NaN or infinite when the step has diverged.

    Raises:
        InputError: it has at step 0.
    """
    finite = math.isfinite(step.loss) and bool(torch.isfinite(step.weights).all())
    validation = validate(step.weights) if finite else math.nan
    if step.index == 0 and not math.isfinite(validation):
        raise InputError(
            f"loss: not finite for the initial weights (training {step.loss}, validation {validation}); "
            "it must be, so look at loss.* and at the scale of the data"
        )
    return validation


def _stop(
    step: Step, record: StepRecord, training: TrainingState, patience: int | None, budget: Budget
) -> tuple[StopCause | None, str]:
    """Why the training ends behind this step; None and nothing while it goes on."""
    if step.stop_cause:
        return step.stop_cause, step.stop_reason
    if patience is not None and step.index - training.best_step >= patience:
        return StopCause.PATIENCE, f"no better validation loss for {patience} steps"
    return budget.spent(record)
