"""Gaussian perturbations that need not exist all at once, and the populations made of them.

Each perturbation has a seed of its own, so any thread can draw any of them, in any order. Where all fit into
`KEPT_MIB` each is drawn once and kept; otherwise each is drawn anew whenever it is needed.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

KEPT_MIB = 192
COLUMNS = 16384  # few enough that some rows of a block stay in a core's cache between two operations
ROWS = 8  # drawn anew at a time


@runtime_checkable
class Perturbations(Protocol):
    """M directions of length n."""

    def __len__(self) -> int:
        """M."""

    def rows(self, start: int, stop: int) -> Float[Tensor, "{stop}-{start} size"]:
        """(stop - start, n) of them, not to be changed; the same whenever asked, from any thread."""

    def sum(self, weights: Float[Tensor, " directions"]) -> Float[Tensor, " size"]:
        """(M,) -> (n,): sum over k of weights_k times direction k."""


class Noise:
    """(count, size) standard normal numbers.

    Args:
        count: M, directions.
        size: n, numbers in each.
        generator: gives the seeds; one number is drawn from it.
        like: has the type and the device of the numbers. On the CPU and on CUDA they are drawn there (and differ
            between the two); for other devices they are drawn on the CPU.
        pair: (size,) takes the place of direction 0, and its negative that of direction 1; None = all are random.
    """

    def __init__(
        self,
        count: int,
        size: int,
        generator: torch.Generator,
        like: Tensor,
        pair: Float[Tensor, " {size}"] | None = None,
    ) -> None:
        self.count, self.size, self.pair = count, size, pair
        # torch's generator on the CPU takes 32 bits of its seed; consecutive ones cannot collide.
        self.seed = int(torch.randint(2**32, (), generator=generator))
        self.like = like.new_empty(0)
        self.source = like.device if like.is_cuda else torch.device("cpu")
        self.memory: Tensor | None = None
        if count * size * like.element_size() <= KEPT_MIB * 2**20:
            self.memory = like.new_empty(count, size)
            self.drawn = [False] * count
            self.locks = [threading.Lock() for _ in range(count)]

    def __len__(self) -> int:
        return self.count

    def _draw(self, row: int, out: Float[Tensor, " size"]) -> None:
        if self.pair is not None and row < 2:
            out.copy_(self.pair if row == 0 else -self.pair)
            return
        generator = torch.Generator(self.source).manual_seed((self.seed + row) % 2**32)
        if out.device == self.source:
            out.normal_(generator=generator)
        else:
            out.copy_(torch.randn(self.size, generator=generator, dtype=out.dtype))

    def rows(self, start: int, stop: int) -> Float[Tensor, "{stop}-{start} size"]:
        if self.memory is None:
            block = self.like.new_empty(stop - start, self.size)
            for row in range(start, stop):
                self._draw(row, block[row - start])
            return block
        for row in range(start, stop):
            if not self.drawn[row]:
                with self.locks[row]:
                    if not self.drawn[row]:
                        self._draw(row, self.memory[row])
                        self.drawn[row] = True
        return self.memory[start:stop]

    def _blocks(self) -> list[tuple[int, int]]:
        if self.memory is not None:
            return [(0, self.count)]
        return [(start, min(start + ROWS, self.count)) for start in range(0, self.count, ROWS)]

    def sum(self, weights: Float[Tensor, " directions"]) -> Float[Tensor, " size"]:
        weights = weights.to(self.like)
        total = self.like.new_zeros(self.size)
        for start, stop in self._blocks():
            total += weights[start:stop] @ self.rows(start, stop)
        return total

    def moments(
        self, weights: Float[Tensor, " directions"], squares: Float[Tensor, " directions"]
    ) -> tuple[Float[Tensor, " size"], Float[Tensor, " size"]]:
        """Weights (M,) twice -> sum of weights_k z_k (n,), sum of squares_k z_k^2 (n,), each z read once."""
        weights, squares = weights.to(self.like), squares.to(self.like)
        first, second = self.like.new_zeros(self.size), self.like.new_zeros(self.size)
        for start, stop in self._blocks():
            block = self.rows(start, stop)
            for column in range(0, self.size, COLUMNS):
                rows_block = block[:, column : column + COLUMNS]
                first[column : column + COLUMNS] += weights[start:stop] @ rows_block
                second[column : column + COLUMNS] += squares[start:stop] @ rows_block.square()
        return first, second


class LowRankNoise:
    """Perturbations of rank r a matrix, E = A B^T / sqrt(r), A (rows, r) and B (columns, r) standard normal.

    The entries of E have mean 0 and variance 1 and are uncorrelated, but neither independent nor normal: E has rank
    r. Where the factors would be as many numbers as the matrix, and where a parameter is no matrix, all entries
    are independent normal. It costs r (rows + columns) random numbers a matrix instead of rows * columns.

    Args:
        count: M, perturbations.
        shapes: of the parameters in the flat vector, in order (`Layout.shapes`).
        rank: r >= 1.
        generator: as in `Noise`.
        like: as in `Noise`.
    Source: the factors follow Sarkar et al. (2025), https://arxiv.org/abs/2511.16652.
    """

    def __init__(
        self, count: int, shapes: Sequence[tuple[int, ...]], rank: int, generator: torch.Generator, like: Tensor
    ) -> None:
        self.rank, self.shapes = rank, [tuple(shape) for shape in shapes]
        self.sizes = [math.prod(shape) for shape in self.shapes]
        factored = (len(shape) == 2 and rank * sum(shape) < math.prod(shape) for shape in self.shapes)
        self.factors = [
            rank * sum(shape) if low else size
            for low, shape, size in zip(factored, self.shapes, self.sizes, strict=True)
        ]
        self.noise = Noise(count, sum(self.factors), generator, like)

    def __len__(self) -> int:
        return len(self.noise)

    def _parts(self, block: Tensor) -> list[tuple[Tensor, Tensor | None]]:
        """(k, factors) -> for each parameter (A (k, rows, r), B (k, columns, r)), or (full (k, size), None)."""
        parts: list[tuple[Tensor, Tensor | None]] = []
        for rows_block, shape, size in zip(block.split(self.factors, 1), self.shapes, self.sizes, strict=True):
            if rows_block.shape[1] == size:
                parts.append((rows_block, None))
            else:
                left, right = rows_block.split([shape[0] * self.rank, shape[1] * self.rank], 1)
                parts.append((left.unflatten(1, (shape[0], self.rank)), right.unflatten(1, (shape[1], self.rank))))
        return parts

    def rows(self, start: int, stop: int) -> Float[Tensor, "{stop}-{start} size"]:
        block = self.noise.rows(start, stop)
        full = block.new_empty(stop - start, sum(self.sizes))
        for (left, right), out in zip(self._parts(block), full.split(self.sizes, 1), strict=True):
            out.copy_(left if right is None else (left @ right.mT).flatten(1) / math.sqrt(self.rank))
        return full

    def sum(self, weights: Float[Tensor, " directions"]) -> Float[Tensor, " size"]:
        weights = weights.to(self.noise.like)
        total = self.noise.like.new_zeros(sum(self.sizes))
        for start, stop in self.noise._blocks():
            share = weights[start:stop]
            for (left, right), out in zip(
                self._parts(self.noise.rows(start, stop)), total.split(self.sizes), strict=True
            ):
                if right is None:
                    out += share @ left
                else:  # one product over perturbations and ranks together: no E is ever formed
                    scaled = left * (share / math.sqrt(self.rank))[:, None, None]
                    out += torch.einsum("kir,kjr->ij", scaled, right).flatten()
        return total


class Scattered:
    """Population mean + scale * z_k.

    Args:
        mean: (n,) weight units.
        scale: standard deviation of each weight, (n,); weight units.
        noise: M perturbations.
    """

    def __init__(self, mean: Float[Tensor, " size"], scale: Float[Tensor, " size"], noise: Perturbations) -> None:
        self.mean, self.scale, self.noise = mean, scale, noise

    def __len__(self) -> int:
        return len(self.noise)

    def members(self, start: int, stop: int) -> Float[Tensor, "{stop}-{start} size"]:
        return torch.addcmul(self.mean, self.scale, self.noise.rows(start, stop))


class Mirrored:
    """Population of M / 2 mirrored pairs: member 2k is mean + sigma * e_k, member 2k + 1 is mean - sigma * e_k.

    Args:
        mean: (n,) weight units.
        sigma: standard deviation; weight units.
        noise: M / 2 perturbations.
    """

    def __init__(self, mean: Float[Tensor, " size"], sigma: float, noise: Perturbations) -> None:
        self.mean, self.sigma, self.noise = mean, sigma, noise

    def __len__(self) -> int:
        return 2 * len(self.noise)

    def members(self, start: int, stop: int) -> Float[Tensor, "{stop}-{start} size"]:
        rows = self.noise.rows(start // 2, (stop + 1) // 2)
        pairs = rows.new_empty(len(rows), 2, rows.shape[1])
        torch.add(self.mean, rows, alpha=self.sigma, out=pairs[:, 0])
        torch.add(self.mean, rows, alpha=-self.sigma, out=pairs[:, 1])
        return pairs.flatten(0, 1)[start % 2 : start % 2 + stop - start]
