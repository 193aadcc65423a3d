"""What the change does to directions: circuits of the heads, overlap with the initial matrices, births of spikes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import pandas as pd

from transformer_spectrum.report.page.html import Table
from transformer_spectrum.report.page.numbers import LACKING, number, signed
from transformer_spectrum.report.run import Run
from transformer_spectrum.vocabulary import circuit_words, family_words, metric_words

CIRCUIT_METRIC = "stable_rank"
SPIKES: Mapping[str, str] = {"weights": "mp_spikes", "change": "change_mp_spikes"}
"""What spikes are of -> the metric that counts them."""
NO_CIRCUITS = "A model without attention, such as an LSTM, has no circuits."
NO_CHANGE = "No training has a best step behind the initial weights, so there is no change to compare."


class DirectionSection(NamedTuple):
    """One section of the page.

    Attributes:
        anchor: its place in the page.
        title: its heading.
        table: its numbers; None where there are none.
        lacking: what is said then.
    """

    anchor: str
    title: str
    table: Table | None
    lacking: str


def circuits(run: Run) -> Table | None:
    """The heads' circuits at the best steps, as they are and with the norms' gains; None of a model without attention.

    >>> circuits(run) is None  # it has none
    True
    """
    if run.circuits.empty:
        return None
    table = _at_best(run, run.circuits[run.circuits["metric"] == CIRCUIT_METRIC])
    rows = tuple(
        (
            circuit_words(family),
            run.caption.name_of(optimizer),
            f"{len(circuits_at[circuits_at['folded'] == 0])}",
            *_against_null(circuits_at[circuits_at["folded"] == 0]),
            *_against_null(circuits_at[circuits_at["folded"] == 1]),
        )
        for family, optimizer, circuits_at in _groups(run, table, list(table["family"].unique()))
    )
    name = metric_words(CIRCUIT_METRIC)
    ends = (name, "its null", "effect", "deviations")
    return Table(
        f"Mean {name} of the heads' circuits at the best steps, beside products of the initial matrices plus their "
        "shuffled changes; folded: with the gains of the norms that they read. Deviations: the mean of "
        "each circuit's own.",
        ("circuits", "optimizer", "heads", *ends, *(f"folded: {end}" for end in ends)),
        rows,
        left=(0, 1),
    )


def overlaps(run: Run) -> Table | None:
    """Overlap of the changes' leading singular vectors with the initial matrices' at the best steps; None without any.

    >>> overlaps(run).header
    ('family', 'optimizer', 'matrices', 'left', 'left, at random', 'right', 'right, at random')
    """
    table = _at_best(run, run.vectors)
    if table.empty:
        return None
    columns = ("left", "left_random", "right", "right_random")
    rows = tuple(
        (
            family_words(family),
            run.caption.name_of(optimizer),
            str(len(matrices)),
            *(number(matrices[column].mean()) for column in columns),
        )
        for family, optimizer, matrices in _groups(run, table, run.families)
    )
    rank = run.params.spectra.overlap_rank
    return Table(
        f"Overlap of the {rank} leading singular vectors of each change with those of the initial matrix at the best "
        "steps, mean over the family: 0 orthogonal, 1 the same subspace; beside what random directions would have.",
        ("family", "optimizer", "matrices", "left", "left, at random", "right", "right, at random"),
        rows,
        left=(0, 1),
    )


def spikes(run: Run) -> Table:
    """How many spikes stand at the end, of the matrices and of their changes, and when the first one was born.

    >>> spikes(run).header[2:4]
    ('spikes of the matrices', 'first birth in a matrix (step)')
    """
    evolution, rows = run.curves["spectra_evolution"], []
    counted = set(evolution[["optimizer", "family", "metric"]].itertuples(index=False, name=None))
    for family in run.families:
        for optimizer in run.trainings:
            mine = run.spikes[(run.spikes["family"] == family) & (run.spikes["optimizer"] == optimizer)]
            counts = (
                cell
                for subject, metric in SPIKES.items()
                for cell in _births(mine[mine["of"] == subject], counted=(optimizer, family, metric) in counted)
            )
            rows.append((family_words(family), run.caption.name_of(optimizer), *counts))
    return Table(
        "Singular values above the edge of noise that stand from their birth to the last step, of all matrices "
        "of the family. A spike is counted, not followed as a direction; ≤: it stands "
        "in the first record that has a count.",
        (
            "family",
            "optimizer",
            "spikes of the matrices",
            "first birth in a matrix (step)",
            "spikes of the changes",
            "first birth in a change (step)",
        ),
        tuple(rows),
        left=(0, 1),
    )


def sections(run: Run) -> list[DirectionSection]:
    """Those of this module, in the order of the page.

    >>> [section.title for section in sections(run)]
    ['Circuits', 'Directions', 'Spikes']
    """
    return [
        DirectionSection("circuits", "Circuits", circuits(run), NO_CIRCUITS),
        DirectionSection("directions", "Directions", overlaps(run), NO_CHANGE),
        DirectionSection("births", "Spikes", spikes(run), ""),
    ]


def _at_best(run: Run, table: pd.DataFrame) -> pd.DataFrame:
    best_steps = {name: int(training.scores["best_step"]) for name, training in run.trainings.items()}
    return table[table["step"] == table["optimizer"].astype(str).map(best_steps)]


def _groups(run: Run, table: pd.DataFrame, families: list[str]) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Family, optimizer and their rows, where there are any."""
    for family in families:
        for optimizer in run.trainings:
            mine = table[(table["family"] == family) & (table["optimizer"] == optimizer)]
            if not mine.empty:
                yield family, optimizer, mine


def _against_null(circuits_at: pd.DataFrame) -> tuple[str, str, str, str]:
    if circuits_at.empty:
        return LACKING, LACKING, LACKING, LACKING
    means = circuits_at[["value", "null_mean", "difference", "deviations"]].mean()
    return (
        number(means["value"], 2),
        number(means["null_mean"], 2),
        signed(means["difference"], 2),
        signed(means["deviations"]),
    )


def _births(spikes_of: pd.DataFrame, *, counted: bool) -> tuple[str, str]:
    """How many stand at the end, and the earliest step at which one of them was born; neither where none can be."""
    if not counted:
        return LACKING, LACKING
    standing = spikes_of[spikes_of["born"].notna()]
    if standing.empty:
        return "0", LACKING
    earliest = standing[standing["born"] == standing["born"].min()]
    bound = "≤ " if earliest["from_the_start"].any() else ""
    return f"{len(standing):,}", f"{bound}{int(earliest['born'].iloc[0]):,}"
