"""What a training will take of the memory, before it begins: one that cannot fit is refused by what to change.

The numbers are those of `benchmarks/memory.py`, which holds them against measured peaks. They are rather too small
than too large, so that nothing is refused that would have fitted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from transformer_spectrum.config.load import Params
from transformer_spectrum.models.forecaster import Layout
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.memory import GIB, Free, free_memory
from transformer_spectrum.training import build
from transformer_spectrum.training.ensemble import VECTORS
from transformer_spectrum.training.setup import read_windows

FIRST_EPOCH = 6
"""Records of weights inside the first epoch, and the last one."""
OF_PYCMA, OF_GA = 15, 2
"""Vectors that are kept of a candidate: pycma's are of float64, and copied; the other strategies draw theirs anew."""
LEARNING = 6
"""Times the activations of a forward pass that a gradient holds."""
WINDOWS = 8
"""Times the numbers in the windows that are held: as read, on the device, predicted, and their residuals."""
PIECES = 4
"""Of a batch, each computed by a worker."""
WIDTHS = "model.embed_dim, model.feedforward_dim or model.layers smaller"


@dataclass(frozen=True)
class Footprint:
    """Memory that a training takes at its peak, about, beyond what the program itself has taken before.

    Attributes:
        weights: of the network; count.
        parts: what for -> bytes and what makes it less; the largest says what to change.
    """

    weights: int
    parts: Mapping[str, tuple[float, str]]

    @property
    def size(self) -> float:
        """Of all parts; bytes."""
        return sum(size for size, _ in self.parts.values())

    def refusal(self, free: Free) -> str | None:
        """Why it would not fit, in one line that says what to change; None where it does.

        >>> found = Footprint(10**9, {"weights": (120 * 2**30, "model.layers smaller")})
        >>> found.refusal(Free(20 * 2**30, "of this machine")).split("; ")[1]
        '120 GiB of it are weights: make model.layers smaller'
        """
        if self.size <= free.size:
            return None
        largest, (size, change) = max(self.parts.items(), key=lambda part: part[1][0])
        return (
            f"would take about {_gib(self.size)} GiB, and {_gib(free.size)} GiB are free {free.under}; "
            f"{_gib(size)} GiB of it are {largest}: make {change}"
        )


def footprint(params: Params, optimizer: str, features: int, windows: int = 0) -> Footprint:
    """Of a training of these parameters by this optimizer, by arithmetic alone.

    Args:
        params: all parameters.
        optimizer: adam, es or ga.
        features: values a step of the series.
        windows: that are trained, validated and tested on; count.
    Raises:
        InputError: parameters that do not go together.

    >>> from transformer_spectrum.config.load import load_params
    >>> found = footprint(load_params("params.yaml"), "adam", 1)
    >>> found.weights, list(found.parts)
    (170124, ['weights, gradients and what the rule keeps', 'kept weights', 'a population', 'activations', 'windows'])
    """
    with torch.device("meta"):
        model = build.model(params, features)
    weights = Layout(model).size
    vector = 4 * weights
    rounds = {"adam": params.adam.epochs, "es": params.es.generations, "ga": params.ga.generations}[optimizer]
    popsize = {"adam": 0, "es": params.es.popsize, "ga": params.ga.popsize}[optimizer]
    of_candidate = OF_GA if optimizer == "ga" else OF_PYCMA if params.es.algorithm == "cma" else 0
    forward = 4 * params.training.batch_size * model.activations(params.data.context, params.data.horizon)
    shares = min(params.training.workers, PIECES) / PIECES
    batch = "training.batch_size or data.sequence_length smaller, or model.patch_length larger"
    return Footprint(
        weights,
        {
            "weights, gradients and what the rule keeps": (VECTORS * vector, WIDTHS),
            "kept weights": (
                (rounds // params.training.snapshot_every + FIRST_EPOCH) * vector,
                "training.snapshot_every larger",
            ),
            "a population": (popsize * of_candidate * vector, f"{optimizer}.popsize smaller"),
            "activations": (forward * (LEARNING * shares if optimizer == "adam" else 1), batch),
            "windows": (
                WINDOWS * 4 * windows * params.data.sequence_length * features,
                "data.stride larger, or series fewer",
            ),
        },
    )


def check_it_fits(params: Params, optimizer: str, windows: Path, free: Free | None = None) -> None:
    """Meets a training that cannot fit, before it takes the memory of all that runs beside it.

    Args:
        params: all parameters.
        optimizer: adam, es or ga.
        windows: the file that it trains on.
        free: memory; None = what this process may still take, of an accelerator where it trains on one.
    Raises:
        InputError: it cannot; or the windows are missing or corrupt, or the device is not there.

    >>> from transformer_spectrum.config.load import load_params
    >>> check_it_fits(load_params("params.yaml"), "adam", Path("windows.npz"))
    Traceback (most recent call last):
    transformer_spectrum.runtime.errors.InputError: windows.npz: no such file; run the stage that writes it (dvc repro)
    """
    splits = read_windows(windows)
    if free is None:
        device = build.device(params.device)
        on_cuda = device.type == "cuda"
        free = Free(torch.cuda.mem_get_info(device)[0], "on the GPU") if on_cuda else free_memory()
    count, features = sum(len(split.context) for split in splits.values()), splits["train"].context.shape[-1]
    refusal = footprint(params, optimizer, features, count).refusal(free)
    if refusal:
        raise InputError(f"a training by {optimizer} {refusal}")


def _gib(size: float) -> str:
    value = size / GIB
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
