"""Mirrored sampling, centred ranks, a gradient optimizer: Salimans et al. (2017), https://arxiv.org/abs/1703.03864."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from transformer_spectrum.optimizers.evolution.perturbation import LowRankNoise, Mirrored, Noise
from transformer_spectrum.optimizers.evolution.strategy import EvolutionStrategy, centred_ranks

LEARNING_RATE = 0.003
"""Of the optimizer, where none is given: as measured at sigma = 0.01."""
ADAM_STATE = ("step", "exp_avg", "exp_avg_sq")


class EstimatedGradient:
    """A point that follows the gradient of the smoothed utilities, -(1 / (M sigma)) sum over pairs (u+ - u-) e.

    Args:
        weights: (n,) the initial point.
        method: the settings.
        state: what `state` has given.
    """

    def __init__(self, weights: Float[Tensor, " size"], method: OpenAIES, state: Mapping[str, Tensor] | None) -> None:
        self.method = method
        self.sigma = method.sigma if state is None else float(state["sigma"])
        self.centre = weights.clone() if state is None else state["mean"].to(weights, copy=True)
        kind = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[method.optimizer]
        self.optimizer = kind([self.centre], lr=method.learning_rate)
        if state is not None and "step" in state:
            self.optimizer.state[self.centre] = {
                name: state[name].clone() if name == "step" else state[name].to(weights, copy=True)
                for name in ADAM_STATE
            }

    def ask(self, generator: torch.Generator) -> Mirrored:
        pairs, size = self.method.popsize // 2, len(self.centre)
        self.noise: Noise | LowRankNoise
        if self.method.rank:
            self.noise = LowRankNoise(pairs, self.method.shapes, self.method.rank, generator, self.centre)
        else:
            self.noise = Noise(pairs, size, generator, self.centre)
        return Mirrored(self.mean(), self.sigma, self.noise)

    def tell(self, losses: Float64[Tensor, " popsize"]) -> None:
        worth = centred_ranks(losses)
        # Descent direction of the loss = minus the ascent direction of the utilities.
        self.centre.grad = self.noise.sum(worth[1::2] - worth[0::2]) / (self.method.popsize * self.sigma)
        del self.noise
        self.centre *= 1 - self.method.learning_rate * self.method.weight_decay  # Loshchilov & Hutter (2019), alg. 2
        self.optimizer.step()
        self.sigma *= self.method.sigma_decay

    def mean(self) -> Float[Tensor, " size"]:
        return self.centre.clone()

    def step_length(self) -> float:
        return self.sigma * math.sqrt(len(self.centre))

    def state(self) -> dict[str, Tensor]:
        point = {"mean": self.centre.clone(), "sigma": torch.tensor(self.sigma, dtype=torch.float64)}
        moments = self.optimizer.state[self.centre] if self.method.optimizer == "adam" else {}
        return point | {name: value.clone() for name, value in moments.items()}


@dataclass(frozen=True)
class OpenAIES(EvolutionStrategy):
    """See the module and `EvolutionStrategy`; a generation is popsize / 2 mirrored pairs.

    Args:
        learning_rate: of the optimizer.
        optimizer: takes the estimated gradient; adam or sgd.
        weight_decay: decoupled: weights shrink by learning_rate * weight_decay a generation.
        sigma_decay: sigma is multiplied by it after each generation.
        rank: of each matrix's perturbation, as in `LowRankNoise`; 0 = all entries are independent.
        shapes: of the parameters in the flat vector (`Layout.shapes`); needed when rank > 0.
    Raises:
        ValueError: popsize is odd; rank > 0 and no shapes.
    """

    learning_rate: float = LEARNING_RATE
    optimizer: Literal["adam", "sgd"] = "adam"
    weight_decay: float = 0.0
    sigma_decay: float = 1.0
    rank: int = 0
    shapes: tuple[tuple[int, ...], ...] = ()

    def __post_init__(self) -> None:
        if self.popsize % 2:
            raise ValueError(f"popsize = {self.popsize}: must be even (mirrored pairs)")
        if self.rank and not self.shapes:
            raise ValueError(f"rank = {self.rank}: needs the shapes of the parameters")

    def distribution(
        self, weights: Float[Tensor, " size"], generator: torch.Generator, state: Mapping[str, Tensor] | None
    ) -> EstimatedGradient:
        return EstimatedGradient(weights, self, state)
