"""What the workflow `cml` does: its own steps, in clones like those that it gets, with a stub in the place of cml."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from workflows import run_steps, workflow

STUB = """#!/bin/bash
# Stands for cml: keeps its arguments, its token and the comment.
set -e
printf '%s\\n' "$@" > "$CML_RECORD/arguments"
printf '%s' "$REPO_TOKEN" > "$CML_RECORD/token"
cp "${@: -1}" "$CML_RECORD/comment.md"
"""


def git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="module")
def pull_request(finished, copy_of_finished, tmp_path_factory) -> Path:
    """A bare repository with main and a branch, whose commit has a DVC remote that holds main's results."""
    author = copy_of_finished("author")
    folder = tmp_path_factory.mktemp("forge")
    author.run("git", "checkout", "--quiet", "-b", "patience")
    author.run("dvc", "remote", "add", "--default", "store", str(folder / "store"))
    author.run("dvc", "push", "--quiet")
    author.run("git", "commit", "--quiet", "--all", "--message=remote")
    author.run("git", "clone", "--quiet", "--bare", str(author.root), str(folder / "forge.git"))
    return folder / "forge.git"


def runner(forge: Path, branch: str, folder: Path, python: Path) -> Path:
    """What actions/checkout makes: one commit, detached; with the environment that `make setup` would make.

    (Its `python` is the nursery's, which runs the pipeline's stages sooner.)
    """
    folder.mkdir()
    git(folder, "init", "--quiet")
    git(folder, "remote", "add", "origin", forge.as_uri())
    refs = f"+refs/heads/{branch}:refs/remotes/pull/7/merge"
    git(folder, "fetch", "--quiet", "--no-tags", "--depth=1", "origin", refs)
    git(folder, "checkout", "--quiet", "--detach", "refs/remotes/pull/7/merge")
    assert git(folder, "rev-list", "--count", "--all") == "1"
    (folder / ".venv/bin").mkdir(parents=True)
    for path in (Path(sys.prefix) / "bin").iterdir():
        (folder / ".venv/bin" / path.name).symlink_to(python if path.name == "python" else path)
    for name in ("lib", "pyvenv.cfg"):
        (folder / ".venv" / name).symlink_to(Path(sys.prefix) / name)
    for name in (".ready", ".ready-dev"):
        (folder / ".venv" / name).touch()
    return folder


@pytest.fixture
def environment(tmp_path) -> dict[str, str]:
    """Of a workflow's machine: no identity for git, no variable of ours, and `cml` on PATH."""
    record, commands = tmp_path / "record", tmp_path / "commands"
    record.mkdir()
    commands.mkdir()
    (commands / "cml").write_text(STUB)
    (commands / "cml").chmod(0o755)
    return {
        "PATH": f"{commands}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "CML_RECORD": str(record),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
    }


@pytest.mark.slow
def test_the_workflow_comments_with_metrics_pictures_and_report(pull_request, environment, nursery, tmp_path):
    values = {
        "inputs.overrides": "adam.epochs=2",
        "secrets.AWS_ACCESS_KEY_ID": "",
        "secrets.AWS_SECRET_ACCESS_KEY": "",
        "github.token": "token-of-the-run",
        "github.event.pull_request.number || inputs.pull_request": "7",
    }
    jobs = workflow("cml")["jobs"]
    clone = runner(pull_request, "patience", tmp_path / "experiment", nursery.python())
    printed = run_steps(jobs["experiment"], clone, environment, values)
    assert "Running stage 'train-adam'" in printed
    assert "Running stage 'train-es'" not in printed  # the remote had it

    other = runner(pull_request, "main", tmp_path / "comment", nursery.python())
    shutil.copytree(clone / "ci-report", other / "ci-report")
    run_steps(jobs["comment"], other, environment, values)

    record = Path(environment["CML_RECORD"])
    assert (record / "arguments").read_text().split() == [
        *("comment", "create", "--target=pr/7", "--update", "ci-report/comment.md")
    ]
    assert (record / "token").read_text() == "token-of-the-run"
    comment = (record / "comment.md").read_text()
    assert "Experiment: `adam.epochs=2`" in comment
    assert "`dvc pull` from store went first." in comment
    metrics, params, rest = re.split(r"### (?:Parameters|Plots)", comment.split("### Metrics")[1])
    before = json.loads(git(clone, "show", "origin/main:metrics/adam/metrics.json"))
    now = json.loads((clone / "metrics/adam/metrics.json").read_text())
    row = next(line for line in metrics.splitlines() if "metrics/adam" in line and "validation_mae" in line)
    for value in (before["validation_mae"], now["validation_mae"]):
        assert f" {round(value, 5)} " in row
    assert re.search(r"adam\.epochs +\| 3 +\| 2 +\|", params)
    images = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", rest)
    assert len([image for image in images if image.startswith("plots/")]) >= 5
    assert [image for image in images if image.startswith("report/")]
    for image in images:
        content = (other / "ci-report" / image).read_bytes()
        assert content.startswith(b"\x89PNG")
        assert len(content) > 3_000  # they are small ones of tests/quick_pictures.py
    first = next(line for line in (clone / "report/report.md").read_text().splitlines() if line.startswith("#"))
    assert first in comment.split("<summary>The report</summary>")[1]

    summary = Path(environment["GITHUB_STEP_SUMMARY"]).read_text()
    assert row in summary
    assert "![" not in summary


@pytest.mark.slow
def test_what_a_stranger_types_reaches_no_shell(pull_request, environment, nursery, tmp_path):
    clone = runner(pull_request, "patience", tmp_path / "experiment", nursery.python())
    for text in ("none=$(touch stolen)", "none=`touch stolen`; $(shell touch stolen)"):
        ended = subprocess.run(
            ["make", "ci-report"], cwd=clone, env=environment | {"OVERRIDES": text}, capture_output=True, text=True
        )
        assert ended.returncode != 0
        assert ".ci/report.py: error: OVERRIDES" in ended.stderr
        assert "Traceback" not in ended.stderr
    assert not (clone / "stolen").exists()
