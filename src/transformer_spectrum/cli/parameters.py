"""The command `parameters`: the table of every parameter that the documentation shows."""

from __future__ import annotations

import argparse
from typing import Any


def legal_range(field: Any) -> str:
    """The bounds or choices of a pydantic field, in words; empty where there are none."""
    import annotated_types  # here, because `--help` needs no pydantic

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
    """A Markdown table of every parameter: value (of params.yaml here, else of the package), legal range, meaning."""
    from transformer_spectrum.config.load import parameter_names
    from transformer_spectrum.config.resolve import Asked, resolve

    params = resolve(Asked({})).params
    rows = ["| parameter | value | range | meaning |", "|---|---|---|---|"]
    for name, field in parameter_names():
        value: Any = params
        for part in name.split("."):
            value = getattr(value, part)
        rows.append(f"| `{name}` | {_shown(name, value)} | {legal_range(field)} | {field.description} |")
    return "\n".join(rows)


def add(command: argparse.ArgumentParser) -> None:
    """Takes no arguments."""


def run(chosen: argparse.Namespace) -> None:
    print(parameter_table())
