"""What a training will take of the memory, before it begins: one that cannot fit is refused by what to change.

`benchmarks/memory.py` holds the numbers against measured peaks; benchmarks/RESULTS.md has the table.
"""

from __future__ import annotations

from pathlib import Path

import torch

from transformer_spectrum.config.load import Params
from transformer_spectrum.models.forecaster import Layout
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.memory import Footprint, Free, MemoryPart, free_memory
from transformer_spectrum.training import build
from transformer_spectrum.training.division import PIECES
from transformer_spectrum.training.setup import read_windows

VECTORS = {"adam": 16, "es": 20, "ga": 8}
"""Vectors as long as the weights that the leanest rule of each kind keeps: weights, gradient, state, copies."""
FIRST_EPOCH = 6
"""Records of weights inside the first epoch, and the last one."""
OF_PYCMA, OF_GA = 15, 2
"""Vectors that are kept of a candidate: pycma's are of float64, and copied; the other strategies draw theirs anew."""
OF_CANDIDATE = 64
"""Bytes that are kept of every candidate: its seed, loss, rank and share."""
LEARNING = {"transformer": (2, 2), "lstm": (0.5, 1.75)}
"""Times the activations of a forward pass that a gradient holds: of any depth, and more for each layer."""
WINDOWS = 8
"""Times the numbers in the windows that are held: as read, on the device, predicted, and their residuals."""
NETWORK = "weights, gradients and what the rule keeps"


def weights_of(params: Params, features: int) -> int:
    """How many weights the network of these parameters has, of whatever depth, without building all of it.

    Args:
        params: all parameters.
        features: values a step of the series.
    Raises:
        InputError: parameters that do not go together.

    >>> from transformer_spectrum.config.load import load_params
    >>> weights_of(load_params("params.yaml"), 1)
    170124
    """
    first, second = (Layout(build.shapes(params, features, layers)).size for layers in (1, 2))
    return first + (params.model.layers - 1) * (second - first)  # layers are alike


def footprint(
    params: Params, optimizer: str, features: int, windows: int = 0, *, keeps_weights: bool = True
) -> Footprint:
    """Of a training of these parameters by this optimizer, by arithmetic alone.

    Args:
        params: all parameters.
        optimizer: adam, es or ga.
        features: values a step of the series.
        windows: that are trained, validated and tested on; count.
        keeps_weights: whether weights are kept every so many rounds, as in all trainings but the trials of `tune`.
            Those that patience or a budget may spare count for nothing.
    Raises:
        InputError: parameters that do not go together.

    >>> from transformer_spectrum.config.load import load_params
    >>> whole = footprint(load_params("params.yaml"), "adam", 1)
    >>> whole.weights, list(whole.parts)[1:]
    (170124, ['kept weights', 'a population', 'activations', 'windows'])
    """
    weights, model = weights_of(params, features), build.shapes(params, features, layers=1)
    vector = 4 * weights
    settings = getattr(params, optimizer)
    rounds = params.adam.epochs if optimizer == "adam" else settings.generations
    certain = keeps_weights and settings.patience is None and not any(params.budget.model_dump().values())
    kept = FIRST_EPOCH + (rounds // params.training.snapshot_every if certain else 0)
    popsize = 0 if optimizer == "adam" else settings.popsize
    by_pycma = optimizer == "es" and settings.algorithm == "cma"
    of_candidate = OF_GA if optimizer == "ga" else OF_PYCMA if by_pycma else 0
    forward = 4 * params.training.batch_size * model.activations(params.data.context, params.data.horizon)
    whole, of_layer = LEARNING[params.model.type]
    learning = (whole + of_layer * params.model.layers) * min(params.training.workers, PIECES) / PIECES
    held = WINDOWS * 4 * windows * (params.data.context + params.data.horizon) * features
    smaller = "model.embed_dim, model.feedforward_dim or model.layers smaller"
    shorter = "training.batch_size or data.sequence_length smaller, or model.patch_length larger"
    return Footprint(
        weights,
        {
            NETWORK: MemoryPart(VECTORS[optimizer] * vector, smaller),
            "kept weights": MemoryPart(
                kept * vector, "training.snapshot_every larger, or the model smaller", on_host=True
            ),
            "a population": MemoryPart(
                popsize * (of_candidate * vector + OF_CANDIDATE), f"{optimizer}.popsize smaller", by_pycma
            ),
            "activations": MemoryPart(forward * (learning if optimizer == "adam" else 1), shorter),
            "windows": MemoryPart(held, "data.stride larger, or series fewer", on_host=True),
        },
    )


def check_it_fits(
    params: Params, optimizer: str, windows: Path, free: Free | None = None, *, keeps_weights: bool = True
) -> None:
    """Meets a training that cannot fit, before it takes the memory of all that runs beside it.

    Args:
        params: all parameters.
        optimizer: adam, es or ga.
        windows: the file that it trains on.
        free: memory of the machine; None = what this process may still take.
        keeps_weights: see `footprint`.
    Raises:
        InputError: it cannot; or the windows are missing or corrupt, or the device is not there.

    >>> from transformer_spectrum.config.load import load_params
    >>> check_it_fits(load_params("params.yaml"), "adam", Path("windows.npz"))
    Traceback (most recent call last):
    transformer_spectrum.runtime.errors.InputError: windows.npz: no such file; run the stage that writes it (dvc repro)
    """
    splits = read_windows(windows)
    count, features = sum(len(split) for split in splits.values()), splits["train"].context.shape[-1]
    whole = footprint(params, optimizer, features, count, keeps_weights=keeps_weights)
    device, host = build.device(params.device), free or free_memory()
    refusal = whole.refusal(host)
    if device.type == "cuda":
        # What torch has taken and does not use, it uses first.
        idle = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        on_gpu = Free(torch.cuda.mem_get_info(device)[0] + idle, "on the GPU")
        refusal = whole.of(on_host=False).refusal(on_gpu) or whole.of(on_host=True).refusal(host)
    if refusal:
        raise InputError(f"a training by {optimizer} {refusal}")
