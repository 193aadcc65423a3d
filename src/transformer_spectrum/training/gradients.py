"""Losses and gradients of many networks of one architecture at once, with dropout, each on its own batch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from transformer_spectrum.losses import Loss
from transformer_spectrum.models.dropout import Dropout, keys_of
from transformer_spectrum.models.forecaster import Forecaster, Layout
from transformer_spectrum.optimizers.contract import Along
from transformer_spectrum.training.capture import Captured
from transformer_spectrum.training.division import Division, grouped
from transformer_spectrum.training.pool import Pool
from transformer_spectrum.training.slots import Slots
from transformer_spectrum.training.stacked_losses import Forms, Stacked, elementwise

if TYPE_CHECKING:
    from transformer_spectrum.training.objective import WindowObjective


class Group(NamedTuple):
    """Members whose batches of an update are of one size, as they are computed.

    Attributes:
        objectives: of what is computed; one whose member has left may be among them.
        rows: whose weights are read: places among the members.
        windows: (rows, batch_size) places in the pool.
    """

    objectives: Sequence[WindowObjective]
    rows: Tensor
    windows: Tensor


def _in_order(places: Tensor, count: int) -> bool:
    """Whether they are 0 ... count - 1."""
    return torch.equal(places, torch.arange(count))


class MemberGradients:
    """What members' losses and their gradients are along some updates.

    Args:
        model, layout: see `evaluation.Evaluation`.
        division: how the work is divided.
        pool: of all members' windows, on the device that computes.
        stacked: losses of some members -> the same as one.
        compile: torch.compile what the gradients are taken of; at its first use, in one piece.
        say: takes one sentence: the time that compiling took, why it was not possible, or why a GPU captures nothing.

    Attributes:
        keeps_slots: whether a member that has left is computed further, unseen, until half of them have: shapes stay
            captured.
    """

    def __init__(
        self,
        model: Forecaster,
        layout: Layout,
        division: Division,
        pool: Pool,
        stacked: Callable[[tuple[Loss, ...]], Stacked],
        *,
        compile: bool,
        say: Callable[[str], None],
    ) -> None:
        self._model, self._layout, self._division, self._pool, self._stacked = model, layout, division, pool, stacked
        self._loss_of = self._compiled if compile else self._plain_losses
        self._say = say
        self.keeps_slots = not division.on_cpu
        self._slots = Slots()
        self._gradient = Captured(self._plain_gradient, pool.device, say)

    def __call__(
        self, objectives: Sequence[WindowObjective], batches: Sequence[Sequence[Tensor]], updates: Sequence[int]
    ) -> Along:
        """What gives mean losses (M,), float64, and their gradients (M, n), with dropout, along some updates.

        Everything that the updates need is put on the device beforehand.

        Args:
            objectives: of the members.
            batches: of each update the windows of each member.
            updates: which update of its training the first one is for each member, for its dropout; counted from 0.
        """
        seeds = torch.tensor([objective.seed for objective in objectives], dtype=torch.int32)
        counters = torch.arange(len(batches), dtype=torch.int32)[:, None] + torch.tensor(updates, dtype=torch.int32)
        seeds, counters = seeds.to(self._pool.device), counters.to(self._pool.device)
        groups = [self._groups(objectives, row) for row in batches]
        backs = [self._slots.first(torch.cat([group.rows for group in of_row])) for of_row in groups]
        on_device = iter(
            self._pool.on_device(
                [group.rows for of_row in groups for group in of_row]
                + [group.windows for of_row in groups for group in of_row]
                + backs
            )
        )
        rows = [[next(on_device) for _ in of_row] for of_row in groups]
        indices = [[next(on_device) for _ in of_row] for of_row in groups]
        moved = list(on_device)

        def along(row: int, weights: Tensor) -> tuple[Tensor, Tensor]:
            done = []
            for group, own, index in zip(groups[row], rows[row], indices[row], strict=True):
                of_group = weights, seeds, counters[row]
                if not _in_order(group.rows, len(weights)):
                    of_group = weights[own], seeds[own], counters[row][own]
                done.append(self._in_chunks(group.objectives, index, *of_group))
            losses, slopes = done[0] if len(done) == 1 else [torch.cat(parts) for parts in zip(*done, strict=True)]
            return (losses, slopes) if _in_order(backs[row], len(losses)) else (losses[moved[row]], slopes[moved[row]])

        return along

    def _groups(self, objectives: Sequence[WindowObjective], batches: Sequence[Tensor]) -> list[Group]:
        """How the members of an update are computed."""
        groups = []
        for members in grouped(len(batch) for batch in batches):
            own, rows = [objectives[member] for member in members], torch.tensor(members)
            index = self._pool.places(own, [batches[member] for member in members])
            if self.keeps_slots:
                own, places = self._slots.of(own, index.shape[1])
                rows, index = rows[places], index[places]
            groups.append(Group(own, rows, index))
        return groups

    def _in_chunks(
        self,
        objectives: Sequence[WindowObjective],
        index: Tensor,
        weights: Tensor,
        seeds: Tensor,
        updates: Tensor,
    ) -> tuple[Tensor, Tensor]:
        size = min(
            self._division.learning_members, math.ceil(len(weights) / self._division.workers)
        )  # no bit depends on it
        chunks = [slice(first, first + size) for first in range(0, len(weights), size)]
        pieces = index.chunk(self._division.pieces, dim=1)

        def work(task: tuple[slice, int]) -> tuple[Tensor, Tensor]:
            rows, piece = task
            context, target = self._pool.windows(pieces[piece][rows])
            stacked = self._stacked(tuple(objective.loss for objective in objectives[rows]))
            keys = keys_of(seeds[rows], updates[rows], piece) if self._model.dropout else seeds[rows]
            return self._gradient(stacked.forms, weights[rows], context, target, keys, *stacked.numbers)

        tasks = [(rows, piece) for rows in chunks for piece in range(len(pieces))]
        done = iter(self._division.share(work, tasks))
        shares = [piece.shape[1] / index.shape[1] for piece in pieces]
        of_chunks = []
        for _ in chunks:
            loss, slopes = next(done)
            mean = loss.double() * shares[0]
            slopes = slopes if len(pieces) == 1 else slopes.mul_(shares[0])
            for share in shares[1:]:
                loss, slope = next(done)
                mean += loss.double() * share
                slopes.add_(slope, alpha=share)
            of_chunks.append((mean, slopes))
        if len(of_chunks) == 1:
            return of_chunks[0]
        return torch.cat([loss for loss, _ in of_chunks]), torch.cat([slope for _, slope in of_chunks])

    # -- arithmetic ----------------------------------------------------------------------------------------
    @torch.enable_grad()
    def _plain_gradient(
        self, forms: Forms, weights: Tensor, context: Tensor, target: Tensor, keys: Tensor, *numbers: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(m, n) -> (m,) and (m, n)."""
        leaf = weights.detach().requires_grad_()
        means = self._loss_of(forms, leaf, context, target, keys, *numbers)
        (gradient,) = torch.autograd.grad(means.sum(), leaf)  # no member's loss depends on another's weights
        return means.detach(), gradient

    def _plain_losses(
        self, forms: Forms, weights: Tensor, context: Tensor, target: Tensor, keys: Tensor, *numbers: Tensor
    ) -> Tensor:
        drop = Dropout(self._model.dropout, keys) if self._model.dropout else None
        prediction = self._model.predict(self._layout.views(weights), context, target, drop)
        return elementwise(forms, numbers, prediction, target).flatten(1).mean(1)

    def _compiled(self, forms: Forms, *tensors: Tensor) -> Tensor:
        """Compiles the losses, and takes its place."""
        from torch._dynamo.exc import BackendCompilerFailed

        started = time.monotonic()
        compiled = torch.compile(self._plain_losses, dynamic=False)
        try:
            result = compiled(forms, *tensors)
        except BackendCompilerFailed as error:
            reason = str(error.inner_exception).splitlines()[0]
            self._say(f"adam.compile = true: not possible here, going on without ({reason})")
            self._loss_of = self._plain_losses
            return self._loss_of(forms, *tensors)
        self._say(f"adam.compile = true: compiled in {time.monotonic() - started:.0f} s")
        self._loss_of = compiled
        return result
