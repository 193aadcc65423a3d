"""Where the matrices lie in a flat weight vector, for rules that treat a matrix as a matrix.

A block is a matrix of its own: a gate of an LSTM and each of Q, K and V are one even where a parameter holds several.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from transformer_spectrum.models.forecaster import Layout
from transformer_spectrum.optimizers.gradient.rule import Rate
from transformer_spectrum.weights.matrices.matrix import Matrix
from transformer_spectrum.weights.matrices.shapes import Shape

OUTER = ("embedding", "readout")
"""Families of the matrices that meet the data; the others are hidden."""


@dataclass(frozen=True, order=True)
class Block:
    """A matrix, row by row, inside a flat vector.

    Attributes:
        start: position of its first entry.
        shape: rows and columns.
    """

    start: int
    shape: Shape

    @property
    def stop(self) -> int:
        """Behind its last entry.

        >>> Block(10, (2, 3)).stop
        16
        """
        return self.start + self.shape[0] * self.shape[1]


def _block(matrix: Matrix, layout: Layout) -> Block:
    start, stop = layout.slices[matrix.tensor]
    first, last = (0, matrix.shape[0]) if matrix.cut is None else matrix.cut[1:]
    block = Block(start + first * matrix.shape[1], matrix.shape)
    in_rows = matrix.rows == (0,) and not matrix.transposed and not matrix.index and matrix.head is None
    if not in_rows or (matrix.cut is not None and matrix.cut.blocks > 1) or last - first != matrix.shape[0]:
        raise ValueError(f"{matrix.name}: is no range of rows of {matrix.tensor}")
    if block.stop > stop:
        raise ValueError(f"{matrix.name}: ends behind {matrix.tensor}")
    return block


def matrix_blocks(layout: Layout) -> tuple[Block, ...]:
    """All matrices of a forecaster, in the order of the vector.

    Raises:
        ValueError: a matrix is no range of rows of its parameter.

    >>> from transformer_spectrum.models.lstm import LSTM
    >>> layout = Layout(LSTM(1, 4, 1, 0.0, 2, torch.Generator().manual_seed(0)))
    >>> [block.shape for block in matrix_blocks(layout)[:5]]  # four gates over the input, then over the state
    [(4, 2), (4, 2), (4, 2), (4, 2), (4, 4)]
    """
    return tuple(sorted(_block(matrix, layout) for matrix in layout.matrices))


def hidden_blocks(layout: Layout) -> tuple[Block, ...]:
    """The matrices of a forecaster without embeddings and readout; see `matrix_blocks`.

    >>> from transformer_spectrum.models.lstm import LSTM
    >>> layout = Layout(LSTM(1, 4, 1, 0.0, 2, torch.Generator().manual_seed(0)))
    >>> len(matrix_blocks(layout)) - len(hidden_blocks(layout))
    1
    """
    hidden = (matrix for matrix in layout.matrices if matrix.family.block not in OUTER)
    return tuple(sorted(_block(matrix, layout) for matrix in hidden))


class Partition:
    """Takes flat vectors apart into stacks of matrices of one shape and the rest, and puts them together again.

    Args:
        blocks: disjoint, ascending.
        size: of the vector.

    >>> partition = Partition((Block(1, (1, 2)), Block(4, (1, 2))), size=6)
    >>> stacks, rest = partition.split(torch.arange(6.0))
    >>> stacks[(1, 2)].tolist(), rest.tolist(), partition.join(stacks, rest).tolist()
    ([[[1.0, 2.0]], [[4.0, 5.0]]], [0.0, 3.0], [0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    """

    def __init__(self, blocks: Sequence[Block], size: int) -> None:
        self.sizes: list[int] = []
        self.shapes: list[Shape | None] = []  # None: of the rest
        end = 0
        for block in (*blocks, None):
            start = size if block is None else block.start
            if start > end:
                self.sizes.append(start - end)
                self.shapes.append(None)
            if block is not None:
                self.sizes.append(block.stop - block.start)
                self.shapes.append(block.shape)
                end = block.stop
        self.rest_sizes = [size for size, shape in zip(self.sizes, self.shapes, strict=True) if shape is None]

    def split(self, flat: Float[Tensor, "*members size"]) -> tuple[dict[Shape, Tensor], Float[Tensor, "*members rest"]]:
        """Stacks (*members, blocks, rows, columns) of the matrices of each shape, and all else; copies."""
        stretches: dict[Shape | None, list[Tensor]] = {None: []}
        for stretch, shape in zip(flat.split(self.sizes, dim=-1), self.shapes, strict=True):
            stretches.setdefault(shape, []).append(stretch if shape is None else stretch.unflatten(-1, shape))
        rest = stretches.pop(None) or [flat[..., :0]]
        return {shape: torch.stack(parts, -3) for shape, parts in stretches.items() if shape}, torch.cat(rest, -1)

    def join(self, stacks: dict[Shape, Tensor], rest: Float[Tensor, "*members rest"]) -> Float[Tensor, "*members size"]:
        """The inverse of `split`."""
        queues = {shape: iter(stack.flatten(-2).unbind(-2)) for shape, stack in stacks.items()}
        others = iter(rest.split(self.rest_sizes, dim=-1))
        return torch.cat([next(others if shape is None else queues[shape]) for shape in self.shapes], -1)


@functools.lru_cache(maxsize=8)
def partition(blocks: tuple[Block, ...], size: int) -> Partition:
    """The partition of vectors of this size, made once.

    >>> partition((Block(0, (2, 2)),), 5) is partition((Block(0, (2, 2)),), 5)
    True
    """
    return Partition(blocks, size)


def of_matrices(learning_rate: Rate) -> float | Float[Tensor, "*members 1 1 1"]:
    """The learning rate as a factor of stacks of matrices (*members, blocks, rows, columns).

    >>> of_matrices(torch.tensor([[0.1], [0.2]])).shape
    torch.Size([2, 1, 1, 1])
    """
    return learning_rate[..., None, None] if isinstance(learning_rate, Tensor) else learning_rate
