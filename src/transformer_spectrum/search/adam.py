"""Adam (Kingma & Ba 2015, https://arxiv.org/abs/1412.6980) on the flat weight vector."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from transformer_spectrum.search.base import BACKWARD_COST, Objective, Step, first_step


@dataclass(frozen=True)
class Adam:
    """A step is an epoch; its loss is the mean over the epoch's batches, each before its own update.

    An update costs 1 + `BACKWARD_COST` evaluations.

    Args:
        epochs: how many.
        learning_rate: per weight and update.
        gradient_clip: largest Euclidean norm of a gradient; 0 = off.
    """

    epochs: int
    learning_rate: float
    gradient_clip: float = 0.0

    def steps(self, objective: Objective, weights: Tensor, generator: torch.Generator) -> Iterator[Step]:
        step = first_step(objective, weights, objective.batch(generator))
        yield step
        current = weights.clone()
        optimizer = torch.optim.Adam([current], lr=self.learning_rate)
        evaluations = step.evaluations
        for epoch in range(1, self.epochs + 1):
            total, count, norms = 0.0, 0, 0.0
            for batch in objective.epoch(generator):
                loss, gradient = objective.gradient(current, batch)
                norm = float(torch.linalg.vector_norm(gradient))
                if self.gradient_clip and norm > self.gradient_clip:
                    gradient = gradient * (self.gradient_clip / norm)
                current.grad = gradient
                optimizer.step()
                total, count, norms = total + loss, count + 1, norms + norm
                evaluations += 1 + BACKWARD_COST
            yield Step(epoch, evaluations, total / count, current.clone(), {"gradient_norm": norms / count})
