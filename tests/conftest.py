"""What tests of several folders need."""

import os
import signal
from pathlib import Path

import pytest
import shape_checker
from clones import copy_of_finished, finished, new_clone, pipeline, reproduced  # noqa: F401
from nursery import nursery  # noqa: F401

pytest_plugins = ("browser",)  # tests/browser.py: pages in a headless Chromium

VARIABLE = "TRANSFORMER_SPECTRUM_MIRROR"
SNAPSHOTS = Path(os.environ.get(VARIABLE) or Path(__file__).resolve().parents[2] / "shared" / "data")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background job: its children would ignore it too
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, those with slow tests and those beside this one: processes that share them end together."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path not in slow, item.path.parent != Path(__file__).parent))


def pytest_runtest_setup() -> None:
    """Types and shapes are checked anew in every test."""
    shape_checker.calls.clear()


@pytest.fixture(scope="session")
def snapshots() -> Path:
    """Folder of the real snapshots, which must not be in the repository: their owners' terms, and their size.

    Where they are, as in CI, nothing is skipped.
    """
    if not (SNAPSHOTS / "owid_jhu_new_cases.csv").is_file():
        pytest.skip(f"no snapshots of the real data: set {VARIABLE} to their folder")
    return SNAPSHOTS
