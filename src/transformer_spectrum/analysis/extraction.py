"""The matrices in a model, a module or a state dict that is in memory, decomposed, and why the rest is none."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from transformer_spectrum.analysis.loading import Trained
from transformer_spectrum.models.forecaster import Forecaster
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.weights.anatomy.constructed import constructed
from transformer_spectrum.weights.anatomy.dissection import dissect
from transformer_spectrum.weights.anatomy.effective import effective, is_weight, listed
from transformer_spectrum.weights.anatomy.formed import NotFormedError
from transformer_spectrum.weights.anatomy.live import LiveWeights, weights_of
from transformer_spectrum.weights.files import Stored, tensors_of
from transformer_spectrum.weights.files.stored import stored
from transformer_spectrum.weights.matrices.entries import dense, numbers, why_unreadable
from transformer_spectrum.weights.matrices.matrix import Matrix, spectrum

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Decomposed:
    """One matrix of weights and its spectrum.

    Attributes:
        matrix: what it is for, and how it was taken from its tensor.
        singular_values: (min(rows, columns),) float64, descending.
        shuffled: (D, min(rows, columns)) of the same entries in random places; D = 0 where no null was asked for.
    """

    matrix: Matrix
    singular_values: np.ndarray
    shuffled: np.ndarray


Draw = Callable[[str, np.ndarray], np.ndarray]
"""Name and entries of a matrix -> (D, r) singular values of its shuffles."""


def no_draw(name: str, entries: np.ndarray) -> np.ndarray:
    """Without a null: D = 0.

    >>> no_draw("readout", np.ones((3, 2))).shape
    (0, 2)
    """
    return np.empty((0, min(entries.shape)))


@dataclass
class Extraction:
    """Matrices, and what lies beside them.

    Attributes:
        matrices: in the order of their tensors.
        left_out: name of a tensor -> why it is no matrix of weights.
        remarks: what a reader of the results has to know beside, one sentence each.
    """

    matrices: list[Decomposed] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


def holds_matrices(of: Any) -> bool:
    """Whether this is a trained model, a module or a state dict.

    >>> holds_matrices(nn.Linear(2, 3)), holds_matrices({"weight": np.eye(2)}), holds_matrices(np.eye(2))
    (True, True, False)
    """
    return isinstance(of, Trained | Mapping | nn.Module)


def spectra(batch: np.ndarray, name: str) -> np.ndarray:
    """Singular values of a matrix or a batch of them.

    Args:
        batch: (..., m, n) real or complex.
        name: of the matrix, for errors.
    Returns:
        (..., min(m, n)) float64, descending.
    Raises:
        InputError: no matrix, or an entry that is not finite.

    >>> spectra(np.array([[3.0, 0.0], [0.0, 4.0], [0.0, 0.0]]), "the matrix")
    array([4., 3.])
    """
    if batch.ndim < 2 or 0 in batch.shape[-2:]:
        raise InputError(f"singular values need a matrix, got shape {batch.shape}")
    if not np.isfinite(batch).all():
        raise InputError(f"{name}: an entry is not finite, so it has no singular values")
    values = spectrum(batch.reshape(-1, *batch.shape[-2:]))
    return values.reshape(*batch.shape[:-2], values.shape[-1])


def matrices_of(of: Any, draw: Draw = no_draw) -> Extraction:
    """Every matrix, decomposed; what is left out, or read with doubt, is logged as a warning.

    Args:
        of: what `load` gives; a module, of which the parameters and the weights that act are taken and no buffers;
            or a state dict, nested or not, of tensors or arrays.
        draw: of the null, asked for each matrix.
    Raises:
        InputError: no matrix of weights in it; the reasons are named.

    >>> extraction = matrices_of(nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3)))
    >>> [(decomposed.matrix.name, decomposed.matrix.shape) for decomposed in extraction.matrices]
    [('0', (3, 4))]
    """
    model = of.model if isinstance(of, Trained) else of
    if isinstance(model, Forecaster):
        return _of_forecaster(model, draw)
    beside: set[str] = set()
    if isinstance(model, Mapping):
        extraction, beside = _of_dictionary(model, draw)
    else:
        live = weights_of(model)
        extraction = _of_tensors(live.tensors, live, draw)
    if not extraction.matrices:
        raise InputError(f"a {type(of).__name__}: of its tensors none is a matrix of weights{_why(extraction)}")
    for remark in extraction.remarks:
        logger.warning("%s", remark)
    by_reason: dict[str, list[str]] = {}
    for name, reason in extraction.left_out.items():
        if name not in beside:  # which a remark has named
            by_reason.setdefault(reason, []).append(name)
    for reason, names in by_reason.items():
        logger.warning("left out: %s: %s", listed(names), reason)
    return extraction


def _why(extraction: Extraction) -> str:
    """Every reason once, with the first of the tensors it holds for."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in extraction.left_out.items():
        by_reason.setdefault(reason, []).append(name)
    more = {reason: f" and {len(names) - 1} more" if len(names) > 1 else "" for reason, names in by_reason.items()}
    return "".join(f"; {names[0]}{more[reason]}: {reason}" for reason, names in by_reason.items())


def _of_forecaster(model: Forecaster, draw: Draw) -> Extraction:
    weights = dict(model.named_parameters())
    extraction = Extraction()
    extraction.matrices = [_decomposed(matrix, weights[matrix.tensor], "", draw) for matrix in model.matrices()]
    return extraction


def _of_dictionary(nested: Mapping[Any, Any], draw: Draw) -> tuple[Extraction, set[str]]:
    """The model's tensors, as the command takes them from a file, and the names of what lies beside them."""
    model = tensors_of(_with_arrays(nested))
    extraction = _of_tensors(model.tensors, None, draw)
    beside = {entry.name: entry.reason for entry in model.choice.beside}
    extraction.left_out |= beside
    extraction.remarks = [*model.choice.notes, *extraction.remarks]
    return extraction, set(beside)


def _with_arrays(nested: Any) -> Any:
    """The same dictionaries with numpy's arrays in place of jax's and their kin."""
    if isinstance(nested, Mapping):
        return {key: _with_arrays(value) for key, value in nested.items()}
    if isinstance(nested, Tensor) or not (getattr(nested, "ndim", 0) and hasattr(nested, "__array__")):
        return nested
    array = np.asarray(nested)
    return np.asarray(array, dtype=np.float32) if array.dtype.kind == "V" and array.dtype.names is None else array


def _of_tensors(tensors: Mapping[str, Tensor], live: LiveWeights | None, draw: Draw) -> Extraction:
    extraction = Extraction()
    readable: dict[str, Stored] = {}
    for name, tensor in tensors.items():
        reason = why_unreadable(tensor)
        if not reason:
            readable[name] = stored(tensor)
        elif is_lazy(tensor) or tensor.ndim > 1:
            extraction.left_out[name] = reason
    in_use = effective(readable, lambda name: dense(tensors[name], name))
    for name, weight in in_use.tensors.items():
        if not is_weight(weight) and len(weight.shape) > 1:
            extraction.left_out[name] = f"{weight.dtype} entries are no floating-point weights"
    shapes = {name: weight.shape for name, weight in in_use.tensors.items() if is_weight(weight)}
    anatomy = dissect(shapes, {}, kinds=None if live is None else live.kinds)
    extraction.left_out |= {skipped.name: skipped.reason for skipped in (*in_use.skipped, *anatomy.skipped)}
    extraction.remarks += [*in_use.notes, *anatomy.notes]
    by_tensor: dict[str, list[Matrix]] = {}
    for matrix in in_use.described(anatomy.matrices):
        by_tensor.setdefault(matrix.tensor, []).append(matrix)
    for name, matrices in by_tensor.items():
        try:
            tensor = in_use.read(name)
        except (InputError, NotFormedError) as error:
            extraction.left_out[name] = str(error).removeprefix(f"{name}: ")
            continue
        reason = _reason_against(name, tensor, live)
        if reason:
            extraction.left_out[name] = reason
            continue
        formation = "" if live is None else live.notes.get(name, "")
        extraction.matrices += [_decomposed(matrix, tensor, formation, draw) for matrix in matrices]
    return extraction


def _reason_against(name: str, tensor: Tensor, live: LiveWeights | None) -> str:
    """Why the entries are no trained weights; those of a parameter that is being trained are, whatever they are now."""
    if live is None or name in live.frozen:
        reason = constructed(name, tensor)
        if reason:
            return reason
    finite = torch.isfinite(tensor if tensor.is_complex() or tensor.dtype.itemsize > 1 else tensor.float())
    if finite.all():
        return ""
    count = tensor.numel() - int(finite.sum())
    return f"weights are not finite: {count:,} of {tensor.numel():,} entries are NaN or infinite"


def _decomposed(matrix: Matrix, tensor: Tensor, formation: str, draw: Draw) -> Decomposed:
    entries = numbers(matrix.within(tensor), matrix.name)
    values = spectra(entries, matrix.name)
    note = "; ".join(text for text in (formation, matrix.note) if text)
    return Decomposed(replace(matrix, note=note), values, draw(matrix.name, entries))
