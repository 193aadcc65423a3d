"""The objective of a forecaster: teacher-forced loss on batches of windows, for one vector or a population."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from transformer_spectrum.models.base import Forecaster, Layout

Loss = Callable[[Tensor, Tensor], Tensor]


class WindowObjective:
    """Mean loss of a forecaster over a batch of windows.

    Args:
        model: holds the arithmetic; its own parameters are not used.
        layout: of the model's parameters in a flat vector.
        loss: elementwise, (prediction, target) -> same shape.
        context: (n, C, F) scaled units, on the device that computes.
        target: (n, H, F) scaled units, there too.
        batch_size: windows in a batch; the whole set when it is smaller.
        members: how many candidates are computed at once; bounds the memory.
    """

    def __init__(
        self,
        model: Forecaster,
        layout: Layout,
        loss: Loss,
        context: Tensor,
        target: Tensor,
        batch_size: int,
        members: int = 8,
    ) -> None:
        self.model, self.layout, self.loss = model, layout, loss
        self.context, self.target = context, target
        self.batch_size = min(batch_size, len(context))
        self.members = members
        self.size = layout.size

    def batch(self, generator: torch.Generator) -> Tensor:
        """Indices of batch_size windows, without repetition."""
        return torch.randperm(len(self.context), generator=generator)[: self.batch_size]

    def epoch(self, generator: torch.Generator) -> Iterator[Tensor]:
        """All windows in random order; the last batch may be smaller."""
        yield from torch.randperm(len(self.context), generator=generator).split(self.batch_size)

    def losses(self, population: Tensor, batch: Tensor) -> Tensor:
        """(M, size) -> (M,) mean losses; without dropout."""
        self.model.eval()
        batch = batch.to(self.context.device)
        context, target = self.context[batch], self.target[batch]
        with torch.inference_mode():
            parts = [
                self.loss(self.model.predict(self.layout.views(part), context, target), target).flatten(1).mean(1)
                for part in population.split(self.members)
            ]
        return torch.cat(parts)

    def gradient(self, weights: Tensor, batch: Tensor) -> tuple[float, Tensor]:
        """(size,) -> mean loss and its gradient; with dropout."""
        self.model.train()
        batch = batch.to(self.context.device)
        context, target = self.context[batch], self.target[batch]
        leaf = weights.detach().requires_grad_()
        with torch.enable_grad():
            loss = self.loss(self.model.predict(self.layout.views(leaf), context, target), target).mean()
            (gradient,) = torch.autograd.grad(loss, leaf)
        return float(loss.detach()), gradient

    def total(self, weights: Tensor) -> float:
        """Mean loss of one vector over all windows; without dropout."""
        losses, count = 0.0, len(self.context)
        for batch in torch.arange(count).split(256):
            losses += float(self.losses(weights.unsqueeze(0), batch)[0]) * len(batch)
        return losses / count
