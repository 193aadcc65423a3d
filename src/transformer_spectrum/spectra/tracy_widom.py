"""The law of the largest eigenvalue of a matrix of independent entries (Tracy & Widom), and the edge that it gives."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from scipy.optimize import brentq
from scipy.special import airy

from transformer_spectrum.weights.matrices.spectrum_types import Values

TRACY_WIDOM_MEAN, TRACY_WIDOM_VARIANCE = -1.2065335745820, 1.607781034581  # beta = 1; Bornemann (2010), table 9
NODES, WEIGHTS = np.polynomial.legendre.leggauss(32)
REACH = 16.0  # Ai(16) < 1e-19


def tracy_widom_cdf(s: float) -> float:
    """F1(s) = det(1 - A), A(x, y) = Ai((x + y) / 2) / 2 on (s, inf): law of a largest eigenvalue, real entries.

    The determinant is that of the kernel at Gauss-Legendre nodes, which converges exponentially.

    Args:
        s: centred and scaled eigenvalue, dimensionless, > -8.
    Returns:
        In [0, 1], to about 1e-13.
    Source: Ferrari & Spohn (2005), J. Phys. A 38, eq. 1.3; Bornemann (2010), Math. Comp. 79(270).

    >>> round(tracy_widom_cdf(0.9793), 4)
    0.95
    """
    half = (REACH + max(-s, 0.0)) / 2
    x = s + (NODES + 1) * half
    root = np.sqrt(WEIGHTS * half)
    kernel = airy((x[:, None] + x) / 2)[0] / 2
    return float(np.linalg.det(np.eye(len(x)) - root[:, None] * kernel * root))


@lru_cache(maxsize=64)
def tracy_widom_quantile(level: float) -> float:
    """s with F1(s) = level, `tracy_widom_cdf`: 0.4501, 0.9793 and 2.0234 at 0.90, 0.95 and 0.99.

    Args:
        level: probability, 0.5 <= level < 1.
    Raises:
        ValueError: level is outside.

    >>> round(tracy_widom_quantile(0.95), 4)
    0.9793
    """
    if not 0.5 <= level < 1:
        raise ValueError(f"level = {level}: must be 0.5 <= level < 1")
    return float(brentq(lambda s: tracy_widom_cdf(s) - level, -3.0, 20.0, xtol=1e-10))


def edge_over_mean(large: Values, small: Values, level: float) -> Values:
    """Quantile of U = largest eigenvalue / mean square of the entries, for each pair of dimensions.

    The largest eigenvalue L is centred and scaled by n = N - 1/2 and m = M - 1/2 (Johnstone 2001, with the
    halves that make the error second order, Ma 2012): L ~ (sqrt n + sqrt m)^2 + (sqrt n + sqrt m)
    (1/sqrt n + 1/sqrt m)^(1/3) F1. The variance is estimated from the same spectrum, and that alone would halve the
    rate of false spikes (Nadler 2011). For Gaussian entries U and the mean square T are independent, L = U T and
    E T^2 = 1 + 2 / (N M): hence the first two moments of U, in which F1 keeps its form.

    Args:
        large, small: dimensions of the matrices, the larger and the smaller of each; count, >= 1.
        level: probability that the largest eigenvalue of noise lies below, 0.5 <= level < 1.
    Returns:
        As large and small, dimensionless; near (sqrt N + sqrt M)^2.

    >>> float(edge_over_mean(np.array(64), np.array(64), 0.99).round(1)), (8 + 8) ** 2
    (271.3, 256)
    """
    n, m = np.sqrt(large - 0.5), np.sqrt(small - 0.5)
    scale = (n + m) * (1 / n + 1 / m) ** (1 / 3)
    mean = (n + m) ** 2 + TRACY_WIDOM_MEAN * scale
    spread = (TRACY_WIDOM_VARIANCE * scale**2 + mean**2) / (1 + 2 / (large * small)) - mean**2
    deviations = (tracy_widom_quantile(level) - TRACY_WIDOM_MEAN) / math.sqrt(TRACY_WIDOM_VARIANCE)
    return mean + deviations * np.sqrt(np.maximum(spread, 0.0))
