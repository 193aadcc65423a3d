"""What a training has left behind, read back: the model with its parameters, or the record of the training.

The weights' files carry all that is needed in their header (`training.artifacts` writes it), so both work in a folder
without params.yaml, such as one that `dvc import` or `dvc artifacts get` has filled. No pickle is involved.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from safetensors import safe_open

from transformer_spectrum.config import tree
from transformer_spectrum.config.load import PARAMETERS, Params, load_params, parse_params
from transformer_spectrum.config.wheel_files import packaged
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.files import read_json
from transformer_spectrum.runtime.parsing import parsing
from transformer_spectrum.training.records.history import History
from transformer_spectrum.training.records.run_folder import RunFolder

if TYPE_CHECKING:
    from transformer_spectrum.models.forecaster import Forecaster

Which = Literal["best", "last", "best_candidate"]


@dataclass(frozen=True)
class Trained:
    """A trained model and where it comes from.

    Attributes:
        model: on the CPU, in evaluation mode. `model.forecast(context, horizon)` runs freely, `model(context, target)`
            is teacher-forced; both take and give (windows, steps, features) in scaled units.
        params: those that it was trained with.
        provenance: optimizer, seed, best step, why the training stopped, the data's source and checksum, versions;
            and `parameters_added_since`, if this version has parameters that the training's did not have. In `params`
            these have the committed values.
        path: the file of its weights.
    """

    model: Forecaster
    params: Params
    provenance: Mapping[str, Any]
    path: Path

    def __repr__(self) -> str:
        weights = sum(parameter.numel() for parameter in self.model.parameters())
        return f"Trained({_told(self.params, self.provenance)}: {weights:,} weights, {self.path})"


@dataclass(frozen=True)
class TrainingRun:
    """What a training recorded.

    Attributes:
        history: losses, budget and every singular value, step by step.
        params: those of the training.
        provenance: as in `Trained`; what run.json says.
        scores: of the test windows, teacher-forced and free-running; None without the folder of metrics.
    """

    history: History
    params: Params
    provenance: Mapping[str, Any]
    scores: Mapping[str, Any] | None = None

    def __repr__(self) -> str:
        scored = "with" if self.scores is not None else "without"
        return f"TrainingRun({_told(self.params, self.provenance)}: {self.history!r}, {scored} scores)"


def _told(params: Params, provenance: Mapping[str, Any]) -> str:
    """A training in three words."""
    return f"{provenance.get('optimizer', 'unknown optimizer')}, {params.loss.type} loss, seed {params.seed}"


def load(path: str | Path, which: Which | None = None) -> Trained:
    """The model of a training.

    Args:
        path: the folder of a training, such as models/adam, runs/NAME/TIME, or runs/NAME if it holds one training
            alone; or one .safetensors file of it.
        which: weights of a folder: "best" by validation (None means it), "last", or "best_candidate", the best
            candidate of
            a generation by its own training loss, which ES has, and GA where ga.weights is mean.
    Returns:
        The model in evaluation mode, with its parameters and provenance.
    Raises:
        InputError: nothing there, a file that is corrupt or was not written by a training, parameters that this version
            of the package does not know or refuses, or weights that do not fit the model that they describe.

    >>> trained = load("models/es", "last")
    >>> trained.params.loss.type, trained.model.training
    ('sgt', False)
    """
    # Here, because `load_run` needs no torch.
    import torch

    from transformer_spectrum.training import build
    from transformer_spectrum.weights.files import SafetensorsFile

    weights = _weights_of(Path(path), which)
    params, provenance = _header(weights)  # first: it may say why there are no weights
    file = SafetensorsFile(weights)
    readout = file.tensors.get("readout.bias")
    features, rest = divmod(readout.shape[0] if readout else 0, params.model.patch_length)  # a token holds them all
    if not features or rest:
        raise InputError(f"{file.path}: its readout does not fit model.patch_length = {params.model.patch_length}")
    model = build.model(params, features)
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    for name in sorted({*shapes, *file.tensors}, key=lambda name: (name not in shapes, name)):
        stored = file.tensors[name].shape if name in file.tensors else "no such weights"
        expected = shapes.get(name, "no such weights")
        if stored != expected:
            raise InputError(f"{file.path}: {name} has {stored} where its parameters describe {expected}")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(file.read(name))
    return Trained(model.eval(), params, provenance, file.path)


def load_run(models: str | Path, metrics: str | Path | None = None) -> TrainingRun:
    """The record of a training.

    Args:
        models: its folder, such as models/adam, runs/NAME/TIME, or runs/NAME if it holds one training alone.
        metrics: the folder of its metrics, such as metrics/adam, for the scores and the wall seconds; None = without,
            but runs/NAME/TIME has its own.
    Returns:
        History, parameters, provenance and, with the metrics, scores.
    Raises:
        InputError: a file is missing, corrupt, of another version of this package or of another training.

    >>> run = load_run("models/es", metrics="metrics/es")
    >>> run.history.steps
    array([0, 1, 2])
    >>> run.scores["best_step"] == run.history.best_step
    True
    """
    models = only_training(Path(models))
    if not models.is_dir():
        raise InputError(f"{models}: no such folder; it must be that of a training, such as models/adam")
    if (run := RunFolder(models)).model.is_dir():
        models, metrics = run.model, run.metrics if metrics is None else metrics
    params, header = _header(models / "best.safetensors")
    provenance = read_json(models / "run.json")
    provenance |= {name: header[name] for name in ("parameters_added_since",) if name in header}
    if metrics is None:
        return TrainingRun(History.load(models / "history.npz"), params, provenance)
    metrics = Path(metrics)
    history = History.load(models / "history.npz", metrics / "plots/metrics/seconds.tsv")
    scores = read_json(metrics / "scores.json")
    if not isinstance(scores, dict) or not {"optimizer", "best_step"} <= set(scores):
        raise InputError(f"{metrics / 'scores.json'}: not the scores of a training: lacks optimizer or best_step")
    if not isinstance(provenance, dict) or "optimizer" not in provenance:
        raise InputError(f"{models / 'run.json'}: not the record of a training: names no optimizer")
    if (scores["optimizer"], scores["best_step"]) != (provenance["optimizer"], history.best_step):
        raise InputError(f"{metrics / 'scores.json'}: of another training than {models}")
    return TrainingRun(history, params, provenance, scores)


def only_training(path: Path) -> Path:
    """The training in a folder such as runs/NAME, and any other path as it is.

    Raises:
        InputError: it holds several trainings.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as runs:
    ...     Path(runs, "20260102").mkdir()
    ...     _ = Path(runs, "20260102", "run.json").write_text("{}")
    ...     only_training(Path(runs)).name
    '20260102'
    """
    inside = sorted(record.parent for record in path.glob("*/run.json")) if path.is_dir() else []
    if not inside or (path / "run.json").exists() or (path / "model").is_dir():
        return path
    if len(inside) > 1:
        raise InputError(f"{path}: holds {len(inside)} trainings; name one of them, such as {inside[-1]}")
    return inside[0]


def _weights_of(path: Path, which: Which | None) -> Path:
    """The file with the weights that are asked for."""
    if not path.is_dir():
        if which is not None:
            raise InputError(f"which = {which} with {path}: chooses from the folder of a training, and this is none")
        if not path.is_file():
            raise InputError(f"{path}: no such file or folder")
        if path.suffix != ".safetensors":
            raise InputError(f"{path}: must be the folder of a training or a .safetensors file of it")
        return path
    path = only_training(path)
    if (run := RunFolder(path)).model.is_dir():
        path = run.model
    file = path / f"{which or 'best'}.safetensors"
    if not file.is_file():
        weights = sorted(stored.stem for stored in path.glob("*.safetensors") if stored.stem != "snapshots")
        raise InputError(f"{file}: no such file; the folder has {', '.join(weights) or 'no weights'}")
    return file


def _header(path: Path) -> tuple[Params, dict[str, Any]]:
    """Parameters and provenance that a training has written into a file of weights."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    with parsing(path, "a readable safetensors file of a training"):
        with safe_open(path, framework="numpy") as stream:
            text = (stream.metadata() or {}).get("run", "null")
        header = json.loads(text)
    if not isinstance(header, dict) or "params" not in header:
        raise InputError(f"{path}: says nothing of a training, so it was written by something else")
    if "steps" in header:
        raise InputError(f"{path}: snapshots of single matrices, no model; best or last is one")
    if "no_weights" in header:
        raise InputError(f"{path}: holds no weights: {header['no_weights']}")
    tree = header.pop("params")
    added = _add_what_is_missing(tree) if isinstance(tree, dict) else []
    try:
        params = parse_params(tree)
    except InputError as error:
        raise InputError(f"{path}: written by another version of transformer-spectrum: {error}") from None
    return params, {**header, **({"parameters_added_since": added} if added else {})}


def _add_what_is_missing(content: dict[str, Any]) -> list[str]:
    """Gives parameters that this version knows and the training did not the committed values; returns their names.

    So weights stay readable when the package learns of new parameters. Those of the architecture are left missing,
    which is an error: nobody can know what they were. Those of tracking are no part of a training.
    """
    defaults = load_params(packaged("params.yaml")).model_dump(mode="json")
    added: list[str] = []
    present = tree.flatten(content, into=tree.sections(PARAMETERS))
    for name in PARAMETERS:
        section = tree.section(name)
        if name in present or section == "model":
            continue
        try:
            tree.put(content, name, tree.get(defaults, name))
        except TypeError:
            return added  # not parameters at all, as `parse_params` will say
        added += [] if section == "tracking" else [name]
    return added
