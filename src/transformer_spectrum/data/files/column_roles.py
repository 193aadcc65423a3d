"""The roles of a table's columns: time, what tells series apart, values; recognised, or named by somebody."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field

from transformer_spectrum.data.files.table_columns import FileTable
from transformer_spectrum.data.files.times import Times

VALUES_OPTION = "or name the columns of values by --value-columns"


@dataclass(frozen=True)
class ChosenColumns:
    """Columns that somebody has named; None = to be recognised.

    Attributes:
        time: `--time-column`.
        entity: `--entity-column`; more than one, between commas, tell the series apart together.
        values: `--value-columns`.

    >>> ChosenColumns(time="day", entity="store,item").named(["day", "store", "item"])
    [('--time-column', 'day'), ('--entity-column', 'store'), ('--entity-column', 'item')]
    """

    time: str | None = None
    entity: str | None = None
    values: tuple[str, ...] | None = None

    def entity_parts(self, columns: Sequence[str]) -> list[str]:
        """The columns that `entity` names: one, or several between commas."""
        if self.entity is None or self.entity in columns:
            return [] if self.entity is None else [self.entity]
        return [name.strip() for name in next(csv.reader([self.entity], skipinitialspace=True))]

    def named(self, columns: Sequence[str] = ()) -> list[tuple[str, str]]:
        """(option, column) of each."""
        pairs = [("--time-column", self.time)]
        pairs += [("--entity-column", name) for name in self.entity_parts(columns)]
        pairs += [("--value-columns", name) for name in self.values or ()]
        return [(option, name) for option, name in pairs if name is not None]


@dataclass
class Roles:
    """What each column of a table is.

    Attributes:
        time: columns that make the time, empty = the order of the rows.
        times: what they hold, None without one.
        entity: what tells the series apart, None = each column of values is a series.
        values: columns that are forecast.
        left_out: column -> why it is neither.
    """

    time: tuple[str, ...] = ()
    times: Times | None = None
    entity: str | None = None
    values: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


def free_columns(table: FileTable, chosen: ChosenColumns, roles: Roles | None = None) -> list[str]:
    """Columns that have no role yet.

    >>> from pathlib import Path
    >>> import pandas as pd
    >>> table = FileTable(Path("x.csv"), pd.DataFrame({"day": [1], "store": ["a"], "sales": [2.0]}))
    >>> free_columns(table, ChosenColumns(time="day"), Roles(entity="store"))
    ['sales']
    """
    taken = {name for _, name in chosen.named(table.columns)}
    if roles is not None:
        taken |= {*roles.time, roles.entity or "", *roles.left_out}
    return [name for name in table.columns if name not in taken]
