"""A file or a Hugging Face folder, whole or sharded -> one checkpoint, and the files that it does not use."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from transformer_spectrum.runtime.errors import InputError, printable
from transformer_spectrum.runtime.files import read_json
from transformer_spectrum.weights.files.kinds import kind_of
from transformer_spectrum.weights.files.readers import SafetensorsFile, StateDictFile
from transformer_spectrum.weights.files.stored import Beside, Stored, WeightFile, natural

WEIGHTS_OF_A_FOLDER = (
    "model.safetensors.index.json",
    "model.safetensors",
    "pytorch_model.bin.index.json",
    "pytorch_model.bin",
)
NAMED_FILES = 8  # in an error
_READABLE = re.compile(r"\.(safetensors|pt|pth|bin|ckpt|model|tar|th|pkl)$")
_WEIGHTS = re.compile(  # by name, of this and other formats
    r"\.(safetensors|pt|pth|bin|ckpt|th|pkl|pickle|h5|hdf5|keras|msgpack|onnx|gguf|ggml|npz|npy|pb|tflite|ot|mlmodel|"
    r"distcp|pt2|pth\.tar)$|\.data-\d+-of-\d+$|\.index\.json$"
)
_TRAINING = re.compile(
    r"^(optimizer|scheduler|scaler|rng_state|random_states|training_args|trainer_state)|optim_states|"
    r"^(tokenizer|spiece|sentencepiece|vocab|merges)"
)


@dataclass(frozen=True)
class Checkpoint:
    """All tensors of one model.

    Attributes:
        path: what the user named.
        files: those with weights.
        where: tensor name -> its file.
        config: config.json beside the weights; empty where there is none.
        notes: what a reader of results has to know, one sentence each.
        key: dotted path of the dictionary that is the model; empty for whole files.
        beside: what the file, or the folder, holds beside the model.
    """

    path: Path
    files: tuple[WeightFile, ...]
    where: Mapping[str, WeightFile]
    config: Mapping[str, Any]
    notes: list[str] = field(default_factory=list)
    key: str = ""
    beside: tuple[Beside, ...] = ()

    @cached_property
    def _names(self) -> dict[str, str]:
        """As it is shown -> as it is stored."""
        return {printable(name): name for name in sorted(self.where, key=natural)}

    @property
    def tensors(self) -> dict[str, Stored]:
        """What is stored, by name, in natural order: layer 2 before layer 10; signs that nobody can see are escaped."""
        return {name: self.where[own].tensors[own] for name, own in self._names.items()}

    @property
    def metadata(self) -> dict[str, str]:
        """What the files say about themselves."""
        return {name: text for file in self.files for name, text in file.metadata.items()}

    def read(self, name: str) -> Tensor:
        """The tensor on the CPU, as stored; the caller lets go of it before the next."""
        own = self._names[name]
        return self.where[own].read(own)


def open_checkpoint(path: str | Path, key: str | None = None, *, skip_objects: bool = False) -> Checkpoint:
    """Finds the weights and reads what they are, not yet their entries.

    Args:
        path: a safetensors file or one of torch.save, whatever its name ends in, or a Hugging Face folder with
            model.safetensors or pytorch_model.bin, whole or sharded; config.json beside the weights is read.
        key: dotted path of the dictionary in the file that is the model, or the beginning of its tensors' names;
            None: the one that looks like a model, see `choice`.
        skip_objects: leave out objects of unknown classes in a pickle, which end the reading otherwise; their code
            is run in neither case.
    Raises:
        InputError: nothing there, no weights, another format, a corrupt file, a missing shard, an unknown key, or a
            pickle with code in it.

    >>> import torch
    >>> torch.save({"epoch": 3, "model": {"fc.weight": torch.ones(2, 3)}}, "checkpoint.pt")
    >>> checkpoint = open_checkpoint("checkpoint.pt")
    >>> checkpoint.tensors, checkpoint.key
    ({'fc.weight': Stored(shape=(2, 3), dtype='F32')}, 'model')
    """
    path = Path(path)
    if path.is_symlink() and not path.exists():
        raise InputError(f"{path}: a link to {path.readlink()}, which is not there")
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    weights = _weights_of(path) if path.is_dir() else path
    listed = _weight_map(weights) if weights.suffix == ".json" and kind_of(weights) == "index" else {}
    shards = sorted(set(listed.values())) or [weights]
    files = tuple(_open(shard, key if len(shards) == 1 else None, skip_objects) for shard in shards)
    where: dict[str, WeightFile] = {}
    for file in files:
        for name in file.tensors:
            if name in where:
                raise InputError(f"{file.path}: {name} is in {where[name].path.name} too")
            where[name] = file
    if len(shards) > 1 or key is None:
        for name, shard in listed.items():
            if name not in where:
                raise InputError(f"{weights}: {name} is not in {shard.name}")
    beside = [entry for file in files for entry in file.beside]
    if key is not None and len(shards) > 1:
        where, left_out = _below(key, where, weights)
        beside += left_out
    if path.is_dir():
        beside += _unused(path, {weights.name, *(shard.name for shard in shards)})
    notes = [note for file in files for note in file.notes]
    return Checkpoint(path, files, where, _config(weights.parent), notes, files[0].key, tuple(beside))


def _open(path: Path, key: str | None, skip_objects: bool) -> WeightFile:
    kind = kind_of(path)
    if kind == "safetensors":
        return SafetensorsFile(path, key)
    if kind == "index":
        raise InputError(f"{path}: JSON, no weights")
    return StateDictFile(path, key, zipped=kind == "torch zip", skip_objects=skip_objects)


def _below(key: str, where: Mapping[str, WeightFile], index: Path) -> tuple[dict[str, WeightFile], list[Beside]]:
    """The tensors of a sharded model whose names begin with the key, and the rest."""
    prefix = f"{key.strip('.')}."
    taken = {name: file for name, file in where.items() if f"{name}.".startswith(prefix)}
    if not taken:
        beginnings = list(dict.fromkeys(name.split(".", 1)[0] for name in sorted(where, key=natural)))
        raise InputError(f"{index}: --key {key} begins no name; there are {_listed(beginnings)}")
    rest = [
        Beside(name, where[name].tensors[name].shape, f"a tensor beside the model, not below --key {key}")
        for name in sorted(where.keys() - taken.keys(), key=natural)
    ]
    return taken, rest


# -- folders ---------------------------------------------------------------------------------------------------
def _weights_of(folder: Path) -> Path:
    for name in WEIGHTS_OF_A_FOLDER:
        if (folder / name).is_file():
            return folder / name
    files = sorted(path for path in folder.iterdir() if path.is_file())
    indices = [path for path in files if path.name.endswith((".safetensors.index.json", ".bin.index.json"))]
    if len(indices) == 1:
        return indices[0]
    several = [path for path in files if _READABLE.search(path.name) and not _TRAINING.search(path.name)]
    if len(several) == 1:
        return several[0]
    if several:
        names = _listed([path.name for path in several])
        raise InputError(f"{folder}: several files of weights and no index; name one of {names}")
    raise InputError(
        f"{folder}: no weights{_instead(folder, files)}; it must hold one of {', '.join(WEIGHTS_OF_A_FOLDER)}"
    )


def _instead(folder: Path, files: Sequence[Path]) -> str:
    """What a folder without weights holds."""
    names = {path.name for path in files}
    if ".metadata" in names and any(name.endswith(".distcp") for name in names):
        return " but a torch.distributed.checkpoint, to be merged by torch.distributed.checkpoint.format_utils"
    if "saved_model.pb" in names:
        return " but a TensorFlow SavedModel"
    if {"data.pkl", "version"} <= names:
        return " but an unpacked file of torch.save; zip it again, with the folder in it"
    below = [f"{path.parent.name}/{path.name}" for path in _files_below(folder)]
    if below:
        return f" in the folder itself, name one below it, such as {_listed(below)}"
    return f", it holds {_listed(sorted(names))}" if names else ", it is empty"


def _files_below(folder: Path) -> list[Path]:
    """Files of weights one level down."""
    folders = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    return [path for below in folders for path in sorted(below.iterdir()) if _is_weights(path)]


def _is_weights(path: Path) -> bool:
    return path.is_file() and bool(_WEIGHTS.search(path.name))


def _unused(folder: Path, used: set[str]) -> list[Beside]:
    """Files of weights in a folder, and one level below it, that were not read."""
    files = [path for path in sorted(folder.iterdir()) if _is_weights(path) and path.name not in used]
    entries = [Beside(path.name, (), _reason(path)) for path in files]
    below = [
        Beside(f"{path.parent.name}/{path.name}", (), "a file of weights in a folder below; name it to measure it")
        for path in _files_below(folder)
    ]
    return entries + below


def _reason(path: Path) -> str:
    if _TRAINING.search(path.name):
        return "a file of the training or the tokenizer, no model"
    if path.name.startswith("adapter"):
        return "an adapter beside the model; name the file to measure it"
    return "a further file beside the one that was read; name it to measure it"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED_FILES} more" if len(names) > NAMED_FILES else ""
    return ", ".join(names[:NAMED_FILES]) + more


# -- JSON beside the weights -----------------------------------------------------------------------------------
def _json(path: Path) -> dict[str, Any]:
    value = read_json(path)
    if not isinstance(value, dict):
        raise InputError(f"{path}: must be a JSON object")
    return value


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    return _json(path) if path.is_file() else {}


def _weight_map(index: Path) -> dict[str, Path]:
    """Tensor name -> its shard, as the index of a sharded checkpoint says."""
    shards = _json(index).get("weight_map")
    if not isinstance(shards, dict) or not shards or not all(isinstance(name, str) for name in shards.values()):
        raise InputError(f"{index}: needs a weight_map from tensor names to files")
    for name in shards.values():
        if Path(name).name != name:
            raise InputError(f"{index}: {name} must be a file in the same folder")
        if not (index.parent / name).is_file():
            raise InputError(f"{index}: the shard {name} is missing")
    return {tensor: index.parent / name for tensor, name in shards.items()}
