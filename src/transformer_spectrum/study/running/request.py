"""What a result has to match to be one: the parameters and the code that were asked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformer_spectrum.config.load import Params
from transformer_spectrum.runtime import deciding_code
from transformer_spectrum.study.running.grid import Cell
from transformer_spectrum.training.fingerprint import deciding

DATASETS = ("synthetic", "covid", "rvr", "rvr_beds", "rvr_flu")
ROWS = ("study/running/spectra_rows.py", "study/endpoint_paths.py", "study/inference/endpoints.py")
"""What makes the tables of a training of its spectra."""

Request = dict[str, Any]


def _data(params: Params) -> dict[str, Any]:
    """All about the chosen data set, nothing about the others."""
    dataset = params.data.dataset
    own = {dataset, "rvr"} if dataset.startswith("rvr") else {dataset}
    return params.data.model_dump(mode="json", exclude=set(DATASETS) - own)


def raw_request(params: Params) -> Request:
    """What decides the raw series. The code does not: what it has fetched once and checked stays good.

    >>> from transformer_spectrum.config.load import load_params
    >>> list(raw_request(load_params("params.yaml"))["data"])
    ['dataset', 'mirror', 'on_unreachable', 'standin_seed']
    """
    data, dataset = params.data, params.data.dataset
    chosen = {"mirror", "on_unreachable", "standin_seed"}
    used = data.covid.model_dump(mode="json", include={"url", "countries"}) if dataset == "covid" else {}
    used |= data.rvr.model_dump(mode="json") if dataset.startswith("rvr") else {}
    return {"data": {"dataset": dataset, **data.model_dump(mode="json", include=chosen), **used}}


def windows_request(params: Params, raw: Mapping[str, str], package: Path = deciding_code.PACKAGE) -> Request:
    """What decides the windows.

    Args:
        params: all parameters.
        raw: checksums of the raw series; empty where these are not known beforehand, or drawn with the windows.
        package: see `deciding_code.checksums`.

    >>> from transformer_spectrum.config.load import load_params
    >>> params = load_params("params.yaml")
    >>> elsewhere = params.model_copy(update={"device": "cuda"})  # decides no window
    >>> windows_request(params, {}) == windows_request(elsewhere, {})
    True
    """
    return {
        "seed": params.seed,
        "data": _data(params),
        "raw": dict(raw),
        "code": deciding_code.checksums(deciding_code.WINDOWS, package),
    }


def training_request(cell: Cell, windows: Mapping[str, Any], package: Path = deciding_code.PACKAGE) -> Request:
    """What decides a training, and which of its weights are kept.

    Args:
        cell: which one.
        windows: checksums of the windows, or what decides these where they are not there yet.
        package: see `deciding_code.checksums`.

    >>> from transformer_spectrum.config.load import load_params
    >>> cell = Cell("synthetic", "narrow", "mse", "adam", 1, load_params("params.yaml"))
    >>> request = training_request(cell, {})
    >>> request["optimizer"], "adam" in request["params"], "es" in request["params"]
    ('adam', True, False)
    """
    params, spectra = cell.params, cell.params.spectra
    return {
        "optimizer": cell.optimizer,
        "params": deciding(params.model_dump(mode="json"), cell.optimizer),
        "windows": dict(windows),
        "code": deciding_code.checksums(deciding_code.of_training(cell.optimizer), package),
        "tracked": [spectra.tracked_every, spectra.tracked_at_most],
    }


def spectra_request(cell: Cell, training: Mapping[str, str]) -> Request:
    """What decides the spectra.

    Args:
        cell: the training's.
        training: checksums of the training's files.

    >>> from transformer_spectrum.config.load import load_params
    >>> cell = Cell("synthetic", "narrow", "mse", "adam", 1, load_params("params.yaml"))
    >>> list(spectra_request(cell, {"history.npz": "5f2e"}))
    ['spectra', 'heads', 'seed', 'training', 'code']
    """
    params = cell.params
    return {
        "spectra": params.spectra.model_dump(mode="json", exclude={"bootstrap"}),
        "heads": params.model.heads,
        "seed": params.seed,
        "training": dict(training),
        "code": deciding_code.checksums((*deciding_code.SPECTRA, *ROWS)),
    }
