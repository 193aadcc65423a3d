"""Files of weights -> named tensors, one at a time: safetensors, a torch state dict or a Hugging Face folder.

Nothing in a file is executed. Every tensor is read from a fresh mapping of its file that ends with it, so that
memory holds one tensor at a time and not the pages of all those read before.
"""

from __future__ import annotations

import json
import pickle
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from transformer_spectrum.errors import InputError

FLOATING = ("BF16", "F16", "F32", "F64")
STATE_DICT_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt")
NESTS = ("state_dict", "model_state_dict", "model", "module", "params")
WEIGHTS_OF_A_FOLDER = (
    "model.safetensors.index.json",
    "model.safetensors",
    "pytorch_model.bin.index.json",
    "pytorch_model.bin",
)
REMAP_AFTER = 1 << 28  # bytes: opening a state dict anew costs milliseconds, so not for every tensor
_CODES = {torch.bfloat16: "BF16", torch.float16: "F16", torch.float32: "F32", torch.float64: "F64"}


@dataclass(frozen=True)
class Stored:
    """What a file says about a tensor before it is read.

    Attributes:
        shape: as stored.
        dtype: such as "F32" or "I64"; one of FLOATING where its entries are weights.
    """

    shape: tuple[int, ...]
    dtype: str


class WeightFile(Protocol):
    """One file that holds tensors."""

    path: Path
    notes: list[str]

    @property
    def tensors(self) -> Mapping[str, Stored]: ...

    @property
    def metadata(self) -> Mapping[str, str]: ...

    def read(self, name: str) -> Tensor:
        """The tensor on the CPU, as stored."""
        ...


class SafetensorsFile:
    """A .safetensors file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes: list[str] = []
        try:
            with safe_open(path, "pt") as stream:
                slices = {name: stream.get_slice(name) for name in stream.keys()}  # noqa: SIM118, no mapping
                self.tensors = {
                    name: Stored(tuple(piece.get_shape()), piece.get_dtype()) for name, piece in slices.items()
                }
                self.metadata = dict(stream.metadata() or {})
        except SafetensorError as error:
            raise InputError(f"{path}: not a readable safetensors file ({error})") from None

    def read(self, name: str) -> Tensor:
        """The tensor on the CPU, as stored."""
        try:
            with safe_open(self.path, "pt") as stream:
                return stream.get_tensor(name)
        except SafetensorError as error:
            raise InputError(f"{self.path}: cannot read {name} ({error})") from None


class StateDictFile:
    """What torch.save wrote of a state dict, by itself or under one of NESTS."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.metadata: dict[str, str] = {}
        self.notes: list[str] = []
        with path.open("rb") as stream:
            self._mapped = stream.read(4) == b"PK\x03\x04"  # the zip format, since PyTorch 1.6
        if not self._mapped:
            self.notes.append(f"{path.name}: the old format of torch.save, so the whole file is held in memory")
        self._open: dict[str, Tensor] | None = self._load()
        self._read = 0
        self.tensors = {name: self._stored(tensor) for name, tensor in self._open.items()}

    @staticmethod
    def _stored(tensor: Tensor) -> Stored:
        plain = tensor.layout == torch.strided and not tensor.is_quantized
        code = _CODES.get(tensor.dtype, str(tensor.dtype).removeprefix("torch."))
        return Stored(tuple(tensor.shape), code if plain else f"{tensor.layout} {tensor.dtype}")

    def _load(self) -> dict[str, Tensor]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # on pickle protocols: the error below says it
                whole = torch.load(self.path, map_location="cpu", weights_only=True, mmap=self._mapped)
        except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, IndexError, TypeError) as error:
            refused = re.search(r"nsupported (?:global: )?GLOBAL (\S+)", str(error))
            reason = (
                f"holds {refused[1]}, and only tensors are read: code in a pickle is never run; save the state dict"
                if refused
                else "not a readable torch state dict"
            )
            raise InputError(f"{self.path}: {reason}") from None
        return self._tensors_of(whole)

    def _tensors_of(self, whole: Any) -> dict[str, Tensor]:
        for nest in (None, *NESTS):
            inside = whole if nest is None else whole.get(nest)
            if isinstance(inside, Mapping):
                found = {str(name): value for name, value in inside.items() if isinstance(value, Tensor)}
                if any(tensor.ndim for tensor in found.values()):
                    return found
            if not isinstance(whole, Mapping):
                break
        raise InputError(f"{self.path}: no tensors at its top nor under {', '.join(NESTS)}")

    def read(self, name: str) -> Tensor:
        """The tensor on the CPU, as stored."""
        if self._open is None:
            self._open, self._read = self._load(), 0
        tensor = self._open[name].detach()
        self._read += tensor.numel() * tensor.element_size()
        if self._mapped and self._read >= REMAP_AFTER:
            self._open = None
        return tensor


@dataclass(frozen=True)
class Checkpoint:
    """All tensors of one model.

    Attributes:
        path: what the user named.
        files: those with weights.
        where: tensor name -> its file.
        config: config.json beside the weights; empty where there is none.
        notes: what a reader of results has to know, one sentence each.
    """

    path: Path
    files: tuple[WeightFile, ...]
    where: Mapping[str, WeightFile]
    config: Mapping[str, Any]
    notes: list[str] = field(default_factory=list)

    @property
    def tensors(self) -> dict[str, Stored]:
        """What is stored, by name, in natural order: layer 2 before layer 10."""
        return {name: self.where[name].tensors[name] for name in sorted(self.where, key=natural)}

    @property
    def metadata(self) -> dict[str, str]:
        """What the files say about themselves."""
        return {name: text for file in self.files for name, text in file.metadata.items()}

    def read(self, name: str) -> Tensor:
        """The tensor on the CPU, as stored; the caller lets go of it before the next."""
        return self.where[name].read(name)


def natural(name: str) -> list[tuple[int, int, str]]:
    """A sort key by which numbers in names count as numbers."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]


def open_checkpoint(path: str | Path) -> Checkpoint:
    """Finds the weights and reads what they are, not yet their entries.

    Args:
        path: a .safetensors file, a torch state dict (.pt, .pth, .bin, .ckpt), or a Hugging Face folder with
            model.safetensors or pytorch_model.bin, whole or sharded; config.json beside the weights is read.
    Raises:
        InputError: nothing there, no weights, a corrupt file, a missing shard, or a pickle with code in it.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    weights = _weights_of(path) if path.is_dir() else path
    listed = _weight_map(weights) if weights.suffix == ".json" else {}
    files = tuple(_open(file) for file in (sorted(set(listed.values())) or [weights]))
    where: dict[str, WeightFile] = {}
    for file in files:
        for name in file.tensors:
            if name in where:
                raise InputError(f"{file.path}: {name} is in {where[name].path.name} too")
            where[name] = file
    for name, shard in listed.items():
        if name not in where:
            raise InputError(f"{weights}: {name} is not in {shard.name}")
    notes = [note for file in files for note in file.notes]
    return Checkpoint(path, files, where, _config(weights.parent), notes)


def _open(path: Path) -> WeightFile:
    if path.suffix == ".safetensors":
        return SafetensorsFile(path)
    if path.suffix in STATE_DICT_SUFFIXES:
        return StateDictFile(path)
    raise InputError(f"{path}: must end in .safetensors or one of {', '.join(STATE_DICT_SUFFIXES)}")


def _weights_of(folder: Path) -> Path:
    for name in WEIGHTS_OF_A_FOLDER:
        if (folder / name).is_file():
            return folder / name
    others = sorted(path for path in folder.iterdir() if path.suffix in (".safetensors", *STATE_DICT_SUFFIXES))
    if len(others) == 1:
        return others[0]
    if others:
        raise InputError(f"{folder}: several files of weights and no index; name one, such as {others[0].name}")
    raise InputError(f"{folder}: no weights; it must hold one of {', '.join(WEIGHTS_OF_A_FOLDER)}")


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid JSON ({error})") from None
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
