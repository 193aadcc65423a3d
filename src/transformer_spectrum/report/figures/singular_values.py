"""Singular values of the weights and of their change: means by rank over a family's matrices, at the tracked steps."""

from __future__ import annotations

import numpy as np

from transformer_spectrum.vocabulary import CHANGE_NULL_LABEL, START_LABEL

TITLE = "Singular values"
RANK, VALUE = "rank", "singular value (weight units)"
SUBJECTS = {"weights": "of the weights", "change": "of their change since step 0"}
"""What the table's column `of` says -> in words."""
RATIOS = {
    "weights": "singular value over the initial one",
    "change": "singular value over the shuffled one",
}
"""The same -> what its values are measured against."""
AT_ONE = f"{START_LABEL}; {CHANGE_NULL_LABEL}"
"""What ratios of 1 stand for."""
DEPTH = 100
"""Curves end at the largest value over this: the smallest would squeeze all else."""
TEXT = (
    f"Mean over a family's matrices of the i-th largest singular value, down to 1/{DEPTH} of the largest: of the "
    "weights beside the initial ones, of their change since step 0 beside that of the same change with shuffled entries"
)


def in_sight(values: np.ndarray, largest: np.ndarray | float) -> np.ndarray:
    """Which singular values the curves show.

    Args:
        values: of any shape; weight units.
        largest: the largest one of each value's curve.
    Returns:
        Booleans of that shape.

    >>> in_sight(np.array([2.0, 0.02, 0.0199, 0.0]), 2.0).tolist()
    [True, True, False, False]
    """
    return (values > 0) & (values >= largest / DEPTH)
