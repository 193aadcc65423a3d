"""A live module -> the weights it computes with.

A module knows more than its state dict: which tensors are parameters and which are buffers, what a parametrization, a
norm of old, a mask or an adapter makes of the stored pieces, which parameters are one and the same, and what kind of
layer holds them. Nothing in the module is changed, and nothing is computed that counts its calls.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from transformer_spectrum.weights.anatomy.axes import Kind


@dataclass
class LiveWeights:
    """Weights of a module by name.

    Attributes:
        tensors: in the module's order; a weight that is computed is under its layer's plain name.
        kinds: of the layers whose tensors are not read as their shapes suggest.
        notes: tensor name -> how its weight is made or what else it is.
        frozen: names of parameters that no optimizer trains.
    """

    tensors: dict[str, Tensor] = field(default_factory=dict)
    kinds: dict[str, Kind] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    frozen: set[str] = field(default_factory=set)


@dataclass
class _Acting:
    """What acts in one module in place of its parameters."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    hidden: set[str] = field(default_factory=set)  # parameters and submodules that it is made of


def weights_of(module: nn.Module) -> LiveWeights:
    """The weights of a live module.

    Args:
        module: any; quantised layers of torch.ao and LoRA layers in the manner of peft included.

    >>> tied = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    >>> tied[1].weight = tied[0].weight
    >>> weights_of(tied).notes
    {'0.weight': 'the same parameter as 1.weight'}
    """
    live = LiveWeights()
    first: dict[int, str] = {}
    inside: list[str] = []  # submodules that something above stands for
    with torch.no_grad(), _without_training(module):
        for prefix, layer in module.named_modules():
            if any(prefix == hidden or prefix.startswith(f"{hidden}.") for hidden in inside):
                continue
            acting = _acting(layer)
            before = f"{prefix}." if prefix else ""
            parameters = _own(layer)
            inside += [before + name for name in acting.hidden if name not in parameters]
            for name, parameter in parameters.items():
                if name in acting.hidden:
                    continue
                twin = first.setdefault(id(parameter), before + name)
                if twin != before + name:
                    live.notes[twin] = (
                        f"{live.notes[twin]}, {before}{name}"
                        if twin in live.notes
                        else (f"the same parameter as {before}{name}")
                    )
                    continue
                live.tensors[twin] = parameter
                if not parameter.requires_grad:
                    live.frozen.add(twin)
            for name, tensor in acting.tensors.items():
                live.tensors[before + name] = tensor
                live.notes[before + name] = acting.notes[name]
            kind = _kind(layer)
            if kind is not None:
                live.kinds[f"{before}weight"] = kind
    return live


def _own(layer: nn.Module) -> dict[str, nn.Parameter]:
    """Its parameters without those of its submodules."""
    return dict(layer.named_parameters(recurse=False, remove_duplicate=False))


@contextmanager
def _without_training(module: nn.Module) -> Iterator[None]:
    """In evaluation, where no parametrization draws numbers or moves its own buffers; then as it was."""
    training = [layer for layer in module.modules() if layer.training]
    for layer in training:
        layer.training = False
    try:
        yield
    finally:
        for layer in training:
            layer.training = True


def _kind(layer: nn.Module) -> Kind | None:
    layer = getattr(layer, "base_layer", layer)
    if isinstance(layer, nn.modules.conv._ConvNd):
        return Kind("transposed convolution" if layer.transposed else "convolution", layer.groups)
    return Kind("bilinear") if isinstance(layer, nn.Bilinear) else None


def _acting(layer: nn.Module) -> _Acting:
    """The weights that a layer computes from its pieces; nothing for a plain layer."""
    acting = _Acting()
    if parametrize.is_parametrized(layer):
        acting.hidden.add("parametrizations")
        chains: Any = layer.parametrizations  # a ModuleDict, though Module.__getattr__ promises less
        for name, chain in chains.items():
            made_by = ", ".join(type(step).__name__.lstrip("_") for step in chain)
            acting.tensors[name], acting.notes[name] = (
                getattr(layer, name),
                f"as its parametrization makes it ({made_by})",
            )
    for hook in layer._forward_pre_hooks.values():
        _of_hook(layer, hook, acting)
    for name, value in vars(layer).items():  # what other hooks have computed at the last call
        pieces = {piece for piece in _own(layer) if piece.startswith(f"{name}_")}
        if isinstance(value, Tensor) and value.ndim > 1 and pieces and name not in acting.tensors:
            acting.tensors[name], acting.notes[name] = value, "as the layer computed it at its last call"
            acting.hidden |= pieces
    _of_adapter(layer, acting)
    weight = getattr(type(layer), "weight", None)
    if not _own(layer) and callable(weight) and type(layer).__module__.startswith("torch.ao."):
        acting.tensors["weight"], acting.notes["weight"] = weight(layer), "dequantised"
    return acting


def _of_hook(layer: nn.Module, hook: Any, acting: _Acting) -> None:
    """weight_norm, spectral_norm and pruning as torch had them before parametrizations."""
    if isinstance(hook, WeightNorm):
        name, note, tensor = hook.name, "as weight_norm makes it", hook.compute_weight(layer)
        pieces = {f"{name}_g", f"{name}_v"}
    elif isinstance(hook, SpectralNorm):
        name, note = hook.name, "as spectral_norm makes it"
        tensor, pieces = hook.compute_weight(layer, do_power_iteration=False), {f"{name}_orig"}
    elif isinstance(hook, BasePruningMethod):
        name, note = hook._tensor_name, "pruned"
        tensor, pieces = hook.apply_mask(layer), {f"{name}_orig"}
    else:
        return
    acting.tensors[name], acting.notes[name] = tensor, note
    acting.hidden |= pieces


def _of_adapter(layer: nn.Module, acting: _Acting) -> None:
    """A layer of peft: its base plus the update of every active adapter, if these add up."""
    base, delta = getattr(layer, "base_layer", None), getattr(layer, "get_delta_weight", None)
    if not isinstance(base, nn.Module) or not callable(delta) or not isinstance(getattr(base, "weight", None), Tensor):
        return
    factors = {name for held in ("lora_A", "lora_embedding_A") for name in (getattr(layer, held, None) or ())}
    names = [name for name in getattr(layer, "active_adapters", ()) if name in factors]
    if any(dict(getattr(layer, "use_dora", None) or {}).get(name) for name in names):
        return
    base_acting = _acting(base)
    tensor: Any = base_acting.tensors.get("weight", base.weight)
    off = getattr(layer, "disable_adapters", False) or getattr(layer, "merged", False)
    for name in () if off else names:
        tensor = tensor + delta(name).to(tensor.dtype)
    acting.tensors["weight"] = tensor
    acting.notes["weight"] = f"with the update of {', '.join(names)}" if names and not off else "of its base layer"
    acting.hidden |= {name for name, _ in layer.named_children()}
