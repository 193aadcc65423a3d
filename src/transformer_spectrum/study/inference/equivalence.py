"""Whether a difference is small enough to count as none: two one-sided sign-flip tests against a margin."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real

import numpy as np

from transformer_spectrum.runtime.errors import InputError, quoted
from transformer_spectrum.study.inference.estimates import Pairs, p_above
from transformer_spectrum.study.inference.signflip import as_numbers


@dataclass(frozen=True)
class Equivalence:
    """Of one contrast against a margin that was fixed before its seeds ran.

    Attributes:
        margin: the largest difference that counts as none; the differences' unit, of primary endpoints log units.
        p_not_below: of mean <= -margin.
        p_not_above: of mean >= margin.
        p_value: the larger of both, of the hypothesis that the difference is outside the margin; NaN without a pair.

    >>> Equivalence(0.1, 0.01, 0.03).p_value
    0.03
    """

    margin: float
    p_not_below: float
    p_not_above: float

    @property
    def p_value(self) -> float:
        return max(self.p_not_below, self.p_not_above)


def equivalence(differences: Pairs, margin: float, *, seed: int = 0) -> Equivalence:
    """TOST: both mean <= -margin and mean >= margin are tested, one-sided, by signs of the seeds.

    The difference counts as none at a level if both are rejected at it, which is so exactly if the sign-flip interval
    of confidence 1 - 2 level lies inside the margin. The smallest p of n pairs is 2^-n.

    Args:
        differences: of the seeds; NaN = no pair.
        margin: > 0, in the differences' unit, from other seeds than these.
        seed: of the sample of signs of more than 20 pairs.
    Raises:
        InputError: a margin that is not positive and finite, or an infinite difference.
    Source: the two one-sided tests are Schuirmann's, as described for SAS's PROC TTEST.

    >>> equivalence(np.array([0.02, -0.01, 0.0, 0.01, -0.03]), 0.1).p_value
    0.03125
    >>> equivalence(np.array([0.02, -0.01, 0.0, 0.01, 0.9]), 0.1).p_value
    0.53125
    """
    if isinstance(margin, bool) or not isinstance(margin, Real) or not (np.isfinite(margin) and margin > 0):
        raise InputError(f"margin = {quoted(margin)}: must be > 0 and finite")
    values = as_numbers(differences, "differences")
    return Equivalence(margin, p_above(values, -margin, seed=seed), p_above(-values, -margin, seed=seed))
