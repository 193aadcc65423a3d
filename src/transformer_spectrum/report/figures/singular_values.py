"""Singular values: the mean over a family's matrices of the i-th largest one, at the tracked steps."""

from __future__ import annotations

import numpy as np

TITLE = "Singular values"
RANK, RATIO, VALUE = "rank", "singular value over the initial one", "singular value (weight units)"
DEPTH = 100
"""Curves end at the largest value over this: the smallest would squeeze all else."""
TEXT = f"Mean over a family's matrices of the i-th largest singular value, down to 1/{DEPTH} of the largest"


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
