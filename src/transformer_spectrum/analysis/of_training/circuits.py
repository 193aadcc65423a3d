"""Circuits of the attention heads at the tracked steps, beside their null."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from transformer_spectrum.spectra.circuits import METRICS, CircuitMetrics, circuit_metrics
from transformer_spectrum.spectra.forecaster_circuits import (
    Circuit,
    forecaster_circuits,
    shuffled_forecaster_circuits,
)
from transformer_spectrum.training.records.snapshots import Snapshots


@dataclass(frozen=True)
class CircuitEvidence:
    """C circuits at one step, each as it is and with the gains of the norms that it reads folded in.

    Attributes:
        circuits: which.
        singular_values: folded or not -> (C, r) of the products, descending.
        observed: folded or not -> metrics (C,).
        null: folded or not -> metrics (D, C) of products of W_0 plus shuffled changes.
    """

    circuits: tuple[Circuit, ...]
    singular_values: dict[bool, np.ndarray]
    observed: dict[bool, CircuitMetrics]
    null: dict[bool, CircuitMetrics]

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of what each circuit has a value of."""
        return METRICS if self.circuits else ()


def circuits_at(snapshots: Snapshots, step: int, heads: int, draws: int, generator: torch.Generator) -> CircuitEvidence:
    """All circuits of a training at one of its kept steps.

    Args:
        snapshots: matrices and norms.
        step: one of theirs.
        heads: of the attention layers; count.
        draws: of the null; count.
        generator: of its permutations.

    >>> snapshots = Snapshots((0, 5), {"readout": np.zeros((2, 3, 4), np.float32)})
    >>> circuits_at(snapshots, 5, 2, 3, torch.Generator()).circuits  # no attention
    ()
    """
    weights, initial = (named_weights(snapshots, at) for at in (step, snapshots.steps[0]))
    products = forecaster_circuits(weights, heads)
    if not products.circuits:
        return CircuitEvidence((), {}, {}, {})
    null = shuffled_forecaster_circuits(initial, weights, heads, draws, generator)
    values = {False: products.singular_values, True: products.folded}
    draws_of = {False: null.singular_values, True: null.folded}
    return CircuitEvidence(
        products.circuits,
        values,
        {folded: circuit_metrics(spectra) for folded, spectra in values.items()},
        {folded: circuit_metrics(spectra) for folded, spectra in draws_of.items()},
    )


def named_weights(snapshots: Snapshots, step: int) -> dict[str, np.ndarray]:
    """Name of a parameter -> its entries at a kept step.

    >>> list(named_weights(Snapshots((0, 5), {"readout": np.zeros((2, 3, 4), np.float32)}), 5))
    ['readout.weight']
    """
    position = snapshots.steps.index(step)
    tensors = {**snapshots.weights, **snapshots.gains}
    return {f"{name}.weight": stack[position] for name, stack in tensors.items()}
