"""Genetic algorithm on real vectors: tournaments, simulated binary crossover, Gaussian mutation, elitism."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from transformer_spectrum.search.base import Objective, Step, first_step


def sbx_spread(uniform: Tensor, eta: float) -> Tensor:
    """Spread factor beta of simulated binary crossover for uniform numbers in [0, 1).

    beta = (2u)^(1/(eta+1)) for u <= 1/2, else (1 / (2 - 2u))^(1/(eta+1)).
    Source: Deb & Agrawal (1995), Complex Systems 9(2), eqs. (8)-(10).
    """
    base = torch.where(uniform <= 0.5, 2 * uniform, 1 / (2 - 2 * uniform))
    return base ** (1 / (eta + 1))


def crossover(one: Tensor, two: Tensor, eta: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Children (M, n) of parents (M, n): each weight crosses with probability 1/2; couples keep their mean."""
    uniform = torch.rand(one.shape, generator=generator)
    crossed = torch.rand(one.shape, generator=generator) < 0.5
    beta = torch.where(crossed, sbx_spread(uniform, eta), torch.ones(())).to(one)
    middle, half = (one + two) / 2, beta * (one - two) / 2
    return middle + half, middle - half


def tournament(losses: Tensor, winners: int, size: int, generator: torch.Generator) -> Tensor:
    """Indices (winners,) of the best of `size` members drawn with replacement, each time anew."""
    drawn = torch.randint(len(losses), (winners, size), generator=generator)
    best = losses.cpu()[drawn].argmin(dim=1, keepdim=True)
    return drawn.gather(1, best).squeeze(1)


@dataclass(frozen=True)
class GA:
    """A step is a generation of `popsize` members, all scored on one batch, and costs popsize evaluations.

    The step's weights are the best member on that batch. Elites are scored again with everybody else, so that luck
    on an easy batch does not survive.

    Args:
        generations: how many.
        popsize: members; even.
        spread: standard deviation of the first population around the initial weights, which are its first
            member; weight units.
        tournament_size: members in a tournament.
        crossover_rate: share of couples that cross.
        crossover_eta: distribution index of the crossover.
        mutation_rate: share of weights that mutate.
        mutation_stdev: of the mutation; weight units.
        elites: best members that survive unchanged.
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

    def steps(self, objective: Objective, weights: Tensor, generator: torch.Generator) -> Iterator[Step]:
        step = first_step(objective, weights, objective.batch(generator))
        yield step
        noise = torch.randn(self.popsize, len(weights), generator=generator).to(weights)
        population = weights + self.spread * noise
        population[0] = weights
        evaluations = step.evaluations
        for generation in range(1, self.generations + 1):
            batch = objective.batch(generator)
            losses = objective.losses(population, batch)
            losses = torch.where(torch.isfinite(losses), losses, torch.inf)
            evaluations += self.popsize
            order = losses.argsort()
            finite = losses[torch.isfinite(losses)]
            loss = float(losses[order[0]]) if len(finite) else float("nan")
            scalars = {
                "median_loss": float(finite.median()) if len(finite) else float("nan"),
                "diversity": float(population.std(dim=0).mean()),
            }
            yield Step(generation, evaluations, loss, population[order[0]].clone(), scalars)
            population = self._next(population, losses, order, generator)

    def _next(self, population: Tensor, losses: Tensor, order: Tensor, generator: torch.Generator) -> Tensor:
        parents = population[tournament(losses, self.popsize, self.tournament_size, generator).to(population.device)]
        one, two = parents.chunk(2)
        crossed = torch.rand(len(one), 1, generator=generator).to(one) < self.crossover_rate
        left, right = crossover(one, two, self.crossover_eta, generator)
        children = torch.cat([torch.where(crossed, left, one), torch.where(crossed, right, two)])
        mutated = torch.rand(children.shape, generator=generator).to(children) < self.mutation_rate
        noise = torch.randn(children.shape, generator=generator).to(children)
        children = children + mutated * self.mutation_stdev * noise
        if self.elites:
            children[: self.elites] = population[order[: self.elites]]
        return children
