"""Genetic algorithm on real vectors: tournaments, simulated binary crossover, Gaussian mutation, elitism.

A generation is bred in place, some columns at a time: the parents are chosen once for all columns, so only one
population has to exist, and what is computed stays in a core's cache.
"""

from __future__ import annotations

import dataclasses
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int, Int32
from torch import Tensor

from transformer_spectrum.optimizers.contract import (
    Batches,
    Scoring,
    Search,
    Searcher,
    State,
    Step,
    StopCause,
    first_step,
)
from transformer_spectrum.optimizers.populations import FLAT_GENERATIONS, diverged, flat, ranked

BLOCK = 2**18  # numbers bred at a time: 1 MiB


def random_bits(rows: int, columns: int, generator: torch.Generator) -> Int32[Tensor, "{rows} {columns}"]:
    """int32 uniform on all their values, on the generator's device; two from each 64-bit number.

    >>> bits = random_bits(2, 3, torch.Generator().manual_seed(0))
    >>> bits.shape, bits.dtype
    (torch.Size([2, 3]), torch.int32)
    """
    count = rows * columns
    pairs = torch.empty((count + 1) // 2, dtype=torch.int64, device=generator.device)
    return pairs.random_(-(2**63), None, generator=generator).view(torch.int32)[:count].view(rows, columns)


def log_spread(bits: Int32[Tensor, "*shape"], eta: float) -> Float[Tensor, "*shape"]:
    """Logarithm of the spread factor of simulated binary crossover for int32 random bits; 0 for half of them.

    A weight crosses with probability 1/2. The spread factor beta of one that does is (2u)^(1/(eta+1)) for u <= 1/2
    and (2 - 2u)^(-1/(eta+1)) above, so that (eta + 1) ln beta is an exponential number with a random sign. One
    uniform number v in (-2, 2) gives all of it: |v| < 1 says that the weight crosses, ln |v| is the exponential
    number, and v has the sign.
    Source: Deb & Agrawal (1995), Complex Systems 9(2), eqs. (8)-(10).

    >>> log_spread(torch.tensor([2**31 - 1], dtype=torch.int32), 2.0).item()  # |v| is near 2: it does not cross
    0.0
    """
    uniform = bits.float().add_(0.5).mul_(2.0**-30)  # never 0
    return uniform.abs().clamp_(max=1).log_().copysign_(uniform).mul_(1 / (eta + 1))


def cross(
    left: Float[Tensor, "couples size"], right: Float[Tensor, "couples size"], eta: float, generator: torch.Generator
) -> None:
    """Puts children (k, n) in the place of their parents (k, n), which are on the generator's device.

    Couples keep their mean; their distance is multiplied by the spread factor.

    >>> left, right = torch.zeros(1, 4), torch.ones(1, 4)
    >>> cross(left, right, 2.0, torch.Generator().manual_seed(0))
    >>> ((left + right) / 2).tolist()  # couples keep their mean
    [[0.5, 0.5, 0.5, 0.5]]
    """
    # (1 - beta) / 2 of the way to the other parent, or beyond the own one.
    rows, columns = left.shape
    share = log_spread(random_bits(rows, columns, generator), eta).exp_().sub_(1).mul_(-0.5)
    way = (right - left).mul_(share)
    left += way
    right -= way


def mutated(count: int, rate: float, generator: torch.Generator) -> Int[Tensor, " mutations"]:
    """Positions (k,) in 0..count-1, ascending, each there with probability `rate` independently of the others.

    The gaps between them are geometric, so the cost grows with the mutations and not with the weights.

    >>> mutated(3, 1.0, torch.Generator()).tolist(), mutated(3, 0.0, torch.Generator()).tolist()
    ([0, 1, 2], [])
    """
    if count == 0 or rate <= 0 or rate >= 1:
        return torch.arange(count if rate >= 1 else 0, device=generator.device)
    stretches, start = [], 0
    while start < count:
        expected = (count - start) * rate
        draws = int(expected + 4 * math.sqrt(expected)) + 8
        uniform = torch.empty(draws, dtype=torch.float64, device=generator.device).uniform_(generator=generator)
        # ln(u) / ln(1 - rate), rounded down, is geometric; a gap longer than everything needs no exact length.
        gaps = uniform.log_().mul_(1 / math.log1p(-rate)).clamp_(max=count).long()
        positions = gaps.add_(1).cumsum(0).add_(start - 1)
        stretches.append(positions)
        start = int(positions[-1]) + 1
    positions = torch.cat(stretches) if len(stretches) > 1 else stretches[0]
    return positions[: int(torch.searchsorted(positions, count))]


def tournament(
    losses: Float[Tensor, " popsize"], winners: int, size: int, generator: torch.Generator
) -> Int[Tensor, " {winners}"]:
    """Indices (winners,) of the best of `size` members drawn with replacement, each time anew.

    >>> tournament(torch.tensor([3.0, 1.0, 2.0]), 2, 50, torch.Generator().manual_seed(0)).tolist()  # of 50 the best
    [1, 1]
    """
    drawn = torch.randint(len(losses), (winners, size), generator=generator)
    best = losses.cpu()[drawn].argmin(dim=1, keepdim=True)
    return drawn.gather(1, best).squeeze(1)


def diversity(population: Float[Tensor, "members size"]) -> float:
    """Standard deviation of each weight over the members, mean over the weights.

    >>> round(diversity(torch.tensor([[0.0, 1.0], [2.0, 1.0]])), 4)  # (sqrt(2) + 0) / 2
    0.7071
    """
    total, members = 0.0, len(population)
    each = population.new_full((members,), 1 / members)
    for columns_block in population.split(max(1, BLOCK // members), dim=1):
        apart = columns_block - columns_block[0]  # small numbers, so that their squares lose nothing
        variance = each @ apart.square() - (each @ apart).square()
        total += float(variance.clamp_(min=0).sqrt_().sum(dtype=torch.float64))
    return total * math.sqrt(members / (members - 1)) / population.shape[1]


@dataclass(frozen=True)
class GA(Searcher):
    """A step is a generation of `popsize` members, all scored on one batch, and costs popsize evaluations.

    The step's weights are the best member on that batch, or the mean of all; the mean is scored on the batch as well,
    which costs one evaluation more, and the best member then stands beside it in `Step.candidate`. A member carries
    its own mutations, which selection has not averaged; the mean carries those that have spread. Elites are scored
    again with everybody else, so that luck on an easy batch does not survive. The search ends of its own accord when
    no member has a finite loss, or when all have had one and the same loss for `FLAT_GENERATIONS` generations.

    Args:
        generations: how many at most.
        popsize: members; even.
        spread: standard deviation of the first population around the initial weights, which are its first
            member; weight units.
        tournament_size: members in a tournament.
        crossover_rate: share of couples that cross.
        crossover_eta: distribution index of the crossover.
        mutation_rate: share of weights that mutate.
        mutation_stdev: of the mutation; weight units.
        elites: best members that survive unchanged.
        mutation_decay: mutation_stdev is multiplied by it after each generation.
        workers: threads that breed; the result does not depend on them.
        weights: of a step: member or mean.
    """

    generations: int
    popsize: int
    spread: float
    tournament_size: int
    crossover_rate: float
    crossover_eta: float
    mutation_rate: float
    mutation_stdev: float
    elites: int
    mutation_decay: float = 1.0
    workers: int = 1
    weights: Literal["member", "mean"] = "member"

    def __post_init__(self) -> None:
        if self.popsize % 2:
            raise ValueError(f"popsize = {self.popsize}: must be even (couples have two children)")

    def search(
        self,
        batches: Batches,
        weights: Float[Tensor, " size"],
        generator: torch.Generator,
        state: State | None = None,
    ) -> Search:
        generation, evaluations, still = 0, 1, 0
        population: Tensor | None = None
        losses = weights.new_empty(0)  # of the population, as soon as there is one

        def current_state() -> State:
            counts = {"generation": generation, "evaluations": evaluations, "flat": still}
            members: dict[str, Tensor] = (
                {} if population is None else {"population": population.clone(), "losses": losses.clone()}
            )
            return {**members, **{name: torch.tensor(count) for name, count in counts.items()}}

        if state is None:
            first = yield from first_step(weights, batches.batch(generator))
            yield dataclasses.replace(first, state=current_state)
        else:
            generation, evaluations, still = (int(state[name]) for name in ("generation", "evaluations", "flat"))
            if generation:
                population, losses = state["population"].to(weights, copy=True), state["losses"].clone()
        while generation < self.generations:
            generation += 1
            if population is None:
                population = self._first(weights, generator)
            else:
                stdev = self.mutation_stdev * self.mutation_decay ** (generation - 2)
                self._breed(population, losses, stdev, generator)
            batch = batches.batch(generator)
            losses = ranked((yield Scoring(population, batch)))
            evaluations += self.popsize
            best = int(losses.argmin())
            if not math.isfinite(losses[best]):
                yield diverged(generation, evaluations, population[0].clone())
                return
            still = flat(still, losses)
            reason, cause = "", None
            if still >= FLAT_GENERATIONS:
                reason = f"stagnated: all members have had one and the same loss for {still} generations"
                cause = StopCause.STAGNATED
            median = float(losses[torch.isfinite(losses)].median())
            scalars = {"median_loss": median, "diversity": diversity(population)}
            member, loss = population[best].clone(), float(losses[best])
            averaged = self.weights == "mean"
            mean = population.mean(0) if averaged else member
            evaluations += averaged
            yield Step(
                generation,
                evaluations,
                float((yield Scoring(mean.unsqueeze(0), batch))[0]) if averaged else loss,
                mean,
                scalars,
                member if averaged else None,
                loss if averaged else None,
                stop_reason=reason,
                stop_cause=cause,
                state=current_state,
            )
            if reason:
                return

    def _first(self, weights: Float[Tensor, " size"], generator: torch.Generator) -> Float[Tensor, "popsize size"]:
        drawing = _generator(weights, int(torch.randint(2**32, (), generator=generator)))
        noise = torch.randn(
            self.popsize, len(weights), generator=drawing, device=drawing.device, dtype=weights.dtype
        ).to(weights)
        population = noise.mul_(self.spread).add_(weights)
        population[0] = weights
        return population

    def _breed(self, population: Tensor, losses: Tensor, stdev: float, generator: torch.Generator) -> None:
        """Puts the next generation in the place of this one: the elites first, then as many children as fit."""
        elites = losses.argsort(stable=True)[: self.elites].to(population.device)
        couples = (self.popsize - self.elites + 1) // 2
        parents = tournament(losses, 2 * couples, self.tournament_size, generator).to(population.device)
        # Couples are drawn independently of each other, so those that cross may as well come first.
        crossing = int((torch.rand(couples, generator=generator) < self.crossover_rate).sum())
        seed = int(torch.randint(2**32, (), generator=generator))

        def breed(columns_block: Tensor, seed: int) -> None:
            drawing = _generator(columns_block, seed)
            best = columns_block.index_select(0, elites)
            children = columns_block.index_select(0, parents).to(drawing.device)
            if crossing:
                cross(children[:crossing], children[couples : couples + crossing], self.crossover_eta, drawing)
            places = mutated(children.numel(), self.mutation_rate, drawing)
            noise = torch.randn(len(places), generator=drawing, device=drawing.device, dtype=children.dtype)
            children.view(-1).index_add_(0, places, noise, alpha=stdev)
            columns_block[: self.elites] = best
            columns_block[self.elites :] = children[: self.popsize - self.elites]

        parts = population.split(max(1, BLOCK // self.popsize), dim=1)
        with ThreadPoolExecutor(self.workers) as pool:
            list(pool.map(breed, parts, range(seed, seed + len(parts))))


def _generator(like: Tensor, seed: int) -> torch.Generator:
    """One for many numbers: where they are needed, and elsewhere than on CUDA on the CPU."""
    return torch.Generator(like.device if like.is_cuda else "cpu").manual_seed(seed % 2**32)
