"""How far the matrices of a family are from their initial ones, taken together."""

from __future__ import annotations

import numpy as np

from transformer_spectrum.training.records.history import History


def relative_distance(history: History, members: np.ndarray) -> np.ndarray:
    """|W_t - W_0| / |W_0| of a family as one vector: sqrt(sum |W_t - W_0|_F^2) / sqrt(sum |W_0|_F^2).

    Of all its entries together, from the recorded singular values: a matrix that starts as zero counts in the
    numerator, where a mean of ratios would leave it out.

    Args:
        history: of the training.
        members: positions of the family's matrices.
    Returns:
        (S,) float64, 0 at step 0; NaN where all of them start as zero, which gives no unit.

    >>> names, zeros, moved = np.array(["a", "b"]), np.zeros(2), np.array([[[0.0], [0.0]], [[3.0], [4.0]]])
    >>> curves = ["rounds", "evaluations", "loss", "validation_loss", "validation_mae", "residual_mad"]
    >>> fields = dict.fromkeys([*curves, "influence_cosine", "distance"], zeros)
    >>> spectra = {"singular_values": np.full((2, 2, 1), 2**0.5), "change_singular_values": moved, "distances": zeros}
    >>> history = History(names, names, np.ones((2, 2)), np.array([0, 1]), **fields, **spectra, best_step=1)
    >>> relative_distance(history, np.array([0, 1]))
    array([0. , 2.5])
    """
    initial, changes = history.singular_values[0, members], history.change_singular_values[:, members]
    norm = np.sqrt(np.nansum(initial.astype(np.float64) ** 2))
    return np.sqrt(np.nansum(changes.astype(np.float64) ** 2, axis=(1, 2))) / (norm or np.nan)
