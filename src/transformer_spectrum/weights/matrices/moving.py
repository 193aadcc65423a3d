"""The matrices that a training moves most, whose mean is watched while it runs and told in few words."""

from __future__ import annotations

from collections.abc import Sequence

from transformer_spectrum.weights.matrices.families import moving_family
from transformer_spectrum.weights.matrices.matrix import Matrix
from transformer_spectrum.weights.matrices.shapes import shape_classes


def positions_watched(matrices: Sequence[Matrix]) -> list[int]:
    """Positions of the matrices of the family that moves, all of one shape, as comparisons and answers are about them.

    >>> from transformer_spectrum.weights.matrices.families import of_forecaster
    >>> names = ["readout", "encoder.0.feed_forward.expand", "encoder.0.self_attention.query"]
    >>> positions_watched([Matrix(name, of_forecaster(name), name, (4, 4)) for name in names])
    [1]
    """
    classes = shape_classes([matrix.family.label for matrix in matrices], [matrix.shape for matrix in matrices])
    return classes[moving_family(classes)].tolist()
