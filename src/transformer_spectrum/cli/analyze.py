"""The command `analyze`: every weight matrix of any checkpoint, measured beside its null."""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from transformer_spectrum.cli.options import add_force, at_least
from transformer_spectrum.config.help import default, entry
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.log import work_begins

if TYPE_CHECKING:
    from transformer_spectrum.spectra.analysis import Estimators

logger = logging.getLogger(__name__)

ESTIMATORS = {
    name: default(f"spectra.{name}")  # not params.yaml's of the current folder: `analyze` runs anywhere
    for name in ("hill_fraction", "min_tail", "ks_distance", "window_first", "window_last", "edge_level")
}
LIKE = {"weightwatcher": {"min_tail": 2, "ks_distance": "powerlaw"}}  # what its conventions settle


def add(command: argparse.ArgumentParser) -> None:
    """Its arguments.

    >>> add(command := argparse.ArgumentParser())
    >>> command.parse_args(["model.safetensors", "--shuffles", "0"]).shuffles
    0
    """
    command.description = "Measures every weight matrix of a checkpoint beside its null, the same entries shuffled."
    command.add_argument(
        "path", help="safetensors file, torch state dict or Hugging Face folder, by content; or a training's folder"
    )
    add = command.add_argument
    add("--key", metavar="K", help="the dictionary in the file that is the model, such as ema or state.model")
    add("--skip-objects", action="store_true", help="read past a pickle's objects of unknown classes; runs none")
    add("--out", metavar="FOLDER", help="write matrices.csv, summary.json and index.html there")
    add("--heads", type=int, metavar="N", help="also measure the N heads of queries, keys and values")
    add("--circuits", action="store_true", help="also W_Q^T W_K and W_O W_V of every head, into circuits.csv; --out")
    add(
        "--shuffles",
        type=int,
        default=20,
        metavar="K",
        help="null draws of a matrix, fewer for large ones; 0: a quick look without nulls and deviations; %(default)s",
    )
    add("--like", choices=tuple(LIKE), help="its column names and conventions in the table and in matrices.csv")
    add("--seed", type=int, default=0, help="of the shuffles; %(default)s")
    add("--include", action="append", default=[], metavar="PATTERN", help="only matrices whose name matches, '*.query'")
    add("--exclude", action="append", default=[], metavar="PATTERN", help="none whose name matches")
    add("--min-size", type=int, default=8, metavar="R", help="smallest smaller side of a matrix; %(default)s")
    add("--figures", type=int, default=24, metavar="N", help="matrices with pictures in index.html; %(default)s")
    add("--device", choices=("cpu", "cuda"), default="cpu", help="where large matrices are decomposed; %(default)s")
    add_force(command)
    for name, value in ESTIMATORS.items():
        parameter = entry(f"spectra.{name}")
        rule = parameter.bounds or " / ".join(parameter.choices)
        option, words = f"--{name.replace('_', '-')}", f"{parameter.description}; {rule}; {value}"
        add(option, type=type(value), metavar="X", help=words.replace("%", "%%"))


def _estimators(chosen: argparse.Namespace) -> Estimators:
    """The settings of the estimators, by the rules of params.yaml."""
    from pydantic import TypeAdapter, ValidationError  # here, because `--help` needs no pydantic

    from transformer_spectrum.config.schema import SpectraParams
    from transformer_spectrum.spectra.analysis import Estimators

    settled = LIKE.get(chosen.like, {})
    for name in ESTIMATORS:
        value, own = getattr(chosen, name), settled.get(name)
        if own is not None and value not in (None, own):
            option = f"--{name.replace('_', '-')} = {value}"
            raise InputError(
                f"{option} with --like {chosen.like}: must be {own}, its convention; leave one of them out"
            )
        if value is None:
            setattr(chosen, name, ESTIMATORS[name] if own is None else own)
        field = SpectraParams.model_fields[name]
        try:
            TypeAdapter(Annotated[field.annotation, field]).validate_python(getattr(chosen, name))
        except ValidationError:
            rule = entry(f"spectra.{name}").rule + (" and finite" if isinstance(ESTIMATORS[name], float) else "")
            raise InputError(f"--{name.replace('_', '-')} = {getattr(chosen, name)}: must be {rule}") from None
    if chosen.window_first >= chosen.window_last:
        rule = f"--window-last = {chosen.window_last:g}: must be smaller"
        raise InputError(f"--window-first = {chosen.window_first:g} with {rule}")
    window = (chosen.window_first, chosen.window_last)
    return Estimators(chosen.hill_fraction, chosen.min_tail, chosen.ks_distance, window, chosen.edge_level)


def run(chosen: argparse.Namespace) -> None:
    """Measures first, so that a failure leaves an earlier folder as it was.

    >>> add(command := argparse.ArgumentParser())
    >>> run(command.parse_args(["model.safetensors", "--shuffles", "2"]))
    Traceback (most recent call last):
    transformer_spectrum.runtime.errors.InputError: --shuffles = 2: must be >= 3, or 0 for no null
    """
    # Here: `--help` needs no torch.
    from transformer_spectrum.analysis.of_checkpoint.checkpoint import examine
    from transformer_spectrum.analysis.of_checkpoint.settings import ExaminationSettings
    from transformer_spectrum.analysis.paths import weights_of
    from transformer_spectrum.report.model_page import outputs, tables, weightwatcher

    if chosen.shuffles in (1, 2):
        raise InputError(f"--shuffles = {chosen.shuffles}: must be >= 3, or 0 for no null")
    for name, low in (("shuffles", 0), ("seed", 0), ("min_size", 2), ("figures", 0), ("heads", 1)):
        at_least(f"--{name.replace('_', '-')}", getattr(chosen, name), low)
    if chosen.like and chosen.heads is not None:
        raise InputError(f"--heads = {chosen.heads} with --like {chosen.like}: it has no heads; leave one of them out")
    if chosen.circuits and not chosen.out:
        raise InputError("--circuits without --out: name the folder that gets circuits.csv")
    settings = ExaminationSettings(
        estimators=_estimators(chosen),
        shuffles=chosen.shuffles,
        seed=chosen.seed,
        heads=chosen.heads,
        include=tuple(chosen.include),
        exclude=tuple(chosen.exclude),
        min_size=chosen.min_size,
        device=chosen.device,
        key=chosen.key,
        skip_objects=chosen.skip_objects,
        circuits=chosen.circuits,
        like=chosen.like or "",
    )
    if chosen.out:
        outputs.check_out(chosen.out, chosen.path, force=chosen.force)
    path = weights_of(chosen.path)
    if path != Path(chosen.path):
        logger.info(f"{chosen.path}: a training; measuring its best weights, {path}")
    examination = examine(path, settings)
    work_begins()  # nothing is refused behind the table
    if chosen.out:  # before the table, whose reader may close the pipe
        outputs.write(examination, chosen.out, chosen.figures, force=chosen.force)
    table = weightwatcher if chosen.like else tables
    print(table.text_report(examination, shutil.get_terminal_size((160, 24)).columns))
    if chosen.out:
        more = ", circuits.csv" if chosen.circuits else ""
        logger.info(f"wrote {Path(chosen.out) / 'index.html'}, matrices.csv{more} and summary.json")
    if examination.not_finite:
        names = ", ".join(examination.not_finite[:3]) + (" and more" if len(examination.not_finite) > 3 else "")
        count = len(examination.not_finite)
        tensors = "1 tensor is" if count == 1 else f"{count} tensors are"
        sys.stdout.flush()
        print(f"transformer-spectrum: failed: {tensors} not finite or out of range, left out: {names}", file=sys.stderr)
        raise SystemExit(1)
