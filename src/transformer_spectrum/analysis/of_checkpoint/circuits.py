"""The attention circuits of a checkpoint: per head the products that no basis changes, where the layout is certain."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from transformer_spectrum.spectra.circuits import CircuitMetrics, circuit_metrics, circuit_spectra
from transformer_spectrum.spectra.forecaster_circuits import KINDS
from transformer_spectrum.weights.anatomy.dissection import Skipped
from transformer_spectrum.weights.anatomy.fused import heads_of, sections
from transformer_spectrum.weights.matrices.attentions import Attention, attentions
from transformer_spectrum.weights.matrices.matrix import Matrix

NO_HEADS = "config.json does not say how many heads it has: give --heads"
NORMED = "queries or keys are normed between the projection and the product, which then is not what acts"
_INNER_NORM = re.compile(r"(?:^|[._/])(?:q|k|query|key)_?(?:layer_?)?(?:norm|ln)(?:[._/]|$)", re.IGNORECASE)


@dataclass(frozen=True)
class AttentionCircuits:
    """All heads of one attention and one kind of product.

    Attributes:
        attention: name of the attention.
        kind: one of KINDS.
        key_heads: heads of keys and values, which serve heads / key_heads query heads each.
        singular_values: (heads, r) descending, units of W squared.
        metrics: spectral entropy and stable rank of each head, with reasons.
    """

    attention: str
    kind: str
    key_heads: int
    singular_values: np.ndarray
    metrics: CircuitMetrics


def checkpoint_circuits(
    matrices: Sequence[Matrix],
    read: Callable[[str], Tensor],
    names: Collection[str],
    config: Mapping[str, Any],
    heads: int | None = None,
) -> tuple[list[AttentionCircuits], list[Skipped]]:
    """Circuits of every attention whose matrices, heads and widths leave no doubt, one attention in memory at a time.

    The products are of the projections as they are; gains of norms are not folded in, since names do not say which norm
    a foreign layer reads. With rotary positions the query-key product is the one at distance 0.

    Args:
        matrices: of the checkpoint, see `dissection.dissect`.
        read: name of a tensor -> its entries.
        names: of all tensors, which tell whether queries and keys are normed.
        config: config.json; empty where there is none.
        heads: of the queries; count; None: what config.json says.
    Returns:
        Two entries an attention, and the query matrices that have no circuit, with the reason.

    >>> import torch
    >>> from transformer_spectrum.weights.anatomy.dissection import dissect
    >>> stored = {f"layers.0.self_attn.{name}_proj.weight": torch.eye(4) for name in "qkvo"}
    >>> matrices = dissect({name: (4, 4) for name in stored}, {}).matrices
    >>> results, skipped = checkpoint_circuits(matrices, stored.__getitem__, stored, {}, heads=2)
    >>> [(result.kind, result.singular_values.shape) for result in results]
    [('query_key', (2, 2)), ('output_value', (2, 2))]
    """
    complete, reasons = attentions(matrices)
    by_name = {matrix.name: matrix for matrix in matrices}
    skipped = [Skipped(name, by_name[name].shape, reason) for name, reason in reasons.items()]
    results = []
    for attention in complete:
        counts = _heads(attention, config, heads)
        reason = NORMED if _normed(attention, names) else NO_HEADS if counts is None else ""
        if counts is not None and not reason:
            try:
                query, key, value, output = (matrix.within(read(matrix.tensor)) for matrix in attention.factors)
                spectra = circuit_spectra(query, key, value, output, *counts)
            except ValueError as error:
                reason = str(error)
            else:
                results += [
                    AttentionCircuits(attention.name, kind, counts[1], values, circuit_metrics(values))
                    for kind, values in zip(KINDS, spectra, strict=True)
                ]
        if reason:
            skipped.append(Skipped(attention.query.name, attention.query.shape, reason))
    return results, skipped


def _heads(attention: Attention, config: Mapping[str, Any], heads: int | None) -> tuple[int, int] | None:
    """Heads of queries, and of keys and values; None where several or no sections of the configuration fit."""
    stated = {(each.queries, each.keys, each.width) for each in map(heads_of, sections(config)) if each is not None}
    rows = attention.query.shape[0], attention.key.shape[0]
    fitting = {
        (queries, keys)
        for queries, keys, width in stated
        if rows == (queries * width, keys * width) and heads in (None, queries)
    }
    if fitting:
        return fitting.pop() if len(fitting) == 1 else None
    return (heads, heads) if heads is not None and not stated and rows[0] == rows[1] else None


def _normed(attention: Attention, names: Collection[str]) -> bool:
    return any(
        name.startswith(f"{attention.name}.") and _INNER_NORM.search(name[len(attention.name) :]) for name in names
    )
