"""Matrices that nobody trained, known by their entries: masks, sinusoids, ramps, identities, banded tables.

A trained dense matrix fulfils none of these rules: each asks for an exact structure in all of its entries, to the
rounding of their type. The first rows are looked at before the rest, so that a weight costs next to nothing.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

SMALLEST = 16  # entries below which a structure may be chance
FEW_ENTRIES = 1 << 12  # of a first look
SHORTEST = 6  # positions of a table
SLOW = 1e-3  # 2 - 2 cos(w) below which a sinusoid may as well be a straight line
HALF = 1e-4  # relative precision of entries above which a sinusoid needs rows of equal length too
_WEIGHT = ("weight", "kernel", "weight_v", "weight_orig")


def constructed(name: str, tensor: Tensor) -> str:
    """Why a tensor is no trained weight as its entries say; empty where they do not.

    Args:
        name: of the tensor; under "weight" only masks and sinusoids count, since a weight may begin as an identity.
        tensor: as stored, on the CPU, floating or complex; entries may be infinite.

    >>> constructed("causal", torch.ones(64, 64).tril())
    'a mask: triangular, 1 on one side and 0 on the other'
    >>> constructed("fc.weight", torch.arange(64.0).outer(torch.arange(64.0)))
    ''
    """
    matrix = tensor.detach().squeeze()
    if matrix.ndim < 2 or matrix.numel() < SMALLEST or tensor.is_quantized:
        return ""
    if matrix.is_complex():
        pairs = torch.view_as_real(matrix.resolve_conj())
        return _sinusoidal(pairs.flatten(1), torch.finfo(pairs.dtype).eps, ramps=True)
    if matrix.dtype.itemsize == 1:
        matrix = matrix.float()
    named = name.replace("/", ".").rsplit(".", 1)[-1] in _WEIGHT
    if not all(bool(torch.isfinite(end)) for end in torch.aminmax(matrix)):
        return _mask_of_infinities(matrix)
    slices = matrix.flatten(0, -3) if matrix.ndim > 2 else matrix[None]
    reason = _by_slices(slices, named)
    if reason:
        return reason
    if not named and _counts(_first(matrix)) and _counts(matrix):
        return "counts: every entry is a whole number >= 0"
    return _table(matrix, named, torch.finfo(tensor.dtype).eps)


def _first(matrix: Tensor) -> Tensor:
    """Entries from everywhere, few of them."""
    return matrix.flatten()[:: max(1, matrix.numel() // FEW_ENTRIES)]


def _counts(entries: Tensor) -> bool:
    return bool((entries >= 0).all()) and bool((entries == entries.round()).all())


def _mask_of_infinities(matrix: Tensor) -> str:
    """-inf above (or below) a diagonal, or -inf beside one other value."""
    minus = torch.isneginf(matrix)
    finite = matrix[torch.isfinite(matrix)]
    if not bool((minus | torch.isfinite(matrix)).all()) or not bool(minus.any()):
        return ""
    if not finite.numel() or bool((finite == finite[0]).all()):
        return "a mask: -inf beside one value"
    slices = minus.flatten(0, -3) if minus.ndim > 2 else minus[None]
    causal = torch.ones(slices.shape[1:], dtype=torch.bool).triu(1)
    if bool((slices == causal).all()) or bool((slices == causal.mT).all() if causal.shape[0] == causal.shape[1] else 0):
        return "a mask: -inf on one side of its diagonal"
    return ""


def _by_slices(slices: Tensor, named: bool) -> str:
    """Rules that every matrix of a stack fulfils on its own."""
    first = _first(slices)
    values = torch.unique(first)
    if len(values) <= 2:
        values = torch.unique(slices)
    if len(values) <= 2:
        return _of_two_values(slices, values, named)
    if not named and _toeplitz(slices):
        return "every diagonal is one value: a table of distances or a band"
    if _averaging(slices):
        return "a mask: triangular, one value in each row"
    return ""


def _of_two_values(slices: Tensor, values: Tensor, named: bool) -> str:
    rows, columns = slices.shape[1:]
    if len(values) == 1:
        return "" if named else f"every entry is {float(values[0]):g}"
    low, high = float(values[0]), float(values[1])
    inside = slices != 0 if 0.0 in (low, high) else slices == values[1]
    corner = torch.ones(rows, columns, dtype=torch.bool)
    for diagonal in (-1, 0, 1):
        for side in (corner.tril(diagonal), corner.triu(diagonal)):
            if min(rows, columns) > 2 and bool((inside == side).all()) and not bool(side.all()):
                return f"a mask: triangular, {high:g} on one side and {low:g} on the other"
    if named or 0.0 not in (low, high):
        return "" if named or low > -100 else f"a mask: its entries are {low:g} and {high:g} alone"
    single = inside.sum(-1) == 1
    if rows == columns and bool((inside == torch.eye(rows, dtype=torch.bool)).all()):
        return "a multiple of the identity"
    if bool(single.all()):
        return "one-hot rows"
    return f"a mask: its entries are {low:g} and {high:g} alone"


def _toeplitz(slices: Tensor) -> bool:
    if min(slices.shape[1:]) < 3:
        return False
    corner = slices[:, :4, :4]
    return bool(torch.equal(corner[:, 1:, 1:], corner[:, :-1, :-1])) and bool(
        torch.equal(slices[:, 1:, 1:], slices[:, :-1, :-1])
    )


def _averaging(slices: Tensor) -> bool:
    """Lower triangular, every row one value up to its diagonal: the mean over what came before."""
    if min(slices.shape[1:]) < 3 or bool((slices[:, 0, 1:] != 0).any()):
        return False
    return bool((slices == slices[:, :, :1] * torch.ones(slices.shape[1:], dtype=slices.dtype).tril()).all())


def _table(matrix: Tensor, named: bool, precision: float) -> str:
    """Sinusoids or ramps along the first or the last axis, and banks of filters."""
    for table in (matrix.flatten(1), matrix.flatten(0, -2).T):
        reason = _sinusoidal(table, precision, ramps=not named)
        if reason:
            return reason
    if not named and matrix.ndim == 2 and (_filterbank(matrix) or _filterbank(matrix.T)):
        return "a bank of filters: each rises to one top and is zero elsewhere"
    return ""


def _sinusoidal(table: Tensor, precision: float, *, ramps: bool) -> str:
    """Positions x width, where every column is a sinusoid, or a ramp, of the position or of one side of a grid.

    Rows of zeros, of padding or of a class token, are passed over.

    Args:
        table: (positions, width).
        precision: relative, of the type it is stored in.
        ramps: whether a table of slow columns alone, which may as well be straight lines, counts.
    """
    positions, width = table.shape
    if positions < SHORTEST or width < 2:
        return ""
    sample = table[:, :: max(1, width // 8)].double()
    if positions > 64 and not any(
        _fits(_cosines(sample[first : first + SHORTEST], 0, positions, precision)) for first in (1, 24, 40)
    ):
        return ""  # for a trained matrix this is the end
    whole = table.double()
    if precision > HALF and not _equal_rows(whole, precision):
        return ""
    without_first = whole[1:] if bool((whole[0] == 0).all()) else whole
    for sides in [(positions,), *_grids(len(without_first))]:
        grid = (whole if len(sides) == 1 else without_first).reshape(*sides, width)
        cosines = [_cosines(grid, axis, positions, precision) for axis in range(len(sides))]
        if all(map(_fits, cosines)):
            slow = bool((torch.stack(cosines) > 2 - SLOW).all())
            if slow and not ramps:
                return ""
            return "straight lines over its positions" if slow else "sinusoids over its positions, a fixed table"
    return ""


def _cosines(grid: Tensor, axis: int, positions: int, precision: float) -> Tensor:
    """2 cos(w) of each column along an axis; NaN where the column is no sinusoid there.

    A sinusoid at equal distances is all that obeys x[t-1] + x[t+1] = 2 cos(w) x[t], whatever its phase and scale.
    """
    along = grid.movedim(axis, 0).reshape(grid.shape[axis], -1, grid.shape[-1])  # (n, elsewhere, width)
    before, middle, after = along[:-2], along[1:-1], along[2:]
    present = (along != 0).any(-1, keepdim=True)
    counted = present[:-2] & present[1:-1] & present[2:]
    both, middle = (before + after) * counted, middle * counted
    square = (middle**2).sum((0, 1))
    cosines = (both * middle).sum((0, 1)) / torch.where(square > 0, square, 1.0)
    cosines = torch.where(square > 0, cosines, 2.0)
    wrong = (both - cosines * middle).abs().amax((0, 1))
    # A phase in float32 is off by its own rounding, which grows with the position.
    allowed = (8 * precision + 5e-7 * positions + 1e-6) * along.abs().amax((0, 1))
    told = 2 * int(counted.sum()) >= counted.numel()  # rows of zeros tell nothing
    sound = (wrong <= allowed) & (cosines.abs() <= 2 + SLOW) & told
    return torch.where(sound, cosines, torch.nan)


def _fits(cosines: Tensor) -> bool:
    return not bool(torch.isnan(cosines).any())


def _equal_rows(table: Tensor, precision: float) -> bool:
    """Sines and cosines in pairs make rows of one length; asked for where entries are too coarse to tell much."""
    lengths = table.norm(dim=1)
    lengths = lengths[lengths > 0]
    return bool(lengths.numel()) and bool(lengths.max() - lengths.min() <= 4 * precision * lengths.max())


def _grids(count: int) -> list[tuple[int, int]]:
    """Sides of the grids that have `count` positions, the squarest first."""
    sides = [(count // side, side) for side in range(3, math.isqrt(count) + 1) if count % side == 0]
    return [shape for high, low in reversed(sides) for shape in dict.fromkeys([(high, low), (low, high)])]


def _filterbank(bank: Tensor) -> bool:
    """Columns of one top each, zero elsewhere and nowhere negative: mel filters and their kin."""
    rows, columns = bank.shape
    if rows < 8 or columns < 4 or bool((_first(bank) < 0).any()) or bool((bank < 0).any()):
        return False
    inside = bank != 0
    if not rows * columns >= 2 * int(inside.sum()) >= 4 * columns:
        return False
    padded = torch.nn.functional.pad(bank.double(), (0, 0, 1, 1))
    steps = padded.diff(dim=0).sign()
    runs = (torch.nn.functional.pad(inside.to(torch.int8), (0, 0, 1, 0)).diff(dim=0) > 0).sum(0)
    risen_after_fall = ((steps < 0).cumsum(0) > 0) & (steps > 0)
    return bool((runs <= 1).all()) and not bool(risen_after_fall.any())
