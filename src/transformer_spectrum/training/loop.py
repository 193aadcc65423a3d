"""One training: runs a searcher, validates and records its steps with every spectrum, keeps the best weights."""

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
from transformer_spectrum.training.loss_scale import LossScale
from transformer_spectrum.training.objective import Validation
from transformer_spectrum.training.recording import Budget, Recording
from transformer_spectrum.training.records.history import History
from transformer_spectrum.training.resume import ResumeFiles
from transformer_spectrum.training.state import Candidate, StepRecord, TrainingState
from transformer_spectrum.weights.matrices.matrix import Matrix, singular_values


@dataclass(frozen=True)
class Fit:
    """What a training produced.

    Attributes:
        history: losses, budget, distances and singular values of every record, with its wall seconds.
        best: (n,) weights with the lowest validation score.
        last: (n,) weights of the last step.
        snapshots: step -> (n,) weights at step 0, inside the first epoch, after the first round, every so many, at the
            best step and at the last.
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
    """The initial weights, and how others differ from them."""

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

    def spectra(self, weights: Tensor) -> np.ndarray:
        """(M, R) singular values of the matrices in these weights, or in a difference of weights."""
        return singular_values(self.layout.views(weights), self.matrices)

    def record(
        self,
        step: Step,
        rounds: int,
        seconds: float,
        validation: Validation,
        before: Tensor | None,
        scalars: dict[str, float],
    ) -> StepRecord:
        """All that is recorded of a step, with the spectra of the step from the weights `before` it, if any."""
        return StepRecord(
            step=step.index,
            rounds=rounds,
            evaluations=step.evaluations,
            seconds=seconds,
            loss=step.loss,
            validation=validation,
            distance=float(torch.linalg.vector_norm(step.weights - self.weights)),
            scalars={**{name: float(value) for name, value in step.scalars.items()}, **scalars},
            distances=self.distances(step.weights),
            singular_values=self.spectra(step.weights),
            change_singular_values=self.spectra(step.weights - self.weights),
            step_singular_values=None if before is None else self.spectra(step.weights - before),
        )


def fit(
    searcher: Searcher,
    objective: Objective,
    weights: Tensor,
    *,
    layout: Layout,
    matrices: Sequence[Matrix],
    validate: Callable[[Tensor], Validation],
    recording: Recording,
    generator: torch.Generator,
    budget: Budget | None = None,
    loss_scale: LossScale | None = None,
    observe: Callable[[StepRecord], None] = lambda record: None,
    resume_files: ResumeFiles | None = None,
    interruption: Interruption | None = None,
) -> Fit:
    """Runs `searcher` from `weights` until it is through, has spent its budget, diverges, or runs out of patience.

    Args:
        searcher: any optimizer.
        objective: what it minimises.
        weights: (n,) the initial network, the same for all searchers of one seed.
        layout: names the parts of the flat vector.
        matrices: those whose spectra are recorded.
        validate: (n,) -> how the weights do on the validation windows; costs no evaluations of the budget.
        recording: which steps are recorded, what of them, and which is the best.
        generator: drives batches and search.
        budget: limits that are none of the searcher's.
        loss_scale: lets the scale of the loss follow the residuals; None = it stays. Reading costs no evaluations.
        observe: called after every recorded step; in a resumed training first with all records of before, in order.
        resume_files: where the training is kept, and gone on from.
        interruption: heeded after every recorded step, once that is kept.
    Returns:
        The weights and the history; at least step 0 is recorded. The same bits, seconds excepted, however often
        the training was stopped and resumed.
    Raises:
        InputError: the loss of the initial weights is not finite.
        Interrupted: see `interruption`.

    >>> from transformer_spectrum.weights.matrices.families import Family
    >>> class Idle:  # a search that finds nothing
    ...     def steps(self, objective, weights, generator, state=None):
    ...         yield from (Step(index, index + 1, 1.0, weights) for index in range(9))
    >>> layout = Layout(torch.nn.Linear(2, 2, bias=False))
    >>> matrices = [Matrix("fc", Family("other"), "weight", (2, 2))]
    >>> options = {"validate": lambda weights: Validation(0.5, 0.6, 0.7, 0.8), "recording": Recording(patience=3)}
    >>> options["generator"] = torch.Generator()
    >>> fit(Idle(), None, torch.ones(4), layout=layout, matrices=matrices, **options).stop_reason
    'no better validation MAE for 3 epochs or generations'
    """
    saved = resume_files and resume_files.load(weights, generator)
    training, state = saved or (TrainingState(weights, weights, recording.select), None)
    for record in training.rows:
        observe(record)
    began = time.monotonic() - training.seconds
    start, budget = _Start(weights, layout, matrices), budget or Budget()
    rounds = training.rows[-1].rounds if training.rows else 0
    if loss_scale is not None:
        loss_scale.begin(weights, training.loss_mad)
        training.loss_mad = loss_scale.mad
    # A training that has ended was killed while its results were being written.
    steps = iter(()) if training.stop_cause else searcher.steps(objective, weights, generator, state)
    for step in steps:
        rounds += int(step.ends_round and step.index > 0)
        limit = budget.spent(step.evaluations, time.monotonic() - began)
        is_finite = math.isfinite(step.loss) and bool(torch.isfinite(step.weights).all())
        ends = step.stop_cause is not None or limit[0] is not None or not is_finite
        if not ends and not recording.records(step, rounds):
            if loss_scale is not None:
                loss_scale.follow(step.index, step.weights)
            continue
        validation = validate(step.weights) if is_finite else None
        if validation is None or not math.isfinite(validation.loss):
            _diverge(training, step, validation)
            break
        scalars = {} if loss_scale is None else {"loss_mad": loss_scale.mad}
        keeps = recording.keeps(step, rounds)
        before = training.last if recording.step_spectra and keeps else None
        record = start.record(step, rounds, time.monotonic() - began, validation, before, scalars)
        training.add(record, step.weights, snapshot=keeps)
        training.offer(step.candidate, step.index, step.candidate_loss)
        reasons = ((step.stop_cause, step.stop_reason), recording.out_of_patience(training), limit)
        training.stop_cause, training.stop_reason = next((why for why in reasons if why[0]), (None, ""))
        if loss_scale is not None:
            loss_scale.follow(step.index, step.weights)
            training.loss_mad = loss_scale.mad
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
        snapshots={**training.snapshots, training.best_step: training.best, last: training.last},
        stop_reason=training.stop_reason or f"all {last} steps done",
        stop_cause=training.stop_cause or StopCause.FINISHED,
        candidate=training.candidate,
        resumed_at=training.resumed_at,
    )


def _diverge(training: TrainingState, step: Step, validation: Validation | None) -> None:
    """Ends the training with the record before.

    Raises:
        InputError: there is none.
    """
    if step.index == 0:
        reached = math.nan if validation is None else validation.loss
        raise InputError(
            f"loss: not finite for the initial weights (training {step.loss}, validation {reached}); "
            "it must be, so look at loss.* and at the scale of the data"
        )
    why = step.stop_reason or "the loss is not finite"
    training.stop_cause = StopCause.DIVERGED
    training.stop_reason = f"diverged at step {step.index}: {why}; the steps before it are kept"
