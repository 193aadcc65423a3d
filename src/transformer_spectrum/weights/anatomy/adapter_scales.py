"""The scale of an adapter's update: alpha / r by adapter_config.json, by a tensor "alpha", or unknown."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from transformer_spectrum.weights.anatomy.adapter_updates import Scale, Update
from transformer_spectrum.weights.anatomy.formed import Source

_UNSAID = "its scale is not in the file, and no adapter_config.json lies beside it"
_WITHOUT = "adapter_config.json states no r and no lora_alpha for it"
_KINDS = {"lora": "LORA", "adalora": "ADALORA", "loha": "LOHA", "lokr": "LOKR"}


def scale_of(layer: str, factors: Mapping[str, str], update: Update, source: Source) -> Scale | str:
    """The scale of one update.

    Args:
        layer: the layer's name.
        factors: role -> name of a tensor.
        update: what is scaled.
        source: the tensors and the configuration.
    Returns:
        The scale, perhaps unknown, or the reason why the update itself cannot be right.

    >>> from transformer_spectrum.weights.anatomy.adapter_updates import update_of
    >>> from transformer_spectrum.weights.anatomy.formed import Held
    >>> tensors = {"fc.lora_A.weight": Held((2, 8), "F32"), "fc.lora_B.weight": Held((8, 2), "F32")}
    >>> source = Source(tensors, lambda name: None, beside={"adapter_config.json": {"lora_alpha": 16, "r": 2}})
    >>> factors = {"lora_A": "fc.lora_A.weight", "lora_B": "fc.lora_B.weight"}
    >>> scale_of("fc", factors, update_of(factors, source), source).factor()
    8.0
    """
    if update.kind == "lokr" and not update.factored and not settings_of(layer, source):
        return Scale(lambda: 1.0, words="1 (both factors are whole)")
    alpha = factors.get("alpha") or factors.get("network_alpha")
    if alpha is not None and source.numbers(alpha) == 1:
        rank = update.rank_of_scale
        return Scale(lambda value: float(value) / rank, (alpha,), f"alpha / {rank}")
    settings = settings_of(layer, source)
    if not settings:
        return Scale(None, words=_UNSAID)
    return _stated(layer, factors, update, settings)


def _stated(layer: str, factors: Mapping[str, str], update: Update, settings: Mapping[str, Any]) -> Scale | str:
    kind = str(settings.get("peft_type", "LORA")).upper()
    if kind != _KINDS[update.kind]:
        return Scale(None, words=f"adapter_config.json describes {kind}, which has no scale of such factors")
    turned = bool(settings["fan_in_fan_out"]) if "fan_in_fan_out" in settings else None
    module = re.sub(r"^base_model\.model\.", "", layer)
    rank = _by_pattern(settings.get("rank_pattern"), module, settings.get("r"))
    alpha = _by_pattern(settings.get("alpha_pattern"), module, settings.get("lora_alpha", settings.get("alpha")))
    if update.kind == "adalora":
        return _of_adalora(factors, alpha, settings, turned)
    if not _is_number(rank) or not _is_number(alpha) or rank <= 0:
        return Scale(None, words=_WITHOUT, turned=turned)
    if rank != update.rank_of_scale and not (update.kind == "lokr" and not update.factored):
        return f"factors of rank {update.rank_of_scale}, where adapter_config.json says r = {rank}"
    value = alpha / (math.sqrt(rank) if settings.get("use_rslora") else rank)
    return Scale(lambda: value, words=f"{value:g}", turned=turned)


def _of_adalora(factors: Mapping[str, str], alpha: Any, settings: Mapping[str, Any], turned: bool | None) -> Scale:
    """alpha / (ranks left + 1e-5), as peft's AdaLoraLayer; the number of ranks left is seldom saved."""
    if "ranknum" not in factors or not _is_number(alpha):
        return Scale(None, words="how many ranks AdaLoRA left, which divide its scale, is not known", turned=turned)
    value = float(alpha) if alpha > 0 else float(settings.get("init_r", 12))

    def factor(ranks: Tensor) -> float:
        return value / (float(ranks) + 1e-5)

    return Scale(factor, (factors["ranknum"],), "alpha / ranks", turned)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _by_pattern(patterns: Any, module: str, default: Any) -> Any:
    """As peft's get_pattern_key: the first pattern that matches the end of the module's name."""
    for pattern, value in patterns.items() if isinstance(patterns, Mapping) else ():
        try:
            if re.fullmatch(rf"(?:.*\.)?(?:{pattern})", module):
                return value
        except re.error:
            if module == pattern or module.endswith(f".{pattern}"):
                return value
    return default


def settings_of(layer: str, source: Source) -> Mapping[str, Any]:
    """adapter_config.json, or the same as diffusers keeps it in a file's metadata, each name behind a component's.

    >>> source = Source({}, lambda name: None, metadata={"lora_adapter_metadata": '{"unet.r": 4, "text_encoder.r": 8}'})
    >>> settings_of("unet.down.0", source)
    {'r': 4}
    """
    if "adapter_config.json" in source.beside:
        return source.beside["adapter_config.json"]
    try:
        stated = json.loads(source.metadata.get("lora_adapter_metadata", "{}"))
    except json.JSONDecodeError:
        return {}
    component = layer.split(".")[0]
    own = stated.items() if isinstance(stated, Mapping) else ()
    return {key.removeprefix(f"{component}."): value for key, value in own if key.startswith(f"{component}.")}
