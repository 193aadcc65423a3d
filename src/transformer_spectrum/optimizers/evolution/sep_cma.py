"""Separable CMA-ES: Ros & Hansen (2008), PPSN X, with two-point step-size adaptation: Hansen et al. (2014), PPSN XIII.

The same algorithm as `cma_es` with a diagonal covariance, down to pycma's choices where the papers leave any:

- learning rates c1 = 1 / (n + 2 sqrt n + mu/n), cmu = (mu + 1/mu - 1.75) / (n + 4 sqrt n + mu/2) and
  cc = (1 + 1/n + mu/n) / (sqrt n + 1/n + 2 mu/n), mu being the effective number of parents;
- negative weights for the worse half, whose sum is that of Hansen (2016), https://arxiv.org/abs/1604.00772,
  equations (50)-(51), without the bound (52) that keeps a full covariance positive definite;
- an update of the logarithm of the variances, which cannot make them negative, damped by ln 2;
- the damping of the two-point adaptation, 0.7 + 2 ln n + 2 ln max(1, M - n).

In 1e5 dimensions cumulative step-size adaptation needs thousands of generations to move sigma; two points, ahead and
behind along the last step of the mean, see at once which way it should go.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from transformer_spectrum.optimizers.evolution.perturbation import Noise, Scattered
from transformer_spectrum.optimizers.evolution.strategy import EvolutionStrategy, by_rank, precise

SMOOTHING = 0.3  # of the two-point adaptation


@dataclass(frozen=True)
class Constants:
    """Weights and learning rates for `size` weights and `popsize` candidates.

    Attributes:
        recombination: (M,) by rank, those of the better half; they sum to 1.
        variance: (M,) by rank, positive and negative, of the covariance's update.
        parents: variance-effective number of parents.
        single, rank, path, shift, damping: learning rates of the rank-one and the rank-mu update, of their path and
            of the path of mean shifts, and the damping of sigma.
    """

    recombination: Float64[Tensor, " popsize"]
    variance: Float64[Tensor, " popsize"]
    parents: float
    single: float
    rank: float
    path: float
    shift: float
    damping: float

    @classmethod
    def of(cls, size: int, popsize: int) -> Constants:
        raw = math.log((popsize + 1) / 2) - torch.arange(1, popsize + 1, dtype=torch.float64).log()
        better = raw.clamp(min=0)
        better /= better.sum()
        worse = (-raw).clamp(min=0)
        worse /= worse.sum()
        mu, mu_worse = 1 / float(better.square().sum()), 1 / float(worse.square().sum())
        single = 1 / (size + 2 * math.sqrt(size) + mu / size)
        rank = min(1 - single, (mu + 1 / mu - 1.75) / (size + 4 * math.sqrt(size) + mu / 2))
        return cls(
            recombination=better,
            variance=better - worse * min(1 + single / rank, 1 + 2 * mu_worse / (mu + 2)),
            parents=mu,
            single=single,
            rank=rank,
            path=(1 + 1 / size + mu / size) / (math.sqrt(size) + 1 / size + 2 * mu / size),
            shift=(mu + 2) / (size + mu + 3),
            damping=0.7 + 2 * math.log(size) + 2 * math.log(max(1, popsize - size)),
        )


class SeparableCovariance:
    """Normal distribution N(mean, sigma^2 diag(scale^2)) between two generations.

    Args:
        weights: (n,) the initial mean.
        sigma: initial step size.
        popsize: M, candidates in a generation.
        state: what `state` has given.
    """

    def __init__(
        self, weights: Float[Tensor, " size"], sigma: float, popsize: int, state: Mapping[str, Tensor] | None
    ) -> None:
        self.popsize, self.like, self.constants = popsize, weights, Constants.of(len(weights), popsize)
        dtype, device = precise(weights), weights.device
        self.told = 0 if state is None else int(state["told"])
        self.sigma = sigma if state is None else float(state["sigma"])
        self.trend = 0.0 if state is None else float(state["trend"])
        if state is None:
            zeros = torch.zeros(len(weights), dtype=dtype, device=device)
            self.centre, self.scale = weights.to(device, dtype, copy=True), torch.ones_like(zeros)
            self.path, self.shifts, self.last = zeros, zeros.clone(), zeros.clone()
        else:
            self.centre, self.scale, self.path, self.shifts, self.last = (
                state[name].to(device, dtype, copy=True) for name in ("mean", "scale", "path", "shifts", "last")
            )

    def ask(self, generator: torch.Generator) -> Scattered:
        pair = None
        length = float(torch.linalg.vector_norm(self.last))
        if length > 0:  # ahead and behind, as far as a random candidate would be
            drawn = Noise(1, len(self.like), generator, self.like).rows(0, 1)[0]
            pair = self.last.to(self.like) * (float(torch.linalg.vector_norm(drawn)) / length)
        self.noise = Noise(self.popsize, len(self.like), generator, self.like, pair)
        return Scattered(self.mean(), (self.sigma * self.scale).to(self.like), self.noise)

    def tell(self, losses: Float64[Tensor, " popsize"]) -> None:
        rates, size = self.constants, len(self.like)
        first, second = self.noise.moments(
            by_rank(rates.recombination, losses), by_rank(rates.rank * rates.variance, losses)
        )
        del self.noise
        first, second = first.to(self.scale), second.to(self.scale)  # in units of sigma * scale
        self.told += 1
        step = self.sigma * self.scale * first
        self.centre += step
        self.shifts.mul_(1 - rates.shift).add_(first, alpha=math.sqrt(rates.shift * (2 - rates.shift) * rates.parents))
        # A path that is much too long says that sigma is too small: the covariance should not make up for it.
        expected = 1 - (1 - rates.shift) ** (2 * self.told)
        calm = float(self.shifts.square().sum()) / expected / size < 2 + 4 / (size + 1)
        self.path.mul_(1 - rates.path)
        if calm:
            self.path.add_(first, alpha=math.sqrt(rates.path * (2 - rates.path) * rates.parents))
        single = rates.single * (1 if calm else 1 - rates.path * (2 - rates.path))
        decay = single + rates.rank * float(rates.variance.sum())
        self.scale *= torch.exp(0.5 * math.log(2) * (second + single * self.path.square() - decay))
        self.sigma *= self._two_points(losses)
        self.last = step / self.scale

    def _two_points(self, losses: Float64[Tensor, " popsize"]) -> float:
        """Factor of sigma: above 1 when the candidate ahead is better than the one behind."""
        ahead, behind = losses[0], losses[1]
        between = int((losses < behind).sum() - (losses < ahead).sum()) / (self.popsize - 1)
        self.trend += SMOOTHING * (math.copysign(math.sqrt(abs(between)), between) - self.trend)
        return math.exp(self.trend / self.constants.damping)

    def mean(self) -> Float[Tensor, " size"]:
        return self.centre.to(self.like, copy=True)

    def step_length(self) -> float:
        return self.sigma * float(torch.linalg.vector_norm(self.scale))

    def state(self) -> dict[str, Tensor]:
        vectors = {
            "mean": self.centre,
            "scale": self.scale,
            "path": self.path,
            "shifts": self.shifts,
            "last": self.last,
        }
        numbers = {"sigma": self.sigma, "trend": self.trend}
        return {
            "told": torch.tensor(self.told),
            **{name: vector.clone() for name, vector in vectors.items()},
            **{name: torch.tensor(number, dtype=torch.float64) for name, number in numbers.items()},
        }


@dataclass(frozen=True)
class SepCMA(EvolutionStrategy):
    """See the module and `EvolutionStrategy`."""

    def distribution(
        self, weights: Float[Tensor, " size"], generator: torch.Generator, state: Mapping[str, Tensor] | None
    ) -> SeparableCovariance:
        return SeparableCovariance(weights, self.sigma, self.popsize, state)
