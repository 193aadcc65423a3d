"""Weights of eight bits an entry that count in a scale beside them: FP8 of every kind, and integers of eight bits.

A scale is one number, one for each row, or one for each block of rows and columns. Without any scale, eight-bit floats
are the weight as they stand.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from transformer_spectrum.weights.anatomy.formed import FLOATS, FP8, Findings, Formed, Source, by_words, split
from transformer_spectrum.weights.anatomy.fused import sections

BLOCK = 128  # of DeepSeek-V3 and those after it, where no configuration states another
PACKED_PAIR = "_packed_params._packed_params.0"  # of the weight and the bias of torch's quantised layers
_EXPONENTS = "F8_E8M0"
_OF_ACTIVATIONS = re.compile(r"input|act|output|(^|[._])[qkv]_scale")


def scaled(source: Source) -> Findings:
    """Every eight-bit weight, formed with its scale or left out.

    >>> from transformer_spectrum.weights.anatomy.formed import Held
    >>> tensors = {"fc.weight": Held((4, 3), "I8"), "fc.weight_scale": Held((4, 1), "F32")}
    >>> scaled(Source(tensors, lambda name: None)).formed[0].note
    '8-bit integers times weight_scale'
    """
    findings, modules = Findings(), defaultdict(list)
    for name in source.tensors:
        modules[split(name)[0]].append(name)
    for name, tensor in source.tensors.items():
        kind = source.code(name)
        if name.endswith(PACKED_PAIR):
            plain, note = name.removesuffix(PACKED_PAIR) + "weight", "torch's quantised integers, dequantised"
            findings.formed.append(Formed(plain, tensor.shape, (name,), lambda tensor: tensor, note))
        elif len(tensor.shape) >= 2 and source.numbers(name) and (kind in FP8 or kind == "I8") and not _is_scale(name):
            _eight_bits(name, source, modules[split(name)[0]], findings)
    return findings


def _is_scale(name: str) -> bool:
    return re.search(r"scale(s|_inv|_2)?$|zero_point$|absmax$", name) is not None


def _eight_bits(name: str, source: Source, module: Sequence[str], findings: Findings) -> None:
    prefix, last = split(name)
    floats, shape = source.code(name) in FP8, source.tensors[name].shape
    scale = _scale_of(name, source)
    zeros = f"{name}_zero_point"
    words = "8-bit floats" if floats else "8-bit integers"
    weight = prefix.removesuffix(".") if last == "_data" else name
    if scale is None:
        around = [tensor for tensor in module if tensor != name and _may_scale(tensor, prefix, last)]
        if around:
            reason = f"{words} beside {split(around[0])[1]}, whose part in them is not known"
            findings.leave([name, *around], reason, source.numbers(name))
        elif floats:
            note = f"8-bit floats ({source.code(name)}) without a scale beside them, as stored"
            findings.formed.append(Formed(name, shape, (name,), _as_float, note))
        return
    sizes = _blocks(shape, source.tensors[scale].shape, _stated_blocks(source))
    if scale == f"{prefix}SCB" and _tiled(f"{prefix}weight_format", source):
        reason = f"{words} of bitsandbytes in the order of a GPU's tiles"
        findings.leave([name, scale], reason, source.numbers(name))
        return
    offset = zeros if zeros in source.tensors and source.shape(zeros) == source.shape(scale) else None
    if sizes is None or (zeros in source.tensors and offset is None) or f"{name}_scale_2" in source.tensors:
        reason = f"{words} whose scale of {by_words(source.tensors[scale].shape)} does not fit them"
        findings.leave([name, scale], reason, source.numbers(name))
        return
    factor = 1 / 127 if split(scale)[1] == "SCB" else 1.0
    over = "/127" if factor != 1.0 else ""
    blocks = "x".join(map(str, sizes)) if sizes and max(sizes) > 1 and min(sizes) >= 1 else ""
    note = f"{words} times {split(scale)[1]}{over}{f', a scale each {blocks}' if blocks else ''}"
    pieces = (name, scale) if offset is None else (name, scale, offset)
    findings.formed.append(Formed(weight, shape, pieces, _times(sizes, factor), note))


def _scale_of(name: str, source: Source) -> str | None:
    """Its scale, by the habits of DeepSeek, compressed-tensors, ModelOpt, ComfyUI, bitsandbytes and quanto."""
    prefix, last = split(name)
    candidates = [f"{name}_scale_inv", f"{name}_scale"]
    if last == "weight":
        candidates += [f"{prefix}scale_weight", f"{prefix}SCB"]
        candidates += [f"{prefix}scale"] if source.code(name) in FP8 else []
    if last == "_data":
        candidates = [f"{prefix}_scale"]
    return next((candidate for candidate in candidates if _is_scale_of(candidate, source)), None)


def _is_scale_of(name: str, source: Source) -> bool:
    return source.code(name) in (*FLOATS, _EXPONENTS) and source.numbers(name) > 0


def _may_scale(name: str, prefix: str, last: str) -> bool:
    own = name.removeprefix(prefix)
    belongs = own.startswith(last) if last != "weight" else True
    return belongs and "scale" in own.lower() and not _OF_ACTIVATIONS.search(own)


def _tiled(layout: str, source: Source) -> bool:
    """Whether bitsandbytes says that its integers do not lie row by row, which is 0."""
    return layout in source.tensors and bool(source.read(layout).any())


def _stated_blocks(source: Source) -> tuple[int, int] | None:
    for section in sections(source.config):
        stated = section.get("quantization_config")
        size = stated.get("weight_block_size") if isinstance(stated, dict) else None
        if isinstance(size, list) and len(size) == 2 and all(isinstance(side, int) and side > 0 for side in size):
            return size[0], size[1]
    return None


def _blocks(shape: tuple[int, ...], scale: tuple[int, ...], stated: tuple[int, int] | None) -> tuple[int, ...] | None:
    """Entries of every axis that share a scale, 0 for all; () for one scale of the whole; None if they do not fit."""
    if all(size == 1 for size in scale):
        return ()
    if len(scale) == 1:
        return (1, *(0,) * (len(shape) - 1)) if scale[0] == shape[0] else None
    if len(scale) != len(shape):
        return None
    sizes: list[int] = []
    for axis, (entries, scales) in enumerate(zip(shape, scale, strict=True)):
        of_last_two = axis - len(shape) + 2
        guesses = [stated[of_last_two]] if stated is not None and of_last_two >= 0 else [BLOCK]
        guesses += [entries // scales] if entries % scales == 0 else []
        if scales == 1:
            sizes.append(0)
        elif scales == entries:
            sizes.append(1)
        else:
            fitting = next((size for size in guesses if -(-entries // size) == scales), None)
            if fitting is None:
                return None
            sizes.append(fitting)
    return tuple(sizes)


def _as_float(tensor: Tensor) -> Tensor:
    return tensor.to(torch.float32)


def _times(sizes: tuple[int, ...], factor: float) -> Callable[..., Tensor]:
    def spread(scale: Tensor, shape: torch.Size) -> Tensor:
        scale = scale.to(torch.float32)
        if not sizes:
            return scale.reshape(())
        scale = scale.reshape(scale.shape + (1,) * (len(shape) - scale.ndim))
        for axis, size in enumerate(sizes):
            if size > 1:
                scale = scale.repeat_interleave(size, dim=axis).narrow(axis, 0, shape[axis])
        return scale

    def form(entries: Tensor, scale: Tensor, zeros: Tensor | None = None) -> Tensor:
        weight = entries.to(torch.float32)
        if zeros is not None:
            weight = weight - spread(zeros, entries.shape)
        return weight * (spread(scale, entries.shape) * factor)

    return form
