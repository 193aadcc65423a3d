"""Secondary endpoints: the share of false ones among those that are called different is held down."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.stats import false_discovery_control

from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.study.inference.signflip import as_numbers


def benjamini_hochberg(p_values: Float[np.ndarray, " tests"]) -> Float[np.ndarray, " tests"]:
    """q-values of Benjamini and Hochberg's procedure: min over p_j >= p_i of p_j m / rank_j.

    Rejecting all q <= level keeps the expected share of false rejections at most `level` where the tests are
    independent or positively dependent.

    Args:
        p_values: in [0, 1]; NaN = no test, which does not count among the m.
    Returns:
        In [0, 1], NaN where there is no p.
    Raises:
        InputError: a p-value outside.

    >>> benjamini_hochberg(np.array([0.01, np.nan, 0.04, 0.03])).tolist()
    [0.03, nan, 0.04, 0.04]
    """
    p_values = as_numbers(p_values, "p_values")
    if p_values.ndim != 1:
        raise InputError(f"p_values of shape {p_values.shape}: must be (tests,)")
    q_values = np.full(len(p_values), np.nan)
    tested = ~np.isnan(p_values)
    outside = p_values[tested & ~((p_values >= 0) & (p_values <= 1))]
    if len(outside):
        raise InputError(f"p_values: {outside[0]}: must be >= 0 and <= 1; NaN = no test")
    if tested.any():
        q_values[tested] = false_discovery_control(p_values[tested], method="bh")
    return q_values
