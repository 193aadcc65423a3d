"""Copies of this repository in folders of their own, with the pipeline run once at its smallest scale."""

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from filelock import FileLock
from nursery import Nursery

ROOT = Path(__file__).parents[1]
OUTPUTS = ("data", "models", "metrics", "plots", "report")
BOOKS = (".git", ".dvc")


def merge(tree: dict, overlay: dict) -> None:
    """Puts the leaves of `overlay` into `tree`."""
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
    nursery: Nursery

    def run(self, *command: str, code: int | None = 0) -> str:
        """Runs a command in the clone's root; returns what it prints, standard output first."""
        if command[0] == "dvc":
            return self._checked(*self.nursery.start([*command], self.root, self.environment).wait(), code)
        ended = subprocess.run(
            command, cwd=self.root, env=self.environment, capture_output=True, text=True, check=False, timeout=600
        )
        return self._checked(ended.returncode, ended.stdout + ended.stderr, code)

    def stage(self, name: str, code: int | None = 0, largest_file: int | None = None) -> str:
        """Runs a stage's script without DVC; behind a space the optimizer that it takes."""
        script, *arguments = name.split()
        child = self.nursery.start([f"stages/{script}.py", *arguments], self.root, self.environment, largest_file)
        return self._checked(*child.wait(), code)

    @staticmethod
    def _checked(found: int, printed: str, code: int | None) -> str:
        assert code is None or found == code, printed
        return printed

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

    def tree(self) -> dict[str, bytes]:
        """Every file but git's and DVC's own."""
        found = {}
        for folder, folders, names in os.walk(self.root):
            folders[:] = [name for name in folders if name not in (*BOOKS, "__pycache__")]
            for path in (Path(folder) / name for name in names):
                found[str(path.relative_to(self.root))] = path.read_bytes()
        # DVC's settings and templates are ours; its cache and its bookkeeping are not.
        settings = [self.root / ".dvc/config", *(self.root / ".dvc/plots").rglob("*.*")]
        return found | {str(path.relative_to(self.root)): path.read_bytes() for path in settings}

    def restore(self, pristine: "Clone") -> None:
        """Makes every file what it is in another clone, of which this is a copy."""
        expected, found = pristine.tree(), self.tree()
        for name in found.keys() - expected.keys():
            (self.root / name).unlink()
        for name, content in expected.items():
            if found.get(name) != content:
                (self.root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(pristine.root / name, self.root / name)
        for folder in OUTPUTS:
            for inside, folders, names in os.walk(self.root / folder, topdown=False):
                if not folders and not names and not (pristine.root / Path(inside).relative_to(self.root)).exists():
                    Path(inside).rmdir()

    def files(self) -> dict[str, bytes]:
        """Every output of the pipeline."""
        return {
            str(path.relative_to(self.root)): path.read_bytes()
            for folder in OUTPUTS
            for path in sorted((self.root / folder).rglob("*"))
            if path.is_file()
        }


def variables(nursery: Nursery) -> dict[str, str]:
    """Of a process in a clone: the mirror as it is here, none of git's or DVC's, a quick Python first on PATH."""
    return {
        **{key: value for key, value in os.environ.items() if not key.startswith(("DVC", "GIT_"))},
        "PATH": nursery.on_path(),
        "PYTHONPATH": "src",
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@example.org",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@example.org",
    }


def copy_of_the_tree(root: Path) -> None:
    """Copies what git would commit of this repository, with smoke-sized parameters."""
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
    merge(tree, yaml.safe_load((root / "config/overlays/smoke.yaml").read_text()))
    (root / "params.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))


def make_clone(root: Path, nursery: Nursery) -> Clone:
    """A clone in which nothing has run yet."""
    copy_of_the_tree(root)
    clone = Clone(root, variables(nursery), nursery)
    clone.run("git", "init", "--quiet", "--initial-branch=main")
    clone.run("git", "add", "--all")
    clone.run("git", "commit", "--quiet", "--message=start")
    return clone


@pytest.fixture(scope="session")
def new_clone(tmp_path_factory, nursery) -> Callable[[str], Clone]:
    """Makes a clone with smoke-sized parameters; nothing has run in it yet."""
    return lambda name: make_clone(tmp_path_factory.mktemp(name) / "repository", nursery)


@pytest.fixture(scope="session")
def finished(tmp_path_factory, nursery) -> Clone:
    """A clone in which `dvc repro` has run once, without network and without a mirror, and was committed.

    All test processes share it, so nobody may change it: clone it with git, or ask for `copy_of_finished`.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    root = shared / "finished" / "repository"
    environment = {key: value for key, value in variables(nursery).items() if key != "TRANSFORMER_SPECTRUM_MIRROR"}
    done = shared / "finished" / "done"
    with FileLock(shared / "finished.lock"):
        if not done.exists():
            shutil.rmtree(root, ignore_errors=True)  # another process has failed here
            clone = make_clone(root, nursery)
            # Upstream must not be asked from a test: these addresses refuse at once.
            clone.set(data__covid__url="http://127.0.0.1:9/cases.csv", data__rvr__url="http://127.0.0.1:9/rvr.csv")
            printed = Clone(root, environment, nursery).run("dvc", "repro")
            (root / "first_run.txt").write_text(printed)
            clone.run("git", "add", "--all")
            clone.run("git", "commit", "--quiet", "--message=reproduced")
            done.touch()
    return Clone(root, environment, nursery)


@pytest.fixture(scope="session")
def copy_of_finished(tmp_path_factory, finished) -> Callable[[str], Clone]:
    """Makes a copy of `finished`, git and DVC's cache included, that may be changed at will."""

    def make(name: str) -> Clone:
        root = tmp_path_factory.mktemp(name) / "repository"
        shutil.copytree(finished.root, root, symlinks=True)
        return Clone(root, {**finished.environment}, finished.nursery)

    return make


@pytest.fixture(scope="session")
def reproduced(copy_of_finished) -> Clone:
    """This test process's copy of `finished`, for `pipeline`."""
    return copy_of_finished("pipeline")


@pytest.fixture
def pipeline(reproduced, finished) -> Clone:
    """The reproduced clone; whatever a test changes is undone (commits and experiments are not: copy it for those)."""
    yield reproduced
    reproduced.restore(finished)
