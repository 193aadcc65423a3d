"""A repository of the smallest study."""

import os
from pathlib import Path

import pytest
from study_protocol import write_claims, write_protocol

from transformer_spectrum.data.fetch.sources import MIRROR_VARIABLE

ROOT = Path(__file__).parents[3]


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A folder with params.yaml, the protocol and two claims, which is the working directory."""
    folder = tmp_path / "repository"
    write_protocol(folder / "studies")
    write_claims(folder / "studies/claims")
    (folder / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    monkeypatch.chdir(folder)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    monkeypatch.delenv(MIRROR_VARIABLE, raising=False)  # CI names one, which has the data that a test takes away
    return folder
