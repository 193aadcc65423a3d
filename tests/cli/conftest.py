"""One run for all tests of commands."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pooch
import pytest
from quick_pictures import draw_quickly
from small_runs import SMALL, write_data

from transformer_spectrum.cli.main import main
from transformer_spectrum.data.fetch.standin import simulate_covid, simulate_rvr
from transformer_spectrum.data.series import covid, rvr


@pytest.fixture(autouse=True)
def quick_pictures() -> Iterator[pytest.MonkeyPatch]:
    """Undone by a test that looks at one."""
    with pytest.MonkeyPatch.context() as patch:
        draw_quickly(patch.setattr)
        yield patch


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch) -> None:
    """Between tries of a download."""
    monkeypatch.setattr(pooch.core, "time", SimpleNamespace(sleep=lambda seconds: None))


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Path:
    """The folder of one run by `train`, in runs/first beside data.npy."""
    folder = tmp_path_factory.mktemp("trained")
    data = write_data(folder / "data.npy")
    options = (*SMALL, "--epochs", "2", "-n", "first", "--runs", str(folder / "runs"))
    with pytest.MonkeyPatch.context() as patch:
        draw_quickly(patch.setattr)
        main(["train", "-d", str(data), *options])
    (run,) = (folder / "runs" / "first").iterdir()
    return run


@pytest.fixture(scope="session")
def mirror(tmp_path_factory) -> Path:
    """A folder with tables in the two schemas."""
    folder = tmp_path_factory.mktemp("mirror")
    simulate_covid(folder / covid.FILE_NAME, np.random.default_rng(0), countries=["France", "Italy"])
    simulate_rvr(folder / rvr.FILE_NAME, np.random.default_rng(0), regions=rvr.REGIONS)
    return folder


@pytest.fixture
def elsewhere(tmp_path, monkeypatch) -> None:
    """An empty folder to work in, without a mirror."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRANSFORMER_SPECTRUM_MIRROR", raising=False)
