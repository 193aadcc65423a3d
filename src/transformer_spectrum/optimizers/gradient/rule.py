"""What an update rule is: from weights, their gradient and a state to the next weights and the next state.

A rule is a pure function of tensors whose last axis is that of the weights: axes before it are members that are
trained side by side, each with its own gradient, state and, where it is asked for, learning rate. It changes none of
the tensors that it is given, and never waits for a device.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

Rate = float | Float[Tensor, "*#members 1"]
"""A learning rate: one for all members, or one for each."""

RuleState = Mapping[str, Tensor]
"""What a rule remembers between two updates, as plain tensors; those of one axis or more are (*members, any)."""


@runtime_checkable
class Rule(Protocol):
    """An update rule; its settings are its fields."""

    def initial(self, weights: Float[Tensor, "*members size"]) -> dict[str, Tensor]:
        """The state before the first update."""

    def update(
        self,
        weights: Float[Tensor, "*members size"],
        gradient: Float[Tensor, "*members size"],
        state: RuleState,
        learning_rate: Rate,
    ) -> tuple[Float[Tensor, "*members size"], dict[str, Tensor]]:
        """One update.

        Args:
            weights: before it.
            gradient: of the loss there; loss units per weight unit.
            state: what the update before, or `initial`, has given.
            learning_rate: of this update.
        Returns:
            The weights and the state after it.
        """


def decayed(
    weights: Float[Tensor, "*members size"], learning_rate: Rate, weight_decay: float
) -> Float[Tensor, "*members size"]:
    """Weights less the share learning_rate * weight_decay of them: decoupled decay; the weights themselves when 0.

    Source: Loshchilov & Hutter (2019), https://arxiv.org/abs/1711.05101, algorithm 2.

    >>> import torch
    >>> decayed(torch.tensor([4.0]), 0.5, 0.5).item()
    3.0
    """
    return weights * (1 - learning_rate * weight_decay) if weight_decay else weights
