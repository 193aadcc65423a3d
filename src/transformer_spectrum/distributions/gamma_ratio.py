"""The variate behind the SGT, R = q G1 / G2 with G1 ~ Gamma(a), G2 ~ Gamma(q); R = G1 for q = inf.

R / q is beta prime, R / (R + q) is Beta(a, q). Everything is scalar in a and q, works with log R, and keeps its
digits for a and q from tiny to inf: near 0 and far out the leading power of R is exact to float64, in between the
incomplete beta and gamma functions are asked for the side that is small.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float
from scipy import special

Values = Float[np.ndarray, "*shape"] | np.floating
"""float64 of one shape; a scalar where that is ()."""
LARGEST_Q = 1e30  # from here on q is taken as inf: they differ by R / (2 q) relatively
STIRLING_FROM = 16.0  # the series of log gamma below is exact to 1e-17 from here on
NEWTON_STEPS = 60
NEWTON_ENDS = 1e-8  # the step after this one would be its square
EXTREME = 40.0  # e^-40 = 4e-18: a leading power whose correction is smaller is exact


def _stirling_rest(x: float) -> float:
    """log Gamma(x) - [(x - 1/2) log x - x + log(2 pi)/2] for x >= 16 (Abramowitz & Stegun 6.1.41)."""
    y = 1.0 / (x * x)
    return (1 / 12 - y * (1 / 360 - y * (1 / 1260 - y * (1 / 1680 - y * (1 / 1188 - y * 691 / 360360))))) / x


def log_gamma_ratio(q: float, d: float, rest: float) -> float:
    """log E (q / G2)^d = log [q^d Gamma(q - d) / Gamma(q)], without the cancellation of large log-gammas.

    Args:
        q: > 0, inf allowed.
        d: of any sign, q - d > 0.
        rest: q - d, from the caller, who can know it more exactly than that difference.
    Returns:
        Nats; 0 for q = inf.

    >>> round(log_gamma_ratio(3.0, 1.0, 2.0), 6)  # log(3 Gamma(2) / Gamma(3))
    0.405465
    """
    if q >= LARGEST_Q:
        return 0.0
    if min(q, rest) < STIRLING_FROM:
        return math.lgamma(rest) - math.lgamma(q) + d * math.log(q)
    return (rest - 0.5) * math.log1p(-d / q) + d + _stirling_rest(rest) - _stirling_rest(q)


def log_fall(log_r: Values, a: float, q: float) -> Values:
    """How far the density of log R has fallen below its leading power r^a: (a + q) log(1 + r/q), r for q = inf.

    Args:
        log_r: any shape.
        a: > 0.
        q: > 0, inf allowed.
    Returns:
        Nats, that shape, in [0, inf].

    >>> float(log_fall(np.float64(0.0), 1.0, 1.0).round(6))  # 2 log 2
    1.386294
    """
    if q >= LARGEST_Q:
        with np.errstate(over="ignore"):
            return np.exp(log_r)
    return (a + q) * np.logaddexp(0.0, log_r - math.log(q))


def log_slope(a: float, q: float) -> float:
    """log of lim P(R < r) / r^a as r -> 0, that is -log [a q^a B(a, q)]; nats.

    >>> round(math.exp(log_slope(1.0, 1.0)), 6)  # P(R < r) = r / (1 + r) there
    1.0
    """
    return log_gamma_ratio(q, -a, q + a) - math.lgamma(1 + a)


def tails(log_r: Values, a: float, q: float) -> tuple[Values, Values]:
    """P(R < r) and P(R > r), both with full relative accuracy.

    Args:
        log_r: any shape.
        a: > 0.
        q: > 0, inf allowed.
    Returns:
        Two arrays of that shape in [0, 1].

    >>> inner, outer = tails(np.zeros(1), 1.0, 1.0)  # at r = 1
    >>> inner.round(6).tolist(), outer.round(6).tolist()
    ([0.5], [0.5])
    """
    near = log_r < _log_near(a, q)
    with np.errstate(over="ignore"):
        start = np.exp(log_slope(a, q) + a * log_r)
        if q >= LARGEST_Q:
            r = np.exp(log_r)
            inner, outer = special.gammainc(a, r), special.gammaincc(a, r)
            return np.where(near, start, inner), np.where(near, 1 - start, outer)
        logit = log_r - math.log(q)  # of R / (R + q)
        end = np.exp(_log_end(a, q) - q * logit)
    share, rest = special.expit(logit), special.expit(-logit)
    left = logit < 0  # there 1 - rest would lose digits, otherwise 1 - share
    inner = np.where(left, special.betainc(a, q, share), special.betaincc(q, a, rest))
    outer = np.where(left, special.betaincc(a, q, share), special.betainc(q, a, rest))
    far = logit > EXTREME
    inner, outer = np.where(far, 1 - end, inner), np.where(far, end, outer)
    return np.where(near, start, inner), np.where(near, 1 - start, outer)


def root_quantile(inner: Values, outer: Values, a: float, q: float) -> Values:
    """The r^a with P(R < r) = inner and P(R > r) = outer; the smaller decides, down to 1e-290.

    Args:
        inner: any shape, in [0, 1].
        outer: that shape, 1 - inner as exactly as the caller knows it.
        a: > 0.
        q: > 0, inf allowed.
    Returns:
        That shape, in [0, inf].

    >>> root_quantile(np.array([0.75]), np.array([0.25]), 1.0, 1.0).round(6).tolist()  # r / (1 + r) = 3/4
    [3.0]
    """
    low = inner < outer
    with np.errstate(divide="ignore", invalid="ignore"):
        goal = np.log(np.where(low, inner, outer))
        log_r = _proposed(inner, outer, a, q)
        # log P(R < r) and log P(R > r) are concave in log r, so Newton's method converges from anywhere
        for _ in range(NEWTON_STEPS):
            now = np.log(np.where(low, *tails(log_r, a, q)))
            density = log_slope(a, q) + math.log(a) + a * log_r - log_fall(log_r, a, q)  # of log R
            step = np.where(low, 1.0, -1.0) * np.where(now > -np.inf, (goal - now) * np.exp(now - density), 1.0)
            step = np.where(np.isfinite(goal), step, 0.0)
            log_r = log_r + step
            if np.abs(step).max(initial=0.0) < NEWTON_ENDS:
                break
    with np.errstate(over="ignore"):
        return np.where(goal > -np.inf, np.exp(a * log_r), np.where(low, 0.0, np.inf))


def _proposed(inner: Values, outer: Values, a: float, q: float) -> Values:
    """The log r of scipy's inverses, which fail here and there, and of leading powers where they give nothing."""
    low = inner < outer
    power = (np.log(inner) - log_slope(a, q)) / a
    if q >= LARGEST_Q:
        log_r = np.log(np.where(low, special.gammaincinv(a, inner), special.gammainccinv(a, outer)))
    else:
        power = np.where(low, power, math.log(q) + (_log_end(a, q) - np.log(outer)) / q)
        share = np.where(low, special.betaincinv(a, q, inner), special.betainccinv(a, q, outer))
        rest = np.where(low, special.betainccinv(q, a, inner), special.betaincinv(q, a, outer))
        log_r = math.log(q) + np.where(share < 0.5, np.log(share) - np.log1p(-share), np.log1p(-rest) - np.log(rest))
    return np.where(np.isfinite(log_r), log_r, power)


def _log_near(a: float, q: float) -> float:
    """The log r below which P(R < r) is its leading power, whose correction is relatively r (a + q) / q."""
    return -EXTREME - (math.log1p(a / q) if q < LARGEST_Q else 0.0)


def _log_end(a: float, q: float) -> float:
    """log of lim P(R > r) (r / q)^q as r -> inf, that is -log [q B(a, q)]; nats."""
    return log_slope(a, q) + math.log(a) + (a - 1) * math.log(q)
