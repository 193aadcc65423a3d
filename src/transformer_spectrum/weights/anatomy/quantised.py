"""Weights packed as integers of a few bits: GPTQ, AWQ, MLX, compressed-tensors, bitsandbytes, MXFP4 and NVFP4.

A layer of that kind stores integers in words, and beside them scales and zeros. Where names, shapes and the
configuration say how they are packed, the weight is formed; where they do not, the integers are left out together with
their scales, and the weights in them counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformer_spectrum.weights.anatomy.compressed import compressed
from transformer_spectrum.weights.anatomy.formed import Findings, Source, split
from transformer_spectrum.weights.anatomy.four_bits import bitsandbytes, modelopt_fp4, mxfp4
from transformer_spectrum.weights.anatomy.fused import sections
from transformer_spectrum.weights.anatomy.gptq import gptq_or_awq, mlx

_WORDS = ("I32", "U32")


def quantised(source: Source) -> Findings:
    """Every layer of packed integers, formed or left out with its scales.

    >>> from transformer_spectrum.weights.anatomy.formed import Held
    >>> shapes = {"fc.qweight": (8, 32), "fc.qzeros": (1, 4), "fc.scales": (1, 32)}
    >>> tensors = {name: Held(shape, "F16" if name == "fc.scales" else "I32") for name, shape in shapes.items()}
    >>> quantised(Source(tensors, lambda name: None, {"quantization_config": {"bits": 4}})).formed[0].shape
    (32, 64)
    """
    findings, settings = Findings(), settings_of(source)
    for name, tensor in source.tensors.items():
        prefix, last = split(name)
        if len(tensor.shape) < 2 or not source.numbers(name):
            continue
        if last == "qweight" and source.code(name) in _WORDS:
            gptq_or_awq(prefix, source, settings, findings)
        elif last == "weight_packed" and source.code(name) in ("I32", "U8"):
            compressed(prefix, source, settings, findings)
        elif name.endswith("_blocks") and source.code(name) == "U8" and f"{name[:-7]}_scales" in source.tensors:
            mxfp4(name[:-7], source, findings)
        elif last == "weight" and source.code(name) == "U8":
            bitsandbytes(name, source, findings)
            modelopt_fp4(name, source, findings)
        elif last == "weight" and source.code(name) == "U32":
            mlx(prefix, source, findings)
    return findings


def settings_of(source: Source) -> Mapping[str, Any]:
    """What the files say of the quantisation: quantize_config.json over quantization_config of config.json.

    >>> config, beside = {"quantization_config": {"bits": 4}}, {"quantize_config.json": {"bits": 8}}
    >>> settings_of(Source({}, lambda name: None, config, beside))
    {'bits': 8}
    """
    stated: dict[str, Any] = {}
    for section in sections(source.config):
        inner = section.get("quantization_config")
        stated |= inner if isinstance(inner, Mapping) else {}
    return {**stated, **source.beside.get("quantize_config.json", {}), **source.beside.get("quant_config.json", {})}
