"""Attention circuits: per head the products that no change of basis inside the head can alter.

Head h scores a query x against a key y by x^T W_Q,h^T W_K,h y and adds W_O,h W_V,h y to the output. Only these two
d x d products act; W_Q -> A W_Q with W_K -> A^-T W_K, or W_V -> A W_V with W_O -> W_O A^-1, leaves the network as it
is and changes the spectra of all four matrices. A product has at most rank e, the width of a head, so its singular
values are those of an e x e matrix: with reduced QR decompositions L = Q_l R_l and R^T = Q_r R_r,
L R = Q_l (R_l R_r^T) Q_r^T.

Biases are no part of the products. Rotary positions turn queries and keys against each other by their distance: of such
models the query-key product is the one at distance 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from jaxtyping import Float64, Real, Shaped
from torch import Tensor

from transformer_spectrum.spectra import metrics
from transformer_spectrum.spectra.arrangements import shuffled_entries
from transformer_spectrum.spectra.reasons import COMPUTED
from transformer_spectrum.weights.matrices.attentions import FACTORS
from transformer_spectrum.weights.matrices.energy import checked_spectra

Array: TypeAlias = Real[np.ndarray, "..."] | Real[Tensor, "..."]
"""A stack of matrices, outputs x inputs along the last two axes, or gains along the last."""
METRICS = ("spectral_entropy", "stable_rank")
"""Of a circuit's spectrum, beside the spectrum itself: a head's few singular values have no tail and no bulk to fit."""
ZERO_PRODUCT = "zero product"
Factors: TypeAlias = tuple[Array, Array, Array, Array]
"""The projections of attentions, in the order of FACTORS."""


class CircuitSpectra(NamedTuple):
    """Singular values of the circuits of attentions, heads in the last axis but one.

    Attributes:
        query_key: (..., heads, r) of W_Q,h^T W_K,h, descending; units of W squared; r the smallest of the width of a
            head and of the two inputs.
        output_value: (..., heads, r) of W_O,h W_V,h likewise.
    """

    query_key: Float64[np.ndarray, "*batch heads rank"]
    output_value: Float64[np.ndarray, "*batch heads value_rank"]


class CircuitMetrics(NamedTuple):
    """What circuits' spectra have, each (...).

    Attributes:
        values: name in METRICS -> value, NaN where there is a reason.
        reason: why there are none, or empty text.
    """

    values: Mapping[str, Float64[np.ndarray, "*batch"]]
    reason: Shaped[np.ndarray, "*batch"]


def product_singular_values(left: Tensor, right: Tensor) -> Tensor:
    """Singular values of left @ right from its factors, without forming it.

    Args:
        left: (..., rows, inner), any units.
        right: (..., inner, columns).
    Returns:
        (..., min(rows, inner, columns)) descending, >= 0.

    >>> product_singular_values(torch.tensor([[3.0], [4.0]]), torch.tensor([[0.0, 2.0]])).round(decimals=4)
    tensor([10.])
    """
    cores = torch.linalg.qr(left, mode="r").R, torch.linalg.qr(right.mH, mode="r").R
    return torch.linalg.svdvals(cores[0] @ cores[1].mH)[..., : min(*left.shape[-2:], right.shape[-1])]


def circuit_spectra(
    query: Array,
    key: Array,
    value: Array,
    output: Array,
    heads: int,
    key_heads: int | None = None,
    *,
    query_gain: Array | None = None,
    key_gain: Array | None = None,
) -> CircuitSpectra:
    """Spectra of W_Q,h^T W_K,h and W_O,h W_V,h for every head h, of one attention or a stack of them.

    Head h makes its query from the rows h e to (h + 1) e - 1 of the query projection and writes through the columns
    h v to (h + 1) v - 1 of the output projection. With fewer heads of keys and values (grouped queries) each serves
    heads / key_heads neighbouring query heads, whose circuits share W_K and W_V.

    Args:
        query: (..., heads e, inputs), outputs x inputs.
        key: (..., key_heads e, key inputs).
        value: (..., key_heads v, key inputs).
        output: (..., outputs, heads v).
        heads: of queries; count, >= 1.
        key_heads: of keys and values; count, divides heads; None: as many as of queries.
        query_gain: (..., inputs) of the norm that the query projection reads, to be folded in: W_Q diag(g).
        key_gain: (..., key inputs) of the norm that the key and value projections read: W_K diag(g), W_V diag(g).
    Returns:
        See `CircuitSpectra`; without gains unchanged by any change of basis inside a head.
    Raises:
        ValueError: heads, key_heads, widths of heads or inputs that do not fit each other, or an entry that is not
            finite.

    >>> query, key = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[0.0, 3.0], [1.0, 0.0]])
    >>> circuit_spectra(query, key, torch.eye(2), torch.eye(2), heads=2).query_key.round(6)  # one value a head
    array([[3.],
           [2.]])
    """
    key_heads = heads if key_heads is None else key_heads
    q, k, v, o = _doubles(query, key, value, output)
    _check_heads(q, k, v, o, heads, key_heads)
    if query_gain is not None:
        q = q * _gain(query_gain, "query_gain", q)
    if key_gain is not None:
        gain = _gain(key_gain, "key_gain", k)
        k, v = k * gain, v * gain
    q, o = q.unflatten(-2, (heads, -1)), o.unflatten(-1, (heads, -1)).movedim(-2, -3)
    k, v = (x.unflatten(-2, (key_heads, -1)).repeat_interleave(heads // key_heads, dim=-3) for x in (k, v))
    return CircuitSpectra(product_singular_values(q.mT, k).numpy(), product_singular_values(o, v).numpy())


def shuffled_change_factors(initial: Factors, current: Factors, generator: torch.Generator) -> Factors:
    """One draw of the null of trained circuits: each factor is W_0 plus its change with shuffled entries.

    Args:
        initial: query, key, value and output at the start, each (m, rows, columns), of m attentions.
        current: the same after training.
        generator: of the permutations, on the CPU: of the queries first, then of the keys, values and outputs.
    Returns:
        As `current`, float64; for `circuit_spectra`.
    Raises:
        ValueError: not three axes, shapes that changed, or an entry that is not finite.

    >>> weights = tuple(torch.eye(2)[None] for _ in range(4))
    >>> shuffled_change_factors(weights, weights, torch.Generator())[0].tolist()  # nothing changed
    [[[1.0, 0.0], [0.0, 1.0]]]
    """
    starts, ends = _doubles(*initial), _doubles(*current)
    for name, start, end in zip(FACTORS, starts, ends, strict=True):
        if start.ndim != 3 or start.shape != end.shape:
            raise ValueError(
                f"{name} of shape {tuple(start.shape)}, then {tuple(end.shape)}: must be (m, rows, columns)"
            )
    query, key, value, output = (
        start + shuffled_entries(end - start, generator) for start, end in zip(starts, ends, strict=True)
    )
    return query, key, value, output


def circuit_metrics(singular_values: Real[np.ndarray, "*batch rank"]) -> CircuitMetrics:
    """Spectral entropy and stable rank of circuits.

    Args:
        singular_values: (..., r) of products, as `circuit_spectra` gives them.

    >>> result = circuit_metrics(np.array([[2.0, 2.0], [0.0, 0.0]]))
    >>> result.values["stable_rank"], result.reason.tolist()
    (array([ 2., nan]), ['', 'zero product'])
    """
    singular_values = checked_spectra(singular_values)
    positive = singular_values.max(axis=-1) > 0
    functions: tuple[Callable[[np.ndarray], np.ndarray], ...] = (metrics.spectral_entropy, metrics.stable_rank)
    values = {}
    for name, function in zip(METRICS, functions, strict=True):
        values[name] = np.full(positive.shape, np.nan)
        values[name][positive] = function(singular_values[positive])
    return CircuitMetrics(values, np.where(positive, COMPUTED, ZERO_PRODUCT))


def _doubles(*factors: Array) -> tuple[Tensor, ...]:
    """In double precision on the CPU; of FACTORS, in their order."""
    stacks = []
    for name, factor in zip(FACTORS, factors, strict=True):
        stack = torch.as_tensor(factor).detach().cpu().double()
        if stack.ndim < 2 or not stack.numel():
            raise ValueError(f"{name} of shape {tuple(stack.shape)}: must be (..., rows, columns), none of them 0")
        if not torch.isfinite(stack).all():
            raise ValueError(f"{name}: must be finite")
        stacks.append(stack)
    return tuple(stacks)


def _check_heads(q: Tensor, k: Tensor, v: Tensor, o: Tensor, heads: int, key_heads: int) -> None:
    if heads < 1 or key_heads < 1 or heads % key_heads:
        raise ValueError(f"heads = {heads}, key_heads = {key_heads}: both >= 1, and the second must divide the first")
    for name, length, count in (
        ("query has rows", q.shape[-2], heads),
        ("key has rows", k.shape[-2], key_heads),
        ("value has rows", v.shape[-2], key_heads),
        ("output has columns", o.shape[-1], heads),
    ):
        if length % count:
            raise ValueError(f"{name} = {length} with {count} heads: must be a multiple")
    if q.shape[-2] // heads != k.shape[-2] // key_heads:
        raise ValueError(f"heads of {q.shape[-2] // heads} queries and {k.shape[-2] // key_heads} keys: must be equal")
    if o.shape[-1] // heads != v.shape[-2] // key_heads:
        raise ValueError(
            f"heads of {v.shape[-2] // key_heads} values and {o.shape[-1] // heads} outputs: must be equal"
        )
    if k.shape[-1] != v.shape[-1]:
        raise ValueError(f"key of {k.shape[-1]} inputs and value of {v.shape[-1]}: must be equal")


def _gain(gain: Array, name: str, matrices: Tensor) -> Tensor:
    """As (..., 1, inputs), one factor a column."""
    factors = torch.as_tensor(gain).detach().cpu().double()
    if factors.ndim < 1 or factors.shape[-1] != matrices.shape[-1]:
        raise ValueError(f"{name} of shape {tuple(factors.shape)} for {matrices.shape[-1]} inputs: must be as many")
    if not torch.isfinite(factors).all():
        raise ValueError(f"{name}: must be finite")
    return factors[..., None, :]
