"""A copy of this repository in a folder of its own, with the pipeline run once at its smallest scale."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
OUTPUTS = ("data", "models", "metrics", "plots")


def merge(tree: dict, overlay: dict) -> None:
    for key, value in overlay.items():
        if isinstance(value, dict):
            merge(tree[key], value)
        else:
            tree[key] = value


@dataclass(frozen=True)
class Clone:
    """A git and DVC repository with committed smoke-sized parameters."""

    root: Path
    environment: dict[str, str]

    def run(self, *command: str, code: int | None = 0) -> str:
        ended = subprocess.run(
            command, cwd=self.root, env=self.environment, capture_output=True, text=True, check=False, timeout=600
        )
        printed = ended.stdout + ended.stderr
        assert code is None or ended.returncode == code, printed
        return printed

    def stage(self, name: str, code: int | None = 0) -> str:
        """Runs a stage's script without DVC."""
        return self.run(sys.executable, f"stages/{name}.py", code=code)

    def set(self, **values: object) -> None:
        """Changes params.yaml; "__" stands for the dot."""
        path = self.root / "params.yaml"
        tree = yaml.safe_load(path.read_text())
        for name, value in values.items():
            *parts, last = name.split("__")
            block = tree
            for part in parts:
                block = block[part]
            block[last] = value
        path.write_text(yaml.safe_dump(tree, sort_keys=False))

    def restore(self) -> None:
        """Back to the committed parameters and what the first run produced."""
        self.run("git", "checkout", "--quiet", ".")
        self.run("git", "clean", "-fdq", *OUTPUTS)
        self.run("dvc", "checkout", "--quiet", "--force")

    def files(self) -> dict[str, bytes]:
        """Every output of the pipeline."""
        return {
            str(path.relative_to(self.root)): path.read_bytes()
            for folder in OUTPUTS
            for path in sorted((self.root / folder).rglob("*"))
            if path.is_file()
        }


@pytest.fixture(scope="session")
def new_clone(tmp_path_factory) -> Callable[[str], Clone]:
    """Makes a clone with smoke-sized parameters; nothing has run in it yet."""

    def make(name: str) -> Clone:
        root = tmp_path_factory.mktemp(name) / "repository"
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for file in filter(None, listed.split("\0")):
            if (ROOT / file).is_file():
                (root / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / file, root / file)
        tree = yaml.safe_load((root / "params.yaml").read_text())
        merge(tree, yaml.safe_load((root / "overlays/smoke.yaml").read_text()))
        (root / "params.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("DVC", "GIT_"))},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": "src",
            "GIT_AUTHOR_NAME": "a",
            "GIT_AUTHOR_EMAIL": "a@example.org",
            "GIT_COMMITTER_NAME": "a",
            "GIT_COMMITTER_EMAIL": "a@example.org",
        }
        clone = Clone(root, environment)
        clone.run("git", "init", "--quiet", "--initial-branch=main")
        clone.run("git", "add", "--all")
        clone.run("git", "commit", "--quiet", "--message=start")
        return clone

    return make


@pytest.fixture(scope="session")
def reproduced(new_clone) -> Clone:
    """A clone in which `dvc repro` has run once, without network and without a mirror, and was committed."""
    clone = new_clone("pipeline")
    clone.environment.pop("TRANSFORMER_SPECTRUM_MIRROR", None)
    # Upstream must not be asked from a test: these addresses refuse at once.
    clone.set(data__covid__url="http://127.0.0.1:9/cases.csv", data__rvr__url="http://127.0.0.1:9/rvr.csv")
    (clone.root / "first_run.txt").write_text(clone.run("dvc", "repro"))
    clone.run("git", "add", "--all")
    clone.run("git", "commit", "--quiet", "--message=reproduced")
    return clone


@pytest.fixture
def pipeline(reproduced) -> Clone:
    """The reproduced clone; whatever a test changes is undone."""
    reproduced.restore()
    yield reproduced
    reproduced.restore()
