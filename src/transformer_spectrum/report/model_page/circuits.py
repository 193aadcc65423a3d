"""The circuits of a checkpoint's attention heads as rows of circuits.csv."""

from __future__ import annotations

from collections.abc import Iterator

from transformer_spectrum.analysis.of_checkpoint.results import Examination
from transformer_spectrum.spectra.circuits import METRICS

HEADER = ("attention", "circuit", "head", "key_heads", "spectral_norm", *METRICS, "reason")


def rows(examination: Examination) -> Iterator[tuple[object, ...]]:
    """HEADER for every head of every attention whose layout is certain, then a row with its reason for each other one.

    >>> list(rows(examination))
    []
    """
    for circuit in examination.circuits:
        for head, values in enumerate(circuit.singular_values):
            metrics = (circuit.metrics.values[name][head] for name in METRICS)
            reason = str(circuit.metrics.reason[head])
            numbers = ("" if reason else f"{value:.9g}" for value in (float(values[0]), *metrics))
            yield (circuit.attention, circuit.kind, head, circuit.key_heads, *numbers, reason)
    for skipped in examination.without_circuits:
        yield (skipped.name, *[""] * (len(HEADER) - 2), skipped.reason)
