"""One checkpoint's matrices for other programs: CSV rows and a JSON tree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from transformer_spectrum.analysis.of_checkpoint.classes import classes
from transformer_spectrum.analysis.of_checkpoint.results import MADE_BY, Examination
from transformer_spectrum.spectra.analysis import METRICS

IDENTITY = ("matrix", "family", "tensor", "rows", "columns", "taken", "same_entries_as", "null_draws")
NULL_PARTS = ("null", "null_sd", "difference", "deviations")
TAIL = ("tail_verdict", "tail_p", "tail_spikes", "tail_reason")


def csv_header(examination: Examination) -> tuple[str, ...]:
    """Names of the columns: none of a null where nothing was shuffled.

    >>> csv_header(examination)[:5], csv_header(examination)[-2:]
    (('matrix', 'family', 'tensor', 'rows', 'columns'), ('bounds', 'reasons'))
    """
    beside = [f"{metric}_{name}" for metric in METRICS for name in NULL_PARTS] if examination.has_null else []
    why = ["deviations_reasons"] if examination.has_null else []
    return (*IDENTITY, *METRICS, *TAIL, *beside, "bounds", "reasons", *why)


def csv_rows(examination: Examination) -> Iterator[tuple[Any, ...]]:
    """A row a matrix under `csv_header`; an empty cell has its reason in "reasons" or "deviations_reasons".

    "bounds" names the values that are the bound of their search: "ks_tail ≤ 8; mp_spikes ≥ 192".

    >>> dict(zip(csv_header(examination), next(csv_rows(examination))))["tensor"]
    'decoder.0.feed_forward.down'
    """
    for matrix in examination.matrices:
        nulls = [matrix.nulls[metric] for metric in METRICS] if examination.has_null else []
        deviations_reasons = grouped({metric: str(matrix.nulls[metric].reason) for metric in METRICS})
        yield (
            matrix.matrix.name,
            matrix.matrix.family.label,
            matrix.matrix.tensor,
            *matrix.matrix.shape,
            matrix.matrix.note or "as stored",
            " ".join(matrix.same),
            len(matrix.shuffled),
            *(_cell(matrix.values[metric]) for metric in METRICS),
            str(matrix.tail.verdict),
            *(_cell(number) for number in (matrix.tail.p_value, matrix.tail.spikes)),
            str(matrix.tail.reason),
            *(_cell(value) for null in nulls for value in null[:4]),
            "; ".join(f"{metric} {bound}" for metric, bound in matrix.bounds(examination.estimators).items()),
            grouped({metric: matrix.reasons[metric] for metric in METRICS}),
            *([deviations_reasons] if nulls else []),
        )


def _cell(value: Any) -> float | str:
    return float(value) if np.isfinite(value) else ""


def grouped(reasons: Mapping[str, str]) -> str:
    """ "metric, metric: reason; metric: reason".

    >>> grouped({"ks_alpha": "no tail", "stable_rank": "", "ks_tail": "no tail"})
    'ks_alpha, ks_tail: no tail'
    """
    groups: dict[str, list[str]] = {}
    for metric, reason in reasons.items():
        if reason:
            groups.setdefault(reason, []).append(metric)
    return "; ".join(f"{', '.join(metrics)}: {reason}" for reason, metrics in groups.items())


def json_tree(examination: Examination) -> dict[str, Any]:
    """Provenance, settings, what was left out, and means over matrices of one family and one shape.

    >>> tree = json_tree(examination)
    >>> tree["matrices"], tree["null_draws"], tree["classes"]["readout"]["shape"]
    (9, {'fewest': 0, 'most': 0}, [16, 12])
    """
    return {
        "made_by": MADE_BY,
        "checkpoint": {
            "name": examination.name,
            "key": examination.key,
            "model_type": examination.model_type,
            "weights": examination.weights,
            "measured_weights": examination.measured_weights,
            "files": [dict(file) for file in examination.files],
        },
        "versions": dict(examination.versions),
        "settings": {**examination.settings, "estimators": asdict(examination.estimators)},
        "null_draws": {"fewest": examination.draws[0], "most": examination.draws[1]},
        "matrices": len(examination.matrices),
        "classes": classes(examination.matrices),
        "same_entries": {matrix.matrix.name: list(matrix.same) for matrix in examination.matrices if matrix.same},
        "vectors": examination.vectors,
        "not_finite": list(examination.not_finite),
        "skipped": [
            {"name": skipped.name, "shape": list(skipped.shape), "reason": skipped.reason}
            | ({} if skipped.weights is None else {"weights": skipped.weights})
            for skipped in examination.skipped
        ],
        "notes": list(examination.notes),
    }
