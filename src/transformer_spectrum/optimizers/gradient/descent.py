"""The loop of every gradient method: batches, clipping, the learning rate of every update, records.

What tells the methods apart is the update rule: `adam`, `sgd`, `lion`, `muon`, `soap`.
"""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from transformer_spectrum.optimizers.contract import BACKWARD_COST, Batches, Search, Searcher, State, Step, first_step
from transformer_spectrum.optimizers.gradient.rule import Rule
from transformer_spectrum.optimizers.gradient.schedule import schedule_factor
from transformer_spectrum.optimizers.gradient.stretch import Stretch, Walked

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

    def state(self, ended: bool = False) -> dict[str, Tensor]:
        """Plain tensors; where the epoch has ended, those of the beginning of the next.

        >>> sorted(Position().state())
        ['batches', 'epochs', 'evaluations', 'updates']
        """
        counts = {"epochs": self.epochs, "batches": 0 if ended else self.batches, "updates": self.updates}
        tensors = {name: torch.tensor(count) for name, count in (counts | {"evaluations": self.evaluations}).items()}
        return tensors if self.epoch_generator is None else {**tensors, "epoch_generator": self.epoch_generator}


@dataclass(frozen=True)
class Descent(Searcher):
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

    def search(
        self,
        batches: Batches,
        weights: Float[Tensor, " size"],
        generator: torch.Generator,
        state: State | None = None,
    ) -> Search:
        current = weights.clone()
        memory: State = self.rule.initial(weights)
        position = Position()
        if state is None:
            step = yield from first_step(weights, batches.batch(generator))
            yield dataclasses.replace(step, state=functools.partial(_state, current, memory, position.state()))
        else:
            position, current = Position.of(state), state["weights"].to(weights)
            memory = {name.removeprefix(OF_RULE): state[name] for name in state if name.startswith(OF_RULE)}
        while position.epochs < self.epochs:
            epoch = _epoch(batches, generator, position)
            while position.batches < len(epoch):
                until = self._next_record(position, len(epoch))
                updates = range(position.updates, position.updates + until - position.batches)
                rates = [self.learning_rate * self._factor(update, len(epoch)) for update in updates]
                walked: Walked = yield Stretch(
                    self.rule,
                    current,
                    memory,
                    epoch[position.batches : until],
                    rates,
                    self.gradient_clip,
                    position.updates,
                )
                current, memory = walked.weights, walked.memory
                position.batches = until
                position.updates += len(updates)
                position.evaluations += len(updates) * (1 + BACKWARD_COST)
                ends = until == len(epoch)
                if ends:
                    position.epochs, position.epoch_generator = position.epochs + 1, None
                yield Step(
                    position.updates,
                    position.evaluations,
                    walked.loss / len(updates),
                    current,
                    self._scalars(walked, len(updates), rates[-1]),
                    ends_round=ends,
                    state=functools.partial(_state, current, memory, position.state(ended=ends)),
                )
            position.batches = 0

    def _next_record(self, position: Position, batches: int) -> int:
        """The batch of an epoch of so many behind which the next record is: 1, 2, 4, 8, ... of the first, the last."""
        if position.epochs:
            return batches
        return min(batches, 1 << position.batches.bit_length())

    def _factor(self, update: int, updates: int) -> float:
        """Of the learning rate of an update, in a training whose epochs have so many."""
        return schedule_factor(update, self.warmup_epochs * updates, self.epochs * updates, self.schedule)

    def _scalars(self, walked: Walked, updates: int, rate: float) -> dict[str, float]:
        scalars = {"gradient_norm": walked.norm / updates, "learning_rate": rate}
        return scalars | ({"clipped_share": walked.clipped / updates} if self.gradient_clip else {})


def _epoch(source: Batches, generator: torch.Generator, position: Position) -> list[object]:
    """The batches of an epoch: of a new one, or of the one that has begun, drawn as it was then."""
    if position.epoch_generator is None:
        position.epoch_generator = generator.get_state()
        return list(source.epoch(generator))
    again = torch.Generator(generator.device)
    again.set_state(position.epoch_generator)
    return list(source.epoch(again))


def _state(weights: Tensor, memory: State, position: State) -> dict[str, Tensor]:
    """No copies: rules change none of the tensors that they have given."""
    return {"weights": weights, **{OF_RULE + name: tensor for name, tensor in memory.items()}, **position}
