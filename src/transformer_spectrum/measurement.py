"""Singular values and metrics of whatever holds weights: the face of `spectra` for use from outside."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
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
    """

    steps: np.ndarray
    names: np.ndarray
    families: np.ndarray
    shapes: np.ndarray

    def table(self) -> pd.DataFrame:
        """A row for every step and matrix, a column for every metric; `missing` says why a metric is NaN."""
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
        return pd.DataFrame(columns)


def singular_values(of: Any) -> np.ndarray | dict[str, np.ndarray]:
    """Singular values, to a relative precision of about 1e-8.

    Args:
        of: a matrix or a batch (..., m, n), as array or tensor; or what holds matrices: what `load` gives, any
            torch module, or a state dict, by itself or beside other things, as in {"model": ..., "epoch": 3}. Gates
            and fused queries, keys and values are then taken apart.
    Returns:
        (..., min(m, n)) float64, descending; of what holds matrices a dict of one such array a matrix, by name.
    Raises:
        InputError: fewer than two axes, or an entry that is not finite.
        TypeError: something else.
    """
    if _holds_matrices(of):
        return {name: _spectra(matrix, name) for name, _, matrix in _matrices(of)}
    return _spectra(_array(of), "the matrix")


def _spectra(batch: np.ndarray, name: str) -> np.ndarray:
    """(..., m, n) -> (..., min(m, n)); errors name the matrix."""
    from transformer_spectrum.spectra.weights import spectrum

    if batch.ndim < 2 or 0 in batch.shape[-2:]:
        raise InputError(f"singular values need a matrix, got shape {batch.shape}")
    if not np.isfinite(batch).all():
        raise InputError(f"{name}: an entry is not finite, so it has no singular values")
    values = spectrum(batch.reshape(-1, *batch.shape[-2:]))
    return values.reshape(*batch.shape[:-2], values.shape[-1])


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


def _spectra_of(of: Any, shapes: Any) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Singular values (S, M, R), and steps, names, families and shapes."""
    if isinstance(of, Run):
        of = of.history
    if isinstance(of, History) or _holds_matrices(of):
        if shapes is not None:
            raise InputError(f"shapes = {shapes}: only for singular values; a {type(of).__name__} knows its own")
        return _of_history(of) if isinstance(of, History) else _of_matrices(of)
    if shapes is None:
        raise InputError("shapes: singular values do not tell the rows and columns of their matrices; give them")
    values = _array(of)
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


def _of_history(history: History) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    what = {name: getattr(history, name) for name in ("steps", "names", "families", "shapes")}
    return history.singular_values, what


def _of_matrices(of: Any) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    matrices = _matrices(of)
    shapes = np.array([matrix.shape for _, _, matrix in matrices])
    values = np.full((1, len(matrices), shapes.min(axis=1).max()), np.nan)
    for i, (name, _, matrix) in enumerate(matrices):
        values[0, i, : shapes[i].min()] = _spectra(matrix, name)
    names, families = (np.array([matrix[i] for matrix in matrices]) for i in range(2))
    return values, {"steps": np.zeros(1, dtype=int), "names": names, "families": families, "shapes": shapes}


def _holds_matrices(of: Any) -> bool:
    if isinstance(of, Trained | Mapping):
        return True
    from torch import nn

    return isinstance(of, nn.Module)


def _matrices(of: Any) -> list[tuple[str, str, np.ndarray]]:
    """Name, family and entries (rows, columns) of every matrix."""
    from torch import Tensor

    from transformer_spectrum.anatomy.parts import dissect
    from transformer_spectrum.models.base import Forecaster

    model = of.model if isinstance(of, Trained) else of
    if isinstance(model, Forecaster):
        weights = dict(model.named_parameters())
        return [(spec.name, spec.family, _array(spec.of(weights))) for spec in model.matrices()]
    state = _state(model) if isinstance(model, Mapping) else model.state_dict()
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor) and value.is_floating_point()}
    parts = dissect({name: tuple(tensor.shape) for name, tensor in tensors.items()}, {}).parts
    if not parts:
        raise InputError(f"a {type(of).__name__} of {len(state)} tensors: none is a matrix of weights")
    return [(part.name, part.family, _array(part.of(tensors[part.tensor]))) for part in parts]


def _state(nested: Mapping[Any, Any]) -> Mapping[str, Any]:
    """The model's tensors, as the command takes them from a file; what lies beside them is logged."""
    from transformer_spectrum.weight_files import tensors_of

    model = tensors_of(nested)
    if model.choice.beside:
        logging.getLogger(__name__).warning("%s", model.choice.notes[0])
    return model.tensors


def _array(of: Any) -> np.ndarray:
    """As float64 on the CPU."""
    if hasattr(of, "detach"):  # a tensor, on any device and of any precision
        of = of.detach().cpu().double().numpy()
    try:
        return np.asarray(of, dtype=np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"neither numbers nor anything that holds matrices of weights: {type(of).__name__}") from None
