"""Four-bit numbers that stand for floats: NVFP4 and MXFP4 (two a byte, with scales), and tables of bitsandbytes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from transformer_spectrum.weights.anatomy.formed import FP8, Findings, Formed, Source, split
from transformer_spectrum.weights.anatomy.packing import e2m1, halves

FOUR_BITS_BY_TABLE = ("nf4", "fp4")


def compressed_fp4(prefix: str, names: list[str], source: Source, findings: Findings) -> None:
    """nvfp4-pack-quantized and mxfp4-pack-quantized.

    >>> from transformer_spectrum.weights.anatomy.formed import Held
    >>> tensors = {"fc.weight_packed": Held((4, 16), "U8"), "fc.weight_scale": Held((4, 1), "U8")}
    >>> compressed_fp4("fc.", list(tensors), Source(tensors, lambda name: None), findings := Findings())
    >>> findings.formed[0].shape, findings.formed[0].note
    ((4, 32), '4-bit floats of MXFP4 times powers of two')
    """
    rows, half = source.tensors[prefix + "weight_packed"].shape[-2:]
    scale, shape = prefix + "weight_scale", (rows, 2 * half)
    whole = prefix + "weight_global_scale"
    fits = len(source.tensors[prefix + "weight_packed"].shape) == 2
    pieces: tuple[str, ...] = (prefix + "weight_packed", scale)
    if fits and source.code(scale) in FP8 and source.shape(scale) == (rows, half // 8) and whole in source.tensors:
        note = "4-bit floats of NVFP4 times the scales of 16, over the scale of the whole"
        findings.formed.append(Formed(prefix + "weight", shape, (*pieces, whole), _nvfp4(divided=True), note))
        findings.leave([name for name in names if name.endswith("input_global_scale")], "a scale of the activations")
    elif fits and source.code(scale) == "U8" and source.shape(scale) == (rows, half // 16):
        note = "4-bit floats of MXFP4 times powers of two"
        findings.formed.append(Formed(prefix + "weight", shape, pieces, _from_mxfp4, note))
    else:
        findings.leave(names, "packed 4-bit numbers whose scales fit no format known here", rows * 2 * half)


def modelopt_fp4(name: str, source: Source, findings: Findings) -> None:
    """NVFP4 as ModelOpt keeps it: two numbers a byte, a scale of 16 each and a scale of the whole.

    >>> from transformer_spectrum.weights.anatomy.formed import Held
    >>> tensors = {"w": Held((4, 8), "U8"), "w_scale": Held((4, 1), "F8_E4M3"), "w_scale_2": Held((), "F32")}
    >>> modelopt_fp4("w", Source(tensors, lambda name: None), findings := Findings())
    >>> findings.formed[0].shape, findings.formed[0].note
    ((4, 16), '4-bit floats of NVFP4 times the scales of 16 and of the whole')
    """
    scale, whole, shape = f"{name}_scale", f"{name}_scale_2", source.tensors[name].shape
    if len(shape) == 2 and source.code(scale) in FP8 and source.shape(scale) == (shape[0], shape[1] // 8):
        weights = (shape[0], 2 * shape[1])
        if whole in source.tensors:
            note = "4-bit floats of NVFP4 times the scales of 16 and of the whole"
            findings.formed.append(Formed(name, weights, (name, scale, whole), _nvfp4(divided=False), note))
        else:
            findings.leave([name, scale], "4-bit floats of NVFP4 without the scale of the whole", math.prod(weights))


def _nvfp4(*, divided: bool) -> Callable[..., Tensor]:
    def form(packed: Tensor, scales: Tensor, whole: Tensor) -> Tensor:
        each = scales.float() / whole.float() if divided else scales.float() * whole.float()
        return e2m1(packed) * each.repeat_interleave(16, dim=-1)

    return form


def _from_mxfp4(packed: Tensor, exponents: Tensor) -> Tensor:
    """Each 32 entries share a power of two, stored plus 127."""
    return torch.ldexp(e2m1(packed), (exponents.int() - 127).repeat_interleave(32, dim=-1))


def mxfp4(stem: str, source: Source, findings: Findings) -> None:
    """gpt-oss: blocks (experts, outputs, groups, 16) of two numbers a byte; one weight for each expert.

    >>> from transformer_spectrum.weights.anatomy.formed import Held
    >>> tensors = {"mlp.down_proj_blocks": Held((2, 4, 1, 16), "U8"), "mlp.down_proj_scales": Held((2, 4, 1), "U8")}
    >>> mxfp4("mlp.down_proj", Source(tensors, lambda name: None), findings := Findings())
    >>> [(weight.name, weight.shape) for weight in findings.formed]
    [('mlp.0.down_proj.weight', (4, 32)), ('mlp.1.down_proj.weight', (4, 32))]
    """
    blocks, scales = f"{stem}_blocks", f"{stem}_scales"
    shape = source.tensors[blocks].shape
    weights = 2 * math.prod(shape)
    if len(shape) != 4 or shape[3] != 16 or source.shape(scales) != shape[:3] or source.code(scales) != "U8":
        findings.leave([blocks, scales], "packed 4-bit floats whose shapes are none of MXFP4", weights)
        return
    prefix, last = split(stem)
    mixed = last == "gate_up_proj"  # its rows are gate, up, gate, up ...
    note = f"4-bit floats of MXFP4 times powers of two{', gates before ups' if mixed else ''}"
    for expert in range(shape[0]):
        findings.formed.append(
            Formed(
                f"{prefix}{expert}.{last}.weight",
                (shape[1], 32 * shape[2]),
                (blocks, scales),
                _expert(expert, mixed),
                note,
                shared=True,
            )
        )


def _expert(expert: int, mixed: bool) -> Callable[..., Tensor]:
    def form(blocks: Tensor, scales: Tensor) -> Tensor:
        rows = _from_mxfp4(blocks[expert].flatten(-2), scales[expert])
        return torch.cat([rows[0::2], rows[1::2]]) if mixed else rows

    return form


def bitsandbytes(name: str, source: Source, findings: Findings) -> None:
    """4-bit numbers by a table of 16, in blocks that share a scale; the scales may be packed once more.

    >>> from transformer_spectrum.weights.anatomy.formed import Held
    >>> shapes = {"w": (32, 1), "w.absmax": (1,), "w.quant_map": (16,), "w.quant_state.bitsandbytes__nf4": (55,)}
    >>> state = torch.tensor(list(b'{"quant_type": "nf4", "blocksize": 64, "shape": [4, 16]}'))
    >>> source = Source({name: Held(shape, "U8") for name, shape in shapes.items()}, lambda name: state)
    >>> bitsandbytes("w", source, findings := Findings())
    >>> findings.formed[0].shape, findings.formed[0].note
    ((4, 16), '4-bit numbers of bitsandbytes (nf4) by their table, times absmax')
    """
    states = [f"{name}.quant_state.bitsandbytes__{kind}" for kind in FOUR_BITS_BY_TABLE]
    state = next((state for state in states if state in source.tensors), None)
    kinds = ("absmax", "quant_map", "nested_absmax", "nested_quant_map")
    names = [name, *source.under(f"{name}.", kinds)]
    if state is None:
        if len(names) > 1:
            reason = "packed 4-bit numbers of bitsandbytes without their quant_state"
            findings.leave(names, reason, 2 * source.numbers(name))
        return
    stated = _stated_state(state, source)
    shape = tuple(stated.get("shape", ()))
    block, nested = stated.get("blocksize"), stated.get("nested_blocksize")
    sizes = [size for size in (*shape, block) if not isinstance(size, int) or size < 1]
    count = math.prod(shape) if shape and not sizes else 0
    fits = count and -(-count // 2) == source.numbers(name) and len(names) == (5 if nested else 3)
    if not fits or -(-count // int(block or 1)) != source.numbers(f"{name}.absmax"):
        reason = "packed 4-bit numbers of bitsandbytes whose quant_state does not fit them"
        findings.leave([*names, state], reason, 2 * source.numbers(name))
        return
    note = f"4-bit numbers of bitsandbytes ({stated.get('quant_type', '')}) by their table, times absmax"
    form = _from_table(shape, int(block or 1), int(nested or 0), float(stated.get("nested_offset", 0.0)))
    findings.formed.append(Formed(name, shape, (*names, state), form, note))


def _stated_state(name: str, source: Source) -> dict[str, Any]:
    """The JSON that bitsandbytes stores as bytes of a tensor; empty where it is none."""
    try:
        value = json.loads(bytes(source.read(name).to(torch.uint8).flatten().tolist()).decode())
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _from_table(shape: tuple[int, ...], block: int, nested: int, offset: float) -> Callable[..., Tensor]:
    def form(packed: Tensor, absmax: Tensor, table: Tensor, *rest: Tensor) -> Tensor:
        scales = absmax.flatten()
        if nested:
            nested_absmax, nested_table = rest[0], rest[1]
            scales = nested_table.float()[scales.int()]
            scales = scales * nested_absmax.float().flatten().repeat_interleave(nested)[: len(scales)] + offset
        entries = table.float()[halves(packed.flatten(), high_first=True).int()][: math.prod(shape)]
        return (entries * scales.float().repeat_interleave(block)[: len(entries)]).reshape(shape)

    return form
