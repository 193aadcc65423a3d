"""What decides a training's bits: parameters, data, code, versions and processor."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from transformer_spectrum.config.load import Params
from transformer_spectrum.runtime import deciding_code
from transformer_spectrum.runtime.files import sha256
from transformer_spectrum.runtime.provenance import versions

SECTIONS = ("seed", "device", "threads", "loss", "model", "training", "budget")
"""Of the parameters that every training depends on; its optimizer's come on top."""
RESOURCES = ("workers", "memory_mib")
"""Of the section `training`: how fast, and in how much memory. Workers change no bit; memory changes last bits at most,
and only where it holds a single candidate, which is computed as a plain network. Whoever has to change them must be
able to go on with a training.
"""


def deciding(tree: Mapping[str, Any], optimizer: str) -> dict[str, Any]:
    """Of a tree of all parameters, those that decide the result of a training by this optimizer.

    >>> tree = {**dict.fromkeys(SECTIONS, {}), "adam": {"epochs": 60}, "ga": {}, "training": {"workers": 2}}
    >>> sorted(deciding(tree, "adam").keys() - set(SECTIONS)), deciding(tree, "adam")["training"]
    (['adam'], {})
    """
    chosen = {name: tree[name] for name in (*SECTIONS, optimizer)}
    return {**chosen, "training": {name: value for name, value in tree["training"].items() if name not in RESOURCES}}


def fingerprint(params: Params, optimizer: str, data: Path, device: torch.device) -> dict[str, Any]:
    """All that decides a training's bits, so that resume files of another training are told apart.

    Returns:
        Parameters of the training, checksum of the windows, of each module of ours that the numbers depend on,
        package versions, and the kind of processor.

    >>> from transformer_spectrum.config.load import load_params
    >>> from transformer_spectrum.config.wheel_files import packaged
    >>> file = packaged("params.yaml")  # any file in place of the windows
    >>> parts = fingerprint(load_params(file), "adam", file, torch.device("cpu"))
    >>> list(parts), parts["data"] == sha256(file)
    (['params', 'data', 'code', 'versions', 'device'], True)
    """
    cpu = torch.backends.cpu.get_cpu_capability()
    return {
        "params": deciding(params.model_dump(mode="json"), optimizer),
        "data": sha256(data),
        "code": deciding_code.checksums(deciding_code.of_training(optimizer)),
        "versions": versions(),
        "device": f"{device}, {torch.cuda.get_device_name(device) if device.type == 'cuda' else cpu}",
    }
