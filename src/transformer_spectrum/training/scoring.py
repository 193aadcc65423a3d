"""Losses of the populations of many searches at once, without dropout, each on its own batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from transformer_spectrum.losses import Loss
from transformer_spectrum.models.forecaster import Forecaster, Layout
from transformer_spectrum.optimizers.contract import Population
from transformer_spectrum.training.capture import Captured
from transformer_spectrum.training.division import Division, power_of_two
from transformer_spectrum.training.pool import Pool
from transformer_spectrum.training.stacked_losses import Forms, Stacked, elementwise

if TYPE_CHECKING:
    from transformer_spectrum.training.objective import WindowObjective

CHUNKS = 8
"""On a CPU a population is cut into so many chunks at least, for workers to share."""

Scored = tuple["WindowObjective", Tensor | Population, Tensor]
"""An objective, a population, and the windows of the objective that it is to be scored on."""


class Portion(NamedTuple):
    """Members first ... last - 1 of a population, by its place among those that are scored."""

    place: int
    first: int
    last: int


class Scores:
    """What populations' losses are.

    Args:
        model, layout: see `evaluation.Evaluation`.
        precision: of weights and products; losses are reduced in float32.
        division: how the work is divided.
        pool: of all windows, on the device that computes.
        stacked: losses of some members -> the same as one.
        say: takes one sentence: why a GPU captures nothing.
    """

    def __init__(
        self,
        model: Forecaster,
        layout: Layout,
        precision: torch.dtype,
        division: Division,
        pool: Pool,
        stacked: Callable[[tuple[Loss, ...]], Stacked],
        say: Callable[[str], None],
    ) -> None:
        self._model, self._layout, self._precision = model, layout, precision
        self._division, self._pool, self._stacked = division, pool, stacked
        self._score = Captured(self._plain_score, pool.device, say)

    def __call__(self, scored: Sequence[Scored]) -> list[Tensor]:
        """(popsize,) mean losses of each population, float32, on the CPU; without dropout."""
        index = self._pool.on_device([self._pool.places([objective], [batch])[0] for objective, _, batch in scored])

        def work(portions: Sequence[Portion]) -> Tensor:
            candidates = [_members(scored[place][1], first, last) for place, first, last in portions]
            windows = [self._pool.windows(index[place]) for place, _, _ in portions]
            losses = [scored[place][0].loss for place, first, last in portions for _ in range(first, last)]
            chunk = candidates[0] if len(portions) == 1 else torch.cat(candidates)
            if len(portions) == 1:  # all members read one batch
                context, target = windows[0]
            else:
                context, target = (
                    torch.cat([of.expand(len(own), *of.shape) for of, own in zip(values, candidates, strict=True)])
                    for values in zip(*windows, strict=True)
                )
            stacked = self._stacked(tuple(losses))
            return self._score(stacked.forms, chunk, context, target, *stacked.numbers)

        chunks = self._chunks(scored)
        losses = torch.cat(self._division.share(work, chunks)).cpu()  # in the order of the populations, by one transfer
        return list(losses.split([len(population) for _, population, _ in scored]))

    def _chunks(self, scored: Sequence[Scored]) -> list[list[Portion]]:
        """What is scored at once: on a CPU parts of one population; on a GPU as much as fits, of any."""
        on_cpu, most = self._division.on_cpu, self._division.members
        chunks: list[list[Portion]] = []
        room = 0
        for place, (_, population, batch) in enumerate(scored):
            count = len(population)
            members = min(most, power_of_two(count / CHUNKS)) if on_cpu else most
            first = 0
            while first < count:
                is_mixed = bool(chunks) and len(batch) != len(scored[chunks[-1][0].place][2])
                if on_cpu or room == 0 or is_mixed:
                    chunks.append([])
                    room = members
                last = min(first + room, count)
                chunks[-1].append(Portion(place, first, last))
                room -= last - first
                first = last
        return chunks

    @torch.inference_mode()
    def _plain_score(self, forms: Forms, chunk: Tensor, context: Tensor, target: Tensor, *numbers: Tensor) -> Tensor:
        """(m, n) -> (m,)."""
        weights = self._layout.views(chunk.to(self._precision))
        prediction = self._model.predict(weights, context.to(self._precision), target.to(self._precision))
        return elementwise(forms, numbers, prediction, target).flatten(1).mean(1)


def _members(population: Tensor | Population, first: int, last: int) -> Tensor:
    return population[first:last] if isinstance(population, Tensor) else population.members(first, last)
