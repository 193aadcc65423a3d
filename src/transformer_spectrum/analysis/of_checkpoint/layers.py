"""The matrices that WeightWatcher sees in a model, where it sees others than `dissect`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from transformer_spectrum.weights.anatomy.habits import path_of
from transformer_spectrum.weights.matrices.families import Family
from transformer_spectrum.weights.matrices.matrix import Matrix


def layers(matrices: Sequence[Matrix]) -> list[Matrix]:
    """Its layers: what is cut into rows here is one matrix there, if its name ends in "weight", as it asks.

    So fused queries, keys and values stay whole. What it does not take at all, such as the gates of an LSTM, stays as
    it is here.

    >>> from transformer_spectrum.weights.anatomy.dissection import dissect
    >>> matrices = dissect({"attention.in_proj_weight": (12, 4), "attention.c_attn.weight": (12, 4)}, {}).matrices
    >>> [matrix.name for matrix in layers(matrices)]
    ['attention.in_proj.query', 'attention.in_proj.key', 'attention.in_proj.value', 'attention.c_attn']
    """
    wholes: dict[str, Matrix] = {}
    for matrix in matrices:
        if matrix.cut is None or matrix.index or not matrix.tensor.endswith(".weight"):
            wholes[matrix.name] = matrix
            continue
        rows, columns = matrix.shape
        if matrix.tensor in wholes:
            rows += wholes[matrix.tensor].shape[0]
        note = "transposed" if matrix.transposed else ""
        name, shape = path_of(matrix.tensor), (rows, columns)
        wholes[matrix.tensor] = replace(matrix, name=name, family=Family("fused"), shape=shape, cut=None, note=note)
    return list(wholes.values())
