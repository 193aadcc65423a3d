"""How heavy the tails of a data set are, so that a user sees which loss the data ask for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from transformer_spectrum.data.describe.tails import hill_index, kappa, skewness
from transformer_spectrum.distributions.sgt_fit import SGTFit, fit_sgt

KAPPA_TERMS = 30


def _fitted(fit: SGTFit) -> dict[str, Any]:
    sgt = fit.sgt
    values = {"p": sgt.p, "q": sgt.q, "lam": sgt.lam, "log_likelihood": fit.log_likelihood / fit.n}
    return {name: _rounded(value) for name, value in values.items()} | {"converged": fit.converged}


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def describe(
    windows: Float[np.ndarray, "windows steps features"],
    *,
    hill_fraction: float,
    fit_points: int,
    generator: np.random.Generator,
) -> dict[str, Any]:
    """Skewness, tails and the SGT that the increments follow.

    Increments are first differences inside each window, pooled, standardised by their own mean and standard
    deviation.

    Args:
        windows: scaled units; at least two steps; finite.
        hill_fraction: upper tail of |increments| for the Hill index; in (0, 0.5].
        fit_points: at most so many increments, drawn at random, enter the fits.
        generator: all randomness comes from it.
    Returns:
        skewness (of the values), skewness_of_increments, kappa, hill_index, sgt (p, q, lam and log-likelihood a
        point of the maximum-likelihood fit) and sgt_p2 (the same with p = 2 held fixed: its q is the loss.q that
        the data ask for at loss.p = 2). What cannot be computed is left out, and "reasons" says why.
    Raises:
        ValueError: there is no increment, or a value is not finite.

    >>> trends = np.arange(20.0).reshape(2, 10, 1)
    >>> describe(trends, hill_fraction=0.05, fit_points=100, generator=np.random.default_rng(0))["reasons"]["sgt"]
    'not computed: the increments are constant'
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
