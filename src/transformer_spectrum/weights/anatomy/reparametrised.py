"""Weights that torch's reparametrizations compute at every call, formed again from what a state dict holds.

Old forms store "weight_orig" and "weight_mask" (torch.nn.utils.prune), "weight_g" and "weight_v" (weight_norm),
"weight_orig" (or "weight_bar"), "weight_u" and "weight_v" (spectral_norm), "weight_raw" (a weight that training drops
entries of); new ones "parametrizations.weight.original", or original0 and
original1, and what the i-th function keeps under "parametrizations.weight.i.". A function that keeps nothing, such as
a symmetric or a skew one, leaves no trace: what it makes of the original cannot be known.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable

import torch
from torch import Tensor

from transformer_spectrum.weights.anatomy.formed import (
    FLOATS,
    Findings,
    Formed,
    NotFormedError,
    Source,
    by_words,
    split,
    wide,
)

Steps = list[tuple[Callable[..., Tensor], tuple[str, ...]]]  # each takes the weight so far and its own tensors
_NEW = re.compile(
    r"^(?P<prefix>(?:.*\.)?)parametrizations\.(?P<name>[^.]+)\.(?:original(?P<part>\d*)|(?P<index>\d+)\.(?P<state>.+))$"
)
_SCORES = ("mask_scores", "popup_scores")  # movement pruning and edge-popup: entries of low scores do not act
_ORTHOGONAL_TO = 1e-3  # largest entry of B^T B - I of an orthogonal base that was stored in half precision


# -- masks -----------------------------------------------------------------------------------------------------
def masked(source: Source) -> Findings:
    """Pruned weights, "weight_orig" times "weight_mask", and weights beside a mask of their own shape."""
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
        findings.formed.append(Formed(prefix + stem, tensor.shape, (name, mask), _times_mask, note, source.code(name)))
    return findings


def _times_mask(weight: Tensor, mask: Tensor) -> Tensor:
    if not bool(((mask == 0) | (mask == 1)).all()):
        raise NotFormedError("the mask beside it holds other numbers than 0 and 1, so what it does is unknown")
    return weight * mask.to(weight.dtype)


# -- the old weight_norm and spectral_norm ----------------------------------------------------------------------
def normalised(source: Source) -> Findings:
    """The old forms of weight_norm and spectral_norm; their "weight_v" are a tensor like the weight and a vector."""
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
    elif not _is_length(g_shape, shape):
        findings.leave([direction, length], f"a direction and a length of {by_words(g_shape)}, which torch never makes")
    else:
        note = f"weight_norm: {last}_v times {last}_g over its length"
        code = source.code(direction)
        findings.formed.append(Formed(stem, shape, (length, direction), _weight_norm, note, code))


def _is_length(g: tuple[int, ...], v: tuple[int, ...]) -> bool:
    """Whether g is a norm of v over all axes, or over all but one."""
    if len(v) < 2:
        return False
    if math.prod(g) == 1:  # of all entries, unless one axis of v has a single entry
        return len(g) <= 1 or (len(g) == len(v) and 1 in v)
    return len(g) == len(v) and sum(size > 1 for size in g) == 1 and all(a in (1, b) for a, b in zip(g, v, strict=True))


def _weight_norm(g: Tensor, v: Tensor) -> Tensor:
    """g v / |v|, the norm over the axes that g has not."""
    exact = wide(v)
    axes = [axis for axis in range(v.ndim) if g.ndim != v.ndim or g.shape[axis] == 1]
    if g.ndim == v.ndim and g.numel() == 1:  # torch keeps one axis of a single entry; norms over it are the same
        axes = list(range(v.ndim))
    norm = exact.square().sum(axes, keepdim=True).sqrt()
    if not bool((norm > 0).all()):
        raise NotFormedError("a direction of weight_norm has length 0")
    return (exact * (g.to(exact.dtype).reshape(norm.shape) / norm)).to(v.dtype)


def _old_original(name: str, source: Source, findings: Findings) -> None:
    stem = name.rpartition("_")[0]
    left, right, last = f"{stem}_u", f"{stem}_v", split(stem)[1]
    if len(source.tensors[name].shape) < 2:
        return
    if stem in source.tensors:
        findings.leave([name], f"what {last} is computed from; {last} itself lies beside it", 0)
    elif left in source.tensors and right in source.tensors:
        axes = _spectral_axes(source, name, left, right)
        if axes:
            form, note = _spectral_norm(axes), f"spectral_norm: {split(name)[1]} over its norm by {last}_u and {last}_v"
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


def _spectral_axes(source: Source, original: str, left: str, right: str) -> list[int]:
    """Axes that can be the first of the matrix whose norm is taken: 0, and 1 in transposed convolutions."""
    shape, total = source.tensors[original].shape, source.numbers(original)
    sizes = source.tensors[left].shape, source.tensors[right].shape
    fitting = [axis for axis, size in enumerate(shape) if sizes == ((size,), (total // size if size else 0,))]
    return fitting[:1] if len(shape) == 2 else fitting


def _spectral_norm(axes: list[int]) -> Callable[..., Tensor]:
    def form(original: Tensor, left: Tensor, right: Tensor) -> Tensor:
        """W / (u^T W v). Where the sizes allow two axes, u and v are singular vectors of only one of the matrices."""
        exact, u, v = wide(original), wide(left), wide(right)
        norms = [u.to(exact.dtype) @ (exact.movedim(axis, 0).flatten(1) @ v.to(exact.dtype)) for axis in axes]
        norm = max(norms, key=lambda value: abs(float(value)))
        if float(norm) == 0.0:
            raise NotFormedError("its norm by the vectors of spectral_norm is 0")
        return (exact / norm).to(original.dtype)

    return form


# -- torch.nn.utils.parametrize ---------------------------------------------------------------------------------
def parametrised(source: Source) -> Findings:
    """What lies under "parametrizations.": all of it is used up or left out."""
    groups: dict[tuple[str, str], dict[str, dict[str, str]]] = defaultdict(lambda: defaultdict(dict))
    for name in source.tensors:
        match = _NEW.match(name)
        if match:
            kind = "original" if match["part"] is not None else match["index"]
            groups[match["prefix"], match["name"]][kind][match["part"] or match["state"] or ""] = name
    findings = Findings()
    for (prefix, last), states in groups.items():
        originals = states.pop("original", {})
        names = [*originals.values(), *(name for state in states.values() for name in state.values())]
        formed = _chain(prefix + last, originals, states, source)
        if isinstance(formed, Formed):
            findings.formed.append(formed)
        else:
            weights = max((source.numbers(name) for name in originals.values()), default=0)
            large = sorted(names, key=source.numbers, reverse=True)
            findings.leave(large, formed, weights)
    return findings


def _chain(name: str, originals: dict[str, str], states: dict[str, dict[str, str]], source: Source) -> Formed | str:
    """The weight after all its functions, or why it cannot be known."""
    if not originals:
        return "belongs to a parametrization whose original is not in the file"
    unseen = "the original of a parametrization whose function keeps nothing in the file, so what it makes is unknown"
    last = max(map(int, states), default=-1)
    steps: Steps = []
    notes: list[str] = []
    if set(originals) == {"0", "1"}:
        g, v = originals["0"], originals["1"]
        if "0" in states or not _is_length(source.tensors[g].shape, source.tensors[v].shape):
            return "several originals of a parametrization, which are no length and direction of weight_norm"
        pieces, original, first = [g, v], v, 1
        notes.append("weight_norm: original1 times original0 over its length")
    elif set(originals) == {""}:
        pieces, original, first = [originals[""]], originals[""], 0
        if last < 0:
            return unseen
    else:
        return "several originals of a parametrization that is not known"
    if source.code(original) not in FLOATS:
        return f"the original of a parametrization with {source.code(original)} entries"
    for index in range(first, last + 1):
        step = _step(original, states.get(str(index), {}), source)
        if isinstance(step, str):
            return unseen if not states.get(str(index)) else step
        form, names, note = step
        steps.append((form, names))
        notes.append(note)
        pieces += names
    weight_norm = first == 1
    return Formed(
        name,
        source.tensors[original].shape,
        tuple(pieces),
        _chained(steps, weight_norm),
        f"parametrizations: {', then '.join(notes)}",
        source.code(original),
    )


def _chained(steps: Steps, weight_norm: bool) -> Callable[..., Tensor]:
    def form(*tensors: Tensor) -> Tensor:
        weight, place = (_weight_norm(*tensors[:2]), 2) if weight_norm else (tensors[0], 1)
        for step, names in steps:
            weight = step(weight, *tensors[place : place + len(names)])
            place += len(names)
        return weight

    return form


def _step(
    original: str, state: dict[str, str], source: Source
) -> tuple[Callable[..., Tensor], tuple[str, ...], str] | str:
    """The function of a parametrization by what it keeps; the reason where that tells nothing."""
    shape = source.tensors[original].shape
    if set(state) == {"_u", "_v"}:
        left, right = state["_u"], state["_v"]
        axes = _spectral_axes(source, original, left, right)
        if axes:
            return _spectral_norm(axes), (left, right), "spectral_norm, the original over its norm by _u and _v"
    elif set(state) == {"base"} and len(shape) >= 2:
        side = max(shape[-2:])
        if source.tensors[state["base"]].shape == (*shape[:-2], side, side):
            usual = (
                "matrix_exp, torch's map for square weights" if shape[-2] == shape[-1] else "torch's map, Householder's"
            )
            return _orthogonal, (state["base"],), f"orthogonal, by {usual}; the file does not name the map"
    elif set(state) == {"mask"} and source.tensors[state["mask"]].shape == shape:
        return _times_mask, (state["mask"],), "the original times a mask"
    return f"the original of a parametrization of unknown kind, which keeps {', '.join(sorted(state))}"


def _orthogonal(original: Tensor, base: Tensor) -> Tensor:
    """torch.nn.utils.parametrizations.orthogonal with its base: base Q(X), Q by matrix_exp or Householder.

    The file does not name the map. By default it is matrix_exp for square weights and Householder's reflections for
    others; each of them gives orthonormal columns as long as the diagonal of the original is 1 or -1, as it begins and
    as no gradient moves it. Weight decay does: then Householder's columns are cut to zeros, and the others' are not. So
    a square weight is formed whatever its diagonal, as matrix_exp and Cayley's map agree there, and another is not.
    """
    base = base.to(torch.float64)
    identity = torch.eye(base.shape[-1], dtype=torch.float64)
    if not bool(((base.mT @ base - identity).abs() < _ORTHOGONAL_TO).all()):
        raise NotFormedError("the original of a parametrization with a base that is not orthogonal")
    factor = original.to(torch.float64)
    wider = factor.shape[-2] < factor.shape[-1]
    factor = factor.mT if wider else factor
    square = factor.shape[-2] == factor.shape[-1]
    if not square and not bool((factor.diagonal(dim1=-2, dim2=-1).abs() == 1.0).all()):
        raise NotFormedError(
            "the original of an orthogonal parametrization with a diagonal other than 1 and -1, of which its maps make "
            "different weights; the file does not name the map"
        )
    if square:
        lower = factor.tril()
        columns = torch.matrix_exp(lower - lower.mT)
    else:
        lower = factor.tril(diagonal=-1)
        columns = torch.linalg.householder_product(lower, 2.0 / (1.0 + lower.square().sum(dim=-2)))
        columns = columns * factor.diagonal(dim1=-2, dim2=-1).unsqueeze(-2)
    weight = base @ columns
    return weight.mT if wider else weight
