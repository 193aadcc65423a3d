"""Which column of a table is time, which tells the series apart, and which hold values; what is ambiguous is refused.

A name says what a column may be, and its cells decide: a Year that comes once in each series is time, an id that is
repeated tells series apart. What looks like time under a name of its own, such as a counter that rises by one, is
neither taken for time nor forecast: an option has to say which.
"""

from __future__ import annotations

from difflib import get_close_matches

from transformer_spectrum.data.files.column_roles import ChosenColumns, Roles, free_columns
from transformer_spectrum.data.files.entity_column import check_entity, find_entity, refuse_blank
from transformer_spectrum.data.files.table_columns import FileTable
from transformer_spectrum.data.files.time_column import find_time
from transformer_spectrum.data.files.value_columns import why_no_value
from transformer_spectrum.data.series.csv_text import shortened
from transformer_spectrum.runtime.errors import InputError


def assign(table: FileTable, chosen: ChosenColumns) -> Roles:
    """Gives every column of a table its role, and splits the table's rows by the entity.

    Raises:
        InputError: a column that was named does not exist, or it is not certain what one is; with the option that
            settles it.

    >>> from pathlib import Path
    >>> import pandas as pd
    >>> cells = {"country": ["SE", "SE", "MT"], "year": [1, 2, 1], "cases": [3.0, 4.0, 5.0]}
    >>> table = FileTable(Path("x.csv"), pd.DataFrame(cells))
    >>> roles = assign(table, ChosenColumns())
    >>> roles.entity, roles.time, roles.values
    ('country', ('year',), ['cases'])
    """
    _check_named(table, chosen)
    roles = Roles(entity=find_entity(table, chosen))
    if roles.entity is not None:
        refuse_blank(table, roles.entity)
        table.split_by(roles.entity)
    find_time(table, chosen, roles)
    check_entity(table, chosen, roles)
    if chosen.values is not None:
        roles.values = list(chosen.values)
        rest = [name for name in free_columns(table, chosen, roles) if name not in roles.left_out]
        roles.left_out |= dict.fromkeys(rest, "not among --value-columns")
        return roles
    for name in free_columns(table, chosen, roles):
        reason = why_no_value(table, name, roles)
        if reason is None:
            roles.values.append(name)
        else:
            roles.left_out[name] = reason
    return roles


def _check_named(table: FileTable, chosen: ChosenColumns) -> None:
    seen: dict[str, str] = {}
    for option, name in chosen.named(table.columns):
        if name not in table.columns:
            near = get_close_matches(name, table.columns, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {shortened(table.columns)}"
            raise InputError(f"{table.path}: {option} = {name}: no such column; {hint}")
        if name in seen:
            raise InputError(f"{table.path}: {option} = {name}: is given by {seen[name]} already")
        seen[name] = option
