"""What is known of a stored tensor before its entries are read, and what every file of weights offers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

FLOATING = ("BF16", "F16", "F32", "F64", "C64", "C128")
_CODES = {
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.float32: "F32",
    torch.float64: "F64",
    torch.complex32: "C64",  # as it is read
    torch.complex64: "C64",
    torch.complex128: "C128",
}


@dataclass(frozen=True)
class Stored:
    """What a file says about a tensor before it is read.

    Attributes:
        shape: as stored.
        dtype: such as "F32" or "I64"; one of FLOATING where its entries are weights.
    """

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Beside:
    """What a file or a folder holds beside the model, so that nothing vanishes unlisted.

    Attributes:
        name: of a tensor, of a dictionary of tensors (dotted) or of a file.
        shape: of a tensor; empty for a dictionary or a file.
        reason: what it is and why it is not analysed.
    """

    name: str
    shape: tuple[int, ...]
    reason: str


class WeightFile(Protocol):
    """One file that holds tensors.

    Attributes:
        path: where it lies.
        notes: what a reader of results has to know, one sentence each.
        key: dotted path of the dictionary that was taken for the model; empty for the whole file.
        beside: what else the file holds.
    """

    path: Path
    notes: list[str]
    key: str
    beside: tuple[Beside, ...]

    @property
    def tensors(self) -> Mapping[str, Stored]: ...

    @property
    def metadata(self) -> Mapping[str, str]: ...

    def read(self, name: str) -> Tensor:
        """The tensor on the CPU, as stored."""
        ...


def stored(tensor: Tensor) -> Stored:
    """Shape and type of a tensor as `matrices.entries.dense` writes it out; none of FLOATING where it has no entries.

    >>> import torch
    >>> stored(torch.zeros(2, 3, dtype=torch.bfloat16))
    Stored(shape=(2, 3), dtype='BF16')
    """
    if is_lazy(tensor):
        return Stored((), "uninitialised")
    if tensor.is_nested:
        return Stored((), f"nested {tensor.dtype}")
    shape = tuple(tensor.shape)
    if tensor.device.type == "meta":
        return Stored(shape, f"meta {tensor.dtype}")
    if tensor.is_quantized:
        return Stored(shape, "F32")
    return Stored(shape, _CODES.get(tensor.dtype, str(tensor.dtype).removeprefix("torch.")))


def natural(name: str) -> list[tuple[int, int, str]]:
    """A sort key by which numbers in names count as numbers.

    >>> sorted(["layer.10", "layer.9"], key=natural)
    ['layer.9', 'layer.10']
    """
    return [(0, int(word), "") if word.isdecimal() else (1, 0, word) for word in re.split(r"(\d+)", name) if word]
