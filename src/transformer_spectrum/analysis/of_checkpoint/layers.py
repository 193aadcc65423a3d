"""The matrices that WeightWatcher sees in a model, where it sees others than `dissect`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from transformer_spectrum.weights.anatomy.families import path_of
from transformer_spectrum.weights.anatomy.parts import Part


def layers(parts: Sequence[Part]) -> list[Part]:
    """Its layers: what is cut into rows here is one matrix there, if its name ends in "weight", as it asks.

    So fused queries, keys and values stay whole. What it does not take at all, such as the gates of an LSTM, stays as
    it is here.
    """
    wholes: dict[str, Part] = {}
    for part in parts:
        if part.cut is None or part.index or not part.tensor.endswith(".weight"):
            wholes[part.name] = part
            continue
        rows, columns = part.shape
        if part.tensor in wholes:
            rows += wholes[part.tensor].shape[0]
        note = "transposed" if part.transposed else ""
        name, shape = path_of(part.tensor), (rows, columns)
        wholes[part.tensor] = replace(part, name=name, family="fused", shape=shape, cut=None, note=note)
    return list(wholes.values())
