"""Small data and the smallest training that the command line can be asked for."""

from pathlib import Path

import numpy as np
import pytest

from transformer_spectrum.cli import main

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


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Path:
    """The folder of one run by `train`, in runs/first beside data.npy."""
    folder = tmp_path_factory.mktemp("trained")
    data = write_data(folder / "data.npy")
    main(["train", "-d", str(data), *SMALL, "--epochs", "2", "-n", "first", "--runs", str(folder / "runs")])
    (run,) = (folder / "runs" / "first").iterdir()
    return run
