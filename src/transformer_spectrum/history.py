"""What one training leaves behind for analysis: per step the losses, the budget and every spectrum."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from transformer_spectrum.errors import InputError
from transformer_spectrum.files import read_arrays, write_arrays

FIELDS = (
    "names",
    "families",
    "shapes",
    "steps",
    "evaluations",
    "loss",
    "validation_loss",
    "distance",
    "singular_values",
    "best_step",
)


@dataclass(frozen=True)
class History:
    """One training, S recorded steps of M weight matrices whose largest rank is R.

    Attributes:
        names: (M,) matrix names, such as "encoder.0.self_attention.query".
        families: (M,) what each matrix is for, such as "encoder_self_attention".
        shapes: (M, 2) rows and columns.
        steps: (S,) ascending from 0, the initial weights.
        evaluations: (S,) forward passes over a batch spent so far (the budget axis).
        loss: (S,) training loss as the searcher states it: on the step's batch, or Adam's mean over the epoch.
        validation_loss: (S,) teacher-forced loss on the validation split.
        distance: (S,) Euclidean distance of all weights from the initial ones.
        singular_values: (S, M, R) descending, float32; padded with NaN behind min(rows, columns).
        best_step: the step with the lowest validation loss, whose weights are scored on the test split.
    """

    names: np.ndarray
    families: np.ndarray
    shapes: np.ndarray
    steps: np.ndarray
    evaluations: np.ndarray
    loss: np.ndarray
    validation_loss: np.ndarray
    distance: np.ndarray
    singular_values: np.ndarray
    best_step: int

    def save(self, path: str | Path) -> None:
        """Writes an .npz atomically."""
        write_arrays(path, {name: np.asarray(getattr(self, name)) for name in FIELDS})

    @classmethod
    def load(cls, path: str | Path) -> History:
        """Reads what `save` wrote.

        Raises:
            InputError: the file is missing, corrupt or of another kind.
        """
        arrays = read_arrays(path, FIELDS)
        steps, matrices = len(arrays["steps"]), len(arrays["names"])
        if arrays["singular_values"].shape[:2] != (steps, matrices):
            raise InputError(f"{path}: {steps} steps of {matrices} matrices do not match the singular values")
        return cls(**{**arrays, "best_step": int(arrays["best_step"])})

    def spectrum(self, step: int, matrix: int) -> np.ndarray:
        """Singular values (r,), descending, of one matrix at the recorded position `step`."""
        rank = int(self.shapes[matrix].min())
        return self.singular_values[step, matrix, :rank]
