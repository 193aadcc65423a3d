"""Experts of a mixture that a checkpoint stores together, and the gate and the up-projection within each of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from transformer_spectrum.weights.anatomy.fused import sections
from transformer_spectrum.weights.anatomy.readings import bias_of
from transformer_spectrum.weights.matrices.matrix import Cut

EXPERT_COUNTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts", "num_experts_per_layer")
_SINGLE = re.compile(r"(^|[._/])experts?[._/](expert_?)?\d+([._/]|$)")
_STACK = re.compile(r"(^|[._/])(?<!shared_)experts?[._/](?!.*conv)")
_KERNEL_LENGTHS = (1, 3, 5, 7, 9)
_MIXTURE = re.compile(r"(^|[._/])(\w*moe\w*|experts?|mlp|ffn|feed_forward)([._/]|$)")
_PARALLEL = re.compile(r"moe[._/](input|output)_linear[._/]weight$")
_DBRX = re.compile(r"(^|\.)experts\.mlp\.(w1|v1|w2)$")


def expert_counts(config: Mapping[str, Any]) -> set[int]:
    """Numbers of experts that config.json states, one of each of its parts.

    >>> expert_counts({"num_local_experts": 8, "text_config": {"num_experts": 64}}) == {8, 64}
    True
    """
    return {section[key] for section in sections(config) for key in EXPERT_COUNTS if isinstance(section.get(key), int)}


def is_expert_stack(
    name: str, shape: tuple[int, ...], shapes: Mapping[str, tuple[int, ...]], config: Mapping[str, Any]
) -> bool:
    """Whether the first of three axes counts experts: not so within one expert, nor beside a bias for each entry.

    Args:
        name: of the tensor.
        shape: its three axes.
        shapes: of all tensors of the model, by name.
        config: config.json; empty where there is none.

    >>> is_expert_stack("layers.0.moe.w_in", (8, 64, 32), {}, {"num_experts": 8})
    True
    >>> is_expert_stack("layers.0.conv.weight", (8, 64, 3), {}, {})
    False
    """
    if len(shape) != 3 or bias_of(name, shapes) == (shape[0],) or _SINGLE.search(name):
        return False
    counts = expert_counts(config)
    if counts:
        return shape[0] in counts and _MIXTURE.search(name) is not None
    if name.endswith("weight") and shape[2] in _KERNEL_LENGTHS:
        return False  # a convolution of an only expert
    return _STACK.search(name) is not None or _PARALLEL.search(name) is not None


def expert_rows(name: str, shape: tuple[int, ...], config: Mapping[str, Any]) -> int | None:
    """How many experts lie below each other in a tensor of two axes: DBRX's; None of any other, or not certain.

    >>> expert_rows("blocks.0.ffn.experts.mlp.w1", (64, 16), {"ffn_config": {"moe_num_experts": 4}})
    4
    """
    counts = expert_counts(config)
    if len(shape) != 2 or _DBRX.search(name) is None or len(counts) != 1:
        return None
    count = counts.copy().pop()
    return count if count > 1 and shape[0] % count == 0 else None


def gate_up(
    name: str, shape: tuple[int, ...], shapes: Mapping[str, tuple[int, ...]], config: Mapping[str, Any]
) -> tuple[bool, Cut, Cut] | None:
    """Gate and up-projection of the experts in "gate_up_proj", as the "down_proj" beside it tells.

    Llama 4 stores inputs x (gate, up), gpt-oss inputs x outputs that alternate, others (gate, up) x inputs.

    Args:
        name: of the tensor.
        shape: experts and two axes.
        shapes: of all tensors of the model, by name.
        config: config.json; empty where there is none.
    Returns:
        Whether each expert is stored as inputs x outputs, and the rows of gate and up; None where it is not certain.

    >>> shapes = {"experts.gate_up_proj": (4, 16, 24), "experts.down_proj": (4, 12, 16)}
    >>> gate_up("experts.gate_up_proj", (4, 16, 24), shapes, {})  # inputs x (gate, up)
    (True, Cut(blocks=1, first=0, last=12), Cut(blocks=1, first=12, last=24))
    """
    if not name.endswith("gate_up_proj"):
        return None
    down = shapes.get(name.removesuffix("gate_up_proj") + "down_proj")
    if down is None or len(down) != 3:
        return None
    first, second = shape[1:]
    inputs_first = down[1:] == (second // 2, first) and second % 2 == 0
    outputs_first = down[1:] == (second, first // 2) and first % 2 == 0
    if inputs_first == outputs_first:
        return None
    if outputs_first:
        return False, Cut(1, 0, first // 2), Cut(1, first // 2, first)
    kinds = {section.get("model_type") for section in sections(config)}
    if "gpt_oss" in kinds or f"{name}_bias" in shapes:
        return True, Cut(second // 2, 0, 1), Cut(second // 2, 1, 2)
    return True, Cut(1, 0, second // 2), Cut(1, second // 2, second)
