"""Where the examples in the docstrings of `report` and `analysis` begin: in a repository after a small run, made up."""

import json
from pathlib import Path

import numpy as np
from made_up import ROOT, layout, training, write_run
from safetensors.numpy import save_file

from transformer_spectrum.analysis.of_checkpoint.checkpoint import examine
from transformer_spectrum.analysis.of_checkpoint.settings import ExaminationSettings
from transformer_spectrum.analysis.of_training.inputs import read_forecasts, summaries_of
from transformer_spectrum.config.load import load_params
from transformer_spectrum.report.run import read_run
from transformer_spectrum.runtime.files import read_json, write_arrays, write_json
from transformer_spectrum.spectra.analysis import Estimators

SPECS = [spec for spec in layout(16) if spec[1] in ("feed_forward", "readout")]
STEPS = {"adam": 3, "es": 4, "ga": 4}
CIRCUMSTANCES = {
    "begun": "2026-01-02T03:04:05+00:00",
    "commit": "0123456789abcdef0123456789abcdef01234567",
    "changed": [],
    "experiment": None,
    "machine": {"processor": "a processor", "architecture": "x86_64", "system": "Linux", "cores": 2},
}
MODELS = {name: Path("models") / name for name in STEPS}


def write_repository(root):
    """models, metrics, plots and data of a run of three trainings; without tests of its tails, which take long."""
    time = np.arange(12.0)
    waves = 50 + 20 * np.sin(time[:, None] / 3 + np.arange(2)[:, None, None])  # (windows, time, features)
    forecasts = {}
    for i, (name, steps) in enumerate(STEPS.items()):
        folder = root / MODELS[name]
        history, snapshots = training(name, steps, SPECS)
        history.save(folder / "history.npz")
        weights = {matrix: np.ascontiguousarray(stack) for matrix, stack in snapshots.weights.items()}
        save_file(weights, folder / "snapshots.safetensors", {"run": json.dumps({"steps": list(snapshots.steps)})})
        params = load_params(ROOT / "params.yaml").model_dump(mode="json")
        header = {"run": json.dumps({"params": params, "optimizer": name})}
        save_file({matrix: stack[-1].copy() for matrix, stack in weights.items()}, folder / "best.safetensors", header)
        forecasts[name] = waves[:, 8:] + i + 1
        arrays = {"context": waves[:, :8], "truth": waves[:, 8:], "forecast": forecasts[name]}
        write_arrays(folder / "forecasts.npz", {**arrays, "entities": np.array(["north", "south"])})
    params = (ROOT / "params.yaml").read_text()
    (root / "params.yaml").write_text(params.replace("bootstrap: 100", "bootstrap: 0"))
    models = {name: root / folder for name, folder in MODELS.items()}
    write_run(root, summaries_of(load_params(root / "params.yaml"), models), read_forecasts(models))
    for name, folder in models.items():
        write_json(folder / "run.json", {**read_json(folder / "run.json"), "optimizer": name})
        write_json(root / "metrics" / name / "circumstances.json", CIRCUMSTANCES)
    (root / "params.yaml").write_text(params.replace("bootstrap: 100", "bootstrap: 0"))


def names(root):
    """What the examples of the two rooms call by name; docs/api says how each comes about."""
    params = load_params(root / "params.yaml")
    models = {name: root / folder for name, folder in MODELS.items()}
    run = read_run(params, root)
    return {
        "params": params,
        "models": MODELS,
        "summaries": summaries_of(params, models),
        "forecast": read_forecasts(models),
        "run": run,
        "caption": run.caption,
        "examination": examine(root / "models/adam/best.safetensors", ExaminationSettings(Estimators(), shuffles=0)),
    }
