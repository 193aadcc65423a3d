"""Weights that torch.nn.utils.parametrize computes at every call, formed again from what a state dict holds.

The pieces are "parametrizations.weight.original", or original0 and original1, and what the i-th function keeps under
"parametrizations.weight.i.". A function that keeps nothing, such as a symmetric or a skew one, leaves no trace: what it
makes of the original cannot be known.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable

import torch
from torch import Tensor

from transformer_spectrum.weights.anatomy.formed import FLOATS, Findings, Formed, NotFormedError, Source
from transformer_spectrum.weights.anatomy.norms import is_length, spectral_axes, spectral_norm, times_mask, weight_norm

Steps = list[tuple[Callable[..., Tensor], tuple[str, ...]]]  # each takes the weight so far and its own tensors
_NEW = re.compile(
    r"^(?P<prefix>(?:.*\.)?)parametrizations\.(?P<name>[^.]+)\.(?:original(?P<part>\d*)|(?P<index>\d+)\.(?P<state>.+))$"
)
_ORTHOGONAL_TO = 1e-3  # largest entry of B^T B - I of an orthogonal base that was stored in half precision


def parametrised(source: Source) -> Findings:
    """What lies under "parametrizations.": all of it is used up or left out.

    >>> from transformer_spectrum.weights.anatomy.formed import Held
    >>> shapes = {"original0": (4, 1), "original1": (4, 3)}
    >>> tensors = {f"fc.parametrizations.weight.{name}": Held(shape, "F32") for name, shape in shapes.items()}
    >>> parametrised(Source(tensors, lambda name: None)).formed[0].note
    'parametrizations: weight_norm: original1 times original0 over its length'
    """
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
        if "0" in states or not is_length(source.tensors[g].shape, source.tensors[v].shape):
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
    return Formed(
        name,
        source.tensors[original].shape,
        tuple(pieces),
        _chained(steps, normed=first == 1),
        f"parametrizations: {', then '.join(notes)}",
        source.code(original),
    )


def _chained(steps: Steps, *, normed: bool) -> Callable[..., Tensor]:
    def form(*tensors: Tensor) -> Tensor:
        weight, place = (weight_norm(*tensors[:2]), 2) if normed else (tensors[0], 1)
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
        axes = spectral_axes(source, original, left, right)
        if axes:
            return spectral_norm(axes), (left, right), "spectral_norm, the original over its norm by _u and _v"
    elif set(state) == {"base"} and len(shape) >= 2:
        side = max(shape[-2:])
        if source.tensors[state["base"]].shape == (*shape[:-2], side, side):
            usual = (
                "matrix_exp, torch's map for square weights" if shape[-2] == shape[-1] else "torch's map, Householder's"
            )
            return _orthogonal, (state["base"],), f"orthogonal, by {usual}; the file does not name the map"
    elif set(state) == {"mask"} and source.tensors[state["mask"]].shape == shape:
        return times_mask, (state["mask"],), "the original times a mask"
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
