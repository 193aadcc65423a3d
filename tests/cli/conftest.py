"""One run for all tests of commands."""

from pathlib import Path

import pytest
from small_runs import SMALL, write_data

from transformer_spectrum.cli.main import main


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Path:
    """The folder of one run by `train`, in runs/first beside data.npy."""
    folder = tmp_path_factory.mktemp("trained")
    data = write_data(folder / "data.npy")
    main(["train", "-d", str(data), *SMALL, "--epochs", "2", "-n", "first", "--runs", str(folder / "runs")])
    (run,) = (folder / "runs" / "first").iterdir()
    return run
