"""What moved: each family's metric at the best step of each training, against its null."""

from __future__ import annotations

TITLE = "What moved, and how far from its null"
INSIDE = 2.0
"""An effect of at most so many standard deviations of the null is called within it, and lies in the grey band."""
TEXT = (
    "The difference of each family's mean at the best step from its null, in standard deviations of the null's "
    "draws: of "
    "the matrices, the initial ones plus their change with shuffled entries; of the change, that change with shuffled "
    f"entries. Inside the grey band ({INSIDE:g} standard deviations) an effect is no larger than what the null's own "
    f"draws "
    "do. A metric whose null has no usable spread has no point."
)
