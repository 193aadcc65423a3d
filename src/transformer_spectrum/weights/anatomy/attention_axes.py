"""Projections of attention that keep their heads as an axis.

TransformerLens stores W_Q as (heads, width, head), flax and T5X store query.kernel as (width, heads, head) and
out.kernel as (heads, head, width), and others stack the heads. The matrix is all heads x width for queries, keys and
values, and width x all heads for the output, as a Linear of the same model has it; so all that has to be known is
which axis is the width of the model. Names do not say, but sizes usually do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from typing import Any

from transformer_spectrum.weights.anatomy.fused import heads_of, sections, widths_of
from transformer_spectrum.weights.anatomy.habits import family_of, fused_kind
from transformer_spectrum.weights.anatomy.readings import Left, Reading, Stack, Unfolding, bias_of, words_of
from transformer_spectrum.weights.matrices.families import PROJECTIONS

SMALL_KERNEL = 9  # the longest last axis that may be the positions of a convolution called "query" or "out"


def read_attention(
    name: str, shape: tuple[int, ...], shapes: Mapping[str, tuple[int, ...]], config: Mapping[str, Any]
) -> Reading | None:
    """How a projection of queries, keys, values or outputs lies; None of any other tensor.

    Args:
        name: of the tensor.
        shape: its axes, >= 3.
        shapes: of all tensors of the model, by name.
        config: config.json; empty where there is none.

    >>> reading = read_attention("attn.query.kernel", (64, 4, 16), {"attn.query.kernel": (64, 4, 16)}, {})
    >>> reading.rows, reading.note  # the matrix is heads x head, as rows, by the width of the model
    ((1, 2), '64x4x16: heads as an axis of their own, axis 1 the width of the model')
    """
    bias = bias_of(name, shapes)
    if fused_kind(name) is not None:
        return _fused(name, shape, bias)
    family = family_of(name)
    output = family.role.endswith("attention_output")
    if not (family.projection or output) or len(shape) != 3:
        return None
    if (bias == (shape[0],) and shape[0] not in shape[1:]) or shape[2] == 1:
        return None  # a convolution
    axis = _width_axis(name, shape, bias, shapes, config, output)
    if axis is not None:
        rows = (axis,) if output else tuple(i for i in range(3) if i != axis)
        note = f"{words_of(shape)}: heads as an axis of their own, axis {axis + 1} the width of the model"
        return Unfolding(rows, note, family)
    if _heads_first(shape, config):
        head = replace(family, piece="head")
        return Stack.of(shape[0], "head", "one attention head of a stack, as stored", head)
    if shape[2] <= SMALL_KERNEL and name.endswith("weight"):
        return None
    return Left(f"heads as an axis of their own ({words_of(shape)}): which axis is the model's width is not certain")


def _fused(name: str, shape: tuple[int, ...], bias: tuple[int, ...] | None) -> Reading | None:
    """Queries, keys and values along a first axis of three."""
    if bias == (shape[0],) or (name.endswith("weight") and shape[-1] <= SMALL_KERNEL):
        return None  # a convolution
    if shape[0] != 3 or len(shape) != 3:
        return Left(f"queries, keys and values in {words_of(shape)}: which axis tells them apart is not certain")
    labels = tuple(f".{projection}" for projection in PROJECTIONS)
    return Stack(labels, "queries, keys and values along the first axis", family_of(name).projections())


def _width_axis(
    name: str,
    shape: tuple[int, ...],
    bias: tuple[int, ...] | None,
    shapes: Mapping[str, tuple[int, ...]],
    config: Mapping[str, Any],
    output: bool,
) -> int | None:
    """The axis of the model's width, by the first evidence that fits exactly one axis."""
    evidence = [
        _by_bias(shape, bias, output),
        _by_size(shape, set(widths_of(config))),
        _by_size(shape, {size for size in shape if size * size == math.prod(shape)}),  # width = heads x head
        _by_size(shape, _norms(shapes)),
        _by_partner(name, shape, shapes) if len(set(shape)) == 3 else None,
    ]
    if name.endswith("kernel"):  # flax: (width, heads, head), and (heads, head, width) behind them
        evidence.append(2 if output else 0)
    return next((axis for axis in evidence if axis is not None), None)


def _by_size(shape: tuple[int, ...], sizes: set[int]) -> int | None:
    fitting = [axis for axis, size in enumerate(shape) if size in sizes]
    return fitting[0] if len(fitting) == 1 else None


def _by_bias(shape: tuple[int, ...], bias: tuple[int, ...] | None, output: bool) -> int | None:
    """The bias of queries is heads x head, that of outputs has the model's width."""
    if bias is None:
        return None
    if output:
        return _by_size(shape, set(bias)) if len(bias) == 1 else None
    fitting = [axis for axis in range(3) if tuple(s for i, s in enumerate(shape) if i != axis) == bias]
    return fitting[0] if len(fitting) == 1 else None


def _norms(shapes: Mapping[str, tuple[int, ...]]) -> set[int]:
    """Lengths of the norms' vectors, which span the width of the model; empty where they differ."""
    norms = {
        shape[0]
        for name, shape in shapes.items()
        if len(shape) == 1 and any(word in name.lower() for word in ("norm", "ln_", "ln1", "ln2", ".ln."))
    }
    return norms if len(norms) == 1 else set()


def _by_partner(name: str, shape: tuple[int, ...], shapes: Mapping[str, tuple[int, ...]]) -> int | None:
    """What the projections of one attention tell together: a width that is heads x head, or axes that change places."""
    queries, outputs = [], []
    for beside, partner in shapes.items():
        if len(partner) != 3 or _parent(beside) != _parent(name):
            continue
        family = family_of(beside)
        if family.projection:
            queries.append(partner)
        elif family.role.endswith("attention_output"):
            outputs.append(partner)
    widths = {size for partner in queries + outputs for size in partner if size * size == math.prod(partner)}
    for query, output in product(queries, outputs):
        if query == (output[2], output[0], output[1]):  # flax
            widths.add(query[0])
        elif query[0] == output[0] and query[1:] == output[:0:-1]:
            widths.add(max(query[1:]))  # a head is no wider than the model
    return _by_size(shape, widths)


def _parent(name: str) -> str:
    """The module of a projection: of "attn.W_Q" and of "attn.query.kernel" it is "attn"."""
    stem = name.removesuffix(".weight").removesuffix(".kernel")
    return stem.rpartition(".")[0]


def _heads_first(shape: tuple[int, ...], config: Mapping[str, Any]) -> bool:
    """Whether the first axis counts heads for certain: as config.json says, or before two equal longer axes."""
    stated = {number for heads in map(heads_of, sections(config)) if heads for number in (heads.queries, heads.keys)}
    if stated:
        return shape[0] in stated and shape[0] not in shape[1:]
    return shape[1] == shape[2] > shape[0]
