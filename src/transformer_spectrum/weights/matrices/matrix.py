"""Weights -> named matrices -> singular values, one batched decomposition per shape."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import Float32, Float64, Num
from torch import Tensor

from transformer_spectrum.weights.matrices.families import Family
from transformer_spectrum.weights.matrices.shapes import by_shape

Array = TypeVar("Array", Tensor, np.ndarray)


class Cut(NamedTuple):
    """Some rows of a matrix: in each of `blocks` equal blocks, rows first ... last - 1 counted from its start."""

    blocks: int
    first: int
    last: int


AS_STORED: dict[str, Any] = {
    "index": (),
    "rows": (0,),
    "groups": 1,
    "transposed": False,
    "cut": None,
    "head": None,
}
"""What the fields of a `Matrix` are that is all of its tensor."""


@dataclass(frozen=True)
class Matrix:
    """A weight matrix, outputs x inputs: what it is for, and where it lies in the tensor that holds it.

    Attributes:
        name: the tensor's, without ".weight", and what was cut out of it: "encoder.0.self_attention.query",
            "decoder.1.state.forget_gate", "h.0.attn.c_attn.query".
        family: what it is for.
        tensor: name of the parameter, or of the checkpoint's tensor, that holds it.
        shape: rows (outputs) and columns (inputs).
        index: of the leading axes, for experts, layers and recorded steps; empty: the whole tensor.
        rows: axes, behind those of `index`, that are the matrix's rows; the others are its columns.
        groups: blocks of the first of these axes, which are an axis before it; count, 1 for none.
        transposed: stored as inputs x outputs.
        cut: rows of the whole; None for all.
        head: (first, last) rows of what is left, for a single attention head.
        note: how it was taken from the tensor, empty when as stored.
        weights: numbers in the file that it stands for where these are fewer than its entries.
    """

    name: str
    family: Family
    tensor: str
    shape: tuple[int, int]
    index: tuple[int | slice, ...] = ()
    rows: tuple[int, ...] = (0,)
    groups: int = 1
    transposed: bool = False
    cut: Cut | None = None
    head: tuple[int, int] | None = None
    note: str = ""
    weights: int | None = None

    @property
    def numbers(self) -> int:
        """In the file that it stands for: its entries, or those of the factors it is the product of."""
        return self.entries if self.weights is None else self.weights

    @property
    def entries(self) -> int:
        """Rows times columns."""
        return self.shape[0] * self.shape[1]

    def of(self, weights: Mapping[str, Array]) -> Array:
        """The matrix among the weights of a model, see `within`.

        >>> key = Matrix("key", Family("key"), "key.weight", (1, 2), head=(1, 2))
        >>> key.of({"key.weight": np.array([[1, 2], [3, 4]])})
        array([[3, 4]])
        """
        return self.within(weights[self.tensor])

    def within(self, tensor: Array) -> Array:
        """The matrix inside the tensor that holds it, (rows, columns); a view where the layout allows it.

        >>> stored = np.arange(12).reshape(2, 6)  # inputs x outputs
        >>> key = Matrix("key", Family("key"), "fused", (2, 2), transposed=True, cut=Cut(1, 2, 4))
        >>> key.within(stored)
        array([[2, 8],
               [3, 9]])
        """
        whole = self._unfolded(tensor[self.index] if self.index else tensor)
        whole = whole.T if self.transposed else whole
        if self.cut is not None:
            blocks, first, last = self.cut
            columns = whole.shape[1]
            whole = (
                whole[first:last]
                if blocks == 1
                else whole.reshape(blocks, -1, columns)[:, first:last].reshape(-1, columns)
            )
        return whole if self.head is None else whole[self.head[0] : self.head[1]]

    def of_all(self, weights: Mapping[str, Tensor]) -> Tensor:
        """(networks, rows, columns): the matrix among the weights of each of some networks.

        >>> fc = Matrix("fc", Family("other"), "fc.weight", (1, 2))
        >>> fc.of_all({"fc.weight": torch.zeros(5, 1, 2)}).shape
        torch.Size([5, 1, 2])
        """
        tensor = weights[self.tensor]
        if self == replace(self, **AS_STORED) and tensor.ndim == 3:
            return tensor
        return torch.stack([self.within(part) for part in tensor])

    def _unfolded(self, tensor: Array) -> Array:
        """The axes of `rows` as one, and all others as the other."""
        if tensor.ndim == 2 and self.groups == 1 and self.rows == (0,):
            return tensor
        if self.groups > 1:
            tensor = tensor.reshape(self.groups, -1, *tensor.shape[1:])
        axes = (*self.rows, *(axis for axis in range(tensor.ndim) if axis not in self.rows))
        turned = tensor.permute(axes) if isinstance(tensor, Tensor) else tensor.transpose(axes)
        return turned.reshape(math.prod(tensor.shape[axis] for axis in self.rows), -1)


GRAM_LIMIT = 1e-8
"""Smallest over largest eigenvalue down to which those of W^T W in float64 give s to float32's precision."""


def spectrum(matrices: Num[np.ndarray, "batch rows columns"]) -> Float64[np.ndarray, "batch rank"]:
    """Singular values of a batch of matrices of one shape, to a relative precision of about 1e-8.

    From the eigenvalues of the smaller of W^T W and W W^T in float64, a quarter cheaper than an SVD. Their absolute
    error is about eps * s_max^2, so matrices with s_min / s_max below 1e-4 get an SVD instead.

    Args:
        matrices: finite, of any units.
    Returns:
        Descending, >= 0, in the units of the matrices; rank = min(rows, columns).

    >>> spectrum(np.array([[[3.0, 0.0], [0.0, -4.0], [0.0, 0.0]]]))
    array([[4., 3.]])
    """
    # By torch, because numpy's threads are not ours to set, and two of them on small matrices are tens of times slower.
    double = np.complex128 if np.iscomplexobj(matrices) else np.float64
    wide = torch.from_numpy(np.asarray(matrices, dtype=double))
    if wide.shape[1] > wide.shape[2]:
        wide = wide.mT
    # Divided by the largest entry, so that squares can neither overflow nor underflow.
    scale = wide.abs().amax(dim=(1, 2), keepdim=True)
    wide = wide / torch.where(scale > 0, scale, 1.0)
    eigenvalues = torch.linalg.eigvalsh(wide @ wide.mH).flip(1)
    values = eigenvalues.clamp(min=0.0).sqrt()
    poor = (eigenvalues[:, -1] < GRAM_LIMIT * eigenvalues[:, 0]).nonzero()[:, 0]
    if len(poor):
        values[poor] = torch.linalg.svdvals(wide[poor])
    return (values * scale[:, :, 0]).numpy()


def singular_values(
    weights: Mapping[str, Tensor], matrices: Sequence[Matrix]
) -> Float32[np.ndarray, "networks matrices rank"]:
    """Singular values of all matrices of some networks.

    Args:
        weights: parameters by name, with a leading axis of networks.
        matrices: which of them, and where they lie.
    Returns:
        Descending, to the largest rank; NaN behind min(rows, columns) of smaller matrices. See `spectrum`. Those of a
        network do not depend on the others.
    Raises:
        ValueError: a weight is not finite; the matrix is named.

    >>> both = [Matrix("up", Family("other"), "up", (2, 3)), Matrix("down", Family("other"), "down", (2, 1))]
    >>> singular_values({"up": torch.tensor([[[3.0, 0, 0], [0, 2, 0]]]), "down": torch.ones(1, 2, 1)}, both).round(3)
    array([[[3.   , 2.   ],
            [1.414,   nan]]], dtype=float32)
    """
    networks, rank = len(weights[matrices[0].tensor]), max(min(matrix.shape) for matrix in matrices)
    values = np.full((networks, len(matrices), rank), np.nan, dtype=np.float32)
    for (larger, smaller), members in by_shape(matrix.shape for matrix in matrices).items():
        stacks = [matrices[i].of_all(weights).detach() for i in members]
        # Decomposed on the CPU: small symmetric problems are no work for a GPU.
        upright = [stack if stack.shape[1:] == (smaller, larger) else stack.mT for stack in stacks]
        stack = torch.stack(upright, dim=1).cpu()
        finite = torch.isfinite(stack).flatten(2).all(2).all(0)
        if not finite.all():
            raise ValueError(f"{matrices[members[int((~finite).nonzero()[0])]].name}: weights are not finite")
        flat = spectrum(stack.flatten(0, 1).double().numpy())
        values[:, members, :smaller] = flat.reshape(networks, len(members), smaller)
    return values
