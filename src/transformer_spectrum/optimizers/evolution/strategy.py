"""What every evolution strategy does: ask for candidates, score them on one batch, tell, score the new mean.

The mean of the search distribution is what is analysed, validated and kept; the best candidate of the generation
stands beside it in `Step.candidate`. The methods differ in how candidates are drawn and what is learned from
their losses: `cma_es`, `sep_cma`, `openai_es`, `snes`.
"""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from transformer_spectrum.optimizers.contract import (
    Batches,
    Population,
    Scoring,
    Search,
    Searcher,
    State,
    Step,
    StopCause,
    first_step,
)
from transformer_spectrum.optimizers.populations import FLAT_GENERATIONS, diverged, flat, ranked


@runtime_checkable
class Distribution(Protocol):
    """A search distribution between two generations.

    Attributes:
        sigma: its step size; weight units.
    """

    @property
    def sigma(self) -> float: ...

    def ask(self, generator: torch.Generator) -> Float[Tensor, "popsize size"] | Population:
        """The candidates of a generation."""

    def tell(self, losses: Float64[Tensor, " popsize"]) -> None:
        """Learns from the candidates' losses: float64 on the CPU, inf where not finite, one is finite."""

    def mean(self) -> Float[Tensor, " size"]:
        """A copy, of the type and on the device of the initial weights."""

    def step_length(self) -> float:
        """About the Euclidean distance of a candidate from the mean; weight units."""

    def state(self) -> dict[str, Tensor]:
        """All that a new object needs to go on, as copies."""


def centred_ranks(losses: Float[Tensor, " popsize"]) -> Float[Tensor, " popsize"]:
    """Losses (M,) -> utilities (M,) in [-0.5, 0.5], the lowest loss highest; ties share their mean rank.

    A non-finite loss ranks last. Source: Salimans et al. (2017), section 2.1.

    >>> centred_ranks(torch.tensor([3.0, 1.0, torch.nan])).tolist()
    [0.0, 0.5, -0.5]
    """
    worst = torch.where(torch.isfinite(losses), losses, torch.inf)
    below = (worst.unsqueeze(0) < worst.unsqueeze(1)).sum(1)
    same = (worst.unsqueeze(0) == worst.unsqueeze(1)).sum(1) - 1
    rank = below + same / 2
    return 0.5 - rank / max(len(losses) - 1, 1)


def by_rank(values: Float[Tensor, " popsize"], losses: Float[Tensor, " popsize"]) -> Float[Tensor, " popsize"]:
    """Values (M,) for the best, the second best, ... -> (M,) for each candidate; ties in their order.

    >>> by_rank(torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64), torch.tensor([5.0, 1.0, 3.0])).tolist()
    [0.1, 0.7, 0.2]
    """
    placed = torch.empty_like(values)
    placed[losses.argsort(stable=True)] = values
    return placed


def precise(weights: Float[Tensor, " size"]) -> torch.dtype:
    """Type in which means and scales add up small changes; MPS has no float64.

    >>> precise(torch.zeros(2))
    torch.float64
    """
    return torch.float32 if weights.device.type == "mps" else torch.float64


@dataclass(frozen=True)
class EvolutionStrategy(Searcher):
    """A step is a generation of `popsize` candidates on one batch, and costs popsize + 1 evaluations.

    Its loss is that of the mean on the generation's batch. The search ends of its own accord when no candidate has
    a finite loss, when all candidates have had one and the same loss for `FLAT_GENERATIONS` generations, or when a
    candidate is too near the mean for the weights' floating-point numbers.

    Args:
        generations: how many at most.
        popsize: candidates in each.
        sigma: initial step size; weight units.
    """

    generations: int
    popsize: int
    sigma: float

    @abc.abstractmethod
    def distribution(
        self, weights: Float[Tensor, " size"], generator: torch.Generator, state: Mapping[str, Tensor] | None
    ) -> Distribution:
        """The first search distribution, or the one whose `state` is given."""

    def search(
        self,
        batches: Batches,
        weights: Float[Tensor, " size"],
        generator: torch.Generator,
        state: State | None = None,
    ) -> Search:
        search = self.distribution(weights, generator, state)

        def current_state() -> State:
            counts = {"generation": generation, "evaluations": evaluations, "flat": still}
            return {**search.state(), **{name: torch.tensor(count) for name, count in counts.items()}}

        if state is None:
            generation, evaluations, still = 0, 1, 0
            first = yield from first_step(weights, batches.batch(generator))
            yield dataclasses.replace(first, state=current_state)
        else:
            generation, evaluations, still = (int(state[name]) for name in ("generation", "evaluations", "flat"))
        while generation < self.generations:
            generation += 1
            batch = batches.batch(generator)
            population = search.ask(generator)
            losses = ranked((yield Scoring(population, batch)))
            evaluations += len(losses)
            best = int(losses.argmin())
            if not math.isfinite(losses[best]):
                yield diverged(generation, evaluations, search.mean())
                return
            still = flat(still, losses)
            candidate = population[best] if isinstance(population, Tensor) else population.members(best, best + 1)[0]
            candidate = candidate.clone()
            del population  # so that two generations never exist at once
            search.tell(losses)
            mean = search.mean()
            loss = float((yield Scoring(mean.unsqueeze(0), batch))[0])
            evaluations += 1
            reason = _ended(search, mean, still)
            scalars = {"sigma": search.sigma, "best_candidate_loss": float(losses[best])}
            cause = StopCause.STAGNATED if reason else None
            yield Step(
                generation,
                evaluations,
                loss,
                mean,
                scalars,
                candidate,
                float(losses[best]),
                reason,
                cause,
                current_state,
            )
            if reason:
                return


def _ended(search: Distribution, mean: Float[Tensor, " size"], still: int) -> str:
    if still >= FLAT_GENERATIONS:
        return f"stagnated: all candidates have had one and the same loss for {still} generations"
    if search.step_length() < torch.finfo(mean.dtype).eps * float(torch.linalg.vector_norm(mean)):
        return f"stagnated: the step size {search.sigma:.3g} is too small to change the weights"
    return ""
