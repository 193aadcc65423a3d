"""What a result has to match to be one: the parameters and the code that were asked for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformer_spectrum.files import sha256
from transformer_spectrum.params import Params
from transformer_spectrum.study.grid import Cell
from transformer_spectrum.training import deciding

PACKAGE = Path(__file__).parents[1]
DATA_CODE = ("acquisition.py", "data", "distributions", "preparation.py", "scores.py", "seeds.py")
TRAINING_CODE = (
    "build.py",
    "checkpoint.py",
    "data/windows.py",
    "distributions",
    "fit.py",
    "history.py",
    "journal.py",
    "losses.py",
    "models",
    "results.py",
    "scores.py",
    "search",
    "seeds.py",
    "spectra/weights.py",
    "training.py",
)
SPECTRA_CODE = (
    "evidence.py",
    "history.py",
    "report/details.py",
    "report/summary.py",
    "seeds.py",
    "snapshots.py",
    "spectra",
    "study/measurement.py",
)
"""Modules, and folders of them, that decide the bits of the windows, of a training and of its spectra."""
DATASETS = ("synthetic", "covid", "rvr", "rvr_beds", "rvr_flu")

Request = dict[str, Any]


def code_of(sources: Sequence[str], package: Path = PACKAGE) -> dict[str, str]:
    """Module -> checksum.

    Args:
        sources: modules and folders of them, relative to the package.
        package: folder of the package, ours or one of another commit.
    """
    listed = [path for name in sources for path in (package / name, *(package / name).rglob("*.py"))]
    return {str(path.relative_to(package)): sha256(path)[:12] for path in sorted(set(listed)) if path.is_file()}


def _data(params: Params) -> dict[str, Any]:
    """All about the chosen data set, nothing about the others."""
    dataset = params.data.dataset
    kept = {dataset, "rvr"} if dataset.startswith("rvr") else {dataset}
    return params.data.model_dump(mode="json", exclude=set(DATASETS) - kept)


def raw_request(params: Params) -> Request:
    """What decides the raw series. The code does not: what it has fetched once and checked stays good."""
    data, dataset = params.data, params.data.dataset
    chosen = {"mirror", "on_unreachable", "standin_seed"}
    used = data.covid.model_dump(mode="json", include={"url", "countries"}) if dataset == "covid" else {}
    used |= data.rvr.model_dump(mode="json") if dataset.startswith("rvr") else {}
    return {"data": {"dataset": dataset, **data.model_dump(mode="json", include=chosen), **used}}


def windows_request(params: Params, raw: Mapping[str, str], package: Path = PACKAGE) -> Request:
    """What decides the windows.

    Args:
        params: all parameters.
        raw: checksums of the raw series; empty where these are not known beforehand, or drawn with the windows.
        package: see `code_of`.
    """
    return {"seed": params.seed, "data": _data(params), "raw": dict(raw), "code": code_of(DATA_CODE, package)}


def training_request(cell: Cell, windows: Mapping[str, Any], package: Path = PACKAGE) -> Request:
    """What decides a training, and which of its weights are kept.

    Args:
        cell: which one.
        windows: checksums of the windows, or what decides these where they are not there yet.
        package: see `code_of`.
    """
    params, spectra = cell.params, cell.params.spectra
    return {
        "optimizer": cell.optimizer,
        "params": deciding(params.model_dump(mode="json"), cell.optimizer),
        "windows": dict(windows),
        "code": code_of(TRAINING_CODE, package),
        "tracked": [spectra.tracked_every, spectra.tracked_at_most],
    }


def spectra_request(cell: Cell, training: Mapping[str, str]) -> Request:
    """What decides the spectra.

    Args:
        cell: the training's.
        training: checksums of the training's files.
    """
    params = cell.params
    return {
        "spectra": params.spectra.model_dump(mode="json", exclude={"bootstrap", "farms_size"}),
        "heads": params.model.heads,
        "seed": params.seed,
        "training": dict(training),
        "code": code_of(SPECTRA_CODE),
    }


def digest(request: Request) -> str:
    """Eight hexadecimal digits that tell requests apart."""
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()[:8]
