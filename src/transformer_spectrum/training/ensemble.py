"""Which trainings can run side by side, and how many at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from transformer_spectrum.config.load import Params
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.memory import free_memory
from transformer_spectrum.training import build
from transformer_spectrum.training.footprint import footprint

SHARE = 0.25
"""Of the memory that is free when trainings begin, that they may take."""
SHARED = ("batch_size", "precision", "tf32", "memory_mib", "workers")
"""Parameters of the section `training` that trainings side by side have in common."""


def shared(params: Params, optimizer: str) -> dict[str, Any]:
    """What trainings side by side have in common: architecture, lengths and sizes of batches, kind of optimizer.

    >>> from transformer_spectrum.config.load import load_params
    >>> from transformer_spectrum.config.wheel_files import packaged
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
    >>> from transformer_spectrum.config.wheel_files import packaged
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
    """How many trainings like this one the free memory holds, by what each of them keeps (`footprint`); >= 1.

    >>> from transformer_spectrum.config.load import load_params
    >>> from transformer_spectrum.config.wheel_files import packaged
    >>> members_at_once(load_params(packaged("params.yaml")), "adam") > 1
    True
    """
    # Activations are those of the members that are computed at once, and no member's own.
    kept, device = footprint(params, optimizer, features=1).without("activations"), build.device(params.device)
    rooms = [(free_memory().size, kept)]
    if device.type == "cuda":
        on_gpu, on_host = kept.of(on_host=False), kept.of(on_host=True)
        rooms = [(torch.cuda.mem_get_info(device)[0], on_gpu), (free_memory().size, on_host)]
    return max(1, min(int(free * SHARE / max(1.0, held.size)) for free, held in rooms))
