"""Is the tail a power law? A bootstrap test of the fit, and likelihood ratios against three other tails.

A small D is no proof: every spectrum has an xmin above which some power law comes near. The bootstrap asks how
often samples of the fitted power law lie as far from their own fit; the ratio asks whether another tail does better.
Both are made for independent values. Eigenvalues repel each other and lie more evenly than those, so that most noise
passes, and nearly all noise with one spike (docs/spectra.md): no evidence of a heavy tail without `spike_or_tail`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np

from transformer_spectrum.spectra.alternatives import (
    exponential_tail,
    lognormal_tail,
    truncated_power_law_tail,
)
from transformer_spectrum.spectra.power_law import Distance, clauset_fit
from transformer_spectrum.weights.matrices.energy import checked_spectra
from transformer_spectrum.weights.matrices.spectrum_types import Spectra

Alternative = Literal["lognormal", "exponential", "truncated_power_law"]
ALTERNATIVES = {
    "lognormal": lognormal_tail,
    "exponential": exponential_tail,
    "truncated_power_law": truncated_power_law_tail,
}
VALUES = 1 << 22  # drawn at a time: 32 MiB
LARGEST_LOG = 700.0  # exp of it is the largest float64 but for a factor e^9


class GoodnessOfFit(NamedTuple):
    """How unusual the distance of a fit is under its own power law.

    Attributes:
        p_value: share of the drawn spectra whose D is at least the observed one, in [0, 1]. Clauset et al. reject
            the power law at 0.1 and below. It is conservative, not uniform: of independent values from a power law
            4 to 7 % are rejected at 0.1. 0 and 1 are bounds: no draw reached it, so p is below about 1 / draws.
        distance: observed D, in [0, 1].
        draws: count.
        standard_error: of p_value by the number of draws; dimensionless, > 0.
    """

    p_value: float
    distance: float
    draws: int
    standard_error: float


class LikelihoodRatio(NamedTuple):
    """Power law against an alternative, both fitted by maximum likelihood above one xmin.

    Attributes:
        ratio: log-likelihood of the power law less that of the alternative; nats, positive for the power law. Only
            the exponential's can be: the power law is a limit of the lognormal and a member of the truncated law.
        normalised: ratio / (sqrt(n) * standard deviation of its n terms), dimensionless; 0 where all are equal.
        p_value: of a ratio so far from 0 if both were equally good, in [0, 1]: by Vuong's normal limit, or by
            chi-square with one degree of freedom where the power law is a member of the alternative. The
            lognormal's rejects far too rarely: under a power law its ratio is close to 0, and often 0.
        parameters: of the alternative, by name; in the eigenvalues' unit or its inverse.
        converged: whether the alternative has a best fit. If not, `reason` names why; ratio, normalised and p_value
            are those of the limit if there is one, and NaN if there is none.
        reason: empty where converged.
    """

    ratio: float
    normalised: float
    p_value: float
    parameters: Mapping[str, float]
    converged: bool
    reason: str


def goodness_of_fit(
    eigenvalues: Spectra,
    *,
    min_tail: int,
    distance: Distance = "two_sided",
    draws: int,
    generator: np.random.Generator,
) -> GoodnessOfFit:
    """p = share of D* >= D, D* the distance of a spectrum drawn from the fitted model and fitted anew.

    A drawn value is, with probability tail / n, from the fitted power law above xmin and else one of the eigenvalues
    below it. Each drawn spectrum gets its own xmin. Zeros are left out: they belong to no tail.

    Args:
        eigenvalues: (n,), any order and unit.
        min_tail: as in `clauset_fit`, for the observed and the drawn spectra.
        distance: as in `clauset_fit`.
        draws: count, >= 1; p is known to about 0.5 / sqrt(draws), so 2500 for two digits.
        generator: source of randomness.
    Raises:
        ValueError: eigenvalues are not one spectrum, draws < 1, there is no fit, or alpha is so near 1 that its
            samples overflow.
    Source: Clauset, Shalizi & Newman (2009), SIAM Review 51(4), sec. 4.1.

    >>> quantiles = (1 - (np.arange(100) + 0.5) / 100) ** -0.5  # of a power law
    >>> generator = np.random.default_rng(0)
    >>> goodness_of_fit(quantiles, min_tail=50, draws=20, generator=generator).p_value > 0.5
    True
    """
    eigenvalues = checked_spectra(eigenvalues, "eigenvalues")
    if eigenvalues.ndim != 1:
        raise ValueError(f"eigenvalues of shape {eigenvalues.shape}: must be one spectrum, (n,)")
    if draws < 1:
        raise ValueError(f"draws = {draws}: must be >= 1")
    observed = eigenvalues[eigenvalues > 0]
    fit = clauset_fit(observed if observed.size else eigenvalues, min_tail, distance)
    alpha, xmin = float(fit.alpha), float(fit.xmin)
    reached = drawn = 0
    while drawn < draws:
        spectra = _draw(observed, alpha, xmin, min(draws - drawn, max(1, VALUES // len(observed))), generator)
        spectra = spectra[spectra.min(axis=1) < spectra.max(axis=1)]  # one value drawn n times has no fit: again
        if len(spectra):
            reached += int(np.count_nonzero(clauset_fit(spectra, min_tail, distance).distance >= fit.distance))
            drawn += len(spectra)
    # Laplace's estimate of p, so that no hit or nothing but hits does not pass for certainty.
    share = (reached + 1) / (draws + 2)
    return GoodnessOfFit(reached / draws, float(fit.distance), draws, math.sqrt(share * (1 - share) / draws))


def _draw(observed: np.ndarray, alpha: float, xmin: float, count: int, generator: np.random.Generator) -> np.ndarray:
    """(count, n) from the semi-parametric model, eq. D.4 for the tail, in units of xmin."""
    n, body = len(observed), observed[observed < xmin] / xmin
    uniform, in_tail = generator.random((2, count, n))
    logs = np.log1p(-uniform) / (1.0 - alpha)
    if logs.max() > LARGEST_LOG:
        raise ValueError(f"alpha = {alpha}: samples of so heavy a tail overflow")
    tail = np.exp(logs)
    if not len(body):
        return tail
    return np.where(in_tail < 1.0 - len(body) / n, tail, body[generator.integers(len(body), size=(count, n))])


def likelihood_ratio(eigenvalues: Spectra, xmin: float, alternative: Alternative) -> LikelihoodRatio:
    """R = sum_i [ln p(x_i) - ln q(x_i)] over the tail, p the power law and q the alternative, and how sure its sign is.

    q is, on x >= xmin: "exponential", rate e^(-rate (x - xmin)); "lognormal", that of mu and sigma cut off below
    xmin; "truncated_power_law", proportional to x^-alpha e^(-rate x) with rate >= 0 and any real alpha. The last
    contains the power law at rate 0, and the lognormal tends to it as sigma grows, so that neither R is ever positive.
    The truncated law's p by chi-square with one degree of freedom is a guide: up to twice the exact one for many
    values, since the rate has a bound, but too small below alpha = 2, where x has no mean (docs/spectra.md).

    Args:
        eigenvalues: (n,), any order and unit.
        xmin: where the tail begins, itself in it; units of eigenvalues, e.g. that of `clauset_fit`.
        alternative: one of the three.
    Returns:
        The ratio. It, normalised and p_value are unchanged when eigenvalues and xmin are rescaled together.
    Raises:
        ValueError: eigenvalues are not one spectrum, xmin is not positive and finite, alternative is unknown, or
            the tail holds fewer than two values or one value alone.
    Source: Clauset, Shalizi & Newman (2009), SIAM Review 51(4), eqs. C.2 to C.6; Vuong (1989), Econometrica 57(2).

    >>> quantiles = (1 - (np.arange(100) + 0.5) / 100) ** -0.5  # of a power law
    >>> likelihood_ratio(quantiles, 1.0, "exponential").ratio > 5
    True
    """
    if alternative not in ALTERNATIVES:
        raise ValueError(f"alternative = {alternative!r}: must be one of {', '.join(ALTERNATIVES)}")
    eigenvalues = checked_spectra(eigenvalues, "eigenvalues")
    if eigenvalues.ndim != 1:
        raise ValueError(f"eigenvalues of shape {eigenvalues.shape}: must be one spectrum, (n,)")
    if not 0 < xmin < math.inf:
        raise ValueError(f"xmin = {xmin}: must be positive and finite")
    relative = eigenvalues[eigenvalues >= xmin] / xmin
    logs = np.log(relative)
    if len(logs) < 2 or logs.min() == logs.max():
        raise ValueError(f"xmin = {xmin}: the tail must hold two different values, got {len(relative)} in all")
    slope = 1.0 / logs.mean()  # alpha - 1, eq. 3.1
    rival = ALTERNATIVES[alternative](relative, logs, float(xmin))
    terms = math.log(slope) - (slope + 1.0) * logs - rival.log_density
    return _compared(terms, rival.parameters, rival.reason, nested=alternative == "truncated_power_law")


def _compared(terms: np.ndarray, parameters: Mapping[str, float], reason: str, nested: bool) -> LikelihoodRatio:
    ratio, n = float(terms.sum()), len(terms)
    spread = math.sqrt(n) * float(terms.std())
    negligible = 1e-10 * n  # nats: rounding of the two densities
    if abs(ratio) <= negligible and spread <= negligible:
        return LikelihoodRatio(0.0, 0.0, 1.0, parameters, not reason, reason)
    normalised = ratio / spread
    p_value = math.erfc(math.sqrt(abs(ratio))) if nested else math.erfc(abs(normalised) / math.sqrt(2.0))
    return LikelihoodRatio(ratio, normalised, p_value, parameters, not reason, reason)
