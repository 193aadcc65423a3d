"""The smallest studies: two losses on one small data set, by Adam."""

import os
from pathlib import Path

import pytest
import yaml

from transformer_spectrum.config.load import load_params, read_tree

ROOT = Path(__file__).parents[2]
SMOKE = ROOT / "config/overlays/smoke.yaml"
TINY = {
    "title": "tiny",
    "optimizers": ["adam"],
    "set": {"adam": {"epochs": 2}, "training": {"snapshot_every": 1}, "spectra": {"tracked_every": 1}},
    "datasets": {"narrow": {"data": {"dataset": "synthetic", "synthetic": {"q": 100.0, "series": 30}}}},
    "losses": {"mse": {"loss": {"type": "mse"}}, "sgt_q5": {"loss": {"type": "sgt", "q": 5.0}}},
}


@pytest.fixture
def base():
    """The committed parameters."""
    return load_params(ROOT / "params.yaml")


@pytest.fixture
def smoke():
    """The smallest scale, as an overlay."""
    return read_tree(SMOKE)


@pytest.fixture
def write_grid(tmp_path):
    """Writes a grid file: the tiny one with some keys exchanged."""

    def write(name="tiny", **changes):
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump({**TINY, **changes}, sort_keys=False))
        return path

    return write


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A folder with params.yaml and studies/grids/, in which the command line is called."""
    folder = tmp_path / "repository"
    (folder / "studies/grids").mkdir(parents=True)
    (folder / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    (folder / "config").symlink_to(ROOT / "config")
    (folder / "studies/grids/tiny.yaml").write_text(yaml.safe_dump(TINY, sort_keys=False))
    monkeypatch.chdir(folder)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    return folder
