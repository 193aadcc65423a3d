"""What moved: the change of each family's metric from the initial weights to the last step, against its null."""

from __future__ import annotations

TITLE = "What moved, and how far from its null"
INSIDE = 2.0
"""A change of at most so many standard deviations of the null is called within it, and lies in the grey band."""
TEXT = (
    "The change of each family's mean from the initial weights to the last step, in standard deviations of that "
    f"mean over shuffles of the initial matrices. Inside the grey band ({INSIDE:g} standard deviations) a change is no "
    "larger than what shuffling untrained weights does. A metric that every shuffle shares has no z and no point."
)
