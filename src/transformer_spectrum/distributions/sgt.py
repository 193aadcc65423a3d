"""The skewed generalized t distribution (SGT), and the one statement of its convention.

Density, with z = x - mu + m the distance from the mode and s = v sigma the scale:

    f(x) = p / (2 s q^(1/p) B(1/p, q)) [1 + r / q]^-(1/p + q),   r = |z|^p / (s (1 + lam sgn z))^p
    C_h  = q^(h/p) B((h+1)/p, q - h/p) / B(1/p, q)               E r^(h/p); exists where p q > h
    v    = 1 / sqrt((1 + 3 lam^2) C_2 - 4 lam^2 C_1^2)           unit_variance: sigma is the standard deviation
    v    = 1                                                     otherwise sigma is the raw scale
    m    = 2 s lam C_1                                           centred: mu is the mean
    m    = 0                                                     otherwise mu is the mode

q = inf is the limit [1 + r / q]^-(1/p + q) -> exp(-r), the skewed generalised error distribution. With lam = 0:
p = 2 is Student's t with 2q degrees of freedom and scale s / sqrt(2); p = 2, q = inf is the normal with standard
deviation s / sqrt(2); p = 1, q = inf is the Laplace with scale s. Tails fall like P(|X| > x) ~ x^-(p q).

Source: Theodossiou (1998), Management Science 44(12); the options as in Davis (2015), vignette of the R package sgt.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
from jaxtyping import Shaped
from scipy import optimize

from transformer_spectrum.distributions.gamma_ratio import (
    LARGEST_Q,
    Values,
    log_fall,
    log_gamma_ratio,
    log_slope,
    root_quantile,
    tails,
)
from transformer_spectrum.runtime.errors import InputError

Numbers = float | np.number | Sequence[float] | Shaped[np.ndarray, "*shape"]
"""Real numbers of any shape."""

LARGEST_LOG = 690.0  # e^690 still leaves float64 a margin for a product
LARGEST_SHAPE = 1e9  # of p and 1/q, so that neither p log |z| nor log(probability)/q overflows


@dataclass(frozen=True)
class SGT:
    """A skewed generalized t distribution; the module's docstring has the formulas.

    Args:
        mu: the mean when centred, else the mode; finite, in units of x.
        sigma: the standard deviation when unit_variance, else the raw scale s; > 0, in units of x.
        lam: skewness, -1 < lam < 1; 0 is symmetric, a share (1 + lam)/2 lies above the mode.
        p: shape of the peak, > 0 and finite: 1 Laplace-like, 2 t-like, large box-like.
        q: tail, > 0, inf allowed: smaller is heavier.
        centred: needs p q > 1.
        unit_variance: needs p q > 2.
    Raises:
        InputError (a ValueError): a parameter is out of its domain; names it, its value and the rule.
    """

    mu: float
    sigma: float
    lam: float
    p: float
    q: float
    centred: bool = True
    unit_variance: bool = True

    def __post_init__(self) -> None:
        rules = (
            ("mu", math.isfinite(self.mu), "must be finite"),
            ("sigma", 0 < self.sigma < math.inf, "must be positive and finite"),
            ("lam", -1 < self.lam < 1, "must be -1 < lam < 1"),
            ("p", 0 < self.p < math.inf, "must be positive and finite"),
            ("q", self.q > 0, "must be positive (inf allowed)"),
        )
        for name, holds, rule in rules:
            if not holds:
                raise InputError(f"{name} = {getattr(self, name):g}: {rule}")
        if self.unit_variance:
            self._require_order(2, "variance")
        if self.centred:
            self._require_order(1, "mean")
        if not self._fits_float64():
            raise InputError(
                f"p = {self.p:g} with q = {self.q:g} and sigma = {self.sigma:g}: the SGT density leaves float64's range"
            )

    def _fits_float64(self) -> bool:
        try:
            sizes = [self.log_scale, self.log_normaliser]
            if self.centred:
                sizes.append(self.log_scale + self._log_moment(1))
        except OverflowError:
            return False
        return all(abs(size) < LARGEST_LOG for size in sizes) and max(self.p, 1 / self.q) < LARGEST_SHAPE

    def _require_order(self, order: int, word: str) -> None:
        if not self.p * self.q > order:
            raise InputError(f"q = {self.q:g} with p = {self.p:g}: the SGT {word} needs p*q > {order}")

    def _log_moment(self, order: int) -> float:
        """log C_h of the module's docstring."""
        ratio = math.lgamma((order + 1) / self.p) - math.lgamma(1 / self.p)
        if self.exponential:
            return ratio
        # q - h/p in rational arithmetic: near its pole at 0 the gamma function would magnify a rounded h/p
        rest = float(Fraction(self.q) - order / Fraction(self.p))
        return ratio + log_gamma_ratio(self.q, order / self.p, rest)

    # --- constants

    @property
    def exponential(self) -> bool:
        """Whether the limit q = inf is computed."""
        return self.q >= LARGEST_Q

    @cached_property
    def log_scale(self) -> float:
        """log s."""
        if not self.unit_variance:
            return math.log(self.sigma)
        first, second, lam2 = self._log_moment(1), self._log_moment(2), self.lam**2
        # >= 1 - lam^2 > 0, since C_1^2 <= C_2
        rest = 1 + 3 * lam2 - 4 * lam2 * math.exp(2 * first - second)
        return math.log(self.sigma) - 0.5 * (second + math.log(rest))

    @property
    def scale(self) -> float:
        """s, in units of x."""
        return math.exp(self.log_scale)

    @cached_property
    def shift(self) -> float:
        """m, the mean minus the mode when centred, else 0; in units of x."""
        return 2 * self.lam * math.exp(self.log_scale + self._log_moment(1)) if self.centred else 0.0

    @property
    def mode(self) -> float:
        """mu - m, where the density is largest; in units of x."""
        return self.mu - self.shift

    @cached_property
    def log_normaliser(self) -> float:
        """log f at the mode, log [p / (2 s q^(1/p) B(1/p, q))]; nats."""
        return log_slope(1 / self.p, self.q) - self.log_scale - math.log(2)

    # --- density, distribution function and quantiles

    def log_power(self, x: Numbers) -> Values:
        """log r, the scaled distance from the mode to the power p, logged; -inf at the mode."""
        z = np.asarray(x, dtype=np.float64) - self.mode
        with np.errstate(divide="ignore"):
            return self.p * (np.log(np.abs(z)) - self.log_scale - np.log1p(np.where(z < 0, -self.lam, self.lam)))

    def logpdf(self, x: Numbers) -> Values:
        """log f(x); nats, shape of x."""
        return self.log_normaliser - log_fall(self.log_power(x), 1 / self.p, self.q)

    def pdf(self, x: Numbers) -> Values:
        """f(x); per unit of x, shape of x."""
        return np.exp(self.logpdf(x))

    def cdf(self, x: Numbers) -> Values:
        """P(X <= x) in [0, 1], shape of x; relatively accurate in the lower tail."""
        inner, outer = tails(self.log_power(x), 1 / self.p, self.q)
        below = (1 - self.lam) / 2
        return np.where(np.asarray(x) > self.mode, below + (1 + self.lam) / 2 * inner, below * outer)[()]

    def sf(self, x: Numbers) -> Values:
        """P(X > x) in [0, 1], shape of x; relatively accurate in the upper tail."""
        inner, outer = tails(self.log_power(x), 1 / self.p, self.q)
        share = (1 + self.lam) / 2
        return np.where(np.asarray(x) > self.mode, share * outer, share + (1 - self.lam) / 2 * inner)[()]

    def _quantile(self, lower: Values, upper: Values) -> Values:
        below, share = (1 - self.lam) / 2, (1 + self.lam) / 2
        left = lower < below
        # P(R > r) of the side that holds x, and its complement, each from the smaller of lower and upper
        outer = np.where(left, lower / below, upper / share)
        inner = np.where(left, (below - lower) / below, (share - upper) / share)
        distance = root_quantile(np.clip(inner, 0.0, 1.0), np.clip(outer, 0.0, 1.0), 1 / self.p, self.q)
        side = np.where(left, -(1 - self.lam), 1 + self.lam)
        with np.errstate(over="ignore"):
            return (self.mode + self.scale * side * distance)[()]

    def ppf(self, probability: Numbers) -> Values:
        """The x with P(X <= x) = probability; -inf at 0, inf at 1; units and shape of x.

        Raises:
            ValueError: a probability is outside [0, 1].
        """
        lower = _probability(probability)
        return self._quantile(lower, 1 - lower)

    def isf(self, probability: Numbers) -> Values:
        """The x with P(X > x) = probability: the upper tail beyond what 1 - probability can say; as ppf."""
        upper = _probability(probability)
        return self._quantile(1 - upper, upper)

    def rvs(self, size: int | tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
        """Exact draws x = mode +- s (1 +- lam) (q G1 / G2)^(1/p), sign + with probability (1 + lam)/2.

        G1 ~ Gamma(1/p), G2 ~ Gamma(q), and q / G2 = 1 for q = inf. Since G1^(1/p) is distributed as U G^(1/p) with
        U ~ Uniform(0, 1) and G ~ Gamma(1 + 1/p), one uniform W gives sign and U together, and nothing underflows:
        x = mode + 2 s (W - (1 - lam)/2) (q G / G2)^(1/p).

        Args:
            size: shape of the result.
            generator: all randomness comes from it.
        Returns:
            float64 in units of x; infinite where a draw is too large for float64 (p q far below 1).
        """
        position = generator.random(size) - (1 - self.lam) / 2
        log_gamma = np.log(generator.standard_gamma(1 + 1 / self.p, size))
        if not self.exponential:
            # Gamma(q) = Gamma(1 + q) U^(1/q), logged, for the sake of small q
            log_gamma -= np.log(generator.standard_gamma(1 + self.q, size)) - math.log(self.q)
            log_gamma += generator.standard_exponential(size) / self.q
        with np.errstate(over="ignore"):
            return self.mode + 2 * self.scale * position * np.exp(log_gamma / self.p)

    def mad(self) -> float:
        """The m with P(|X - mu| <= m) = 1/2: the median absolute deviation, of the error when mu is 0; in units of x.

        It exists for every shape and is proportional to sigma. About mu, as a loss sees errors about its centre; for
        lam = 0, where mu is the median, it is the upper quartile minus mu.

        >>> round(SGT(0.0, 2.0, 0.0, 2.0, math.inf).mad(), 4)  # of a normal 0.6745 standard deviations
        1.349
        """
        quartiles = np.abs(self.ppf([0.25, 0.75]) - self.mu)
        if self.lam == 0:
            return float(quartiles[1])
        widest = float(quartiles.max())  # from mu so far both ways holds half of the draws or more

        def excess(share: float) -> float:
            return float(self.cdf(self.mu + share * widest) - self.cdf(self.mu - share * widest)) - 0.5

        return widest * float(optimize.brentq(excess, 0.0, 1.0, xtol=1e-15)) if excess(1.0) > 0 else widest

    # --- moments

    def _signed_moment(self, order: int, word: str) -> float:
        """E z^h / (s sqrt(C_2))^h for h >= 2; z is the distance from the mode."""
        self._require_order(order, word)
        sides = (1 + self.lam) ** (order + 1) + (-1) ** order * (1 - self.lam) ** (order + 1)
        return 0.5 * sides * math.exp(self._log_moment(order) - 0.5 * order * self._log_moment(2))

    def _central(self) -> tuple[float, float]:
        """Mean and variance of z / (s sqrt(C_2))."""
        mean = 2 * self.lam * math.exp(self._log_moment(1) - 0.5 * self._log_moment(2))
        return mean, 1 + 3 * self.lam**2 - mean**2

    def mean(self) -> float:
        """E X; in units of x. Raises ValueError unless p q > 1."""
        self._require_order(1, "mean")
        return self.mu if self.centred else self.mu + 2 * self.lam * math.exp(self.log_scale + self._log_moment(1))

    def variance(self) -> float:
        """E (X - E X)^2; in units of x squared. Raises ValueError unless p q > 2."""
        self._require_order(2, "variance")
        return self._central()[1] * math.exp(2 * self.log_scale + self._log_moment(2))

    def skewness(self) -> float:
        """E (X - E X)^3 / variance^(3/2); dimensionless, 0 at lam = 0. Raises ValueError unless p q > 3."""
        third = self._signed_moment(3, "skewness")
        mean, variance = self._central()
        return (third - 3 * mean * variance - mean**3) / variance**1.5

    def kurtosis(self) -> float:
        """E (X - E X)^4 / variance^2; dimensionless, 3 for the normal. Raises ValueError unless p q > 4."""
        fourth, third = self._signed_moment(4, "kurtosis"), self._signed_moment(3, "skewness")
        mean, variance = self._central()
        return (fourth - 4 * mean * third + 6 * mean**2 * variance + 3 * mean**4) / variance**2


def _probability(values: Numbers) -> Values:
    values = np.asarray(values, dtype=np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError("probabilities must be in [0, 1]")
    return values
