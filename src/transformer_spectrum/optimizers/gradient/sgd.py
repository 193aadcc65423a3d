"""Stochastic gradient descent with momentum, or Nesterov's momentum, as torch.optim.SGD has it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from transformer_spectrum.optimizers.gradient.rule import Rate, RuleState


@dataclass(frozen=True)
class SGD:
    """w - rate * b with b = momentum * b + g; with Nesterov's momentum w - rate * (g + momentum * b).

    Args:
        momentum: 0 <= x < 1; 0 = none.
        nesterov: needs momentum > 0.
        weight_decay: weight_decay * w is added to the gradient; >= 0.
    Raises:
        ValueError: Nesterov's without momentum.

    >>> weights, gradient, rule = torch.zeros(1), torch.ones(1), SGD(momentum=0.5)
    >>> weights, state = rule.update(weights, gradient, rule.initial(weights), 0.1)
    >>> rule.update(weights, gradient, state, 0.1)[0]  # -0.1, then -0.1 * (1 + 0.5)
    tensor([-0.2500])
    """

    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov = true: needs momentum > 0")

    def initial(self, weights: Float[Tensor, "*members size"]) -> dict[str, Tensor]:
        return {"momentum": torch.zeros_like(weights)} if self.momentum else {}

    def update(
        self,
        weights: Float[Tensor, "*members size"],
        gradient: Float[Tensor, "*members size"],
        state: RuleState,
        learning_rate: Rate,
    ) -> tuple[Float[Tensor, "*members size"], dict[str, Tensor]]:
        if self.weight_decay:
            gradient = gradient.add(weights, alpha=self.weight_decay)
        if not self.momentum:
            return weights - gradient * learning_rate, {}
        momentum = (state["momentum"] * self.momentum).add_(gradient)
        direction = gradient.add(momentum, alpha=self.momentum) if self.nesterov else momentum
        return weights - direction * learning_rate, {"momentum": momentum}
