"""What a training has recorded so far: one row a step, and the weights that are kept."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from transformer_spectrum.optimizers.contract import StopCause
from transformer_spectrum.training.evaluation import Validation
from transformer_spectrum.training.records.history import History
from transformer_spectrum.weights.matrices.matrix import Matrix


@dataclass(frozen=True)
class StepRecord:
    """One recorded step.

    Attributes:
        step: updates done; 0 for the initial weights.
        rounds: whole epochs or generations done.
        evaluations: forward passes over a batch spent so far.
        seconds: wall seconds since training began, those of its earlier processes included.
        loss: training loss as the searcher states it.
        validation: of the step's weights.
        distance: Euclidean, of all weights from the initial ones.
        scalars: the searcher's own curves.
        distances: (M,) float32, see `History`.
        singular_values, change_singular_values: (M, R) float32, see `History`.
        step_singular_values: (M, R) float32, see `History`; None where it is not asked for.
    """

    step: int
    rounds: int
    evaluations: int
    seconds: float
    loss: float
    validation: Validation
    distance: float
    scalars: Mapping[str, float]
    distances: np.ndarray
    singular_values: np.ndarray
    change_singular_values: np.ndarray
    step_singular_values: np.ndarray | None = None


@dataclass(frozen=True)
class Candidate:
    """The best single candidate of a run, by its loss on its own generation's batch: the batch's luck is in it.

    Attributes:
        weights: (n,).
        step: the generation.
        loss: on that generation's batch.
        mad: of the residuals that the loss's scale followed then; scaled units, None where it follows none.
    """

    weights: Tensor
    step: int
    loss: float
    mad: float | None = None


@dataclass
class TrainingState:
    """Everything that a training has to remember besides the searcher's state.

    Attributes:
        last: (n,) weights of the last recorded step; the initial ones before the first.
        best: (n,) weights with the lowest validation score.
        select: what the score is: mae or loss.
        best_step: their step.
        loss_mad: of the residuals that the loss's scale follows; scaled units, None where it follows none.
        candidate: where the searcher offers candidates.
        rows: one a step, in order.
        snapshots: step -> (n,) weights, in order.
        stop_reason: one sentence; empty while the training goes on.
        stop_cause: its kind; None while the training goes on.
        resumed_at: the steps behind which a new process has gone on.

    >>> import torch
    >>> spectrum = np.ones((1, 1), np.float32)
    >>> training = TrainingState(torch.zeros(2), torch.zeros(2))
    >>> for step, error in enumerate([0.9, 0.5, 0.7]):
    ...     validation = Validation(loss=error**2, mae=error, residual_mad=error, influence_cosine=1.0)
    ...     row = StepRecord(step, step, 16 * step, step / 4, 0.8, validation, 0.0, {}, spectrum[0], spectrum, spectrum)
    ...     training.add(row, torch.full((2,), float(step)), snapshot=step == 0)
    >>> training.best_step, training.best_score, training.best, list(training.snapshots), training.seconds
    (1, 0.5, tensor([1., 1.]), [0], 0.5)
    """

    last: Tensor
    best: Tensor
    select: str = "mae"
    best_step: int = 0
    loss_mad: float | None = None
    candidate: Candidate | None = None
    rows: list[StepRecord] = field(default_factory=list)
    snapshots: dict[int, Tensor] = field(default_factory=dict)
    stop_reason: str = ""
    stop_cause: StopCause | None = None
    resumed_at: list[int] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Wall seconds of training so far."""
        return self.rows[-1].seconds if self.rows else 0.0

    @property
    def best_score(self) -> float:
        """The lowest validation score so far; infinite before the first step."""
        return min((self._score(row) for row in self.rows), default=math.inf)

    @property
    def rounds_without_better(self) -> int:
        """Whole epochs or generations since the best step."""
        best_round = next((row.rounds for row in reversed(self.rows) if row.step == self.best_step), 0)
        return self.rows[-1].rounds - best_round if self.rows else 0

    def _score(self, row: StepRecord) -> float:
        return row.validation.mae if self.select == "mae" else row.validation.loss

    def add(self, row: StepRecord, weights: Tensor, snapshot: bool) -> None:
        """Records a step; an equal validation score is no better one."""
        if self._score(row) < self.best_score:
            self.best, self.best_step = weights, row.step
        self.rows.append(row)
        self.last = weights
        if snapshot:
            self.snapshots[row.step] = weights

    def offer(self, weights: Tensor | None, step: int, loss: float | None) -> None:
        """Keeps a candidate when it is the best so far, of those whose losses were at the present scale.

        >>> import torch
        >>> training = TrainingState(torch.zeros(2), torch.zeros(2))
        >>> for step, loss in enumerate([0.9, -math.inf, 0.5, 0.7]):
        ...     training.offer(torch.ones(2), step, loss)
        >>> training.candidate
        Candidate(weights=tensor([1., 1.]), step=2, loss=0.5, mad=None)
        """
        if weights is None or loss is None or not math.isfinite(loss):
            return
        best = self.candidate
        if best is None or best.mad != self.loss_mad or loss < best.loss:
            self.candidate = Candidate(
                weights.clone(), step, loss, self.loss_mad
            )  # a view would keep its whole population alive

    def _step_spectra(self) -> np.ndarray | None:
        """(S, M, R), NaN at the records without; None where no record has them."""
        spectra = [(row.singular_values, row.step_singular_values) for row in self.rows]
        if all(stepped is None for _, stepped in spectra):
            return None
        return np.stack([np.full_like(like, np.nan) if stepped is None else stepped for like, stepped in spectra])

    def history(self, matrices: Sequence[Matrix]) -> History:
        """The rows as arrays.

        >>> import torch
        >>> from transformer_spectrum.weights.matrices.families import Family
        >>> spectrum, weights = np.ones((1, 1), np.float32), torch.zeros(2)
        >>> training = TrainingState(weights, weights)
        >>> validation = Validation(loss=0.75, mae=0.5, residual_mad=0.4, influence_cosine=1.0)
        >>> row = StepRecord(0, 0, 1, 0.5, 0.9, validation, 0.0, {}, spectrum[0], spectrum, 0 * spectrum)
        >>> training.add(row, weights, snapshot=True)
        >>> history = training.history([Matrix("head", Family("head"), "head.weight", (1, 2))])
        >>> history.names, history.validation_mae, history.singular_values.shape
        (array(['head'], dtype='<U4'), array([0.5]), (1, 1, 1))
        """
        rows = self.rows
        return History(
            names=np.array([spec.name for spec in matrices]),
            families=np.array([spec.family.label for spec in matrices]),
            shapes=np.array([spec.shape for spec in matrices], dtype=np.int64),
            steps=np.array([row.step for row in rows], dtype=np.int64),
            rounds=np.array([row.rounds for row in rows], dtype=np.int64),
            evaluations=np.array([row.evaluations for row in rows], dtype=np.int64),
            loss=np.array([row.loss for row in rows]),
            validation_loss=np.array([row.validation.loss for row in rows]),
            validation_mae=np.array([row.validation.mae for row in rows]),
            residual_mad=np.array([row.validation.residual_mad for row in rows]),
            influence_cosine=np.array([row.validation.influence_cosine for row in rows]),
            distance=np.array([row.distance for row in rows]),
            distances=np.stack([row.distances for row in rows]),
            singular_values=np.stack([row.singular_values for row in rows]),
            change_singular_values=np.stack([row.change_singular_values for row in rows]),
            best_step=self.best_step,
            seconds=np.array([row.seconds for row in rows]),
            step_singular_values=self._step_spectra(),
        )
