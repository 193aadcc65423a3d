"""Weights that torch made of their pieces before `torch.nn.utils.parametrize`, formed again from a state dict.

It holds "weight_orig" and "weight_mask" (torch.nn.utils.prune), "weight_g" and "weight_v" (weight_norm), "weight_orig"
(or "weight_bar"), "weight_u" and "weight_v" (spectral_norm), "weight_raw" (a weight that training drops entries of).
"""

from __future__ import annotations

from transformer_spectrum.weights.anatomy.formed import FLOATS, Findings, Formed, Source, by_words, split
from transformer_spectrum.weights.anatomy.norms import is_length, spectral_axes, spectral_norm, times_mask, weight_norm

_SCORES = ("mask_scores", "popup_scores")  # movement pruning and edge-popup: entries of low scores do not act


# -- masks -----------------------------------------------------------------------------------------------------
def masked(source: Source) -> Findings:
    """Pruned weights, "weight_orig" times "weight_mask", and weights beside a mask of their own shape.

    >>> from transformer_spectrum.weights.anatomy.formed import Held
    >>> tensors = {"fc.weight_orig": Held((4, 3), "F32"), "fc.weight_mask": Held((4, 3), "F32")}
    >>> [(formed.name, formed.note) for formed in masked(Source(tensors, lambda name: None)).formed]
    [('fc.weight', 'weight_orig times weight_mask')]
    """
    findings = Findings()
    for name, tensor in source.tensors.items():
        if len(tensor.shape) < 2 or source.code(name) not in FLOATS:
            continue
        prefix, last = split(name)
        scores = [f"{prefix}{score}" for score in _SCORES if source.shape(f"{prefix}{score}") == tensor.shape]
        if last == "weight" and scores:
            reason = "a weight whose entries act by their scores, from a threshold on that is not in the file"
            findings.leave([name, *scores], reason, source.numbers(name))
            continue
        stem = last.removesuffix("_orig")
        if stem == last and "weight" not in last:
            continue
        masks = [f"{prefix}{stem}_mask", *([f"{prefix}mask"] if last == "weight" else [])]
        mask = next((mask for mask in masks if source.shape(mask) == tensor.shape), None)
        if mask is None or (stem != last and prefix + stem in source.tensors):
            continue
        note = f"{last} times {split(mask)[1]}"
        findings.formed.append(Formed(prefix + stem, tensor.shape, (name, mask), times_mask, note, source.code(name)))
    return findings


# -- the old weight_norm and spectral_norm ----------------------------------------------------------------------
def normalised(source: Source) -> Findings:
    """The old forms of weight_norm and spectral_norm; their "weight_v" are a tensor like the weight and a vector.

    >>> from transformer_spectrum.weights.anatomy.formed import Held
    >>> tensors = {"fc.weight_g": Held((4, 1), "F32"), "fc.weight_v": Held((4, 3), "F32")}
    >>> [(formed.name, formed.note) for formed in normalised(Source(tensors, lambda name: None)).formed]
    [('fc.weight', 'weight_norm: weight_v times weight_g over its length')]
    """
    findings = Findings()
    for name, tensor in source.tensors.items():
        if source.code(name) not in FLOATS:
            continue
        if name.endswith("_orig") or (name.endswith("weight_bar") and f"{name[:-4]}_u" in source.tensors):
            _old_original(name, source, findings)
        elif name.endswith("_raw") and "weight" in split(name)[1]:
            _dropped(name, source, findings)
        elif name.endswith("_v") and len(tensor.shape) >= 2 and source.code(f"{name[:-2]}_g") in FLOATS:
            _old_weight_norm(name[:-2], source, findings)
    return findings


def _old_weight_norm(stem: str, source: Source, findings: Findings) -> None:
    length, direction = f"{stem}_g", f"{stem}_v"
    shape, g_shape = source.tensors[direction].shape, source.tensors[length].shape
    last = split(stem)[1]
    if "weight" not in last or (len(g_shape) == len(shape) and 1 not in g_shape):
        return  # a gate's and a value's matrix, say
    if stem in source.tensors:
        findings.leave([direction, length], f"a weight_norm's direction and length; {last} itself lies beside them")
    elif not is_length(g_shape, shape):
        findings.leave([direction, length], f"a direction and a length of {by_words(g_shape)}, which torch never makes")
    else:
        note = f"weight_norm: {last}_v times {last}_g over its length"
        code = source.code(direction)
        findings.formed.append(Formed(stem, shape, (length, direction), weight_norm, note, code))


def _old_original(name: str, source: Source, findings: Findings) -> None:
    stem = name.rpartition("_")[0]
    left, right, last = f"{stem}_u", f"{stem}_v", split(stem)[1]
    if len(source.tensors[name].shape) < 2:
        return
    if stem in source.tensors:
        findings.leave([name], f"what {last} is computed from; {last} itself lies beside it", 0)
    elif left in source.tensors and right in source.tensors:
        axes = spectral_axes(source, name, left, right)
        if axes:
            form, note = spectral_norm(axes), f"spectral_norm: {split(name)[1]} over its norm by {last}_u and {last}_v"
            findings.formed.append(
                Formed(stem, source.tensors[name].shape, (name, left, right), form, note, source.code(name))
            )
        else:
            findings.leave(
                [name], "the vectors beside it are none of a spectral_norm of its shape", source.numbers(name)
            )
    else:
        findings.leave(
            [name], "what a weight is computed from, by a rule that is not in the file", source.numbers(name)
        )


def _dropped(name: str, source: Source, findings: Findings) -> None:
    """AWD-LSTM and fastai keep the weight as "weight_hh_l0_raw", and what dropout left of it at the last call."""
    prefix, last = split(name.removesuffix("_raw"))
    inside, shape = f"{prefix}module.{last}", source.tensors[name].shape
    target = inside if inside in source.tensors or f"{prefix}module.weight_ih_l0" in source.tensors else prefix + last
    pieces = (name, target) if source.shape(target) == shape else (name,)
    note = f"{last}_raw, the weight before training drops entries of it"
    findings.formed.append(Formed(target, shape, pieces, lambda weight, *_: weight, note, source.code(name)))
