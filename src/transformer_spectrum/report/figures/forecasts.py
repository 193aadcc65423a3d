"""Forecasts against truth: several windows of the test split, their context, and what each optimizer forecasts."""

from __future__ import annotations

TITLE = "Forecasts against truth"
TIME = "steps from the start of the forecast"
TEXT = "Free-running forecasts of test windows, which selected nothing, by each optimizer's best weights."
HORIZONS = 2


def context_shown(length: int, horizon: int) -> int:
    """How much of the context is shown: more would squeeze what matters.

    Args:
        length: of the context; steps.
        horizon: steps that are forecast.

    >>> context_shown(240, 60), context_shown(50, 60)
    (120, 50)
    """
    return min(length, HORIZONS * horizon)


def window_name(entity: str, window: int) -> str:
    """A window's name: its entity, which is unique only with the window's number.

    >>> window_name("France", 3)
    'France (window 3)'
    """
    return f"{entity} (window {window})"
