"""The objective of a training: a forecaster's teacher-forced loss on batches of windows.

What it computes, for one vector, a population, or many trainings at once, is `Evaluation`'s.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from transformer_spectrum.losses import Loss
from transformer_spectrum.models.forecaster import Forecaster, Layout
from transformer_spectrum.optimizers.contract import Population
from transformer_spectrum.training.evaluation import Evaluation, Validation

SAMPLE = 128
"""Training windows whose residuals the scale of a loss follows."""


class WindowObjective:
    """Mean loss of a forecaster over a batch of windows.

    Args:
        model: holds the arithmetic; its own parameters are not used.
        layout: of the model's parameters in a flat vector.
        loss: elementwise, (prediction, target) -> same shape.
        context: (n, C, F) scaled units, on the device that computes.
        target: (n, H, F) scaled units, there too.
        batch_size: windows in a batch; the whole set when it is smaller.
        seed: of the masks of dropout; integer, of which 32 bits count.
        workers, memory_mib, precision, compile, say: see `Evaluation`.
    """

    def __init__(
        self,
        model: Forecaster,
        layout: Layout,
        loss: Loss,
        context: Tensor,
        target: Tensor,
        batch_size: int,
        *,
        seed: int = 0,
        workers: int = 1,
        memory_mib: float | None = None,
        precision: str = "float32",
        compile: bool = False,
        say: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self.loss, self.context, self.target = loss, context, target
        self.batch_size = min(batch_size, len(context))
        self.seed = (seed + 2**31) % 2**32 - 2**31
        self.size = layout.size
        self.evaluation = Evaluation(
            model,
            layout,
            (context.shape[1], target.shape[1]),
            batch_size,  # not what it is for few windows: it decides what is a piece, for all members alike
            context.device,
            workers=workers,
            memory_mib=memory_mib,
            precision=precision,
            compile=compile,
            say=say,
        )

    @property
    def batches_per_epoch(self) -> int:
        """Of all windows, the last of them maybe smaller; count."""
        return math.ceil(len(self.context) / self.batch_size)

    def batch(self, generator: torch.Generator) -> Tensor:
        """Indices of batch_size windows, without repetition."""
        return torch.randperm(len(self.context), generator=generator)[: self.batch_size]

    def epoch(self, generator: torch.Generator) -> Iterator[Tensor]:
        """All windows in random order; the last batch may be smaller."""
        yield from torch.randperm(len(self.context), generator=generator).split(self.batch_size)

    def sample(self) -> Tensor:
        """At most `SAMPLE` windows, evenly spread."""
        return torch.linspace(0, len(self.context) - 1, min(SAMPLE, len(self.context))).round().long()

    def losses(self, population: Tensor | Population, batch: Tensor) -> Tensor:
        """(M, size) -> (M,) mean losses, float32; without dropout."""
        return self.evaluation.scores([(self, population, batch)])[0]

    def gradient(self, weights: Tensor, batch: Tensor, update: int = 0) -> tuple[float, Tensor]:
        """(size,) -> mean loss and its gradient; with the dropout of that update."""
        losses, gradients = self.evaluation.gradients([self], [[batch]], [update])(0, weights.unsqueeze(0))
        return float(losses[0]), gradients[0]

    def validation(self, weights: Tensor) -> Validation:
        """Of one vector over all windows; without dropout."""
        return self.evaluation.validations([self], weights.unsqueeze(0))[0]

    def residual_mad(self, weights: Tensor, centre: float = 0.0) -> float:
        """Median |residual - centre| of one vector on the `sample`; scaled units."""
        return self.evaluation.residual_mads([self], weights.unsqueeze(0), [centre])[0]
