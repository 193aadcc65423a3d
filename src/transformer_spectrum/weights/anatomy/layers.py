"""Layers that a model stores stacked, as scans over layers do: one tensor holds a weight of all of them.

Told by a path such as "layers" with no number behind it, and by what lies under it: all tensors there have one axis of
the same size, the number of layers. Every one is then read as if the layers were stored apart.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from transformer_spectrum.weights.anatomy.fused import sections

LAYER_COUNTS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers", "num_decoder_layers")
_UNNUMBERED = re.compile(r"(?:^|[./])(?:\w*layers|\w*blocks|h|stack|scan\w*)(?=[./](?!\d)[a-zA-Z])")
_VECTOR = re.compile(r"(^|[._/])(bias|scale|gain|beta|gamma)$|norm|(^|[._/])ln(_?\w+)?[._/]")


@dataclass(frozen=True)
class Origin:
    """Where a tensor of one layer lies.

    Attributes:
        tensor: the stack's name in the checkpoint.
        index: of the layer in the stack.
        layers: in the stack; count.
    """

    tensor: str
    index: tuple[int | slice, ...]
    layers: int


def layer_counts(config: Mapping[str, Any]) -> set[int]:
    """Numbers of layers that config.json states, one of each of its parts.

    >>> layer_counts({"num_hidden_layers": 12})
    {12}
    """
    return {section[key] for section in sections(config) for key in LAYER_COUNTS if key in section}


def unstacked(
    shapes: Mapping[str, tuple[int, ...]], config: Mapping[str, Any]
) -> tuple[dict[str, tuple[int, ...]], dict[str, Origin]]:
    """All tensors with the layers of stacks apart, "layers.up" as "layers.0.up", and where those lie.

    Args:
        shapes: tensor name -> shape as stored.
        config: config.json; empty where there is none.
    Returns:
        Name -> shape of all tensors, in the order of their stacks; name -> origin of those out of a stack.

    >>> apart, origins = unstacked({"layers.up.weight": (3, 8, 4)}, {"n_layers": 3})
    >>> apart["layers.1.up.weight"], origins["layers.1.up.weight"].index
    ((8, 4), (1,))
    """
    axis_of = _stacks(shapes, config)
    apart: dict[str, tuple[int, ...]] = {}
    origins: dict[str, Origin] = {}
    for name, shape in shapes.items():
        stack = _UNNUMBERED.search(name)
        if stack is None or name not in axis_of:
            apart[name] = shape
            continue
        axis = axis_of[name]
        for layer in range(shape[axis]):
            single = f"{name[: stack.end()]}{name[stack.end()]}{layer}{name[stack.end() :]}"
            apart[single] = shape[:axis] + shape[axis + 1 :]
            origins[single] = Origin(name, (slice(None),) * axis + (layer,), shape[axis])
    return apart, origins


def _stacks(shapes: Mapping[str, tuple[int, ...]], config: Mapping[str, Any]) -> dict[str, int]:
    """Names of stacks -> the axis that counts layers."""
    inside: dict[str, list[str]] = {}
    for name in shapes:
        stack = _UNNUMBERED.search(name)
        if stack is not None:
            inside.setdefault(name[: stack.end()], []).append(name)
    axis_of: dict[str, int] = {}
    for names in inside.values():
        axis = _layer_axis({name: shapes[name] for name in names}, layer_counts(config))
        if axis is not None:
            axis_of |= dict.fromkeys(names, axis)
    return axis_of


def _layer_axis(shapes: Mapping[str, tuple[int, ...]], stated: set[int]) -> int | None:
    """The axis on which all tensors under one path have the number of layers; None where they are no stack."""
    if not any(len(shape) >= 3 for shape in shapes.values()):
        return None
    vectors = any(len(shape) == 2 and _VECTOR.search(name) for name, shape in shapes.items())
    single = any(len(shape) < 2 for shape in shapes.values())
    fitting: dict[int, int] = {}  # number of layers -> axis
    for axis in (1, 0):
        sizes = {shape[axis] if len(shape) > axis else 0 for shape in shapes.values()}
        layers = sizes.pop() if len(sizes) == 1 else 0
        if layers > 1 and (layers in stated or (vectors and not single and not stated)):
            fitting[layers] = axis
    return fitting[min(fitting)] if fitting else None  # a model is wider than it is deep
