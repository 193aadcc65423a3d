"""The installed package works without the repository: params.yaml, the schemas and the grids come with it."""

import contextlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from transformer_spectrum.cli.parameters import parameter_table

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_built_wheel_carries_the_defaults_the_schemas_and_the_grids(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "params.yaml", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, source / name)
    for name in ("config", "src", "studies"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        tmp_path,
        source,
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    shutil.rmtree(source)  # nothing may be read from it any more
    packaged = tmp_path / "installed/transformer_spectrum/packaged"
    assert (packaged / "params.yaml").read_bytes() == (ROOT / "params.yaml").read_bytes()

    def printed(*arguments: str) -> str:
        ended = subprocess.run(
            [sys.executable, "-m", "transformer_spectrum.cli", *arguments],
            cwd=packaged.parent,
            env={**os.environ, "PYTHONPATH": str(tmp_path / "installed")},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        return ended.stdout

    config = printed("train", "--lr", "0.5", "--print-config")
    tree = yaml.safe_load(config)
    assert tree["adam"]["learning_rate"] == 0.5
    tree["adam"]["learning_rate"] = yaml.safe_load((ROOT / "params.yaml").read_text())["adam"]["learning_rate"]
    assert tree == yaml.safe_load((ROOT / "params.yaml").read_text())
    assert config.count("# default\n") > 80
    with contextlib.chdir(ROOT):  # whose params.yaml the documentation shows
        assert printed("parameters") == f"{parameter_table()}\n"
    for name in ("covid", "rvr", "synthetic"):
        assert (packaged / f"studies/grids/{name}.yaml").read_bytes() == (
            ROOT / f"studies/grids/{name}.yaml"
        ).read_bytes()
    assert printed("sweep", "rvr", "--dry-run").splitlines()[-1].endswith("seed_1")
