"""Separable natural evolution strategy: Wierstra et al. (2014), JMLR 15, https://jmlr.org/papers/v15/wierstra14a.html,
algorithm 6; first in Schaul, Glasmachers & Schmidhuber (2011), GECCO."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from transformer_spectrum.optimizers.evolution.perturbation import Noise, Scattered
from transformer_spectrum.optimizers.evolution.strategy import EvolutionStrategy, by_rank, precise

LEARNING_RATE = 1.0
"""Of the mean, where none is given: its authors'."""


def utilities(popsize: int) -> Float64[Tensor, " {popsize}"]:
    """max(0, ln(M/2 + 1) - ln k), divided by their sum, less 1/M: (M,) for ranks k = 1..M; they sum to 0.

    Source: Wierstra et al. (2014), section 3.1.

    >>> [round(utility, 3) for utility in utilities(4).tolist()]
    [0.48, 0.02, -0.25, -0.25]
    """
    raw = (math.log(popsize / 2 + 1) - torch.arange(1, popsize + 1, dtype=torch.float64).log()).clamp(min=0)
    return raw / raw.sum() - 1 / popsize


def scale_rate(size: int) -> float:
    """(3 + ln n) / (5 sqrt n): the learning rate of the scales; Wierstra et al. (2014), table 1.

    >>> round(scale_rate(100), 4)
    0.1521
    """
    return (3 + math.log(size)) / (5 * math.sqrt(size))


class SeparableNormal:
    """Normal distribution with a mean and a scale for each weight, which follow the natural gradient.

    Args:
        weights: (n,) the initial mean.
        sigma: the initial scale of all weights.
        popsize: candidates in a generation.
        learning_rate: of the mean.
        state: what `state` has given.
    """

    def __init__(
        self,
        weights: Float[Tensor, " size"],
        sigma: float,
        popsize: int,
        learning_rate: float,
        state: Mapping[str, Tensor] | None,
    ) -> None:
        self.popsize, self.learning_rate, self.like = popsize, learning_rate, weights
        dtype, device = precise(weights), weights.device
        self.centre = (
            weights.to(device, dtype, copy=True) if state is None else state["mean"].to(device, dtype, copy=True)
        )
        self.scale = (
            torch.full_like(self.centre, sigma) if state is None else state["scale"].to(device, dtype, copy=True)
        )

    @property
    def sigma(self) -> float:
        """Geometric mean of the scales."""
        return math.exp(float(self.scale.log().mean()))

    def ask(self, generator: torch.Generator) -> Scattered:
        self.noise = Noise(self.popsize, len(self.like), generator, self.like)
        return Scattered(self.mean(), self.scale.to(self.like), self.noise)

    def tell(self, losses: Float64[Tensor, " popsize"]) -> None:
        worth = by_rank(utilities(self.popsize), losses)
        first, second = self.noise.moments(worth, worth)  # the utilities sum to 0, so z^2 - 1 and z^2 give the same
        del self.noise
        self.centre += self.learning_rate * self.scale * first
        self.scale *= torch.exp(0.5 * scale_rate(len(self.like)) * second.to(self.scale))

    def mean(self) -> Float[Tensor, " size"]:
        return self.centre.to(self.like, copy=True)

    def step_length(self) -> float:
        return float(torch.linalg.vector_norm(self.scale))

    def state(self) -> dict[str, Tensor]:
        return {"mean": self.centre.clone(), "scale": self.scale.clone()}


@dataclass(frozen=True)
class SNES(EvolutionStrategy):
    """See the module and `EvolutionStrategy`.

    Args:
        learning_rate: of the mean; 1 is the method's own.
    """

    learning_rate: float = LEARNING_RATE

    def distribution(
        self, weights: Float[Tensor, " size"], generator: torch.Generator, state: Mapping[str, Tensor] | None
    ) -> SeparableNormal:
        return SeparableNormal(weights, self.sigma, self.popsize, self.learning_rate, state)
