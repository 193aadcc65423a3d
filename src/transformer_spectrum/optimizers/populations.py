"""What methods that score populations share: losses that are no numbers, and when nothing is left to learn."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from transformer_spectrum.optimizers.contract import Step, StopCause

FLAT_GENERATIONS = 10


def ranked(losses: Float[Tensor, " popsize"]) -> Float64[Tensor, " popsize"]:
    """Losses (M,) of any kind -> float64 (M,) on the CPU, inf where not finite: last of all.

    >>> ranked(torch.tensor([2.0, torch.nan])).tolist()
    [2.0, inf]
    """
    losses = losses.double().cpu()
    return torch.where(torch.isfinite(losses), losses, torch.inf)


def flat(generations: int, losses: Float[Tensor, " popsize"]) -> int:
    """For how many generations running all candidates have had one and the same loss.

    >>> flat(3, torch.tensor([1.0, 1.0])), flat(3, torch.tensor([1.0, 2.0]))
    (4, 0)
    """
    return generations + 1 if bool((losses == losses[0]).all()) else 0


def diverged(generation: int, evaluations: int, weights: Float[Tensor, " size"]) -> Step:
    """The last step of a search in which no candidate of a generation has a finite loss.

    >>> diverged(3, 30, torch.zeros(2)).stop_reason
    'diverged in generation 3: no candidate has a finite loss'
    """
    return Step(
        generation,
        evaluations,
        math.nan,
        weights,
        stop_reason=f"diverged in generation {generation}: no candidate has a finite loss",
        stop_cause=StopCause.DIVERGED,
    )
