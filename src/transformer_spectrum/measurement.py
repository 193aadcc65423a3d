"""Singular values and metrics of whatever holds weights: the face of `spectra` for use from outside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from transformer_spectrum.errors import InputError
from transformer_spectrum.history import History
from transformer_spectrum.loading import Run, Trained
from transformer_spectrum.spectra import analysis
from transformer_spectrum.spectra.analysis import Analysis, Estimators

if TYPE_CHECKING:
    import pandas as pd


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
    """

    steps: np.ndarray
    names: np.ndarray
    families: np.ndarray
    shapes: np.ndarray
    notes: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=str))
    left_out: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    def table(self) -> pd.DataFrame:
        """A row for every step and matrix, a column for every metric.

        `missing` says why a metric is NaN, `note` how the matrix was taken from its tensor.
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
        columns["missing"] = [self.missing(step, matrix) for step in range(steps) for matrix in range(matrices)]
        columns["note"] = np.tile(self.notes if len(self.notes) else np.full(matrices, ""), steps)
        return pd.DataFrame(columns)


def singular_values(of: Any) -> np.ndarray | dict[str, np.ndarray]:
    """Singular values, to a relative precision of about 1e-8; of a complex matrix those of its complex entries.

    Args:
        of: a matrix or a batch (..., m, n), as array, data frame, nested list or tensor of any kind; or what holds
            matrices: what `load` gives, any torch module, or a state dict, by itself or beside other things, as in
            {"model": ..., "epoch": 3}. Of a module these are its parameters and the weights that act, such as a
            weight under weight_norm or a mask; gates and fused queries, keys and values are taken apart, as
            `transformer-spectrum analyze` does.
    Returns:
        (..., min(m, n)) float64, descending; of what holds matrices a dict of one such array a matrix, by name.
        What is left out is logged with its reason.
    Raises:
        InputError: fewer than two axes, entries that cannot be read, or one that is not finite.
        TypeError: something else.
    """
    from transformer_spectrum.extraction import holds_matrices, matrices_of, spectra
    from transformer_spectrum.spectra.entries import numbers

    if holds_matrices(of):
        return {matrix.name: matrix.singular_values for matrix in matrices_of(of).matrices}
    return spectra(numbers(of, "the matrix"), "the matrix")


def analyze(of: Any, shapes: Any = None, *, estimators: Estimators | None = None) -> Measurement:
    """Every spectral metric (`spectra.analysis.METRICS`) of every matrix at every step.

    Args:
        of: what `load_run` gives, or its history; what holds matrices, see `singular_values`; or singular values:
            (r,) of one matrix, (M, R) of several, (S, M, R) at several steps, padded behind min(rows, columns).
        shapes: rows and columns of each matrix, (2,) for all or (M, 2); for singular values only, which do not tell.
        estimators: their settings. None: those of the run's or the model's own parameters, where `of` has any, and
            else those of `Estimators()`.
    Raises:
        InputError: a singular value that is not finite or is negative, or shapes that do not fit.
        TypeError: something else.
    """
    values, what = _spectra_of(of, shapes)
    if estimators is None:
        estimators = _own_estimators(of)
    try:
        found = analysis.analyze(values, what["shapes"], estimators)
    except ValueError as error:
        raise InputError(str(error)) from None
    return Measurement(found.values, found.codes, **what)


def _own_estimators(of: Any) -> Estimators:
    if not isinstance(of, Run | Trained):
        return Estimators()
    from transformer_spectrum.report.summary import estimators_of

    return estimators_of(of.params.spectra)


def _spectra_of(of: Any, shapes: Any) -> tuple[np.ndarray, dict[str, Any]]:
    """Singular values (S, M, R), and steps, names, families and shapes."""
    from transformer_spectrum.extraction import holds_matrices
    from transformer_spectrum.spectra.entries import numbers

    if isinstance(of, Run):
        of = of.history
    if isinstance(of, History) or holds_matrices(of):
        if shapes is not None:
            raise InputError(f"shapes = {shapes}: only for singular values; a {type(of).__name__} knows its own")
        return _of_history(of) if isinstance(of, History) else _of_matrices(of)
    if shapes is None:
        raise InputError("shapes: singular values do not tell the rows and columns of their matrices; give them")
    values = numbers(of, "singular values")
    if np.iscomplexobj(values):
        raise InputError("singular values are real numbers, got complex ones")
    if not 1 <= values.ndim <= 3:
        raise InputError(f"singular values of shape {values.shape}: must be (r,), (M, R) or (S, M, R)")
    values = values.reshape((1,) * (3 - values.ndim) + values.shape)
    sizes = np.asarray(shapes)
    if sizes.ndim not in (1, 2) or sizes.shape[-1] != 2 or (sizes.ndim == 2 and len(sizes) != values.shape[1]):
        raise InputError(f"shapes = {shapes}: must be rows and columns, for all or each of {values.shape[1]} matrices")
    sizes = np.broadcast_to(sizes, (values.shape[1], 2))
    if sizes.min() < 1 or sizes.min(axis=1).max() != values.shape[2]:
        raise InputError(f"shapes = {shapes}: matrices of these have other than {values.shape[2]} singular values")
    count = len(sizes)
    names = np.array([f"matrix_{i}" for i in range(count)])
    what = {"steps": np.arange(len(values)), "names": names, "families": np.full(count, ""), "shapes": sizes}
    return values, what


def _of_history(history: History) -> tuple[np.ndarray, dict[str, Any]]:
    what = {name: getattr(history, name) for name in ("steps", "names", "families", "shapes")}
    return history.singular_values, what


def _of_matrices(of: Any) -> tuple[np.ndarray, dict[str, Any]]:
    from transformer_spectrum.extraction import matrices_of

    extraction = matrices_of(of)
    matrices = extraction.matrices
    shapes = np.array([matrix.shape for matrix in matrices])
    values = np.full((1, len(matrices), shapes.min(axis=1).max()), np.nan)
    for i, matrix in enumerate(matrices):
        values[0, i, : shapes[i].min()] = matrix.singular_values
    names, families, notes = (
        np.array([getattr(matrix, name) for matrix in matrices]) for name in ("name", "family", "note")
    )
    about = {"names": names, "families": families, "shapes": shapes, "notes": notes}
    beside = {"left_out": extraction.left_out, "remarks": tuple(extraction.remarks)}
    return values, {"steps": np.zeros(1, dtype=int), **about, **beside}
