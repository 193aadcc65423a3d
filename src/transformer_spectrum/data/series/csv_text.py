"""CSV text -> header and rows, strictly: what is cut short or ragged is an error, not a blank; lists of names."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from transformer_spectrum.runtime.errors import InputError

LEFT_OUT = {
    "countries_missing": "not in the table",
    "countries_without_cases": "without cases",
    "jurisdictions_without_values": "without values",
    "aggregates_dropped": "sums of others",
}
"""Entry of a reader's report -> what its names have in common."""


def shortened(names: Sequence[str], most: int = 5) -> str:
    """The first of many names, and how many more there are.

    >>> shortened(["a", "b", "c", "d"], most=2)
    'a, b and 2 more'
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def left_out(report: Mapping[str, Any]) -> str:
    """What a reader's report says was left out, such as "left out: not in the table: Oz"; empty where nothing was.

    >>> left_out({"countries_missing": ["Oz"], "aggregates_dropped": {"count": 1, "names": ["World"]}})
    'left out: not in the table: Oz; sums of others: World'
    """
    reasons = []
    for entry, words in LEFT_OUT.items():
        names = report.get(entry, [])
        names = names["names"] if isinstance(names, Mapping) else names
        if names:
            reasons.append(f"{words}: {shortened(names)}")
    return f"left out: {'; '.join(reasons)}" if reasons else ""


def read_rows(
    path: str | Path, label: str, stage: str | None, complaint: Callable[[list[str]], str | None]
) -> tuple[list[str], list[list[str]]]:
    """The cells of a CSV as text.

    Args:
        path: the file, UTF-8.
        label: what messages call it.
        stage: the stage that writes it, for the message when it is missing; None for a user's own file, whose last
            line may lack its end.
        complaint: header -> what is wrong with it, or None.
    Returns:
        The header's fields, and at least one row, each with as many.
    Raises:
        InputError: the file is missing, empty, not a CSV, ragged or cut short, or its header is wrong.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
    ...     for line in ("date,Malta", "2022-01-01,3"):
    ...         print(line, file=file, flush=True)
    ...     read_rows(file.name, "cases", None, lambda header: None)
    (['date', 'Malta'], [['2022-01-01', '3']])
    """
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        hint = f"; run the stage that writes it (dvc repro {stage})" if stage else ""
        raise InputError(f"{label}: no such file{hint}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{label}: not UTF-8 text ({error.reason} at byte {error.start})") from None
    if not text.strip():
        raise InputError(f"{label}: is empty")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader)
        wrong = complaint(header)
        if wrong:
            raise InputError(f"{label}: {wrong}")
        rows = list(reader)
    except csv.Error as error:
        raise InputError(f"{label}: line {reader.line_num}: not a CSV, or cut short ({error})") from None
    # What editors and spreadsheets leave behind the last row.
    while stage is None and rows and (not rows[-1] or (len(rows) > 1 and not any(rows[-1]))):
        rows.pop()
    if not rows:
        raise InputError(f"{label}: has no rows")
    for line, row in enumerate(rows, start=2):
        if len(row) != len(header):
            hint = "; cut short?" if row is rows[-1] else ""
            raise InputError(f"{label}: line {line} has {len(row)} fields; must have {len(header)}{hint}")
    # A number may have lost its last digits where neither a line end nor a closing quote follows it.
    if stage and not text.endswith(("\n", '"')):
        raise InputError(f"{label}: line {len(rows) + 1} has no end; cut short")
    return header, rows
