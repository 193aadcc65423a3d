"""A stretch: the updates of a training between two records, and how those of many trainings are done side by side.

The tensors of the trainings that are at work are stacked, so that an update of all of them is one gradient and one
call of their rule. Trainings with another rule are stacked apart, but share the gradient. Nothing inside a stretch
waits for the device: losses and norms add up there, and are read at its end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from transformer_spectrum.optimizers.contract import Along, Both, Computing, Objective, Request
from transformer_spectrum.optimizers.gradient.rule import Rule, RuleState


@dataclass(frozen=True)
class Walked:
    """What comes of a stretch.

    Attributes:
        weights: (n,) behind its last update.
        memory: the rule's state there.
        loss: sum over the updates of the batch's loss before each; loss units.
        norm: sum over the updates of the gradient's norm before clipping; loss units per weight unit.
        clipped: updates whose gradient was shortened; count.
    """

    weights: Float[Tensor, " size"]
    memory: RuleState
    loss: float
    norm: float
    clipped: int


@dataclass(frozen=True)
class Stretch(Request):
    """Asks for some updates, one a batch; answered by `Walked`.

    Attributes:
        rule: what an update is.
        weights: (n,) to begin with.
        memory: the rule's state.
        batches: one an update; at least one.
        rates: the learning rates of the updates.
        clip: largest Euclidean norm of a gradient; 0 = off.
        update: the first of the updates, counted from 0 over the whole training.
    """

    rule: Rule
    weights: Float[Tensor, " size"]
    memory: RuleState
    batches: Sequence[Any]
    rates: Sequence[float]
    clip: float
    update: int

    def answered_by(self, objective: Objective) -> Walked:
        def gradients(members: Sequence[int], batches: Sequence[Sequence[Any]], updates: Sequence[int]) -> Along:
            def along(row: int, weights: Tensor) -> Both:
                loss, gradient = objective.gradient(weights[0], batches[row][0])
                return torch.as_tensor([loss], dtype=torch.float64, device=weights.device), gradient.unsqueeze(0)

            return along

        return walk([self], gradients)[0]

    @classmethod
    def answered_together(
        cls, requests: Sequence[Stretch], objectives: Sequence[Objective], computing: Computing
    ) -> list[Any]:
        def gradients(members: Sequence[int], batches: Sequence[Sequence[Any]], updates: Sequence[int]) -> Along:
            return computing.gradients([objectives[member] for member in members], batches, updates)

        return list(walk(requests, gradients))


@runtime_checkable
class Gradients(Protocol):
    """Losses and their gradients of many trainings at once."""

    def __call__(self, members: Sequence[int], batches: Sequence[Sequence[Any]], updates: Sequence[int]) -> Along:
        """What gives losses and gradients along some updates, all of whose batches are known beforehand.

        Args:
            members: which of the stretches they are for, in any order, none twice.
            batches: of each update one a member.
            updates: which update of its training the first one is for each member, counted from 0.
        """


def walk(stretches: Sequence[Stretch], gradients: Gradients) -> list[Walked]:
    """Goes all stretches side by side, each to its own end.

    Args:
        stretches: of trainings with as many weights.
        gradients: of all of them.
    Returns:
        In the order of the stretches.

    >>> from transformer_spectrum.optimizers.gradient.sgd import SGD
    >>> bowl = lambda members, batches, updates: lambda row, weights: (weights.square().sum(1) / 2, weights)
    >>> rule, weights = SGD(momentum=0.0), torch.tensor([4.0])
    >>> short, long = (Stretch(rule, weights, {}, [None] * count, [0.5] * count, 0.0, 0) for count in (1, 2))
    >>> [walked.weights.item() for walked in walk([short, long], bowl)]
    [2.0, 1.0]
    """
    walking = [_Walking(stretch) for stretch in stretches]
    done = 0
    for length in sorted({len(stretch.batches) for stretch in stretches}):
        active = [member for member, stretch in enumerate(stretches) if len(stretch.batches) >= length]
        # Those that can be updated together lie side by side.
        groups: dict[tuple[Rule, tuple[float, ...]], list[int]] = {}
        for member in active:
            groups.setdefault((stretches[member].rule, walking[member].counts()), []).append(member)
        _walk_together(stretches, walking, list(groups.values()), gradients, range(done, length))
        done = length
    return [member.walked() for member in walking]


class _Walking:
    """A stretch that is being gone."""

    def __init__(self, stretch: Stretch) -> None:
        self.weights, self.memory = stretch.weights, dict(stretch.memory)
        device = stretch.weights.device
        dtype = torch.float32 if device.type == "mps" else torch.float64  # MPS has no float64
        self.sums = torch.zeros(3, dtype=dtype, device=device)

    def counts(self) -> tuple[float, ...]:
        """The numbers in the rule's state, which those that are updated together share."""
        return tuple(float(tensor) for tensor in self.memory.values() if tensor.ndim == 0)

    def walked(self) -> Walked:
        loss, norm, clipped = self.sums.tolist()
        return Walked(self.weights, self.memory, loss, norm, int(clipped))


def _walk_together(
    stretches: Sequence[Stretch],
    walking: Sequence[_Walking],
    groups: Sequence[Sequence[int]],
    gradients: Gradients,
    updates: range,
) -> None:
    """Some updates of the members of all groups."""
    order = [member for group in groups for member in group]
    weights = torch.stack([walking[member].weights for member in order])
    memories = [_stacked([walking[member].memory for member in group]) for group in groups]
    sums = torch.stack([walking[member].sums for member in order])
    clips = torch.tensor([stretches[member].clip for member in order])
    bounded, clips = bool((clips > 0).any()), clips.to(sums)
    rates = torch.tensor([[stretches[member].rates[update] for member in order] for update in updates]).to(weights)
    along = gradients(
        order,
        [[stretches[member].batches[update] for member in order] for update in updates],
        [stretches[member].update + updates[0] for member in order],
    )
    for row in range(len(updates)):
        losses, slopes = along(row, weights)
        norms = torch.linalg.vector_norm(slopes, dim=1).to(sums)
        clipped = (clips > 0) & (norms > clips)
        if bounded:
            slopes = slopes * torch.where(clipped, clips / norms, 1.0).to(slopes).unsqueeze(1)
        sums = sums + torch.stack([losses.to(sums), norms, clipped.to(sums)], dim=1)
        moved, first = [], 0
        for index, group in enumerate(groups):
            rule, rows = stretches[group[0]].rule, slice(first, first + len(group))
            rate = rates[row, rows].unsqueeze(1)
            new_weights, memories[index] = rule.update(weights[rows], slopes[rows], memories[index], rate)
            moved.append(new_weights)
            first += len(group)
        weights = moved[0] if len(moved) == 1 else torch.cat(moved)
    for row, member in enumerate(order):
        # A copy: a row of the stack would keep the weights of all members alive as long as it is kept.
        walking[member].weights, walking[member].sums = weights[row].clone(), sums[row]
    for group, memory in zip(groups, memories, strict=True):
        for row, member in enumerate(group):
            walking[member].memory = {name: tensor[row] if tensor.ndim else tensor for name, tensor in memory.items()}


def _stacked(memories: Sequence[RuleState]) -> Mapping[str, Tensor]:
    """The states of members as one; numbers are the same for all of them."""
    return {
        name: torch.stack([memory[name] for memory in memories]) if tensor.ndim else tensor
        for name, tensor in memories[0].items()
    }
