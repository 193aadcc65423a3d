"""US hospital series by jurisdiction, CDC's Respiratory Virus Response export.

Source: data.cdc.gov resource 9t9r-e5a3 (public domain), asked for through the SODA API: the portal's rows.csv
truncates without an error, while here the row count can be checked. Long: one row a jurisdiction and day.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import numpy as np
import pandas as pd

from transformer_spectrum.data.series.aggregates import is_sum_of_jurisdictions
from transformer_spectrum.data.series.csv_text import read_rows
from transformer_spectrum.data.series.entity_series import Series
from transformer_spectrum.runtime.errors import InputError

FILE_NAME = "cdc_rvr_9t9r-e5a3.csv"
FIELDS = ("jurisdiction", "collection_date", "average_inpatient_beds_1", "total_admissions_all_influenza")
COLUMNS = {
    "average_inpatient_beds_occupied": "average_inpatient_beds_1",
    "total_admissions_all_influenza_confirmed_past_7days": "total_admissions_all_influenza",
}
LIMIT = 1_000_000  # rows asked for; the archived export has 88,091, and the API's own limit is 1,000
REGIONS = {  # of the Department of Health and Human Services; the export has a row for each sum
    "Region 1": ("CT", "MA", "ME", "NH", "RI", "VT"),
    "Region 2": ("NJ", "NY", "PR"),
    "Region 3": ("DC", "DE", "MD", "PA", "VA", "WV"),
    "Region 4": ("AL", "FL", "GA", "KY", "MS", "NC", "SC", "TN"),
    "Region 5": ("IL", "IN", "MI", "MN", "OH", "WI"),
    "Region 6": ("AR", "LA", "NM", "OK", "TX"),
    "Region 7": ("IA", "KS", "MO", "NE"),
    "Region 8": ("CO", "MT", "ND", "SD", "UT", "WY"),
    "Region 9": ("AZ", "CA", "HI", "NV"),
    "Region 10": ("AK", "ID", "OR", "WA"),
}
STATES = frozenset(state for members in REGIONS.values() for state in members) - {"PR"}  # and DC
NOTES = ("CDC Respiratory Virus Response, resource 9t9r-e5a3 (public domain).",)
REMARKS = {
    "087c8dd77ea831827d615dc835e02a25fd826dc1354abbb83a78197e86803765": (
        "This copy was derived by definition from HHS data (healthdata.gov g62h-syeh), not exported by CDC: shapes "
        "are right, levels differ from CDC's."
    )
}


def data_url(url: str) -> str:
    """The query for the four fields of every row, in order.

    >>> data_url("https://host/x.csv").partition("&")[0]
    'https://host/x.csv?$select=jurisdiction,collection_date,average_inpatient_beds_1,total_admissions_all_influenza'
    """
    return f"{url}?$select={','.join(FIELDS)}&$order={','.join(FIELDS[:2])}&$limit={LIMIT}"


def count_url(url: str) -> str:
    """The query for the number of rows.

    >>> count_url("https://host/x.csv")
    'https://host/x.csv?$select=count(*)'
    """
    return f"{url}?$select={quote('count(*)', safe='()*')}"


def _header_complaint(header: list[str]) -> str | None:
    if tuple(header) != FIELDS:
        return f"columns are {','.join(header)[:80]!r}; must be {','.join(FIELDS)!r}"
    return None


def _columns(lines: list[list[str]], label: str) -> pd.DataFrame:
    frame = pd.DataFrame(lines, columns=list(FIELDS))
    if (frame["jurisdiction"] == "").any():
        raise InputError(f"{label}: line {int(np.argmax(frame['jurisdiction'] == '')) + 2}: jurisdiction is blank")
    days = pd.to_datetime(frame["collection_date"], format="ISO8601", errors="coerce")
    wrong = (days.isna() | (days != days.dt.normalize())).to_numpy()
    if wrong.any():
        line = int(np.argmax(wrong))
        date = frame["collection_date"].iloc[line][:40]
        raise InputError(f"{label}: line {line + 2}: collection_date = {date!r}; must be a day as YYYY-MM-DD")
    frame["collection_date"] = days
    for name in FIELDS[2:]:
        cells = frame[name]
        values = pd.to_numeric(cells.where(cells != "", "nan"), errors="coerce").to_numpy(np.float64)
        wrong = ~(np.isfinite(values) & (values >= 0)) & (cells != "").to_numpy()
        if wrong.any():
            line = int(np.argmax(wrong))
            raise InputError(
                f"{label}: line {line + 2}: {name} = {cells.iloc[line][:40]!r}; must be blank or a finite number >= 0"
            )
        frame[name] = values
    return frame


def _check_order(frame: pd.DataFrame, label: str) -> None:
    """Each jurisdiction is one block of rows with rising days; which block comes first is the database's affair."""
    names, days = frame["jurisdiction"].to_numpy(), frame["collection_date"].to_numpy()
    begins = np.flatnonzero(np.r_[True, names[1:] != names[:-1]])
    blocks = names[begins]
    if len(set(blocks)) < len(blocks):
        line = next(int(begins[i]) for i in range(len(blocks)) if blocks[i] in blocks[:i])
        raise InputError(f"{label}: line {line + 2}: {names[line]} again; rows must be sorted by jurisdiction")
    falls = (names[1:] == names[:-1]) & (days[1:] <= days[:-1])
    if falls.any():
        line = int(np.argmax(falls)) + 1
        raise InputError(f"{label}: line {line + 2}: {names[line]}: days must rise within a jurisdiction")


def read_rvr(path: str | Path, label: str | None = None) -> pd.DataFrame:
    """Reads and checks the export.

    Args:
        path: the CSV.
        label: what messages call it; the path when None.
    Returns:
        FIELDS as columns: text, day, two float64 with NaN where blank.
    Raises:
        InputError: the file is missing, cut short, or breaks the schema; with the line and the rule.

    >>> with open("beds.csv", "w") as file:
    ...     print(",".join(FIELDS), "CT,2022-01-01,7012.5,", sep=chr(10), file=file)
    >>> read_rvr("beds.csv").iloc[0].tolist()
    ['CT', Timestamp('2022-01-01 00:00:00'), np.float64(7012.5), np.float64(nan)]
    """
    label = label or str(path)
    _, lines = read_rows(path, label, "fetch-rvr", _header_complaint)
    frame = _columns(lines, label)
    _check_order(frame, label)
    return frame


def check_rvr_complete(frame: pd.DataFrame, label: str) -> None:
    """Raises InputError when rows are missing; for a copy whose row count cannot be asked for.

    A complete one has every state and the District of Columbia up to the same last day, and no jurisdiction
    skips a day.

    >>> frame = pd.DataFrame({"jurisdiction": sorted(STATES - {"AK", "WY"})})
    >>> check_rvr_complete(frame, "export.csv")
    Traceback (most recent call last):
    transformer_spectrum.runtime.errors.InputError: export.csv: lacks AK, WY; cut short
    """
    absent = STATES.difference(frame["jurisdiction"])
    if absent:
        raise InputError(f"{label}: lacks {', '.join(sorted(absent))}; cut short")
    days = frame.groupby("jurisdiction", sort=False)["collection_date"].agg(["min", "max", "size"])
    gaps = days.index[(days["max"] - days["min"]).dt.days + 1 != days["size"]]
    if len(gaps):
        raise InputError(f"{label}: {gaps[0]} skips days; every day from its first to its last must be there")
    last = days["max"].max()
    early = [name for name in sorted(STATES) if days.at[name, "max"] < last]
    if early:
        ends: pd.Timestamp = days["max"][early[0]]
        raise InputError(f"{label}: {early[0]} ends on {ends.date()}; must reach {last.date()} as others do, cut short")


def rvr_series(frame: pd.DataFrame, column: str) -> tuple[list[Series], dict[str, Any]]:
    """One column's series of every jurisdiction that is no sum of others, from its first value to its last.

    Nothing is filled in: blanks inside stay NaN, blanks outside are cut off.

    Args:
        frame: of `read_rvr`.
        column: average_inpatient_beds_occupied (beds, mean over 7 days) or
            total_admissions_all_influenza_confirmed_past_7days (admissions in 7 days).
    Returns:
        Series of (T, 1), and a JSON-able report of what was left out.
    Raises:
        InputError: an unknown column, or one without values.

    >>> days = pd.to_datetime(["2022-01-01", "2022-01-02", "2022-01-03"])
    >>> frame = pd.DataFrame({"jurisdiction": ["CA", "CA", "US"], "collection_date": days, FIELDS[2]: [5.0, 6.0, 99.0]})
    >>> series, report = rvr_series(frame, "average_inpatient_beds_occupied")
    >>> series[0].entity, series[0].values.ravel().tolist(), report["aggregates_dropped"]["names"]
    ('CA', [5.0, 6.0], ['US'])
    """
    if column not in COLUMNS:
        raise InputError(f"column = {column}: must be one of {', '.join(COLUMNS)}")
    series: list[Series] = []
    aggregates: list[str] = []
    without_values: list[str] = []
    inside: dict[str, int] = {}
    trimmed = 0
    for name, rows in ((str(name), rows) for name, rows in frame.groupby("jurisdiction", sort=False)):
        if is_sum_of_jurisdictions(name):
            aggregates.append(name)
            continue
        # Days that upstream skips become blanks.
        values = rows.set_index("collection_date")[COLUMNS[column]].asfreq("D")
        first, last = values.first_valid_index(), values.last_valid_index()
        if first is None:
            without_values.append(name)
            continue
        present = values[first:last].to_numpy()
        trimmed += len(values) - len(present)
        if np.isnan(present).any():
            inside[name] = int(np.isnan(present).sum())
        series.append(Series(name, (cast("pd.Timestamp", first) - pd.Timestamp(0)).days, present[:, np.newaxis]))
    if not series:
        raise InputError(f"{FIELDS[0]}: no jurisdiction has a value of {column}")
    return series, {
        "jurisdictions": {"read": len(series) + len(without_values), "used": len(series)},
        "jurisdictions_without_values": without_values,
        "aggregates_dropped": {"count": len(aggregates), "names": aggregates},
        "days_trimmed": trimmed,
        "values_missing_inside": {"count": sum(inside.values()), "jurisdictions": inside},
    }
