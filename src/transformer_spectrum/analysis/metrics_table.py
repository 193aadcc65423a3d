"""What `analysis.api.analyze` gives: metrics of matrices with reasons, perhaps beside their nulls, as a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from transformer_spectrum.spectra.analysis import METRICS, REASONS, Analysis

if TYPE_CHECKING:
    import pandas as pd

    from transformer_spectrum.analysis.of_checkpoint.results import Examination
    from transformer_spectrum.spectra.effects import Effect


@dataclass(frozen=True)
class Measurement(Analysis):
    """Metrics of S steps of M matrices, and which matrices these are.

    Attributes:
        steps: (S,) of the training; 0 where there is none.
        names: (M,) of the matrices.
        families: (M,) what each matrix is for.
        shapes: (M, 2) rows and columns.
        notes: (M,) how each matrix was taken from its tensor; empty where it is as stored.
        left_out: what else was there: name of a tensor -> why it is no matrix of weights.
        remarks: what a reader of the results has to know beside, one sentence each.
        nulls: metric -> its effect against shuffles of the same entries, each field (1, M); None without shuffles.
    """

    steps: np.ndarray
    names: np.ndarray
    families: np.ndarray
    shapes: np.ndarray
    notes: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=str))
    left_out: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    nulls: Mapping[str, Effect] | None = None

    def __repr__(self) -> str:
        steps, matrices = len(self.steps), len(self.names)
        counts = f"{matrices} matri{'x' if matrices == 1 else 'ces'}" + (f" at {steps} steps" if steps > 1 else "")
        beside = " beside their nulls" if self.nulls is not None else ""
        return f"Measurement({len(self.values)} metrics{beside} of {counts}; .table() shows them)"

    def table(self) -> pd.DataFrame:
        """A row for every step and matrix, a column for every metric.

        `missing` says why a metric is NaN, `note` how the matrix was taken from its tensor. With nulls each metric has
        four columns more, `_null`, `_null_sd`, `_difference` from the null's mean and `_deviations`, that in standard
        deviations of the null's draws, and `deviations_missing` says why one is NaN, see `spectra.effects`.
        """
        import pandas as pd

        steps, matrices = len(self.steps), len(self.names)
        columns: dict[str, Any] = {
            "step": np.repeat(self.steps, matrices),
            "matrix": np.tile(self.names, steps),
            "family": np.tile(self.families, steps),
            "rows": np.tile(self.shapes[:, 0], steps),
            "columns": np.tile(self.shapes[:, 1], steps),
        }
        columns |= {metric: values.reshape(-1) for metric, values in self.values.items()}
        places = [(step, matrix) for step in range(steps) for matrix in range(matrices)]
        columns["missing"] = [self.missing(*place) for place in places]
        if self.nulls is not None:
            for metric, null in self.nulls.items():
                for name, numbers in zip(("null", "null_sd", "difference", "deviations"), null[:4], strict=True):
                    columns[f"{metric}_{name}"] = numbers.reshape(-1)
            reasons = {metric: null.reason for metric, null in self.nulls.items()}
            columns["deviations_missing"] = [
                _grouped({name: reason[place] for name, reason in reasons.items()}) for place in places
            ]
        columns["note"] = np.tile(self.notes if len(self.notes) else np.full(matrices, ""), steps)
        return pd.DataFrame(columns)


def _grouped(reasons: Mapping[str, str]) -> str:
    """ "reason: metric, metric; reason: metric"."""
    named: dict[str, list[str]] = {}
    for metric, reason in reasons.items():
        if reason:
            named.setdefault(str(reason), []).append(metric)
    return "; ".join(f"{reason}: {', '.join(metrics)}" for reason, metrics in named.items())


def of_examination(examination: Examination) -> Measurement:
    """The same numbers as in the tables of the command.

    >>> of_examination(examination)
    Measurement(26 metrics of 9 matrices; .table() shows them)
    >>> of_examination(examination).names.tolist()[-1]
    'readout'
    """
    from transformer_spectrum.spectra.effects import Effect

    matrices = examination.matrices
    names = np.array([measured.matrix.name for measured in matrices])
    families = np.array([measured.matrix.family.label for measured in matrices])
    notes = np.array([measured.matrix.note for measured in matrices])
    nulls = {
        metric: Effect(*(np.array([[matrix.nulls[metric][i] for matrix in matrices]]) for i in range(5)))
        for metric in METRICS
    }
    return Measurement(
        {metric: np.array([[matrix.values[metric] for matrix in matrices]]) for metric in METRICS},
        {
            metric: np.array([[REASONS.index(matrix.reasons[metric]) for matrix in matrices]], dtype=np.uint8)
            for metric in METRICS
        },
        steps=np.zeros(1, dtype=int),
        names=names,
        families=families,
        shapes=np.array([measured.matrix.shape for measured in matrices]),
        notes=notes,
        left_out={skipped.name: skipped.reason for skipped in examination.skipped},
        remarks=examination.notes,
        nulls=nulls if examination.has_null else None,
    )
