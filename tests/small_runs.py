"""The smallest training that the command line can be asked for, and data for it."""

from pathlib import Path

import numpy as np

SMALL = (
    *("--seq-len", "24", "--output-len", "8", "--embed-dim", "8", "--num-heads", "2", "--num-layers", "1"),
    *("--device", "cpu", "--set", "spectra.shuffles=3", "--set", "spectra.bootstrap=0"),
    *("--set", "data.describe.fit_points=200", "--set", "model.feedforward_dim=16"),
)


def write_data(path: Path) -> Path:
    """Forty noisy sines of 60 steps."""
    generator = np.random.default_rng(0)
    np.save(path, np.sin(np.arange(60) / 5) + 0.3 * generator.normal(size=(40, 60)))
    return path
