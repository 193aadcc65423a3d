"""The contract between a search method and the rest: an objective in, steps out.

Everything minimises. A batch is opaque to a searcher: it asks for one and hands it back, and gives the same one to
all candidates of a generation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

BACKWARD_COST = 2
"""A backward pass counts as two forward passes: it forms two products where the forward pass forms one."""

State = Mapping[str, Tensor]
"""All that a searcher needs to go on, as plain tensors: they can be kept in a file that is read without pickle."""


class StopCause(StrEnum):
    """Why a training ends, as a field for programs; `stop_reason` beside it is the sentence for people.

    >>> StopCause("diverged") is StopCause.DIVERGED
    True
    """

    FINISHED = "finished"  # all steps are done
    PATIENCE = "patience"  # no better validation score for so many epochs or generations
    EVALUATIONS = "evaluations"  # budget.evaluations is spent
    SECONDS = "seconds"  # budget.seconds is spent
    DIVERGED = "diverged"  # a loss is not finite
    STAGNATED = "stagnated"  # the search can learn nothing any more


@dataclass(frozen=True)
class Step:
    """State of a search after `index` updates.

    Attributes:
        index: updates done: of the weights (gradient methods) or of the search distribution (a generation); 0 for the
            initial weights.
        evaluations: forward passes over a batch spent so far, a backward pass counted as `BACKWARD_COST`.
        loss: the training loss of `weights`, as the searcher's docstring states.
        weights: (n,) what is analysed, validated and kept; not to be changed by either side.
        scalars: what else is worth a curve, such as the step size.
        candidate: (n,) the best candidate of the generation, where that is not `weights` itself.
        candidate_loss: its loss on the generation's batch.
        stop_reason: why the search ends with this step of its own accord, one sentence; empty while it goes on.
        stop_cause: the kind of reason; None while it goes on.
        state: gives what `Searcher.steps` takes to go on after this step; to be called before the next step is
            asked for. The generator's own state is the caller's to keep.
        ends_round: whether an epoch or a generation ends with it; False for records inside an epoch.
    """

    index: int
    evaluations: int
    loss: float
    weights: Float[Tensor, " size"]
    scalars: Mapping[str, float] = field(default_factory=dict)
    candidate: Float[Tensor, " size"] | None = None
    candidate_loss: float | None = None
    stop_reason: str = ""
    stop_cause: StopCause | None = None
    state: Callable[[], State] = dict
    ends_round: bool = True


@runtime_checkable
class Population(Protocol):
    """M weight vectors that need not exist all at once."""

    def __len__(self) -> int:
        """M."""

    def members(self, start: int, stop: int) -> Float[Tensor, "members size"]:
        """(stop - start, size) of them; the same whenever asked, from any thread."""


@runtime_checkable
class Objective(Protocol):
    """A loss over weight vectors of length `size`, estimated on batches."""

    size: int

    def batch(self, generator: torch.Generator) -> Any:
        """One random batch."""

    def epoch(self, generator: torch.Generator) -> Iterator[Any]:
        """All training data once, in random order, batch by batch."""

    def losses(self, population: Float[Tensor, "popsize size"] | Population, batch: Any) -> Float[Tensor, " popsize"]:
        """The mean loss of each on one batch."""

    def gradient(self, weights: Float[Tensor, " size"], batch: Any) -> tuple[float, Float[Tensor, " size"]]:
        """Mean loss on one batch and its gradient."""


@runtime_checkable
class Searcher(Protocol):
    """A search method; its settings are its fields."""

    def steps(
        self,
        objective: Objective,
        weights: Float[Tensor, " size"],
        generator: torch.Generator,
        state: State | None = None,
    ) -> Iterator[Step]:
        """Searches from `weights`; index 0 is yielded before any of them has changed.

        With the `state` of a step, and the generator as it was then, goes on behind that step as if never stopped,
        bit for bit.
        """


def first_step(objective: Objective, weights: Float[Tensor, " size"], batch: Any) -> Step:
    """Index 0: the initial weights, scored once on a batch; one evaluation.

    >>> class Squares:
    ...     size = 2
    ...     def losses(self, population, batch):
    ...         return population.square().mean(dim=1)
    ...     batch = epoch = gradient = losses  # not asked for here
    >>> step = first_step(Squares(), torch.tensor([1.0, 3.0]), batch=None)
    >>> step.index, step.evaluations, step.loss
    (0, 1, 5.0)
    """
    loss = float(objective.losses(weights.unsqueeze(0), batch)[0])
    return Step(0, 1, loss, weights.clone())
