"""Which windows no training can use: with missing values, a constant context, no scale, or beyond float32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from transformer_spectrum.data.windows.arrays import Windows
from transformer_spectrum.data.windows.scaling import scale_by_context


def usable_windows(
    pieces: Sequence[tuple[str, int, np.ndarray]], context: int, scaling: Literal["standard", "robust"]
) -> tuple[Windows | None, dict[str, int]]:
    """Scales windows and drops those that cannot be used; a window belongs to the first reason that holds.

    Args:
        pieces: (entity, start, (steps, features) values in data units) of each window.
        context: steps of context, 1 <= context < steps.
        scaling: see `scale_by_context`.
    Returns:
        What is left, None where that is nothing; and how many were cut, dropped for each reason, and are left.

    >>> rising, flat = np.arange(4.0).reshape(4, 1), np.array([[7.0], [7.0], [7.0], [9.0]])
    >>> windows, counts = usable_windows([("SE", 0, rising), ("MT", 0, flat)], 3, "standard")
    >>> windows.entity.tolist(), counts["dropped_constant"], counts["windows"]
    (['SE'], 1, 1)
    """
    finite = [piece for piece in pieces if np.isfinite(piece[2]).all()]
    counts = {"cut": len(pieces), "dropped_missing_values": len(pieces) - len(finite)}
    if finite:
        values = np.stack([piece[2] for piece in finite])
        location, scale = scale_by_context(values, context, scaling)
        constant = (np.ptp(values[:, :context], axis=1) == 0).any(axis=-1)
        scaleless = ~constant & ~(scale > 0).all(axis=(1, 2))
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = ((values - location) / np.where(scale > 0, scale, 1.0)).astype(np.float32)
        overflow = ~(constant | scaleless) & ~np.isfinite(scaled).all(axis=(1, 2))
        usable = ~(constant | scaleless | overflow)
    else:
        usable = constant = scaleless = overflow = np.zeros(0, dtype=bool)
    counts["dropped_constant"] = int(constant.sum())
    counts["dropped_zero_scale"] = int(scaleless.sum())  # an interquartile range of 0 under robust scaling
    counts["dropped_overflow"] = int(overflow.sum())
    counts["windows"] = int(usable.sum())
    if not usable.any():
        return None, counts
    scaled = scaled[usable]
    windows = Windows(
        context=scaled[:, :context],
        target=scaled[:, context:],
        location=location[usable],
        scale=scale[usable],
        entity=np.array([piece[0] for piece in finite])[usable],
        start=np.array([piece[1] for piece in finite], dtype=np.int64)[usable],
    )
    return windows, counts
