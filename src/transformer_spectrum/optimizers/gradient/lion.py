"""Lion, evolved sign momentum (Chen et al. 2023, https://arxiv.org/abs/2302.06675), as its authors' lion_pytorch.py in
https://github.com/google/automl has it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from transformer_spectrum.optimizers.gradient.rule import Rate, RuleState, decayed


@dataclass(frozen=True)
class Lion:
    """w - rate * sign(beta1 m + (1 - beta1) g), then m = beta2 m + (1 - beta2) g.

    Args:
        beta1: of the mean whose sign is followed; 0 <= x < 1.
        beta2: of the mean that is remembered; 0 <= x < 1.
        weight_decay: decoupled: each update first takes the share rate * weight_decay off the weights; >= 0.

    >>> weights, gradient, rule = torch.zeros(2), torch.tensor([3.0, -0.1]), Lion()
    >>> rule.update(weights, gradient, rule.initial(weights), 0.5)[0]
    tensor([-0.5000,  0.5000])
    """

    beta1: float = 0.9
    beta2: float = 0.99
    weight_decay: float = 0.0

    def initial(self, weights: Float[Tensor, "*members size"]) -> dict[str, Tensor]:
        return {"mean": torch.zeros_like(weights)}

    def update(
        self,
        weights: Float[Tensor, "*members size"],
        gradient: Float[Tensor, "*members size"],
        state: RuleState,
        learning_rate: Rate,
    ) -> tuple[Float[Tensor, "*members size"], dict[str, Tensor]]:
        direction = state["mean"].lerp(gradient, 1 - self.beta1).sign_()
        moved = decayed(weights, learning_rate, self.weight_decay) - direction.mul_(learning_rate)
        return moved, {"mean": state["mean"].lerp(gradient, 1 - self.beta2)}
