"""What it takes to form a weight from the tensors of a file, when the file does not hold the weight itself.

A recogniser looks at names, shapes and types and answers with `Findings`: weights that it can form, each with its
pieces and its formula, and tensors that are no weights and stay out, each with its reason. Nothing is read for that
but a few bytes that describe others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

FLOATS = frozenset({"BF16", "F16", "F32", "F64"})
COMPLEX = frozenset({"C64", "C128"})
FP8 = frozenset({"F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ"})
INTEGERS = frozenset({"I8", "U8", "I16", "U16", "I32", "U32", "I64", "U64"})
_CODES = {
    "bfloat16": "BF16",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "float8_e4m3fnuz": "F8_E4M3FNUZ",
    "float8_e5m2fnuz": "F8_E5M2FNUZ",
    "float8_e8m0fnu": "F8_E8M0",
    "bool": "BOOL",
    "complex64": "C64",
    "complex128": "C128",
}
EXACT = 1 << 21  # entries up to which a formula is worked out in float64


class StoredTensor(Protocol):
    """What is known of a tensor before it is read: its shape and a code of its type such as "F32" or "I64"."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> str: ...


@dataclass(frozen=True)
class Held:
    """The shape and the type of a tensor in memory, or of one that will be formed."""

    shape: tuple[int, ...]
    dtype: str


class NotFormedError(ValueError):
    """A weight that looked as if it could be formed cannot: the entries of its pieces say so, and the message why."""


@dataclass(frozen=True)
class Formed:
    """A weight to be formed.

    Attributes:
        name: under which the layer knows it, such as "fc1.weight".
        shape: of the weight.
        pieces: names of the tensors that `form` takes, in its order.
        form: their entries -> the weight.
        note: how it is formed, for the reader of results.
        dtype: of the weight, a code.
        weights: numbers in the file that it stands for; None: as many as it has entries.
        shared: the pieces serve the next weights too, such as a stack of experts.
        update: it is what an adapter adds to a layer, not a layer's weight.
        layer: name of the layer's weight that an update belongs to.
    """

    name: str
    shape: tuple[int, ...]
    pieces: tuple[str, ...]
    form: Callable[..., Tensor]
    note: str
    dtype: str = "F32"
    weights: int | None = None
    shared: bool = False
    update: bool = False
    layer: str = ""


@dataclass(frozen=True)
class LeftOut:
    """A tensor that is no weight by itself.

    Attributes:
        name: as stored.
        reason: why it is not measured.
        weights: how many weights are packed in it and lost with it; 0 for scales and the like.
    """

    name: str
    reason: str
    weights: int = 0


@dataclass
class Findings:
    """What one recogniser found; `formed` uses up its pieces.

    Attributes:
        formed: weights to form.
        left_out: tensors that nobody shall measure.
        notes: what a reader of results has to know, one sentence each.
    """

    formed: list[Formed] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def leave(self, names: list[str], reason: str, weights: int = 0) -> None:
        """Leaves several tensors out for one reason; the first of them held the weights."""
        self.left_out += [LeftOut(name, reason, 0 if i else weights) for i, name in enumerate(names)]


@dataclass(frozen=True)
class Source:
    """Tensors and what lies beside them.

    Attributes:
        tensors: what is stored, by name.
        read: name -> entries, on the CPU.
        config: config.json; empty where there is none.
        beside: other JSON files beside the weights, by name, such as adapter_config.json.
        metadata: what the file says about itself.
    """

    tensors: Mapping[str, StoredTensor]
    read: Callable[[str], Tensor]
    config: Mapping[str, Any] = field(default_factory=dict)
    beside: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)

    def shape(self, name: str) -> tuple[int, ...] | None:
        """Of the tensor; None where there is none of this name."""
        return self.tensors[name].shape if name in self.tensors else None

    def code(self, name: str) -> str:
        """Of its type, the same for safetensors and torch; empty where there is none of this name."""
        return code(self.tensors[name].dtype) if name in self.tensors else ""

    def under(self, prefix: str, names: tuple[str, ...]) -> list[str]:
        """Those of the names that are stored under the prefix, with it."""
        return [prefix + name for name in names if prefix + name in self.tensors]

    def numbers(self, name: str) -> int:
        """Entries of the tensor."""
        return math.prod(self.tensors[name].shape)


def code(dtype: str) -> str:
    """A type's code by safetensors' naming: "torch.int32" -> "I32"; unknown ones as they are.

    >>> code("torch.int32"), code("torch.bfloat16"), code("F8_E4M3")
    ('I32', 'BF16', 'F8_E4M3')
    """
    plain = dtype.removeprefix("torch.")
    if plain in _CODES:
        return _CODES[plain]
    for word, letter in (("float", "F"), ("uint", "U"), ("int", "I")):
        if plain.startswith(word) and plain.removeprefix(word).isdigit():
            return letter + plain.removeprefix(word)
    return plain


def split(name: str) -> tuple[str, str]:
    """ "h.0.fc.weight" -> ("h.0.fc.", "weight"); the first is empty for a name without a dot.

    >>> split("h.0.fc.weight"), split("weight")
    (('h.0.fc.', 'weight'), ('', 'weight'))
    """
    prefix, dot, last = name.rpartition(".")
    return prefix + dot, last


def wide(tensor: Tensor) -> Tensor:
    """In float64 to work a formula out exactly, large tensors in float32 at least.

    >>> wide(torch.zeros(2, 2, dtype=torch.bfloat16)).dtype
    torch.float64
    """
    if tensor.numel() <= EXACT:
        return tensor.to(torch.float64)
    return tensor if tensor.dtype == torch.float64 else tensor.to(torch.float32)


def by_words(shape: tuple[int, ...]) -> str:
    """ "64x96"; "a number" without axes.

    >>> by_words((64, 96)), by_words(())
    ('64x96', 'a number')
    """
    return "x".join(map(str, shape)) or "a number"
