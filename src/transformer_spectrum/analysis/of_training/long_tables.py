"""The long tables, matrix by matrix: the whole history, the nulls, the tests of the tails.

Numbers are float64, NaN where there is none, and a column beside them says why; names and reasons are categories.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from transformer_spectrum.analysis.of_training.evidence import ALTERNATIVES, TailTests
from transformer_spectrum.analysis.of_training.rows import stacked
from transformer_spectrum.analysis.of_training.summary import Summary
from transformer_spectrum.spectra import nulls
from transformer_spectrum.spectra.analysis import METRICS
from transformer_spectrum.spectra.tail_tests import GoodnessOfFit

PLACE = ("optimizer", "step", "evaluations", "matrix", "family", "rows", "columns")
SPECTRA_HISTORY = (*PLACE, *METRICS, "missing")
SPECTRA_NULLS = (
    *PLACE,
    "metric",
    "value",
    "reason",
    "initial",
    "initial_sd",
    "initial_difference",
    "initial_z",
    "initial_reason",
    "shuffled_mean",
    "shuffled_sd",
    "shuffled_difference",
    "shuffled_z",
    "shuffled_reason",
)
TAIL_METRICS = ("ks_alpha", "ks_alpha_se", "ks_distance", "ks_tail", "ks_xmin")
SPECTRA_TAILS = (
    *PLACE,
    *TAIL_METRICS,
    "null_alpha",
    "null_alpha_sd",
    "null_z",
    "goodness_p",
    "goodness_p_se",
    *(f"{name}_{statistic}" for name in ALTERNATIVES for statistic in ("ratio", "p")),
    "farms_alpha",
    "bounds",
    "missing",
)
CATEGORIES = (
    "optimizer",
    "matrix",
    "family",
    "metric",
    "reason",
    "initial_reason",
    "shuffled_reason",
    "bounds",
    "missing",
)


LONG_TABLES = ("spectra_history", "spectra_nulls", "spectra_tails")
"""Names of the files."""


def long_tables(summaries: Mapping[str, Summary]) -> dict[str, pd.DataFrame]:
    """Name of a file -> its table, in the order of `LONG_TABLES`."""
    tables = (spectra_history(summaries), spectra_nulls(summaries), spectra_tails(summaries))
    return dict(zip(LONG_TABLES, tables, strict=True))


def _with_categories(table: pd.DataFrame) -> pd.DataFrame:
    """Text as categories, in the order in which they come."""
    for name in table.columns.intersection(list(CATEGORIES)):
        codes, categories = pd.factorize(table[name])
        table[name] = pd.Categorical.from_codes(codes, categories)
    return table


def _finite(values: np.ndarray | float) -> np.ndarray:
    """NaN in the place of infinity too: a table has a number or none."""
    return np.where(np.isfinite(values), values, np.nan)


def spectra_history(summaries: Mapping[str, Summary]) -> pd.DataFrame:
    """Every metric of every matrix at every step, a row each; `missing` says why a metric is NaN."""
    return _with_categories(stacked(SPECTRA_HISTORY, (_history_of(*item) for item in summaries.items())))


def _history_of(optimizer: str, summary: Summary) -> dict[str, Any]:
    history, analysis = summary.history, summary.analysis
    steps, matrices = len(history.steps), len(history.names)
    family_of = {matrix: label for label, members in summary.families.items() for matrix in members.tolist()}
    missing = np.full((steps, matrices), "", dtype=object)
    lacking: np.ndarray = np.logical_or.reduce([analysis.codes[metric] > 0 for metric in METRICS])
    for position, matrix in np.argwhere(lacking).tolist():
        missing[position, matrix] = analysis.missing(position, matrix)
    return {
        "optimizer": optimizer,
        "step": np.repeat(history.steps, matrices),
        "evaluations": np.repeat(history.evaluations, matrices),
        "matrix": np.tile(history.names, steps),
        "family": np.tile([family_of[matrix] for matrix in range(matrices)], steps),
        "rows": np.tile(history.shapes[:, 0], steps),
        "columns": np.tile(history.shapes[:, 1], steps),
        **{metric: _finite(analysis.values[metric]).reshape(-1) for metric in METRICS},
        "missing": missing.reshape(-1),
    }


def _place(optimizer: str, summary: Summary, position: int) -> dict[str, Any]:
    """PLACE of every matrix of the evidence at one of its steps."""
    evidence = summary.evidence
    step = evidence.steps[position]
    shapes = np.array([spec.shape for spec in evidence.specs])
    return {
        "optimizer": optimizer,
        "step": step,
        "evaluations": summary.history.evaluations[np.flatnonzero(summary.history.steps == step)[0]],
        "matrix": [spec.name for spec in evidence.specs],
        "family": [spec.family.label for spec in evidence.specs],
        "rows": shapes[:, 0],
        "columns": shapes[:, 1],
    }


def spectra_nulls(summaries: Mapping[str, Summary]) -> pd.DataFrame:
    """Every metric of every matrix at the tracked steps beside its two nulls.

    initial_*: the change since step 0 and how many standard deviations of shuffled initial matrices it is;
    shuffled_*: the same against shuffles of the step's own matrix. A z that has no meaning has its reason.
    """
    blocks = (
        block
        for optimizer, summary in summaries.items()
        for position in range(len(summary.evidence.steps))
        for block in _nulls_at(optimizer, summary, position)
    )
    return _with_categories(stacked(SPECTRA_NULLS, blocks))


def _nulls_at(optimizer: str, summary: Summary, position: int) -> Iterator[dict[str, Any]]:
    evidence, place = summary.evidence, _place(optimizer, summary, position)
    for metric in METRICS:
        observed = evidence.observed.values[metric]
        start = nulls.compare(observed[position], evidence.initial.values[metric], centre=observed[0])
        own = nulls.compare(observed[position], evidence.shuffled[position].values[metric])
        yield {
            **place,
            "metric": metric,
            "value": _finite(observed[position]),
            "reason": [evidence.observed.reason(metric, position, matrix) for matrix in range(len(evidence.specs))],
            "initial": _finite(observed[0]),
            "initial_sd": _finite(start.null_sd),
            "initial_difference": _finite(start.difference),
            "initial_z": _finite(start.z),
            "initial_reason": start.reason,
            "shuffled_mean": _finite(own.null_mean),
            "shuffled_sd": _finite(own.null_sd),
            "shuffled_difference": _finite(own.difference),
            "shuffled_z": _finite(own.z),
            "shuffled_reason": own.reason,
        }


def spectra_tails(summaries: Mapping[str, Summary]) -> pd.DataFrame:
    """Power-law fit of every matrix at the first and the last step: its null, its goodness, its rivals.

    `null_*` are shuffles of the step's own matrix. A positive ratio favours the power law, which only the exponential's
    can be: the lognormal tends to the power law and the truncated law contains it. `bounds` names the values that are
    the bound of their search: a tail at the smallest size allowed, a p that no draw, or every draw, reached.
    """
    blocks = (
        _tails_at(optimizer, summary, position)
        for optimizer, summary in summaries.items()
        for position in summary.evidence.tails
    )
    return _with_categories(stacked(SPECTRA_TAILS, blocks))


def _tails_at(optimizer: str, summary: Summary, position: int) -> dict[str, Any]:
    evidence, min_tail = summary.evidence, summary.settings.min_tail
    tails = evidence.tails[position]
    observed = {metric: evidence.observed.values[metric][position] for metric in TAIL_METRICS}
    null = nulls.compare(observed["ks_alpha"], evidence.shuffled[position].values["ks_alpha"])
    farms = evidence.farms_reason[position]
    reasons = zip((tail.reason for tail in tails), null.reason, farms, strict=True)
    return {
        **_place(optimizer, summary, position),
        **{metric: _finite(values) for metric, values in observed.items()},
        "null_alpha": _finite(null.null_mean),
        "null_alpha_sd": _finite(null.null_sd),
        "null_z": _finite(null.z),
        "goodness_p": [tail.goodness.p_value if tail.goodness else np.nan for tail in tails],
        "goodness_p_se": [tail.goodness.standard_error if tail.goodness else np.nan for tail in tails],
        **{
            f"{name}_{statistic}": _finite(_ratios(tails, name, attribute))
            for name in ALTERNATIVES
            for statistic, attribute in (("ratio", "ratio"), ("p", "p_value"))
        },
        "farms_alpha": _finite(evidence.farms[position]),
        "bounds": [
            _bounds(size, min_tail, tail.goodness) for size, tail in zip(observed["ks_tail"], tails, strict=True)
        ],
        "missing": [
            "; ".join(filter(None, (fit, alpha, f"farms_alpha: {window}" if window else "")))
            for fit, alpha, window in reasons
        ],
    }


def _ratios(tails: tuple[TailTests, ...], alternative: str, attribute: str) -> np.ndarray:
    """A field of the likelihood ratio against an alternative, NaN where there is no fit."""
    ratios = (tail.ratios.get(alternative) for tail in tails)
    return np.array([np.nan if ratio is None else getattr(ratio, attribute) for ratio in ratios])


def _bounds(tail: float, min_tail: int, goodness: GoodnessOfFit | None) -> str:
    """Which numbers of a fit are bounds and no estimates: "ks_tail ≤ 8; goodness_p < 1/100"."""
    bounds = [f"ks_tail ≤ {min_tail}"] if tail == min_tail else []
    if goodness is not None and goodness.p_value in (0.0, 1.0):
        draws = goodness.draws
        bounds.append(f"goodness_p < 1/{draws}" if goodness.p_value == 0 else f"goodness_p > 1 - 1/{draws}")
    return "; ".join(bounds)
