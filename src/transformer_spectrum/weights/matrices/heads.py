"""Attention heads as matrices of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from transformer_spectrum.weights.matrices.matrix import Matrix


def heads(matrices: Sequence[Matrix], queries: int, keys: int | None = None) -> list[Matrix]:
    """Query, key and value projections of attention, cut into the rows of one head each.

    Head h of a projection of r rows makes its features from the rows h r / heads to (h + 1) r / heads, as
    `models.transformer` splits them. The columns of the output projection are not cut.

    Args:
        matrices: of a model; those that are no projection, see `Family.projection`, are left out.
        queries: heads of each projection of queries; count, >= 1.
        keys: heads of each projection of keys or values; count, >= 1; None: as many.
    Returns:
        For each projection, in their order, matrices "<name>.head_<h>" of the shape (r / heads, columns).
    Raises:
        ValueError: fewer than one head, or heads that do not divide the rows of a projection; the matrix is named.

    >>> from transformer_spectrum.weights.matrices.families import Family
    >>> query = Matrix("attention.query", Family("query"), "attention.query.weight", (6, 4))
    >>> [(head.name, head.family.label, head.shape) for head in heads([query], 2)]
    [('attention.query.head_0', 'query_head', (3, 4)), ('attention.query.head_1', 'query_head', (3, 4))]
    """
    if queries < 1:
        raise ValueError(f"heads = {queries}: must be >= 1")
    cut: list[Matrix] = []
    for matrix in matrices:
        if not matrix.family.projection:
            continue
        count = queries if matrix.family.projection == "query" or keys is None else keys
        rows, columns = matrix.shape
        width, rest = divmod(rows, count)
        if rest:
            raise ValueError(f"{queries} heads: {matrix.name} has {rows} rows, no multiple of {count}")
        whole = replace(matrix, family=replace(matrix.family, piece="head"), shape=(width, columns))
        cut += [replace(whole, name=f"{matrix.name}.head_{h}", head=(h * width, (h + 1) * width)) for h in range(count)]
    return cut
