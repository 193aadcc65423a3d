"""Integers of a few bits, packed into words -> one integer an entry, and the 4-bit floating-point numbers."""

from __future__ import annotations

import torch
from torch import Tensor

AWQ_COLUMNS = (0, 2, 4, 6, 1, 3, 5, 7)  # the column that each four bits of a word hold, lowest first
# OCP Microscaling Formats v1.0, section 5.3.3: sign, two bits of exponent, one of mantissa.
E2M1 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0)


def from_words(words: Tensor, bits: int) -> Tensor:
    """Integers packed along the last axis of 32-bit words as one stream of bits, the lowest first.

    Where `bits` divides 32 that is the usual packing of 32 / bits integers a word; three bits of GPTQ run on from one
    word into the next.

    Args:
        words: (..., n) int32 or uint32.
        bits: of each integer, 1 to 8.
    Returns:
        (..., 32 n / bits) uint8.

    >>> from_words(torch.tensor([0x76543210], dtype=torch.int32), 4).tolist()
    [0, 1, 2, 3, 4, 5, 6, 7]
    """
    if 32 % bits == 0:
        signed, count = words.view(torch.int32), 32 // bits
        entries = torch.empty((*words.shape, count), dtype=torch.uint8)
        for place in range(count):  # one at a time: eight copies of a large tensor in 32 bits are too many
            entries[..., place] = (signed >> (bits * place)) & (2**bits - 1)
        return entries.flatten(-2)
    wide = words.to(torch.int64)
    stream = ((wide[..., None] >> torch.arange(32)) & 1).to(torch.uint8).flatten(-2)
    places = torch.tensor([1 << place for place in range(bits)], dtype=torch.uint8)
    return (stream.unflatten(-1, (-1, bits)) * places).sum(-1, dtype=torch.uint8)


def from_awq_words(words: Tensor) -> Tensor:
    """Four-bit integers of AWQ: each word holds eight neighbouring columns in the order of AWQ_COLUMNS.

    >>> from_awq_words(torch.tensor([0x76543210], dtype=torch.int32)).tolist()
    [0, 4, 1, 5, 2, 6, 3, 7]
    """
    order = torch.argsort(torch.tensor(AWQ_COLUMNS))
    return from_words(words, 4).unflatten(-1, (-1, 8))[..., order].flatten(-2)


def halves(packed: Tensor, *, high_first: bool) -> Tensor:
    """Two four-bit integers a byte along the last axis: (..., n) uint8 -> (..., 2 n).

    >>> halves(torch.tensor([0x21], dtype=torch.uint8), high_first=True).tolist()
    [2, 1]
    """
    low, high = packed & 0x0F, packed >> 4
    return torch.stack([high, low] if high_first else [low, high], dim=-1).flatten(-2)


def e2m1(packed: Tensor) -> Tensor:
    """Two four-bit floating-point numbers a byte, the low half first: (..., n) uint8 -> (..., 2 n) float32.

    >>> e2m1(torch.tensor([0x21], dtype=torch.uint8)).tolist()
    [0.5, 1.0]
    """
    return torch.tensor(E2M1)[halves(packed, high_first=False).int()]
