"""The command `train`: one training by a gradient method, outside DVC, into a folder of its own under runs/."""

from __future__ import annotations

import argparse
import dataclasses
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from transformer_spectrum.cli.options import OF_OPTIMIZER, TRAINING, add_parameters, asked
from transformer_spectrum.config.help import entry
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.vocabulary import command_of

if TYPE_CHECKING:
    from transformer_spectrum.config.resolve import Settings
    from transformer_spectrum.training.records.run_folder import RunFolder

logger = logging.getLogger(__name__)

RUNS = Path("runs")
METHODS = {"adam": "a gradient method (adam.algorithm)", "es": "an evolution strategy", "ga": "a genetic algorithm"}


def add_training(command: argparse.ArgumentParser, optimizer: str) -> None:
    """The options of a training by this optimizer.

    >>> add_training(command := argparse.ArgumentParser(), "ga")
    >>> getattr(command.parse_args(["--popsize", "32"]), "ga.popsize")
    32
    """
    command.description = (
        f"Trains by {METHODS[optimizer]}, records the spectra of every weight matrix and of its change, and writes "
        "config, provenance, history, weights, tables and figures into runs/NAME/TIME, a new folder each time."
    )
    named = [name for name in entry("data.dataset").choices if name != "file"]
    add = command.add_argument
    add(
        "-d",
        "--dataset",
        metavar="FILE",
        help=f"series to forecast: .npy, .npz, .csv or .parquet, or {', '.join(named)} [data.dataset]",
    )
    add("-n", "--name", help="of the run; the config's, else that of the data set and optimizer")
    add("-c", "--config", metavar="FILE", help="a .yaml or .toml as in config/examples/; options win over it")
    add_parameters(command, {**TRAINING, **OF_OPTIMIZER[optimizer]})
    add("--runs", metavar="FOLDER", type=Path, default=RUNS, help="where runs are kept; %(default)s")
    add("--print-config", action="store_true", help="show every parameter and where it came from, and end")
    add("--resume", metavar="FOLDER", type=Path, help="go on with an interrupted run, such as runs/NAME/TIME")
    command.set_defaults(optimizer=optimizer)


def _settings_of(chosen: argparse.Namespace) -> Settings:
    """All parameters of the training."""
    from transformer_spectrum.config.resolve import resolve

    request = asked(chosen, {**TRAINING, **OF_OPTIMIZER[chosen.optimizer]}, chosen.config)
    return resolve(dataclasses.replace(request, dataset=chosen.dataset))


def _resumed(chosen: argparse.Namespace) -> RunFolder:
    from transformer_spectrum.training.records.run_folder import RunFolder

    folder = RunFolder(chosen.resume)
    record = folder.read()
    optimizer = record.get("optimizer") if isinstance(record, dict) else None
    if not isinstance(optimizer, str):
        raise InputError(f"{folder.record}: not the record of a run: names no optimizer")
    if optimizer != chosen.optimizer:
        raise InputError(f"--resume {chosen.resume}: trained by {optimizer}; go on with {command_of(optimizer)}")
    if folder.state == "done":
        raise InputError(f"--resume {chosen.resume}: has ended; nothing is left to do")
    others = [name for name in TRAINING.values() if getattr(chosen, name) is not None]
    others += [name for name in OF_OPTIMIZER[chosen.optimizer].values() if getattr(chosen, name) is not None]
    others += [f"--{name}" for name in ("dataset", "name", "config", "set", "params") if getattr(chosen, name)]
    others += ["--print-config"] if chosen.print_config else []
    others += ["--runs"] if chosen.runs != RUNS else []
    if others:
        raise InputError(f"--resume with {', '.join(others)}: an interrupted run goes on as it was begun")
    return folder


def run(chosen: argparse.Namespace) -> None:
    """Trains, or shows what would be trained.

    Raises:
        InputError: a parameter or the data are bad.
        SystemExit: interrupted, see `single_run.carry_out`.

    >>> add(command := argparse.ArgumentParser())
    >>> run(command.parse_args(["--loss", "mse", "--print-config"]))  # doctest: +ELLIPSIS
    # optimizer: adam
    # name: synthetic-adam
    ...
    """
    if chosen.resume is not None:
        folder = _resumed(chosen)
    else:
        settings = _settings_of(chosen)
        name = chosen.name or (settings.config and settings.config.name) or _own_name(settings, chosen.optimizer)
        if chosen.print_config:
            print(f"# optimizer: {chosen.optimizer}\n# name: {name}")
            print(f"# data: {settings.data or settings.params.data.dataset}")
            print(settings.text(), end="")
            _say_what_is_idle(settings, chosen.optimizer)
            return
        if settings.data and not Path(settings.data).is_file():  # before torch is imported
            raise InputError(f"{settings.data}: no such file")
        from transformer_spectrum.runtime.ownership import check_no_stage  # here, because `--help` needs no numpy

        check_no_stage("--runs", chosen.runs / name)
        _say_what_is_idle(settings, chosen.optimizer)
        from transformer_spectrum.study.single_run import begin

        folder = begin(settings, chosen.optimizer, name=name, root=chosen.runs)
        print(folder.path, flush=True)
    from transformer_spectrum.study.single_run import carry_out

    carry_out(folder)
    logger.info(_result(folder))


def _own_name(settings: Settings, optimizer: str) -> str:
    stem = Path(settings.data).stem if settings.data else settings.params.data.dataset
    tidy = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "_.-") else "-" for letter in stem)
    return f"{tidy.lstrip('.-') or 'data'}-{optimizer}"


def _say_what_is_idle(settings: Settings, optimizer: str) -> None:
    from transformer_spectrum.config.resolve import without_effect

    idle = without_effect(settings, optimizer)
    if idle:
        logger.info(f"without effect on this training: {', '.join(idle)}")


def _result(folder: RunFolder) -> str:
    from transformer_spectrum.runtime.files import read_json

    scores = read_json(folder.metrics / "scores.json")
    mae = scores["free_running"].get("mae")
    return (
        f"{folder.path}: {scores['stop_reason']}; "
        f"validation MAE {scores['best_validation_mae']:.4g} at step {scores['best_step']}, "
        f"test MAE {'not computed' if mae is None else f'{mae:.4g}'} (free-running, scaled units); "
        f"figures in {folder.figures}"
    )


def add(command: argparse.ArgumentParser) -> None:
    """Its arguments.

    >>> add(command := argparse.ArgumentParser())
    >>> command.parse_args([]).optimizer
    'adam'
    """
    add_training(command, "adam")
