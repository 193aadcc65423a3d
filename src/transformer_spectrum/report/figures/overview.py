"""The result at one glance: what was reached, what it did to the stable rank, and to one family's spectrum."""

from __future__ import annotations

from transformer_spectrum.vocabulary import BAND_MEANING

LOSS, RANKS, SPECTRUM = "Validation loss", "Stable rank", "Singular values"
CHANGE = "change of the family's mean since step 0 (%)"
TEXT = f"Stable ranks and singular values are those of the last step; the band is the {BAND_MEANING}."


def title(optimizers: int) -> str:
    """The figure's title.

    >>> title(3), title(1)
    ('One start, three optimizers', 'One start')
    """
    return "One start, three optimizers" if optimizers == 3 else "One start"
