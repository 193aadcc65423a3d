"""Weights of every matrix at the kept steps of a training: what needs more than singular values reads these."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from transformer_spectrum.runtime.errors import InputError


@dataclass(frozen=True)
class Snapshots:
    """Weights of M matrices at K steps of one training.

    Attributes:
        steps: K steps, ascending from 0.
        weights: matrix name -> (K, rows, columns) float32.
        gains: name of a norm -> (K, inputs) float32, what it multiplies its normed inputs by.
    """

    steps: tuple[int, ...]
    weights: Mapping[str, np.ndarray]
    gains: Mapping[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def load(cls, path: str | Path) -> Snapshots:
        """Reads the snapshots.safetensors of a training; no pickle is involved.

        Raises:
            InputError: the file is missing, corrupt or of another kind.
        """
        path = Path(path)
        if not path.is_file():
            raise InputError(f"{path}: no such file")
        try:
            with safe_open(path, framework="numpy") as file:
                run = json.loads((file.metadata() or {})["run"])
                steps = tuple(int(step) for step in run["steps"])
                stacks = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it is no mapping
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise InputError(f"{path}: not the snapshots of a training: {error}") from None
        for name, stack in stacks.items():
            if stack.ndim not in (2, 3) or len(stack) != len(steps):
                raise InputError(f"{path}: {name} has shape {stack.shape}, and there are {len(steps)} steps")
        weights, gains = ({name: stack for name, stack in stacks.items() if stack.ndim == axes} for axes in (3, 2))
        return cls(steps, weights, gains)

    def at(self, step: int, names: list[str]) -> list[np.ndarray]:
        """The matrices (rows, columns) of these names at one of the steps.

        >>> snapshots = Snapshots((0, 5), {"head": np.array([[[1, 2]], [[3, 4]]], np.float32)})
        >>> snapshots.at(5, ["head"])
        [array([[3., 4.]], dtype=float32)]
        """
        position = self.steps.index(step)
        return [self.weights[name][position] for name in names]
