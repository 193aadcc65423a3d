"""What is found out about a tensor of three or more axes: how it unfolds, what it stacks, or why it is left out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from transformer_spectrum.weights.matrices.families import Family


@dataclass(frozen=True)
class Unfolding:
    """One matrix.

    Attributes:
        rows: axes of the tensor that are the matrix's rows, in order; the others are its columns.
        note: how it was taken from the tensor.
        family: what it is for, where the axes tell; None: its name does.
        groups: equal blocks of the first axis, which becomes two axes (groups, rest) before `rows` count.
        doubtful: whether this reading is a guess.
    """

    rows: tuple[int, ...]
    note: str
    family: Family | None = None
    groups: int = 1
    doubtful: bool = False


@dataclass(frozen=True)
class Stack:
    """The first axis counts matrices, or tensors to be read further.

    Attributes:
        labels: of each, added to the tensor's name.
        note: what each of them is.
        families: what each is for; empty: its name tells.
        rows: axes of each slice that are rows; None: to be read further, or as stored.
    """

    labels: tuple[str, ...]
    note: str
    families: tuple[Family, ...] = ()
    rows: tuple[int, ...] | None = None

    @classmethod
    def of(cls, count: int, word: str, note: str, family: Family | None = None) -> Stack:
        """`count` slices called ".word_0", ".word_1", ...

        >>> Stack.of(2, "expert", "one expert").labels
        ('.expert_0', '.expert_1')
        """
        return cls(tuple(f".{word}_{i}" for i in range(count)), note, (family,) * count if family is not None else ())


@dataclass(frozen=True)
class Left:
    """A tensor that is left out, and why."""

    reason: str


Reading = Unfolding | Stack | Left


def words_of(shape: tuple[int, ...]) -> str:
    """A shape as it is printed: 8x64x64.

    >>> words_of((8, 64, 64))
    '8x64x64'
    """
    return "x".join(map(str, shape))


def bias_of(name: str, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...] | None:
    """The shape of the bias beside a tensor: of "up.weight" that of "up.bias"; None where there is none.

    Beside "experts.down_proj" it is "experts.down_proj_bias", beside "attn.W_Q" it is "attn.b_Q".

    >>> bias_of("attn.W_Q", {"attn.W_Q": (8, 64, 8), "attn.b_Q": (8, 8)})
    (8, 8)
    """
    stem = re.sub(r"(weight(_orig|_v)?|kernel)$", "", name)
    candidates = [f"{stem}bias"] if stem != name else [f"{name}_bias", f"{name}.bias", f"{name}_b"]
    candidates.append(re.sub(r"(^|\.)([wW])(_?\w+)$", lambda match: f"{match[1]}{_b(match[2])}{match[3]}", name))
    return next((shapes[beside] for beside in candidates if beside in shapes and beside != name), None)


def _b(letter: str) -> str:
    return "b" if letter == "w" or letter == "W" else letter
