"""Covariance matrix adaptation by the cma package (pycma), https://github.com/CMA-ES/pycma.

The covariance is diagonal (Ros & Hansen 2008), diagonal plus one vector (vd: Akimoto, Auger & Hansen 2014), diagonal
plus k vectors (vkd: Akimoto & Hansen 2016), or full (Hansen & Ostermeier 2001).
"""

from __future__ import annotations

import contextlib
import functools
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64
from torch import Tensor

from transformer_spectrum.optimizers.evolution.strategy import EvolutionStrategy

FULL_WEIGHTS = 4096
"""More weights than these are too many for a full covariance: an eigendecomposition takes a minute."""
FULL_MATRICES = 7
"""Measured with 3000 weights: as many matrices (n, n) exist at once inside an eigendecomposition."""

EXTREMES = functools.partial(np.errstate, over="ignore", under="ignore", invalid="ignore", divide="ignore")
"""Around pycma at step sizes near the ends of float64: what it comes to is judged by the losses."""


def full_covariance_memory(size: int) -> float:
    """GiB that pycma needs for a full covariance of `size` weights: `FULL_MATRICES` (size, size) in float64.

    >>> round(full_covariance_memory(10_000) / full_covariance_memory(1_000))
    100
    """
    return FULL_MATRICES * 8 * size**2 / 2**30


def _options(covariance: str, popsize: int, randn: Any) -> dict[str, Any]:
    # Imported here, because it takes a second that no other stage should wait for.
    import cma
    from cma.restricted_gaussian_sampler import GaussVDSampler, GaussVkDSampler
    from cma.sigma_adaptation import CMAAdaptSigmaTPA

    class TwoPoints(CMAAdaptSigmaTPA):  # type: ignore[misc]  # pycma has no types
        """Without pycma's self-check, which draws from numpy's global generator and warns of mere rounding."""

        def check_consistency(self, es: cma.CMAEvolutionStrategy) -> None:
            pass

    options = {
        # In 1e5 dimensions cumulation needs thousands of generations to move sigma; two points see it at once.
        "AdaptSigma": TwoPoints,
        "popsize": popsize,
        "randn": randn,
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
    if covariance == "diagonal":
        return {**options, "CMA_diagonal": True}
    if covariance == "full":
        return options
    sampler = {"vd": GaussVDSampler, "vkd": GaussVkDSampler}[covariance]
    return sampler.extend_cma_options({**options, "CMA_sampler_options": {"randn": randn}})


class PyCMA:
    """A search of pycma.

    Its object cannot be kept as plain tensors. What is kept instead is its seed and the losses that it has been
    told: to go on it asks and tells again, without one evaluation, which takes as long as asking and telling took.

    Args:
        weights: (n,) the initial mean.
        method: the settings.
        seed: of all its random numbers.
        told: (generations, popsize) losses to be told at once; only by `state`.
    """

    def __init__(
        self,
        weights: Float[Tensor, " size"],
        method: CMA,
        seed: int,
        told: Float64[Tensor, "generations popsize"] | None,
    ) -> None:
        import cma

        self.like, self.seed = weights, seed
        normal = np.random.default_rng(seed)
        options = _options(method.covariance, method.popsize, lambda *shape: normal.standard_normal(shape))
        with contextlib.redirect_stdout(io.StringIO()):  # a sampler prints advice
            self.search = cma.CMAEvolutionStrategy(weights.double().cpu().numpy(), method.sigma, options)
        self.told: list[Tensor] = []
        for losses in [] if told is None else told.cpu():
            self._ask()
            self.tell(losses)

    def _ask(self) -> Float32[np.ndarray, "popsize size"]:
        with EXTREMES():
            self.candidates = self.search.ask()
            return np.asarray(self.candidates, dtype=np.float32)

    def ask(self, generator: torch.Generator) -> Float[Tensor, "popsize size"]:
        return torch.from_numpy(self._ask()).to(self.like)

    def tell(self, losses: Float64[Tensor, " popsize"]) -> None:
        self.told.append(losses.clone())
        values = losses.numpy()
        worst = values[np.isfinite(values)].max()
        with EXTREMES():
            self.search.tell(self.candidates, np.where(np.isfinite(values), values, worst + 1.0))
        del self.candidates

    @property
    def sigma(self) -> float:
        # The sampler of vkd adapts a step size of its own.
        return float(self.search.sigma * getattr(self.search.sm, "sigma", 1.0))

    def mean(self) -> Float[Tensor, " size"]:
        return torch.from_numpy(np.asarray(self.search.mean, dtype=np.float32)).to(self.like)

    def step_length(self) -> float:
        scales = np.sqrt(self.search.sm.variances) * self.search.sigma_vec.scaling
        return float(self.search.sigma * math.sqrt(len(self.like) * np.mean(np.square(scales))))

    def state(self) -> dict[str, Tensor]:
        told = torch.stack(self.told) if self.told else torch.empty(0, 0, dtype=torch.float64)
        return {"seed": torch.tensor(self.seed), "told": told}


@dataclass(frozen=True)
class CMA(EvolutionStrategy):
    """See the module and `EvolutionStrategy`.

    Args:
        covariance: of the search distribution.
    """

    covariance: Literal["diagonal", "vd", "vkd", "full"] = "diagonal"

    def distribution(self, weights: Tensor, generator: torch.Generator, state: Mapping[str, Tensor] | None) -> PyCMA:
        """As in `EvolutionStrategy`.

        Raises:
            ValueError: a full covariance of more than `FULL_WEIGHTS` weights.
        """
        size = len(weights)
        if self.covariance == "full" and size > FULL_WEIGHTS:
            raise ValueError(
                f"es.covariance = full with {size} weights: would need {full_covariance_memory(size):.1f} GiB; "
                f"at most {FULL_WEIGHTS} weights, so choose diagonal, vd or vkd"
            )
        if state is None:
            return PyCMA(weights, self, int(torch.randint(2**62, (), generator=generator)), None)
        return PyCMA(weights, self, int(state["seed"]), state["told"])
