"""The result at one glance: what was reached, in how many directions the weights went, how far in each."""

from __future__ import annotations

from transformer_spectrum.vocabulary import CHANGE_NULL_LABEL

REACHED, RANKS, SPECTRUM = "Validation MAE", "Stable rank of the change", "Singular values of the change"
NULL = f"{CHANGE_NULL_LABEL}, ± 2 sd"
TEXT = (
    "Dots: the best step, whose weights are scored and whose singular values are on the right; what comes after it is "
    "thin.\nThe change is that of the {family} matrices since step 0; pale bands and lines: the same changes, their "
    "entries shuffled (mean ± 2 sd; mean)."
)


def title(optimizers: int) -> str:
    """The figure's title.

    >>> title(3), title(1)
    ('One start, three optimizers', 'One start')
    """
    return "One start, three optimizers" if optimizers == 3 else "One start"
