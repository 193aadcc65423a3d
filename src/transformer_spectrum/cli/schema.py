"""The command `schema`: the JSON schema of params.yaml or of configs, as `make schema` keeps them in config/schema/."""

from __future__ import annotations

import argparse


def add(command: argparse.ArgumentParser) -> None:
    """Its arguments.

    >>> add(command := argparse.ArgumentParser())
    >>> command.parse_args(["params"]).which
    'params'
    """
    command.add_argument("which", choices=("params", "config"), help="of params.yaml, or of the files in config/")


def run(chosen: argparse.Namespace) -> None:
    """Prints the schema.

    >>> run(argparse.Namespace(which="params"))  # doctest: +ELLIPSIS
    {
      "$schema": "https://json-schema.org/draft/2020-12/schema",
    ...
    """
    from transformer_spectrum.config.json_schema import schema_text

    print(schema_text(chosen.which), end="")
