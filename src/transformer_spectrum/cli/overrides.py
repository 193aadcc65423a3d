"""The command `overrides`: an overlay as options of `dvc exp run`, for the Makefile."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transformer_spectrum.runtime.errors import InputError


def overrides(tree: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Yields "name=value" for every leaf of an overlay, as `dvc exp run -S` takes it.

    Raises:
        InputError: the overlay names something that is no parameter.
    """
    from transformer_spectrum.config.load import parameter_names  # here, because `--help` needs no pydantic

    known = {name for name, _ in parameter_names()}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            yield from overrides(value, f"{name}.")
        elif name not in known:
            raise InputError(f"{name}: unknown parameter")
        else:
            yield f"{name}={json.dumps(value)}"  # Hydra's override grammar takes JSON values


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument("overlay", help="a YAML file such as config/overlays/smoke.yaml")


def run(chosen: argparse.Namespace) -> None:
    import yaml

    path = chosen.overlay
    try:
        tree = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(tree, dict):
        raise InputError(f"{path}: must be a mapping of parameters")
    print(" ".join(f"-S {shlex.quote(item)}" for item in overrides(tree)))
