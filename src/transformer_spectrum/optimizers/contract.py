"""The contract between a search method and the rest: requests and steps out, answers in.

Everything minimises. A batch is opaque to a searcher: it asks for one and hands it back, and gives the same one to
all candidates of a generation.

A searcher computes no loss itself. Its `search` is a coroutine that yields steps, and between them requests: that a
population be scored, or that weights be led through a stretch of updates. Whoever drives it sends the answers. So many
searches can run side by side, each as if alone, while their requests are answered together, in one batched
computation. `Searcher.steps` drives a single one by an objective.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
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
class Batches(Protocol):
    """The training data of an objective, as a searcher sees them."""

    def batch(self, generator: torch.Generator) -> Any:
        """One random batch."""

    def epoch(self, generator: torch.Generator) -> Iterator[Any]:
        """All training data once, in random order, batch by batch."""


@runtime_checkable
class Objective(Batches, Protocol):
    """A loss over weight vectors of length `size`, estimated on batches."""

    size: int

    def losses(self, population: Float[Tensor, "popsize size"] | Population, batch: Any) -> Float[Tensor, " popsize"]:
        """The mean loss of each on one batch."""

    def gradient(self, weights: Float[Tensor, " size"], batch: Any) -> tuple[float, Float[Tensor, " size"]]:
        """Mean loss on one batch and its gradient."""


Both = tuple[Float[Tensor, " members"], Float[Tensor, "members size"]]
"""Mean losses and their gradients."""
Along = Callable[[int, Float[Tensor, "members size"]], Both]
"""Number of an update, and the members' weights there -> losses and gradients."""


@runtime_checkable
class Computing(Protocol):
    """What answers the requests of many trainings at once."""

    def gradients(self, objectives: Sequence[Any], batches: Sequence[Sequence[Any]], updates: Sequence[int]) -> Along:
        """What gives losses and gradients along some updates, all of whose batches are known beforehand.

        Args:
            objectives: of the members.
            batches: of each update one a member.
            updates: which update of its training the first one is for each member, counted from 0.
        """

    def scores(self, asked: Sequence[tuple[Any, Tensor | Population, Any]]) -> list[Float[Tensor, " popsize"]]:
        """The mean losses of each population on its batch, by its objective."""


class Request(ABC):
    """What a search asks for between two steps."""

    @abstractmethod
    def answered_by(self, objective: Objective) -> Any:
        """The answer, computed for this request alone."""

    @classmethod
    @abstractmethod
    def answered_together(
        cls, requests: Sequence[Any], objectives: Sequence[Objective], computing: Computing
    ) -> list[Any]:
        """The answers to requests of this kind, one a training, computed together.

        Args:
            requests: of this class.
            objectives: of the trainings that ask.
            computing: does it.
        """


@dataclass(frozen=True)
class Scoring(Request):
    """Asks for the mean loss of each member of a population on one batch; answered by (popsize,).

    Attributes:
        population: M weight vectors.
        batch: the same for all of them.
    """

    population: Tensor | Population
    batch: Any

    def answered_by(self, objective: Objective) -> Float[Tensor, " popsize"]:
        return objective.losses(self.population, self.batch)

    @classmethod
    def answered_together(
        cls, requests: Sequence[Scoring], objectives: Sequence[Objective], computing: Computing
    ) -> list[Any]:
        asked = zip(objectives, requests, strict=True)
        return computing.scores([(objective, request.population, request.batch) for objective, request in asked])


Search = Generator[Request | Step, Any, None]
"""Steps, and requests whose answers are sent."""


class Searcher(ABC):
    """A search method; its settings are its fields."""

    @abstractmethod
    def search(
        self,
        batches: Batches,
        weights: Float[Tensor, " size"],
        generator: torch.Generator,
        state: State | None = None,
    ) -> Search:
        """Searches from `weights`; index 0 is yielded before any of them has changed.

        With the `state` of a step, and the generator as it was then, goes on behind that step as if never stopped,
        bit for bit.
        """

    def steps(
        self,
        objective: Objective,
        weights: Float[Tensor, " size"],
        generator: torch.Generator,
        state: State | None = None,
    ) -> Iterator[Step]:
        """The steps of a search whose requests an objective answers, one by one."""
        search = self.search(objective, weights, generator, state)
        answer = None
        while (asked := _next(search, answer)) is not None:
            if isinstance(asked, Step):
                yield asked
                answer = None
            else:
                answer = asked.answered_by(objective)


def _next(search: Search, answer: Any) -> Request | Step | None:
    """What the search yields next; None at its end."""
    try:
        return search.send(answer)
    except StopIteration:
        return None


def first_step(weights: Float[Tensor, " size"], batch: Any) -> Generator[Request, Any, Step]:
    """Index 0: the initial weights, scored once on a batch; one evaluation.

    >>> scored = first_step(torch.tensor([1.0, 3.0]), batch=None)
    >>> next(scored).population
    tensor([[1., 3.]])
    >>> try:
    ...     _ = scored.send(torch.tensor([5.0]))
    ... except StopIteration as end:
    ...     step = end.value
    >>> step.index, step.evaluations, step.loss
    (0, 1, 5.0)
    """
    losses = yield Scoring(weights.unsqueeze(0), batch)
    return Step(0, 1, float(losses[0]), weights.clone())
