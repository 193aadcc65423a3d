"""The loop of every gradient method: batches, clipping, the learning rate of every update, records.

What tells the methods apart is the update rule: `adam`, `sgd`, `lion`, `muon`, `soap`.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from transformer_spectrum.optimizers.contract import BACKWARD_COST, Objective, State, Step, first_step
from transformer_spectrum.optimizers.gradient.rule import Rule
from transformer_spectrum.optimizers.gradient.schedule import schedule_factor

OF_RULE = "rule."
"""Before the names of the rule's own tensors in the state."""


@dataclass
class Position:
    """How far a training has come: all that its state holds besides weights and the rule's own.

    Attributes:
        epochs: whole ones.
        batches: of the epoch that has begun.
        updates: of the whole training.
        evaluations: of the whole training.
        epoch_generator: state of the generator as the epoch began; only inside one.
    """

    epochs: int = 0
    batches: int = 0
    updates: int = 0
    evaluations: int = 1
    epoch_generator: Tensor | None = None

    @classmethod
    def of(cls, state: State) -> Position:
        """The position in a state.

        >>> Position.of({name: torch.tensor(3) for name in ("epochs", "batches", "updates", "evaluations")}).updates
        3
        """
        counts = {name: int(state[name]) for name in ("epochs", "batches", "updates", "evaluations")}
        return cls(**counts, epoch_generator=state.get("epoch_generator"))

    def state(self) -> dict[str, Tensor]:
        """Plain tensors.

        >>> sorted(Position().state())
        ['batches', 'epochs', 'evaluations', 'updates']
        """
        counts = {"epochs": self.epochs, "batches": self.batches, "updates": self.updates}
        tensors = {name: torch.tensor(count) for name, count in (counts | {"evaluations": self.evaluations}).items()}
        return tensors if self.epoch_generator is None else {**tensors, "epoch_generator": self.epoch_generator}


@dataclass
class Interval:
    """Sums over the updates since the last record."""

    updates: int = 0
    loss: float = 0.0
    norm: float = 0.0
    clipped: int = 0

    def add(self, loss: float, norm: float, clipped: bool) -> None:
        """One more update."""
        self.updates += 1
        self.loss, self.norm, self.clipped = self.loss + loss, self.norm + norm, self.clipped + clipped


@dataclass(frozen=True)
class Descent:
    """A step is a record: after updates 1, 2, 4, 8, ... inside the first epoch, and at the end of every epoch.

    Its index counts updates; its loss is the mean over the batches since the record before, each before its own
    update. An update costs 1 + `BACKWARD_COST` evaluations. Scalars: `gradient_norm`, the mean norm before clipping
    over the same batches; `learning_rate`, of the last update; `clipped_share`, where there is a clip, the share of
    these updates whose gradient was shortened.

    Args:
        rule: what an update is.
        epochs: how many.
        learning_rate: at its highest; what it means is the rule's.
        gradient_clip: largest Euclidean norm of a gradient; 0 = off.
        warmup_epochs: epochs in which the learning rate rises linearly, update by update; < epochs.
        schedule: of the learning rate after the warm-up, update by update: constant or cosine, which ends at 0.
    """

    rule: Rule
    epochs: int
    learning_rate: float
    gradient_clip: float = field(default=0.0, kw_only=True)
    warmup_epochs: int = field(default=0, kw_only=True)
    schedule: str = field(default="constant", kw_only=True)

    def steps(
        self,
        objective: Objective,
        weights: Float[Tensor, " size"],
        generator: torch.Generator,
        state: State | None = None,
    ) -> Iterator[Step]:
        current, memory = weights.clone(), self.rule.initial(weights)
        position = Position()
        if state is None:
            step = first_step(objective, weights, objective.batch(generator))
            yield dataclasses.replace(step, state=functools.partial(_state, current, memory, position.state()))
        else:
            position, current = Position.of(state), state["weights"].to(weights)
            memory = {name.removeprefix(OF_RULE): state[name] for name in state if name.startswith(OF_RULE)}
        while position.epochs < self.epochs:
            batches = _epoch(objective, generator, position)
            interval = Interval()
            for batch in batches[position.batches :]:
                loss, gradient = objective.gradient(current, batch)
                gradient = self._clipped(loss, gradient, interval)
                rate = self.learning_rate * self._factor(position.updates, len(batches))
                current, memory = self.rule.update(current, gradient, memory, rate)
                position.batches += 1
                position.updates += 1
                position.evaluations += 1 + BACKWARD_COST
                ends = position.batches == len(batches)
                if ends:
                    position.epochs, position.batches, position.epoch_generator = position.epochs + 1, 0, None
                if ends or (not position.epochs and position.batches.bit_count() == 1):
                    yield Step(
                        position.updates,
                        position.evaluations,
                        interval.loss / interval.updates,
                        current,
                        self._scalars(interval, rate),
                        ends_round=ends,
                        state=functools.partial(_state, current, memory, position.state()),
                    )
                    interval = Interval()

    def _factor(self, update: int, updates: int) -> float:
        """Of the learning rate of an update, in a training whose epochs have so many."""
        return schedule_factor(update, self.warmup_epochs * updates, self.epochs * updates, self.schedule)

    def _clipped(self, loss: float, gradient: Tensor, interval: Interval) -> Tensor:
        """The gradient, shortened where it is longer than the clip; noted in the interval."""
        norm = float(torch.linalg.vector_norm(gradient))
        clipped = bool(self.gradient_clip) and norm > self.gradient_clip
        interval.add(loss, norm, clipped)
        return gradient * (self.gradient_clip / norm) if clipped else gradient

    def _scalars(self, interval: Interval, rate: float) -> dict[str, float]:
        scalars = {"gradient_norm": interval.norm / interval.updates, "learning_rate": rate}
        return scalars | ({"clipped_share": interval.clipped / interval.updates} if self.gradient_clip else {})


def _epoch(objective: Objective, generator: torch.Generator, position: Position) -> list[object]:
    """The batches of an epoch: of a new one, or of the one that has begun, drawn as it was then."""
    if position.epoch_generator is None:
        position.epoch_generator = generator.get_state()
        return list(objective.epoch(generator))
    again = torch.Generator(generator.device)
    again.set_state(position.epoch_generator)
    return list(objective.epoch(again))


def _state(weights: Tensor, memory: State, position: State) -> dict[str, Tensor]:
    """No copies: rules change none of the tensors that they have given."""
    return {"weights": weights, **{OF_RULE + name: tensor for name, tensor in memory.items()}, **position}
