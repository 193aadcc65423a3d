"""What a training says about its commit, experiment, day and machine, and why something is unknown."""

import getpass
import json
import os
import platform
import re
import subprocess
from datetime import UTC, datetime

import pytest

from transformer_spectrum.runtime.circumstances import circumstances
from transformer_spectrum.tracking.recorder import Recorder


def git(folder, *arguments):
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    command = ["git", *identity, *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The folder of a package in a repository with one commit."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "repository" / "src" / "package"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (tmp_path / "repository/params.yaml").write_text("seed: 1\n")
    (tmp_path / "repository/dvc.lock").write_text("")
    git(tmp_path / "repository", "init", "--quiet")
    git(tmp_path / "repository", "add", "--all")
    git(tmp_path / "repository", "commit", "--quiet", "--message=start")
    return folder


def test_the_commit_and_what_is_not_as_in_it_are_named_and_outputs_do_not_count(package, monkeypatch):
    root = package.parents[1]
    monkeypatch.setenv("GIT_DIR", "/nowhere")  # as in a hook of another repository
    made = circumstances(package)
    monkeypatch.delenv("GIT_DIR")
    assert (made["commit"], made["changed"], made["unknown"]) == (git(root, "rev-parse", "HEAD"), [], {})
    (root / "params.yaml").write_text("seed: 2\n")
    (package / "a module.py").touch()
    (root / "dvc.lock").write_text("changed")
    assert sorted(circumstances(package)["changed"]) == ["params.yaml", "src/package/a module.py"]


def test_why_there_is_no_commit_is_said(package, tmp_path, monkeypatch):
    ignored = package.parents[1] / "environment"
    ignored.mkdir()
    (ignored / "__init__.py").touch()  # installed inside somebody's repository, which is not ours
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "__init__.py").touch()
    assert circumstances(tmp_path)["unknown"] == {"commit": "the code lies in no git repository"}
    assert circumstances(ignored)["unknown"] == {"commit": "the code lies in no git repository"}
    git(empty, "init", "--quiet")
    git(empty, "add", "--all")
    made = circumstances(empty)
    assert (made["commit"], made["unknown"]) == (None, {"commit": "the git repository has no commit"})
    monkeypatch.setenv("PATH", str(tmp_path))
    assert circumstances(package)["unknown"] == {"commit": "git is not installed"}


def test_a_training_records_day_experiment_and_machine_but_no_name_of_host_or_user(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_EXP_NAME", "eager-owl")
    before = datetime.now(UTC).replace(microsecond=0)
    with Recorder("metrics/adam") as recorder:
        recorder.step(0, {"loss": 3.0})
        recorder.result({}, {})
    text = (tmp_path / "metrics/adam/circumstances.json").read_text()
    made = json.loads(text)
    assert before <= datetime.fromisoformat(made["begun"]) <= datetime.now(UTC)
    assert made["begun"].endswith("Z")
    assert made["experiment"] == "eager-owl"
    assert made["machine"]["architecture"] == platform.machine()
    assert made["machine"]["cores"] >= 1
    for private in filter(None, (platform.node(), os.path.expanduser("~"), str(tmp_path))):
        assert private not in text
    assert not re.search(rf"\b{re.escape(getpass.getuser())}\b", text)
    monkeypatch.delenv("DVC_EXP_NAME")
    assert circumstances()["experiment"] is None
