"""Packed integers of compressed-tensors (format pack-quantized)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from transformer_spectrum.weights.anatomy.formed import Findings, Formed, Source, split
from transformer_spectrum.weights.anatomy.four_bits import compressed_fp4
from transformer_spectrum.weights.anatomy.packing import from_words


def compressed(prefix: str, source: Source, settings: Mapping[str, Any], findings: Findings) -> None:
    """pack-quantized (integers of 4 or 8 bits in words along the inputs) and its 4-bit floats.

    >>> from transformer_spectrum.weights.anatomy.formed import Held
    >>> tensors = {"fc.weight_packed": Held((4, 2), "I32"), "fc.weight_scale": Held((4, 1), "F16")}
    >>> tensors["fc.weight_shape"] = Held((2,), "I64")  # 16 numbers of 4 bits make two words
    >>> compressed("fc.", Source(tensors, lambda name: torch.tensor([4, 16])), {}, findings := Findings())
    >>> findings.formed[0].shape, findings.formed[0].note
    ((4, 16), '4-bit integers of compressed-tensors times their scales')
    """
    packed = prefix + "weight_packed"
    optional = ("weight_zero_point", "weight_g_idx", "weight_shape", "weight_global_scale", "input_global_scale")
    names = source.under(prefix, ("weight_packed", "weight_scale", *optional))
    scales, rows = source.shape(prefix + "weight_scale"), source.tensors[packed].shape[0]
    if source.code(packed) == "U8" and scales is not None:
        compressed_fp4(prefix, names, source, findings)
        return
    shape = _stated_shape(prefix + "weight_shape", source)
    if shape is None or scales is None or source.code(packed) != "I32" or len(source.tensors[packed].shape) != 2:
        bits = _stated_bits(settings)
        count = source.numbers(packed) * 32 // bits if bits else 0
        missing = "weight_scale" if scales is None else "weight_shape"
        size = "" if count else ", so that even their number is unknown"
        findings.leave(names, f"packed integers of compressed-tensors without {missing}{size}", count)
        return
    bits = next((bits for bits in (4, 8, 2) if -(-shape[1] * bits // 32) == source.tensors[packed].shape[1]), 0)
    zeros = source.shape(prefix + "weight_zero_point")
    fits = bits and rows == shape[0] and len(scales) == 2 and scales[0] in (1, rows)
    fits = fits and shape[1] % scales[1] == 0
    if not fits or zeros not in (None, scales, (-(-scales[0] * bits // 32), scales[1])):
        findings.leave(names, "packed integers of compressed-tensors whose shapes do not fit", math.prod(shape))
        return
    pieces = [name for name in names if not name.endswith("_global_scale")]
    kinds = [split(name)[1] for name in pieces]
    sign = "less their zeros, " if zeros is not None else ""
    note = f"{bits}-bit integers of compressed-tensors {sign}times their scales"
    form = _from_compressed(bits, shape, kinds)
    findings.formed.append(Formed(prefix + "weight", shape, tuple(pieces), form, note))


def _stated_shape(name: str, source: Source) -> tuple[int, int] | None:
    if source.shape(name) != (2,):
        return None
    rows, columns = (int(size) for size in source.read(name))
    return (rows, columns) if rows > 0 and columns > 0 else None


def _stated_bits(settings: Mapping[str, Any]) -> int:
    """Of the weights when all groups of config_groups agree; 0 where they do not or nothing is said."""
    groups = settings.get("config_groups")
    groups = list(groups.values()) if isinstance(groups, Mapping) else []
    bits = {group.get("weights", {}).get("num_bits") for group in groups if isinstance(group, Mapping)}
    stated = bits.pop() if len(bits) == 1 else 0
    return stated if stated in (2, 4, 8) else 0


def _from_compressed(bits: int, shape: tuple[int, int], kinds: list[str]) -> Callable[..., Tensor]:
    half = 2 ** (bits - 1)  # signed integers are stored plus half their range

    def form(*tensors: Tensor) -> Tensor:
        held = dict(zip(kinds, tensors, strict=True))
        entries = from_words(held["weight_packed"], bits)[:, : shape[1]].float() - half
        scales = held["weight_scale"].float()
        zeros = held.get("weight_zero_point")
        if zeros is None:
            zeros = torch.zeros_like(scales)
        elif zeros.shape != scales.shape or zeros.dtype == torch.int32:  # packed along the outputs
            zeros = (from_words(zeros.T.contiguous(), bits)[:, : scales.shape[0]].float() - half).T
        order = held.get("weight_g_idx")
        if order is not None and bool((order >= 0).all()):
            return (entries - zeros.float()[:, order.long()]) * scales[:, order.long()]
        entries = entries.unflatten(1, (scales.shape[1], -1))
        return ((entries - zeros.float()[..., None]) * scales[..., None]).flatten(1)

    return form
