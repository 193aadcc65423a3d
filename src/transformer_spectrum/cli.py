"""The command line: python -m transformer_spectrum.cli."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import annotated_types
import yaml

from transformer_spectrum.errors import InputError, one_line_errors
from transformer_spectrum.params import load_params, parameter_names


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


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command; bad input ends with one line and exit code 2."""
    parser = argparse.ArgumentParser(prog="transformer-spectrum", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    overlay = commands.add_parser("overrides", help="print an overlay as options of `dvc exp run`")
    overlay.add_argument("overlay", help="a YAML file such as overlays/smoke.yaml")
    commands.add_parser("parameters", help="print the table of every parameter in params.yaml")
    chosen = parser.parse_args(arguments)
    with one_line_errors("transformer-spectrum"):
        if chosen.command == "overrides":
            _print_overrides(chosen.overlay)
        else:
            print(parameter_table())


if __name__ == "__main__":
    main()
