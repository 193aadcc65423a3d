"""The report of a study as Markdown: verdicts in words with numbers first, then controls, tables and cells."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from transformer_spectrum.report.study_page.page import NULLS, StudyTables, edge_words
from transformer_spectrum.report.study_page.words import (
    answers,
    failed_words,
    not_measured,
    quantity_words,
    standing_words,
)
from transformer_spectrum.vocabulary import AXIS_WORDS

DIVERGED = "diverged"
"""In the column `status` of cells.csv."""


SIGNS = (
    "A verdict's one sign on all axes is that of the seeds that have a pair on every axis, which may be fewer than "
    "those of a row."
)


def report_text(tables: StudyTables) -> str:
    """The whole report.

    Args:
        tables: of the study.

    >>> nothing = {"title": "one control", "protocol": "5f" * 32, "standing": {"confirmatory": False, "reason":
    ...     "there are no results"}, "failed_controls": {}, "controls": [], "contrasts": [], "secondary": [],
    ...     "claims": [], "claims_not_measured": {}, "tuning": None,
    ...     "rates_at_the_edge": [], "power": [], "axes": ["distance"], "endpoints": {}}
    >>> none = pd.DataFrame(columns=["block", "dataset", "arm", "status", "axis"])
    >>> text = report_text(StudyTables(nothing, none, none, none, none, none, none))
    >>> text.splitlines()[2]
    'Not confirmatory: there are no results.'
    """
    verdicts, variance, summary = tables.verdicts, tables.variance, tables.summary
    pieces = [
        f"# {str(verdicts['title']).capitalize()}",
        standing_words(verdicts["standing"]),
        "\n".join(f"- {sentence}" for sentence in failed_words(verdicts["failed_controls"])),
        *(
            "\n".join([f"## {question}", "", *(f"- {sentence}" for sentence in sentences)])
            for question, sentences in answers(verdicts, variance)
        ),
        _sentences("Verdicts", verdicts["contrasts"]),
        _sentences("Controls", verdicts["controls"]),
        _claims(verdicts),
        _axes([*verdicts["controls"], *verdicts["contrasts"]]),
        _secondary(verdicts["secondary"]),
        _tuning(verdicts["tuning"]),
        edge_words(verdicts["rates_at_the_edge"]),
        _summary(summary, {verdict["endpoint"] for verdict in (*verdicts["controls"], *verdicts["contrasts"])}),
        _nulls(tables.nulls, verdicts["axes"]),
        _cells(tables.cells),
        "\n".join(["## Power", "", *(f"- {line}" for line in verdicts["power"])]) if verdicts["power"] else "",
        f"Protocol {verdicts['protocol']}.",
    ]
    return "\n\n".join(piece for piece in pieces if piece) + "\n"


def _sentences(title: str, verdicts: Iterable[Mapping[str, Any]]) -> str:
    lines = [f"- {verdict['sentence']}" for verdict in verdicts]
    return "\n".join([f"## {title}", "", *lines]) if lines else ""


def _claims(verdicts: Mapping[str, Any]) -> str:
    lines = [f"- {claim['sentence']}{_elsewhere(claim)}" for claim in verdicts["claims"]]
    if verdicts["claims_not_measured"]:
        lines.append(f"- {not_measured(verdicts['claims_not_measured'])}")
    return "\n".join(["## Published claims", "", *lines]) if lines else ""


def _elsewhere(claim: Mapping[str, Any]) -> str:
    """Where the answer is another one on another axis."""
    others = [
        f"{answered['outcome']} at equal {AXIS_WORDS[axis]} ({_number(answered['effect']['mean'])})"
        for axis, answered in claim["on_axes"].items()
        if answered["outcome"] != claim["outcome"]
    ]
    return f" The axis decides: {', '.join(others)}." if others else ""


def _axes(verdicts: Iterable[Mapping[str, Any]]) -> str:
    """Every contrast on every axis."""
    rows = [
        (
            verdict["contrast"]["name"],
            verdict["endpoint"],
            axis,
            effect["pairs"],
            *(_number(effect[name]) for name in ("mean", "low", "high", "hodges_lehmann", "d_z", "p_value")),
        )
        for verdict in verdicts
        for axis, effect in verdict["axes"].items()
    ]
    header = ("contrast", "endpoint", "equal", "pairs", "mean", "low", "high", "Hodges-Lehmann", "d_z", "p")
    table = _table("On all axes", header, rows)
    return f"{table}\n\n{SIGNS}" if rows else table


def _secondary(rows: Sequence[Mapping[str, Any]]) -> str:
    header = ("contrast", "dataset", "endpoint", "axis", "pairs", "mean", "low", "high", "d_z", "p", "q")
    return _table("Secondary endpoints", header, [[_number(row[name]) for name in header] for row in rows])


def _tuning(tuning: Mapping[str, Any] | None) -> str:
    if tuning is None:
        return ""
    held = "validation MAE held equal"
    words = {"rates": "rate", "targets": held, "margins": "margin"}
    rows = [(word, name, _number(value)) for key, word in words.items() for name, value in tuning[key].items()]
    own = [(f"{block}, {name}", value) for block, of in tuning["own_targets"].items() for name, value in of.items()]
    rows += [(held, where, _number(value)) for where, value in own]
    return _table("Fixed by the tuning seeds", ("what", "of", "value"), rows)


def _summary(summary: pd.DataFrame, endpoints: Collection[str]) -> str:
    """Means of the arms on the primary axis; the whole table lies beside the report."""
    if not len(summary):
        return ""
    chosen = (summary["axis"] == summary["axis"].iloc[0]) & summary["endpoint"].isin(endpoints)
    rows = summary[chosen].drop(columns="axis")
    return _table(
        f"Arms at equal {summary['axis'].iloc[0]}",
        tuple(rows.columns),
        [[_number(value) for value in row] for row in rows.itertuples(index=False)],
    )


def _nulls(nulls: pd.DataFrame, axes: Sequence[str]) -> str:
    """On the primary axis; the whole table lies beside the report."""
    rows = [
        (*row[:3], quantity_words(row[3]), *(_number(value) for value in row[4:]))
        for row in nulls[nulls["axis"] == axes[0]].drop(columns="axis").itertuples(index=False)
    ]
    header = tuple(name for name in nulls.columns if name != "axis")
    table = _table(f"Beside the nulls, at equal {axes[0]}", header, rows)
    return f"{table}\n\n{NULLS}" if rows else table


def _cells(cells: pd.DataFrame) -> str:
    counted = cells.groupby(["block", "dataset", "arm"], sort=False)["status"]
    rows = [(*place, len(of_arm), int((of_arm == DIVERGED).sum())) for place, of_arm in counted]
    return _table("Cells", ("block", "data set", "arm", "trainings", DIVERGED), rows)


def _number(value: Any) -> str:
    if value is None or value != value:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    if not rows:
        return ""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join([f"## {title}", "", *(f"| {' | '.join(map(str, line))} |" for line in lines)])
