"""What a training has recorded so far: one row a step, and the weights that are kept."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from transformer_spectrum.optimizers.contract import StopCause
from transformer_spectrum.training.records.history import History
from transformer_spectrum.weights.matrices.matrix import Matrix


@dataclass(frozen=True)
class StepRecord:
    """One recorded step.

    Attributes:
        step: 0 for the initial weights.
        evaluations: forward passes over a batch spent so far.
        seconds: wall seconds since training began, those of its earlier processes included.
        loss: training loss as the searcher states it.
        validation_loss: of the step's weights.
        distance: Euclidean, of all weights from the initial ones.
        scalars: the searcher's own curves.
        distances: (M,) float32, see `History`.
        singular_values: (M, R) float32, see `History`.
    """

    step: int
    evaluations: int
    seconds: float
    loss: float
    validation_loss: float
    distance: float
    scalars: Mapping[str, float]
    distances: np.ndarray
    singular_values: np.ndarray


@dataclass(frozen=True)
class Candidate:
    """The best single candidate of a run, by its loss on its own generation's batch: the batch's luck is in it.

    Attributes:
        weights: (n,).
        step: the generation.
        loss: on that generation's batch.
    """

    weights: Tensor
    step: int
    loss: float


@dataclass
class TrainingState:
    """Everything that a training has to remember besides the searcher's state.

    Attributes:
        last: (n,) weights of the last recorded step; the initial ones before the first.
        best: (n,) weights with the lowest validation loss.
        best_step: their step.
        candidate: where the searcher offers candidates.
        rows: one a step, in order.
        snapshots: step -> (n,) weights, in order.
        stop_reason: one sentence; empty while the training goes on.
        stop_cause: its kind; None while the training goes on.
        resumed_at: the steps behind which a new process has gone on.

    >>> import torch
    >>> spectrum = np.ones((1, 1), np.float32)
    >>> training = TrainingState(torch.zeros(2), torch.zeros(2))
    >>> for step, loss in enumerate([0.9, 0.5, 0.7]):
    ...     row = StepRecord(step, 16 * step, 0.25 * step, loss, loss, 0.0, {}, spectrum[0], spectrum)
    ...     training.add(row, torch.full((2,), float(step)), snapshot=step == 0)
    >>> training.best_step, training.best_loss, training.best, list(training.snapshots), training.seconds
    (1, 0.5, tensor([1., 1.]), [0], 0.5)
    """

    last: Tensor
    best: Tensor
    best_step: int = 0
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
    def best_loss(self) -> float:
        """The lowest validation loss so far; infinite before the first step."""
        return min((row.validation_loss for row in self.rows), default=math.inf)

    def add(self, row: StepRecord, weights: Tensor, snapshot: bool) -> None:
        """Records a step; an equal validation loss is no better one."""
        if row.validation_loss < self.best_loss:
            self.best, self.best_step = weights, row.step
        self.rows.append(row)
        self.last = weights
        if snapshot:
            self.snapshots[row.step] = weights

    def offer(self, weights: Tensor | None, step: int, loss: float | None) -> None:
        """Keeps a candidate when it is the best so far.

        >>> import torch
        >>> training = TrainingState(torch.zeros(2), torch.zeros(2))
        >>> for step, loss in enumerate([0.9, -math.inf, 0.5, 0.7]):
        ...     training.offer(torch.ones(2), step, loss)
        >>> training.candidate
        Candidate(weights=tensor([1., 1.]), step=2, loss=0.5)
        """
        if weights is None or loss is None or not math.isfinite(loss):
            return
        if self.candidate is None or loss < self.candidate.loss:
            self.candidate = Candidate(weights.clone(), step, loss)  # a view would keep its whole population alive

    def history(self, matrices: Sequence[Matrix]) -> History:
        """The rows as arrays.

        >>> import torch
        >>> from transformer_spectrum.weights.matrices.families import Family
        >>> spectrum, weights = np.ones((1, 1), np.float32), torch.zeros(2)
        >>> training = TrainingState(weights, weights)
        >>> training.add(StepRecord(0, 0, 0.5, 0.9, 0.75, 0.0, {}, spectrum[0], spectrum), weights, snapshot=True)
        >>> history = training.history([Matrix("head", Family("head"), "head.weight", (1, 2))])
        >>> history.names, history.validation_loss, history.singular_values.shape
        (array(['head'], dtype='<U4'), array([0.75]), (1, 1, 1))
        """
        rows = self.rows
        return History(
            names=np.array([spec.name for spec in matrices]),
            families=np.array([spec.family.label for spec in matrices]),
            shapes=np.array([spec.shape for spec in matrices], dtype=np.int64),
            steps=np.array([row.step for row in rows], dtype=np.int64),
            evaluations=np.array([row.evaluations for row in rows], dtype=np.int64),
            loss=np.array([row.loss for row in rows]),
            validation_loss=np.array([row.validation_loss for row in rows]),
            distance=np.array([row.distance for row in rows]),
            distances=np.stack([row.distances for row in rows]),
            singular_values=np.stack([row.singular_values for row in rows]),
            best_step=self.best_step,
            seconds=np.array([row.seconds for row in rows]),
        )
