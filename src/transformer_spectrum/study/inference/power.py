"""Before anything runs: how many seeds a contrast needs, and what too few of them can never show."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from numbers import Integral, Real

import numpy as np
from jaxtyping import Float
from scipy import stats

from transformer_spectrum.runtime.errors import InputError, quoted
from transformer_spectrum.runtime.seeds import numpy_generator
from transformer_spectrum.study.inference.signflip import check_share, smallest_p
from transformer_spectrum.study.inference.signs import flipped_sums

SIZES = (0.5, 1.0, 1.5)
"""d_z that are asked for: mean / standard deviation of the differences."""
STUDIES = 2000
ENUMERATED = 12
"""Pairs up to which a simulated study is tested by all signs; beyond, by a sample of them."""
SIGNS, REACHED = 2000, 40
"""Sign vectors of that sample, at least; so many more that a level is reached by 40 of them."""
PAIRS_AT_MOST = 200
TIED = 1e-9


@dataclass(frozen=True)
class PowerCheck:
    """Of one contrast, before its seeds run.

    Attributes:
        contrast: its name.
        pairs: seeds that are planned; count.
        level: of one test; a family of k divides it at worst by k.
        power: that is asked for.
        smallest_p: that so many pairs can reach.
        needed: d_z -> pairs; None where more than PAIRS_AT_MOST.
    """

    contrast: str
    pairs: int
    level: float
    power: float
    smallest_p: float
    needed: Mapping[float, int | None]

    @property
    def can_reject(self) -> bool:
        """Whether any outcome of so many pairs could be significant.

        >>> check_power("muon", 5).can_reject
        False
        """
        return self.smallest_p <= self.level

    @property
    def short_of(self) -> tuple[float, ...]:
        """The d_z for which there are fewer pairs than needed.

        >>> check_power("muon", 12).short_of
        (0.5,)
        """
        return tuple(
            size
            for size, pairs in self.needed.items()
            if (pairs or PAIRS_AT_MOST + 1) > self.pairs
            or (pairs is None and _rate_of_t(self.pairs, size, self.level) < self.power)
        )

    @property
    def sentence(self) -> str:
        """The warning in words; empty where nothing is short.

        >>> print(check_power("muon", 5).sentence)
        muon: 5 seeds cannot reach p = 0.05, their smallest two-sided p is 0.0625; 80 % power needs 34 for d_z = 0.5, \
11 for 1, 7 for 1.5.
        """
        if not self.short_of:
            return ""
        words = [
            f"{'more than ' if pairs is None else ''}{pairs or PAIRS_AT_MOST} for {'d_z = ' if not place else ''}"
            f"{size:g}"
            for place, (size, pairs) in enumerate(self.needed.items())
        ]
        limit = "" if self.can_reject else f" cannot reach p = {self.level:g}, their smallest two-sided p is "
        limit += "" if self.can_reject else f"{self.smallest_p:g}"
        start = f"{self.contrast}: {self.pairs} seeds{limit or ' are few'}"
        return f"{start}; {100 * self.power:.0f} % power needs {', '.join(words)}."


def check_power(
    contrast: str, pairs: int, *, level: float = 0.05, power: float = 0.8, sizes: Sequence[float] = SIZES
) -> PowerCheck:
    """How many pairs each d_z needs, beside how many there are.

    Args:
        contrast: its name.
        pairs: planned seeds; count, >= 1.
        level, power: of the two-sided test; 0 < x < 1.
        sizes: d_z, > 0.
    Raises:
        InputError: pairs that are no whole number >= 1, no d_z, or what `pairs_needed` refuses.

    >>> check_power("muon - adam", 12).needed
    {0.5: 34, 1.0: 11, 1.5: 7}
    """
    if isinstance(pairs, bool) or not isinstance(pairs, Integral) or pairs < 1:
        raise InputError(f"seeds of {contrast} = {quoted(pairs)}: must be a whole number >= 1")
    if not len(sizes):
        raise InputError(f"sizes of {contrast}: must be one d_z or more")
    needed = {size: pairs_needed(size, level=level, power=power) for size in sizes}
    return PowerCheck(contrast, pairs, level, power, smallest_p(pairs), needed)


@lru_cache
def pairs_needed(size: float, *, level: float = 0.05, power: float = 0.8) -> int | None:
    """The fewest pairs whose sign-flip test rejects with that probability, for normal differences of that d_z.

    Args:
        size: d_z, > 0; dimensionless.
        level, power: 0 < x < 1.
    Returns:
        Pairs; None where PAIRS_AT_MOST do not suffice. By simulation, see `rejection_rate`: within a pair or two.
    Raises:
        InputError: an argument outside.

    >>> pairs_needed(1.0)
    11
    """
    check_share("level", level)
    check_share("power", power)
    if not isinstance(size, Real) or not 0 < size < np.inf:
        raise InputError(f"d_z = {quoted(size)}: must be > 0 and finite")
    low = next(pairs for pairs in range(1, 2000) if smallest_p(pairs) <= level)
    if low > PAIRS_AT_MOST:
        return None
    high = low
    while rejection_rate(high, size, level=level) < power:
        low, high = high + 1, min(2 * high, PAIRS_AT_MOST)
        if low > high:
            return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if rejection_rate(middle, size, level=level) >= power else (middle + 1, high)
    return low


def rejection_rate(pairs: int, size: float, *, level: float = 0.05, studies: int = STUDIES, seed: int = 0) -> float:
    """Share of simulated studies, normal differences of mean d_z and standard deviation 1, that the test rejects.

    Args:
        pairs: in each study; 1 to PAIRS_AT_MOST; count.
        size: d_z; 0 gives the level that is reached.
        level: two-sided; 0 < x < 1.
        studies: simulated; count. The standard error of a share of .8 is .009 for 2,000.
        seed: of studies and signs; the same studies for every d_z and level.
    Raises:
        InputError: an argument outside.

    >>> rejection_rate(5, 3.0), rejection_rate(12, 1.5) > 0.95
    (0.0, True)
    """
    check_share("level", level)
    if not isinstance(pairs, Integral) or not 1 <= pairs <= PAIRS_AT_MOST:
        raise InputError(f"pairs = {quoted(pairs)}: must be a whole number from 1 to {PAIRS_AT_MOST}")
    if not isinstance(size, Real) or not np.isfinite(size):
        raise InputError(f"d_z = {quoted(size)}: must be finite")
    if not isinstance(studies, Integral) or studies < 1:
        raise InputError(f"studies = {quoted(studies)}: must be a whole number >= 1")
    values = numpy_generator(seed, "power of sign flips").normal(size=(PAIRS_AT_MOST, studies))[:pairs] + size
    reached, total = _reached(values, max(SIGNS, math.ceil(REACHED / level)), seed)
    return float((reached / total <= level).mean())


def _rate_of_t(pairs: int, size: float, level: float) -> float:
    """The same of Student's test, which that of signs comes near to where pairs are many."""
    limit = stats.t.ppf(1 - level / 2, pairs - 1)
    return float(stats.nct.sf(limit, pairs - 1, size * pairs**0.5))


def _reached(values: Float[np.ndarray, "pairs studies"], sampled: int, seed: int) -> tuple[np.ndarray, int]:
    """Of each study: how many sign vectors have a sum at least as large in size, the identity among them, and of how
    many: all, or `sampled`."""
    pairs, studies = values.shape
    sums = np.abs(values.sum(axis=0)) * (1 - TIED)
    if pairs <= ENUMERATED or 1 << (pairs - 1) <= sampled:
        reached = sum((np.abs(block) >= sums).sum(axis=0) for block in flipped_sums(values))
        return np.asarray(reached), 1 << (pairs - 1)
    signs = 2.0 * numpy_generator(seed, "signs of simulated seeds").integers(0, 2, size=(sampled - 1, pairs)) - 1.0
    reached = np.ones(studies, dtype=int)
    for start in range(0, sampled - 1, 500):
        reached += (np.abs(signs[start : start + 500] @ values) >= sums).sum(axis=0)
    return reached, sampled
