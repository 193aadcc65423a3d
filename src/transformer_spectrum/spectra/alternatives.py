"""Maximum-likelihood fits of the tails that a power law is compared with, on x >= xmin.

All three are exponential families, so each log-likelihood is concave in its natural parameters and its maximum,
where there is one, is the only one. Values come in units of xmin: z = x / xmin >= 1, and y = ln z.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import brentq
from scipy.special import erfcx, log_ndtr

Tail = Float[np.ndarray, " n"]
"""Of the values of one tail: z = x / xmin, or y = ln z."""

POWER_LAW_LIMIT = "the alternative comes nearest as it tends to the power law itself"
TOO_NARROW = "the tail is too narrow to tell alpha from the rate"
SINGULAR = 1e-12  # 1 - r^2 of two parameters that float64 cannot tell apart
STEPS_EXHAUSTED = "Newton's method did not converge"
FARTHEST_CUT = 1e3  # standard deviations: a lognormal cut off so far out differs from a power law by 1e-12 nats a value
UNCUT = 40.0  # standard deviations: a normal whose mean lies so far above the cut does not feel it
HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)
STEPS = 200
FRACTIONS = 0.5 ** np.arange(60)  # of a step, until one gains what it should
NODES, WEIGHTS = np.polynomial.legendre.leggauss(128)
NEGLIGIBLE = 1e-15  # nats a value
DROP = 42.0  # nats below the peak, where an integrand ends: e^-42 is below float64's eps^2.6


class AlternativeFit(NamedTuple):
    """A fitted alternative.

    Attributes:
        log_density: (n,) of z = x / xmin; nats.
        parameters: in units of x.
        reason: why there is no best fit; empty where there is.
    """

    log_density: Float[np.ndarray, " n"]
    parameters: Mapping[str, float]
    reason: str


def exponential_tail(relative: Tail, logs: Tail, xmin: float) -> AlternativeFit:
    """ln q(z) = ln r - r (z - 1), r = 1 / mean(z - 1).

    Args:
        relative: z of the tail, >= 1, not all 1.
        logs: y = ln z.
        xmin: where the tail begins; units of eigenvalues.

    >>> relative = np.array([1.0, 2.0, 3.0])
    >>> exponential_tail(relative, np.log(relative), xmin=2.0).parameters
    {'rate': 0.5}
    """
    above = relative - 1.0
    rate = 1.0 / float(above.mean())
    return AlternativeFit(math.log(rate) - rate * above, {"rate": rate / xmin}, "")


def lognormal_tail(relative: Tail, logs: Tail, xmin: float) -> AlternativeFit:
    """ln q(z) = -y - ln s - (y - m)^2 / (2 s^2) - ln sqrt(2 pi) - ln P(Z > h), h = -m / s the cut in deviations.

    y is normal, cut off below 0. Its first two moments give an equation for h alone: var(y) / mean(y)^2 =
    (1 - h d) / d^2 - 1 with d = E[Z - h | Z > h], which runs from 0 to 1 as h grows. At 1 and above there is no best
    fit: the normal tends to an exponential of y, which is the power law of z.

    Args:
        relative: z of the tail, >= 1, not all 1.
        logs: y = ln z.
        xmin: where the tail begins; units of eigenvalues.

    >>> logs = np.array([0.9, 1.0, 1.1])  # far above the cut, where the lognormal is whole
    >>> fit = lognormal_tail(np.exp(logs), logs, xmin=1.0)
    >>> round(fit.parameters["mu"], 3), round(fit.parameters["sigma"], 3)
    (1.0, 0.082)
    """
    mean, deviation = float(logs.mean()), float(logs.std())
    variation = (deviation / mean) ** 2

    def beyond_observed(cut: float) -> float:
        distance = _mean_beyond(cut)
        return (1.0 - cut * distance) / distance**2 - 1.0 - variation

    if beyond_observed(FARTHEST_CUT) <= 0:
        slope = 1.0 / mean
        return AlternativeFit(
            math.log(slope) - (slope + 1.0) * logs, {"mu": -math.inf, "sigma": math.inf}, POWER_LAW_LIMIT
        )
    if variation < UNCUT**-2:
        cut, scale = -mean / deviation, deviation
    else:
        cut = brentq(beyond_observed, -UNCUT - 1.0, FARTHEST_CUT, xtol=1e-12)
        scale = mean / _mean_beyond(cut)
    standard = logs / scale
    if cut > 0:  # (y - m)^2 / (2 s^2) without h^2 / 2, which Mills' ratio holds
        log_density = -standard * (0.5 * standard + cut) - _log_mills(cut)
    else:
        log_density = -0.5 * (standard + cut) ** 2 - HALF_LOG_2PI - log_ndtr(-cut)
    log_density -= logs + math.log(scale)
    return AlternativeFit(log_density, {"mu": math.log(xmin) - cut * scale, "sigma": scale}, "")


def _log_mills(cut: float) -> float:
    """ln of Mills' ratio P(Z > h) / density(h), without the cancellation of the two."""
    if cut > 0:
        return math.log(math.sqrt(math.pi / 2.0) * erfcx(cut / math.sqrt(2.0)))
    return float(0.5 * cut**2 + HALF_LOG_2PI + log_ndtr(-cut))


def _mean_beyond(cut: float) -> float:
    """E[Z - h | Z > h] of the standard normal; by its asymptotic series where the difference would cancel."""
    if cut > 50.0:
        inverse = 1.0 / cut**2
        return (1.0 - inverse * (2.0 - inverse * (10.0 - inverse * (74.0 - inverse * 706.0)))) / cut
    return math.exp(-_log_mills(cut)) - cut


def truncated_power_law_tail(relative: Tail, logs: Tail, xmin: float) -> AlternativeFit:
    """ln q(z) = -y - b y - r w - ln I, w = e^y - 1 - y, b = alpha - 1 + r, I the integral of e^(-b y - r w), y >= 0.

    Newton's method on the two means it must match, of y and of w; the log-likelihood is concave in b and r. If the
    power law's own mean of w does not exceed the observed one, the likelihood falls with r from the start and the
    best rate is 0: the power law.

    Args:
        relative: z of the tail, >= 1, not all 1.
        logs: y = ln z.
        xmin: where the tail begins; units of eigenvalues.

    >>> relative = np.array([1.0, 1.0, 1.0, 1.0, 60.0])  # no cut: a power law is heavy enough
    >>> truncated_power_law_tail(relative, np.log(relative), xmin=1.0).parameters["rate"]
    0.0
    """
    excess = np.expm1(logs) - logs
    mean = np.array([logs.mean(), excess.mean()])
    slope = 1.0 / mean[0]
    if slope > 1.0 and 1.0 / (slope * (slope - 1.0)) <= mean[1]:
        return AlternativeFit(math.log(slope) - (slope + 1.0) * logs, {"alpha": float(slope + 1.0), "rate": 0.0}, "")
    natural = np.array([slope, 1.0 / excess.max()])
    integral, matched, covariance = _cumulants(*natural)
    value = -natural @ mean - integral
    for _ in range(STEPS):
        gradient = matched - mean
        (yy, yw), (_, ww) = covariance
        determinant = yy * ww - yw * yw
        if not determinant > SINGULAR * yy * ww:
            return _unknown(len(logs), TOO_NARROW)
        step = np.array([ww * gradient[0] - yw * gradient[1], yy * gradient[1] - yw * gradient[0]]) / determinant
        if step[1] < -0.9 * natural[1]:  # r stays positive, and b goes where it is best beside that r
            step[1] = -0.9 * natural[1]
            step[0] = (gradient[0] - yw * step[1]) / yy
        promised = gradient @ step  # nats a value, about twice what the step gains
        for fraction in FRACTIONS:
            proposal = natural + fraction * step
            integral, matched, covariance = _cumulants(*proposal)
            reached = -proposal @ mean - integral
            if reached - value >= 1e-4 * fraction * promised or fraction * promised < NEGLIGIBLE:
                break
        natural, value = proposal, reached
        if promised < NEGLIGIBLE:
            break
    else:
        return _unknown(len(logs), STEPS_EXHAUSTED)
    b, rate = map(float, natural)
    return AlternativeFit(
        -(1.0 + b) * logs - rate * excess - integral, {"alpha": 1.0 + b - rate, "rate": rate / xmin}, ""
    )


def _unknown(count: int, reason: str) -> AlternativeFit:
    return AlternativeFit(np.full(count, math.nan), {"alpha": math.nan, "rate": math.nan}, reason)


def _cumulants(b: float, rate: float) -> tuple[float, np.ndarray, np.ndarray]:
    """Of the density e^(-b y - rate w), w = e^y - 1 - y, on y >= 0: ln of its integral, mean and covariance of (y, w).

    By Gauss-Legendre between the points where the integrand is negligible beside its peak. At a distance d from it
    the exponent has fallen by (b - rate) d + c (e^d - 1), c = rate e^peak: two terms that bound d from above, each
    alone where both are positive.
    """
    exponent = b - rate
    peak = max(0.0, math.log(-exponent / rate)) if exponent < 0 else 0.0
    steep = rate * math.exp(peak)
    if exponent >= 0:
        right = math.log1p(DROP / steep)
        right = min(right, DROP / exponent) if exponent > 0 else right
    else:  # c (e^d - 1 - d) is at least c d^2 / 2, and c e^d / 2 from d = 1.7 on
        right = min(math.sqrt(2.0 * DROP / steep), max(1.7, math.log(2.0 * DROP / steep)))
    left = 0.0
    if peak > 0:  # c (e^-d - 1 + d) is at least c d^2 / 3 up to d = 1.5, and c (d - 1)
        left = math.sqrt(3.0 * DROP / steep)
        left = min(peak, left if left <= 1.5 else 1.0 + DROP / steep)
    half = 0.5 * (right + left)
    y = peak - left + half * (1.0 + NODES)
    w = np.expm1(y) - y
    highest = -b * peak - rate * (math.expm1(peak) - peak)
    weights = half * WEIGHTS * np.exp(-b * y - rate * w - highest)
    total = weights.sum()
    shares = weights / total
    points = np.stack([y, w])
    mean = points @ shares
    centred = points - mean[:, None]
    return math.log(total) + highest, mean, (centred * shares) @ centred.T
