"""Nested dictionaries, lists and objects -> their tensors by path, in the order of the file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.weights.files.pickles import StandIn, StoredArray
from transformer_spectrum.weights.files.roles import is_training

Path = tuple[str, ...]
DEPTH = 40  # levels of nesting that are followed; deeper ones are listed
TENSORS = 1_000_000  # a limit for pickles that name one list many times over
OPTIMIZER_KEYS = {"state", "param_groups"}  # of torch.optim.Optimizer.state_dict()
_PLAIN = frozenset((int, float, str, bytes, bool, complex, type(None)))
_PACKED = re.compile(r"(_packed_params\.)?_packed_params$")  # torch's quantised Linear keeps (weight, bias) there
_INSIDE_A_MODULE = ("_parameters", "_buffers", "_modules")  # of a pickled module; no part of its names


@dataclass
class Contents:
    """What a checkpoint holds.

    Attributes:
        tensors: path of keys -> tensor.
        optimizers: paths that hold an optimizer's state dict, by its keys.
        empty: keys of the top without a tensor below them.
        unread: path -> why what lies there is not followed.
        without: identities of containers without a tensor, which need not be looked into again.
    """

    tensors: dict[Path, Tensor] = field(default_factory=dict)
    optimizers: set[Path] = field(default_factory=set)
    empty: list[str] = field(default_factory=list)
    unread: dict[Path, str] = field(default_factory=dict)
    without: set[int] = field(default_factory=set)

    def is_training(self, path: Path, root: Path = ()) -> bool:
        """Whether a tensor belongs to an optimizer, a schedule or the like, by the keys below the root."""
        if any(path[:depth] in self.optimizers for depth in range(len(root) + bool(root), len(path))):
            return True
        return is_training(path[len(root) : -1], path[-1])


def contents_of(whole: Any) -> Contents:
    """Every tensor and numeric array in nested dictionaries, lists, tuples, modules and stand-ins.

    Args:
        whole: what a file or a caller hands over. Nothing is copied but numpy arrays that torch cannot share.

    >>> import torch
    >>> contents = contents_of({"model": {"fc.weight": torch.ones(2, 2)}, "epoch": 3})
    >>> list(contents.tensors), contents.empty
    ([('model', 'fc.weight')], ['epoch'])
    """
    contents = Contents()
    if isinstance(whole, Tensor | np.ndarray | StoredArray):
        whole = {"tensor": whole}
    if isinstance(whole, Mapping) and whole.keys() >= OPTIMIZER_KEYS:
        contents.optimizers.add(())
    for key, value in _entries(whole):
        before = len(contents.tensors), len(contents.unread)
        _collect(value, () if key in _INSIDE_A_MODULE else (key,), contents, (id(whole),))
        if not isinstance(whole, StandIn) and before == (len(contents.tensors), len(contents.unread)):
            contents.empty.append(key)
    return contents


def _collect(value: Any, path: Path, contents: Contents, around: tuple[int, ...]) -> None:
    if isinstance(value, StoredArray | np.ndarray):
        tensor = value.tensor() if isinstance(value, StoredArray) else _of_array(value)
        if tensor is not None:
            contents.tensors[path] = tensor
    elif isinstance(value, Tensor):
        contents.tensors[path] = value
    elif isinstance(value, StandIn) and type(value).__name__.startswith("torch.nn.parameter.Uninitialized"):
        contents.unread[path] = "a parameter of a lazy module that has no entries yet"
    elif id(value) in around:
        contents.unread[path] = "it holds itself"
    elif len(around) > DEPTH:
        contents.unread[path] = f"nested more than {DEPTH} levels deep"
    elif isinstance(value, tuple) and _PACKED.search(path[-1]):
        for name, inside in zip(("weight", "bias"), value, strict=False):
            if isinstance(inside, Tensor):
                contents.tensors[*path[:-1], _PACKED.sub(name, path[-1])] = inside
    elif id(value) not in contents.without:
        before = len(contents.tensors), len(contents.unread)
        if isinstance(value, Mapping) and value.keys() >= OPTIMIZER_KEYS:
            contents.optimizers.add(path)
        for key, inside in _entries(value):
            if type(inside) in _PLAIN:
                continue
            _collect(inside, path if key in _INSIDE_A_MODULE else (*path, key), contents, (*around, id(value)))
        if before == (len(contents.tensors), len(contents.unread)):
            contents.without.add(id(value))
        elif len(contents.tensors) > TENSORS:
            raise InputError(f"{'.'.join(path)}: more than {TENSORS:,} tensors")


def _entries(value: Any) -> Iterable[tuple[str, Any]]:
    """Keys and values of whatever has any."""
    if isinstance(value, StandIn):
        state = getattr(value, "state", None)  # a crafted pickle may have taken it away
        state = state[-1] if isinstance(state, tuple) and state else state
        return _entries(state) if isinstance(state, Mapping) else ()
    if isinstance(value, Mapping):
        return [(key if isinstance(key, str) else str(key), inside) for key, inside in value.items()]
    if isinstance(value, list | tuple) and not isinstance(value, torch.Size):
        return [(str(i), inside) for i, inside in enumerate(value) if type(inside) not in _PLAIN]
    if isinstance(value, nn.Module):
        return list(value.named_parameters())
    return ()


def _of_array(array: np.ndarray) -> Tensor | None:
    if array.dtype.kind not in "fiubc" or array.dtype.itemsize > 16:
        return None
    try:
        return torch.from_numpy(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("=")).reshape(array.shape))
    except TypeError:  # a type that torch has not, such as long doubles
        return None
