"""Every example in a docstring shows what is true."""

import doctest
import importlib
import pkgutil
import shutil
from pathlib import Path

import pytest

import transformer_spectrum

TRAINED = "its examples need trained folders: tests/analysis/test_api.py runs them there"
SKIPPED = {f"transformer_spectrum.analysis.{name}": TRAINED for name in ("api", "loading")}
MODULES = [
    module.name
    for module in pkgutil.walk_packages(transformer_spectrum.__path__, "transformer_spectrum.")
    if not module.name.endswith("__main__")
]


@pytest.mark.parametrize("name", ["transformer_spectrum", *MODULES])
def test_the_examples_show_what_is_true(name, tmp_path, monkeypatch):
    if name in SKIPPED:
        pytest.skip(SKIPPED[name])
    shutil.copy(Path(__file__).parents[1] / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    assert doctest.testmod(importlib.import_module(name)).failed == 0
