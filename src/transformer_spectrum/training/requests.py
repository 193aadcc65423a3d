"""What trainings ask for besides their searches' requests, and the one place that answers all of them together.

Requests of one kind are answered in one batched computation, whichever trainings they come from.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from transformer_spectrum.optimizers.contract import Computing, Objective, Request
from transformer_spectrum.training.evaluation import Evaluation, Validation
from transformer_spectrum.training.measuring import Measured, Start, measured
from transformer_spectrum.training.objective import WindowObjective


class Recorded(Request):
    """What a training asks for about weights that its search has reached."""


@dataclass(frozen=True)
class Validating(Recorded):
    """Asks how weights (n,) do on the windows of an objective; answered by `Validation`."""

    validation: WindowObjective
    weights: Tensor

    def answered_by(self, objective: Objective) -> Validation:
        return self.validation.validation(self.weights)

    @classmethod
    def answered_together(
        cls, requests: Sequence[Validating], objectives: Sequence[Objective], computing: Computing
    ) -> list[Any]:
        assert isinstance(computing, Evaluation)
        weights = torch.stack([request.weights for request in requests])
        return list(computing.validations([request.validation for request in requests], weights))


@dataclass(frozen=True)
class Residuals(Recorded):
    """Asks for the median |residual - centre| of weights (n,) on the training sample; answered by a float."""

    training: WindowObjective
    weights: Tensor
    centre: float

    def answered_by(self, objective: Objective) -> float:
        return self.training.residual_mad(self.weights, self.centre)

    @classmethod
    def answered_together(
        cls, requests: Sequence[Residuals], objectives: Sequence[Objective], computing: Computing
    ) -> list[Any]:
        assert isinstance(computing, Evaluation)
        weights, trainings = (
            torch.stack([request.weights for request in requests]),
            [each.training for each in requests],
        )
        return list(computing.residual_mads(trainings, weights, [request.centre for request in requests]))


@dataclass(frozen=True)
class Measuring(Recorded):
    """Asks for distances and spectra of weights (n,); answered by `Measured`.

    Attributes:
        start: where the training began.
        weights: that are recorded.
        before: those of the record before, where the spectra of the step between are asked for.
    """

    start: Start
    weights: Tensor
    before: Tensor | None = None

    def answered_by(self, objective: Objective) -> Measured:
        return measured([(self.start, self.weights, self.before)])[0]

    @classmethod
    def answered_together(
        cls, requests: Sequence[Measuring], objectives: Sequence[Objective], computing: Computing
    ) -> list[Any]:
        assert isinstance(computing, Evaluation)
        asked = [(request.start, request.weights, request.before) for request in requests]
        return list(measured(asked, computing.division.cores))


Reading = Generator[Request, Any, None]
"""Requests whose answers are sent."""


class Answers:
    """Answers the requests of trainings of one architecture, those of each kind together.

    Args:
        objectives: of the trainings; those that are not all `WindowObjective`s are asked one by one.
    """

    def __init__(self, objectives: Sequence[Objective]) -> None:
        self.objectives = objectives
        evaluations = [objective.evaluation for objective in objectives if isinstance(objective, WindowObjective)]
        self.evaluation = evaluations[0] if evaluations and len(evaluations) == len(objectives) else None

    def __call__(self, requests: Sequence[tuple[int, Request]]) -> list[Any]:
        """The answers, in the order of the requests, each with the number of the training that it comes from."""
        if self.evaluation is None:
            return [request.answered_by(self.objectives[member]) for member, request in requests]
        answers: dict[int, Any] = {}
        for kind in dict.fromkeys(type(request) for _, request in requests):
            places = [place for place, (_, request) in enumerate(requests) if type(request) is kind]
            objectives = [self.objectives[requests[place][0]] for place in places]
            of_kind = kind.answered_together([requests[place][1] for place in places], objectives, self.evaluation)
            answers |= dict(zip(places, of_kind, strict=True))
        return [answers[place] for place in range(len(requests))]
