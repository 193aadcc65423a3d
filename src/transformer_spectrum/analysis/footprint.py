"""What measuring trainings' spectra will take of the memory, before it begins."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open

from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.memory import Footprint, Free, MemoryPart, free_memory

OF_SNAPSHOTS = 4
"""Times the bytes of the kept weights that are held: as read, the file's own pages, and in float64."""
VECTORS = 17
"""Vectors as long as the weights that measuring a step takes: changes, shuffles, products, decompositions."""


def spectra_footprint(models: Mapping[str, Path]) -> Footprint:
    """Memory of the spectra of several trainings, which are read together; benchmarks/RESULTS.md has measured peaks.

    Args:
        models: optimizer -> folder of its training. One without snapshots counts for nothing.

    >>> spectra_footprint({"adam": Path("nowhere")}).size
    0
    """
    parts, weights = {}, 0
    for optimizer, folder in models.items():
        path = folder / "snapshots.safetensors"
        try:
            with safe_open(path, framework="numpy") as file:
                steps = len(json.loads((file.metadata() or {})["run"])["steps"])
        except (SafetensorError, OSError, KeyError, TypeError, ValueError):
            continue  # who reads it says what is wrong
        size = path.stat().st_size
        vector = size / max(1, steps)
        weights = max(weights, round(vector / 4))
        parts[f"weights that {optimizer} has kept"] = MemoryPart(OF_SNAPSHOTS * size, "training.snapshot_every larger")
        parts[f"what is measured of {optimizer}"] = MemoryPart(VECTORS * vector, "the model smaller")
    return Footprint(weights, parts)


def check_spectra_fit(models: Mapping[str, Path], free: Free | None = None) -> None:
    """Meets spectra that the memory cannot hold, before anything is read.

    Args:
        models: see `spectra_footprint`.
        free: memory of the machine; None = what this process may still take.
    Raises:
        InputError: they do not fit; says what to change.

    >>> check_spectra_fit({"adam": Path("nowhere")})
    """
    refusal = spectra_footprint(models).refusal(free or free_memory()) if models else None
    if refusal:
        raise InputError(f"spectra of {', '.join(models)} {refusal}")
