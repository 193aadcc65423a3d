"""Shapes of what the estimators take and give: spectra along the last axis, one number for each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from jaxtyping import Bool, Real

Spectra: TypeAlias = Real[np.ndarray, "*batch rank"]
"""Singular values or eigenvalues, those of one matrix along the last axis."""

if TYPE_CHECKING:  # numpy's scalars have all that is used of an array here
    PerSpectrum: TypeAlias = np.ndarray
    FlagPerSpectrum: TypeAlias = np.ndarray
    Values: TypeAlias = np.ndarray
else:
    PerSpectrum = Real[np.ndarray, "*batch"] | np.integer | np.floating
    """One number for each spectrum; of a single spectrum numpy may make a scalar."""
    FlagPerSpectrum = Bool[np.ndarray, "*batch"] | np.bool_
    """Yes or no for each spectrum."""
    Values = Real[np.ndarray, "..."] | np.integer | np.floating | float | int
    """Numbers of any shape, for functions that work elementwise."""
