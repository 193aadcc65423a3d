"""The command `train-ga`: as `train`, by a genetic algorithm."""

from __future__ import annotations

import argparse

from transformer_spectrum.cli.train import add_training, run

__all__ = ["add", "run"]


def add(command: argparse.ArgumentParser) -> None:
    """Its arguments.

    >>> add(command := argparse.ArgumentParser())
    >>> command.parse_args([]).optimizer
    'ga'
    """
    add_training(command, "ga")
