"""Experiments beside the workspace: they run the code of their own commit, and a sweep believes nothing but commits."""

import csv
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from dvc.api import DVCFileSystem

from transformer_spectrum.config.load import load_params
from transformer_spectrum.study import grid as grids
from transformer_spectrum.study import verification
from transformer_spectrum.study.verification import Unverified

pytestmark = pytest.mark.slow

PATIENCE = 900.0
IMPATIENT = """
from transformer_spectrum.cli.main import main
from transformer_spectrum.study import experiments
experiments.POLL, experiments.STATUS = 0.2, 5.0
main()
"""
"""The command line, which looks at experiments and at DVC's queue more often than where trainings take minutes."""
TINY = {
    "optimizers": ["adam"],
    "datasets": {"narrow": {"data": {"dataset": "synthetic"}}},
    "losses": {"mse": {"loss": {"type": "mse"}}, "sgt_q7": {"loss": {"type": "sgt", "q": 7.0}}},
}


def wait_for(happened, what):
    deadline = time.monotonic() + PATIENCE
    while not (found := happened()):
        assert time.monotonic() < deadline, what
        time.sleep(0.1)
    return found


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
    clone.run("dvc", "exp", "run", "--queue", "-S", "loss.q=1.5,2", "train-adam")
    mark(clone, "temporary")
    clone.run("dvc", "exp", "run", "--temp", "--name", "temporary", "-S", "loss.q=3", "-S", "seed=2", "train-adam")
    mark(clone, "later")
    clone.run("dvc", "queue", "start", "--jobs", "2")
    wait_for(lambda: len(experiments(clone)) == 3, "the queue does not end")
    found = {}
    for name, commit in experiments(clone).items():
        files = DVCFileSystem(str(clone.root), rev=commit)
        about = json.loads(files.read_text("models/adam/run.json"))
        params = yaml.safe_load(files.read_text("params.yaml"))
        found[params["loss"]["q"]] = about["mark"], about["seed"], name == "temporary"
    assert found == {1.5: ("queued", 1, False), 2: ("queued", 1, False), 3: ("temporary", 2, True)}
    # The dirty workspace is as it was.
    assert (clone.root / "models/adam/run.json").read_bytes() == trained
    assert (clone.root / "params.yaml").read_bytes() == parameters
    assert clone.run("git", "diff", "--name-only").split() == ["src/transformer_spectrum/training/artifacts.py"]
    assert '"later"' in (clone.root / "src/transformer_spectrum/training/artifacts.py").read_text()


class Study:
    """A clone in which a study has been run by DVC: first with a worker that was killed, then again."""

    def __init__(self, clone):
        self.clone = clone
        (clone.root / "studies/grids/tiny.yaml").write_text(yaml.safe_dump(TINY, sort_keys=False))
        self.first = self._with_a_killed_worker()
        self.first_cells, self.first_records = self.cells(), self.records()
        self.second, self.printed = self.sweep().wait()
        self.second_cells, self.second_records = self.cells(), self.records()

    def sweep(self):
        options = ["--backend", "dvc", "--jobs", "1", "--out", "studies/results/tiny", "--figures", "none"]
        return self.clone.nursery.start(
            ["-c", IMPATIENT, "sweep", "tiny", *options], self.clone.root, self.clone.environment
        )

    def _with_a_killed_worker(self):
        process = self.sweep()
        runs = self.clone.root / ".dvc/tmp/exps/run"
        try:
            wait_for(lambda: list(runs.glob("*/*.json")), "no experiment is begun")
            worker = json.loads((self.clone.root / ".dvc/tmp/exps/celery/dvc-exp-worker-1.json").read_text())["pid"]
            os.kill(worker, signal.SIGKILL)
            return process.wait()[0]
        finally:
            process.send(signal.SIGKILL)

    def cells(self):
        with (self.clone.root / "studies/results/tiny/cells.csv").open(newline="") as stream:
            return list(csv.DictReader(stream))

    def records(self):
        found = (self.clone.root / "studies/results/tiny/trainings").rglob("record.json")
        return {path.parts[-4]: path.stat().st_ino for path in found}

    def asked(self):
        """Loss -> cell."""
        cells = grids.cells(grids.load_grid("tiny"), load_params(), runs=1)
        return {cell.loss: cell for cell in cells}

    def commit(self, loss):
        return next(commit for name, commit in experiments(self.clone).items() if f"-{loss}-" in name)

    def altered(self, commit, **contents):
        """A commit that differs in some files; "__" stands for the dot."""
        index = {**self.clone.environment, "GIT_INDEX_FILE": str(self.clone.root / ".git/altered")}

        def git(*words, given=None):
            ended = subprocess.run(
                ["git", *words], cwd=self.clone.root, env=index, input=given, capture_output=True, check=True
            )
            return ended.stdout.decode().strip()

        git("read-tree", commit)
        for name, content in contents.items():
            blob = git("hash-object", "-w", "--stdin", given=content)
            git("update-index", "--cacheinfo", f"100644,{blob},{name.replace('__', '.').replace('--', '/')}")
        return git("commit-tree", "-m", "altered", git("write-tree"))

    def content(self, commit, path):
        return self.clone.run("git", "show", f"{commit}:{path}").encode()


@pytest.fixture(scope="module")
def study(copy_of_finished):
    return Study(copy_of_finished("study"))


@pytest.fixture
def inside(study, monkeypatch):
    """The study, in whose folder the test runs."""
    monkeypatch.chdir(study.clone.root)
    return study


def test_a_killed_worker_leaves_no_result_and_the_next_call_completes_the_study(study):
    assert study.first == 1
    statuses = {cell["loss"]: cell["status"] for cell in study.first_cells}
    assert sorted(statuses.values()) == ["done", "failed"], statuses
    (killed,) = [cell for cell in study.first_cells if cell["status"] == "failed"]
    assert killed["reason"] == "its worker was killed"
    assert killed["loss"] not in study.first_records
    assert study.second == 0, study.printed
    assert {cell["status"] for cell in study.second_cells} == {"done"}
    assert study.first_records.items() < study.second_records.items()  # what was there was not made again


def test_the_experiments_have_readable_names_and_the_study_their_table(study):
    assert all(name.startswith("tiny-narrow-") for name in experiments(study.clone))
    with (study.clone.root / "studies/results/tiny/table.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {(row["loss"], row["optimizer"], row["seed"]) for row in rows} == {
        ("mse", "adam", "1"),
        ("sgt_q7", "adam", "1"),
    }


def test_an_experiment_that_is_what_was_asked_for_is_taken(inside, tmp_path):
    for loss, cell in inside.asked().items():
        verification.collect(cell, verification.asked(cell), inside.commit(loss), tmp_path / loss)
        assert (tmp_path / loss / "history.npz").is_file()


def other(inside, what):
    """A commit that is wrong in one way, and what is said of it."""
    commit, foreign = inside.commit("sgt_q7"), inside.commit("mse")
    params = yaml.safe_load(inside.content(commit, "params.yaml"))
    lock = yaml.safe_load(inside.content(commit, "dvc.lock"))
    stage = lock["stages"]["train-adam"]
    if what == "parameters":
        params["loss"]["q"] = 9.0
        return {"params__yaml": yaml.safe_dump(params).encode()}, "of another request: params.loss.q was 9.0, is 7.0"
    if what == "code":
        code = inside.content(commit, "src/transformer_spectrum/losses.py") + b"# changed\n"
        return {"src--transformer_spectrum--losses__py": code}, "of another request: code.losses.py"
    if what == "not run":
        del lock["stages"]["train-adam"]
        return {"dvc__lock": yaml.safe_dump(lock).encode()}, "its dvc.lock has no train-adam"
    if what == "run with other parameters":
        stage["params"]["params.yaml"]["loss"]["q"] = 9.0
        return {"dvc__lock": yaml.safe_dump(lock).encode()}, "ran with another loss"
    if what == "run on other data":
        next(one for one in stage["deps"] if one["path"] == "data/processed/windows.npz")["md5"] = "0" * 32
        return {"dvc__lock": yaml.safe_dump(lock).encode()}, "ran with another data/processed/windows.npz"
    theirs = yaml.safe_load(inside.content(foreign, "dvc.lock"))["stages"]["train-adam"]["outs"]
    stage["outs"] = theirs
    return {"dvc__lock": yaml.safe_dump(lock).encode()}, "its weights are of another training: loss.q was 5.0, is 7.0"


@pytest.mark.parametrize(
    "what",
    ["parameters", "code", "not run", "run with other parameters", "run on other data", "weights of another training"],
)
def test_an_experiment_that_is_not_what_was_asked_for_is_refused(inside, tmp_path, what):
    cell = inside.asked()["sgt_q7"]
    changes, words = other(inside, what)
    commit = inside.altered(inside.commit("sgt_q7"), **changes)
    with pytest.raises(Unverified, match=words):
        verification.collect(cell, verification.asked(cell), commit, tmp_path / "taken")
    assert not (tmp_path / "taken").exists()


@pytest.mark.parametrize(("damage", "words"), [("missing", "not in DVC's cache"), ("damaged", "is damaged|cannot be")])
def test_an_experiment_whose_outputs_are_gone_or_damaged_is_refused(inside, tmp_path, damage, words):
    cell, commit = inside.asked()["sgt_q7"], inside.altered(inside.commit("sgt_q7"))
    files = DVCFileSystem(str(inside.clone.root), rev=commit)
    md5 = files.info("models/adam/history.npz")["md5"]
    cached = inside.clone.root / f".dvc/cache/files/md5/{md5[:2]}/{md5[2:]}"
    whole = cached.read_bytes()
    kept = tmp_path / "kept"
    shutil.move(cached, kept)
    if damage == "damaged":
        cached.write_bytes(whole[:-10])
        cached.chmod(0o444)
    try:
        with pytest.raises(Unverified, match=words):
            verification.collect(cell, verification.asked(cell), commit, tmp_path / "taken")
        assert not (tmp_path / "taken").exists()
    finally:
        cached.unlink(missing_ok=True)
        shutil.move(kept, cached)
