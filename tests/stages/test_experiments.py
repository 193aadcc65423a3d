"""Experiments beside the workspace: they run the code of their own commit; `dvc exp show` has them side by side."""

import csv
import io
import json
from pathlib import Path

import pytest
import yaml
from dvc.api import DVCFileSystem
from waiting import wait_for

pytestmark = pytest.mark.slow


def experiments(clone):
    """Name -> commit."""
    listed = clone.run("git", "for-each-ref", "--format=%(objectname) %(refname)", "refs/exps").splitlines()
    pairs = [line.split() for line in listed]
    return {name.split("/")[-1]: commit for commit, name in pairs if name.count("/") == 4}


def mark(clone, word):
    """Changes the code: a training says this word in its run.json."""
    path = clone.root / "src/transformer_spectrum/training/artifacts.py"
    before = '"optimizer": optimizer,\n        "stop_reason"'
    text = (Path(__file__).parents[2] / "src/transformer_spectrum/training/artifacts.py").read_text()
    assert text.count(before) == 1
    path.write_text(text.replace(before, f'"optimizer": optimizer,\n        "mark": "{word}",\n        "stop_reason"'))


def test_queued_and_temporary_experiments_run_the_code_of_their_own_commit(copy_of_finished):
    clone = copy_of_finished("own_code")
    trained = (clone.root / "models/adam/run.json").read_bytes()
    parameters = (clone.root / "params.yaml").read_bytes()
    mark(clone, "queued")
    clone.run("dvc", "exp", "run", "--queue", "-S", "loss.q=1.5", "train-adam")
    mark(clone, "temporary")
    clone.run("dvc", "exp", "run", "--temp", "--name", "temporary", "-S", "loss.q=3", "-S", "seed=2", "train-adam")
    mark(clone, "later")
    clone.run("dvc", "queue", "start", "--jobs", "1")
    wait_for(lambda: len(experiments(clone)) == 2, "the queue does not end", seconds=900.0)
    found = {}
    for name, commit in experiments(clone).items():
        files = DVCFileSystem(str(clone.root), rev=commit)
        about = json.loads(files.read_text("models/adam/run.json"))
        params = yaml.safe_load(files.read_text("params.yaml"))
        found[params["loss"]["q"]] = about["mark"], about["seed"], name == "temporary"
    assert found == {1.5: ("queued", 1, False), 3: ("temporary", 2, True)}
    rows = list(csv.DictReader(io.StringIO(clone.run("dvc", "exp", "show", "--csv", "--hide-workspace"))))
    assert {row["loss.q"] for row in rows if row["typ"].startswith("branch")} == {"1.5", "3"}
    # The dirty workspace is as it was.
    assert (clone.root / "models/adam/run.json").read_bytes() == trained
    assert (clone.root / "params.yaml").read_bytes() == parameters
    assert clone.run("git", "diff", "--name-only").split() == ["src/transformer_spectrum/training/artifacts.py"]
    assert '"later"' in (clone.root / "src/transformer_spectrum/training/artifacts.py").read_text()
