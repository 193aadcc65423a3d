"""Matrices of one shape: what can be stacked, decomposed at once, and averaged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Int

from transformer_spectrum.weights.matrices.families import BLOCKS

Shape = tuple[int, int]


def by_shape(shapes: Iterable[Sequence[int]], *, oriented: bool = False) -> dict[Shape, list[int]]:
    """Positions of the matrices of each shape, in the order of the first of them.

    Args:
        shapes: rows and columns of each matrix.
        oriented: tell a matrix from its transpose; if not, the larger side of a shape comes first.

    >>> by_shape([(4, 2), (3, 3), (2, 4)])
    {(4, 2): [0, 2], (3, 3): [1]}
    >>> by_shape([(4, 2), (3, 3), (2, 4)], oriented=True)
    {(4, 2): [0], (3, 3): [1], (2, 4): [2]}
    """
    positions: dict[Shape, list[int]] = {}
    for position, (rows, columns) in enumerate(shapes):
        shape = int(rows), int(columns)
        positions.setdefault(shape if oriented else (max(shape), min(shape)), []).append(position)
    return positions


def shape_classes(families: Sequence[str], shapes: Iterable[Sequence[int]]) -> dict[str, Int[np.ndarray, " members"]]:
    """Matrices that may be averaged: one family and one shape up to transposition.

    Estimates of the tail depend on the aspect ratio, so no mean crosses it.

    Args:
        families: label of each matrix's family, see `families.Family.label`.
        shapes: rows and columns of each.
    Returns:
        Label -> positions, families in the order of BLOCKS. The label is the family's, followed by
        "_<larger>x<smaller>" where the family has more than one shape.

    >>> shape_classes(["readout", "feed_forward", "feed_forward"], [(2, 8), (32, 8), (8, 32)])
    {'feed_forward': array([1, 2]), 'readout': array([0])}
    """
    members: dict[str, list[int]] = {}
    for position, family in enumerate(families):
        members.setdefault(str(family), []).append(position)
    sizes = list(shapes)
    classes = {}
    for family in sorted(members, key=lambda name: BLOCKS.index(name) if name in BLOCKS else len(BLOCKS)):
        positions = np.array(members[family])
        groups = by_shape(sizes[position] for position in positions)
        for larger, smaller in sorted(groups, reverse=True):
            label = family if len(groups) == 1 else f"{family}_{larger}x{smaller}"
            classes[label] = positions[groups[larger, smaller]]
    return classes
