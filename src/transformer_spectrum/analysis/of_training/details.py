"""The long tables, matrix by matrix: the whole history, the nulls, the tests of the tails."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from transformer_spectrum.analysis.of_training.evidence import ALTERNATIVES
from transformer_spectrum.analysis.of_training.summary import Summary
from transformer_spectrum.spectra import nulls
from transformer_spectrum.spectra.analysis import METRICS
from transformer_spectrum.spectra.tail_tests import GoodnessOfFit

Rows = Iterator[tuple[Any, ...]]

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
    *(f"{name}_{what}" for name in ALTERNATIVES for what in ("ratio", "p")),
    "farms_alpha",
    "bounds",
    "missing",
)


def _number(value: float | None) -> str:
    """Nine digits, as many as a float32 has; empty where there is none."""
    return f"{value:.9g}" if value is not None and np.isfinite(value) else ""


def spectra_history(summaries: Mapping[str, Summary]) -> Rows:
    """Every metric of every matrix at every step, a row each; `missing` says why a metric is empty."""
    for optimizer, summary in summaries.items():
        history, analysis = summary.history, summary.analysis
        family_of = {matrix: label for label, members in summary.families.items() for matrix in members.tolist()}
        columns = np.stack([analysis.values[metric] for metric in METRICS], axis=-1).tolist()
        lacking: np.ndarray = np.logical_or.reduce([analysis.codes[metric] > 0 for metric in METRICS])
        for position, (step, evaluations) in enumerate(
            zip(history.steps.tolist(), history.evaluations.tolist(), strict=True)
        ):
            for matrix, name in enumerate(history.names.tolist()):
                missing = analysis.missing(position, matrix) if lacking[position, matrix] else ""
                numbers = map(_number, columns[position][matrix])
                shape = history.shapes[matrix].tolist()
                yield (optimizer, step, evaluations, name, family_of[matrix], *shape, *numbers, missing)


def _places(optimizer: str, summary: Summary, position: int) -> list[tuple[Any, ...]]:
    """PLACE of every matrix of the evidence at one of its steps."""
    step = summary.evidence.steps[position]
    evaluations = int(summary.history.evaluations[np.flatnonzero(summary.history.steps == step)[0]])
    return [
        (optimizer, step, evaluations, spec.name, spec.family.label, *spec.shape) for spec in summary.evidence.specs
    ]


def spectra_nulls(summaries: Mapping[str, Summary]) -> Rows:
    """Every metric of every matrix at the tracked steps beside its two nulls.

    initial_*: the change since step 0 and how many standard deviations of shuffled initial matrices it is;
    shuffled_*: the same against shuffles of the step's own matrix. A z that has no meaning has its reason.
    """
    for optimizer, summary in summaries.items():
        evidence = summary.evidence
        for position in range(len(evidence.steps)):
            places = _places(optimizer, summary, position)
            for metric in METRICS:
                observed = evidence.observed.values[metric]
                start = nulls.compare(observed[position], evidence.initial.values[metric], centre=observed[0])
                own = nulls.compare(observed[position], evidence.shuffled[position].values[metric])
                for matrix, place in enumerate(places):
                    beside_start = (observed[0], start.null_sd, start.difference, start.z)
                    beside_own = (own.null_mean, own.null_sd, own.difference, own.z)
                    yield (
                        *place,
                        metric,
                        _number(observed[position, matrix]),
                        evidence.observed.reason(metric, position, matrix),
                        *(_number(values[matrix]) for values in beside_start),
                        start.reason[matrix],
                        *(_number(values[matrix]) for values in beside_own),
                        own.reason[matrix],
                    )


def _bounds(tail: float, min_tail: int, goodness: GoodnessOfFit | None) -> str:
    """What of a fit is a bound and no estimate: "ks_tail ≤ 8; goodness_p < 1/100"."""
    found = [f"ks_tail ≤ {min_tail}"] if tail == min_tail else []
    if goodness is not None and goodness.p_value in (0.0, 1.0):
        draws = goodness.draws
        found.append(f"goodness_p < 1/{draws}" if goodness.p_value == 0 else f"goodness_p > 1 - 1/{draws}")
    return "; ".join(found)


def spectra_tails(summaries: Mapping[str, Summary]) -> Rows:
    """Power-law fit of every matrix at the first and the last step: its null, its goodness, its rivals.

    `null_*` are shuffles of the step's own matrix. A positive ratio favours the power law. `bounds` names the values
    that are the bound of their search: a tail at the smallest size allowed, a p that no draw, or every draw, reached.
    """
    for optimizer, summary in summaries.items():
        evidence = summary.evidence
        for position, tails in evidence.tails.items():
            observed = {metric: evidence.observed.values[metric][position] for metric in TAIL_METRICS}
            null = nulls.compare(observed["ks_alpha"], evidence.shuffled[position].values["ks_alpha"])
            for matrix, (place, tail) in enumerate(zip(_places(optimizer, summary, position), tails, strict=True)):
                goodness = (tail.goodness.p_value, tail.goodness.standard_error) if tail.goodness else (None, None)
                rivals = [tail.ratios.get(name) for name in ALTERNATIVES]
                farms = evidence.farms_reason[position, matrix]
                missing = [tail.reason, null.reason[matrix], f"farms_alpha: {farms}" if farms else ""]
                yield (
                    *place,
                    *(_number(values[matrix]) for values in observed.values()),
                    *(_number(values[matrix]) for values in (null.null_mean, null.null_sd, null.z)),
                    *map(_number, goodness),
                    *(
                        _number(value)
                        for rival in rivals
                        for value in ((rival.ratio, rival.p_value) if rival else (None, None))
                    ),
                    _number(evidence.farms[position, matrix]),
                    _bounds(observed["ks_tail"][matrix], summary.settings.min_tail, tail.goodness),
                    "; ".join(filter(None, missing)),
                )
