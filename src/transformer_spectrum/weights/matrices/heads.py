"""Attention heads as matrices of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from transformer_spectrum.weights.matrices.matrix import MatrixSpec

PROJECTIONS = ("query", "key", "value")
ATTENTION = "attention"


def head_specs(specs: Sequence[MatrixSpec], heads: int) -> list[MatrixSpec]:
    """Query, key and value projections of attention, cut into the rows of one head each.

    Head h of a projection of r rows makes its features from the rows h r / heads to (h + 1) r / heads, as
    `models.transformer` splits them. The columns of the output projection are not cut: a spec holds rows.

    Args:
        specs: matrices of a model; families that end in "attention" and names that end in ".query", ".key" or
            ".value" are cut, all others left out.
        heads: of each attention; count, >= 1.
    Returns:
        For each of those, in their order, `heads` specs "<name>.head_<h>" of family "<family>_head" and shape
        (r / heads, columns).
    Raises:
        ValueError: heads < 1, or heads do not divide the rows of a projection; the matrix is named.
    """
    if heads < 1:
        raise ValueError(f"heads = {heads}: must be >= 1")
    found = []
    for spec in specs:
        if not spec.family.endswith(ATTENTION) or spec.name.rpartition(".")[2] not in PROJECTIONS:
            continue
        rows, columns = spec.shape
        if rows % heads:
            raise ValueError(f"heads = {heads} with {rows} rows of {spec.name}: must divide them")
        size = rows // heads
        first = 0 if spec.rows is None else spec.rows[0]
        for head in range(heads):
            start = first + head * size
            found.append(
                replace(
                    spec,
                    name=f"{spec.name}.head_{head}",
                    family=f"{spec.family}_head",
                    rows=(start, start + size),
                    shape=(size, columns),
                )
            )
    return found
