"""The command `compare`: what `dvc exp show --csv` prints, as a table that fits the screen, for `make compare`.

DVC writes the file before the name of each metric, and cuts both off where the table is wider than the terminal.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
from collections.abc import Mapping, Sequence

from transformer_spectrum.errors import InputError

WIDTH = 120  # where there is no terminal; characters
WORDS = {"validation_loss": "loss", "stable_rank": "rank", "test_mae": "MAE"}
METRIC = re.compile(r"metrics/(\w+)/metrics\.json:(\w+)")
BRANCHES = {"branch_commit": "├╴", "branch_base": "└╴"}
NOTE = "loss: best validation loss; rank: mean stable rank at the last step; MAE: free-running, of the test windows"


def add(command: argparse.ArgumentParser) -> None:
    command.epilog = "Example: dvc exp show --csv --only-changed | transformer-spectrum compare"


def title(column: str) -> str:
    """A column's name, short, on two lines where it can."""
    found = METRIC.fullmatch(column)
    if found:
        return f"{found[1]}\n{WORDS.get(found[2], found[2])}"
    section, dot, rest = column.partition(".")
    return f"{section}{dot}\n{rest}" if dot else column


def cell(text: str) -> str:
    """A value, numbers to four significant digits."""
    try:
        return f"{float(text):.4g}"
    except ValueError:
        return text or "-"


def name(row: Mapping[str, str]) -> str:
    """An experiment below the commit that it began from; its revision where it has no name."""
    return BRANCHES.get(row["typ"], "") + (row["Experiment"] or row["rev"])


def read(lines: Sequence[str]) -> tuple[list[str], list[dict[str, str]]]:
    """The columns to show, and all rows.

    Raises:
        InputError: it is not what DVC prints.
    """
    table = csv.DictReader(lines)
    columns = list(table.fieldnames or [])
    if not {"Experiment", "rev", "typ"} <= set(columns):
        raise InputError("standard input: no table of dvc exp show --csv")
    rows = list(table)
    own = {"Experiment", "rev", "typ", "parent", "Created", "Executor"}
    shown = [column for column in columns if column not in own]
    return [column for column in shown if column != "State" or any(row["State"] for row in rows)], rows


def run(chosen: argparse.Namespace) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    columns, rows = read(sys.stdin.readlines())
    table = Table(box=SIMPLE_HEAD, padding=(0, 0), pad_edge=False, caption=NOTE, caption_justify="left")
    table.add_column("experiment", overflow="fold")
    for column in columns:
        right = METRIC.fullmatch(column) is not None
        table.add_column(title(column), justify="right" if right else "left", no_wrap=right, overflow="fold")
    for row in rows:
        style = "bold" if row["typ"] == "baseline" else None
        table.add_row(name(row), *(cell(row[column]) for column in columns), style=style)
    Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False).print(table)
