"""The command `info`: versions, threads, devices, and how many weights the model has."""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Iterator
from typing import TYPE_CHECKING

from transformer_spectrum.cli.options import MODEL, add_parameters, asked, at_least

if TYPE_CHECKING:
    from transformer_spectrum.models.forecaster import Forecaster


def add(command: argparse.ArgumentParser) -> None:
    """Its arguments.

    >>> add(command := argparse.ArgumentParser())
    >>> command.parse_args(["--features", "2"]).features
    2
    """
    command.description = "Shows versions, threads, devices, and the weights of the model that the parameters describe."
    command.add_argument("--features", metavar="N", type=int, default=1, help="channels of the series; %(default)s")
    add_parameters(command, {**MODEL, "--device": "device"})


def _machine() -> Iterator[tuple[str, str]]:
    import torch

    from transformer_spectrum import __version__
    from transformer_spectrum.runtime.provenance import versions

    yield "transformer-spectrum", __version__
    yield from versions().items()
    yield "platform", platform.platform()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield "cores", f"{cores} of {os.cpu_count()} for this process, {torch.backends.cpu.get_cpu_capability()}"
    yield "OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "not set")
    for i in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(i)
        yield f"cuda:{i}", f"{properties.name}, {properties.total_memory / 2**30:.1f} GiB"
    yield "cuda", f"{torch.version.cuda or 'not in this build'}, {torch.cuda.device_count()} devices"
    yield "mps", "yes" if torch.backends.mps.is_available() else "no"


def _weights(forecaster: Forecaster) -> dict[str, tuple[int, int]]:
    """Words of a family, and what is in none -> its matrices and the weights in them; counts."""
    from transformer_spectrum.vocabulary import family_words

    families: dict[str, list[int]] = {}
    for spec in forecaster.matrices():
        families.setdefault(family_words(spec.family.label), []).append(spec.shape[0] * spec.shape[1])
    total = sum(parameter.numel() for parameter in forecaster.parameters())
    outside = total - sum(map(sum, families.values()))
    return {name: (len(sizes), sum(sizes)) for name, sizes in families.items()} | {"biases, norms": (0, outside)}


def run(chosen: argparse.Namespace) -> None:
    """Prints "name: value" lines.

    Raises:
        InputError: a parameter is bad, or the device is not there.

    >>> add(command := argparse.ArgumentParser())
    >>> run(command.parse_args(["--features", "2"]))  # doctest: +ELLIPSIS
    transformer-spectrum: ...
    """
    from transformer_spectrum.config.resolve import resolve
    from transformer_spectrum.training import build

    at_least("--features", chosen.features, 1)
    params = resolve(asked(chosen, {**MODEL, "--device": "device"})).params
    first, second = (_weights(build.shapes(params, chosen.features, layers)) for layers in (1, 2))
    lines = list(_machine())
    lines.append(("device", f"{params.device}, which is {build.device(params.device)} here"))
    lines.append(("threads", f"{params.threads} of torch, {params.training.workers} workers for a population"))
    beyond = params.model.layers - 1  # layers are alike
    counts = {
        name: tuple(a + beyond * (b - a) for a, b in zip(first[name], second[name], strict=True)) for name in first
    }
    total = sum(weights for _, weights in counts.values())
    lines.append(("model", f"{params.model.type}, {total:,} weights"))
    for name, (matrices, weights) in counts.items():
        held = f"{matrices} {'matrix' if matrices == 1 else 'matrices'}, " if matrices else ""
        lines.append((f"  {name}", f"{held}{weights:,} weights"))
    width = max(len(name) for name, _ in lines) + 1
    for name, value in lines:
        print(f"{name + ':':<{width}} {value}")
