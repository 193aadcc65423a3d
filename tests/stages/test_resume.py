"""The training stages as processes that are killed and interrupted, and what the next process makes of it."""

import json
import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
import yaml
from clones import merge

from transformer_spectrum.training.records.history import History

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
OPTIMIZERS = ("adam", "es", "ga")
every = pytest.mark.parametrize("optimizer", OPTIMIZERS)


def start(nursery, stage, folder):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    script, *arguments = stage.split()
    return nursery.start([ROOT / "stages" / f"{script}.py", *arguments], folder, environment)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, nursery):
    """A folder with small windows, in which a training takes twelve steps."""
    folder = tmp_path_factory.mktemp("prepared")
    tree = yaml.safe_load((ROOT / "params.yaml").read_text())
    merge(tree, yaml.safe_load((ROOT / "config/overlays/smoke.yaml").read_text()))
    kept = {"training": {"snapshot_every": 4}, "spectra": {"tracked_every": 4}}
    changes = {"device": "cpu", "model": {"dropout": 0.1}, **kept}
    merge(tree, {**changes, "adam": {"epochs": 12}, "es": {"generations": 12}, "ga": {"generations": 12}})
    (folder / "params.yaml").write_text(yaml.safe_dump(tree))
    for stage in ("synthesize", "prepare"):
        code, printed = start(nursery, stage, folder).wait()
        assert code == 0, printed
    return folder


@pytest.fixture(scope="module")
def whole(prepared, nursery):
    """Gives the folder with an uninterrupted training by an optimizer in it."""

    def trained(optimizer):
        if not (prepared / "models" / optimizer).exists():
            code, printed = start(nursery, f"train {optimizer}", prepared).wait()
            assert code == 0, printed
            assert not (prepared / ".resume").exists()
        return prepared

    return trained


@pytest.fixture
def folder(prepared, tmp_path):
    shutil.copy(prepared / "params.yaml", tmp_path)
    shutil.copytree(prepared / "data", tmp_path / "data")
    return tmp_path


def saves(folder, optimizer):
    """Identifies the present state file; None while there is none."""
    try:
        return (folder / ".resume" / optimizer / "state.safetensors").stat().st_ino
    except FileNotFoundError:
        return None


def wait_for(child, happened):
    """Until it has happened, or the child has ended."""
    deadline = time.monotonic() + 60
    while not happened() and not child.ended():
        assert time.monotonic() < deadline, child.printed()
        time.sleep(0.002)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_same(whole, folder, optimizer):
    expected, found = contents(whole / "models" / optimizer), contents(folder / "models" / optimizer)
    assert found.keys() == expected.keys()
    assert [name for name in expected if expected[name] != found[name]] == []
    curves = [contents(one / "metrics" / optimizer / "plots") for one in (whole, folder)]
    assert curves[0].keys() == curves[1].keys()
    assert {name for name in curves[0] if curves[0][name] != curves[1][name]} <= {"metrics/seconds.tsv"}
    history = History.load(
        folder / "models" / optimizer / "history.npz", folder / "metrics" / optimizer / "plots/metrics/seconds.tsv"
    )
    assert all(history.seconds[1:] > history.seconds[:-1])
    assert sorted(path.name for path in (folder / "models").iterdir()) == [optimizer]
    assert sorted(path.name for path in (folder / "metrics").iterdir() if path.is_dir()) == [optimizer]
    assert not (folder / ".resume").exists()


@every
def test_a_training_that_is_killed_again_and_again_ends_with_the_same_bytes(whole, folder, nursery, optimizer):
    draw = random.Random(f"{optimizer} 1")
    kills = 0
    for _ in range(4):
        before = saves(folder, optimizer)
        child = start(nursery, f"train {optimizer}", folder)
        wait_for(child, lambda: saves(folder, optimizer) != before)  # noqa: B023
        time.sleep(draw.uniform(0, 0.04))
        child.send(signal.SIGKILL)
        code, printed = child.wait()
        if code == 0:
            break
        assert code == -signal.SIGKILL, printed
        kills += 1
    assert kills
    if (folder / ".resume").exists():
        code, printed = start(nursery, f"train {optimizer}", folder).wait()
        assert code == 0, printed
        assert printed.count("going on behind step") == 1
        scores = json.loads((folder / "metrics" / optimizer / "scores.json").read_text())
        assert scores["resumed_at"] == sorted(scores["resumed_at"])
        assert f"step {scores['resumed_at'][-1]}\n" in printed
    assert_same(whole(optimizer), folder, optimizer)


# What takes a signal is one for all optimizers, so each of them gets one of the two.
@pytest.mark.parametrize(
    ("optimizer", "number", "code"),
    [("adam", signal.SIGINT, 130), ("es", signal.SIGTERM, 143), ("ga", signal.SIGINT, 130)],
)
def test_an_interrupted_training_says_so_loses_nothing_and_goes_on(whole, folder, nursery, optimizer, number, code):
    earlier = {"models": "run.json", "metrics": "scores.json"}  # of another training
    for outputs, name in earlier.items():
        (folder / outputs / optimizer).mkdir(parents=True)
        (folder / outputs / optimizer / name).write_text("{}")
    child = start(nursery, f"train {optimizer}", folder)
    wait_for(child, lambda: saves(folder, optimizer))
    child.send(number)
    found, printed = child.wait()
    assert found == code, printed
    last = printed.splitlines()[-1]
    assert last.startswith(f"train {optimizer}: interrupted at step ")
    assert last.endswith("; run again to go on")
    assert "Traceback" not in printed
    for outputs, name in earlier.items():
        assert contents(folder / outputs / optimizer) == {name: b"{}"}
        assert [path.name for path in (folder / outputs).iterdir() if path.is_dir()] == [optimizer]
    code, printed = start(nursery, f"train {optimizer}", folder).wait()
    assert code == 0, printed
    step = last.split("step ")[1].split(";")[0]
    assert f"train {optimizer}: going on behind step {step}\n" in printed
    assert_same(whole(optimizer), folder, optimizer)


def test_a_kill_while_the_results_are_written_leaves_nothing_behind(whole, folder, nursery):
    child = start(nursery, "train adam", folder)
    wait_for(child, lambda: list(folder.glob("models/.adam.*")))
    child.send(signal.SIGKILL)
    child.wait()
    if (folder / ".resume").exists():
        assert start(nursery, "train adam", folder).wait()[0] == 0
    assert_same(whole("adam"), folder, "adam")


def test_another_training_starts_anew_and_says_what_differs(whole, folder, nursery):
    child = start(nursery, "train adam", folder)
    wait_for(child, lambda: saves(folder, "adam"))
    child.send(signal.SIGTERM)
    child.wait()
    params = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(params.replace("learning_rate: null", "learning_rate: 0.002", 1))
    code, printed = start(nursery, "train adam", folder).wait()
    assert code == 0, printed
    assert "another training (params.adam.learning_rate was None, is 0.002), so training starts anew" in printed
    assert "going on" not in printed
    assert (folder / "models/adam/history.npz").read_bytes() != (whole("adam") / "models/adam/history.npz").read_bytes()


def test_a_budget_of_evaluations_ends_all_three_alike(folder, nursery):
    tree = yaml.safe_load((folder / "params.yaml").read_text())
    tree["budget"]["evaluations"] = 30
    (folder / "params.yaml").write_text(yaml.safe_dump(tree))
    for optimizer in OPTIMIZERS:
        code, printed = start(nursery, f"train {optimizer}", folder).wait()
        assert code == 0, printed
        about = json.loads((folder / "models" / optimizer / "run.json").read_text())
        assert about["stop_reason"] == "budget.evaluations = 30 spent"
        evaluations = History.load(folder / "models" / optimizer / "history.npz").evaluations
        assert evaluations[-1] >= 30 > evaluations[-2]
