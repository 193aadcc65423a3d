"""Weight spectra of transformers: run the parts of the pipeline by hand, and look at any checkpoint."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

from transformer_spectrum.errors import one_line_errors

COMMANDS = {
    "tune": "search an optimizer's learning rate and step sizes by short trainings; writes an overlay",
    "analyze": "measure the weight matrices of a checkpoint",
    "parameters": "print the table of every parameter in params.yaml",
    "overrides": "print an overlay as options of `dvc exp run`",
}
"""Command -> what it does; commands/NAME.py (with _ for -) has it, and is imported only when it is asked for."""


def parser(*named: str) -> argparse.ArgumentParser:
    """The command line; only the commands `named` know their arguments, because the others' modules take time."""
    whole = argparse.ArgumentParser(prog="transformer-spectrum", description=__doc__)
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, words in COMMANDS.items():
        command = commands.add_parser(name, help=words, description=f"{words[0].upper()}{words[1:]}.")
        if name in named:
            _module(name).add(command)
    return whole


def _module(name: str) -> ModuleType:
    return import_module(f"transformer_spectrum.commands.{name.replace('-', '_')}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command; bad input ends with one line and exit code 2."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    chosen = parser(*given[:1]).parse_args(given)
    with one_line_errors("transformer-spectrum"):
        _module(chosen.command).run(chosen)


if __name__ == "__main__":
    main()
