"""Adapters: factors whose product is added to a layer's weight, and the weight in use where that layer is there too.

The factors alone mean nothing: B M and M^-1 A are the same adapter as B and A. What counts is the update, scale B A,
named "layer.update", and the weight in use, W + scale B A, named as the layer. LoRA by peft, loralib, torchtune, MLX,
diffusers and kohya; AdaLoRA, LoHa, LoKr, DoRA and IA3 by peft and LyCORIS.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping

from transformer_spectrum.weights.anatomy.adapter_scales import scale_of
from transformer_spectrum.weights.anatomy.adapter_updates import Scale, Update, gained, in_use, scaled_update, update_of
from transformer_spectrum.weights.anatomy.formed import FLOATS, Findings, Formed, Source, by_words, split

_FACTORS = (
    "lora_A lora_B lora_E lora_embedding_A lora_embedding_B lora_magnitude_vector lora_a lora_b ranknum "
    "hada_w1_a hada_w1_b hada_w2_a hada_w2_b hada_t1 hada_t2 "
    "lokr_w1 lokr_w1_a lokr_w1_b lokr_w2 lokr_w2_a lokr_w2_b lokr_t2 ia3_l "
    "lora_down lora_up lora_mid alpha dora_scale network_alpha"
)
_KNOWN = re.compile(
    rf"^(?:(?P<layer>.*)\.)?(?P<role>{'|'.join(sorted(_FACTORS.split(), key=len, reverse=True))})"
    r"(?:\.(?P<adapter>(?!weight$|bias$)[^.]+))?(?P<end>\.weight|\.bias)?$"
)
_DIFFUSERS = re.compile(r"^(?P<layer>.*?)(?:_lora|\.lora|\.lora_linear_layer)\.(?P<role>down|up)\.weight$")
_OTHER_FACTORS = (
    "oft_r oft_R oft_s oft_embedding_R boft_R boft_s vera_A vera_B vera_lambda_b vera_lambda_d pvera_lambda_b "
    "pvera_lambda_d randlora_A randlora_B randlora_lambda randlora_gamma hra_u fourierft_spectrum vblora_logits_A "
    "vblora_logits_B vblora_vector_bank shira_weight bone_block miss_block road_theta road_alpha c3a_kernel "
    "waveft_spectrum gralora_A gralora_B gralora_A_general gralora_B_general poly_lora_A poly_lora_B hira_A hira_B "
    "hira_embedding_A hira_embedding_B lily_A lily_B adamss_A adamss_B deft_P deft_R delora_A delora_B psoft_R "
    "peanut_A peanut_B supertuning_lora_A supertuning_lora_B"
)
_OTHERS = re.compile(rf"(?:^|\.)({'|'.join(_OTHER_FACTORS.split())})(?:\.|$)")
_SAVED = re.compile(r"^(?P<layer>.*)\.modules_to_save\.(?P<adapter>[^.]+)\.(?P<rest>.+)$")
_UP_TO_A_FACTOR = (
    "updates whose scale is unknown are measured as B A: stable rank, entropy, alpha and all else that does not change "
    "with a factor is theirs; spectral_norm, frobenius_norm, ks_xmin, alpha_hat, log_alpha_norm, mp_variance, "
    "mp_upper_edge and tw_edge are not"
)
_BASES = ("base_layer.weight", "base_layer.in_proj_weight", "linear.weight", "weight", "in_proj_weight")

Factors = dict[str, str]  # role -> name of the tensor


def adapters(source: Source) -> Findings:
    """Every layer with an adapter: its update, its weight in use, or why neither is known.

    >>> from transformer_spectrum.weights.anatomy.formed import Held
    >>> tensors = {"fc.lora_A.weight": Held((2, 8), "F32"), "fc.lora_B.weight": Held((8, 2), "F32")}
    >>> [(formed.name, formed.shape) for formed in adapters(Source(tensors, lambda name: None)).formed]
    [('fc.update.weight', (8, 8))]
    """
    findings = Findings()
    layers = _grouped(source)
    for layer, by_adapter in layers.items():
        _layer(layer, by_adapter, source, findings)
    start = source.beside.get("adapter_config.json", {}).get("init_lora_weights")
    if layers and isinstance(start, str) and start.split("_")[0].lower() in ("pissa", "olora", "corda"):
        findings.notes.append(
            f"init_lora_weights = {start}: training began from factors of the weight itself, so that an update holds a "
            "part of it beside what was learned"
        )
    used = {name for formed in findings.formed for name in formed.pieces}
    used |= {left.name for left in findings.left_out}
    _others(source, used, bool(layers), findings)
    _saved(source, findings)
    return findings


def _grouped(source: Source) -> dict[str, dict[str, Factors]]:
    """Layer -> adapter -> factors, for layers that have any factor beside an "alpha", which may be anything."""
    layers: dict[str, dict[str, Factors]] = defaultdict(lambda: defaultdict(dict))
    for name in source.tensors:
        match = _KNOWN.match(name) or _DIFFUSERS.match(name)
        if match is None or match.groupdict().get("end") == ".bias" or source.code(name) not in FLOATS | {"I64"}:
            continue
        role = {"down": "lora_down", "up": "lora_up"}.get(match["role"], match["role"])
        layers[match["layer"] or ""][match.groupdict().get("adapter") or ""][role] = name
    lonely = {"alpha", "network_alpha", "ranknum", "dora_scale"}
    adapted: dict[str, dict[str, Factors]] = {}
    for layer, by_adapter in layers.items():
        own = {adapter: roles for adapter, roles in by_adapter.items() if not set(roles) <= lonely}
        if own:
            adapted[layer] = own
    return adapted


def _layer(layer: str, by_adapter: Mapping[str, Factors], source: Source, findings: Findings) -> None:
    dot = f"{layer}." if layer else ""
    bases = (dot + name for name in _BASES if source.code(dot + name) in FLOATS)
    base = next((name for name in bases if len(source.tensors[name].shape) >= 2), None)
    reasons: list[str] = []
    for adapter, factors in by_adapter.items():
        names = list(factors.values())
        if set(factors) == {"ia3_l"}:
            reason = _rescaled(layer, base, factors["ia3_l"], len(by_adapter), source, findings)
            reasons += [reason] if reason else []
            continue
        stacked = re.search(r"(^|\.)experts(\.base_layer)*$", layer)
        update = "factors of stacked experts, cut as only peft knows" if stacked else update_of(factors, source)
        if isinstance(update, str):
            findings.leave(names, update)
            reasons.append(update)
            continue
        scale = scale_of(layer, factors, update, source)
        if isinstance(scale, str):
            findings.leave(names, scale)
            reasons.append(scale)
            continue
        label = f".{adapter}" if len(by_adapter) > 1 and adapter else ""
        reasons.append(_update(layer, label, base, update, scale, len(by_adapter), source, findings))
    formed = {piece for formed in findings.formed if not formed.update for piece in formed.pieces}
    if base is not None and base not in formed and any(reasons):
        reason = f"the weight below an adapter, not the one in use: {next(filter(None, reasons))}"
        findings.leave([base], reason, source.numbers(base))


def _update(
    layer: str,
    label: str,
    base: str | None,
    update: Update,
    scale: Scale,
    count: int,
    source: Source,
    findings: Findings,
) -> str:
    """Takes up the update and the weight in use; says why the second is not known, empty where it is."""
    dot = f"{layer}." if layer else ""
    shape = source.tensors[base].shape if base else None
    name = dot + (split(base)[1] if base else "weight")
    magnitude = update.magnitude
    if magnitude and (base is None or scale.factor is None):
        missing = "the weight below it is not in the file" if base is None else scale.words
        reason = f"factors of DoRA, which rescales the rows of W + scale B A; {missing}"
        findings.leave([*update.pieces, magnitude], reason)
        return reason
    turned = gained(update, shape, scale.turned) if shape is not None else None
    if magnitude is None:
        pieces = (*update.pieces, *scale.pieces)
        note = f"update of rank {update.rank} at most: {update.note}"
        note += f", times {scale.words}" if scale.factor else f"; {scale.words}: known up to a factor (scale 1 taken)"
        findings.formed.append(
            Formed(
                f"{dot}update{label}.weight",
                update.shape,
                pieces,
                scaled_update(update, scale),
                note,
                dtype="F64",
                weights=sum(source.numbers(piece) for piece in update.pieces),
                update=True,
                layer=name,
            )
        )
        if scale.factor is None and _UP_TO_A_FACTOR not in findings.notes:
            findings.notes.append(_UP_TO_A_FACTOR)
    if base is None:
        return ""
    if count > 1:
        reason = "several adapters lie on it, and which of them acts is not in the file"
    elif scale.factor is None:
        reason = scale.words
    elif turned is None:
        reason = f"its shape of {by_words(source.tensors[base].shape)} is not the update's"
    elif magnitude and (len(update.shape) != 2 or update.embedding or turned):
        reason = "DoRA on such a layer is not known here"
    else:
        pieces = (base, *update.pieces, *scale.pieces, *([magnitude] if magnitude else []))
        form = in_use(update, scale, turned, magnitude is not None)
        words = f"{base.removeprefix(dot).removesuffix('.weight')} + {scale.words} {update.words}"
        note = f"weight in use: {words}{', rows rescaled by DoRA' if magnitude else ''}"
        findings.formed.append(Formed(name, source.tensors[base].shape, pieces, form, note, source.code(base)))
        return ""
    if magnitude:
        findings.leave([*update.pieces, magnitude], f"factors of DoRA: {reason}")
    return reason


def _rescaled(layer: str, base: str | None, vector: str, count: int, source: Source, findings: Findings) -> str:
    """IA3: rows (or columns, of feed-forwards) of the weight times a vector; its shape says which."""
    shape, length = (source.tensors[base].shape if base else ()), source.tensors[vector].shape
    if base is None:
        findings.leave([vector], "a vector of IA3, which rescales a weight that is not in the file")
        return ""
    dot = f"{layer}." if layer else ""
    if count > 1 or len(shape) != 2 or length not in ((shape[0], 1), (1, shape[1])):
        reason = "the vector of IA3 on it does not tell by its shape what it rescales"
        findings.leave([vector], reason)
        return reason
    note = "weight in use: base_layer times the vector of IA3"
    name, code = dot + split(base)[1], source.code(base)
    findings.formed.append(Formed(name, shape, (base, vector), lambda weight, scale: weight * scale, note, code))
    return ""


def _others(source: Source, used: set[str], adapted: bool, findings: Findings) -> None:
    """Adapters of other kinds, and the layers below them."""
    layers: dict[str, str] = {}  # -> what lies on it
    for name, tensor in source.tensors.items():
        match = _OTHERS.search(name)
        if match is not None and name not in used:
            layers[name[: match.start()]] = match[1]
            if len(tensor.shape) >= 2:
                findings.leave([name], f"a factor of an adapter ({match[1]}) that is not formed here")
    for name, tensor in source.tensors.items():
        if len(tensor.shape) < 2 or name in used or ".base_layer." not in f".{name}":
            continue
        layer = name.split("base_layer.")[0].removesuffix(".")
        if adapted or layers:
            unknown = f"the adapter ({layers[layer]}) is" if layer in layers else "what lies on it is"
            reason = f"the weight below an adapter, not the one in use: {unknown} not known here"
            findings.leave([name], reason, source.numbers(name))


def _saved(source: Source, findings: Findings) -> None:
    """peft's modules_to_save: the copy that was trained acts, original_module does not."""
    copies: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name in source.tensors:
        match = _SAVED.match(name)
        if match and source.code(name) in FLOATS:
            copies[match["layer"], match["rest"]].append(name)
    for (layer, rest), names in copies.items():
        name, original = f"{layer}.{rest}", f"{layer}.original_module.{rest}"
        if len(names) == 1 and name not in source.tensors:
            shape = source.tensors[names[0]].shape
            note = "weight in use: the copy that was trained (modules_to_save)"
            findings.formed.append(Formed(name, shape, (names[0],), lambda weight: weight, note, source.code(names[0])))
        if original in source.tensors and len(source.tensors[original].shape) >= 2:
            reason = "the module before it was trained; the one in use is in modules_to_save"
            findings.leave([original], reason, source.numbers(original))
