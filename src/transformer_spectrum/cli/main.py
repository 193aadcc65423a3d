"""Weight spectra of transformers: train and sweep outside DVC, run parts of the pipeline, look at any checkpoint."""

from __future__ import annotations

import argparse
import itertools
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

from transformer_spectrum.cli.options import OneLineParser
from transformer_spectrum.runtime.errors import LINE, InputError, one_line_errors, ran_out, shortened
from transformer_spectrum.runtime.log import to_stderr

PROG = "transformer-spectrum"
COMMANDS = {
    "train": "train by a gradient method, such as Adam, into runs/NAME/TIME",
    "train-es": "train by an evolution strategy",
    "train-ga": "train by a genetic algorithm",
    "sweep": "run a grid of data sets, losses, optimizers and seeds; writes one table and figures",
    "tune": "search an optimizer's learning rate and step sizes by short trainings; writes an overlay",
    "forecast": "forecast series by a trained run",
    "runs": "list what has been trained outside DVC",
    "generate-synthetic": "draw synthetic series into a file",
    "download-covid": "fetch COVID-19 cases by country",
    "process-covid": "make series of them that `train` takes",
    "download-rvr": "fetch US hospital series by jurisdiction",
    "process-rvr": "make series of them that `train` takes",
    "analyze": "measure the weight matrices of a checkpoint",
    "parameters": "print the table of every parameter in params.yaml",
    "compare": "print what `dvc exp show --csv` gives as a table that fits the screen",
    "overrides": "print an overlay as options of `dvc exp run`",
    "info": "show versions, threads, devices and the model's weights",
    "completion": "print a script by which bash or zsh completes this command line",
    "schema": "print the JSON schema of params.yaml or of configs",
}
"""Command -> what it does; NAME.py beside this file (with _ for -) has it, and is imported when it is asked for."""


def parser(*named: str) -> argparse.ArgumentParser:
    """The command line; only the commands `named` know their arguments, because the others' modules take time.

    >>> parser("train").parse_args(["train", "--sgt-q", "5"]).command
    'train'
    """
    whole = OneLineParser(
        prog=PROG, description=__doc__, epilog="Exit codes: 0, 1 failed, 2 bad input, 130 interrupted."
    )
    whole.add_argument("--version", action="store_true", help="show the version and end")
    whole.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = whole.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name, words in COMMANDS.items():
        command = commands.add_parser(name, help=words, description=f"{words[0].upper()}{words[1:]}.")
        command.add_argument(
            "--debug", action="store_true", default=argparse.SUPPRESS, help="show an error's traceback"
        )
        if name in named:
            _module(name).add(command)
    return whole


def _module(name: str) -> ModuleType:
    return import_module(f"transformer_spectrum.cli.{name.replace('-', '_')}")


def _run(chosen: argparse.Namespace) -> None:
    try:
        _module(chosen.command).run(chosen)
    except (InputError, OSError, KeyboardInterrupt):
        if chosen.debug:
            traceback.print_exc()
        raise
    except Exception as error:
        if chosen.debug:
            traceback.print_exc()
        if ran_out(error):
            raise
        words = shortened(error, LINE)
        print(f"{PROG}: failed: {type(error).__name__}: {words} (--debug shows where)", file=sys.stderr)
        raise SystemExit(1) from None


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command. Exit codes: 0, 1 failed, 2 bad input, 130 interrupted; errors take one line.

    >>> main(["runs", "--runs", "nowhere"])
    nowhere: no runs; transformer-spectrum train makes them
    """
    with one_line_errors(PROG), to_stderr(once_begun=True):
        _main(sys.argv[1:] if arguments is None else list(arguments))


def _main(words: Sequence[str]) -> None:
    for option, word in itertools.pairwise(words):
        if word == "" and option.startswith("-"):
            raise InputError(f"{option}: must not be empty")
    named = next((word for word in words if not word.startswith("-")), "")
    whole = parser(named)
    chosen = whole.parse_args(words)
    if chosen.version:
        from transformer_spectrum import __version__

        print(f"{PROG} {__version__}")
        return
    if chosen.command is None:
        whole.error("name a command")
    chosen.whole_parser = lambda: parser(*COMMANDS)  # for `completion`
    _run(chosen)
