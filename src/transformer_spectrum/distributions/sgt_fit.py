"""Maximum-likelihood fit of the SGT in the raw convention (neither centred nor of unit variance).

Raw, because its likelihood knows no domain but p, q > 0: a sample whose variance does not exist is fitted as well
as any. The search runs on (mu, log sigma, lam, log p, log q) of the sample scaled by its median and interquartile
range, by L-BFGS-B with the analytic gradient from several starts. It draws no random numbers.

Source: Davis (2015), vignette of the R package sgt, for the likelihood.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

from transformer_spectrum.distributions.sgt import SGT, Numbers

FEWEST = 20  # points; on fewer, five parameters say nothing
IQR_OF_NORMAL = 1.3489795003921634
SIGMA_BOUNDS = (1e-4, 1e4)  # in units of the sample's interquartile range / 1.349
LAM_BOUNDS = (-0.999, 0.999)
P_BOUNDS = (0.2, 50.0)
Q_BOUNDS = (0.02, 1000.0)
STARTS = ((2.0, 50.0), (2.0, 1.0), (1.2, 10.0), (4.0, 0.5))  # (p, q): light, heavy, peaked, box with heavy tails
AGREEMENT = 0.5  # nats of the whole log-likelihood: what one standard error of a parameter costs
MEANING = {  # of ending at the lower and the upper bound
    "mu": ("the mode is the smallest point", "the mode is the largest point"),
    "sigma": ("the sample concentrates in a point", "the sample has no scale"),
    "lam": ("nothing above the mode", "nothing below the mode"),
    "p": ("a peak sharper than the fit allows", "flat between sharp edges"),
    "q": ("tails heavier than the fit allows", "tails no heavier than exponential"),
}


@dataclass(frozen=True)
class SGTFit:
    """A fitted distribution and how far to trust it.

    Attributes:
        sgt: in the raw convention, units of the sample.
        log_likelihood: of the whole sample; nats.
        n: points in the sample.
        converged: whether the two best starts came to the same log-likelihood, to half a nat.
        reason: why not, and each parameter that ended at its bound; empty when there is nothing to say.
    """

    sgt: SGT
    log_likelihood: float
    n: int
    converged: bool
    reason: str


def _scores(x: np.ndarray, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """log f at each point (n,) and its derivatives (5, n) by mu, log sigma, lam, log p, log q."""
    mu, log_sigma, lam, log_p, log_q = theta
    p, q = math.exp(log_p), math.exp(log_q)
    sgt = SGT(mu, math.exp(log_sigma), lam, p, q, centred=False, unit_variance=False)
    log_r = sgt.log_power(x)
    fall = np.logaddexp(0.0, log_r - log_q)
    share = np.exp(log_r - log_q - fall)  # r / (r + q)
    pull = (1 + p * q) * share
    side = np.where(x < mu, -1.0, 1.0)
    distance = np.abs(x - mu)
    log_r = np.where(distance > 0, log_r, 0.0)  # share is 0 there
    digamma = special.digamma(q + 1 / p)
    by = np.empty((5, x.size))
    by[0] = np.divide(side * pull, distance, out=np.zeros_like(x), where=distance > 0)
    by[1] = pull - 1
    by[2] = side * pull / (1 + side * lam)
    by[3] = 1 + (special.digamma(1 / p) - digamma + log_q + fall) / p - pull * log_r / p
    by[4] = q * (digamma - special.digamma(q) - fall) - 1 / p + pull / p
    return sgt.log_normaliser - (1 / p + q) * fall, by


def _bounds(x: np.ndarray, p: float | None) -> np.ndarray:
    """(5, 2) bounds of theta for the scaled sample."""
    shape = P_BOUNDS if p is None else (p, p)
    return np.array([(x.min(), x.max()), np.log(SIGMA_BOUNDS), LAM_BOUNDS, np.log(shape), np.log(Q_BOUNDS)])


def _climb(x: np.ndarray, p: float, q: float, bounds: np.ndarray) -> tuple[float, np.ndarray]:
    """Log-likelihood and theta at the top of the hill that starts at (p, q), half of the sample within the MAD."""
    unit = SGT(0.0, 1.0, 0.0, p, q, centred=False, unit_variance=False)
    deviation = float(np.median(np.abs(x))) or 1.0  # the sample's median is 0
    start = np.array([0.0, math.log(deviation / unit.ppf(0.75)), 0.0, math.log(p), math.log(q)])

    def objective(theta: np.ndarray) -> tuple[float, np.ndarray]:
        log_density, by = _scores(x, theta)
        return -float(log_density.mean()), -by.mean(axis=1)

    optimum = optimize.minimize(
        objective,
        np.clip(start, *bounds.T),
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": 200, "ftol": 1e-11, "gtol": 1e-7},
    )
    return -float(optimum.fun) * x.size, optimum.x


def fit_sgt(x: Numbers, p: float | None = None) -> SGTFit:
    """The SGT that maximises sum log f(x_i), with sigma, lam, p and q inside their bounds.

    Args:
        x: any shape, at least 20 finite values that are not all equal.
        p: the shape of the peak, to hold it fixed; > 0.
    Returns:
        The fit. Bounds: |lam| <= 0.999, 0.2 <= p <= 50 unless fixed, 0.02 <= q <= 1000, the mode inside the sample,
        sigma between 1e-4 and 1e4 times the sample's interquartile range / 1.349 (its standard deviation where
        that is 0).
    Raises:
        ValueError: too few points, one that is not finite, all equal, or p out of its domain.

    >>> normal = special.ndtri((np.arange(200) + 0.5) / 200)
    >>> fit = fit_sgt(normal)
    >>> fit.n, fit.sgt.q > 20  # tails no heavier than a normal's
    (200, True)
    """
    x = np.asarray(x, dtype=np.float64).ravel()
    if p is not None and not 0 < p < math.inf:
        raise ValueError(f"p = {p:g}: must be positive and finite")
    if x.size < FEWEST:
        raise ValueError(f"{x.size} points: an SGT fit needs at least {FEWEST}")
    if not np.isfinite(x).all():
        raise ValueError("an SGT fit needs finite points")
    if x.min() == x.max():
        raise ValueError("all points are equal: an SGT fit needs a spread")
    lowest, location, highest = np.percentile(x, [25, 50, 75])
    spread = (highest - lowest) / IQR_OF_NORMAL or x.std()
    scaled = (x - location) / spread
    bounds = _bounds(scaled, p)
    starts = dict.fromkeys((p or start_p, q) for start_p, q in STARTS)
    tops = sorted((_climb(scaled, *start, bounds) for start in starts), key=lambda top: -top[0])
    (best, theta), (second, _) = tops[:2]
    mu, log_sigma, lam, log_p, log_q = theta.tolist()
    shape = math.exp(log_p) if p is None else p
    sgt = SGT(
        float(location + spread * mu), float(spread * math.exp(log_sigma)), lam, shape, math.exp(log_q), False, False
    )
    reasons = _at_bounds(sgt, theta, bounds)
    converged = best - second < AGREEMENT
    if not converged:
        reasons.insert(0, f"the two best starts ended {best - second:.2g} nats apart{_atom(x)}")
    return SGTFit(sgt, float(sgt.logpdf(x).sum()), x.size, converged, "; ".join(reasons))


def _at_bounds(sgt: SGT, theta: np.ndarray, bounds: np.ndarray) -> list[str]:
    reasons = []
    for name, at, (lower, upper) in zip(MEANING, theta, bounds, strict=True):
        near = 1e-6 * (upper - lower)
        if lower < upper and (at <= lower + near or at >= upper - near):
            meaning = MEANING[name][int(at >= upper - near)]
            reasons.append(f"{name} at its bound {getattr(sgt, name):.4g}: {meaning}")
    return reasons


def _atom(x: np.ndarray) -> str:
    values, counts = np.unique(x, return_counts=True)
    most = counts.argmax()
    if counts[most] == 1:
        return ""
    return f"; {counts[most] / x.size:.2%} of the points equal {values[most]:.4g}, which no density describes"
