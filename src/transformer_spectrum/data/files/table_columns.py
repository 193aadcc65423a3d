"""The columns of a table, each looked at once: what kind its cells are of, and how they run within each series."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from transformer_spectrum.data.files.number_dates import (
    CALENDAR_YEARS,
    EPIWEEK,
    WHOLE_DATES,
    YEAR_MONTH,
    YEAR_WEEK,
    Digits,
)
from transformer_spectrum.data.files.numeric_times import EPOCHS
from transformer_spectrum.data.files.text_times import read_times
from transformer_spectrum.data.files.times import Times, as_numbers, blank_cells
from transformer_spectrum.runtime.errors import InputError

Kind = Literal["number", "date", "text", "blank"]
MEANT_AS_DATE = r"\d{1,4}([-/. ])\d{1,2}\1\d{1,4}(\D|$)"
FEWEST_ROWS = 5  # of a series: fewer rise by equal steps by chance


@dataclass
class FileTable:
    """A table and what has been learnt of it.

    Attributes:
        path: for messages.
        frame: cells, one row each.
        blocks: rows of each series, in the order of the file; all rows as long as no entity is known.

    >>> table = FileTable(Path("x.csv"), pd.DataFrame({"day": ["2022-01-01", "2022-01-02"], "cases": ["3", ""]}))
    >>> table.kind("day"), table.kind("cases"), table.unique("day")
    ('date', 'number', True)
    """

    path: Path
    frame: pd.DataFrame
    blocks: Sequence[np.ndarray] = ()
    _kinds: dict[str, Kind] = field(default_factory=dict)
    _numbers: dict[str, np.ndarray] = field(default_factory=dict)
    _times: dict[str, Times] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.blocks = [np.arange(len(self.frame))]

    @property
    def columns(self) -> list[str]:
        return list(self.frame.columns)

    def kind(self, name: str) -> Kind:
        """Numbers, certain dates, other text, or nothing at all."""
        if name not in self._kinds:
            self._kinds[name] = self._look(name)
        return self._kinds[name]

    def _look(self, name: str) -> Kind:
        cells = self.frame[name]
        if blank_cells(cells).all():
            return "blank"
        numbers = as_numbers(cells)
        if numbers is not None:
            self._numbers[name] = numbers
            return "number"
        try:
            self.times(name)
        except InputError:  # what is certainly meant as a date, but not certain to read, fails when it is used
            return "date" if re.match(MEANT_AS_DATE, str(cells[~blank_cells(cells)].iloc[0]).strip()) else "text"
        return "date"

    def times(self, name: str) -> Times:
        """The column as time; raises InputError where it is none."""
        if name not in self._times:
            self._times[name] = read_times(str(self.path), self.frame[name])
        return self._times[name]

    def numbers(self, name: str) -> np.ndarray:
        """(rows,) float64 of a column of numbers."""
        assert self.kind(name) == "number"
        return self._numbers[name]

    def split_by(self, name: str) -> None:
        """Makes the rows with one value of a column a series each, in the order of their first rows."""
        groups = self.frame.groupby(self.frame[name].astype(str), sort=False).indices
        self.blocks = [np.asarray(rows) for rows in groups.values()]

    def join(self, columns: Sequence[str]) -> str:
        """Adds a column of the cells of some, and returns its name."""
        name = "+".join(columns)
        cells = self.frame[list(columns)].astype(str)
        self.frame = self.frame.assign(**{name: cells.agg("/".join, axis=1)})
        return name

    def keys(self, name: str) -> np.ndarray:
        """(rows,) something to compare a column's cells by."""
        kind = self.kind(name)
        if kind == "date":
            return self.times(name).values
        return self.numbers(name) if kind == "number" else self.frame[name].astype(str).to_numpy(str)

    def constant(self, name: str) -> bool:
        """Whether a column has one value in each series."""
        keys = self.frame[name].astype(str).to_numpy(str)
        return all((keys[rows] == keys[rows[0]]).all() for rows in self.blocks)

    def unique(self, name: str) -> bool:
        """Whether no value comes twice in a series."""
        keys = self.keys(name)
        return all(len(np.unique(keys[rows])) == len(rows) for rows in self.blocks)

    def whole(self, name: str) -> bool:
        """Whether a column holds whole numbers only, none blank."""
        numbers = self.numbers(name)
        return bool(np.isfinite(numbers).all() and (numbers == np.round(numbers)).all())

    def rising(self, name: str) -> bool:
        """Whether the numbers rise, or fall, from row to row of every series, none blank."""
        numbers = self.numbers(name)
        steps = [np.diff(numbers[rows]) for rows in self.blocks]
        return bool(np.isfinite(numbers).all()) and (
            all((step > 0).all() for step in steps) or all((step < 0).all() for step in steps)
        )

    def counts(self, name: str) -> bool:
        """Whether the numbers of every series are an arithmetic progression, in any order of the rows."""
        numbers = self.numbers(name)
        if not np.isfinite(numbers).all():
            return False
        sizes = []
        for rows in self.blocks:
            steps = np.diff(np.sort(numbers[rows]))
            if len(steps) and not (steps[0] > 0 and np.allclose(steps, steps[0], rtol=1e-6, atol=0)):
                return False
            sizes.append(len(rows))
        return max(sizes) > 1

    def numbers_rows(self, name: str) -> bool:
        """Whether a column counts, by ones from 0 or 1 on, the rows of the table or of every series of some length."""
        numbers = self.numbers(name)
        every = [np.arange(len(numbers))]
        return self.long_enough() and any(
            all((numbers[rows] == np.arange(len(rows)) + first).all() for rows in blocks)
            for first in (0, 1)
            for blocks in (every, self.blocks)
        )

    def long_enough(self) -> bool:
        """Whether some series has so many rows that a rule in them is none by chance."""
        return max(len(rows) for rows in self.blocks) >= FEWEST_ROWS

    def calendar(self, name: str) -> bool:
        """Whether whole numbers can be years, YYYYMMDD and its kin, or an epoch's seconds."""
        numbers = self.numbers(name)
        if not self.whole(name):
            return False
        first, last = CALENDAR_YEARS
        _, _, since_1973, _ = EPOCHS[0]
        if (numbers.min() >= first and numbers.max() < last) or numbers.min() >= since_1973:
            return True
        whole = numbers.astype(np.int64)
        return _is_written(whole, (YEAR_MONTH, YEAR_WEEK, EPIWEEK, *WHOLE_DATES))

    def spells_dates(self, name: str) -> bool:
        """Whether all are YYYYMM, YYYYMMDD or longer, in any order of the rows; other numbers seldom are by chance."""
        if not self.whole(name):
            return False
        return _is_written(self.numbers(name).astype(np.int64), (YEAR_MONTH, *WHOLE_DATES))


def _is_written(whole: np.ndarray, ways: Sequence[Digits]) -> bool:
    return any(way.holds(whole) and way.read(whole).notna().all() for way in ways)


def no_number(table: FileTable, name: str) -> InputError:
    """The error for a column of values with a cell that is no number: it names the first such row and the options.

    >>> table = FileTable(Path("x.csv"), pd.DataFrame({"cases": ["3", "many"]}))
    >>> print(no_number(table, "cases"))  # doctest: +ELLIPSIS
    x.csv: row 2: cases = 'many'; must be blank or a finite number, or say what it is by ...
    """
    cells = table.frame[name]
    wrong = pd.to_numeric(cells, errors="coerce").isna() & cells.notna() & (cells.astype(str).str.strip() != "")
    row = int(np.argmax(wrong.to_numpy(bool)))
    return InputError(
        f"{table.path}: row {row + 1}: {name} = {str(cells.iloc[row])[:40]!r}; must be blank or a finite number, or "
        "say what it is by --time-column or --entity-column, or leave it out by --value-columns"
    )
