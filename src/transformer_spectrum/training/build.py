"""Parameters -> objects: the only module that knows both sides."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from transformer_spectrum import losses
from transformer_spectrum.config.load import Params
from transformer_spectrum.config.schema import ESParams, SGTParams
from transformer_spectrum.data.windows.arrays import Windows
from transformer_spectrum.distributions.sgt import SGT
from transformer_spectrum.models.forecaster import Forecaster, Layout
from transformer_spectrum.models.lstm import LSTM
from transformer_spectrum.models.transformer import Transformer
from transformer_spectrum.optimizers.contract import Searcher
from transformer_spectrum.optimizers.evolution.cma_es import CMA, FULL_WEIGHTS, full_covariance_memory
from transformer_spectrum.optimizers.evolution.openai_es import OpenAIES
from transformer_spectrum.optimizers.evolution.sep_cma import SepCMA
from transformer_spectrum.optimizers.evolution.snes import SNES
from transformer_spectrum.optimizers.ga import GA
from transformer_spectrum.optimizers.gradient.adam import Adam
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.seeds import torch_generator
from transformer_spectrum.training.objective import Loss, WindowObjective

OPTIMIZERS = ("adam", "es", "ga")
ES_LEARNING_RATES: dict[str, float] = {"openai": 0.003, "snes": 1.0}
"""What es.learning_rate = null means: openai's as measured at es.sigma = 0.01, snes's by its authors."""


@functools.cache
def device(name: str) -> torch.device:
    """The device to compute on; `auto` takes CUDA, then MPS, then the CPU, and says so once.

    Raises:
        InputError: the device that is asked for is not there.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        found = next(kind for kind, is_there in there.items() if is_there)
        print(f"device = auto: computing on {found}", file=sys.stderr)
        return torch.device(found)
    if not there[name]:
        raise InputError(f"device = {name}: this machine (or this build of torch) has no such device")
    return torch.device(name)


def sgt(block: SGTParams) -> SGT:
    """The distribution that a block of parameters describes."""
    return SGT(block.mu, block.sigma, block.lam, block.p, block.q, block.centred, block.unit_variance)


def loss(params: Params) -> Loss:
    """The elementwise training loss."""
    return losses.make_loss(params.loss.type, sgt=sgt(params.loss), gamma=params.loss.gamma)


def model(params: Params, features: int) -> Forecaster:
    """A forecaster with the initial weights of the seed, on the CPU."""
    settings, generator = params.model, torch_generator(params.seed, "weights")
    if settings.type == "lstm":
        return LSTM(features, settings.embed_dim, settings.layers, settings.dropout, settings.patch_length, generator)
    return Transformer(
        features,
        settings.embed_dim,
        settings.heads,
        settings.layers,
        settings.feedforward_dim,
        settings.dropout,
        settings.patch_length,
        generator,
    )


def searcher(params: Params, optimizer: str, layout: Layout) -> tuple[Searcher, int, int]:
    """The search method, its most steps, and its patience.

    Raises:
        InputError: the method would not fit in memory.
    """
    if optimizer == "adam":
        settings = params.adam.model_dump(exclude={"patience", "compile"})
        return Adam(**settings), params.adam.epochs, params.adam.patience
    if optimizer == "es":
        return EVOLUTION_STRATEGIES[params.es.algorithm](params.es, layout), params.es.generations, params.es.patience
    settings = params.ga.model_dump(exclude={"patience"})
    return GA(**settings, workers=params.training.workers), params.ga.generations, params.ga.patience


def es_learning_rate(es: ESParams) -> float | None:
    """The learning rate of an evolution strategy: its own where none is given; None where it has none."""
    own = ES_LEARNING_RATES.get(es.algorithm)
    return own if es.learning_rate is None or own is None else es.learning_rate


def _cma(es: ESParams, layout: Layout) -> Searcher:
    if es.covariance == "full" and layout.size > FULL_WEIGHTS:
        raise InputError(
            f"es.covariance = full with {layout.size:,} weights: needs at most {FULL_WEIGHTS:,} "
            f"(it would take {full_covariance_memory(layout.size):,.0f} GiB)"
        )
    return CMA(es.generations, es.popsize, es.sigma, covariance=es.covariance)


def _sep_cma(es: ESParams, layout: Layout) -> Searcher:
    return SepCMA(es.generations, es.popsize, es.sigma)


def _snes(es: ESParams, layout: Layout) -> Searcher:
    own = ES_LEARNING_RATES["snes"]
    return SNES(es.generations, es.popsize, es.sigma, own if es.learning_rate is None else es.learning_rate)


def _openai(es: ESParams, layout: Layout) -> Searcher:
    own = ES_LEARNING_RATES["openai"]
    return OpenAIES(
        es.generations,
        es.popsize,
        es.sigma,
        learning_rate=own if es.learning_rate is None else es.learning_rate,
        optimizer=es.optimizer,
        weight_decay=es.weight_decay,
        sigma_decay=es.sigma_decay,
        rank=es.rank,
        shapes=tuple(layout.shapes),
    )


EVOLUTION_STRATEGIES: dict[str, Callable[[ESParams, Layout], Searcher]] = {
    "cma": _cma,
    "sep_cma": _sep_cma,
    "openai": _openai,
    "snes": _snes,
}
"""es.algorithm -> what makes the searcher."""


def objective(params: Params, forecaster: Forecaster, layout: Layout, windows: Windows) -> WindowObjective:
    """The loss over one split's windows, on the device."""
    where = device(params.device)
    context, target = (
        torch.from_numpy(np.ascontiguousarray(part)).to(where) for part in (windows.context, windows.target)
    )
    training = params.training
    return WindowObjective(
        forecaster,
        layout,
        loss(params),
        context,
        target,
        training.batch_size,
        workers=training.workers,
        memory_mib=training.memory_mib,
        precision=training.precision,
        compile=params.adam.compile,
        say=lambda sentence: print(sentence, file=sys.stderr),
    )


def initial_weights(params: Params, forecaster: Forecaster, layout: Layout) -> Tensor:
    """The flat initial weights (n,), on the device."""
    return layout.flatten(forecaster).to(device(params.device))
