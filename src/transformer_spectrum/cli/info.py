"""The command `info`: versions, threads, devices, and how many weights the model has."""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Iterator

from transformer_spectrum.cli.options import MODEL, add_parameters, asked, at_least


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
    from transformer_spectrum.vocabulary import family_words

    at_least("--features", chosen.features, 1)
    params = resolve(asked(chosen, {**MODEL, "--device": "device"})).params
    forecaster = build.model(params, chosen.features)
    lines = list(_machine())
    lines.append(("device", f"{params.device}, which is {build.device(params.device)} here"))
    lines.append(("threads", f"{params.threads} of torch, {params.training.workers} workers for a population"))
    families: dict[str, list[int]] = {}
    for spec in forecaster.matrices():
        families.setdefault(family_words(spec.family.label), []).append(spec.shape[0] * spec.shape[1])
    total = sum(parameter.numel() for parameter in forecaster.parameters())
    inside = sum(map(sum, families.values()))
    lines.append(("model", f"{params.model.type}, {total:,} weights"))
    for family, sizes in families.items():
        lines.append((f"  {family}", f"{len(sizes)} matrices, {sum(sizes):,} weights"))
    lines.append(("  biases, norms", f"{total - inside:,} weights"))
    width = max(len(name) for name, _ in lines) + 1
    for name, value in lines:
        print(f"{name + ':':<{width}} {value}")
