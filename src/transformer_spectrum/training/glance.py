"""A training at a glance: what its curves show of the spectra of the matrices that move most."""

from __future__ import annotations

import numpy as np

from transformer_spectrum.weights.matrices.energy import spectral_entropy, stable_rank


def glance(singular_values: np.ndarray, change_singular_values: np.ndarray) -> dict[str, float]:
    """Means over the matrices that have a value: stable rank and spectral entropy, and stable rank of the change.

    Args:
        singular_values: (m, R) of W_t, padded with NaN.
        change_singular_values: (m, R) of W_t - W_0.
    Returns:
        Name of a curve -> value; without those that no matrix has, as of a change that is zero.

    >>> glance(np.array([[2.0, 2.0]]), np.zeros((1, 2)))
    {'spectral_entropy': 0.6931471805599453, 'stable_rank': 2.0}
    """
    sources = {
        "spectral_entropy": (spectral_entropy, singular_values),
        "stable_rank": (stable_rank, singular_values),
        "change_stable_rank": (stable_rank, change_singular_values),
    }
    values = {}
    for name, (metric, spectra) in sources.items():
        positive = np.nan_to_num(spectra[np.nan_to_num(spectra[:, 0]) > 0])
        if len(positive):
            values[name] = float(np.mean(metric(positive)))
    return values
