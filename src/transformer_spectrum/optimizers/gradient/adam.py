"""Adam (Kingma & Ba 2015, https://arxiv.org/abs/1412.6980), and AdamW, whose decay is decoupled (Loshchilov & Hutter
2019, https://arxiv.org/abs/1711.05101).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from transformer_spectrum.optimizers.gradient.rule import Rate, RuleState, decayed


@dataclass(frozen=True)
class Adam:
    """w - rate * m^ / (sqrt(v^) + epsilon), m^ and v^ the running means of g and g^2, each without its bias.

    With beta1 = 0 it is RMSProp with the bias taken off.

    Args:
        beta1: of the mean of gradients; 0 <= x < 1.
        beta2: of the mean of their squares; 0 <= x < 1.
        weight_decay: see `decoupled`; >= 0.
        decoupled: each update takes the share rate * weight_decay off the weights (AdamW, as torch.optim.AdamW);
            else weight_decay * w is added to the gradient (as in torch.optim.Adam).
        epsilon: keeps the quotient finite; gradient units, > 0.
    Source: Kingma & Ba (2015), algorithm 1; Loshchilov & Hutter (2019), algorithm 2.

    >>> weights, gradient = torch.zeros(2), torch.tensor([3.0, -0.1])
    >>> rule = Adam()
    >>> rule.update(weights, gradient, rule.initial(weights), 0.5)[0]  # at first the rate against the sign
    tensor([-0.5000,  0.5000])
    """

    beta1: float = 0.9
    beta2: float = 0.999
    weight_decay: float = 0.0
    decoupled: bool = False
    epsilon: float = 1e-8

    def initial(self, weights: Float[Tensor, "*members size"]) -> dict[str, Tensor]:
        nothing = torch.zeros_like(weights)
        return {"updates": torch.zeros((), dtype=torch.float64), "mean": nothing, "mean_square": nothing.clone()}

    def update(
        self,
        weights: Float[Tensor, "*members size"],
        gradient: Float[Tensor, "*members size"],
        state: RuleState,
        learning_rate: Rate,
    ) -> tuple[Float[Tensor, "*members size"], dict[str, Tensor]]:
        if self.decoupled:
            weights = decayed(weights, learning_rate, self.weight_decay)
        elif self.weight_decay:
            gradient = gradient.add(weights, alpha=self.weight_decay)
        updates = state["updates"] + 1
        mean = state["mean"].lerp(gradient, 1 - self.beta1)
        mean_square = (state["mean_square"] * self.beta2).addcmul_(gradient, gradient, value=1 - self.beta2)
        direction = self._direction(mean, mean_square, updates)
        moved = weights - direction.mul_(learning_rate)
        return moved, {"updates": updates, "mean": mean, "mean_square": mean_square}

    def _direction(self, mean: Tensor, mean_square: Tensor, updates: Tensor) -> Tensor:
        """m^ / (sqrt(v^) + epsilon), a new tensor."""
        bias1 = (1 - self.beta1**updates).to(mean.dtype)
        bias2 = (1 - self.beta2**updates).sqrt().to(mean.dtype)
        return torch.div(mean, mean_square.sqrt().div_(bias2).add_(self.epsilon)).div_(bias1)
