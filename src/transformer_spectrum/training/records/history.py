"""What one training leaves behind for analysis: per step the losses, the budget and every spectrum."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from transformer_spectrum.runtime.errors import InputError, quoted
from transformer_spectrum.runtime.files import read_arrays, write_arrays

FIELDS = (
    "names",
    "families",
    "shapes",
    "steps",
    "rounds",
    "evaluations",
    "loss",
    "validation_loss",
    "validation_mae",
    "residual_mad",
    "influence_cosine",
    "distance",
    "distances",
    "singular_values",
    "change_singular_values",
    "best_step",
)
OPTIONAL = ("step_singular_values",)


MATRIX_FIELDS = {
    "singular_values": "singular values",
    "change_singular_values": "singular values of the changes",
    "step_singular_values": "singular values of the steps",
    "distances": "distances",
}
"""Those with a row for each step and matrix -> their words."""


@dataclass(frozen=True)
class History:
    """One training, S recorded steps of M weight matrices whose largest rank is R.

    Attributes:
        names: (M,) matrix names, such as "encoder.0.self_attention.query".
        families: (M,) what each matrix is for, such as "encoder_self_attention".
        shapes: (M, 2) rows and columns.
        steps: (S,) updates done, ascending from 0, the initial weights; of a population method generations.
        rounds: (S,) whole epochs or generations done; 0 for the records inside the first epoch as well.
        evaluations: (S,) forward passes over a batch spent so far (the budget axis).
        loss: (S,) training loss as the searcher states it: on the step's batch, or, of a gradient method, the mean
            over the batches since the record before.
        validation_loss: (S,) teacher-forced loss on the validation split.
        validation_mae: (S,) teacher-forced mean absolute error there, scaled units: the same under every loss.
        residual_mad: (S,) median absolute residual there, scaled units.
        influence_cosine: (S,) between the loss's influence and that of MSE on these residuals, in [-1, 1]; near 1 the
            loss pulls as MSE does.
        distance: (S,) Euclidean distance of all weights from the initial ones.
        distances: (S, M) float32, of each matrix in units of its initial norm: ||W_t - W_0||_F / ||W_0||_F; NaN for
            a matrix that starts as zero, which gives no unit.
        singular_values: (S, M, R) descending, float32; padded with NaN behind min(rows, columns).
        change_singular_values: (S, M, R) the same of the change W_t - W_0; zeros at step 0.
        best_step: the step with the lowest validation MAE (loss, where training.select says so), whose weights are
            scored on the test split.
        seconds: (S,) wall seconds since training began; not among what `save` writes, which is the same whenever
            the training is repeated. None when not asked for.
        step_singular_values: (S, M, R) those of the step from the record before, at the steps whose weights are kept,
            NaN elsewhere; None without training.step_spectra.
    """

    names: np.ndarray
    families: np.ndarray
    shapes: np.ndarray
    steps: np.ndarray
    rounds: np.ndarray
    evaluations: np.ndarray
    loss: np.ndarray
    validation_loss: np.ndarray
    validation_mae: np.ndarray
    residual_mad: np.ndarray
    influence_cosine: np.ndarray
    distance: np.ndarray
    distances: np.ndarray
    singular_values: np.ndarray
    change_singular_values: np.ndarray
    best_step: int
    seconds: np.ndarray | None = None
    step_singular_values: np.ndarray | None = None

    def __repr__(self) -> str:
        steps = f"{len(self.steps)} steps from {self.steps[0]} to {self.steps[-1]}" if len(self.steps) else "no steps"
        return f"History({steps} of {len(self.names)} matrices, best step {self.best_step})"

    def save(self, path: str | Path) -> None:
        """Writes an .npz atomically, without `seconds`."""
        names = [*FIELDS, *(name for name in OPTIONAL if getattr(self, name) is not None)]
        write_arrays(path, {name: np.asarray(getattr(self, name)) for name in names})

    @classmethod
    def load(cls, path: str | Path, seconds: str | Path | None = None) -> History:
        """Reads what `save` wrote.

        Args:
            path: the .npz.
            seconds: the curve of wall seconds that DVCLive has kept of the same training, such as
                metrics/adam/plots/metrics/seconds.tsv; None = without.
        Raises:
            InputError: a file is missing, corrupt, of another kind, or of another training.
        """
        arrays = read_arrays(path, FIELDS, optional=OPTIONAL)
        steps, matrices = len(arrays["steps"]), len(arrays["names"])
        for name, words in MATRIX_FIELDS.items():
            if name in arrays and arrays[name].shape[:2] != (steps, matrices):
                raise InputError(f"{path}: {steps} steps of {matrices} matrices do not match the {words}")
        clock = None if seconds is None else _read_curve(seconds, arrays["steps"])
        best_step = arrays.pop("best_step")
        if best_step.size != 1 or best_step.item() not in arrays["steps"]:
            raise InputError(f"{path}: best_step = {quoted(best_step.tolist())}: must be one of the recorded steps")
        return cls(**arrays, best_step=int(best_step.item()), seconds=clock)

    def spectrum(self, step: int, matrix: int) -> np.ndarray:
        """Singular values (r,), descending, of one matrix at the recorded position `step`.

        >>> names, zeros = np.array(["head"]), np.zeros(1)
        >>> values = np.array([[[3, 1, np.nan]]], np.float32)
        >>> curves = dict.fromkeys(["evaluations", "loss", "validation_loss", "validation_mae", "distance"], zeros)
        >>> curves |= dict.fromkeys(["rounds", "residual_mad", "influence_cosine"], zeros)
        >>> spectra = {"singular_values": values, "change_singular_values": 0 * values, "distances": zeros[None]}
        >>> history = History(names, names, np.array([[2, 5]]), np.array([0]), **curves, **spectra, best_step=0)
        >>> history
        History(1 steps from 0 to 0 of 1 matrices, best step 0)
        >>> history.spectrum(0, 0)
        array([3., 1.], dtype=float32)
        """
        rank = int(self.shapes[matrix].min())
        return self.singular_values[step, matrix, :rank]


def _read_curve(path: str | Path, steps: np.ndarray) -> np.ndarray:
    """(S,) the second column of a DVCLive table whose first is `steps`."""
    try:
        table = np.loadtxt(path, skiprows=1, ndmin=2)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run the stage that writes it (dvc repro)") from None
    except ValueError as error:
        raise InputError(f"{path}: not a table of step and value ({error}); run its stage again") from None
    if table.shape != (len(steps), 2) or (table[:, 0] != steps).any():
        raise InputError(f"{path}: other steps than the history's; it is of another training, so run dvc repro")
    return table[:, 1]
