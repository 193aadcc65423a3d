"""The scripts in .ci/, which belong to no package, as modules."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


def script(name: str) -> ModuleType:
    """The module .ci/NAME.py under a name that no other module has."""
    spec = importlib.util.spec_from_file_location(f"ci_{name}", ROOT / ".ci" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def report() -> ModuleType:
    return script("report")


@pytest.fixture(scope="session")
def image_check() -> ModuleType:
    return script("image_check")
