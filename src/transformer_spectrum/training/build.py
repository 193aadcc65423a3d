"""Parameters -> objects: the only module that knows both sides."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from transformer_spectrum import losses
from transformer_spectrum.config.load import Params
from transformer_spectrum.config.schema import SGTParams
from transformer_spectrum.data.windows.arrays import Windows
from transformer_spectrum.distributions.sgt import SGT
from transformer_spectrum.losses import Loss
from transformer_spectrum.models.forecaster import Forecaster, Layout
from transformer_spectrum.models.lstm import LSTM
from transformer_spectrum.models.transformer import Transformer
from transformer_spectrum.optimizers.contract import Searcher
from transformer_spectrum.optimizers.evolution.strategies import STRATEGIES
from transformer_spectrum.optimizers.ga import GA
from transformer_spectrum.optimizers.gradient.algorithms import descent
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.seeds import torch_generator
from transformer_spectrum.training.objective import WindowObjective
from transformer_spectrum.training.recording import Recording

logger = logging.getLogger(__name__)


@functools.cache
def device(name: str) -> torch.device:
    """The device to compute on; `auto` takes CUDA, then MPS, then the CPU, and says so once.

    Raises:
        InputError: the device that is asked for is not there.

    >>> device("cpu")
    device(type='cpu')
    """
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        kind = next(kind for kind, is_present in present.items() if is_present)
        logger.info("device = auto: computing on %s", kind)
        return torch.device(kind)
    if not present[name]:
        raise InputError(f"device = {name}: this machine (or this build of torch) has no such device")
    return torch.device(name)


def sgt(block: SGTParams) -> SGT:
    """The distribution that a block of parameters describes.

    >>> from transformer_spectrum.config.load import load_params
    >>> from transformer_spectrum.config.wheel_files import packaged
    >>> block = load_params(packaged("params.yaml")).loss
    >>> sgt(block).q == block.q
    True
    """
    return SGT(block.mu, block.sigma, block.lam, block.p, block.q, block.centred, block.unit_variance)


def loss(params: Params, mad: float | None = None) -> Loss:
    """The elementwise training loss, at the scale of residuals of this MAD (scaled units), or as set if it is None.

    >>> from transformer_spectrum.config.load import load_params
    >>> from transformer_spectrum.config.wheel_files import packaged
    >>> elementwise = loss(load_params(packaged("params.yaml")))
    >>> elementwise(torch.zeros(2, 5), torch.ones(2, 5)).shape
    torch.Size([2, 5])
    """
    elementwise = losses.make_loss(params.loss.type, sgt=sgt(params.loss), gamma=params.loss.gamma, mad=mad)
    return losses.times(elementwise, params.loss.factor)


def loss_form(params: Params) -> tuple[str, bool, bool]:
    """What losses have in common that are computed by the same formula.

    >>> from transformer_spectrum.config.load import load_params
    >>> from transformer_spectrum.config.wheel_files import packaged
    >>> loss_form(load_params(packaged("params.yaml")))
    ('sgt', False, False)
    """
    return params.loss.type, params.loss.type == "sgt" and math.isinf(params.loss.q), params.loss.factor != 1


def model(params: Params, features: int) -> Forecaster:
    """A forecaster with the initial weights of the seed, on the CPU.

    >>> from transformer_spectrum.config.load import load_params
    >>> from transformer_spectrum.config.wheel_files import packaged
    >>> params = load_params(packaged("params.yaml"))
    >>> first, second = (Layout(forecaster).flatten(forecaster) for forecaster in (model(params, 1), model(params, 1)))
    >>> torch.equal(first, second)
    True
    """
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


def shapes(params: Params, features: int, layers: int) -> Forecaster:
    """That forecaster with so many layers, without memory for its weights.

    Raises:
        InputError: a matrix has more entries than can be counted in 64 bits.

    >>> from transformer_spectrum.config.load import load_params
    >>> from transformer_spectrum.config.wheel_files import packaged
    >>> params = load_params(packaged("params.yaml"))
    >>> [sum(weight.numel() for weight in shapes(params, 1, layers).parameters()) for layers in (1, 2)]
    [86412, 170124]
    """
    settings = params.model.model_copy(update={"layers": layers})
    try:
        with torch.device("meta"):
            return model(params.model_copy(update={"model": settings}), features)
    except (RuntimeError, TypeError) as error:  # torch's, of a size that overflows
        if "overflow" not in str(error).lower():
            raise
        sizes = f"model.embed_dim = {settings.embed_dim} with model.feedforward_dim = {settings.feedforward_dim}"
        rule = f"with {features} features a matrix has more entries than 64 bits count"
        raise InputError(f"{sizes}: must be smaller; {rule}") from None


class Search(NamedTuple):
    """An optimizer with its settings.

    Attributes:
        searcher: the method.
        rounds: at most so many epochs or generations; count.
        patience: ends after so many of them without a better validation score; count, None = never.
    """

    searcher: Searcher
    rounds: int
    patience: int | None


def _adam(params: Params, layout: Layout) -> Search:
    return Search(descent(params.adam, layout), params.adam.epochs, params.adam.patience)


def _es(params: Params, layout: Layout) -> Search:
    return Search(STRATEGIES[params.es.algorithm](params.es, layout), params.es.generations, params.es.patience)


def _ga(params: Params, layout: Layout) -> Search:
    settings = params.ga.model_dump(exclude={"patience"})
    return Search(GA(**settings, workers=params.training.workers), params.ga.generations, params.ga.patience)


SEARCHES: dict[str, Callable[[Params, Layout], Search]] = {"adam": _adam, "es": _es, "ga": _ga}
"""Each of `config.schema.OPTIMIZERS` -> what makes it from its section of the parameters."""


def searcher(params: Params, optimizer: str, layout: Layout) -> Search:
    """The search method of this name.

    Raises:
        InputError: the method would not fit in memory.

    >>> from transformer_spectrum.config.load import load_params
    >>> from transformer_spectrum.config.wheel_files import packaged
    >>> params = load_params(packaged("params.yaml"))
    >>> search = searcher(params, "ga", Layout(model(params, features=1)))
    >>> type(search.searcher).__name__, search.rounds == params.ga.generations
    ('GA', True)
    """
    return SEARCHES[optimizer](params, layout)


def recording(params: Params, search: Search) -> Recording:
    """Which steps of a training by this method are recorded, and which is the best.

    >>> from transformer_spectrum.config.load import load_params
    >>> from transformer_spectrum.config.wheel_files import packaged
    >>> params = load_params(packaged("params.yaml"))
    >>> search = searcher(params, "ga", Layout(model(params, features=1)))
    >>> recording(params, search).select == params.training.select
    True
    """
    settings = params.training
    return Recording(
        rounds=search.rounds,
        every=settings.record_every,
        snapshot_every=settings.snapshot_every,
        select=settings.select,
        patience=search.patience,
        step_spectra=settings.step_spectra,
    )


def objective(params: Params, forecaster: Forecaster, layout: Layout, windows: Windows) -> WindowObjective:
    """The loss over one split's windows, on the device.

    >>> from transformer_spectrum.config.load import load_params
    >>> from transformer_spectrum.config.wheel_files import packaged
    >>> params = load_params(packaged("params.yaml")).model_copy(update={"device": "cpu"})
    >>> context, target, zeros = (np.zeros((3, steps, 1), np.float32) for steps in (24, 12, 1))
    >>> windows = Windows(context, target, zeros, zeros + 1, np.array(["SE", "MT", "IS"]), np.array([0, 0, 0]))
    >>> forecaster = model(params, features=1)
    >>> weights = initial_weights(params, forecaster, Layout(forecaster))
    >>> bool(objective(params, forecaster, Layout(forecaster), windows).validation(weights).loss > 0)
    True
    """
    where = device(params.device)
    context, target = (
        torch.from_numpy(np.ascontiguousarray(values)).to(where) for values in (windows.context, windows.target)
    )
    training = params.training
    return WindowObjective(
        forecaster,
        layout,
        loss(params),
        context,
        target,
        training.batch_size,
        seed=torch_generator(params.seed, "dropout").initial_seed(),
        workers=training.workers,
        memory_mib=training.memory_mib,
        precision=precision(params),
        compile=params.adam.compile,
        say=logger.info,
    )


def precision(params: Params) -> str:
    """Of the products when a population is scored: float32 or bfloat16, which training.precision = auto means here.

    >>> from transformer_spectrum.config.load import load_params
    >>> from transformer_spectrum.config.wheel_files import packaged
    >>> precision(load_params(packaged("params.yaml")))
    'float32'
    """
    chosen = params.training.precision
    if chosen != "auto":
        return chosen
    if params.model.type != "transformer" or params.model.patch_length > 1:
        return "float32"  # nowhere faster when measured
    return "bfloat16" if _has_bfloat16(device(params.device)) else "float32"


def _has_bfloat16(where: torch.device) -> bool:
    """Whether products of bfloat16 are instructions of the processor."""
    if where.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    asked = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # there is no public question
    return where.type == "cpu" and asked is not None and bool(asked())


def initial_weights(params: Params, forecaster: Forecaster, layout: Layout) -> Tensor:
    """The flat initial weights (n,), on the device.

    >>> from transformer_spectrum.config.load import load_params
    >>> from transformer_spectrum.config.wheel_files import packaged
    >>> params = load_params(packaged("params.yaml")).model_copy(update={"device": "cpu"})
    >>> forecaster = model(params, features=1)
    >>> len(initial_weights(params, forecaster, Layout(forecaster))) == sum(p.numel() for p in forecaster.parameters())
    True
    """
    return layout.flatten(forecaster).to(device(params.device))
