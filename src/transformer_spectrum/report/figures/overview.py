"""The result at one glance: what was reached, in how many directions the weights went, how far in each."""

from __future__ import annotations

from collections.abc import Sequence

from transformer_spectrum.vocabulary import CHANGE_NULL_LABEL

REACHED, RANKS, SPECTRUM = "Validation MAE", "Stable rank of the change", "Singular values of the change"
NULL = f"{CHANGE_NULL_LABEL}, ± 2 sd"
TEXT = (
    "Dots: the best step, whose weights are scored and whose singular values are on the right; what comes after it is "
    "thin.\nThe change is that of the {family} matrices since step 0; pale bands and lines: the same changes, their "
    "entries shuffled (mean ± 2 sd; mean)."
)
MOVING = ("feed_forward", "encoder_gates", "decoder_gates")
"""Families that move most: those of a transformer, those of an LSTM."""


def title(optimizers: int) -> str:
    """The figure's title.

    >>> title(3), title(1)
    ('One start, three optimizers', 'One start')
    """
    return "One start, three optimizers" if optimizers == 3 else "One start"


def moving_family(families: Sequence[str], ranks: Sequence[int]) -> str:
    """The family that the figure shows: feed-forward or gates, else any; of those with the largest rank the first.

    Args:
        families: labels.
        ranks: of each one's matrices.

    >>> moving_family(["embedding", "encoder_gates_16x4", "encoder_gates_16x16"], [16, 4, 16])
    'encoder_gates_16x16'
    """
    ranked = dict(zip(families, ranks, strict=True))
    for start in (*MOVING, ""):
        candidates = [family for family in families if family.startswith(start)]
        if candidates:
            return max(candidates, key=ranked.__getitem__)
    raise ValueError("no families")
