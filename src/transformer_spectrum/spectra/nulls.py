"""What a metric would be without structure: the same entries in random places, or with random signs.

Three kinds of draws, each a batch of matrices of one shape with a generator of its own:

- `shuffled_singular_values`: the entries of a matrix in random places. Independent initial weights are exchangeable,
  so shuffles of the initial matrix are draws from the untrained network; shuffles of any other matrix keep the
  distribution of its entries and destroy their arrangement.
- `shuffled_change_singular_values`: W_0 plus its change with shuffled entries, the null of a trained matrix: a way of
  the same length from the same start, without a direction.
- `signed_singular_values`: every entry stays in its place and gets a random sign. Of a change it keeps which weights
  moved how far, and with that rows and columns that moved further than others, and destroys that they moved together.

`null_of` sums draws up, `effects.effect` says how far a value is from them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from jaxtyping import Float64, Num, Real
from torch import Tensor

from transformer_spectrum.spectra.arrangements import shuffled_entries, signed_entries
from transformer_spectrum.spectra.metrics import unit_exponents
from transformer_spectrum.weights.matrices.matrix import spectrum
from transformer_spectrum.weights.matrices.spectrum_types import Values

Matrices: TypeAlias = Num[np.ndarray, "m rows columns"] | Num[Tensor, "m rows columns"]
"""Several of one shape, on any device."""
Draws = Real[np.ndarray, "draws *shape"]
FamilyDraws = Real[np.ndarray, "draws *shape m"]
"""A metric in each null draw; of m matrices in each."""

NO_VALUE = "the metric has no value to compare"
FEW_DRAWS = "fewer than 3 null draws have the metric"
NO_DRAWS = "no null was drawn"

DRAWS_MINIMUM = 3  # below, a standard deviation says nothing
ENTRIES = 1 << 21  # float64 entries decomposed at once, at least one matrix: 16 MiB and a few working copies


class Null(NamedTuple):
    """Mean and spread of a metric over null draws, each (...).

    Attributes:
        mean: of the draws that have the metric; its unit; NaN where none has.
        standard_deviation: of those draws, divisor D - 1; NaN where fewer than 3 have the metric.
        draws: how many have it; count.
    """

    mean: Values
    standard_deviation: Values
    draws: Values

    def band(self, deviations: float = 2.0) -> tuple[Values, Values]:
        """Mean -+ deviations * standard deviation, each (...)."""
        return self.mean - deviations * self.standard_deviation, self.mean + deviations * self.standard_deviation


def shuffled_singular_values(
    matrices: Matrices, draws: int, generator: torch.Generator
) -> Float64[np.ndarray, "draws m rank"]:
    """Singular values of matrices whose entries were put in random places, independently in each matrix and draw.

    Args:
        matrices: (m, rows, columns), W's units.
        draws: shuffles of each; count, >= 1.
        generator: of the permutations, on the CPU; the same state gives the same values.
    Returns:
        (draws, m, min(rows, columns)) float64, descending, W's units; see `weights.matrices.matrix.spectrum`.
    Raises:
        ValueError: not three axes, an axis is empty, an entry is not finite, or draws < 1.

    >>> values = shuffled_singular_values(np.diag([3.0, 4.0])[None], 5, torch.Generator().manual_seed(0))
    >>> values.shape, bool(np.allclose((values**2).sum(axis=-1), 25.0))  # the norm stays
    ((5, 1, 2), True)
    """
    stack = _checked(matrices, draws)
    return _drawn(stack, draws, lambda positions: shuffled_entries(stack[positions], generator))


def shuffled_change_singular_values(
    initial: Matrices, change: Matrices, draws: int, generator: torch.Generator
) -> Float64[np.ndarray, "draws m rank"]:
    """Singular values of W_0 + P(W - W_0), P a random permutation of the entries for each matrix and draw.

    The null of a trained matrix W: a step of the same length from the same start, made of the same numbers, that leads
    nowhere in particular.

    Args:
        initial: W_0, (m, rows, columns), W's units.
        change: W - W_0, the same shape.
        draws: of each; count, >= 1.
        generator: of the permutations, on the CPU; the same state gives the same values.
    Returns:
        (draws, m, min(rows, columns)) float64, descending, W's units; those of W_0 where the change is zero.
    Raises:
        ValueError: as `shuffled_singular_values`, or the two differ in shape.

    >>> initial, change = np.eye(2)[None], np.array([[[2.0, 0.0], [0.0, 0.0]]])  # the 2 on or off the diagonal
    >>> values = shuffled_change_singular_values(initial, change, 9, torch.Generator().manual_seed(0))
    >>> np.unique(values[:, 0, 0].round(3))
    array([2.414, 3.   ])
    """
    start, steps = _checked(initial, draws), _checked(change, draws)
    if start.shape != steps.shape:
        raise ValueError(f"initial matrices of shape {tuple(start.shape)} with changes of {tuple(steps.shape)}")
    return _drawn(steps, draws, lambda positions: start[positions] + shuffled_entries(steps[positions], generator))


def signed_singular_values(
    matrices: Matrices, draws: int, generator: torch.Generator
) -> Float64[np.ndarray, "draws m rank"]:
    """Singular values of matrices whose entries were multiplied by random signs, independent in each matrix and draw.

    Args:
        matrices: (m, rows, columns), W's units.
        draws: of each; count, >= 1.
        generator: of the signs, on the CPU; the same state gives the same values.
    Returns:
        (draws, m, min(rows, columns)) float64, descending, W's units.
    Raises:
        ValueError: as `shuffled_singular_values`.

    >>> values = signed_singular_values(np.ones((1, 2, 2)), 9, torch.Generator().manual_seed(0))
    >>> np.unique(values[:, 0, 0].round(3))  # an even or an odd number of signs
    array([1.414, 2.   ])
    """
    stack = _checked(matrices, draws)
    return _drawn(stack, draws, lambda positions: signed_entries(stack[positions], generator))


def _checked(matrices: Matrices, draws: int) -> Tensor:
    """Matrices in double precision on the CPU."""
    stack = torch.as_tensor(matrices).detach().cpu()
    stack = stack.to(torch.complex128 if stack.is_complex() else torch.float64)
    if stack.ndim != 3 or not stack.numel():
        raise ValueError(f"matrices of shape {tuple(stack.shape)}: must be (m, rows, columns), none of them 0")
    if draws < 1:
        raise ValueError(f"draws = {draws}: must be >= 1")
    if not torch.isfinite(stack).all():
        raise ValueError("matrices must be finite")
    return stack


def _drawn(stack: Tensor, draws: int, draw: Callable[[list[int]], Tensor]) -> np.ndarray:
    """Singular values (draws, m, r) of what `draw` makes of the matrices at some positions."""
    count, rows, columns = stack.shape
    order = [position for _ in range(draws) for position in range(count)]  # draw by draw, whatever the chunk's size
    chunk = max(1, ENTRIES // (rows * columns))
    spectra = [spectrum(draw(order[first : first + chunk]).numpy()) for first in range(0, len(order), chunk)]
    return np.concatenate(spectra).reshape(draws, count, min(rows, columns))


def null_of(draws_values: Draws) -> Null:
    """Mean and spread over the first axis of those draws that have the metric.

    Args:
        draws_values: (D, ...) metric in each draw, NaN where it has no value.
    Raises:
        ValueError: there is no draw, or a value is infinite.

    >>> null = null_of(np.array([1.0, 2.0, 3.0, np.nan]))
    >>> float(null.mean), float(null.standard_deviation), int(null.draws)
    (2.0, 1.0, 3)
    """
    draws_values = np.asarray(draws_values, dtype=np.float64)
    if draws_values.ndim == 0 or not len(draws_values):
        raise ValueError(f"draws of shape {draws_values.shape}: need a first axis of at least one draw")
    if np.isinf(draws_values).any():
        raise ValueError("draws must not be infinite")
    computed = ~np.isnan(draws_values)
    count = computed.sum(axis=0)
    largest = np.where(computed, draws_values, -np.inf).max(axis=0)
    below = np.where(computed, draws_values - largest, 0.0)  # so that the mean of equal draws is each of them
    mean = largest + _divided(below.sum(axis=0), count, count > 0)
    from_mean = np.where(computed, draws_values - np.where(count > 0, mean, 0.0), 0.0)
    exponents = unit_exponents(np.abs(np.moveaxis(from_mean, 0, -1)))
    square = np.ldexp(from_mean, -exponents) ** 2
    enough = count >= DRAWS_MINIMUM
    return Null(mean, np.ldexp(np.sqrt(_divided(square.sum(axis=0), count - 1, enough)), exponents), count)


def family_null(draws_values: FamilyDraws) -> Null:
    """Null of the mean over several matrices: each draw's mean of those that have the metric, then as `null_of`.

    Shuffles of different matrices are independent, so the band of a mean of m matrices is about sqrt(m) narrower.

    Args:
        draws_values: (D, ..., m), NaN where the metric has no value.
    Returns:
        Each (...).

    >>> null = family_null(np.array([[0.0, 2.0], [1.0, 3.0], [2.0, 4.0]]))  # three draws of two matrices
    >>> float(null.mean), float(null.standard_deviation)
    (2.0, 1.0)
    """
    return null_of(family_draws(draws_values))


def family_draws(draws_values: FamilyDraws) -> Draws:
    """Each draw's mean over those of several matrices that have the metric; NaN where none has.

    Args:
        draws_values: (D, ..., m), NaN where the metric has no value.

    >>> family_draws(np.array([[0.0, 2.0], [1.0, np.nan]]))
    array([1., 1.])
    """
    draws_values = np.asarray(draws_values, dtype=np.float64)
    computed = ~np.isnan(draws_values)
    count = computed.sum(axis=-1)
    return _divided(np.where(computed, draws_values, 0.0).sum(axis=-1), count, count > 0)


def _divided(numerator: Values, denominator: Values, where: np.ndarray | np.bool_) -> np.ndarray:
    """Quotient; NaN elsewhere."""
    return np.divide(numerator, denominator, out=np.full(np.shape(numerator), np.nan), where=where)
