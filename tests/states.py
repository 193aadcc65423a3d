"""Tensors in memory, looked through as a checkpoint's are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from transformer_spectrum.weights.anatomy.effective import Weights, effective
from transformer_spectrum.weights.anatomy.formed import Held


def in_use(
    state: Mapping[str, Tensor],
    config: Mapping[str, Any] | None = None,
    beside: Mapping[str, Mapping[str, Any]] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Weights:
    """The weights that act, of tensors as a file would hold them."""
    held = {name: Held(tuple(tensor.shape), str(tensor.dtype)) for name, tensor in state.items()}
    return effective(held, lambda name: state[name].detach(), config, beside, metadata)
