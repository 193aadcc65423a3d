"""The command `overrides`: an overlay as options of `dvc exp run`, for the Makefile."""

from __future__ import annotations

import argparse
import shlex
from typing import Any


def overrides(content: Any, source: str = "the overlay") -> list[str]:
    """ "name=value" for every leaf of an overlay, as `dvc exp run -S` takes it.

    Args:
        content: a tree of parameters.
        source: what the errors call it.
    Raises:
        InputError: the overlay names something that is no parameter.

    >>> overrides({"loss": {"type": "sgt", "q": 3.0}})
    ['loss.type="sgt"', 'loss.q=3.0']
    """
    from transformer_spectrum.config.load import parameters_in  # here, because `--help` needs no pydantic
    from transformer_spectrum.config.resolve import assignment

    return [assignment(name, value) for name, value in parameters_in(content, source).items()]


def add(command: argparse.ArgumentParser) -> None:
    """Its arguments.

    >>> add(command := argparse.ArgumentParser())
    >>> command.parse_args(["config/overlays/smoke.yaml"]).overlay
    'config/overlays/smoke.yaml'
    """
    command.add_argument("overlay", help="a YAML file such as config/overlays/smoke.yaml")


def run(chosen: argparse.Namespace) -> None:
    """Prints the options.

    >>> from pathlib import Path
    >>> _ = Path("overlay.yaml").write_text("loss: {type: sgt, q: 3.0}")
    >>> run(argparse.Namespace(overlay="overlay.yaml"))
    -S 'loss.type="sgt"' -S loss.q=3.0
    """
    from transformer_spectrum.config.load import read_tree

    words = overrides(read_tree(chosen.overlay), chosen.overlay)
    print(" ".join(f"-S {shlex.quote(word)}" for word in words))
