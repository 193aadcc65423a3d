"""Integers in 32-bit words with a scale and a zero for each group: GPTQ, AWQ and MLX."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from transformer_spectrum.weights.anatomy.formed import Findings, Formed, Source, by_words
from transformer_spectrum.weights.anatomy.packing import from_awq_words, from_words


def gptq_or_awq(prefix: str, source: Source, settings: Mapping[str, Any], findings: Findings) -> None:
    """Integers of 2 to 8 bits, scales and zeros in groups: GPTQ packs them along the inputs, AWQ along the outputs.

    >>> from transformer_spectrum.weights.anatomy.formed import Held
    >>> tensors = {"qweight": Held((2, 8), "I32"), "qzeros": Held((1, 1), "I32"), "scales": Held((1, 8), "F16")}
    >>> gptq_or_awq("", Source(tensors, lambda name: None), {"bits": 4}, findings := Findings())
    >>> findings.formed[0].shape, findings.formed[0].note  # two words of eight inputs each
    ((8, 16), '4-bit integers of GPTQ less their zeros, times their scales')
    """
    names = source.under(prefix, ("qweight", "qzeros", "scales", "g_idx"))
    words, zeros, scales = (source.shape(prefix + name) for name in ("qweight", "qzeros", "scales"))
    if words is None or zeros is None or scales is None or {len(words), len(zeros), len(scales)} != {2}:
        bits = settings.get("bits", settings.get("w_bit"))
        count = source.numbers(prefix + "qweight") * 32 // bits if bits in (2, 3, 4, 8) else 0
        size = "" if count else ", whose number the file does not tell"
        findings.leave(names, f"packed integers without the scales and zeros of GPTQ or AWQ{size}", count)
    elif words[1] * 8 == scales[1] and zeros == (scales[0], words[1]) and words[0] % scales[0] == 0:
        _awq(prefix, source, settings, findings)
    elif words[1] == scales[1] and zeros[0] == scales[0]:
        _gptq(prefix, names, source, settings, findings)
    else:
        findings.leave(names, f"packed integers whose scales of {by_words(scales)} fit neither GPTQ nor AWQ", 0)


def _awq(prefix: str, source: Source, settings: Mapping[str, Any], findings: Findings) -> None:
    names = source.under(prefix, ("qweight", "qzeros", "scales"))
    inputs, outputs = source.tensors[names[0]].shape[0], source.tensors[names[2]].shape[1]
    version = str(settings.get("version", "gemm")).lower()
    if version != "gemm" or settings.get("bits", settings.get("w_bit", 4)) != 4:
        reason = f"packed integers of AWQ in its version {version}, whose order is not known here"
        findings.leave(names, reason, inputs * outputs)
        return
    note = "4-bit integers of AWQ less their zeros, times their scales"
    findings.formed.append(Formed(prefix + "weight", (outputs, inputs), tuple(names), _from_awq, note))


def _from_awq(words: Tensor, zeros: Tensor, scales: Tensor) -> Tensor:
    """(q - zero) scale; inputs x outputs as stored, outputs x inputs as returned."""
    group = words.shape[0] // scales.shape[0]
    offsets = from_awq_words(zeros).float().repeat_interleave(group, dim=0)
    return ((from_awq_words(words).float() - offsets) * scales.float().repeat_interleave(group, dim=0)).T.contiguous()


def _gptq(prefix: str, names: list[str], source: Source, settings: Mapping[str, Any], findings: Findings) -> None:
    words, zeros, scales = (source.tensors[prefix + name].shape for name in ("qweight", "qzeros", "scales"))
    outputs = words[1]
    bits, rest = divmod(32 * zeros[1], outputs)
    inputs = words[0] * 32 // bits if bits in (2, 3, 4, 8) and not rest else 0
    grouped = source.shape(prefix + "g_idx")
    if not inputs or words[0] * 32 % bits or (grouped is not None and grouped != (inputs,)):
        findings.leave(names, "packed integers of GPTQ whose shapes fit no number of bits", 0)
        return
    offset = _gptq_offset(prefix + "qzeros", bits, source, settings)
    if offset is None:
        reason = (
            f"packed {bits}-bit integers of GPTQ; whether their zeros are stored less one is not said "
            "(no quantize_config.json, no quantization_config in a config.json)"
        )
        findings.leave(names, reason, inputs * outputs)
        return
    if isinstance(offset, str):
        findings.leave(names, f"packed {bits}-bit integers of GPTQ in the format {offset}", inputs * outputs)
        return
    if grouped is None and inputs % scales[0]:
        findings.leave(names, f"packed {bits}-bit integers of GPTQ in groups of unknown size", inputs * outputs)
        return
    note = f"{bits}-bit integers of GPTQ less their zeros, times their scales"
    form = _from_gptq(bits, offset)
    findings.formed.append(Formed(prefix + "weight", (outputs, inputs), tuple(names), form, note))


def _gptq_offset(zeros: str, bits: int, source: Source, settings: Mapping[str, Any]) -> int | str | None:
    """1 where zeros are stored less one, 0 where as they are; a format's name if another; None if unknown.

    Symmetric quantisation has the zero 2^(bits - 1) everywhere, which then tells by itself.
    """
    if settings.get("quant_method", "gptq") == "gptq" and ("bits" in settings or "checkpoint_format" in settings):
        stated = settings.get("checkpoint_format", "gptq")
        return {"gptq": 1, "gptq_v2": 0}.get(stated, str(stated))
    stored = from_words(source.read(zeros), bits)
    least, most = int(stored.min()), int(stored.max())
    return {2 ** (bits - 1) - 1: 1, 2 ** (bits - 1): 0}.get(least) if least == most else None


def _from_gptq(bits: int, offset: int) -> Callable[..., Tensor]:
    def form(words: Tensor, zeros: Tensor, scales: Tensor, groups: Tensor | None = None) -> Tensor:
        """(q - zero) scale, each of the group that g_idx names; packed along the inputs."""
        entries = from_words(words.T.contiguous(), bits).float()  # outputs x inputs
        offsets = ((from_words(zeros, bits) + offset) & (2**bits - 1)).float().T
        if groups is None:
            groups = torch.arange(entries.shape[1]) // (entries.shape[1] // scales.shape[0])
        index = groups.long()
        return (entries - offsets[:, index]) * scales.float().T[:, index]

    return form


def mlx(prefix: str, source: Source, findings: Findings) -> None:
    """Integers packed along the inputs: q scale + bias in each group; config.json states bits and group_size.

    >>> from transformer_spectrum.weights.anatomy.formed import Held
    >>> tensors = {"weight": Held((4, 2), "U32"), "scales": Held((4, 1), "F16"), "biases": Held((4, 1), "F16")}
    >>> config = {"quantization": {"bits": 4, "group_size": 16}}
    >>> mlx("", Source(tensors, lambda name: None, config), findings := Findings())
    >>> findings.formed[0].shape, findings.formed[0].note
    ((4, 16), '4-bit integers of MLX times their scales plus their biases')
    """
    names = source.under(prefix, ("weight", "scales", "biases"))
    stated = source.config.get("quantization", {})
    own = stated.get(prefix.removesuffix("."), stated) if isinstance(stated, Mapping) else {}
    bits, group = (int(own.get(name) or 0) if isinstance(own, Mapping) else 0 for name in ("bits", "group_size"))
    words, scales = source.tensors[prefix + "weight"].shape, source.shape(prefix + "scales")
    inputs = words[-1] * 32 // bits if bits in (2, 4, 8) else 0
    fits = len(names) == 3 and len(words) == 2 and group and inputs
    if not fits or scales != (words[0], inputs // max(group, 1)) or source.shape(prefix + "biases") != scales:
        reason = "packed integers of MLX, whose bits and groups no config.json states, or states otherwise"
        findings.leave(names, reason, math.prod(words[:-1]) * inputs)
        return
    note = f"{bits}-bit integers of MLX times their scales plus their biases"
    form = _from_mlx(bits)
    findings.formed.append(Formed(prefix + "weight", (words[0], inputs), tuple(names), form, note))


def _from_mlx(bits: int) -> Callable[..., Tensor]:
    def form(words: Tensor, scales: Tensor, biases: Tensor) -> Tensor:
        entries = from_words(words, bits).float().unflatten(1, (scales.shape[1], -1))
        return (entries * scales.float()[..., None] + biases.float()[..., None]).flatten(1)

    return form
