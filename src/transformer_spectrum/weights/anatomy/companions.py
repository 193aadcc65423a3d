"""JSON files beside weights that say what the weights alone do not: the scales of adapters, how integers are packed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.files import read_json

NAMES = ("adapter_config.json", "quantize_config.json", "quant_config.json")


def companions(path: str | Path) -> dict[str, Mapping[str, Any]]:
    """Those of NAMES that lie beside the weights.

    Args:
        path: the file or the folder that was named.
    Raises:
        InputError: one of them is not a JSON object.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "adapter_config.json").write_text('{"r": 8, "lora_alpha": 16}')
    ...     companions(Path(folder, "adapter_model.safetensors"))
    {'adapter_config.json': {'r': 8, 'lora_alpha': 16}}
    """
    path = Path(path)
    folder = path if path.is_dir() else path.parent
    present = {name: read_json(folder / name) for name in NAMES if (folder / name).is_file()}
    for name, tree in present.items():
        if not isinstance(tree, dict):
            raise InputError(f"{folder / name}: must be a JSON object")
    return present
