"""One training of the pipeline from its inputs to its outputs: windows in; weights, history, scores out."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from transformer_spectrum import build, scores
from transformer_spectrum.data.windows import ARRAYS, Windows, unpack
from transformer_spectrum.files import atomic_folder, atomic_path, read_arrays, read_json, write_arrays, write_json
from transformer_spectrum.fit import Fit, fit
from transformer_spectrum.models.base import Forecaster, Layout
from transformer_spectrum.params import Params
from transformer_spectrum.progress import Progress
from transformer_spectrum.provenance import versions
from transformer_spectrum.record import Recorder
from transformer_spectrum.search.base import Step
from transformer_spectrum.seeds import numpy_generator, torch_generator
from transformer_spectrum.spectra.metrics import spectral_entropy, stable_rank

FORECASTS_KEPT = 24


def read_windows(path: str | Path) -> dict[str, Windows]:
    """The splits that the prepare stage has written.

    Raises:
        InputError: the file is missing or corrupt.
    """
    return unpack(read_arrays(path, ARRAYS))


def forecasts(forecaster: Forecaster, windows: Windows, device: torch.device) -> dict[str, np.ndarray]:
    """Teacher-forced and free-running forecasts (n, H, F) of all windows, scaled units."""
    forecaster.eval()
    made: dict[str, list[np.ndarray]] = {"teacher_forced": [], "free_running": []}
    for part in np.array_split(np.arange(len(windows)), max(1, len(windows) // 256)):
        context = torch.from_numpy(windows.context[part]).to(device)
        target = torch.from_numpy(windows.target[part]).to(device)
        with torch.inference_mode():
            made["teacher_forced"].append(forecaster(context, target).cpu().numpy())
            made["free_running"].append(forecaster.forecast(context, target.shape[1]).cpu().numpy())
    return {name: np.concatenate(parts) for name, parts in made.items()}


def test_scores(made: Mapping[str, np.ndarray], windows: Windows) -> tuple[dict[str, Any], dict[str, str]]:
    """Scores on the test split of both ways to forecast, with the skill over persistence 1 - MAE / MAE_persistence."""
    values: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    naive = scores.persistence(windows.context, windows.target.shape[1])
    naive_mae = scores.mae(naive.astype(np.float64), windows.target)
    for name, forecast in made.items():
        values[name], missing = scores.score(forecast, windows.target, windows.context, windows.location, windows.scale)
        if naive_mae > 0:
            values[name]["skill_over_persistence"] = 1 - values[name]["mae"] / naive_mae
        else:
            missing["skill_over_persistence"] = "not computed: persistence makes no error"
        reasons.update({f"{name}.{key}": reason for key, reason in missing.items()})
    return values, reasons


def _matrix_weights(layout: Layout, forecaster: Forecaster, flat: Tensor) -> dict[str, Tensor]:
    views = layout.views(flat.cpu())
    return {spec.name: spec.of(views) for spec in forecaster.matrices()}


def _save_models(folder: Path, result: Fit, layout: Layout, forecaster: Forecaster, about: Mapping[str, Any]) -> None:
    # One entry, because safetensors writes several in random order and the same run must give the same bytes.
    text = {"run": json.dumps(about)}
    for name, flat in (("best", result.best), ("last", result.last)):
        weights = {key: value.contiguous() for key, value in layout.views(flat.cpu()).items()}
        _write(folder / f"{name}.safetensors", weights, text)
    steps = sorted(result.snapshots)
    kept = [_matrix_weights(layout, forecaster, result.snapshots[step]) for step in steps]
    # One tensor (tracked steps, rows, columns) a matrix; the steps are in the metadata.
    stacked = {name: torch.stack([one[name] for one in kept]) for name in kept[0]}
    _write(folder / "snapshots.safetensors", stacked, {"run": json.dumps({**about, "steps": steps})})


def _write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    # Through atomic_path, because safetensors' own writer reports a full disk by an exception of its own.
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(tensors, metadata=metadata))


def train(params: Params, optimizer: str, data: Path, models: Path, metrics: Path, provenance: Path) -> None:
    """Trains by one optimizer and writes what came of it.

    Args:
        params: all parameters.
        optimizer: adam, es or ga.
        data: the windows that the prepare stage has written.
        models: folder for best.safetensors, last.safetensors, snapshots.safetensors (every matrix at steps 0, 1,
            every training.snapshot_every and the last), history.npz, forecasts.npz and run.json; replaced as a
            whole at the end.
        metrics: DVCLive's folder; wall seconds are kept only here, so that everything in `models` depends on
            nothing but the parameters and the machine.
        provenance: JSON of the data's provenance.
    Raises:
        InputError: an input is missing or corrupt, or the device is not there.
    """
    torch.set_num_threads(params.threads)
    splits = read_windows(data)
    origin = read_json(provenance)
    where = build.device(params.device)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with this
    # Not every kernel of a GPU has a deterministic form; there torch warns instead of stopping.
    torch.use_deterministic_algorithms(True, warn_only=where.type != "cpu")
    forecaster = build.model(params, splits["train"].context.shape[-1]).to(where)
    layout, matrices = Layout(forecaster), forecaster.matrices()
    objective = build.objective(params, forecaster, layout, splits["train"])
    validation = build.objective(params, forecaster, layout, splits["validation"])
    searcher, most, patience = build.searcher(params, optimizer)
    square = [i for i, spec in enumerate(matrices) if spec.shape == (params.model.embed_dim,) * 2]
    torch.manual_seed(torch_generator(params.seed, f"{optimizer} dropout").initial_seed())
    started = time.monotonic()

    with Recorder(metrics) as recorder, Progress(f"train {optimizer}", most) as progress:

        def observe(step: Step, scalars: Mapping[str, float], spectra: np.ndarray) -> None:
            entropy = float(np.mean(spectral_entropy(spectra[square, : params.model.embed_dim])))
            rank = float(np.mean(stable_rank(spectra[square, : params.model.embed_dim])))
            values = {"evaluations": step.evaluations, "seconds": time.monotonic() - started}
            values |= {"train_loss": step.loss, **scalars, "spectral_entropy": entropy, "stable_rank": rank}
            recorder.step(step.index, values)
            progress.update(step.index, loss=step.loss, validation=scalars["validation_loss"], stable_rank=rank)

        result = fit(
            searcher,
            objective,
            build.initial_weights(params, forecaster, layout),
            layout=layout,
            matrices=matrices,
            validate=validation.total,
            patience=patience,
            snapshot_every=params.training.snapshot_every,
            generator=torch_generator(params.seed, f"{optimizer} search"),
            observe=observe,
        )
        layout.load(forecaster, result.best)
        made = forecasts(forecaster, splits["test"], where)
        test, reasons = test_scores(made, splits["test"])
        history = result.history
        best = int(np.flatnonzero(history.steps == history.best_step)[0])
        recorder.summary(
            {
                "best_step": history.best_step,
                "best_validation_loss": float(history.validation_loss[best]),
                "test": test,
                "standin_data": int(origin["standin"]),
            }
        )
        about = {
            "optimizer": optimizer,
            "stop_reason": result.stop_reason,
            "best_step": history.best_step,
            "device": str(where),
            "threads": params.threads,
            "seed": params.seed,
            "data": origin,
            "missing_scores": reasons,
            "versions": versions(),
        }
        with atomic_folder(models) as folder:
            _save_models(folder, result, layout, forecaster, {**about, "params": json.loads(params.model_dump_json())})
            history.save(folder / "history.npz")
            write_arrays(folder / "forecasts.npz", _kept_forecasts(splits["test"], made["free_running"], params.seed))
            write_json(folder / "run.json", about)
    print(f"train {optimizer}: {result.stop_reason}; best step {history.best_step}", file=sys.stderr)


def _kept_forecasts(windows: Windows, forecast: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """A seeded sample of the test windows, in data units, the same for all optimizers."""
    count = min(FORECASTS_KEPT, len(windows))
    kept = np.sort(numpy_generator(seed, "kept forecasts").choice(len(windows), count, replace=False))
    parts = {"context": windows.context, "truth": windows.target, "forecast": forecast}
    in_units = {name: windows.in_data_units(part)[kept].astype(np.float32) for name, part in parts.items()}
    return {**in_units, "entities": windows.entity[kept]}
