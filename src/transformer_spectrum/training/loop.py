"""Trainings: run searchers side by side, validate and record their steps with every spectrum, keep the best weights."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from transformer_spectrum.optimizers.contract import Request, Search, Searcher, Step, StopCause
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.interruption import Interruption
from transformer_spectrum.training.evaluation import Validation
from transformer_spectrum.training.loss_scale import LossScale
from transformer_spectrum.training.measuring import Measured, Start
from transformer_spectrum.training.objective import WindowObjective
from transformer_spectrum.training.recording import Budget, Recording
from transformer_spectrum.training.records.history import History
from transformer_spectrum.training.requests import Answers, Measuring, Recorded, Validating
from transformer_spectrum.training.resume import ResumeFiles
from transformer_spectrum.training.state import Candidate, StepRecord, TrainingState


class CannotBegin(InputError):
    """A training that has no first record, so that nothing of it can go on."""


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


@dataclass(frozen=True)
class Member:
    """One of the trainings that are run side by side.

    Attributes:
        searcher: any optimizer.
        objective: what it minimises.
        validation: the loss over the validation windows; costs no evaluations of the budget.
        start: the initial weights, the same for all searchers of one seed.
        recording: which steps are recorded, what of them, and which is the best.
        generator: drives batches and search.
        budget: limits that are none of the searcher's.
        loss_scale: lets the scale of the loss follow the residuals; None = it stays. Reading costs no evaluations.
        observe: called after every recorded step; in a resumed training first with all records of before, in order.
        resume_files: where the training is kept, and gone on from.
    """

    searcher: Searcher
    objective: WindowObjective
    validation: WindowObjective
    start: Start
    recording: Recording
    generator: torch.Generator
    budget: Budget = field(default_factory=Budget)
    loss_scale: LossScale | None = None
    observe: Callable[[StepRecord], None] = lambda record: None
    resume_files: ResumeFiles | None = None


Course = Generator[Request, Any, Fit | None]
"""Requests of a training; gives what came of it, or None where a signal has stopped it."""


def fit(members: Sequence[Member], interruption: Interruption | None = None) -> list[Fit | InputError]:
    """Trains each member until its searcher is through, has spent its budget, diverges, or runs out of patience.

    The members are coroutines that ask for losses, updates and spectra; whatever they ask for at the same time is
    computed together. Apart from that no member knows of another: each has its own batches, records and end.

    Args:
        members: of one architecture, with windows of one length and batches of one size.
        interruption: heeded by each member after its next recorded step, once that is kept.
    Returns:
        For each member the weights and the history, in which at least step 0 is recorded: the same bits on a CPU,
        seconds excepted, whoever else is trained, and however often the training was stopped and resumed. An
        InputError where the loss of its initial weights is not finite.
    Raises:
        Interrupted: see `interruption`; what has been reached is kept.

    >>> from transformer_spectrum.models.forecaster import Layout
    >>> from transformer_spectrum.weights.matrices.families import Family
    >>> from transformer_spectrum.weights.matrices.matrix import Matrix
    >>> class Idle(Searcher):  # a search that finds nothing
    ...     def search(self, batches, weights, generator, state=None):
    ...         yield from (Step(index, index + 1, 1.0, weights) for index in range(9))
    >>> class Even:
    ...     def validation(self, weights):
    ...         return Validation(0.5, 0.6, 0.7, 0.8)
    >>> layout = Layout(torch.nn.Linear(2, 2, bias=False))
    >>> start = Start(torch.ones(4), layout, [Matrix("fc", Family("other"), "weight", (2, 2))])
    >>> member = Member(Idle(), Even(), Even(), start, Recording(patience=3), torch.Generator())
    >>> [result.stop_reason for result in fit([member, member])]
    ['no better validation MAE for 3 epochs or generations', 'no better validation MAE for 3 epochs or generations']
    """
    answers = Answers([member.objective for member in members])
    courses = [_course(member, interruption) for member in members]
    results: list[Fit | InputError | None] = [None] * len(members)
    asked: dict[int, Request] = {}
    answered: dict[int, Any] = dict.fromkeys(range(len(members)))
    while answered:
        for number, answer in answered.items():
            try:
                asked[number] = courses[number].send(answer)
            except StopIteration as end:
                results[number] = end.value
            except InputError as error:
                results[number] = error
        # Searches wait for each other, so that those which have recorded more than others meet them again.
        turn = {number: request for number, request in asked.items() if isinstance(request, Recorded)} or asked
        answered = dict(zip(turn, answers(list(turn.items())), strict=True))
        asked = {number: request for number, request in asked.items() if number not in answered}
    if interruption is not None:
        interruption.check()
    return [result for result in results if result is not None]


def _course(member: Member, interruption: Interruption | None) -> Course:
    """One training; see `fit`."""
    weights, generator, recording = member.start.weights, member.generator, member.recording
    saved = member.resume_files and member.resume_files.load(weights, generator)
    training, state = saved or (TrainingState(weights, weights, recording.select), None)
    for record in training.rows:
        member.observe(record)
    began = time.monotonic() - training.seconds
    rounds = training.rows[-1].rounds if training.rows else 0
    loss_scale = member.loss_scale
    if loss_scale is not None:
        yield from loss_scale.begin(weights, training.loss_mad)
        training.loss_mad = loss_scale.mad
    # A training that has ended was killed while its results were being written.
    search = member.searcher.search(member.objective, weights, generator, state)
    step = None if training.stop_cause else (yield from _next_step(search))
    while step is not None:
        rounds += int(step.ends_round and step.index > 0)
        limit = member.budget.spent(step.evaluations, time.monotonic() - began)
        is_finite = math.isfinite(step.loss) and bool(torch.isfinite(step.weights).all())
        ends = step.stop_cause is not None or limit[0] is not None or not is_finite
        if not ends and not recording.records(step, rounds):
            if loss_scale is not None:
                yield from loss_scale.follow(step.index, step.weights)
            step = yield from _next_step(search)
            continue
        validation = (yield Validating(member.validation, step.weights)) if is_finite else None
        if validation is None or not math.isfinite(validation.loss):
            _diverge(training, step, validation)
            break
        scalars = {} if loss_scale is None else {"loss_mad": loss_scale.mad}
        keeps = recording.keeps(step, rounds)
        before = training.last if recording.step_spectra and keeps else None
        spectra = yield Measuring(member.start, step.weights, before)
        record = _record(step, rounds, time.monotonic() - began, validation, spectra, scalars)
        training.add(record, step.weights, snapshot=keeps)
        training.offer(step.candidate, step.index, step.candidate_loss)
        reasons = ((step.stop_cause, step.stop_reason), recording.out_of_patience(training), limit)
        training.stop_cause, training.stop_reason = next((why for why in reasons if why[0]), (None, ""))
        if loss_scale is not None:
            yield from loss_scale.follow(step.index, step.weights)
            training.loss_mad = loss_scale.mad
        member.observe(record)
        # Asked once: a signal that comes while the step is being saved is heeded after the next.
        stop = interruption is not None and interruption.number != 0
        if member.resume_files is not None:
            member.resume_files.save(training, step.state, generator, always=stop)
        if stop:
            return None
        step = None if training.stop_cause else (yield from _next_step(search))
    last = training.rows[-1].step
    return Fit(
        history=training.history(member.start.matrices),
        best=training.best,
        last=training.last,
        snapshots={**training.snapshots, training.best_step: training.best, last: training.last},
        stop_reason=training.stop_reason or f"all {last} steps done",
        stop_cause=training.stop_cause or StopCause.FINISHED,
        candidate=training.candidate,
        resumed_at=training.resumed_at,
    )


def _next_step(search: Search) -> Generator[Request, Any, Step | None]:
    """The next step of a search, its requests passed on; None at its end."""
    answer = None
    while True:
        try:
            asked = search.send(answer)
        except StopIteration:
            return None
        if isinstance(asked, Step):
            return asked
        answer = yield asked


def _record(
    step: Step, rounds: int, seconds: float, validation: Validation, spectra: Measured, scalars: Mapping[str, float]
) -> StepRecord:
    """All that is recorded of a step."""
    return StepRecord(
        step=step.index,
        rounds=rounds,
        evaluations=step.evaluations,
        seconds=seconds,
        loss=step.loss,
        validation=validation,
        scalars={**{name: float(value) for name, value in step.scalars.items()}, **scalars},
        **spectra._asdict(),
    )


def _diverge(training: TrainingState, step: Step, validation: Validation | None) -> None:
    """Ends the training with the record before.

    Raises:
        InputError: there is none.
    """
    if step.index == 0:
        reached = math.nan if validation is None else validation.loss
        raise CannotBegin(
            f"loss: not finite for the initial weights (training {step.loss}, validation {reached}); "
            "it must be, so look at loss.* and at the scale of the data"
        )
    why = step.stop_reason or "the loss is not finite"
    training.stop_cause = StopCause.DIVERGED
    training.stop_reason = f"diverged at step {step.index}: {why}; the steps before it are kept"
