"""The evolution strategies by name: the settings of the section `es` -> the strategy that they describe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, overload

from transformer_spectrum.config.schema import ESParams
from transformer_spectrum.models.forecaster import Layout
from transformer_spectrum.optimizers.evolution import openai_es, snes
from transformer_spectrum.optimizers.evolution.cma_es import CMA, FULL_WEIGHTS, full_covariance_memory
from transformer_spectrum.optimizers.evolution.openai_es import OpenAIES
from transformer_spectrum.optimizers.evolution.sep_cma import SepCMA
from transformer_spectrum.optimizers.evolution.snes import SNES
from transformer_spectrum.optimizers.evolution.strategy import EvolutionStrategy
from transformer_spectrum.runtime.errors import InputError

LEARNING_RATES: dict[str, float] = {"openai": openai_es.LEARNING_RATE, "snes": snes.LEARNING_RATE}
"""What es.learning_rate = null means, for the algorithms that have one."""


@overload
def learning_rate(algorithm: Literal["openai", "snes"], setting: float | None) -> float: ...


@overload
def learning_rate(algorithm: str, setting: float | None) -> float | None: ...


def learning_rate(algorithm: str, setting: float | None) -> float | None:
    """The learning rate of an evolution strategy: its own where none is set; None where it has none.

    >>> learning_rate("snes", None), learning_rate("snes", 0.5), learning_rate("cma", 0.5)
    (1.0, 0.5, None)
    """
    own = LEARNING_RATES.get(algorithm)
    return own if setting is None or own is None else setting


def _cma(es: ESParams, layout: Layout) -> CMA:
    if es.covariance == "full" and layout.size > FULL_WEIGHTS:
        raise InputError(
            f"es.covariance = full with {layout.size:,} weights: needs at most {FULL_WEIGHTS:,} "
            f"(it would take {full_covariance_memory(layout.size):,.0f} GiB)"
        )
    return CMA(es.generations, es.popsize, es.sigma, covariance=es.covariance)


def _sep_cma(es: ESParams, layout: Layout) -> SepCMA:
    return SepCMA(es.generations, es.popsize, es.sigma)


def _snes(es: ESParams, layout: Layout) -> SNES:
    return SNES(es.generations, es.popsize, es.sigma, learning_rate("snes", es.learning_rate))


def _openai(es: ESParams, layout: Layout) -> OpenAIES:
    return OpenAIES(
        es.generations,
        es.popsize,
        es.sigma,
        learning_rate=learning_rate("openai", es.learning_rate),
        optimizer=es.optimizer,
        weight_decay=es.weight_decay,
        sigma_decay=es.sigma_decay,
        rank=es.rank,
        shapes=tuple(layout.shapes),
    )


STRATEGIES: dict[str, Callable[[ESParams, Layout], EvolutionStrategy]] = {
    "cma": _cma,
    "sep_cma": _sep_cma,
    "openai": _openai,
    "snes": _snes,
}
"""es.algorithm -> what makes it; may raise InputError where the strategy would not fit in memory."""
