"""What a path holds for `analysis.api`: the record of a training, its model, or the checkpoint of somebody else."""

from __future__ import annotations

import json
import os
from pathlib import Path

from transformer_spectrum.analysis.loading import Trained, TrainingRun, load, load_run, only_training
from transformer_spectrum.analysis.of_checkpoint.checkpoint import examine
from transformer_spectrum.analysis.of_checkpoint.results import Examination
from transformer_spectrum.analysis.of_checkpoint.settings import ExaminationSettings
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.spectra.analysis import Estimators
from transformer_spectrum.training.records.run_folder import RunFolder
from transformer_spectrum.weights.files import SafetensorsFile

BEST = "best.safetensors"
SMALLEST = 1  # side of a matrix: the library measures all, as it does those of a module


def opened(path: str | os.PathLike[str]) -> TrainingRun | Trained | Path:
    """The record of a training for its folder, its model for a file of its weights, else the path of a checkpoint.

    Raises:
        InputError: nothing there, several trainings, or a training whose files are damaged.

    >>> opened("models/es").history
    History(5 steps from 0 to 4 of 9 matrices, best step 4)
    >>> opened("models/es/snapshots.safetensors").name
    'snapshots.safetensors'
    """
    path = only_training(Path(path))
    if not path.exists():
        raise InputError(
            f"{path}: no such file or folder; name a training (models/adam, runs/NAME), a file of weights or the "
            "folder of a Hugging Face model"
        )
    if path.is_dir():
        run = RunFolder(path)
        if run.record.is_file() and not (run.model.is_dir() or (path / "history.npz").is_file()):
            raise InputError(f"{path}: a training without a model yet; it is {run.state}")
        is_training = any((folder / "history.npz").is_file() for folder in (path, run.model))
        return load_run(path) if is_training else path
    return load(path) if _is_model(path) else path


def _is_model(path: Path) -> bool:
    """Whether a training has written it, and not of single matrices alone, as snapshots.safetensors is."""
    try:
        told = json.loads(SafetensorsFile(path).metadata.get("run", "null"))
    except (InputError, ValueError):  # anything else is for `open_checkpoint` to read or to refuse
        return False
    return isinstance(told, dict) and "params" in told and "steps" not in told


def weights_of(path: str | os.PathLike[str]) -> Path:
    """The best weights of a training where the path is a training's folder, else the path itself.

    Raises:
        InputError: the folder holds several trainings.

    >>> weights_of("models/es").name, weights_of("somebody.safetensors").name
    ('best.safetensors', 'somebody.safetensors')
    """
    path = only_training(Path(path))
    for folder in (path, RunFolder(path).model):
        if (folder / "history.npz").is_file() and (folder / BEST).is_file():
            return folder / BEST
    return path


def examined(path: Path, estimators: Estimators, shuffles: int, seed: int) -> Examination:
    """What `transformer-spectrum analyze` measures of a checkpoint, matrices of any size.

    Args:
        path: see `weights.files.open_checkpoint`.
        estimators: their settings.
        shuffles: null draws of a matrix; count, >= 3, or 0 for no null.
        seed: of the shuffles.
    Raises:
        InputError: as `of_checkpoint.checkpoint.examine`.

    >>> examination = examined(Path("models/es/best.safetensors"), Estimators(), 0, 0)
    >>> len(examination.matrices), examination.measured_weights
    (9, 4288)
    """
    return examine(path, ExaminationSettings(estimators, shuffles, seed, min_size=SMALLEST))
