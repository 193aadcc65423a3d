"""Scaled dot-product attention: torch's, and for short sequences on a CPU one that is almost twice as fast.

torch's kernel on the CPU takes each sequence and head by itself, and for a short one most of its time is not
arithmetic. Here the scores of all sequences come from one batched product a head, and the softmax needs no shift: e^s
can neither overflow nor vanish while |s| is small, which a look at the extremes tells. Where it is not, torch's kernel
is used. Which one a member of a population gets depends on nobody else.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

SHORT, MANY = 64, 64
"""At most so many keys, and at least so many sequences or an axis of members: there it was faster when measured
(benchmarks/search.py)."""
REGISTERS = 64
"""Numbers that fill the vector registers of one turn of torch's loops on any processor, or a multiple of them."""
STEEP = 64.0
"""Largest |s| in base 2 without a shift: 2^64 added up over a row and divided is far inside float32."""


def attention(query: Tensor, key: Tensor, value: Tensor, heads: int, causal: bool = False) -> Tensor:
    """softmax(Q K^T / sqrt(e)) V for each head of e = d / heads columns, the heads side by side.

    Args:
        query: (..., T, d).
        key: (..., S, d), the same leading dimensions.
        value: (..., S, d).
        heads: divides d.
        causal: query t sees keys up to t only; T = S.
    Returns:
        (..., T, d).

    >>> values = torch.tensor([[[2.0], [4.0]]])
    >>> attention(torch.zeros(1, 2, 1), torch.zeros(1, 2, 1), values, heads=1, causal=True).flatten().tolist()
    [2.0, 3.0]
    """
    on_cpu = query.device.type == "cpu" and query.dtype == torch.float32
    many = query.ndim > 3 or query.shape[:-2].numel() >= MANY
    if not (on_cpu and key.shape[-2] <= SHORT and many) or torch.is_grad_enabled():
        return _kernel(query, key, value, heads, causal)
    members = 1 if query.ndim == 3 else len(query)
    short, steep = _short(query.flatten(0, -3), key.flatten(0, -3), value.flatten(0, -3), heads, causal, members)
    mixed = short.view(query.shape)
    if len(steep) and query.ndim > 3:
        mixed[steep] = _kernel(query[steep], key[steep], value[steep], heads, causal)
    return _kernel(query, key, value, heads, causal) if len(steep) and query.ndim == 3 else mixed


def _kernel(query: Tensor, key: Tensor, value: Tensor, heads: int, causal: bool) -> Tensor:
    q, k, v = (x.reshape(-1, x.shape[-2], heads, x.shape[-1] // heads).transpose(1, 2) for x in (query, key, value))
    mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=causal)
    mixed = mixed.transpose(1, 2).reshape(query.shape)
    # On some processors the kernel answers 0 for queries and keys that are no numbers, and a broken model would pass.
    return mixed.add(query.detach() + key.detach().sum(-2, keepdim=True), alpha=0)


def _short(query: Tensor, key: Tensor, value: Tensor, heads: int, causal: bool, members: int) -> tuple[Tensor, Tensor]:
    """(n, T, d), and which of so many members it is wrong for, because a score of theirs is steep or no number."""
    width = query.shape[-1] // heads
    nothing = query.new_zeros(1)
    mixed, gentle = [], torch.ones(members, dtype=torch.bool)
    for q, k, v in zip(*(x.split(width, -1) for x in (query, key, value)), strict=True):
        scores = torch.baddbmm(nothing, q, k.mT, beta=0, alpha=math.log2(math.e) / math.sqrt(width))
        low, high = torch.aminmax(scores.view(members, -1), dim=1)
        gentle &= (low >= -STEEP) & (high <= STEEP)
        shares = _exp2_(scores).tril_() if causal else _exp2_(scores)
        mixed.append((shares @ v).div_(shares.sum(-1, keepdim=True)))
    return torch.cat(mixed, -1), (~gentle).nonzero()[:, 0]


def _exp2_(x: Tensor) -> Tensor:
    """2^x in the place of x, contiguous: each number to the same bits wherever it lies.

    torch computes the last ones, which fill no vector register, by another function.
    """
    flat, left = x.view(-1), x.numel() % REGISTERS
    flat[: x.numel() - left].exp2_()
    if left:
        flat[-left:] = functional.pad(flat[-left:], (0, REGISTERS - left)).exp2_()[:left]
    return x
