"""What no recogniser could form: packed integers of other formats, and scales that belong to weights elsewhere."""

from __future__ import annotations

import math
import re

from transformer_spectrum.weights.anatomy.formed import INTEGERS, Findings, Source, split

_NAMES = "weight qweight q_weight W_q weight_packed Qidxs codes packed quantized_weight B _data"
_SCALE_NAMES = (
    "weight_scale weight_scale_inv weight_scale_2 weight_global_scale weight_zero_point input_scale input_scale_ub "
    "input_global_scale activation_scale scale_weight scale_input qzeros qscales g_idx weight_g_idx SCB absmax "
    "nested_absmax quant_map nested_quant_map _scale _shift"
)
_PACKED, _SCALES = frozenset(_NAMES.split()), frozenset(_SCALE_NAMES.split())
_BESIDE_PACKED = re.compile(r"scale|zero|absmax|codebook|centroid|lookup|(^|_)lut|quant|outlier|_idx$|shift|biases")
_EXACTLY_BESIDE = frozenset(["SU", "SV", "s", "meta", "_shift"])
_BITS = {"8": 8, "6": 16, "2": 32, "4": 64}  # by the last digit of a code: U8, I16, I32, I64


def leftovers(source: Source) -> Findings:
    """Leaves out whatever would pass for a weight and is none.

    >>> from transformer_spectrum.weights.anatomy.formed import Held
    >>> leftovers(Source({"fc.W_q": Held((8, 4), "U8")}, lambda name: None)).left_out[0].reason
    'packed integers of HQQ'
    """
    findings, modules = Findings(), {}
    for name, tensor in source.tensors.items():
        prefix, last = split(name)
        if last in _PACKED and source.code(name) in INTEGERS and len(tensor.shape) >= 2:
            kind = "HQQ" if last == "W_q" else "a quantised layer in a format that is not known here"
            modules[prefix] = name
            findings.leave([name], f"packed integers of {kind}", _count(name, prefix, source))
    for name, tensor in source.tensors.items():
        prefix, last = split(name)
        if len(tensor.shape) < 2 or name in modules.values():
            continue
        if (prefix in modules or prefix.removesuffix("meta.") in modules) and (
            last in _EXACTLY_BESIDE or _BESIDE_PACKED.search(last.lower())
        ):
            findings.leave([name], "scales, zeros or codebooks of packed integers")
        elif last in _SCALES or last.endswith("_scale_inv"):
            findings.leave([name], "scales or zeros of quantised weights that are not beside them")
    return findings


def _count(name: str, prefix: str, source: Source) -> int:
    """Weights in the integers: by a stated shape or number of bits beside them, else one an entry."""
    shape = source.shape(f"{prefix}shape")
    if shape is not None and len(shape) == 1 and 0 < shape[0] <= 4 and source.code(f"{prefix}shape") in INTEGERS:
        return math.prod(int(size) for size in source.read(f"{prefix}shape"))
    bits = int(source.read(f"{prefix}nbits")) if source.shape(f"{prefix}nbits") == () else 0
    if bits and not _BITS[source.code(name)[-1]] % bits:
        return source.numbers(name) * _BITS[source.code(name)[-1]] // bits
    return source.numbers(name)
