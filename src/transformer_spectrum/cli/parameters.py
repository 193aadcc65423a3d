"""The command `parameters`: the table of every parameter that the documentation shows."""

from __future__ import annotations

import argparse
from typing import Any

from transformer_spectrum.config import tree
from transformer_spectrum.config.help import entry


def _shown(name: str, value: Any) -> str:
    if name.endswith(".url"):
        return "see params.yaml"
    if isinstance(value, tuple):
        return f"{len(value)} names"
    if isinstance(value, float):
        return f"{value:g}"
    return {"None": "null", "True": "true", "False": "false"}.get(str(value), str(value))


def parameter_table() -> str:
    """A Markdown table of every parameter: value (of params.yaml here, else of the package), legal range, meaning.

    >>> parameter_table().splitlines()[0]
    '| parameter | value | range | meaning |'
    """
    from transformer_spectrum.config.load import PARAMETERS  # here, because `--help` needs no pydantic
    from transformer_spectrum.config.resolve import Asked, resolve

    params = resolve(Asked({})).params
    rows = ["| parameter | value | range | meaning |", "|---|---|---|---|"]
    for name in PARAMETERS:
        parameter = entry(name)
        rows.append(
            f"| `{name}` | {_shown(name, tree.get(params, name))} | {parameter.rule} | {parameter.description} |"
        )
    return "\n".join(rows)


def add(command: argparse.ArgumentParser) -> None:
    """Takes no arguments.

    >>> add(command := argparse.ArgumentParser())
    >>> command.parse_args([])
    Namespace()
    """


def run(chosen: argparse.Namespace) -> None:
    """Prints the table.

    >>> run(argparse.Namespace())  # doctest: +ELLIPSIS
    | parameter | value | range | meaning |
    |---|---|---|---|
    ...
    """
    print(parameter_table())
