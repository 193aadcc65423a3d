"""What is kept of a training: test scores, weights, history and forecasts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from transformer_spectrum import scores
from transformer_spectrum.config.load import Params
from transformer_spectrum.data.windows.arrays import Windows
from transformer_spectrum.models.forecaster import Forecaster, Layout
from transformer_spectrum.optimizers.contract import StopCause
from transformer_spectrum.runtime.files import atomic_folder, atomic_path, sha256, write_arrays, write_json
from transformer_spectrum.runtime.provenance import versions
from transformer_spectrum.runtime.seeds import numpy_generator
from transformer_spectrum.tracking.recorder import Recorder
from transformer_spectrum.training import build
from transformer_spectrum.training.glance import glance
from transformer_spectrum.training.loop import Fit
from transformer_spectrum.weights.matrices.moving import positions_watched

FORECASTS_KEPT = 24
WEIGHTS = ("best", "last", "best_candidate", "snapshots")
FILES = (*(f"{name}.safetensors" for name in WEIGHTS), "history.npz", "forecasts.npz", "run.json")
"""What `write_results` writes, and may replace; best_candidate.safetensors is that of population methods."""
POPULATIONS = ("es", "ga")
"""Optimizers that have candidates."""
NO_CANDIDATE = "no candidate of a finite loss was scored"
ITSELF = "ga.weights = member: the weights of every step are those of its best member"


def forecasts(forecaster: Forecaster, windows: Windows, device: torch.device) -> dict[str, np.ndarray]:
    """Teacher-forced and free-running forecasts (n, H, F) of all windows, scaled units.

    >>> from transformer_spectrum.config.load import load_params
    >>> from transformer_spectrum.config.wheel_files import packaged
    >>> forecaster = build.model(load_params(packaged("params.yaml")), features=1)
    >>> context, target, zeros = (np.zeros((2, steps, 1), np.float32) for steps in (24, 12, 1))
    >>> windows = Windows(context, target, zeros, zeros + 1, np.array(["SE", "MT"]), np.array([0, 0]))
    >>> {name: values.shape for name, values in forecasts(forecaster, windows, torch.device("cpu")).items()}
    {'teacher_forced': (2, 12, 1), 'free_running': (2, 12, 1)}
    """
    forecaster.eval()
    predictions: dict[str, list[np.ndarray]] = {"teacher_forced": [], "free_running": []}
    for positions in np.array_split(np.arange(len(windows)), max(1, len(windows) // 256)):
        context = torch.from_numpy(windows.context[positions]).to(device)
        target = torch.from_numpy(windows.target[positions]).to(device)
        with torch.inference_mode():
            predictions["teacher_forced"].append(forecaster(context, target).cpu().numpy())
            predictions["free_running"].append(forecaster.forecast(context, target.shape[1]).cpu().numpy())
    return {name: np.concatenate(parts) for name, parts in predictions.items()}


def test_scores(predictions: Mapping[str, np.ndarray], windows: Windows) -> tuple[dict[str, Any], dict[str, str]]:
    """Scores on the test split of both ways to forecast, with the skill over persistence 1 - MAE / MAE_persistence.

    >>> context, target, zeros = (np.zeros((2, steps, 1), np.float32) for steps in (24, 12, 1))
    >>> windows = Windows(context, target + 2, zeros, zeros + 1, np.array(["SE", "MT"]), np.array([0, 0]))
    >>> values, reasons = test_scores({"free_running": target + 1.5}, windows)  # persistence is wrong by 2
    >>> {name: float(values["free_running"][name]) for name in ("mae", "skill_over_persistence")}
    {'mae': 0.5, 'skill_over_persistence': 0.75}
    """
    values: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    naive = scores.persistence(windows.context, windows.target.shape[1])
    naive_mae = scores.mae(naive.astype(np.float64), windows.target)
    for name, forecast in predictions.items():
        values[name], missing = scores.score(forecast, windows.target, windows.context, windows.location, windows.scale)
        if naive_mae > 0:
            values[name]["skill_over_persistence"] = 1 - values[name]["mae"] / naive_mae
        else:
            missing["skill_over_persistence"] = "not computed: persistence makes no error"
        reasons.update({f"{name}.{key}": reason for key, reason in missing.items()})
    return values, reasons


def _matrices_and_gains(layout: Layout, forecaster: Forecaster, flat: Tensor) -> dict[str, Tensor]:
    views = layout.views(flat.cpu())
    gains = {name.removesuffix(".weight"): gain for name, gain in views.items() if name.endswith("norm.weight")}
    return {**{spec.name: spec.of(views) for spec in forecaster.matrices()}, **gains}


def _save_models(
    folder: Path, result: Fit, layout: Layout, forecaster: Forecaster, description: Mapping[str, Any]
) -> None:
    # One entry, because safetensors writes several in random order and the same run must give the same bytes.
    text = {"run": json.dumps(description)}
    whole = {"best": result.best, "last": result.last}
    if result.candidate is not None:
        whole["best_candidate"] = result.candidate.weights
    for name, flat in whole.items():
        weights = {key: value.contiguous() for key, value in layout.views(flat.cpu()).items()}
        _write(folder / f"{name}.safetensors", weights, text)
    if description["optimizer"] in POPULATIONS and result.candidate is None:  # the pipeline counts on the file
        itself = description["optimizer"] == "ga" and result.stop_cause is not StopCause.DIVERGED
        why = ITSELF if itself else NO_CANDIDATE
        _write(folder / "best_candidate.safetensors", {}, {"run": json.dumps({**description, "no_weights": why})})
    steps = sorted(result.snapshots)
    weights_of_steps = [_matrices_and_gains(layout, forecaster, result.snapshots[step]) for step in steps]
    # One tensor (kept steps, rows, columns) a matrix, (kept steps, inputs) a norm; the steps are in the metadata.
    stacked = {
        name: torch.stack([weights_at_step[name] for weights_at_step in weights_of_steps])
        for name in weights_of_steps[0]
    }
    _write(folder / "snapshots.safetensors", stacked, {"run": json.dumps({**description, "steps": steps})})


def _write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    # Through atomic_path, because safetensors' own writer reports a full disk by an exception of its own.
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(tensors, metadata=metadata))


def write_results(
    params: Params,
    optimizer: str,
    forecaster: Forecaster,
    windows: Windows,
    result: Fit,
    origin: Mapping[str, Any],
    recorder: Recorder,
    models: Path,
) -> None:
    """Scores the best weights on the test windows, and writes everything that is kept of the training.

    Raises:
        FileNotFoundError: a folder was removed while it was being written.
    """
    where, layout, history = build.device(params.device), Layout(forecaster), result.history
    layout.load(forecaster, result.best)
    predictions = forecasts(forecaster, windows, where)
    test, reasons = test_scores(predictions, windows)
    best = int(np.flatnonzero(history.steps == history.best_step)[0])
    best_mae = float(history.validation_mae[best])
    headline = {"best_step": history.best_step, "validation_mae": best_mae, "test_mae": test["free_running"]["mae"]}
    moving = positions_watched(forecaster.matrices())
    spectra = glance(history.singular_values[best, moving], history.change_singular_values[best, moving])
    headline |= {name: value for name, value in spectra.items() if name == "change_stable_rank"}
    summary = {
        "optimizer": optimizer,
        "best_step": history.best_step,
        "selected_by": params.training.select,
        "best_validation_mae": best_mae,
        "best_validation_loss": float(history.validation_loss[best]),
        "stop_reason": result.stop_reason,
        "stop_cause": result.stop_cause,
        "evaluations": int(history.evaluations[-1]),
        **test,
        "missing": reasons,
        "standin_data": bool(origin["standin"]),
        **({"resumed_at": result.resumed_at} if result.resumed_at else {}),
    }
    description = {
        "optimizer": optimizer,
        "stop_reason": result.stop_reason,
        "stop_cause": result.stop_cause,
        "best_step": history.best_step,
        "device": str(where),
        "threads": params.threads,
        "precision": build.precision(params),
        "seed": params.seed,
        "data": origin,
        "missing_scores": reasons,
        "versions": versions(),
    }
    if result.candidate is not None:
        description["best_candidate"] = {"step": result.candidate.step, "loss": result.candidate.loss}
    chosen = json.loads(params.model_dump_json(exclude={"tracking"}))  # it changes no training
    # Weights and metrics belong together: the metrics are complete before the one step that puts the weights in place.
    with atomic_folder(models, own=FILES) as folder:
        _save_models(folder, result, layout, forecaster, {**description, "params": chosen})
        history.save(folder / "history.npz")
        write_arrays(folder / "forecasts.npz", _kept_forecasts(windows, predictions["free_running"], params.seed))
        write_json(folder / "run.json", description)
        recorder.result(headline, {**summary, "history": sha256(folder / "history.npz")})
    recorder.keep(models)


def _kept_forecasts(windows: Windows, forecast: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """A seeded sample of the test windows, in data units, the same for all optimizers."""
    count = min(FORECASTS_KEPT, len(windows))
    positions = np.sort(numpy_generator(seed, "kept forecasts").choice(len(windows), count, replace=False))
    parts = {"context": windows.context, "truth": windows.target, "forecast": forecast}
    in_units = {name: windows.in_data_units(array)[positions] for name, array in parts.items()}
    fits = all(np.abs(values).max(initial=0.0) < np.finfo(np.float32).max for values in in_units.values())
    kept = {name: values.astype(np.float32) if fits else values for name, values in in_units.items()}
    return {**kept, "entities": windows.entity[positions]}
