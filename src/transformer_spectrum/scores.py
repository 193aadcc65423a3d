"""Forecast scores and the baselines that a model has to beat.

All take arrays (n, H, F) of forecast and truth; means run over everything. Source of MASE and of the criticism
of MAPE: Hyndman & Koehler (2006), Int. J. Forecasting 22(4).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Real

ZERO = 1e-6  # of a window's location and scale


def mae(forecast: Real[np.ndarray, "*shape"], truth: Real[np.ndarray, "*shape"]) -> float:
    """Mean absolute error, mean |f - y|; in the units of the arguments, >= 0.

    >>> mae(np.array([1.0, 2.0]), np.array([2.0, 4.0]))
    1.5
    """
    return float(np.mean(np.abs(forecast - truth)))


def rmse(forecast: Real[np.ndarray, "*shape"], truth: Real[np.ndarray, "*shape"]) -> float:
    """Root mean squared error, sqrt(mean (f - y)^2); in the units of the arguments, >= 0.

    >>> rmse(np.array([0.0, 0.0]), np.array([3.0, 3.0]))
    3.0
    """
    return float(np.sqrt(np.mean((forecast - truth) ** 2)))


def smape(forecast: Real[np.ndarray, "*shape"], truth: Real[np.ndarray, "*shape"]) -> float:
    """Symmetric mean absolute percentage error, mean 2|f - y| / (|f| + |y|); a fraction in [0, 2].

    Points where both are zero count as 0.

    >>> smape(np.array([0.0, 1.0]), np.array([0.0, 3.0]))
    0.5
    """
    size = np.abs(forecast) + np.abs(truth)
    return float(np.mean(np.where(size > 0, 2 * np.abs(forecast - truth) / np.where(size > 0, size, 1.0), 0.0)))


def mape(forecast: Real[np.ndarray, "*shape"], truth: Real[np.ndarray, "*shape"]) -> tuple[float, int]:
    """Mean absolute percentage error, mean |f - y| / y over y > 0; a fraction >= 0, and how many zeros it leaves out.

    Raises:
        ValueError: truth takes negative values, or is zero throughout: a percentage of it means nothing.

    >>> mape(np.array([1.0, 1.0]), np.array([0.0, 2.0]))
    (0.5, 1)
    """
    if (truth < 0).any():
        raise ValueError("truth takes negative values, so a percentage of it means nothing")
    positive = truth > 0
    if not positive.any():
        raise ValueError("truth is zero throughout")
    return float(np.mean(np.abs(forecast - truth)[positive] / truth[positive])), int((~positive).sum())


def mase(
    forecast: Real[np.ndarray, "windows horizon features"],
    truth: Real[np.ndarray, "windows horizon features"],
    context: Real[np.ndarray, "windows context features"],
    season: int = 1,
) -> tuple[float, int]:
    """Mean absolute scaled error: each window's MAE over its context's seasonal-naive MAE, averaged.

    Args:
        forecast: (n, H, F).
        truth: (n, H, F).
        context: (n, C, F), the steps before.
        season: lag of the naive forecast inside the context, 1 <= season < C; steps.
    Returns:
        Dimensionless, >= 0, below 1 = better than naive in the context; and how many (window, feature) pairs
        are left out because their context repeats itself exactly.
    Raises:
        ValueError: season does not fit, or no pair is left.

    >>> mase(np.full((1, 2, 1), 4.0), np.full((1, 2, 1), 5.0), np.array([[[1.0], [3.0]]]))
    (0.5, 0)
    """
    if not 1 <= season < context.shape[1]:
        raise ValueError(f"season = {season} with a context of {context.shape[1]} steps: must be in [1, context)")
    naive = np.abs(context[:, season:] - context[:, :-season]).mean(axis=1)  # (n, F)
    error = np.abs(forecast - truth).mean(axis=1)
    usable = naive > 0
    if not usable.any():
        raise ValueError("every context repeats itself exactly")
    return float(np.mean(error[usable] / naive[usable])), int((~usable).sum())


def persistence(
    context: Real[np.ndarray, "windows context features"], horizon: int
) -> Real[np.ndarray, "windows {horizon} features"]:
    """The last value of the context (n, C, F), repeated: (n, horizon, F).

    >>> persistence(np.array([[[1.0], [3.0]]]), 2).ravel().tolist()
    [3.0, 3.0]
    """
    return np.repeat(context[:, -1:], horizon, axis=1)


def seasonal_naive(
    context: Real[np.ndarray, "windows context features"], horizon: int, season: int
) -> Real[np.ndarray, "windows {horizon} features"]:
    """The last `season` values of the context (n, C, F), repeated in turn: (n, horizon, F).

    Raises:
        ValueError: season is not in [1, C].

    >>> seasonal_naive(np.array([[[1.0], [3.0]]]), 3, 2).ravel().tolist()
    [1.0, 3.0, 1.0]
    """
    if not 1 <= season <= context.shape[1]:
        raise ValueError(f"season = {season} with a context of {context.shape[1]} steps: must be in [1, context]")
    return context[:, -season:][:, np.arange(horizon) % season]


def context_mean(
    context: Real[np.ndarray, "windows context features"], horizon: int
) -> Real[np.ndarray, "windows {horizon} features"]:
    """The mean of the context (n, C, F), repeated: (n, horizon, F); the best constant for independent noise.

    >>> context_mean(np.array([[[1.0], [3.0]]]), 2).ravel().tolist()
    [2.0, 2.0]
    """
    return np.repeat(context.mean(axis=1, keepdims=True), horizon, axis=1)


BASELINES: dict[str, Callable[[np.ndarray, int, int], np.ndarray]] = {
    "persistence": lambda context, horizon, season: persistence(context, horizon),
    "seasonal_naive": seasonal_naive,
    "context_mean": lambda context, horizon, season: context_mean(context, horizon),
}


def score(
    forecast: Real[np.ndarray, "windows horizon features"],
    truth: Real[np.ndarray, "windows horizon features"],
    context: Real[np.ndarray, "windows context features"],
    location: Real[np.ndarray, "windows 1 features"],
    scale: Real[np.ndarray, "windows 1 features"],
) -> tuple[dict[str, float], dict[str, str]]:
    """All scores of one set of forecasts.

    Args:
        forecast: (n, H, F) scaled units.
        truth: (n, H, F) scaled units.
        context: (n, C, F) scaled units.
        location: (n, 1, F) data units.
        scale: (n, 1, F) data units.
    Returns:
        mae and rmse in scaled units (every window weighs the same), mae_data in data units (large entities weigh
        more), mase (season 1), smape and mape of the data-unit values; and for each that is missing or leaves
        points out, the reason.

    >>> context, truth = np.array([[[0.0], [1.0]]]), np.array([[[2.0]]])
    >>> values, reasons = score(truth + 0.5, truth, context, np.zeros((1, 1, 1)), np.ones((1, 1, 1)))
    >>> values["mae"], values["mase"], values["mape"], reasons
    (0.5, 0.5, 0.25, {})
    """
    forecast, truth, context = (values.astype(np.float64) for values in (forecast, truth, context))
    f, y = forecast * scale + location, truth * scale + location
    # Scaled values are float32: what was zero comes back as rounding noise of either sign.
    y = np.where(np.abs(y) < ZERO * (np.abs(location) + scale), 0.0, y)
    scores = {"mae": mae(forecast, truth), "rmse": rmse(forecast, truth), "mae_data": mae(f, y), "smape": smape(f, y)}
    reasons: dict[str, str] = {}
    try:
        scores["mase"], left_out = mase(forecast, truth, context)
        if left_out:
            reasons["mase"] = f"{left_out} windows left out: their context repeats itself exactly"
    except ValueError as error:
        reasons["mase"] = f"not computed: {error}"
    try:
        scores["mape"], left_out = mape(f, y)
        if left_out:
            reasons["mape"] = f"{left_out} points left out: the truth is zero there"
    except ValueError as error:
        reasons["mape"] = f"not computed: {error}"
    return scores, reasons
