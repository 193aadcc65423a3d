"""Dropout whose masks follow from counters, so that networks trained side by side share no generator.

Whether a number is dropped is a pure function of its network's seed, the update, which of the forward pass's dropouts
it meets, and its place. So a network's masks are the same whoever is trained beside it, on every device, and in a
training that was stopped and resumed.
"""

from __future__ import annotations

import functools

import torch
from jaxtyping import Float, Int32
from torch import Tensor

SIGNED = 2**31


def _signed(bits: int) -> int:
    """The int32 of these 32 bits."""
    return (bits + SIGNED) % (2 * SIGNED) - SIGNED


FIRST, SECOND, APART = _signed(0x85EBCA6B), _signed(0xC2B2AE35), _signed(0x9E3779B9)


def mixed(bits: Int32[Tensor, "*shape"]) -> Int32[Tensor, "*shape"]:
    """A bijection of 32 bits in which every bit of the result depends on all of `bits`: MurmurHash3's finaliser.

    h ^= h >> 16, h *= 0x85EBCA6B, h ^= h >> 13, h *= 0xC2B2AE35, h ^= h >> 16, on unsigned numbers.

    >>> mixed(torch.tensor([0, 1, 2], dtype=torch.int32)).tolist()
    [0, 1364076727, 821347078]
    """
    bits = (bits ^ ((bits >> 16) & 0xFFFF)).mul_(FIRST)
    bits.bitwise_xor_((bits >> 13) & 0x7FFFF).mul_(SECOND)
    return bits.bitwise_xor_((bits >> 16) & 0xFFFF)


@functools.lru_cache(maxsize=64)
def _places(count: int, device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        return mixed(torch.arange(count, dtype=torch.int32, device=device))


class Dropout:
    """The dropouts of one forward pass: sets numbers to 0 with probability `rate`, divides the others by 1 - rate.

    Args:
        rate: 0 <= x < 1.
        keys: (members,) one a network, what `keys_of` gives; (1,) for a plain network.

    >>> drop = Dropout(0.5, torch.tensor([7], dtype=torch.int32))
    >>> first, second = drop(torch.ones(1, 1000)), drop(torch.ones(1, 1000))
    >>> sorted(set(first.flatten().tolist())), bool(450 < first.count_nonzero() < 550), torch.equal(first, second)
    ([0.0, 2.0], True, False)
    """

    def __init__(self, rate: float, keys: Int32[Tensor, " members"]) -> None:
        self.rate, self.keys, self.met = rate, keys, 0
        # A place's 32 bits, read as a signed number, lie below this with probability `rate`.
        self.threshold = min(SIGNED - 1, round(rate * 2 * SIGNED) - SIGNED)

    def __call__(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """x (members, ...), or (...) of a plain network, with some numbers dropped; each call drops others."""
        self.met += 1
        keys = mixed(self.keys + _signed(self.met * 0x9E3779B9 % (2 * SIGNED)))
        bits = mixed(keys.unsqueeze(1) ^ _places(x.numel() // len(keys), x.device))
        return x * (bits >= self.threshold).view(x.shape).to(x.dtype) * (1 / (1 - self.rate))


def keys_of(
    seeds: Int32[Tensor, " members"], updates: Int32[Tensor, " members"], piece: int = 0
) -> Int32[Tensor, " members"]:
    """A key for each member, which no other update or piece of its batch shares, but by chance.

    Args:
        seeds: of the members.
        updates: which update of its training each is at.
        piece: of the batch.

    >>> seeds, updates = torch.tensor([5, 6], dtype=torch.int32), torch.tensor([1, 1], dtype=torch.int32)
    >>> len({*keys_of(seeds, updates).tolist(), *keys_of(seeds, updates + 1).tolist()})
    4
    """
    return mixed(mixed(mixed(seeds + APART) ^ updates) + _signed((piece + 1) * 0x9E3779B9 % (2 * SIGNED)))
