"""The matrices that a training moves most, whose mean is watched while it runs and told in few words."""

from __future__ import annotations

from collections.abc import Sequence

from transformer_spectrum.weights.matrices.matrix import Matrix


def moving_family(matrices: Sequence[Matrix]) -> list[int]:
    """Positions of the matrices whose mean is watched while a training runs: feed-forward, or an LSTM's gates.

    All have as many singular values, unlike those of all families; of the families they move most.

    >>> from transformer_spectrum.weights.matrices.families import of_forecaster
    >>> names = ["readout", "encoder.0.feed_forward.expand", "encoder.0.self_attention.query"]
    >>> moving_family([Matrix(name, of_forecaster(name), name, (4, 4)) for name in names])
    [1]
    """
    for blocks in (("feed_forward",), ("encoder_gates", "decoder_gates")):
        positions = [i for i, matrix in enumerate(matrices) if matrix.family.block in blocks]
        if positions:
            width = min(min(matrices[i].shape) for i in positions)
            return [i for i in positions if min(matrices[i].shape) == width]
    return list(range(len(matrices)))
