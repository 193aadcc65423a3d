"""Tensors of a checkpoint -> the weights that its layers compute with.

Many files hold no weight but what one is made of: the length and the direction of weight_norm, a mask, the factors of
an adapter, packed integers and their scales. `effective` looks through them, formula by formula, and shows the
checkpoint as if it held the weights themselves. What cannot be formed with certainty is left out with its reason:
pieces are never shown under the name of the weight.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from transformer_spectrum.weights.anatomy.adapters import adapters
from transformer_spectrum.weights.anatomy.dissection import Skipped
from transformer_spectrum.weights.anatomy.formed import (
    COMPLEX,
    FLOATS,
    FP8,
    Findings,
    Formed,
    Held,
    Source,
    StoredTensor,
    code,
)
from transformer_spectrum.weights.anatomy.habits import family_of, path_of
from transformer_spectrum.weights.anatomy.leftovers import leftovers
from transformer_spectrum.weights.anatomy.parametrised import parametrised
from transformer_spectrum.weights.anatomy.quantised import quantised
from transformer_spectrum.weights.anatomy.reparametrised import masked, normalised
from transformer_spectrum.weights.anatomy.scaled import scaled
from transformer_spectrum.weights.matrices.families import Family
from transformer_spectrum.weights.matrices.matrix import Matrix

# In this order: an adapter lies on a weight that may be quantised; a mask may lie on the direction of weight_norm.
RECOGNISERS = (quantised, scaled, masked, parametrised, normalised, adapters, leftovers)


class Weights:
    """A checkpoint as if it held the weights that act.

    Attributes:
        tensors: name -> shape and type, stored ones and formed ones, without what was used up or left out.
        skipped: what was left out, with reasons.
        notes: what a reader of results has to know, one sentence each.
        left_out_weights: numbers packed in what was left out.
    """

    def __init__(self, source: Source) -> None:
        self.tensors: dict[str, StoredTensor] = dict(source.tensors)
        self.skipped: list[Skipped] = []
        self.notes: list[str] = []
        self.left_out_weights = 0
        self._source = source
        self._levels: list[dict[str, Formed]] = []
        self._stack: dict[str, Tensor] = {}
        for recognise in RECOGNISERS:
            read = self._reader(len(self._levels))
            self._take(recognise(replace(source, tensors=self.tensors, read=read)))

    def _take(self, findings: Findings) -> None:
        """What a recogniser found replaces its pieces, at the place of the first of them."""
        used = {piece for formed in findings.formed for piece in formed.pieces}
        alone: dict[str, Formed] = {}
        for formed in findings.formed:
            if formed.name in alone or (formed.name in self.tensors and formed.name not in used):
                reason = f"pieces of a weight that lies beside them itself ({formed.note})"
                findings.leave(list(formed.pieces), reason)
            else:
                alone[formed.name] = formed
        findings.formed = list(alone.values())
        replacing = {formed.name: Held(formed.shape, formed.dtype) for formed in findings.formed}
        places: dict[str, list[str]] = {}
        for formed in findings.formed:
            places.setdefault(formed.pieces[0], []).append(formed.name)
        gone = {piece for formed in findings.formed for piece in formed.pieces}
        gone |= {left.name for left in findings.left_out}
        tensors: dict[str, StoredTensor] = {}
        for name, tensor in self.tensors.items():
            tensors |= {weight: replacing[weight] for weight in places.get(name, ())}
            if name not in gone:
                tensors[name] = tensor
        for left in findings.left_out:
            self.skipped.append(Skipped(left.name, self.tensors[left.name].shape, left.reason, left.weights))
            self.left_out_weights += left.weights
        self.tensors = tensors
        self.notes += findings.notes
        self._levels.append(alone)

    def _reader(self, level: int) -> Callable[[str], Tensor]:
        return lambda name: self._read(name, level)

    def _at(self, name: str, level: int) -> tuple[Formed | None, int]:
        """How the tensor of that name is formed by the recognisers before `level`, and at which of them."""
        for below in reversed(range(level)):
            if name in self._levels[below]:
                return self._levels[below][name], below
        return None, 0

    def _read(self, name: str, level: int) -> Tensor:
        formed, below = self._at(name, level)
        if formed is None:
            return self._source.read(name)
        held = {piece: self._stack[piece] for piece in formed.pieces if piece in self._stack}
        self._stack = {}
        pieces = {piece: held[piece] if piece in held else self._read(piece, below) for piece in formed.pieces}
        if formed.shared:
            self._stack = pieces
        return formed.form(*(pieces[piece] for piece in formed.pieces))

    def read(self, name: str) -> Tensor:
        """The tensor as it acts, on the CPU.

        Raises:
            NotFormedError: the entries of its pieces do not fit what their names and shapes promise.
        """
        return self._read(name, len(self._levels))

    def pieces(self, name: str) -> tuple[str, ...]:
        """Names of the stored tensors that it is formed from; its own name when it is stored itself."""
        return tuple(dict.fromkeys(self._pieces(name, len(self._levels))))

    def _pieces(self, name: str, level: int) -> Sequence[str]:
        formed, below = self._at(name, level)
        return (name,) if formed is None else [leaf for piece in formed.pieces for leaf in self._pieces(piece, below)]

    def note(self, name: str) -> str:
        """How it is formed; empty when it is as stored."""
        return "; ".join(dict.fromkeys(self._notes(name, len(self._levels))))

    def _notes(self, name: str, level: int) -> list[str]:
        formed, below = self._at(name, level)
        if formed is None:
            return []
        inner = [note for piece in formed.pieces for note in self._notes(piece, below)]
        return [*inner, formed.note] if formed.note else inner

    def formations(self, names: Collection[str]) -> list[str]:
        """How the tensors of these names are formed, a sentence for each way."""
        by_note: dict[str, list[str]] = {}
        for name in dict.fromkeys(names):
            if self.note(name):
                by_note.setdefault(self.note(name), []).append(path_of(name))
        return [f"{listed(formed)}: {note}" for note, formed in by_note.items()]

    def numbers(self, name: str) -> int:
        """Numbers in the file that the tensor stands for: an update of rank r has r (rows + columns) of them."""
        formed, _ = self._at(name, len(self._levels))
        stated = None if formed is None else formed.weights
        return math.prod(self.tensors[name].shape) if stated is None else stated

    def described(self, matrices: Sequence[Matrix]) -> list[Matrix]:
        """The same, those of formed weights with a note how, those of updates with a family of their own."""
        return [self._described(matrix) for matrix in matrices]

    def _described(self, matrix: Matrix) -> Matrix:
        formed, _ = self._at(matrix.tensor, len(self._levels))
        if formed is None:
            return matrix
        note = "; ".join(text for text in (self.note(matrix.tensor), matrix.note) if text)
        if not formed.update:
            return replace(matrix, note=note)
        layer = Family("convolution") if len(formed.shape) >= 3 else family_of(formed.layer, names=self.tensors)
        return replace(matrix, note=note, family=replace(layer, piece="update"), weights=formed.weights)


def listed(names: Sequence[str]) -> str:
    """The first three of them, and how many more there are.

    >>> listed(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def effective(
    tensors: Mapping[str, StoredTensor],
    read: Callable[[str], Tensor],
    config: Mapping[str, Any] | None = None,
    beside: Mapping[str, Mapping[str, Any]] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Weights:
    """Looks through a checkpoint's tensors to the weights that act.

    Args:
        tensors: name -> shape and type, as stored.
        read: name -> entries, as stored, on the CPU.
        config: config.json, which tells how weights are quantised.
        beside: adapter_config.json, quantize_config.json and the like, by name.
        metadata: of a safetensors file.

    >>> import torch
    >>> from transformer_spectrum.weights.anatomy.formed import Held
    >>> pieces = {"fc.weight_orig": torch.tensor([[1.0, 2.0], [3.0, 4.0]]), "fc.weight_mask": torch.eye(2)}
    >>> weights = effective({name: Held((2, 2), "F32") for name in pieces}, pieces.__getitem__)
    >>> weights.note("fc.weight"), weights.read("fc.weight").tolist()
    ('weight_orig times weight_mask', [[1.0, 0.0], [0.0, 4.0]])
    """
    return Weights(Source(tensors, read, config or {}, beside or {}, metadata or {}))


def is_weight(tensor: StoredTensor) -> bool:
    """Whether its entries are numbers of a weight, real or complex.

    >>> from transformer_spectrum.weights.anatomy.formed import Held
    >>> is_weight(Held((2, 2), "BF16")), is_weight(Held((2, 2), "I64"))
    (True, False)
    """
    return code(tensor.dtype) in FLOATS | FP8 | COMPLEX
