"""Every way to exchange the two arms of a seed: one sign for each seed, all of them or a sample.

If two arms do not differ, exchanging them within a seed changes nothing but the sign of its difference, so that all
2^n signs of n seeds are equally likely. Two-sided statistics do not tell a sign vector from its negative: half of the
vectors, those that leave the first seed as it is, stand for all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from transformer_spectrum.runtime.seeds import numpy_generator

EXACT_AT_MOST = 20
"""Seeds up to which all signs are enumerated, 2^20 of them."""
SAMPLED = 1 << 16
"""Sign vectors of more seeds than that, the identity among them, each with its negative."""
BLOCK_BITS = 13


class SignCount(NamedTuple):
    """How many sign vectors a result rests on.

    Attributes:
        signs: vectors, each with its negative among them; count.
        exact: whether these are all; else they are a sample from a seeded generator.
    """

    signs: int
    exact: bool


def sign_count(seeds: int) -> SignCount:
    """2^n up to 20 seeds, beyond twice SAMPLED.

    >>> sign_count(5), sign_count(21)
    (SignCount(signs=32, exact=True), SignCount(signs=131072, exact=False))
    """
    return SignCount(1 << seeds, True) if seeds <= EXACT_AT_MOST else SignCount(2 * SAMPLED, False)


def in_order(names: Iterable[Any]) -> list[Any]:
    """Numbers by size, before words by the alphabet.

    >>> in_order({10, 9, "a"})
    [9, 10, 'a']
    """
    return sorted(names, key=lambda name: (isinstance(name, str), name))


def in_unit(values: Float[np.ndarray, "seeds columns"]) -> tuple[np.ndarray, np.ndarray]:
    """Each column divided by the power of two next above its largest size, and that power's exponent: no bit is lost,
    and squares and sums neither overflow nor vanish.

    >>> in_unit(np.array([[3e300], [-1e300]]))[0].ravel().round(3).tolist()
    [0.56, -0.187]
    """
    _, exponents = np.frexp(np.abs(values).max(axis=0, initial=0.0))
    return np.ldexp(values, -exponents), exponents


def rounding(values: Float[np.ndarray, "seeds columns"]) -> Float[np.ndarray, " columns"]:
    """How far sums of the same numbers, in another order or of other signs, may be apart by rounding alone.

    >>> bool(abs((0.1 + 0.2 - 0.3) - (0.1 - 0.3 + 0.2)) <= rounding(np.array([[0.1], [0.2], [0.3]]))[0])
    True
    """
    return 4 * len(values) * np.finfo(float).eps * np.abs(values).sum(axis=0)


def flipped_sums(values: Float[np.ndarray, "seeds columns"], seed: int = 0) -> Iterator[np.ndarray]:
    """Sums over seeds of +-values, one sign a seed for all columns: half of the vectors, see the module.

    Args:
        values: one row a seed, >= 1 of them; finite.
        seed: of the sample, where there are more than EXACT_AT_MOST seeds.
    Returns:
        Blocks (b, columns), `sign_count(seeds).signs` / 2 rows in all; the first row has all signs +.

    >>> np.concatenate(list(flipped_sums(np.array([[4.0], [2.0], [1.0]])))).ravel().tolist()
    [7.0, 3.0, 5.0, 1.0]
    """
    seeds = len(values)
    if seeds <= EXACT_AT_MOST:
        low = _all_sums(values[1 : 1 + BLOCK_BITS]) + values[0]
        for offset in _all_sums(values[1 + BLOCK_BITS :]):
            yield low + offset
        return
    generator = numpy_generator(seed, "signs of seeds")
    block = 1 << BLOCK_BITS
    for start in range(0, SAMPLED, block):
        signs = 2.0 * generator.integers(0, 2, size=(block, seeds)) - 1.0
        if start == 0:
            signs[0] = 1.0
        yield signs @ values


def _all_sums(values: np.ndarray) -> np.ndarray:
    """(2^n, columns) of n rows, the first with all signs +."""
    sums = np.zeros((1, values.shape[1]))
    for row in values:
        sums = np.concatenate([sums + row, sums - row])
    return sums
