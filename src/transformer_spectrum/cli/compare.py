"""The command `compare`: what `dvc exp show --csv` prints, as tables that fit the screen, for `make compare`.

DVC writes the file before the name of each metric, and cuts both off where the table is wider than the terminal. Here
no number and no name is cut: what does not fit beside the rest goes into a table below it.
"""

from __future__ import annotations

import argparse
import csv
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from transformer_spectrum.runtime.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table

WIDTH = 120  # where there is no terminal and no COLUMNS; characters
GAP = 2
NARROWEST = 40
"""Of the notes below a table; characters."""
METRICS = {"validation_mae": "MAE", "test_mae": "test"}
METRIC = re.compile(rf"metrics/(\w+)/metrics\.json:({'|'.join(METRICS)})")
EFFECTS = {"change_stable_rank": "rank", "change_stable_rank_effect": "effect"}
EFFECT = re.compile(
    r"(?:metrics/effects\.json:)?(?P<optimizer>\w+)\."
    r"(?:step|validation_mae|(?P<family>\w+)\.(?P<metric>distance|(?:change_)?stable_rank(?:_effect|_deviations)?))"
)
"""A number of metrics/effects.json; DVC writes the file before it where another file has one of the same name."""
DATA_SET, FOREIGN = "data.dataset", " *"
BRANCHES = {"branch_commit": "├╴", "branch_base": "└╴"}
NOTE = (
    "MAE: best validation MAE, teacher-forced; test: free-running MAE of the test windows; rank: mean stable rank of "
    "the "
    "change of the family that moves (feed-forward, of an LSTM its first gates) at the best step; effect: rank minus "
    "that "
    "of the same changes with shuffled entries. Losses of different loss functions cannot be compared: left out"
)
FOREIGN_NOTE = (
    "*: another data set (data.dataset) than the first row's: MAE and test are in other units, never compare them"
)
NONE_YET = "no experiment yet: dvc exp run -S loss.q=3 makes one, and this then shows them side by side"
ABOUT_ROWS = ("Experiment", "rev", "typ", "parent", "Created", "Executor", "State")


class Column(NamedTuple):
    """One column of a table.

    Attributes:
        title: of one or two lines.
        cells: one a row.
        right: aligned to the right, as numbers are.
    """

    title: str
    cells: list[str]
    right: bool

    @property
    def width(self) -> int:
        """Of its widest line, in characters of a terminal."""
        from rich.cells import cell_len

        return max(cell_len(line) for text in (self.title, *self.cells) for line in text.split("\n"))


def add(command: argparse.ArgumentParser) -> None:
    """Its arguments.

    >>> add(command := argparse.ArgumentParser())
    >>> command.epilog
    'Example: dvc exp show --csv | transformer-spectrum compare'
    """
    command.epilog = "Example: dvc exp show --csv | transformer-spectrum compare"


def read(lines: Sequence[str]) -> list[dict[str, str]]:
    """The rows of DVC's table.

    Raises:
        InputError: it is not what DVC prints.

    >>> read(["rev,loss.q", "main,3.0"])
    [{'rev': 'main', 'loss.q': '3.0'}]
    """
    table = csv.DictReader(lines)
    if "rev" not in (table.fieldnames or []):  # DVC leaves out "Experiment" and "typ" where they say nothing
        raise InputError("standard input: no table of dvc exp show --csv")
    return [{column: text or "" for column, text in row.items() if column is not None} for row in table]


def name(row: Mapping[str, str], dataset: str = "") -> str:
    """An experiment below the commit that it began from; its revision where it has no name.

    Args:
        row: of DVC's table.
        dataset: of the rows whose errors are comparable; others are marked. Empty = none is.

    >>> name({"rev": "1a2b3c4", "typ": "branch_base", "Experiment": "odd-name"})
    '└╴odd-name'
    >>> name({"rev": "1a2b3c4", "data.dataset": "covid"}, "synthetic")
    '1a2b3c4 *'
    """
    title = BRANCHES.get(row.get("typ", ""), "") + (row.get("Experiment") or row["rev"])
    return title + (FOREIGN if is_foreign(row, dataset) else "")


def is_foreign(row: Mapping[str, str], dataset: str) -> bool:
    """Whether a row says that it is of another data set; empty = of any.

    >>> is_foreign({"data.dataset": "covid"}, "synthetic"), is_foreign({"data.dataset": ""}, "synthetic")
    (True, False)
    """
    return bool(dataset and row.get(DATA_SET)) and row[DATA_SET] != dataset


def _metric(text: str) -> str:
    """A measured value, to four significant digits."""
    try:
        return f"{float(text):.4g}"
    except ValueError:
        return text or "-"


def _parameter(text: str) -> str:
    """A value that was set, to the last digit."""
    return re.sub(r"(?<=\d)\.0$", "", text) or "-"


def _is_parameter(column: str) -> bool:
    """Not a metric nor a file or folder that a stage depends on, which DVC lists among the columns too."""
    if re.search(r"[/:]", column) or EFFECT.fullmatch(column):
        return False
    return column not in (*ABOUT_ROWS, "models", "plots", "report", "standin_data")


def metrics(rows: Sequence[Mapping[str, str]]) -> list[Column]:
    """State, where something is still running, and the metrics.

    >>> columns = metrics([{"rev": "main", "metrics/adam/metrics.json:test_mae": "0.456789"}])
    >>> columns[0].title.split(), columns[0].cells
    (['adam', 'test'], ['0.4568'])
    """
    columns = [Column("State", [row["State"] or "-" for row in rows], False)] if _any(rows, "State") else []
    for column in rows[0]:
        if match := METRIC.fullmatch(column):
            title = f"{match[1]}\n{METRICS[match[2]]}"
            columns.append(Column(title, [_metric(row[column]) for row in rows], True))
    return columns + effects(rows)


def effects(rows: Sequence[Mapping[str, str]]) -> list[Column]:
    """The change's stable rank and its effect at the best step, of the family that moves in each row.

    >>> columns = effects([{"metrics/effects.json:es.feed_forward.change_stable_rank": "22.7003"}])
    >>> [(column.title.split(), column.cells) for column in columns]
    [(['es', 'rank'], ['22.7'])]
    """
    from transformer_spectrum.weights.matrices.families import moving_family

    sources: dict[tuple[str, str], dict[str, str]] = {}
    for column in rows[0]:
        if (match := EFFECT.fullmatch(column)) and match["metric"] in EFFECTS:
            sources.setdefault((match["optimizer"], match["metric"]), {})[match["family"]] = column
    columns = []
    for (optimizer, metric), of_families in sources.items():
        cells = []
        for row in rows:
            measured = [family for family, column in of_families.items() if row[column]]
            cells.append(_metric(row[of_families[moving_family(measured)]] if measured else ""))
        columns.append(Column(f"{optimizer}\n{EFFECTS[metric]}", cells, True))
    return columns


def _any(rows: Sequence[Mapping[str, str]], column: str) -> bool:
    return any(row.get(column) for row in rows)


def parameters(rows: Sequence[Mapping[str, str]]) -> list[Column]:
    """The parameters in which the rows differ.

    >>> [column.title for column in parameters([{"loss.q": "3.0", "seed": "1"}, {"loss.q": "5.0", "seed": "1"}])]
    ['loss.q']
    """
    return [
        Column(column, [_parameter(row[column]) for row in rows], False)
        for column in rows[0]
        if _is_parameter(column) and len({row[column] for row in rows}) > 1
    ]


def _on_two_lines(column: Column) -> Column:
    return column._replace(title=column.title.replace(".", ".\n", 1))


def turned(columns: Sequence[Column], names: Sequence[str]) -> list[Column]:
    """A column for each row and a row for each column.

    >>> turned([Column("loss.q", ["3", "5"], False)], ["main", "exp"])
    [Column(title='main', cells=['3'], right=False), Column(title='exp', cells=['5'], right=False)]
    """
    return [Column(title, [column.cells[i] for column in columns], False) for i, title in enumerate(names)]


def panels(columns: Sequence[Column], free: int) -> Iterator[list[Column]]:
    """Columns in groups, each as wide as fits into so many characters; one that is wider stands alone.

    >>> columns = [Column(title, ["1"], True) for title in ("aaaa", "bb", "cccc")]
    >>> [[column.title for column in group] for group in panels(columns, free=10)]
    [['aaaa', 'bb'], ['cccc']]
    """
    group: list[Column] = []
    for column in columns:
        if group and sum(GAP + member.width for member in (*group, column)) > free:
            yield group
            group = []
        group.append(column)
    if group:
        yield group


def _table(title: str, names: Sequence[str], columns: Sequence[Column], bold: Sequence[bool]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 0, 0, GAP - 1), pad_edge=False)
    table.add_column(title, no_wrap=True)
    for column in columns:
        table.add_column(column.title, justify="right" if column.right else "left", no_wrap=True)
    for i, row_name in enumerate(names):
        table.add_row(row_name, *(column.cells[i] for column in columns), style="bold" if bold[i] else None)
    return table


def tables(rows: Sequence[Mapping[str, str]], width: int) -> Iterator[Table]:
    """One table where all of it fits, else the metrics and, below them, a row for each parameter.

    >>> (table,) = tables([{"rev": "main", "loss.q": "3.0"}, {"rev": "1a2b3c4", "loss.q": "5.0"}], width=80)
    >>> [column.header for column in table.columns]
    ['experiment', 'loss.\\nq']
    """
    names = [name(row, rows[0].get(DATA_SET, "")) for row in rows]
    bold = [row.get("typ", "baseline") == "baseline" for row in rows]
    free = width - Column("experiment", names, False).width
    measured, differing = metrics(rows), parameters(rows)
    whole = [*measured, *map(_on_two_lines, differing)]
    if len(list(panels(whole, free))) <= 1:
        yield _table("experiment", names, whole, bold)
        return
    for group in panels(measured, free):
        yield _table("experiment", names, group, bold)
    titles = [column.title for column in differing]
    for group in panels(turned(differing, names), width - Column("parameter", titles, False).width):
        yield _table("parameter", titles, group, [False] * len(titles))


def _filled(note: str, width: int) -> str:
    return textwrap.fill(note, max(width, NARROWEST), break_long_words=False, break_on_hyphens=False)


def run(chosen: argparse.Namespace) -> None:
    """Prints the tables.

    >>> from io import StringIO
    >>> from unittest.mock import patch
    >>> with patch("sys.stdin", StringIO("revision,loss.q")):
    ...     run(argparse.Namespace())
    Traceback (most recent call last):
    transformer_spectrum.runtime.errors.InputError: standard input: no table of dvc exp show --csv
    """
    from rich.console import Console

    rows = read(sys.stdin.readlines())
    width = shutil.get_terminal_size((WIDTH, 24)).columns
    for table in tables(rows, width) if rows else ():
        # Wider than the screen where one name or value alone is: the terminal then breaks the line, nothing is lost.
        needed = Console(width=10**4).measure(table).maximum
        console = Console(width=max(width, needed), highlight=False, soft_wrap=True)
        console.print(table)
        console.print()
    print(_filled(NOTE, width))
    if any(is_foreign(row, rows[0].get(DATA_SET, "")) for row in rows):
        print(_filled(FOREIGN_NOTE, width))
    if not any(row.get("typ", "baseline") != "baseline" for row in rows):
        print(NONE_YET, file=sys.stderr)
