"""The contract between a search method and the rest: an objective in, steps out.

Everything minimises. A batch is opaque to a searcher: it asks for one and hands it back, and gives the same one to
all candidates of a generation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

BACKWARD_COST = 2
"""A backward pass counts as two forward passes: it forms two products where the forward pass forms one."""


@dataclass(frozen=True)
class Step:
    """State of a search after `index` steps.

    Attributes:
        index: 0 for the initial weights, then an epoch (Adam) or a generation (ES, GA).
        evaluations: forward passes over a batch spent so far, a backward pass counted as `BACKWARD_COST`.
        loss: the training loss of `weights`, as the searcher's docstring states.
        weights: (n,) what is analysed, validated and kept; not to be changed by either side.
        scalars: what else is worth a curve, such as the step size.
    """

    index: int
    evaluations: int
    loss: float
    weights: Tensor
    scalars: Mapping[str, float] = field(default_factory=dict)


class Objective(Protocol):
    """A loss over weight vectors of length `size`, estimated on batches."""

    size: int

    def batch(self, generator: torch.Generator) -> Any:
        """One random batch."""

    def epoch(self, generator: torch.Generator) -> Iterator[Any]:
        """All training data once, in random order, batch by batch."""

    def losses(self, population: Tensor, batch: Any) -> Tensor:
        """(M, size) -> (M,) mean losses on one batch."""

    def gradient(self, weights: Tensor, batch: Any) -> tuple[float, Tensor]:
        """(size,) -> mean loss on one batch and its gradient (size,)."""


class Searcher(Protocol):
    """A search method; its settings are its fields."""

    def steps(self, objective: Objective, weights: Tensor, generator: torch.Generator) -> Iterator[Step]:
        """Searches from `weights` (size,); index 0 is yielded before any of them has changed."""


def first_step(objective: Objective, weights: Tensor, batch: Any) -> Step:
    """Index 0: the initial weights, scored once on a batch; one evaluation."""
    loss = float(objective.losses(weights.unsqueeze(0), batch)[0])
    return Step(0, 1, loss, weights.clone())
