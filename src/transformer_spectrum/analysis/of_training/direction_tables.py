"""Long tables of what has directions: circuits of the heads, singular vectors of the changes, births of spikes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from transformer_spectrum.analysis.comparison.endpoints import CHANGE
from transformer_spectrum.analysis.of_training.rows import effect_columns, finite, stacked, with_categories
from transformer_spectrum.analysis.of_training.summary import Summary
from transformer_spectrum.spectra.births import spike_births
from transformer_spectrum.spectra.effects import effect
from transformer_spectrum.spectra.overlap import random_overlap

SPECTRA_CIRCUITS = (
    "optimizer",
    "step",
    "evaluations",
    "circuit",
    "family",
    "head",
    "folded",
    "metric",
    "value",
    "missing",
    "initial",
    "null_mean",
    "null_sd",
    "difference",
    "deviations",
    "reason",
)
SPECTRA_VECTORS = (
    "optimizer",
    "step",
    "evaluations",
    "matrix",
    "family",
    "rows",
    "columns",
    "rank",
    "left",
    "left_random",
    "left_random_sd",
    "right",
    "right_random",
    "right_random_sd",
    "reason",
)
SPECTRA_SPIKES = (
    "optimizer",
    "matrix",
    "family",
    "of",
    "spike",
    "born",
    "crossed",
    "from_the_start",
    "evaluations",
    "validation_mae",
    "reason",
)


def _time(summary: Summary, position: int) -> dict[str, int]:
    history = summary.history
    at = summary.tracked[position]
    return {"step": int(history.steps[at]), "evaluations": int(history.evaluations[at])}


def spectra_circuits(summaries: Mapping[str, Summary]) -> pd.DataFrame:
    """Every circuit of every attention head at the tracked steps, as it is (folded 0) and with the gains of the norms
    that it reads folded in (1), beside its null: products of W_0 plus shuffled changes.

    A model without attention has no rows.

    >>> len(spectra_circuits(summaries))  # no attention
    0
    """
    blocks = (
        block
        for optimizer, summary in summaries.items()
        for position in range(len(summary.evidence.steps))
        for block in _circuits_at(optimizer, summary, position)
    )
    return with_categories(stacked(SPECTRA_CIRCUITS, blocks))


def _circuits_at(optimizer: str, summary: Summary, position: int) -> Iterator[dict[str, Any]]:
    evidence, start = summary.evidence.circuits[position], summary.evidence.circuits[0]
    for folded, observed in evidence.observed.items():
        for metric, values in observed.values.items():
            draws = evidence.null[folded].values[metric]
            against = effect(metric, values, draws)
            yield {
                "optimizer": optimizer,
                **_time(summary, position),
                "circuit": [circuit.name for circuit in evidence.circuits],
                "family": [circuit.family for circuit in evidence.circuits],
                "head": [circuit.head for circuit in evidence.circuits],
                "folded": int(folded),
                "metric": metric,
                "value": finite(values),
                "missing": observed.reason,
                "initial": finite(start.observed[folded].values[metric]),
                **effect_columns(against),
            }


def spectra_vectors(summaries: Mapping[str, Summary]) -> pd.DataFrame:
    """Overlap of each change's leading singular vectors with those of W_0 at the tracked steps behind the first.

    `left_random` and `right_random` are what a uniformly random subspace would have, and its standard deviation.

    >>> table = spectra_vectors(summaries)
    >>> table[["optimizer", "step", "matrix", "rank", "left_random"]].values.tolist()[0]
    ['adam', 1, 'encoder.0.feed_forward.up', 4, 0.125]
    """
    blocks = (
        _vectors_at(optimizer, summary, position)
        for optimizer, summary in summaries.items()
        for position in range(1, len(summary.evidence.steps))
    )
    return with_categories(stacked(SPECTRA_VECTORS, blocks))


def _vectors_at(optimizer: str, summary: Summary, position: int) -> dict[str, Any]:
    evidence = summary.evidence
    overlaps, shapes = evidence.overlaps[position], [spec.shape for spec in evidence.specs]
    rank = overlaps.rank
    expected = np.array(
        [[random_overlap(side, rank) if rank <= min(shape) else (np.nan, np.nan) for side in shape] for shape in shapes]
    )
    return {
        "optimizer": optimizer,
        **_time(summary, position),
        "matrix": [spec.name for spec in evidence.specs],
        "family": [spec.family.label for spec in evidence.specs],
        "rows": [rows for rows, _ in shapes],
        "columns": [columns for _, columns in shapes],
        "rank": rank,
        "left": overlaps.left,
        "left_random": expected[:, 0, 0],
        "left_random_sd": expected[:, 0, 1],
        "right": overlaps.right,
        "right_random": expected[:, 1, 0],
        "right_random_sd": expected[:, 1, 1],
        "reason": overlaps.reason,
    }


def spectra_spikes(summaries: Mapping[str, Summary]) -> pd.DataFrame:
    """When each spike of each matrix, and of its change, was born: the first record from which on it stands.

    `of` is weights or change; `spike` counts from 1, in number and not as a direction that is followed; `born` and
    `crossed` are steps, the second the first at all with as many spikes; `from_the_start` is 1 where the first record
    with a count has it already. Spikes that a training never shows have no row.

    >>> table = spectra_spikes(summaries).dropna(subset="born")
    >>> bool((table["born"] >= table["crossed"]).all())
    True
    """
    blocks = (
        block
        for optimizer, summary in summaries.items()
        for prefix in ("", CHANGE)
        for block in _births(optimizer, summary, prefix)
    )
    return with_categories(stacked(SPECTRA_SPIKES, blocks))


def _births(optimizer: str, summary: Summary, prefix: str) -> Iterator[dict[str, Any]]:
    history = summary.history
    family_of = {matrix: label for label, members in summary.families.items() for matrix in members.tolist()}
    births = spike_births(summary.analysis.values[f"{prefix}mp_spikes"], history.steps)
    for matrix, name in enumerate(history.names.tolist()):
        ever = np.flatnonzero(np.isfinite(births.crossings[matrix]))
        born = births.steps[matrix, ever]
        at = np.searchsorted(history.steps, np.nan_to_num(born))
        yield {
            "optimizer": optimizer,
            "matrix": name,
            "family": family_of[matrix],
            "of": "change" if prefix else "weights",
            "spike": ever + 1,
            "born": born,
            "crossed": births.crossings[matrix, ever],
            "from_the_start": births.censored[matrix, ever].astype(int),
            "evaluations": np.where(np.isfinite(born), history.evaluations[at], np.nan),
            "validation_mae": np.where(np.isfinite(born), history.validation_mae[at], np.nan),
            "reason": births.reason[matrix, ever],
        }
