"""How heavy the tails of a data set are, so that a user sees which loss the data ask for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from transformer_spectrum.distributions.sgt_fit import SGTFit, fit_sgt

KAPPA_TERMS = 30
FEWEST_SUMS = 30
FEWEST_IN_TAIL = 5


def skewness(x: np.ndarray) -> float:
    """Skewness of all values, E (X - E X)^3 / (E (X - E X)^2)^(3/2); dimensionless, 0 for a symmetric sample.

    Raises:
        ValueError: no spread.
    """
    centred = x - x.mean()
    spread = np.abs(centred).max(initial=0.0)
    # The mean of equal values may differ from them by its rounding.
    if not spread > 1e-12 * np.abs(x).max(initial=0.0):
        raise ValueError("all values are equal")
    centred = centred / spread
    return float((centred**3).mean() / (centred**2).mean() ** 1.5)


def kappa(x: np.ndarray, terms: int, generator: np.random.Generator) -> float:
    """Taleb's dispersion-scaling exponent: 2 - log n / log(M(n) / M(1)), M(n) = E|S_n - E S_n|.

    S_n sums n values in random order, so that the exponent speaks of their tails and not of their dependence.

    Args:
        x: (N,) values.
        terms: n, >= 2.
        generator: draws the order.
    Returns:
        Dimensionless: 0 for Gaussian values, 1 for Cauchy ones; sampling error may take it a little outside.
    Raises:
        ValueError: fewer than 30 sums, or no spread.
    Source: Taleb (2019), Int. J. Forecasting 35(2), eq. 2, with n0 = 1.
    """
    sums = len(x) // terms
    if sums < FEWEST_SUMS:
        raise ValueError(f"{len(x)} values make {sums} sums of {terms}, fewer than {FEWEST_SUMS}")
    centred = x - x.mean()
    shuffled = generator.permutation(centred)[: sums * terms].reshape(sums, terms)
    ratio = np.abs(shuffled.sum(axis=1)).mean() / max(np.abs(centred).mean(), np.finfo(float).tiny)
    if not ratio > 1:
        raise ValueError("sums spread no wider than single values")
    return float(2 - np.log(terms) / np.log(ratio))


def hill_index(x: np.ndarray, fraction: float) -> float:
    """Hill's tail index of |x|: k / sum_{i<=k} log(x_(i) / x_(k+1)) over the largest k = fraction * N.

    Returns:
        Dimensionless, > 0: moments of that order and above do not exist. (A density falls with 1 + this exponent.)
    Raises:
        ValueError: fewer than 5 values in the tail, or a threshold of zero.
    Source: Hill (1975), Ann. Statist. 3(5).
    """
    k = int(fraction * len(x))
    if k < FEWEST_IN_TAIL:
        raise ValueError(f"a share of {fraction:g} of {len(x)} values is a tail of fewer than {FEWEST_IN_TAIL}")
    top = np.sort(np.abs(x))[::-1][: k + 1]
    if not top[k] > 0:
        raise ValueError("the tail reaches down to zero")
    total = np.log(top[:k] / top[k]).sum()
    if not total > 0:
        raise ValueError("all values in the tail are equal")
    return float(k / total)


def _fitted(fit: SGTFit) -> dict[str, Any]:
    sgt = fit.sgt
    values = {"p": sgt.p, "q": sgt.q, "lam": sgt.lam, "log_likelihood": fit.log_likelihood / fit.n}
    return {name: _rounded(value) for name, value in values.items()} | {"converged": fit.converged}


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def describe(
    windows: np.ndarray, *, hill_fraction: float, fit_points: int, generator: np.random.Generator
) -> dict[str, Any]:
    """Skewness, tails and the SGT that the increments follow.

    Increments are first differences inside each window, pooled, standardised by their own mean and standard
    deviation.

    Args:
        windows: (n, T, F) scaled units, T >= 2, finite.
        hill_fraction: upper tail of |increments| for the Hill index; in (0, 0.5].
        fit_points: at most so many increments, drawn at random, enter the fits.
        generator: all randomness comes from it.
    Returns:
        skewness (of the values), skewness_of_increments, kappa, hill_index, sgt (p, q, lam and log-likelihood a
        point of the maximum-likelihood fit) and sgt_p2 (the same with p = 2 held fixed: its q is the loss.q that
        the data ask for at loss.p = 2). What cannot be computed is left out, and "reasons" says why.
    Raises:
        ValueError: there is no increment, or a value is not finite.
    """
    if windows.ndim != 3 or 0 in windows.shape or windows.shape[1] < 2:
        raise ValueError(f"windows of shape {windows.shape}: must be (n, T, F) with T >= 2")
    if not np.isfinite(windows).all():
        raise ValueError("windows must be finite")
    values: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    try:
        values["skewness"] = _rounded(skewness(windows))
    except ValueError as error:
        reasons["skewness"] = f"not computed: {error}"
    increments = np.diff(windows, axis=1).ravel()
    spread = increments.std()
    if not spread > 0:
        names = ("skewness_of_increments", "kappa", "hill_index", "sgt", "sgt_p2")
        return {**values, "reasons": reasons | dict.fromkeys(names, "not computed: the increments are constant")}
    increments = (increments - increments.mean()) / spread
    sample = generator.choice(increments, fit_points, replace=False) if len(increments) > fit_points else increments
    measures: dict[str, Callable[[], float]] = {
        "skewness_of_increments": lambda: _rounded(skewness(increments)),
        "kappa": lambda: _rounded(kappa(increments, KAPPA_TERMS, generator)),
        "hill_index": lambda: _rounded(hill_index(increments, hill_fraction)),
    }
    for name, measure in measures.items():
        try:
            values[name] = measure()
        except ValueError as error:
            reasons[name] = f"not computed: {error}"
    for name, p in (("sgt", None), ("sgt_p2", 2.0)):
        try:
            fit = fit_sgt(sample, p)
        except ValueError as error:
            reasons[name] = f"not computed: {error}"
            continue
        values[name] = _fitted(fit)
        if fit.reason:
            reasons[name] = fit.reason
    return {**values, "reasons": reasons}
