"""SOAP, Adam in the eigenbases of Shampoo's preconditioners: Vyas et al. (2024), https://arxiv.org/abs/2409.11321, as
soap.py in their https://github.com/nikhilvyas/SOAP has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from transformer_spectrum.optimizers.gradient.blocks import Block, Partition, partition
from transformer_spectrum.optimizers.gradient.rule import Rate, RuleState, decayed
from transformer_spectrum.weights.matrices.shapes import Shape

SIDES = ("left", "right")
Square = Float[Tensor, "*batch side side"]


@dataclass(frozen=True)
class SOAP:
    """W - rate * Q_L (m' / (sqrt(v) + epsilon)) Q_R^T, m' and v the running means of G' and of its square.

    G' = Q_L^T G Q_R, with the eigenvectors Q_L of the running mean of G G^T and Q_R of that of G^T G. The mean of G is
    kept in the matrix's own basis and rotated with it; v stays with its eigenvectors. Every `every` updates one
    power iteration and a QR decomposition renew these. What is no matrix has no basis: there it is Adam. Its authors
    leave the first update out, as it only gives the first bases; here it is Adam's, so that no update is idle.

    Args:
        blocks: the matrices in the flat vector (`matrix_blocks`).
        beta1: of the mean of gradients; 0 <= x < 1.
        beta2: of v and of the preconditioners; 0 <= x < 1.
        weight_decay: decoupled: each update takes the share rate * weight_decay off the weights; >= 0.
        every: updates between two renewals of the bases; >= 1.
        epsilon: keeps the quotient finite; gradient units, > 0.

    >>> rule, weights = SOAP((Block(0, (2, 2)),)), torch.zeros(4)
    >>> slope = torch.tensor([3.0, 0.0, 0.0, 1.0])
    >>> weights, state = rule.update(weights, slope, rule.initial(weights), 0.5)
    >>> weights.tolist(), state["left_basis 2 2"][0].abs().tolist()  # the first by Adam, the larger eigenvalue first
    ([-0.5, 0.0, 0.0, -0.5], [[1.0, 0.0], [0.0, 1.0]])
    """

    blocks: tuple[Block, ...]
    beta1: float = 0.95
    beta2: float = 0.95
    weight_decay: float = 0.0
    every: int = 10
    epsilon: float = 1e-8

    def initial(self, weights: Float[Tensor, "*members size"]) -> dict[str, Tensor]:
        stacks, _ = partition(self.blocks, weights.shape[-1]).split(weights)
        nothing = torch.zeros_like(weights)
        state = {"updates": torch.zeros((), dtype=torch.float64), "mean": nothing, "mean_square": nothing.clone()}
        for shape, stack in stacks.items():
            for side, length in zip(SIDES, shape, strict=True):
                zeros = stack.new_zeros(*stack.shape[:-2], length, length)
                state[_name(side, shape)] = zeros
                state[_name(f"{side}_basis", shape)] = zeros + torch.eye(length).to(zeros)
        return state

    def update(
        self,
        weights: Float[Tensor, "*members size"],
        gradient: Float[Tensor, "*members size"],
        state: RuleState,
        learning_rate: Rate,
    ) -> tuple[Float[Tensor, "*members size"], dict[str, Tensor]]:
        folds, updates = partition(self.blocks, weights.shape[-1]), state["updates"] + 1
        before = int(state["updates"])  # a number on the CPU: no device is waited for
        if before == 0:
            direction = gradient / (gradient.abs() + self.epsilon)
            moments = {"mean": state["mean"], "mean_square": state["mean_square"]}
        else:
            slope = rotated(folds, gradient, state)
            mean = state["mean"].lerp(gradient, 1 - self.beta1)
            square = (state["mean_square"] * self.beta2).addcmul_(slope, slope, value=1 - self.beta2)
            bias = ((1 - self.beta2**before) ** 0.5) / (1 - self.beta1**before)
            quotient = rotated(folds, mean, state).div_(square.sqrt().add_(self.epsilon)).mul_(bias)
            direction, moments = rotated(folds, quotient, state, back=True), {"mean": mean, "mean_square": square}
        moved = decayed(weights - direction * learning_rate, learning_rate, self.weight_decay)  # theirs decays last
        return moved, {"updates": updates, **self._preconditioned(folds, gradient, {**state, **moments}, before)}

    def _preconditioned(self, folds: Partition, gradient: Tensor, state: RuleState, before: int) -> dict[str, Tensor]:
        """Moments, preconditioners and bases after an update, before which there have been so many."""
        renewed = {name: tensor for name, tensor in state.items() if name != "updates"}
        squares, rest = folds.split(state["mean_square"])
        for shape, stack in folds.split(gradient)[0].items():
            for axis, side in zip((-2, -1), SIDES, strict=True):
                product = stack @ stack.mT if side == "left" else stack.mT @ stack
                preconditioner = renewed[_name(side, shape)].lerp(product, 1 - self.beta2)
                renewed[_name(side, shape)] = preconditioner
                basis = _name(f"{side}_basis", shape)
                if before == 0:
                    renewed[basis] = eigenvectors(preconditioner)
                elif before % self.every == 0:
                    renewed[basis], order = power_iterated(preconditioner, renewed[basis])
                    index = order.unsqueeze(-3 - axis).expand_as(squares[shape])
                    squares[shape] = squares[shape].gather(axis, index)
        if before and before % self.every == 0:
            renewed["mean_square"] = folds.join(squares, rest)
        return renewed


def _name(side: str, shape: Shape) -> str:
    return f"{side} {shape[0]} {shape[1]}"


def rotated(
    folds: Partition, flat: Float[Tensor, "*members size"], state: Mapping[str, Tensor], *, back: bool = False
) -> Float[Tensor, "*members size"]:
    """Q_L^T X Q_R for every matrix X of a flat vector, or back: Q_L X Q_R^T; all else as it is.

    >>> folds = Partition((Block(0, (1, 2)),), 3)
    >>> bases = {"left_basis 1 2": torch.ones(1, 1, 1), "right_basis 1 2": torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])}
    >>> rotated(folds, torch.tensor([1.0, 2.0, 3.0]), bases)
    tensor([2., 1., 3.])
    """
    stacks, rest = folds.split(flat)
    for shape, stack in stacks.items():
        left, right = (state[_name(f"{side}_basis", shape)] for side in SIDES)
        stacks[shape] = left @ stack @ right.mT if back else left.mT @ stack @ right
    return folds.join(stacks, rest)


def eigenvectors(preconditioner: Square) -> Square:
    """Of each matrix, the largest eigenvalue's first; NaN of one with an entry that is not finite.

    LAPACK refuses such a matrix and all that stand beside it, so that a member that diverges would end the others too.

    >>> eigenvectors(torch.tensor([[[1.0, 0.0], [0.0, 4.0]], [[torch.inf, 0.0], [0.0, 1.0]]])).abs().tolist()
    [[[0.0, 1.0], [1.0, 0.0]], [[nan, nan], [nan, nan]]]
    """
    finite = preconditioner.isfinite().all(-1, keepdim=True).all(-2, keepdim=True)
    vectors = torch.linalg.eigh(torch.where(finite, preconditioner, 0.0)).eigenvectors.flip(-1)
    return torch.where(finite, vectors, torch.nan).contiguous()


def power_iterated(preconditioner: Square, basis: Square) -> tuple[Square, Tensor]:
    """Eigenvectors after one power iteration, the largest estimated eigenvalue first, and their earlier places.

    Q of the QR decomposition of P B, whose columns are ordered by the diagonal of B^T P B.

    >>> basis, order = power_iterated(torch.diag(torch.tensor([1.0, 4.0])), torch.eye(2))
    >>> basis.abs().tolist(), order.tolist()
    ([[0.0, 1.0], [1.0, 0.0]], [1, 0])
    """
    product = preconditioner @ basis
    order = (basis * product).sum(-2).argsort(dim=-1, descending=True, stable=True)
    columns = product.gather(-1, order.unsqueeze(-2).expand_as(product))
    return torch.linalg.qr(columns).Q.contiguous(), order  # LAPACK gives columns, files hold rows
