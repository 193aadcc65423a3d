"""Evolution strategies: separable CMA-ES of the cma package, and OpenAI's.

What both analyse, validate and keep is the mean of the search distribution, scored on the generation's batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cma
import cma.sigma_adaptation
import numpy as np
import torch
from torch import Tensor

from transformer_spectrum.search.base import Objective, Step, first_step


def centred_ranks(losses: Tensor) -> Tensor:
    """Losses (M,) -> utilities (M,) in [-0.5, 0.5], the lowest loss highest; ties share their mean rank.

    A non-finite loss ranks last. Source: Salimans et al. (2017), section 2.
    """
    worst = torch.where(torch.isfinite(losses), losses, torch.inf)
    below = (worst.unsqueeze(0) < worst.unsqueeze(1)).sum(1)
    same = (worst.unsqueeze(0) == worst.unsqueeze(1)).sum(1) - 1
    rank = below + same / 2
    return 0.5 - rank / max(len(losses) - 1, 1)


class _TwoPoint(cma.sigma_adaptation.CMAAdaptSigmaTPA):
    """Without pycma's self-check, which draws from numpy's global generator and warns of mere rounding."""

    def check_consistency(self, es: cma.CMAEvolutionStrategy) -> None:
        pass


@dataclass(frozen=True)
class CMA:
    """Separable CMA-ES: Ros & Hansen (2008), by pycma with `CMA_diagonal` and two-point step-size
    adaptation, https://github.com/CMA-ES/pycma.

    A step is a generation of `popsize` candidates on one batch, and costs popsize + 1 evaluations.

    Args:
        generations: how many.
        popsize: candidates in each.
        sigma: initial step size; weight units.
    """

    generations: int
    popsize: int
    sigma: float

    def steps(self, objective: Objective, weights: Tensor, generator: torch.Generator) -> Iterator[Step]:
        step = first_step(objective, weights, objective.batch(generator))
        yield step
        normal = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
        options = {
            "CMA_diagonal": True,
            # In 1e5 dimensions cumulation needs thousands of generations to move sigma; two points see it at once.
            "AdaptSigma": _TwoPoint,
            "popsize": self.popsize,
            "randn": lambda *shape: normal.standard_normal(shape),
            "seed": np.nan,  # leave numpy's global generator alone
            "verbose": -9,
            "maxiter": np.inf,
            "maxfevals": np.inf,
            "tolx": 0,
            "tolfun": 0,
            "tolfunhist": 0,
            "tolstagnation": np.inf,
            "tolflatfitness": np.inf,
        }
        search = cma.CMAEvolutionStrategy(weights.double().cpu().numpy(), self.sigma, options)
        evaluations = step.evaluations
        for generation in range(1, self.generations + 1):
            batch = objective.batch(generator)
            candidates = search.ask()
            population = torch.from_numpy(np.asarray(candidates, dtype=np.float32)).to(weights)
            losses = objective.losses(population, batch).double().cpu().numpy()
            if not np.isfinite(losses).any():
                yield Step(generation, evaluations + self.popsize, float("nan"), population[0].clone())
                return
            # A candidate whose loss is not finite ranks last.
            finite = np.where(np.isfinite(losses), losses, losses[np.isfinite(losses)].max() + 1.0)
            search.tell(candidates, finite)
            mean = torch.from_numpy(np.asarray(search.mean, dtype=np.float32)).to(weights)
            evaluations += self.popsize + 1
            loss = float(objective.losses(mean.unsqueeze(0), batch)[0])
            scalars = {"sigma": float(search.sigma), "best_candidate_loss": float(finite.min())}
            yield Step(generation, evaluations, loss, mean, scalars)


@dataclass(frozen=True)
class OpenAIES:
    """Mirrored sampling, centred ranks, Adam: Salimans et al. (2017), https://arxiv.org/abs/1703.03864.

    A step is a generation of popsize / 2 mirrored pairs on one batch, and costs popsize + 1 evaluations.

    Args:
        generations: how many.
        popsize: candidates in each; even.
        sigma: standard deviation of the perturbations; weight units.
        learning_rate: of Adam on the estimated gradient.
    """

    generations: int
    popsize: int
    sigma: float
    learning_rate: float

    def steps(self, objective: Objective, weights: Tensor, generator: torch.Generator) -> Iterator[Step]:
        step = first_step(objective, weights, objective.batch(generator))
        yield step
        mean = weights.clone()
        optimizer = torch.optim.Adam([mean], lr=self.learning_rate)
        evaluations = step.evaluations
        for generation in range(1, self.generations + 1):
            batch = objective.batch(generator)
            noise = torch.randn(self.popsize // 2, len(mean), generator=generator).to(mean)
            population = torch.cat([mean + self.sigma * noise, mean - self.sigma * noise])
            losses = objective.losses(population, batch)
            utilities = centred_ranks(losses).to(mean)
            plus, minus = utilities.chunk(2)
            # Descent direction of the loss = minus the ascent direction of the utilities.
            mean.grad = -((plus - minus) @ noise) / (self.popsize * self.sigma)
            optimizer.step()
            evaluations += self.popsize + 1
            loss = float(objective.losses(mean.unsqueeze(0), batch)[0])
            scalars = {"sigma": self.sigma, "best_candidate_loss": float(losses.min())}
            yield Step(generation, evaluations, loss, mean.clone(), scalars)
