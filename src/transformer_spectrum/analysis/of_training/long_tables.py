"""The long tables, matrix by matrix: the whole history, the nulls, the tests of the tails.

Numbers are float64, NaN where there is none, and a column beside them says why; names and reasons are categories.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from transformer_spectrum.analysis.comparison.endpoints import CHANGE
from transformer_spectrum.analysis.of_training.direction_tables import spectra_circuits, spectra_spikes, spectra_vectors
from transformer_spectrum.analysis.of_training.nulls import STEP, null_of_alpha, nulls_of
from transformer_spectrum.analysis.of_training.rows import effect_columns, finite, stacked, with_categories
from transformer_spectrum.analysis.of_training.summary import Summary
from transformer_spectrum.analysis.of_training.tails import ALTERNATIVES, TailTests
from transformer_spectrum.spectra.analysis import METRICS, REASONS, Analysis
from transformer_spectrum.spectra.effects import Effect, effect
from transformer_spectrum.spectra.nulls import null_of
from transformer_spectrum.spectra.tail_tests import GoodnessOfFit

PLACE = ("optimizer", "step", "evaluations", "matrix", "family", "rows", "columns")
SUBJECTS = ("", CHANGE, STEP)
"""Prefixes of the metrics' names: of the matrix, of its change since step 0, of the step from the record before."""
SPECTRA_HISTORY = (
    *PLACE,
    "validation_mae",
    "distance",
    *(f"{prefix}{name}" for prefix in SUBJECTS for name in METRICS),
    "missing",
)
SPECTRA_NULLS = (
    *PLACE,
    "metric",
    "value",
    "missing",
    "initial",
    "null",
    "null_mean",
    "null_sd",
    "difference",
    "deviations",
    "reason",
)
TAIL_METRICS = ("ks_alpha", "ks_alpha_se", "ks_distance", "ks_tail", "ks_xmin")
SPECTRA_TAILS = (
    *PLACE,
    *TAIL_METRICS,
    "null_alpha",
    "null_alpha_sd",
    "goodness_p",
    "goodness_p_se",
    *(f"{name}_{statistic}" for name in ALTERNATIVES for statistic in ("ratio", "p")),
    "farms_alpha",
    "tail_verdict",
    "tail_p",
    "tail_spikes",
    "tail_reason",
    "bounds",
    "missing",
)
LONG_TABLES = (
    "spectra_history",
    "spectra_nulls",
    "spectra_tails",
    "spectra_circuits",
    "spectra_vectors",
    "spectra_spikes",
)
"""Names of the files."""


def long_tables(summaries: Mapping[str, Summary]) -> dict[str, pd.DataFrame]:
    """Name of a file -> its table, in the order of `LONG_TABLES`.

    >>> tables = long_tables(summaries)
    >>> list(tables) == list(LONG_TABLES), len(tables["spectra_history"]), len(tables["spectra_vectors"])
    (True, 126, 54)
    """
    makers = (spectra_history, spectra_nulls, spectra_tails, spectra_circuits, spectra_vectors, spectra_spikes)
    return {name: maker(summaries) for name, maker in zip(LONG_TABLES, makers, strict=True)}


def spectra_history(summaries: Mapping[str, Summary]) -> pd.DataFrame:
    """Every metric of every matrix, and of its change since step 0, at every record; `missing` says why one is NaN.

    Names of the change's metrics begin with "change_"; those of the step from the record before, with "step_": they are
    NaN throughout where training.step_spectra is off. `distance` is |W_t - W_0| / |W_0|.

    >>> spectra_history(summaries)[["optimizer", "step", "matrix", "rows", "columns"]].values.tolist()[0]
    ['adam', 0, 'encoder.0.feed_forward.up', 32, 16]
    """
    return with_categories(stacked(SPECTRA_HISTORY, (_history_of(*item) for item in summaries.items())))


def _history_of(optimizer: str, summary: Summary) -> dict[str, Any]:
    history, analysis = summary.history, summary.analysis
    steps, matrices = len(history.steps), len(history.names)
    family_of = {matrix: label for label, members in summary.families.items() for matrix in members.tolist()}
    missing = np.full((steps, matrices), "", dtype=object)
    lacking: np.ndarray = np.logical_or.reduce([codes > 0 for codes in analysis.codes.values()])
    for position, matrix in np.argwhere(lacking).tolist():
        missing[position, matrix] = analysis.missing(position, matrix)
    names = [f"{prefix}{metric}" for prefix in SUBJECTS for metric in METRICS]
    return {
        "optimizer": optimizer,
        "step": np.repeat(history.steps, matrices),
        "evaluations": np.repeat(history.evaluations, matrices),
        "matrix": np.tile(history.names, steps),
        "family": np.tile([family_of[matrix] for matrix in range(matrices)], steps),
        "rows": np.tile(history.shapes[:, 0], steps),
        "columns": np.tile(history.shapes[:, 1], steps),
        "validation_mae": np.repeat(history.validation_mae, matrices),
        "distance": history.distances.astype(np.float64).reshape(-1),
        **{name: _column_of(analysis, name, steps * matrices) for name in names},
        "missing": missing.reshape(-1),
    }


def _column_of(analysis: Analysis, metric: str, count: int) -> np.ndarray:
    values = analysis.values.get(metric)
    return np.full(count, np.nan) if values is None else finite(values).reshape(-1)


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
    """Every metric of every matrix and of its change at the tracked steps, a row for each of its nulls.

    Nulls of a matrix are path (W_0 plus its change with shuffled entries, the main one), shuffled (its own entries
    shuffled) and initial (the entries of W_0 shuffled); those of a change change_shuffled and change_signs.
    `difference` is the effect, value - null_mean; `deviations` the same in standard deviations of the draws, where
    these say much, and `reason` why they do not. `initial` is the metric at step 0, `missing` why there is no value.

    >>> spectra_nulls(summaries)[["optimizer", "step", "matrix", "metric"]].values.tolist()[0]
    ['adam', 0, 'encoder.0.feed_forward.up', 'spectral_entropy']
    """
    blocks = (block for optimizer, summary in summaries.items() for block in _nulls_of(optimizer, summary))
    return with_categories(stacked(SPECTRA_NULLS, blocks))


def _nulls_of(optimizer: str, summary: Summary) -> Iterator[dict[str, Any]]:
    evidence = summary.evidence
    against = {}
    for metric, observed in evidence.observed.values.items():
        for name in nulls_of(metric):
            draws = np.stack([analysis.values[metric] for analysis in evidence.nulls[name]], axis=1)
            against[metric, name] = effect(metric.removeprefix(CHANGE), observed, draws)
    for position in range(len(evidence.steps)):
        place = _place(optimizer, summary, position)
        for (metric, name), effects in against.items():
            observed = evidence.observed.values[metric]
            yield {
                **place,
                "metric": metric,
                "value": finite(observed[position]),
                "missing": np.array(REASONS, dtype=object)[evidence.observed.codes[metric][position]],
                "initial": finite(observed[0]),
                "null": name,
                **effect_columns(Effect(*(values[position] for values in effects))),
            }


def spectra_tails(summaries: Mapping[str, Summary]) -> pd.DataFrame:
    """Power-law fit of every matrix at the first and the last step: its null, its goodness, its rivals.

    `tail_verdict` says whether noise with a few spikes explains the spectrum, see `spectra.spike_or_tail`.

    `null_alpha` and `null_alpha_sd` are mean and standard deviation of ks_alpha over W_0 plus its change with shuffled
    entries; at step 0, where nothing has changed, over W_0 with shuffled entries. The difference has no usable spread,
    see `spectra.effects`. A positive ratio favours the power law, which only the exponential's can be: the lognormal
    tends to the power law and the truncated law contains it. `bounds` names the values that are
    the bound of their search: a tail at the smallest size allowed, a p that no draw, or every draw, reached.

    >>> tails = spectra_tails(summaries)
    >>> tails["step"].unique().tolist(), tails["missing"].iloc[0].split("; ")[0]
    ([0, 3, 4], 'spectra.bootstrap = 0')
    """
    blocks = (
        _tails_at(optimizer, summary, position)
        for optimizer, summary in summaries.items()
        for position in summary.evidence.tails
    )
    return with_categories(stacked(SPECTRA_TAILS, blocks))


def _tails_at(optimizer: str, summary: Summary, position: int) -> dict[str, Any]:
    evidence, min_tail = summary.evidence, summary.settings.min_tail
    tails = evidence.tails[position]
    observed = {metric: evidence.observed.values[metric][position] for metric in TAIL_METRICS}
    null = null_of(evidence.nulls[null_of_alpha(evidence.steps[position])][position].values["ks_alpha"])
    farms = evidence.farms_reason[position]
    return {
        **_place(optimizer, summary, position),
        **{metric: finite(values) for metric, values in observed.items()},
        "null_alpha": finite(null.mean),
        "null_alpha_sd": finite(null.standard_deviation),
        "goodness_p": [tail.goodness.p_value if tail.goodness else np.nan for tail in tails],
        "goodness_p_se": [tail.goodness.standard_error if tail.goodness else np.nan for tail in tails],
        **{
            f"{name}_{statistic}": finite(_ratios(tails, name, attribute))
            for name in ALTERNATIVES
            for statistic, attribute in (("ratio", "ratio"), ("p", "p_value"))
        },
        "farms_alpha": finite(evidence.farms[position]),
        "tail_verdict": [str(tail.spike_or_tail.verdict) for tail in tails],
        "tail_p": [float(tail.spike_or_tail.p_value) for tail in tails],
        "tail_spikes": [float(tail.spike_or_tail.spikes) for tail in tails],
        "tail_reason": [str(tail.spike_or_tail.reason) for tail in tails],
        "bounds": [
            _bounds(size, min_tail, tail.goodness) for size, tail in zip(observed["ks_tail"], tails, strict=True)
        ],
        "missing": [
            "; ".join(filter(None, (tail.reason, f"farms_alpha: {window}" if window else "")))
            for tail, window in zip(tails, farms, strict=True)
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
