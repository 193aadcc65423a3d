"""Tensors of three and more axes -> how they lie as matrices, where names, sizes and config.json are certain.

A kernel of a convolution is (outputs, inputs / groups, positions...), of a transposed one (inputs, outputs / groups,
positions...); both become outputs x the rest. Attention may keep its heads as an axis, a bilinear form has a matrix
for every output, and experts are stacked. Shapes alone cannot tell all of these apart: the length of the bias beside
a tensor often does, and what stays doubtful is one piece with a note or is left out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from transformer_spectrum.weights.anatomy.attention_axes import read_attention
from transformer_spectrum.weights.anatomy.experts import is_expert_stack
from transformer_spectrum.weights.anatomy.habits import family_of, path_of
from transformer_spectrum.weights.anatomy.layers import layer_counts
from transformer_spectrum.weights.anatomy.neighbours import outputs_of
from transformer_spectrum.weights.anatomy.readings import Left, Reading, Stack, Unfolding, bias_of, words_of
from transformer_spectrum.weights.matrices.families import Family

CONVOLUTION, BILINEAR = Family("convolution"), Family("bilinear")
KERNEL_SIDE = 31  # the longest side of a kernel that is taken for one without a name or a bias that says so
KERNEL_LENGTH = 11  # likewise of a kernel of one dimension beside a bias, which a bilinear form has as well
_CONVOLUTION = re.compile(r"conv|temporal|tcn|patch_embed|patch_proj|kernel|downsample|upsample|cnn")
_TRANSPOSED = re.compile(r"de_?conv|conv_?trans|trans(pose|posed)?_?conv|fractional")
_UPWARD = re.compile(r"(^|[._])(ups?|up_?sample[a-z]*|up_?conv\d*|up_?blocks?)\d*([._]|$)")


class Kind(NamedTuple):
    """What the module that holds a tensor says it is; known of a live model alone.

    Attributes:
        name: "convolution", "transposed convolution" or "bilinear".
        groups: of a convolution; count, >= 1.
    """

    name: str
    groups: int = 1


def effective_axes(shape: tuple[int, ...]) -> int:
    """Axes of more than one entry; at least two make a matrix.

    >>> effective_axes((1, 197, 768)), effective_axes((768, 1))
    (2, 1)
    """
    return sum(size != 1 for size in shape)


def plain_rows(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The axes up to the first of more than one entry: the rows of (1, 197, 768) and of (197, 1, 768) are 197.

    >>> plain_rows((1, 197, 768)), plain_rows((64, 3, 3))
    ((0, 1), (0,))
    """
    return tuple(range(next((i for i, size in enumerate(shape) if size != 1), 0) + 1))


def read(
    name: str,
    shape: tuple[int, ...],
    shapes: Mapping[str, tuple[int, ...]],
    config: Mapping[str, Any],
    kind: Kind | None = None,
) -> Reading:
    """How a tensor of three or more axes lies.

    Args:
        name: of the tensor.
        shape: its axes, >= 3.
        shapes: of all tensors of the model, by name; those beside this one are evidence.
        config: config.json; empty where there is none.
        kind: what a live module says; None of a file.

    >>> shapes = {"conv1.weight": (64, 3, 7, 7), "conv1.bias": (64,)}
    >>> read("conv1.weight", shapes["conv1.weight"], shapes, {}).note
    '64x3x7x7: a kernel of outputs x inputs x positions'
    """
    if kind is not None:
        return _of_kind(kind, shape)
    if family_of(name).role == "position_embedding":
        return _position(name, shape)
    bias = bias_of(name, shapes)
    if re.search(r"bilinear|biaffine", path_of(name).lower()) and len(shape) == 3 and bias in (None, (shape[0],)):
        return _bilinear(shape)
    attention = read_attention(name, shape, shapes, config)
    if attention is not None:
        return attention
    if name.endswith("kernel") and not bias_says_outputs_first(bias, shape):
        return Unfolding((len(shape) - 1,), _words(shape, "a kernel of positions x inputs x outputs"), CONVOLUTION)
    if is_expert_stack(name, shape, shapes, config):
        return Stack.of(shape[0], "expert", "one expert of a stack, rows and columns as stored")
    if len(shape) == 3 and bias is not None and len(bias) > 1 and _batch(shape, bias):
        return Stack.of(shape[0], "slice", "one matrix of a stack: each has a bias of its own")
    if len(shape) == 3 and bias == shape[2:] and shape[2] not in shape[:2]:  # no kernel: graph convolutions' bases
        doubt = "outputs last by its bias, what the axes before count is not certain"
        return Unfolding((2,), _words(shape, doubt), doubtful=True)
    return _transposed(name, shape, shapes, bias) or _convolution(name, shape, shapes, bias, config)


def bias_says_outputs_first(bias: tuple[int, ...] | None, shape: tuple[int, ...]) -> bool:
    """Whether the bias beside a tensor has an entry for each of its first axis, and not for its last.

    >>> bias_says_outputs_first((64,), (64, 3, 7, 7)), bias_says_outputs_first((64,), (64, 3, 64))
    (True, False)
    """
    return bias == (shape[0],) and shape[-1] != shape[0]


def _of_kind(kind: Kind, shape: tuple[int, ...]) -> Reading:
    if kind.name == "bilinear":
        return _bilinear(shape)
    if kind.name == "transposed convolution":
        return _transposed_of(shape, kind.groups, "")
    return _kernel(shape, "grouped" if kind.groups > 1 and shape[1] > 1 else "")


def _position(name: str, shape: tuple[int, ...]) -> Reading:
    """Positions x width: of a grid of positions the axis that differs from two equal ones is the width."""
    long = [i for i, size in enumerate(shape) if size != 1]
    if len(long) == 2:
        return Unfolding(plain_rows(shape), "")
    if len(long) > 2 and "bias" in path_of(name):
        return Left(f"a bias of pairs of positions ({words_of(shape)}), no matrix that anything is multiplied by")
    if len(long) == 3:
        first, second, third = (shape[i] for i in long)
        if first == second != third or (third not in (first, second) and third > max(first, second)):
            rows = tuple(i for i in range(len(shape)) if i != long[2])
            return Unfolding(rows, _words(shape, "a grid of positions x width"))
        if second == third != first:
            rows = tuple(i for i in range(len(shape)) if i != long[0])
            return Unfolding(rows, _words(shape, "width x a grid of positions"))
    return Left(f"a position embedding of {words_of(shape)}: which of its axes is the width is not certain")


def _bilinear(shape: tuple[int, ...]) -> Reading:
    return Stack.of(shape[0], "output", "a bilinear form: the matrix between the two inputs of one output", BILINEAR)


def _batch(shape: tuple[int, ...], bias: tuple[int, ...]) -> bool:
    """Whether a bias of two long axes belongs to a stack of matrices, one bias each."""
    long = tuple(size for size in bias if size != 1)
    return len(long) == 2 and long[0] == shape[0] and long[1] in shape[1:]


def _transposed(
    name: str, shape: tuple[int, ...], shapes: Mapping[str, tuple[int, ...]], bias: tuple[int, ...] | None
) -> Reading | None:
    """A transposed convolution: by a bias or a norm behind it that has as many entries as outputs, or by its name."""
    named = _TRANSPOSED.search(path_of(name).lower()) is not None
    outputs, source = outputs_of(name, shapes, bias)
    if outputs is not None and outputs % shape[1] == 0 and shape[0] % (outputs // shape[1]) == 0:
        if outputs != shape[0]:
            return _transposed_of(shape, outputs // shape[1], source)
        if named and shape[0] == shape[1]:
            return _transposed_of(shape, 1, "its name")
    if named and outputs is None:
        return _transposed_of(shape, 1, "its name")
    return None


def _transposed_of(shape: tuple[int, ...], groups: int, source: str) -> Unfolding:
    """(inputs, outputs / groups, ...) -> outputs x the rest, group by group where there are several."""
    note = f"a transposed convolution{f' by {source}' if source else ''}, stored inputs first"
    if groups == 1:
        return Unfolding((1,), _words(shape, note), CONVOLUTION)
    return Unfolding((0, 2), _words(shape, f"{note}, in {groups} groups"), CONVOLUTION, groups=groups)


def _convolution(
    name: str,
    shape: tuple[int, ...],
    shapes: Mapping[str, tuple[int, ...]],
    bias: tuple[int, ...] | None,
    config: Mapping[str, Any],
) -> Reading:
    path, positions = path_of(name).lower(), shape[2:]
    named = _CONVOLUTION.search(path) is not None
    weight = re.search(r"(^|[._])weight(_orig|_v)?$", name) is not None
    if len(shape) == 5 and shape[0] == 1 and shape[2] > KERNEL_SIDE:  # StyleGAN2's modulated convolution
        return Unfolding((0, 1), _words(shape, "a kernel behind an axis of one"), CONVOLUTION)
    if len(shape) == 3 and bias == (shape[0],) and shape[2] > KERNEL_LENGTH and not named:
        return Unfolding((0,), _words(shape, "a kernel or a bilinear form, which is not certain"), doubtful=True)
    if bias == (shape[0],) or (named and weight):
        upward = _UPWARD.search(path) is not None
        unsaid = shape[0] == shape[1] or (upward and outputs_of(name, shapes, bias)[0] is None)
        if unsaid and max(positions) > 1 and (upward or max(positions) % 2 == 0):
            return _either_way(shape)
        return _kernel(shape, "")
    if effective_axes(shape) == 2:
        return Unfolding(plain_rows(shape), "")
    if weight and bias is None and max(positions) <= KERNEL_SIDE:
        square = len(set(positions)) == 1 and (len(positions) > 1 or positions[0] in (1, 3, 5, 7, 9))
        if square and max(positions) % 2 == 0 and outputs_of(name, shapes, bias)[0] is None:
            return _either_way(shape)
        return _kernel(shape, "") if square else _guessed(shape)
    if len(shape) == 3 and shape[0] in layer_counts(config) and shape[0] not in shape[1:]:
        return Stack.of(shape[0], "layer", "one layer of a stack, as many as config.json says")
    doubt = f"{len(shape)} axes whose meaning is not certain"
    return Unfolding(plain_rows(shape), _words(shape, doubt), Family("other"), doubtful=True)


def _either_way(shape: tuple[int, ...]) -> Unfolding:
    doubt = "outputs taken as the first axis; a transposed convolution would have them second"
    return Unfolding((0,), _words(shape, doubt), CONVOLUTION, doubtful=True)


def _guessed(shape: tuple[int, ...]) -> Unfolding:
    return Unfolding((0,), _words(shape, "a kernel or a stack, which is not certain"), doubtful=True)


def _kernel(shape: tuple[int, ...], extra: str) -> Unfolding:
    note = "a kernel of outputs x inputs x positions"
    if shape[1] == 1 and shape[0] > 1 and math.prod(shape[2:]) > 1:
        note = "a kernel with one input a filter (depthwise, or of one channel)"
    elif extra == "grouped":
        note = "a kernel in groups, each of its own inputs"
    return Unfolding((0,), _words(shape, note), CONVOLUTION)


def _words(shape: tuple[int, ...], note: str) -> str:
    return f"{words_of(shape)}: {note}"
