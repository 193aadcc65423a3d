"""Which of the tensors in a checkpoint are the model, by the keys around them, their names and their number.

A dictionary that is called a model, or that holds matrices called weights, is preferred to loose tensors; one that
is called a copy (ema, teacher, discriminator) is taken only where there is no other; the state of an optimizer never
is. Whatever is not taken is listed.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

from torch import Tensor

from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.weights.files.beside import beside_of, listed, notes_of
from transformer_spectrum.weights.files.contents import Contents, Path, contents_of
from transformer_spectrum.weights.files.roles import is_branch, is_weight, role_of
from transformer_spectrum.weights.files.stored import Beside, Stored, stored

SMALL = 8  # tensors of a dictionary that may be one layer of many


@dataclass(frozen=True)
class Choice:
    """The tensors that are the model.

    Attributes:
        key: dotted path of the dictionary that holds them; empty for the top.
        paths: name of a tensor below that key -> where it lies.
        beside: the rest, dictionaries in one entry.
        notes: which was taken and what was beside it; empty where there was nothing to choose.
    """

    key: str
    paths: Mapping[str, Path]
    beside: tuple[Beside, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Candidate:
    root: Path
    paths: tuple[Path, ...]
    rank: tuple[int, bool, int, bool, int] = field(default=(0, False, 0, False, 0))


@dataclass(frozen=True)
class Model:
    """Tensors of a model, taken out of whatever was around them.

    Attributes:
        tensors: by name.
        choice: where they lay and what was beside them.
    """

    tensors: dict[str, Tensor]
    choice: Choice


def tensors_of(nested: Any, key: str | None = None) -> Model:
    """The model's tensors in a state dict, or in a checkpoint that holds one beside other things.

    Args:
        nested: dictionaries, lists and modules in one another, such as {"model": state_dict, "epoch": 3}.
        key: dotted path of the dictionary to take, or the beginning of names; None: the one that looks like a model.
    Raises:
        InputError: no tensors, none but an optimizer's, or an unknown key; the keys that exist are named.

    >>> import torch
    >>> model = tensors_of({"net": {"query.weight": torch.ones(4, 4)}, "epoch": 3, "confusion": torch.ones(2, 2)})
    >>> list(model.tensors), model.choice.key, [beside.name for beside in model.choice.beside]
    (['query.weight'], 'net', ['confusion'])
    """
    contents = contents_of(nested)
    sizes = {path: stored(tensor) for path, tensor in contents.tensors.items()}
    choice = choose(contents, sizes, key, f"a {type(nested).__name__}")
    return Model({name: contents.tensors[path] for name, path in choice.paths.items()}, choice)


def choose(contents: Contents, sizes: Mapping[Path, Stored], key: str | None, where: str) -> Choice:
    """Chooses without reading an entry.

    Args:
        contents: of a file.
        sizes: each tensor's shape by path.
        key: see `tensors_of`.
        where: the file, for errors.

    >>> import torch
    >>> contents = contents_of({"model": {"fc.weight": torch.ones(2, 2)}, "epoch": 3})
    >>> sizes = {path: stored(tensor) for path, tensor in contents.tensors.items()}
    >>> choose(contents, sizes, None, "a file").key
    'model'
    """
    if not sizes:
        keys = f"; its keys: {listed(contents.empty)}" if contents.empty else ""
        raise InputError(f"{where}: no tensors in it{keys}")
    root: Path = ()
    if key is None:
        inside = set(sizes)
        best = _best(root, inside, sizes, contents)
        if best is None:
            raise InputError(
                f"{where}: holds the state of an optimizer or a training, no model; its keys: {listed(_keys(sizes))}; "
                "--key takes one all the same"
            )
    else:
        root, inside = _below(key, sizes, contents, where)
        best = _best(root, inside, sizes, contents)
        if best is None or all(contents.is_training(path) for path in inside):  # asked for all the same
            best = _Candidate(root, tuple(path for path in sizes if path in inside))
    taken = set(best.paths)
    names: dict[str, Path] = {}
    for path in sizes:
        if path in taken:
            name = ".".join(path[len(best.root) :])
            while name in names:  # {"a.b": x, "a": {"b": y}}
                name += "'"
            names[name] = path
    beside = beside_of(taken, sizes, contents, key)
    place = ".".join(best.root)
    if key is not None and not f"{place}.".startswith(f"{key.strip('.')}."):
        described = f'what begins with "{key}"'
    else:
        described = f'what lies under "{place}"' if place else "the top of the file"
    return Choice(place, names, beside, notes_of(described, best.root, best.paths, sizes, beside, contents))


# -- candidates ------------------------------------------------------------------------------------------------
def _best(root: Path, inside: set[Path], sizes: Mapping[Path, Stored], contents: Contents) -> _Candidate | None:
    """The candidate of the highest rank, the first of equals."""
    dictionaries: dict[Path, list[Path]] = {}
    for path in sizes:
        if path in inside and not contents.is_training(path, root):
            dictionaries.setdefault(path[:-1], []).append(path)
    if not dictionaries:
        return None
    candidates = [_Candidate(home, tuple(paths)) for home, paths in dictionaries.items()]
    nodes = {home[:depth] for home in dictionaries for depth in range(len(root), len(home) + 1)}
    for node in sorted(nodes, key=len, reverse=True):
        tree = _tree(node, root, dictionaries, sizes)
        if tree:
            candidates.append(_Candidate(node, tree))
    return max(
        (_Candidate(c.root, c.paths, _rank(c, root, sizes, dictionaries)) for c in candidates), key=lambda c: c.rank
    )


def _tree(
    node: Path, root: Path, dictionaries: Mapping[Path, list[Path]], sizes: Mapping[Path, Stored]
) -> tuple[Path, ...]:
    """A model spread over dictionaries in one another, as JAX's are: {"layer_0": {"kernel": ..., "bias": ...}, ...}.

    Everything below a key that is called a model is one; elsewhere every dictionary must look like a layer.
    """
    below = {
        home: paths
        for home, paths in dictionaries.items()
        if home[: len(node)] == node
        and is_branch(home[len(node) :], at_the_top=node == root, has_weights=_has_weights(paths, sizes))
    }
    members = [
        tuple(path[-1] for path in paths)
        for home, paths in below.items()
        if len(home) == len(node) + 1 and home[-1].isdecimal() and not _is_layer(paths, sizes)
    ]
    if len(members) > len(set(members)):  # a list of models, no parts of one
        return ()
    if not (len(node) > len(root) and role_of(node[-1:]) == "model"):
        if node in below and not _has_weights(below[node], sizes):
            del below[node]  # loose tensors beside the layers
        if not all(_is_layer(paths, sizes) for paths in below.values()):
            return ()
        if not any(_has_weights(paths, sizes) for paths in below.values()):
            return ()
    return tuple(path for paths in below.values() for path in paths) if len(below) > 1 else ()


def _has_weights(paths: Sequence[Path], sizes: Mapping[Path, Stored]) -> bool:
    return any(len(sizes[path].shape) >= 2 and (is_weight(path[-1]) or path[-1].isdecimal()) for path in paths)


def _is_layer(paths: Sequence[Path], sizes: Mapping[Path, Stored]) -> bool:
    """A few plain names, weights among them or vectors alone, as of a normalisation."""
    if len(paths) > SMALL or any("." in path[-1] for path in paths):
        return False
    return _has_weights(paths, sizes) or all(len(sizes[path].shape) < 2 for path in paths)


def _rank(
    candidate: _Candidate, root: Path, sizes: Mapping[Path, Stored], dictionaries: Mapping[Path, list[Path]]
) -> tuple[int, bool, int, bool, int]:
    """Words first, then whether there is a matrix, then entries, then whether the last key is a model's, then depth."""
    matrices = [path for path in candidate.paths if len(sizes[path].shape) >= 2]
    words = {"model": 2, "copy": -1, "data": -2}.get(role_of(candidate.root[len(root) :]), 0)
    if any(is_weight(path[-1]) for path in matrices):
        words += 2
    elif any("." in path[-1] for path in candidate.paths):
        words += 1
    if all(path[:-1] == candidate.root and "." not in path[-1] for path in candidate.paths):
        words -= any(home[: len(candidate.root)] == candidate.root != home for home in dictionaries)  # loose tensors
    entries = sum(prod(sizes[path].shape) for path in candidate.paths)
    called_a_model = role_of(candidate.root[-1:]) == "model"
    return words, bool(matrices), entries, called_a_model, len(candidate.root)


# -- keys ------------------------------------------------------------------------------------------------------
def _below(key: str, sizes: Mapping[Path, Stored], contents: Contents, where: str) -> tuple[Path, set[Path]]:
    """The dictionary that a dotted key names, or that holds the names that it begins, and the tensors meant."""
    key = key.strip(".")
    begins = {path: f"{'.'.join(path)}.".startswith(f"{key}.") for path in sizes}
    if not any(begins.values()):  # not from the top, so names of the first dictionary that has such
        homes = (path[:-1] for path in sizes if f"{path[-1]}.".startswith(f"{key}."))
        home = next(homes, None)
        begins = {path: path[:-1] == home and f"{path[-1]}.".startswith(f"{key}.") for path in sizes}
    inside = {path for path, whether in begins.items() if whether}
    if inside:
        path = next(iter(inside))
        node = next((path[:depth] for depth in range(1, len(path)) if ".".join(path[:depth]) == key), None)
        return node or _common(inside), inside
    keys = _keys(sizes)
    near = difflib.get_close_matches(key, keys, 1)
    nearest = f" (nearest: {near[0]})" if near else ""
    state = "holds no tensors" if key in contents.empty else f"is not in it{nearest}"
    raise InputError(f"{where}: --key {key} {state}; with tensors: {listed(keys)}")


def _common(paths: set[Path]) -> Path:
    """The dictionary that holds all of these tensors."""
    homes = [path[:-1] for path in paths]
    shortest = min(homes, key=len)
    depth = max(depth for depth in range(len(shortest) + 1) if all(home[:depth] == shortest[:depth] for home in homes))
    return shortest[:depth]


def _keys(sizes: Mapping[Path, Stored]) -> list[str]:
    """Dotted paths of all dictionaries; those of a flat file are what its names begin with."""
    nodes = dict.fromkeys(path[:depth] for path in sizes for depth in range(1, len(path)))
    keys = [".".join(node) for node in sorted(nodes, key=len)]
    loose = [path[0] for path in sizes if len(path) == 1]
    return [*keys, *dict.fromkeys(name.split(".", 1)[0] for name in loose)]
