"""Location and scale of a window, from its context alone."""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Float

from transformer_spectrum.distributions.sgt_fit import IQR_OF_NORMAL


def scale_by_context(
    values: Float[np.ndarray, "windows steps features"], context: int, scaling: Literal["standard", "robust"]
) -> tuple[Float[np.ndarray, "windows 1 features"], Float[np.ndarray, "windows 1 features"]]:
    """Location and scale of each window from its first `context` steps: the horizon must not leak in.

    Args:
        values: data units; finite.
        context: steps of context, 1 <= context < steps.
        scaling: "standard" (mean, standard deviation) or "robust" (median, interquartile range / 1.349).
    Returns:
        Location and scale, data units; a scale of 0 marks a constant context.

    >>> window = np.array([2.0, 4.0, 6.0, 1000.0]).reshape(1, 4, 1)
    >>> [float(number.round(3).item()) for number in scale_by_context(window, 3, "standard")]
    [4.0, 1.633]
    >>> [float(number.round(3).item()) for number in scale_by_context(window, 3, "robust")]
    [4.0, 1.483]
    """
    with np.errstate(over="ignore", invalid="ignore"):  # values near float64's end: `dropping` counts them
        return _location_scale(values[:, :context], scaling)


def _location_scale(steps: np.ndarray, scaling: Literal["standard", "robust"]) -> tuple[np.ndarray, np.ndarray]:
    if scaling == "robust":
        low, location, high = np.percentile(steps, [25, 50, 75], axis=1, keepdims=True)
        return location, (high - low) / IQR_OF_NORMAL  # so that robust and standard scaling agree on Gaussian data
    location, scale = steps.mean(axis=1, keepdims=True), steps.std(axis=1, keepdims=True)
    # A constant context leaves rounding noise instead of an exact zero.
    return location, np.where(np.ptp(steps, axis=1, keepdims=True) == 0, 0.0, scale)
