"""What the trainings have left behind, read for the statistics: histories, weights at the kept steps, forecasts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from transformer_spectrum.analysis.of_training.summary import Summary, summarize
from transformer_spectrum.config.load import Params
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.files import read_arrays
from transformer_spectrum.training.records.history import History
from transformer_spectrum.training.records.snapshots import Snapshots


def read_forecasts(models: Mapping[str, Path]) -> dict[str, Any]:
    """The forecasts of all trainings for the windows that they share.

    Args:
        models: optimizer -> folder of its training.
    Raises:
        InputError: a file is missing or corrupt, or the trainings have seen other windows.

    >>> forecast = read_forecasts(models)
    >>> list(forecast["forecast"]), forecast["truth"].shape
    (['adam', 'es', 'ga'], (2, 4, 1))
    """
    names = ("context", "truth", "forecast", "entities")
    stored = {optimizer: read_arrays(folder / "forecasts.npz", names) for optimizer, folder in models.items()}
    (reference, first), *_ = stored.items()
    for optimizer, arrays in stored.items():
        if arrays["forecast"].shape != first["truth"].shape or (arrays["entities"] != first["entities"]).any():
            path = models[optimizer] / "forecasts.npz"
            raise InputError(f"{path}: other windows than {reference}'s; run dvc repro")
    forecasts: dict[str, np.ndarray] = {optimizer: arrays["forecast"] for optimizer, arrays in stored.items()}
    return {**first, "forecast": forecasts}


def summaries_of(params: Params, models: Mapping[str, Path]) -> dict[str, Summary]:
    """Every training analyzed; arguments and errors as in `read_forecasts`, and those of `summarize`.

    >>> summaries = summaries_of(params, models)
    >>> summaries["es"].tracked, list(summaries["es"].families)
    ([0, 1, 4], ['feed_forward', 'readout'])
    """
    histories = {optimizer: History.load(folder / "history.npz") for optimizer, folder in models.items()}
    snapshots = {optimizer: Snapshots.load(folder / "snapshots.safetensors") for optimizer, folder in models.items()}
    return summarize(histories, snapshots, params.spectra, heads=params.model.heads, seed=params.seed)
