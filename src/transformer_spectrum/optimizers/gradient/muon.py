"""Muon: momentum orthogonalised by Newton-Schulz, as torch.optim.Muon has it: the same coefficients, steps and
constant, and its match_rms_adamw.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from transformer_spectrum.optimizers.gradient.adam import Adam
from transformer_spectrum.optimizers.gradient.blocks import Block, of_matrices, partition
from transformer_spectrum.optimizers.gradient.rule import Rate, RuleState

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
SMALLEST_NORM = 1e-7
RMS_OF_ADAMW = 0.2
"""Root mean square of an entry of AdamW's update, in learning rates, that the update of a matrix is brought to."""
OF_REST = "rest."
"""Before the names of AdamW's tensors in the state."""


def orthogonalised(
    matrices: Float[Tensor, "*batch rows columns"], precision: torch.dtype = torch.float32
) -> Float[Tensor, "*batch rows columns"]:
    """About U V^T of each matrix U S V^T: five steps X <- a X + (b X X^T + c (X X^T)^2) X from X / |X|_F.

    The coefficients let the singular values end anywhere near 1 (about 0.7 to 1.2), which is quicker than 1 itself.

    Args:
        matrices: any finite ones.
        precision: of the iteration.
    Source: torch 2.13, torch/optim/_muon.py, `_zeropower_via_newtonschulz`, which iterates in bfloat16.

    >>> values = torch.linalg.svdvals(orthogonalised(torch.diag(torch.tensor([5.0, 1.0, 0.5]))))
    >>> bool((values > 0.6).all() and (values < 1.3).all())
    True
    """
    rows, columns = matrices.shape[-2:]
    wide = matrices.to(precision)
    wide = (wide.mT if rows > columns else wide).reshape(-1, min(rows, columns), max(rows, columns))
    wide = wide / torch.linalg.vector_norm(wide, dim=(-2, -1), keepdim=True).clamp_(min=SMALLEST_NORM)
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        gram = wide @ wide.mT
        wide = torch.baddbmm(wide, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), wide, beta=a)
    wide = wide.mT if rows > columns else wide
    return wide.reshape(matrices.shape).to(matrices.dtype)


@dataclass(frozen=True)
class Muon:
    """W - rate * 0.2 sqrt(max(rows, columns)) * O for every hidden matrix; AdamW for embeddings, readout and vectors.

    O orthogonalises (1 - momentum) g + momentum m with m <- momentum m + (1 - momentum) g (Nesterov's momentum). The
    factor is torch's adjust_lr_fn = "match_rms_adamw": an entry of the update then has about the root mean square of
    AdamW's, so that one learning rate serves both kinds of weights. A gate of an LSTM is a matrix of its own.

    Args:
        blocks: the hidden matrices in the flat vector (`hidden_blocks`).
        momentum: 0 <= x < 1; 0.95 is torch's own.
        weight_decay: decoupled: each update first takes the share rate * weight_decay off all weights; torch's own
            is 0.1.
        beta1: of AdamW.
        beta2: of AdamW.
        precision: of the iteration, float32 or bfloat16 (torch's).
    Source: the factor is Liu et al.'s (2025), https://arxiv.org/abs/2502.16982, as torch's documentation gives it.

    >>> rule, weights = Muon((Block(0, (2, 2)),)), torch.zeros(5)
    >>> gradient = torch.tensor([3.0, 0.0, 0.0, 3.0, -1.0])
    >>> moved, _ = rule.update(weights, gradient, rule.initial(weights), 0.1)
    >>> moved[:4].unflatten(0, (2, 2)).count_nonzero().item(), round(moved[4].item(), 4)  # the last one by AdamW
    (2, 0.1)
    """

    blocks: tuple[Block, ...]
    momentum: float = 0.95
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    precision: str = "float32"

    @functools.cached_property
    def _rest(self) -> Adam:
        return Adam(self.beta1, self.beta2, self.weight_decay, decoupled=True)

    def initial(self, weights: Float[Tensor, "*members size"]) -> dict[str, Tensor]:
        _, rest = partition(self.blocks, weights.shape[-1]).split(weights)
        of_rest = {OF_REST + name: tensor for name, tensor in self._rest.initial(rest).items()}
        return {"momentum": torch.zeros_like(weights), **of_rest}

    def update(
        self,
        weights: Float[Tensor, "*members size"],
        gradient: Float[Tensor, "*members size"],
        state: RuleState,
        learning_rate: Rate,
    ) -> tuple[Float[Tensor, "*members size"], dict[str, Tensor]]:
        folds = partition(self.blocks, weights.shape[-1])
        momentum = state["momentum"].lerp(gradient, 1 - self.momentum)
        directions, _ = folds.split(gradient.lerp(momentum, self.momentum))
        matrices, rest = folds.split(weights)
        of_rest = {name.removeprefix(OF_REST): state[name] for name in state if name.startswith(OF_REST)}
        rest, of_rest = self._rest.update(rest, folds.split(gradient)[1], of_rest, learning_rate)
        rate = of_matrices(learning_rate)
        for shape, direction in directions.items():
            step = orthogonalised(direction, getattr(torch, self.precision))
            step.mul_(RMS_OF_ADAMW * math.sqrt(max(shape))).mul_(rate)
            matrices[shape] = matrices[shape] * (1 - rate * self.weight_decay) - step
        memory = {"momentum": momentum, **{OF_REST + name: tensor for name, tensor in of_rest.items()}}
        return folds.join(matrices, rest), memory
