"""The windows of all members on one device, each set once, so that a batch of all of them is one gather."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformer_spectrum.training.objective import WindowObjective


class Pool:
    """Sets of windows that have been asked for, one behind the other.

    Args:
        device: that computes.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._offsets: dict[int, int] = {}
        self._sets: list[tuple[Tensor, Tensor]] = []
        self._context, self._target = torch.empty(0), torch.empty(0)

    def places(self, objectives: Sequence[WindowObjective], windows: Sequence[Tensor]) -> Tensor:
        """(members, windows) places in the pool of as many windows of each objective's own, on the CPU."""
        for objective in objectives:
            if id(objective.context) not in self._offsets:
                self._add(objective.context, objective.target)
        offsets = torch.tensor([[self._offsets[id(objective.context)]] for objective in objectives])
        return torch.stack(list(windows)).cpu() + offsets

    def on_device(self, places: Sequence[Tensor]) -> list[Tensor]:
        """Places of any shapes on the device, by one transfer."""
        flat = torch.cat([some.flatten() for some in places]).to(self.device, non_blocking=True)
        parts = flat.split([some.numel() for some in places])
        return [part.view(some.shape) for part, some in zip(parts, places, strict=True)]

    def windows(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Contexts (*places, C, F) and targets (*places, H, F)."""
        return self._context[places], self._target[places]

    def _add(self, context: Tensor, target: Tensor) -> None:
        self._offsets[id(context)] = sum(len(earlier) for earlier, _ in self._sets)
        self._sets.append((context, target))  # held, so that its id is nobody else's
        contexts, targets = zip(*self._sets, strict=True)
        self._context = context if len(contexts) == 1 else torch.cat(contexts)
        self._target = target if len(targets) == 1 else torch.cat(targets)
