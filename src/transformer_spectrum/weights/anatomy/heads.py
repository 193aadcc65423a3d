"""Attention heads as matrices of their own, cut out of the queries, keys and values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from transformer_spectrum.weights.anatomy.fused import ROLES, heads_of, sections
from transformer_spectrum.weights.anatomy.parts import Part


def heads(parts: Sequence[Part], queries: int, config: Mapping[str, Any]) -> list[Part]:
    """Every attention head of the queries, keys and values as a matrix of its own, width x inputs.

    Args:
        parts: of a whole model.
        queries: heads of the queries; keys and values have fewer where config.json says so.
        config: config.json; empty where there is none.
    Raises:
        ValueError: config.json states other numbers, the rows of a matrix are no multiple of its heads, or there
            are no queries, keys or values.
    """
    stated = [numbers for numbers in map(heads_of, sections(config)) if numbers is not None]
    fitting = [numbers for numbers in stated if numbers.queries == queries]
    if stated and not fitting:
        raise ValueError(f"{queries} heads: config.json says {stated[0].queries}")
    keys = fitting[0].keys if fitting else queries
    single = []
    for part in parts:
        role = part.family.removeprefix("cross_")
        if role not in ROLES:
            continue
        number = queries if role == "query" else keys
        width, rest = divmod(part.shape[0], number)
        if rest:
            raise ValueError(f"{queries} heads: {part.name} has {part.shape[0]} rows, no multiple of {number}")
        whole = replace(part, family=f"{part.family}_head", shape=(width, part.shape[1]))
        single += [
            replace(whole, name=f"{part.name}.head_{i}", head=(i * width, (i + 1) * width)) for i in range(number)
        ]
    if not single:
        raise ValueError(f"{queries} heads: no queries, keys or values found by their names")
    return single
