"""Spectra of the weights of transformers: the pipeline's helpers, and `analyze` for any checkpoint."""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import annotated_types
import yaml
from pydantic import TypeAdapter, ValidationError

from transformer_spectrum.errors import InputError, one_line_errors
from transformer_spectrum.params import load_params, parameter_names
from transformer_spectrum.schema import SpectraParams
from transformer_spectrum.tuning import add_tune, run_tune

if TYPE_CHECKING:
    from transformer_spectrum.spectra.analysis import Estimators


def overrides(tree: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Yields "name=value" for every leaf of an overlay, as `dvc exp run -S` takes it.

    Raises:
        InputError: the overlay names something that is no parameter.
    """
    known = {name for name, _ in parameter_names()}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            yield from overrides(value, f"{name}.")
        elif name not in known:
            raise InputError(f"{name}: unknown parameter")
        else:
            yield f"{name}={json.dumps(value)}"  # Hydra's override grammar takes JSON values


def _print_overrides(path: str) -> None:
    try:
        tree = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(tree, dict):
        raise InputError(f"{path}: must be a mapping of parameters")
    print(" ".join(f"-S {shlex.quote(item)}" for item in overrides(tree)))


def _range(field: Any) -> str:
    rules = []
    for rule in field.metadata:
        for name, sign in (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<")):
            if isinstance(rule, getattr(annotated_types, name.capitalize())):
                bound = getattr(rule, name)
                if bound < 2**60:
                    rules.append(f"{sign} {bound:g}")
    choices = getattr(field.annotation, "__args__", ())
    if choices and all(isinstance(choice, str) for choice in choices):
        rules.append(" / ".join(choices))
    return ", ".join(rules)


def _shown(name: str, value: Any) -> str:
    if name.endswith(".url"):
        return "see params.yaml"
    if isinstance(value, tuple):
        return f"{len(value)} names"
    if isinstance(value, float):
        return f"{value:g}"
    return {"None": "null", "True": "true", "False": "false"}.get(str(value), str(value))


def parameter_table() -> str:
    """A Markdown table of every parameter: its committed value, legal range and meaning."""
    params = load_params()
    rows = ["| parameter | value | range | meaning |", "|---|---|---|---|"]
    for name, field in parameter_names():
        value: Any = params
        for part in name.split("."):
            value = getattr(value, part)
        rows.append(f"| `{name}` | {_shown(name, value)} | {_range(field)} | {field.description} |")
    return "\n".join(rows)


ESTIMATORS = {
    "hill_fraction": 0.25,
    "min_tail": 8,
    "ks_distance": "two_sided",
    "window_first": 0.0,
    "window_last": 0.5,
    "edge_level": 0.99,
}  # as in params.yaml, which `analyze` does not read: it runs anywhere


def _add_analyze(commands: Any) -> None:
    command = commands.add_parser(
        "analyze",
        help="measure the weight matrices of a checkpoint",
        description="Measures every weight matrix of a checkpoint beside its null, the same entries shuffled.",
    )
    command.add_argument("path", help=".safetensors, torch state dict (.pt .pth .bin .ckpt) or Hugging Face folder")
    add = command.add_argument
    add("--out", metavar="FOLDER", help="write matrices.csv, summary.json and index.html there")
    add("--heads", type=int, metavar="N", help="also measure the N heads of queries, keys and values")
    add(
        "--shuffles",
        type=int,
        default=20,
        metavar="K",
        help="null draws of a matrix, fewer for large ones; %(default)s",
    )
    add("--seed", type=int, default=0, help="of the shuffles; %(default)s")
    add("--include", action="append", default=[], metavar="PATTERN", help="only matrices whose name matches, '*.query'")
    add("--exclude", action="append", default=[], metavar="PATTERN", help="none whose name matches")
    add("--min-size", type=int, default=8, metavar="R", help="smallest smaller side of a matrix; %(default)s")
    add("--figures", type=int, default=24, metavar="N", help="matrices with pictures in index.html; %(default)s")
    add("--device", choices=("cpu", "cuda"), default="cpu", help="where large matrices are decomposed; %(default)s")
    for name, default in ESTIMATORS.items():
        field = SpectraParams.model_fields[name]
        option, words = f"--{name.replace('_', '-')}", f"{field.description}; {_range(field)}; {default}"
        add(option, type=type(default), default=default, metavar="X", help=words.replace("%", "%%"))


def _estimators(chosen: argparse.Namespace) -> Estimators:
    """The settings of the estimators, by the rules of params.yaml."""
    from transformer_spectrum.spectra.analysis import Estimators

    for name in ESTIMATORS:
        field = SpectraParams.model_fields[name]
        try:
            TypeAdapter(Annotated[field.annotation, field]).validate_python(getattr(chosen, name))
        except ValidationError:
            rule = f"{_range(field)} and finite" if isinstance(ESTIMATORS[name], float) else _range(field)
            raise InputError(f"--{name.replace('_', '-')} = {getattr(chosen, name)}: must be {rule}") from None
    if chosen.window_first >= chosen.window_last:
        rule = f"--window-last = {chosen.window_last:g}: must be smaller"
        raise InputError(f"--window-first = {chosen.window_first:g} with {rule}")
    window = (chosen.window_first, chosen.window_last)
    return Estimators(chosen.hill_fraction, chosen.min_tail, chosen.ks_distance, window, chosen.edge_level)


def _analyze(chosen: argparse.Namespace) -> None:
    """Measures first, so that a failure leaves an earlier folder as it was."""
    from transformer_spectrum import examination  # here, because the other commands need no torch
    from transformer_spectrum.report.model_tables import text_report

    for name, low in (("shuffles", 3), ("seed", 0), ("min_size", 2), ("figures", 0), ("heads", 1)):
        value = getattr(chosen, name)
        if value is not None and value < low:
            raise InputError(f"--{name.replace('_', '-')} = {value}: must be >= {low}")
    settings = examination.Settings(
        estimators=_estimators(chosen),
        shuffles=chosen.shuffles,
        seed=chosen.seed,
        heads=chosen.heads,
        include=tuple(chosen.include),
        exclude=tuple(chosen.exclude),
        min_size=chosen.min_size,
        device=chosen.device,
    )
    if chosen.out:
        examination.check_out(chosen.out)
    found = examination.examine(chosen.path, settings)
    if chosen.out:  # before the table, whose reader may close the pipe
        examination.write(found, chosen.out, chosen.figures)
    print(text_report(found, shutil.get_terminal_size((160, 24)).columns))
    if chosen.out:
        print(f"wrote {Path(chosen.out) / 'index.html'}, matrices.csv and summary.json", file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command; bad input ends with one line and exit code 2."""
    parser = argparse.ArgumentParser(prog="transformer-spectrum", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    overlay = commands.add_parser("overrides", help="print an overlay as options of `dvc exp run`")
    overlay.add_argument("overlay", help="a YAML file such as overlays/smoke.yaml")
    commands.add_parser("parameters", help="print the table of every parameter in params.yaml")
    _add_analyze(commands)
    add_tune(commands)
    chosen = parser.parse_args(arguments)
    with one_line_errors("transformer-spectrum"):
        if chosen.command == "overrides":
            _print_overrides(chosen.overlay)
        elif chosen.command == "analyze":
            _analyze(chosen)
        elif chosen.command == "tune":
            run_tune(chosen)
        else:
            print(parameter_table())


if __name__ == "__main__":
    main()
