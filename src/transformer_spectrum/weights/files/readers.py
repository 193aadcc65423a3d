"""One file of weights -> named tensors, one at a time: safetensors, and what torch.save wrote.

Every tensor is read from a fresh mapping of its file that ends with it, so that memory holds one tensor at a time and
not the pages of all those read before.
"""

from __future__ import annotations

from pathlib import Path

from safetensors import safe_open
from torch import Tensor

from transformer_spectrum.runtime.errors import InputError, shortened
from transformer_spectrum.runtime.parsing import parsing
from transformer_spectrum.weights.files import pickles
from transformer_spectrum.weights.files.choice import choose
from transformer_spectrum.weights.files.contents import Contents, contents_of
from transformer_spectrum.weights.files.stored import Stored, stored
from transformer_spectrum.weights.matrices.entries import dense

REMAP_AFTER = 1 << 28  # bytes: opening a state dict anew costs milliseconds, so not for every tensor


class SafetensorsFile:
    """A safetensors file."""

    def __init__(self, path: Path, key: str | None = None) -> None:
        """Opens it and chooses.

        Args:
            path: of the file.
            key: the beginning of the names to take; None: all but an optimizer's.
        Raises:
            InputError: not readable, no tensors, or an unknown key.
        """
        self.path = path
        with parsing(path, "a readable safetensors file"), safe_open(path, "pt") as stream:
            slices = {name: stream.get_slice(name) for name in stream.keys()}  # noqa: SIM118, no mapping
            sizes: dict[tuple[str, ...], Stored] = {
                (name,): Stored(tuple(piece.get_shape()), piece.get_dtype()) for name, piece in slices.items()
            }
            self.metadata = dict(stream.metadata() or {})
        choice = choose(Contents(), sizes, key, str(path))
        self._names = {name: inside[0] for name, inside in choice.paths.items()}
        self.tensors = {name: sizes[inside] for name, inside in choice.paths.items()}
        self.key, self.beside, self.notes = choice.key, choice.beside, list(choice.notes)

    def read(self, name: str) -> Tensor:
        """The tensor on the CPU, as stored."""
        with parsing(f"{self.path}: {shortened(name)}", "readable"), safe_open(self.path, "pt") as stream:
            return stream.get_tensor(self._names[name])


class StateDictFile:
    """What torch.save wrote: a state dict, by itself or beside other things."""

    def __init__(self, path: Path, key: str | None = None, *, zipped: bool = True, skip_objects: bool = False) -> None:
        """Opens it and chooses.

        Args:
            path: of the file.
            key: dotted path of the dictionary to take; None: the one that looks like a model.
            zipped: it is of the zip format, which can be mapped into memory.
            skip_objects: see `pickles.load`.
        Raises:
            InputError: not readable, no tensors, or an unknown key.
        """
        self.path = path
        self.metadata: dict[str, str] = {}
        self.notes: list[str] = []
        self._mapped, self._skip_objects = zipped and path.suffix != ".safetensors", skip_objects
        if not self._mapped:
            why = "of torch.save in spite of its name" if zipped else "the old format of torch.save"
            self.notes.append(f"{path.name}: {why}, so the whole file is held in memory")
        contents = self._load()
        sizes = {inside: stored(tensor) for inside, tensor in contents.tensors.items()}
        choice = choose(contents, sizes, key, str(path))
        self._paths, self._open, self._read = dict(choice.paths), contents.tensors, 0
        self.tensors = {name: sizes[inside] for name, inside in choice.paths.items()}
        self.key, self.beside = choice.key, choice.beside
        self.notes += choice.notes
        if not self._mapped:  # what is not taken need not stay in memory
            self._open = {inside: contents.tensors[inside] for inside in choice.paths.values()}

    def _load(self) -> Contents:
        whole, unknown = pickles.load(self.path, mapped=self._mapped, skip_objects=self._skip_objects)
        if unknown and not any("--skip-objects" in note for note in self.notes):
            self.notes.append(
                f"{self.path.name}: objects were not made but skipped (--skip-objects): {', '.join(unknown)}"
            )
        try:
            return contents_of(whole)
        except InputError as error:
            raise InputError(f"{self.path}: {error}") from None

    def read(self, name: str) -> Tensor:
        """The tensor on the CPU, as stored; sparse and quantised ones written out in full."""
        if not self._open:
            self._open, self._read = self._load().tensors, 0
        tensor = dense(self._open[self._paths[name]], f"{self.path}: {name}")
        self._read += tensor.numel() * tensor.element_size()
        if self._mapped and self._read >= REMAP_AFTER:
            self._open = {}
        return tensor
