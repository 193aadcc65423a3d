"""Dotted names, `data.synthetic.kernel.type`, and the trees that they are places in: the only walker of both.

A tree is a nested mapping such as the content of params.yaml, or a pydantic model with sections; a leaf is what lies
in no further mapping; a section is a name that leaves lie under. Nothing here knows which names are parameters.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, MutableMapping
from typing import Any

Tree = Mapping[str, Any]


def path(name: str) -> list[str]:
    """The keys that lead to a name, from the outermost.

    >>> path("data.synthetic.kernel.type")
    ['data', 'synthetic', 'kernel', 'type']
    """
    return name.split(".")


def section(name: str) -> str:
    """What a name lies in; empty at the top.

    >>> section("data.synthetic.q"), section("seed")
    ('data.synthetic', '')
    """
    return name.rpartition(".")[0]


def sections(names: Iterable[str]) -> set[str]:
    """Every section that one of the names lies in, at any depth.

    >>> sorted(sections(["seed", "loss.q", "data.synthetic.kernel.type"]))
    ['data', 'data.synthetic', 'data.synthetic.kernel', 'loss']
    """
    return {".".join(path(name)[:depth]) for name in names for depth in range(1, len(path(name)))}


def flatten(tree: Tree, into: Collection[str] | None = None, prefix: str = "") -> dict[str, Any]:
    """Dotted name -> value of every leaf, in order.

    Args:
        tree: a nested mapping.
        into: the sections to descend into; a mapping under any other name is a value. None: into every mapping.
        prefix: of the names, with its dot.

    >>> flatten({"seed": 1, "loss": {"q": 3.0, "type": "sgt"}})
    {'seed': 1, 'loss.q': 3.0, 'loss.type': 'sgt'}
    """
    values: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and (into is None or name in into):
            values |= flatten(value, into, f"{name}.")
        else:
            values[name] = value
    return values


def nest(values: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `flatten`.

    >>> nest({"seed": 1, "loss.q": 3.0, "loss.type": "sgt"})
    {'seed': 1, 'loss': {'q': 3.0, 'type': 'sgt'}}
    """
    tree: dict[str, Any] = {}
    for name, value in values.items():
        put(tree, name, value)
    return tree


def get(tree: Any, name: str) -> Any:
    """The value, or the section, of that name.

    Args:
        tree: a nested mapping or a model, such as `Params`.
        name: dotted.
    Raises:
        KeyError: there is none.

    >>> get({"loss": {"q": 3.0}}, "loss.q")
    3.0
    """
    for key in path(name):
        if isinstance(tree, Mapping):
            tree = tree[key]
        elif hasattr(tree, key):
            tree = getattr(tree, key)
        else:
            raise KeyError(name)
    return tree


def put(tree: MutableMapping[str, Any], name: str, value: Any) -> None:
    """Sets the value of that name; sections that are not there are made.

    Raises:
        TypeError: a value lies where the name has a section.

    >>> tree = {"loss": {"q": 3.0}}
    >>> put(tree, "loss.q", 5.0)
    >>> tree
    {'loss': {'q': 5.0}}
    """
    *keys, last = path(name)
    for key in keys:
        tree = tree.setdefault(key, {})
        if not isinstance(tree, MutableMapping):
            raise TypeError(f"{name}: {key} is a value and no section")
    tree[last] = value


def merge(tree: Tree, *overlays: Tree) -> dict[str, Any]:
    """A copy of the tree with the leaves of the overlays in the place of its own; a later overlay wins.

    >>> merge({"seed": 1, "loss": {"q": 3.0, "type": "sgt"}}, {"loss": {"q": 5.0}})
    {'seed': 1, 'loss': {'q': 5.0, 'type': 'sgt'}}
    """
    result = dict(tree)
    for overlay in overlays:
        for key, value in overlay.items():
            block = result.get(key)
            if isinstance(block, Mapping) and isinstance(value, Mapping):
                result[key] = merge(block, value)
            else:
                result[key] = value
    return result


def fields(model: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted name -> pydantic field of every leaf of a model class, in order.

    Args:
        model: a class of pydantic, whose fields may be such classes.
        prefix: of the names, with its dot.

    >>> from transformer_spectrum.config.schema import SyntheticParams
    >>> fields(SyntheticParams)["kernel.size"].description
    'taps; steps'
    """
    result: dict[str, Any] = {}
    for key, field in model.model_fields.items():
        if hasattr(field.annotation, "model_fields"):
            result |= fields(field.annotation, f"{prefix}{key}.")
        else:
            result[prefix + key] = field
    return result
