"""Circuits of this project's transformer, by the names of its parameters.

Its layers are post-norm, see `models.transformer`: a norm comes after each residual sum, so that what a projection
reads has the gain of the norm before it.

- Self-attention reads the sum that the layer before has normed last (`feed_norm`); in the first layer the embedding,
  which has no norm.
- The queries of cross-attention read the decoder layer's own `self_norm`, its keys and values the encoder's output,
  which `encoder_norm` has normed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from transformer_spectrum.spectra.circuits import CircuitSpectra, circuit_spectra, shuffled_change_factors
from transformer_spectrum.weights.matrices.attentions import FACTORS

Weights = Mapping[str, np.ndarray] | Mapping[str, Tensor]
"""Name of a parameter -> its entries."""
KINDS = ("query_key", "output_value")
_ATTENTION = re.compile(
    r"(?P<side>encoder|decoder)\.(?P<layer>\d+)\.(?P<attention>self|cross)_attention\.query\.weight"
)


@dataclass(frozen=True)
class Circuit:
    """One head's product.

    Attributes:
        attention: it belongs to: "decoder.1.cross_attention".
        block: one of `families.BLOCKS`: "decoder_cross_attention".
        kind: one of KINDS.
        head: counted from 0.
    """

    attention: str
    block: str
    kind: str
    head: int

    @property
    def name(self) -> str:
        """Among all circuits of the model.

        >>> Circuit("encoder.0.self_attention", "encoder_self_attention", "query_key", 2).name
        'encoder.0.self_attention.query_key.head_2'
        """
        return f"{self.attention}.{self.kind}.head_{self.head}"

    @property
    def family(self) -> str:
        """Circuits that may be averaged: of one block and one kind.

        >>> Circuit("encoder.0.self_attention", "encoder_self_attention", "query_key", 2).family
        'encoder_self_attention_query_key'
        """
        return f"{self.block}_{self.kind}"


@dataclass(frozen=True)
class ForecasterCircuits:
    """Spectra of all circuits of a model, C of them.

    Attributes:
        circuits: attention by attention, of each the query-key and then the output-value products, head by head.
        singular_values: (..., C, r) of the products of the weights as they are, descending; the primary ones.
        folded: (..., C, r) with the gains of the norms that are read folded in; equal to those above where no norm is
            read.
    """

    circuits: tuple[Circuit, ...]
    singular_values: Float64[np.ndarray, "*draws circuits rank"]
    folded: Float64[np.ndarray, "*draws circuits rank"]


@dataclass(frozen=True)
class NormsRead:
    """Names of the norms that an attention's inputs come from; None where these are not normed."""

    query: str | None
    key: str | None


def norms_read(attention: str) -> NormsRead:
    """Which norms the queries, and the keys and values, of an attention read.

    Args:
        attention: its name, such as "decoder.1.cross_attention".
    Raises:
        ValueError: no attention of the forecaster has this name.

    >>> norms_read("encoder.0.self_attention")
    NormsRead(query=None, key=None)
    >>> norms_read("decoder.1.cross_attention")
    NormsRead(query='decoder.1.self_norm', key='encoder_norm')
    """
    match = _ATTENTION.fullmatch(f"{attention}.query.weight")
    if match is None:
        raise ValueError(f"{attention}: no attention of the forecaster")
    side, layer = match["side"], int(match["layer"])
    if match["attention"] == "cross":
        return NormsRead(f"{side}.{layer}.self_norm", "encoder_norm")
    before = f"{side}.{layer - 1}.feed_norm" if layer else None
    return NormsRead(before, before)


def attentions_of(weights: Weights) -> tuple[str, ...]:
    """Names of the attentions, in the order of the parameters.

    Args:
        weights: of a transformer of this project; of any other model there is none.

    >>> attentions_of({"encoder.0.self_attention.query.weight": np.eye(2), "readout.weight": np.eye(2)})
    ('encoder.0.self_attention',)
    """
    return tuple(name.removesuffix(".query.weight") for name in weights if _ATTENTION.fullmatch(name))


def forecaster_circuits(weights: Weights, heads: int) -> ForecasterCircuits:
    """Spectra of the circuits of a transformer, as they are and with gains folded in.

    Args:
        weights: all matrices of its attentions and the weights of its norms, by name.
        heads: of each attention; count.
    Returns:
        See `ForecasterCircuits`, without leading axes; no circuits of a model without attention, such as an LSTM.
    Raises:
        ValueError: heads that do not divide a projection, or an entry that is not finite.
        KeyError: a norm's gain is missing.

    >>> projections = {f"encoder.0.self_attention.{name}.weight": torch.eye(4) for name in FACTORS}
    >>> result = forecaster_circuits(projections, heads=2)
    >>> [circuit.name for circuit in result.circuits][1:3], result.singular_values.shape
    (['encoder.0.self_attention.query_key.head_1', 'encoder.0.self_attention.output_value.head_0'], (4, 2))
    """
    names = attentions_of(weights)
    if not names:
        return ForecasterCircuits((), np.empty((0, 0)), np.empty((0, 0)))
    factors, gains = _factors(weights, names), _gains(weights, names)
    plain = circuit_spectra(*factors, heads)
    folded = circuit_spectra(*factors, heads, query_gain=gains[0], key_gain=gains[1])
    return ForecasterCircuits(_circuits(names, heads), _joined(plain), _joined(folded))


def shuffled_forecaster_circuits(
    initial: Weights, weights: Weights, heads: int, draws: int, generator: torch.Generator
) -> ForecasterCircuits:
    """The null of `forecaster_circuits`: each factor is W_0 plus its change with shuffled entries.

    The gains that are folded in are those of the trained model in every draw; as they are and folded, the same draws.

    Args:
        initial: W_0, as `weights`; gains are not asked of it.
        weights: of the trained model.
        heads: of each attention; count.
        draws: count, >= 1.
        generator: of the permutations, on the CPU.
    Returns:
        As `forecaster_circuits`, with a leading axis of draws.
    Raises:
        ValueError: as `forecaster_circuits`, shapes that changed, or draws < 1.
        KeyError: a norm's gain is missing.

    >>> projections = {f"encoder.0.self_attention.{name}.weight": torch.eye(4) for name in FACTORS}
    >>> shuffled_forecaster_circuits(projections, projections, 2, 3, torch.Generator()).folded.shape
    (3, 4, 2)
    """
    if draws < 1:
        raise ValueError(f"draws = {draws}: must be >= 1")
    names = attentions_of(weights)
    if not names:
        return ForecasterCircuits((), np.empty((draws, 0, 0)), np.empty((draws, 0, 0)))
    start, end, gains = _factors(initial, names), _factors(weights, names), _gains(weights, names)
    plain, folded = [], []
    for _ in range(draws):
        drawn = shuffled_change_factors(start, end, generator)
        plain.append(_joined(circuit_spectra(*drawn, heads)))
        folded.append(_joined(circuit_spectra(*drawn, heads, query_gain=gains[0], key_gain=gains[1])))
    return ForecasterCircuits(_circuits(names, heads), np.stack(plain), np.stack(folded))


def _factors(weights: Weights, names: tuple[str, ...]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Queries, keys, values and outputs, each (attentions, rows, columns)."""
    query, key, value, output = (
        torch.stack([torch.as_tensor(weights[f"{name}.{projection}.weight"]).detach() for name in names])
        for projection in FACTORS
    )
    return query, key, value, output


def _gains(weights: Weights, names: tuple[str, ...]) -> tuple[Tensor, Tensor]:
    """Of what queries, and keys and values, read, each (attentions, inputs); 1 where no norm is read."""
    gains = []
    for side in ("query", "key"):
        norms = [getattr(norms_read(name), side) for name in names]
        inputs = weights[f"{names[0]}.{side}.weight"].shape[-1]
        ones = torch.ones(inputs)
        gains.append(
            torch.stack(
                [ones if norm is None else torch.as_tensor(weights[f"{norm}.weight"]).detach().cpu() for norm in norms]
            )
        )
    return gains[0], gains[1]


def _circuits(names: tuple[str, ...], heads: int) -> tuple[Circuit, ...]:
    blocks = [re.sub(r"\.\d+\.", "_", name) for name in names]
    return tuple(
        Circuit(name, block, kind, head)
        for name, block in zip(names, blocks, strict=True)
        for kind in KINDS
        for head in range(heads)
    )


def _joined(spectra: CircuitSpectra) -> np.ndarray:
    """(..., attentions, heads, r) of both kinds as (..., C, r)."""
    values = np.stack(spectra, axis=-3)
    return values.reshape(*values.shape[:-4], -1, values.shape[-1])
