"""Which trainings can run side by side, and how many at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psutil
import torch

from transformer_spectrum.config.load import Params
from transformer_spectrum.models.forecaster import Layout
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.training import build

SHARE = 0.25
"""Of the memory that is free when trainings begin, that they may take."""
VECTORS = 24
"""Vectors as long as the weights that a training by a gradient method keeps at once, besides its snapshots: weights,
gradient, state of the rule, the best, the last, and copies while they are stacked."""
SHARED = ("batch_size", "precision", "tf32", "memory_mib", "workers")
"""Parameters of the section `training` that trainings side by side have in common."""


def shared(params: Params, optimizer: str) -> dict[str, Any]:
    """What trainings side by side have in common: architecture, lengths and sizes of batches, kind of optimizer.

    >>> from transformer_spectrum.config.load import load_params
    >>> from transformer_spectrum.config.packaged import packaged
    >>> list(shared(load_params(packaged("params.yaml")), "adam"))
    ['optimizer', 'model', 'context', 'horizon', 'training', 'device', 'threads', 'compile']
    """
    return {
        "optimizer": optimizer,
        "model": params.model.model_dump(),
        "context": params.data.context,
        "horizon": params.data.horizon,
        "training": {name: getattr(params.training, name) for name in SHARED},
        "device": params.device,
        "threads": params.threads,
        "compile": params.adam.compile,
    }


def check_alike(trainings: Sequence[tuple[Params, str]]) -> None:
    """Raises where trainings cannot run side by side.

    Raises:
        InputError: they differ in what they should share, see `shared`.

    >>> from transformer_spectrum.config.load import load_params
    >>> from transformer_spectrum.config.packaged import packaged
    >>> params = load_params(packaged("params.yaml"))
    >>> check_alike([(params, "adam"), (params, "ga")])
    Traceback (most recent call last):
    transformer_spectrum.runtime.errors.InputError: optimizer = 'ga' beside 'adam': trainings side by side share it
    """
    first = shared(*trainings[0]) if trainings else {}
    for params, optimizer in trainings[1:]:
        for name, value in shared(params, optimizer).items():
            if value != first[name]:
                raise InputError(f"{name} = {value!r} beside {first[name]!r}: trainings side by side share it")


def members_at_once(params: Params, optimizer: str) -> int:
    """How many trainings like this one the free memory holds; >= 1.

    >>> from transformer_spectrum.config.load import load_params
    >>> from transformer_spectrum.config.packaged import packaged
    >>> members_at_once(load_params(packaged("params.yaml")), "adam") > 1
    True
    """
    device = build.device(params.device)
    on_cuda = device.type == "cuda"
    free = torch.cuda.mem_get_info(device)[0] if on_cuda else psutil.virtual_memory().available
    return max(1, int(free * SHARE / member_bytes(params, optimizer)))


def member_bytes(params: Params, optimizer: str) -> int:
    """About what a training keeps in memory, without activations; bytes."""
    size = Layout(build.model(params, features=1)).size
    epochs = {"adam": params.adam.epochs, "es": params.es.generations, "ga": params.ga.generations}[optimizer]
    snapshots = epochs // params.training.snapshot_every + 12
    popsize = {"adam": 0, "es": params.es.popsize, "ga": 2 * params.ga.popsize}[optimizer]
    return 4 * size * (VECTORS + snapshots + popsize)
