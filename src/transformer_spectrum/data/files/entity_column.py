"""The column that tells the series of a long table apart."""

from __future__ import annotations

import hashlib
import re

import numpy as np
import pandas as pd

from transformer_spectrum.data.files import column_names as names
from transformer_spectrum.data.files.column_roles import VALUES_OPTION, ChosenColumns, Roles, free_columns
from transformer_spectrum.data.files.date_parts import parts_in
from transformer_spectrum.data.files.table_columns import FileTable, no_number
from transformer_spectrum.data.files.times import words
from transformer_spectrum.data.series.csv_text import shortened
from transformer_spectrum.runtime.errors import InputError

MOSTLY = 0.5  # of the cells: where so many are numbers, the others are mistakes
SIGNS_IN_NUMBERS = r"[,'\s%$€£]"
TIME_AS_HEADER = r"(?:X|\d{1,2}[/.])?(?:\d{1,2}[/.])?\d{4}(?:[-/.]\d{1,2}){0,2}(?: \[YR\d{4}\])?|\d{1,2}/\d{1,2}/\d{2}"


def find_entity(table: FileTable, chosen: ChosenColumns) -> str | None:
    """The column that tells the series of a long table apart; None where the table holds one series or is wide.

    Args:
        table: whose columns are looked at; columns that are named together become one of it.
        chosen: what somebody has named, which wins.
    Raises:
        InputError: several columns may be it, or one of texts was meant as numbers.

    >>> from pathlib import Path
    >>> cells = {"country": ["SE", "SE", "MT"], "year": [1, 2, 1], "cases": [3.0, 4.0, 5.0]}
    >>> table = FileTable(Path("x.csv"), pd.DataFrame(cells))
    >>> find_entity(table, ChosenColumns())
    'country'
    """
    if chosen.entity is not None:
        return chosen.entity if chosen.entity in table.columns else table.join(chosen.entity_parts(table.columns))
    free = free_columns(table, chosen)
    certain = [name for name in free if name.lower() in names.ENTITY]
    if certain:
        return certain[0]
    in_dates = parts_in(table, free)
    texts = [name for name in free if table.kind(name) == "text" and name not in in_dates]
    texts = [name for name in texts if not names.named_as_time(name)]
    meant = [name for name in texts if _meant_as_numbers(table, name)]
    if meant and chosen.values is None:
        raise no_number(table, meant[0])
    texts = [name for name in texts if name not in meant]
    if texts:
        return _of_texts(table, texts, chosen)
    return _of_identifiers(table, free)


def _meant_as_numbers(table: FileTable, name: str) -> bool:
    """Whether most cells are numbers, or seldom come twice and are numbers but for thousands, money or per cent."""
    cells = table.frame[name].astype(str)
    bare = cells.str.replace(SIGNS_IN_NUMBERS, "", regex=True) if cells.nunique() >= MOSTLY * len(cells) else cells
    return bool(pd.to_numeric(bare, errors="coerce").notna().mean() >= MOSTLY)


def refuse_blank(table: FileTable, entity: str) -> None:
    """Raises InputError, which names the first row, where a cell of the entity is blank.

    >>> from pathlib import Path
    >>> refuse_blank(FileTable(Path("x.csv"), pd.DataFrame({"country": ["SE", " "]})), "country")
    Traceback (most recent call last):
    transformer_spectrum.runtime.errors.InputError: x.csv: row 2: country is blank
    """
    cells = table.frame[entity]
    blank = (cells.isna() | (cells.astype(str).str.strip() == "")).to_numpy(bool)
    if blank.any():
        raise InputError(f"{table.path}: row {int(np.argmax(blank)) + 1}: {entity} is blank")


def _of_texts(table: FileTable, texts: list[str], chosen: ChosenColumns) -> str | None:
    """The text by which all others are given, a usual name first."""
    headers = [name for name in table.columns if re.fullmatch(TIME_AS_HEADER, name)]
    if len(headers) > max(2, len(table.columns) / 2):
        raise InputError(
            f"{table.path}: {shortened(headers, 3)} look like times; each row must be a time and each column a series, "
            "or there must be columns of the entity, the time and the value"
        )
    rows = len(table.frame)
    counts = {name: table.frame[name].astype(str).nunique() for name in texts}
    ranked = sorted(texts, key=lambda name: not names.named_as_entity(name))
    tellers = _that_give_all(
        table, [name for name in ranked if counts[name] < rows or names.named_as_entity(name)], texts
    )
    if tellers:
        return tellers[0]
    repeated = [name for name in texts if counts[name] < rows]
    usual = [name for name in ranked if names.named_as_entity(name)]
    if chosen.values is not None and len(usual) < 2:
        return usual[0] if usual else None
    if len(repeated) < 2:
        raise no_number(table, texts[0])
    raise InputError(
        f"{table.path}: {shortened(repeated)} are text, and none of them gives the others: name what tells the series "
        f"apart by --entity-column, which takes more than one, as {','.join(repeated[:2])}, {VALUES_OPTION}"
    )


def _of_identifiers(table: FileTable, free: list[str]) -> str | None:
    """A numbered identifier, where time repeats and comes once for each of its values."""
    numbers = [name for name in free if table.kind(name) == "number"]
    clocks = [name for name in free if table.kind(name) == "date"]
    clocks += [name for name in numbers if names.named_as_time(name) or names.mentions_date(name)]
    tellers = []
    for name in numbers:
        if not names.named_as_identifier(name) or name in clocks or not table.whole(name) or table.unique(name):
            continue
        if _settles(table, [name], clocks) if clocks else words(name)[-1:] in (["id"], ["ids"]):
            tellers.append(name)
    usual = [name for name in numbers if names.named_as_identifier(name) and table.whole(name) and name not in clocks]
    if clocks and not tellers and len(usual) > 1 and _settles(table, usual, clocks):
        raise InputError(
            f"{table.path}: {shortened(usual)} seem to tell the series apart together; if so, say --entity-column "
            f"{','.join(usual)}, {VALUES_OPTION}"
        )
    of_all = _that_give_all(table, tellers, tellers)
    if of_all:
        return of_all[0]
    if len(tellers) > 1 and clocks:
        raise InputError(
            f"{table.path}: {shortened(tellers)} may tell the series apart; name the one that does by --entity-column"
        )
    return tellers[0] if tellers else None


def _that_give_all(table: FileTable, candidates: list[str], columns: list[str]) -> list[str]:
    """The candidates for each value of which every column has one value; they are among the columns."""
    if not candidates:
        return []
    codes = {name: pd.factorize(table.frame[name].astype(str))[0].astype(np.int32) for name in columns}
    fullest = max(int(code.max()) for code in codes.values())  # what has fewer values cannot give it
    different = {
        hashlib.sha256(code.tobytes()).digest(): code for code in codes.values()
    }  # each way to cut the rows, once
    giving = []
    for name in candidates:
        code = codes[name]
        if code.max() == fullest:
            first = np.unique(code, return_index=True)[1][code]  # of each row, the first that has its value
            if all(np.array_equal(dependent, dependent[first]) for dependent in different.values()):
                giving.append(name)
    return giving


def _settles(table: FileTable, tellers: list[str], clocks: list[str]) -> bool:
    """Whether times repeat, but not within one value of some columns."""
    keys = table.frame[[*tellers, *clocks]].astype(str)
    return bool(keys[clocks].duplicated().any() and not keys.duplicated().any())


def check_entity(table: FileTable, chosen: ChosenColumns, roles: Roles) -> None:
    """A text that cuts one series with a time of its own in every row into pieces is no entity for certain.

    >>> from pathlib import Path
    >>> from transformer_spectrum.data.files.times import Times
    >>> table = FileTable(Path("x.csv"), pd.DataFrame({"remark": ["a", "b"], "year": [2020, 2021]}))
    >>> table.blocks, times = [np.array([0]), np.array([1])], Times(np.array([2020, 2021]), dated=False, name="years")
    >>> roles = Roles(("year",), times, entity="remark")
    >>> check_entity(table, ChosenColumns(values=("cases",)), roles)
    >>> roles.entity, len(table.blocks)  # one series, not two of one row each
    (None, 1)
    """
    entity = roles.entity
    if entity is None or chosen.entity or roles.times is None or len(table.blocks) == 1:
        return
    if names.named_as_entity(entity):
        return
    if len(np.unique(roles.times.values)) == len(table.frame):
        if chosen.values is not None:
            roles.entity = None
            table.blocks = [np.arange(len(table.frame))]
            return
        raise InputError(
            f"{table.path}: {entity} holds text, and each time comes once: name it by --entity-column if it tells "
            f"series apart, {VALUES_OPTION}"
        )
