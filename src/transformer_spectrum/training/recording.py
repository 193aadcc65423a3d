"""Which steps of a training are recorded, and what ends it besides its optimizer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from transformer_spectrum.optimizers.contract import Step, StopCause
from transformer_spectrum.training.state import TrainingState

Reason = tuple[StopCause | None, str]
"""The kind of a reason to end, and a sentence about it; None and nothing while there is none."""


@dataclass(frozen=True)
class Budget:
    """What ends a training, whatever searches, after the first step that reaches it: it overshoots by less than a step.

    Attributes:
        evaluations: forward passes over a batch; count, None = no limit.
        seconds: wall seconds of training, validation and resume files included, set-up not; None = no limit.
    """

    evaluations: int | None = None
    seconds: float | None = None

    def spent(self, evaluations: int, seconds: float) -> Reason:
        """Which limit is reached.

        >>> Budget(evaluations=800).spent(900, 1.5)[1], Budget(evaluations=1000).spent(900, 1.5)[1]
        ('budget.evaluations = 800 spent', '')
        """
        if self.evaluations is not None and evaluations >= self.evaluations:
            return StopCause.EVALUATIONS, f"budget.evaluations = {self.evaluations} spent"
        if self.seconds is not None and seconds >= self.seconds:
            return StopCause.SECONDS, f"budget.seconds = {self.seconds:g} spent"
        return None, ""


@dataclass(frozen=True)
class Recording:
    """Which steps are recorded, what of them, and which one is the best. A round is an epoch or a generation.

    All steps inside the first epoch are recorded and their weights kept; so are the initial weights, those behind the
    first round, and the last.

    Attributes:
        rounds: after which the optimizer is through; None = unknown, so that its last step is recorded only where
            `every` says so.
        every: rounds between two records; >= 1.
        snapshot_every: rounds between two kept weights, a multiple of `every`; >= 1.
        select: the validation score whose lowest value makes the best step.
        patience: rounds without a better score that end a training; >= 1, None = it goes on.
        step_spectra: whether singular values of the step from the record before are recorded where weights are kept.
    """

    rounds: int | None = None
    every: int = 1
    snapshot_every: int = 1
    select: Literal["mae", "loss"] = "mae"
    patience: int | None = None
    step_spectra: bool = False

    def records(self, step: Step, rounds: int) -> bool:
        """Whether a step is recorded behind which so many rounds are done.

        >>> import torch
        >>> recording, weights = Recording(rounds=8, every=5), torch.zeros(1)
        >>> inside, behind = Step(4, 12, 0.5, weights, ends_round=False), Step(66, 198, 0.5, weights)
        >>> recording.records(inside, 0), [recording.records(behind, rounds) for rounds in (3, 5, 8)]
        (True, [False, True, True])
        """
        return not step.ends_round or rounds <= 1 or rounds % self.every == 0 or rounds == self.rounds

    def keeps(self, step: Step, rounds: int) -> bool:
        """Whether the weights of a recorded step are kept."""
        return not step.ends_round or rounds <= 1 or rounds % self.snapshot_every == 0 or rounds == self.rounds

    def out_of_patience(self, training: TrainingState) -> Reason:
        """Whether the training ends because no score has been better for long."""
        if self.patience is None or training.rounds_without_better < self.patience:
            return None, ""
        word = {"mae": "MAE", "loss": "loss"}[self.select]
        return StopCause.PATIENCE, f"no better validation {word} for {self.patience} epochs or generations"
