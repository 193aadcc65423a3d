"""How far the forecasts that are shown miss, window by window."""

from __future__ import annotations

import pandas as pd

PLACE = ["window", "entity", "feature", "time"]


def forecast_errors(forecasts: pd.DataFrame) -> pd.DataFrame:
    """Mean absolute error of each window and optimizer, over time and features; data units.

    Args:
        forecasts: `plot_tables.forecasts`.
    Returns:
        A row for each window, in order, indexed by its number and its entity; a column for each optimizer.

    >>> rows = [(0, "a", 0, 0, "truth", 2.0), (0, "a", 0, 1, "truth", 4.0)]
    >>> rows += [(0, "a", 0, 0, "es", 3.0), (0, "a", 0, 1, "es", 4.0)]
    >>> forecast_errors(pd.DataFrame(rows, columns=[*PLACE, "series", "value"]))["es"].tolist()
    [0.5]
    """
    truth = forecasts[forecasts["series"] == "truth"].set_index(PLACE)["value"]
    forecast = forecasts[~forecasts["series"].isin(["context", "truth"])]
    errors = (forecast["value"] - truth.loc[pd.MultiIndex.from_frame(forecast[PLACE])].to_numpy()).abs()
    groups = errors.groupby([forecast[name] for name in ("window", "entity", "series")], sort=False)
    return groups.mean().unstack("series", sort=False)
