"""The numbers of a matrix, whatever holds them: tensors of any kind, arrays, lists, data frames.

Sparse, quantised and distributed tensors are written out in full, complex entries stay complex. What has no entries
to read is an `InputError` that names it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Inexact, Shaped
from torch import Tensor
from torch.nn.parameter import is_lazy

from transformer_spectrum.runtime.errors import InputError

_PLAIN = (Tensor, torch.nn.Parameter, torch.nn.Buffer)


def why_unreadable(tensor: Tensor) -> str:
    """Why a tensor has no entries to read, before any is touched; empty where it has.

    Args:
        tensor: of any kind and on any device.

    >>> why_unreadable(torch.zeros(2, 2)), why_unreadable(torch.zeros(2, 2, device="meta"))[:18]
    ('', 'on the meta device')
    """
    if is_lazy(tensor):
        return "a lazy parameter, which has no entries before the module's first call"
    if tensor.is_nested:
        return "a nested tensor, whose rows differ in length"
    if tensor.is_meta or type(tensor).__name__ == "FakeTensor":
        return "on the meta device, where tensors have shapes but no entries; load the weights first"
    if type(tensor).__name__ == "MaskedTensor":
        return "a masked tensor, whose masked entries have no value"
    return ""


def dense(tensor: Tensor, name: str) -> Shaped[Tensor, ...]:
    """A tensor written out in full: strided, on the CPU, of a floating, complex, integer or boolean type.

    Args:
        tensor: of any kind; sparse, quantised, distributed and subclassed ones are turned into the numbers they stand
            for.
        name: of the tensor, for the error.
    Raises:
        InputError: it has no entries, or torch cannot write it out.

    >>> dense(torch.eye(2).to_sparse(), "w").tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    reason = why_unreadable(tensor)
    if reason:
        raise InputError(f"{name}: {reason}")
    try:
        tensor = tensor.detach()
        if hasattr(tensor, "full_tensor"):
            tensor = tensor.full_tensor()
        if tensor.is_quantized or (type(tensor) not in _PLAIN and not tensor.is_sparse):
            tensor = tensor.dequantize()
        if tensor.layout != torch.strided:
            tensor = tensor.to_dense()
        tensor = tensor.cpu().resolve_conj().resolve_neg()
        return tensor.to(torch.complex64) if tensor.dtype == torch.complex32 else tensor
    except (RuntimeError, TypeError, ValueError) as error:  # what torch raises where a kind lacks the operation
        kind = f"a {type(tensor).__name__} of {tensor.dtype}"
        raise InputError(f"{name}: {kind} cannot be written out in full ({_first_line(error)})") from None


def numbers(values: Any, name: str) -> Inexact[np.ndarray, ...]:
    """Entries in double precision.

    Args:
        values: a tensor, a numpy, jax or scipy.sparse array, a data frame, or nested sequences of numbers or tensors.
        name: of what they make, for errors.
    Returns:
        float64, or complex128 where the entries are complex, of the shape that `values` has.
    Raises:
        InputError: entries that cannot be read, are masked, or are no numbers, or rows of different lengths.
        TypeError: nothing that could hold numbers.

    >>> numbers([[1, 2], [3, 4]], "w")
    array([[1., 2.],
           [3., 4.]])
    """
    if isinstance(values, Tensor):
        return _of_tensor(dense(values, name), name)
    if isinstance(values, list | tuple) and values and all(isinstance(value, Tensor) for value in values):
        return _stacked([_of_tensor(dense(value, name), name) for value in values], name)
    if isinstance(values, np.ma.MaskedArray):
        if np.ma.getmaskarray(values).any():
            raise InputError(f"{name}: a masked array, whose masked entries have no value")
        values = values.data
    if hasattr(values, "toarray"):  # scipy.sparse
        values = values.toarray()
    elif hasattr(values, "to_numpy"):  # a data frame
        values = _of_frame(values, name)
    try:
        array = np.asarray(values)
    except ValueError:
        raise InputError(f"{name}: rows of different lengths make no matrix") from None
    except (TypeError, RuntimeError) as error:
        raise InputError(f"{name}: not readable as an array of numbers ({_first_line(error)})") from None
    return _of_array(array, values, name)


def _of_tensor(tensor: Tensor, name: str) -> np.ndarray:
    try:
        return tensor.to(torch.complex128 if tensor.is_complex() else torch.float64).numpy()
    except (RuntimeError, TypeError):  # packed kinds, such as float4 with two numbers in a byte, do not convert
        raise InputError(f"{name}: entries of {tensor.dtype} are no single numbers") from None


def _stacked(arrays: list[np.ndarray], name: str) -> np.ndarray:
    if len({array.shape for array in arrays}) > 1:
        raise InputError(f"{name}: tensors of different shapes make no batch; name them in a dict")
    return np.stack(arrays)


def _of_frame(frame: Any, name: str) -> np.ndarray:
    try:
        return frame.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError):
        return frame.to_numpy()  # complex columns, or no numbers at all


def _of_array(array: np.ndarray, values: Any, name: str) -> np.ndarray:
    kind = array.dtype.kind
    if kind in "OV" and array.ndim and kind == "O":
        kind = "c" if any(isinstance(entry, complex | np.complexfloating) for entry in array.flat) else "f"
    if kind in "fiub" or (kind == "V" and array.dtype.names is None):  # V: bfloat16 and its kin of ml_dtypes
        kind = "f"
    try:
        if kind in "fc" and array.ndim:
            return array.astype(np.complex128 if kind == "c" else np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{name}: an entry of {array.dtype} is no number") from None
    if array.ndim == 0 and kind not in "fc":
        raise TypeError(f"neither numbers nor anything that holds matrices of weights: {type(values).__name__}")
    if kind in "fc":
        return array.astype(np.complex128 if kind == "c" else np.float64)
    raise InputError(f"{name}: entries of {array.dtype} are no numbers")


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:120] if lines else type(error).__name__
