"""One training of the pipeline from its inputs to its outputs: windows in; weights, history, scores out."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from transformer_spectrum.config.load import Params
from transformer_spectrum.data.windows.arrays import ARRAYS, Windows, unpack
from transformer_spectrum.models.forecaster import Forecaster, Layout
from transformer_spectrum.runtime import code
from transformer_spectrum.runtime.files import read_arrays, read_json, sha256
from transformer_spectrum.runtime.interruption import Interrupted, Interruption
from transformer_spectrum.runtime.progress import Progress
from transformer_spectrum.runtime.provenance import versions
from transformer_spectrum.runtime.seeds import torch_generator
from transformer_spectrum.spectra.metrics import spectral_entropy, stable_rank
from transformer_spectrum.tracking.mlflow_run import Tracking
from transformer_spectrum.tracking.recorder import Recorder
from transformer_spectrum.training import build
from transformer_spectrum.training.artifacts import write_results
from transformer_spectrum.training.journal import Row
from transformer_spectrum.training.loop import Budget, Fit, fit
from transformer_spectrum.training.resume import Checkpoint
from transformer_spectrum.vocabulary import colour_of

SECTIONS = ("seed", "device", "threads", "loss", "model", "training", "budget")
"""Of the parameters that every training depends on; its optimizer's come on top."""
RESOURCES = ("workers", "memory_mib")
"""Of the section `training`: how fast, and in how much memory. Workers change no bit; memory changes last bits at most,
and only where it holds a single candidate, which is computed as a plain network. Whoever has to change them must be
able to go on with a training.
"""


def read_windows(path: str | Path) -> dict[str, Windows]:
    """The splits that the prepare stage has written.

    Raises:
        InputError: the file is missing or corrupt.
    """
    return unpack(read_arrays(path, ARRAYS))


def deciding(tree: Mapping[str, Any], optimizer: str) -> dict[str, Any]:
    """Of a tree of all parameters, those that decide the result of a training by this optimizer."""
    chosen = {name: tree[name] for name in (*SECTIONS, optimizer)}
    return {**chosen, "training": {name: x for name, x in tree["training"].items() if name not in RESOURCES}}


def fingerprint(params: Params, optimizer: str, data: Path, device: torch.device) -> dict[str, Any]:
    """All that decides a training's bits, so that resume files of another training are told apart.

    Returns:
        Parameters of the training, checksum of the windows, of each module of ours that the numbers depend on,
        package versions, and the kind of processor.
    """
    cpu = torch.backends.cpu.get_cpu_capability()
    return {
        "params": deciding(params.model_dump(mode="json"), optimizer),
        "data": sha256(data),
        "code": code.checksums(code.of_training(optimizer)),
        "versions": versions(),
        "device": f"{device}, {torch.cuda.get_device_name(device) if device.type == 'cuda' else cpu}",
    }


def train(
    params: Params,
    optimizer: str,
    data: Path,
    models: Path,
    metrics: Path,
    provenance: Path,
    resume: Path,
    name: str | None = None,
) -> None:
    """Trains by one optimizer and writes what came of it; goes on where an earlier process was stopped.

    SIGINT and SIGTERM end it after the step that is being computed, a second one at once; what has been reached is
    kept in `resume`, and `models` and `metrics` stay as they were.

    Args:
        params: all parameters.
        optimizer: adam, es or ga.
        data: the windows that the prepare stage has written.
        models: folder for best.safetensors, last.safetensors, snapshots.safetensors (every matrix at steps 0, 1,
            every training.snapshot_every and the last), best_candidate.safetensors where the optimizer has
            candidates, history.npz, forecasts.npz and run.json; replaced as a whole at the end.
        metrics: DVCLive's folder with scores.json; wall seconds (a curve) and the steps at which the training was
            resumed (in scores.json) are kept only here, so that everything in `models` depends on nothing but the
            parameters and the machine.
        provenance: JSON of the data's provenance.
        resume: folder for the resume files; removed at the end.
        name: of its run in MLflow; None = one made of optimizer, loss, data set and seed.
    Raises:
        InputError: an input is missing or corrupt, or the device is not there.
        SystemExit: a signal has ended it; 128 + its number.
    """
    torch.set_num_threads(params.threads)
    splits = read_windows(data)
    origin = read_json(provenance)
    where = build.device(params.device)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with this
    # Not every kernel of a GPU has a deterministic form; there torch warns instead of stopping.
    if optimizer == "adam" and params.adam.compile:
        torch.use_deterministic_algorithms(True, warn_only=where.type != "cpu")
    else:  # the same switch without the compiler, whose import takes a second
        torch.set_deterministic_debug_mode("error" if where.type == "cpu" else "warn")
    forecaster = build.model(params, splits["train"].context.shape[-1]).to(where)
    same = fingerprint(params, optimizer, data, where)
    checkpoint = Checkpoint(resume, same, lambda line: _say(optimizer, line))
    interruption, tracking = Interruption(), _tracking(params, optimizer, origin, same, resume, name)
    try:
        with interruption, Recorder(metrics, tracking, models) as recorder:
            with interruption.deferred():
                result = _run(params, optimizer, forecaster, splits, recorder, checkpoint, interruption)
            write_results(params, optimizer, forecaster, splits["test"], result, origin, recorder, models)
    except Interrupted as signal:
        reached = "before its first step was kept" if checkpoint.saved is None else f"at step {checkpoint.saved}"
        _say(optimizer, f"interrupted {reached}; run again to go on")
        raise SystemExit(128 + signal.number) from None
    checkpoint.remove()
    _say(optimizer, f"{result.stop_reason}; best step {result.history.best_step}")


def _tracking(
    params: Params,
    optimizer: str,
    origin: Mapping[str, Any],
    same: Mapping[str, Any],
    resume: Path,
    name: str | None,
) -> Tracking | None:
    """The training's MLflow run, where tracking.mlflow names a store; see `fingerprint` for `same`."""
    address = params.tracking.mlflow
    if address is None:
        return None
    tags = {"optimizer": optimizer, "source": str(origin["source"]), "standin_data": str(bool(origin["standin"]))}
    tags["mlflow.runColor"] = colour_of(optimizer)
    if "DVC_EXP_NAME" in os.environ:
        tags["dvc_experiment"] = os.environ["DVC_EXP_NAME"]
    return Tracking(
        address=address,
        name=name or f"{optimizer} {params.loss.type} {params.data.dataset} seed {params.seed}",
        training=hashlib.sha256(json.dumps(same, sort_keys=True).encode()).hexdigest(),
        params=params.model_dump(mode="json", exclude={"tracking"}),
        tags=tags,
        memory=resume.with_name(f"{resume.name}.mlflow.json"),
        say=lambda line: _say(optimizer, line),
    )


def _say(optimizer: str, line: str) -> None:
    print(f"train {optimizer}: {line}", file=sys.stderr, flush=True)


def _run(
    params: Params,
    optimizer: str,
    forecaster: Forecaster,
    splits: Mapping[str, Windows],
    recorder: Recorder,
    checkpoint: Checkpoint,
    interruption: Interruption,
) -> Fit:
    layout, matrices, width = Layout(forecaster), forecaster.matrices(), params.model.embed_dim
    square = [i for i, spec in enumerate(matrices) if spec.shape == (width, width)]
    searcher, most, patience = build.searcher(params, optimizer, layout)
    objective = build.objective(params, forecaster, layout, splits["train"])
    validation = build.objective(params, forecaster, layout, splits["validation"])
    torch.manual_seed(torch_generator(params.seed, f"{optimizer} dropout").initial_seed())
    with Progress(f"train {optimizer}", most) as progress:

        def observe(row: Row) -> None:
            entropy = float(np.mean(spectral_entropy(row.singular_values[square, :width])))
            rank = float(np.mean(stable_rank(row.singular_values[square, :width])))
            values = {"evaluations": row.evaluations, "seconds": row.seconds, "train_loss": row.loss}
            values |= {"validation_loss": row.validation_loss, "distance": row.distance, **row.scalars}
            recorder.step(row.step, {**values, "spectral_entropy": entropy, "stable_rank": rank})
            if checkpoint.saved is not None and row.step <= checkpoint.saved:
                progress.resume(row.step)
            else:
                progress.update(row.step, loss=row.loss, valid=row.validation_loss, stable_rank=rank)

        return fit(
            searcher,
            objective,
            build.initial_weights(params, forecaster, layout),
            layout=layout,
            matrices=matrices,
            validate=validation.total,
            patience=patience,
            snapshot_every=params.training.snapshot_every,
            generator=torch_generator(params.seed, f"{optimizer} search"),
            budget=Budget(params.budget.evaluations, params.budget.seconds),
            observe=observe,
            checkpoint=checkpoint,
            interruption=interruption,
        )
