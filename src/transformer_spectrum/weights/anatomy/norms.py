"""Formulas by which torch makes weights of their pieces: a mask, weight_norm, spectral_norm.

State dicts name the pieces in an old way, see `reparametrised`, and in a new one, see `parametrised`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

from transformer_spectrum.weights.anatomy.formed import NotFormedError, Source, wide


def times_mask(weight: Tensor, mask: Tensor) -> Tensor:
    """The weight with zeros where the mask has them.

    Raises:
        NotFormedError: the mask holds other numbers than 0 and 1.

    >>> import torch
    >>> times_mask(torch.tensor([[1.0, 2.0]]), torch.tensor([[0, 1]])).tolist()
    [[0.0, 2.0]]
    """
    if not bool(((mask == 0) | (mask == 1)).all()):
        raise NotFormedError("the mask beside it holds other numbers than 0 and 1, so what it does is unknown")
    return weight * mask.to(weight.dtype)


def is_length(g: tuple[int, ...], v: tuple[int, ...]) -> bool:
    """Whether g is a norm of v over all axes, or over all but one.

    >>> is_length((4, 1), (4, 8)), is_length((4, 8), (4, 8))
    (True, False)
    """
    if len(v) < 2:
        return False
    if math.prod(g) == 1:  # of all entries, unless one axis of v has a single entry
        return len(g) <= 1 or (len(g) == len(v) and 1 in v)
    return len(g) == len(v) and sum(size > 1 for size in g) == 1 and all(a in (1, b) for a, b in zip(g, v, strict=True))


def weight_norm(g: Tensor, v: Tensor) -> Tensor:
    """g v / |v|, the norm over the axes that g has not.

    >>> import torch
    >>> weight_norm(torch.tensor([[10.0]]), torch.tensor([[3.0, 4.0]])).tolist()
    [[6.0, 8.0]]
    """
    exact = wide(v)
    axes = [axis for axis in range(v.ndim) if g.ndim != v.ndim or g.shape[axis] == 1]
    if g.ndim == v.ndim and g.numel() == 1:  # torch keeps one axis of a single entry; norms over it are the same
        axes = list(range(v.ndim))
    norm = exact.square().sum(axes, keepdim=True).sqrt()
    if not bool((norm > 0).all()):
        raise NotFormedError("a direction of weight_norm has length 0")
    return (exact * (g.to(exact.dtype).reshape(norm.shape) / norm)).to(v.dtype)


def spectral_axes(source: Source, original: str, left: str, right: str) -> list[int]:
    """Axes that can be the first of the matrix whose norm is taken: 0, and 1 in transposed convolutions.

    >>> from transformer_spectrum.weights.anatomy.formed import Held
    >>> tensors = {"w": Held((4, 3), "F32"), "u": Held((4,), "F32"), "v": Held((3,), "F32")}
    >>> spectral_axes(Source(tensors, lambda name: None), "w", "u", "v")
    [0]
    """
    shape, total = source.tensors[original].shape, source.numbers(original)
    sizes = source.tensors[left].shape, source.tensors[right].shape
    fitting = [axis for axis, size in enumerate(shape) if sizes == ((size,), (total // size if size else 0,))]
    return fitting[:1] if len(shape) == 2 else fitting


def spectral_norm(axes: list[int]) -> Callable[..., Tensor]:
    """W, u, v -> W / (u^T W v). Where the sizes allow two axes, u and v are singular vectors of one of the matrices.

    Args:
        axes: see `spectral_axes`.

    >>> import torch
    >>> spectral_norm([0])(torch.eye(2) * 4, torch.tensor([1.0, 0.0]), torch.tensor([1.0, 0.0])).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """

    def form(original: Tensor, left: Tensor, right: Tensor) -> Tensor:
        exact, u, v = wide(original), wide(left), wide(right)
        norms = [u.to(exact.dtype) @ (exact.movedim(axis, 0).flatten(1) @ v.to(exact.dtype)) for axis in axes]
        norm = max(norms, key=lambda value: abs(float(value)))
        if float(norm) == 0.0:
            raise NotFormedError("its norm by the vectors of spectral_norm is 0")
        return (exact / norm).to(original.dtype)

    return form
