"""A study's report as one HTML file that needs nothing else, neither a network nor a script; see page.html.j2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from transformer_spectrum.report.page.html import Table, render
from transformer_spectrum.report.page.numbers import number, short
from transformer_spectrum.report.study_page import figures
from transformer_spectrum.report.study_page.forest import forests
from transformer_spectrum.report.study_page.words import (
    answers,
    endpoint_words,
    failed_words,
    not_measured,
    percent,
    quantity_words,
    standing_words,
    where_words,
)
from transformer_spectrum.vocabulary import AXIS_WORDS

NULLS = (
    "A null is the mean over draws: of the change with its entries shuffled, of W (and its exponents) W_0 plus the "
    "change with shuffled entries. The sd is that of the draws' means over matrices. D is the distance of a spectrum "
    "from the power law of the KS exponent: where D is that of the null, the exponent says no more than the null does. "
    "Of the first seeds of every block that has contrasts."
)


@dataclass(frozen=True)
class StudyTables:
    """What the steps of a study have left.

    Attributes:
        verdicts: content of verdicts.json.
        cells, summary, curves, spectra, variance, nulls: tables of the same names.
    """

    verdicts: Mapping[str, Any]
    cells: pd.DataFrame
    summary: pd.DataFrame
    curves: pd.DataFrame
    spectra: pd.DataFrame
    variance: pd.DataFrame
    nulls: pd.DataFrame


def page(tables: StudyTables) -> str:
    """The whole page.

    >>> verdicts = {"title": "one <control>", "protocol": "5f" * 32, "standing": {"confirmatory": False, "reason":
    ...     "there are no results"}, "failed_controls": {}, "controls": [], "contrasts": [], "secondary": [],
    ...     "claims": [], "claims_not_measured": {}, "tuning": None, "rates_at_the_edge": [], "power": [],
    ...     "blocks": [], "axes": ["distance"], "level": 0.05, "endpoints": {}}
    >>> nothing = pd.DataFrame({"block": [], "dataset": [], "arm": [], "endpoint": [], "axis": []})
    >>> html = page(StudyTables(verdicts, nothing, nothing, nothing, nothing, nothing.assign(share=[]), nothing))
    >>> "<h1>One &lt;control&gt;</h1>" in html
    True
    """
    verdicts = tables.verdicts
    axes = verdicts["axes"]
    title = str(verdicts["title"])
    primary = [name for name, (role, *_) in verdicts["endpoints"].items() if role == "primary"]
    return render(
        "study_page/page.html.j2",
        title=f"{title[:1].upper()}{title[1:]}",
        lines=figures.LINES,
        standing=standing_words(verdicts["standing"]),
        protocol=verdicts["protocol"],
        failed=failed_words(verdicts["failed_controls"]),
        answers=answers(verdicts, tables.variance),
        design=_design(verdicts),
        blocks=_blocks(verdicts),
        tuning=_tuning(verdicts["tuning"]),
        edges=edge_words(verdicts["rates_at_the_edge"]),
        controls=forests(verdicts["controls"], axes),
        contrasts=forests(verdicts["contrasts"], axes),
        variance=figures.bars_of_variance(tables.variance[tables.variance["endpoint"].isin(primary)]),
        terms=figures.TERMS,
        shares=_shares(tables.variance),
        claims=_claims(verdicts["claims"], axes),
        claim_notes=_claim_notes(verdicts),
        curves=list(figures.groups_of_curves(tables.curves)),
        spectra=list(figures.groups_of_spectra(tables.spectra)),
        secondary=_secondary(verdicts["secondary"]),
        nulls=_nulls(tables.nulls, axes),
        nulls_words=NULLS,
        cells=_cells(tables.cells),
        power=verdicts["power"],
    )


def edge_words(names: Sequence[str]) -> str:
    """Which tuned rates are the smallest or largest that were tried.

    >>> edge_words(["adam-mse"])
    'At the smallest or largest rate that was tried, so that a better one may lie beyond: adam-mse.'
    """
    if not names:
        return ""
    return f"At the smallest or largest rate that was tried, so that a better one may lie beyond: {', '.join(names)}."


def _design(verdicts: Mapping[str, Any]) -> list[str]:
    axes = [f"equal {AXIS_WORDS[axis]}" for axis in verdicts["axes"]]
    by_role: dict[str, list[str]] = {}
    for name, (role, formula, unit) in verdicts["endpoints"].items():
        by_role.setdefault(role, []).append(f"{endpoint_words(name)} ({formula}; {unit})")
    return [
        f"The unit is the seed, paired. Compared at {', '.join(axes)}; the first is the primary one.",
        f"Level {verdicts['level']:g} of each block's family of tests: exact sign flips, step-down max-T.",
        *(f"{role.capitalize()} endpoints: {'; '.join(entries)}." for role, entries in by_role.items()),
    ]


def _blocks(verdicts: Mapping[str, Any]) -> Table:
    rows = []
    for block in verdicts["blocks"]:
        first, count = block["seeds"]
        targets = ", ".join(
            f"{name} {'what all arms of a seed reach' if mae is None else short(mae)}"
            for name, mae in block["targets"].items()
        )
        name = f"{block['name']} (tuning)" if block["tuning"] else block["name"]
        rows.append(
            (name, ", ".join(block["datasets"]), ", ".join(block["arms"]), f"{first}–{first + count - 1}", targets)
        )
    header = ("block", "data sets", "arms", "seeds", "validation MAE held equal")
    return Table("Blocks.", header, tuple(rows), left=(0, 1, 2, 3, 4))


def _tuning(tuning: Mapping[str, Any] | None) -> Table:
    rows = [] if tuning is None else [("rate", name, short(value)) for name, value in tuning["rates"].items()]
    margins = {} if tuning is None else tuning["margins"]
    rows += [("margin of equivalence", endpoint_words(name), short(value)) for name, value in margins.items()]
    return Table("Fixed by the tuning seeds.", ("what", "of", "value"), tuple(rows), left=(0, 1), tall=True)


def _shares(variance: pd.DataFrame) -> Table:
    rows = [
        (
            endpoint_words(row.endpoint),
            AXIS_WORDS[row.axis],
            row.reason if isinstance(row.reason, str) and row.reason else row.term,
            percent(row.share),
            f"[{percent(row.low)}, {percent(row.high)}]",
        )
        for row in (variance.itertuples() if len(variance) else ())
    ]
    header = ("endpoint", "equal", "term", "share", "95 % interval")
    return Table("Shares of variance of every term.", header, tuple(rows), left=(0, 1, 2), tall=True)


def _on_axis(answered: Mapping[str, Any] | None) -> str:
    if answered is None:
        return "–"
    return f"{answered['outcome']}, {number(answered['effect']['mean'], 3)}"


def _claims(claims: Sequence[Mapping[str, Any]], axes: Sequence[str]) -> Table:
    rows = []
    for answered in claims:
        claim, effect = answered["claim"], answered["effect"]
        sources = "; ".join(f"{source['reference']} ({source['read']} read)" for source in claim["sources"])
        rows.append(
            (
                claim["statement"],
                answered["outcome"],
                f"{endpoint_words(claim['endpoint'])}, {claim['first']} against {claim['second']} on "
                f"{claim['dataset']} {where_words(claim['axis'])}",
                f"{number(effect['mean'], 3)} [{number(effect['low'], 3)}, {number(effect['high'], 3)}]",
                short(answered["q_value"]),
                str(effect["pairs"]),
                *(_on_axis(answered["on_axes"].get(axis)) for axis in axes),
                sources,
            )
        )
    on_axes = [f"at equal {AXIS_WORDS[axis]}" for axis in axes]
    header = ("claim", "answer", "measured by", "difference", "q", "pairs", *on_axes, "source")
    words = "Each claim on this study's table, on its own axis and on every other."
    return Table(words, header, tuple(rows), left=(0, 1, 2, *range(6, len(header))))


def _claim_notes(verdicts: Mapping[str, Any]) -> list[str]:
    notes = [
        f"{answered['claim']['statement']}: {answered['claim']['caveat']}"
        for answered in verdicts["claims"]
        if answered["claim"]["caveat"]
    ]
    if verdicts["claims_not_measured"]:
        notes.append(not_measured(verdicts["claims_not_measured"]))
    return notes


def _secondary(rows: Sequence[Mapping[str, Any]]) -> Table:
    cells = tuple(
        (
            row["contrast"],
            row["dataset"],
            endpoint_words(row["endpoint"]),
            str(row["pairs"]),
            f"{number(row['mean'], 3)} [{number(row['low'], 3)}, {number(row['high'], 3)}]",
            short(row["d_z"]),
            short(row["p"]),
            short(row["q"]),
        )
        for row in rows
    )
    header = ("contrast", "data set", "endpoint", "pairs", "difference", "d_z", "p", "q")
    return Table("On the primary axis; q over a block's.", header, cells, left=(0, 1, 2), tall=True)


def _nulls(nulls: pd.DataFrame, axes: Sequence[str]) -> Table:
    rows = tuple(
        (
            *(str(row[name]) for name in ("block", "dataset", "arm")),
            quantity_words(row["quantity"]),
            str(row["seeds"]),
            *(short(row[name]) for name in ("value", "null", "null_sd", "deviations")),
        )
        for row in nulls[nulls["axis"] == axes[0]].to_dict("records")
    )
    header = (
        "block",
        "data set",
        "arm",
        "quantity",
        "seeds",
        "value",
        "null",
        "sd of the null",
        "value − null in these sd",
    )
    return Table(f"Means over seeds at equal {AXIS_WORDS[axes[0]]}.", header, rows, left=(0, 1, 2, 3), tall=True)


def _cells(cells: pd.DataFrame) -> Table:
    rows = []
    for (block, dataset, arm), inside in cells.groupby(["block", "dataset", "arm"], sort=False):
        diverged = int((inside["status"] == "diverged").sum())
        maes = inside["validation_mae"]
        rows.append(
            (
                f"{block}",
                str(dataset),
                str(arm),
                str(len(inside)),
                str(diverged),
                short(float(inside["rate"].iloc[0])),
                f"{short(float(maes.median()))} ({short(float(maes.min()))}–{short(float(maes.max()))})",
                short(float(inside["steps"].median())),
                short(float(inside["evaluations"].median())),
            )
        )
    header = (
        "block",
        "data set",
        "arm",
        "trainings",
        "diverged",
        "rate",
        "lowest validation MAE, median (range)",
        "steps, median",
        "evaluations, median",
    )
    return Table("What became of the trainings.", header, tuple(rows), left=(0, 1, 2), tall=True)
