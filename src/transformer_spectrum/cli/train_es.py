"""The command `train-es`: as `train`, by an evolution strategy."""

from __future__ import annotations

import argparse

from transformer_spectrum.cli.train import add_training, run

__all__ = ["add", "run"]


def add(command: argparse.ArgumentParser) -> None:
    """Its arguments.

    >>> add(command := argparse.ArgumentParser())
    >>> command.parse_args([]).optimizer
    'es'
    """
    add_training(command, "es")
