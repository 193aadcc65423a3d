"""Which query, key, value and output matrices make one attention."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from transformer_spectrum.weights.matrices.matrix import Matrix

FACTORS = ("query", "key", "value", "output")
NO_PARTNERS = "no {lacking} beside these queries, by their names"
TWO_PARTNERS = "more than one {lacking} beside these queries, by their names"
SHARED_OUTPUT = "its output matrix serves more than one attention, by its name"
_CROSS = "cross_"


@dataclass(frozen=True)
class Attention:
    """Four matrices, outputs x inputs, that act together.

    Attributes:
        name: what their names begin with in common.
        query, key, value, output: the matrices, whole.
    """

    name: str
    query: Matrix
    key: Matrix
    value: Matrix
    output: Matrix

    @property
    def factors(self) -> tuple[Matrix, Matrix, Matrix, Matrix]:
        """In the order of FACTORS."""
        return self.query, self.key, self.value, self.output


def attentions(matrices: Sequence[Matrix]) -> tuple[list[Attention], dict[str, str]]:
    """The attentions of a model, as far as names leave no doubt.

    A query matrix goes with the key, the value and the output that lie nearest to it: their names begin with the most
    parts of its own, all but the last or, as for "attention.self.query" and "attention.output.dense", the last two, and
    have its numbers. Of each there must be exactly one, across if the queries are.

    Args:
        matrices: of a model; pieces of matrices, such as single heads, are left out.
    Returns:
        The attentions, in the order of their queries, and for every query matrix without one: name -> reason.

    >>> from transformer_spectrum.weights.matrices.families import Family
    >>> roles = {"q": "query", "k": "key", "v": "value", "o": "attention_output"}
    >>> block = [Matrix(f"block.{name}", Family(role), name, (2, 2)) for name, role in roles.items()]
    >>> [attention.name for attention in attentions(block)[0]], attentions(block[:3])[1]
    (['block'], {'block.q': 'no output beside these queries, by their names'})
    """
    whole = [matrix for matrix in matrices if not matrix.family.piece]
    complete, reasons = [], {}
    for query in whole:
        if query.family.projection != "query":
            continue
        partners: list[Matrix] = []
        for factor in FACTORS[1:]:
            candidates = _nearest(query, [matrix for matrix in whole if _role(matrix) == (factor, _role(query)[1])])
            if len(candidates) != 1:
                reasons[query.name] = (TWO_PARTNERS if candidates else NO_PARTNERS).format(lacking=factor)
                break
            partners.append(candidates[0])
        else:
            parts = [_parts(matrix.name) for matrix in (query, *partners)]
            name = ".".join(parts[0][: min(_common(parts[0], names) for names in parts[1:])])
            complete.append(Attention(name, query, *partners))
    serving = [matrix.name for attention in complete for matrix in attention.factors[1:]]
    for attention in complete:
        if any(serving.count(matrix.name) > 1 for matrix in attention.factors[1:]):
            reasons[attention.query.name] = SHARED_OUTPUT
    return [attention for attention in complete if attention.query.name not in reasons], reasons


def _role(matrix: Matrix) -> tuple[str, bool]:
    """Which factor it is, or something else, and whether its attention is across."""
    role = matrix.family.role
    plain = role.removeprefix(_CROSS)
    return ("output" if plain == "attention_output" else plain), plain != role


def _parts(name: str) -> list[str]:
    return re.split(r"[./]", name)


def _common(first: list[str], second: list[str]) -> int:
    """How many leading parts two names share."""
    length = 0
    while length < min(len(first), len(second)) and first[length] == second[length]:
        length += 1
    return length


def _nearest(query: Matrix, candidates: Sequence[Matrix]) -> list[Matrix]:
    """Those with the most leading parts in common with the query, of its folder or the one above it."""
    parts, numbers = _parts(query.name), re.findall(r"\d+", query.name)
    candidates = [matrix for matrix in candidates if re.findall(r"\d+", matrix.name)[: len(numbers)] == numbers]
    shared = [_common(parts, _parts(candidate.name)) for candidate in candidates]
    most = max(shared, default=0)
    if most < max(len(parts) - 2, min(len(parts) - 1, 1)):
        return []
    return [candidate for candidate, length in zip(candidates, shared, strict=True) if length == most]
