"""`make verify`: the same bits, rounding and a fault are told apart."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from transformer_spectrum.runtime import verification
from transformer_spectrum.runtime.circumstances import machine
from transformer_spectrum.runtime.errors import InputError

SCORES = "metrics/adam/scores.json"
CURVE = "metrics/adam/plots/metrics/stable_rank.tsv"
LOCK = """\
schema: '2.0'
stages:
  train-adam:
    cmd: train
    outs:
    - path: models/adam/history.npz
      md5: a0000000000000000000000000000001
    - path: models/adam/run.json
      md5: a0000000000000000000000000000002
    - path: metrics/adam
      md5: a0000000000000000000000000000003.dir
  report:
    cmd: report
    outs:
    - path: report/index.html
      md5: a0000000000000000000000000000004
"""
NAMES = ["metrics/data.json", "metrics/adam/circumstances.json", SCORES, CURVE, "plots/loss.png"]


@pytest.fixture
def folders(tmp_path):
    """Results and a copy of them."""
    content = {
        "metrics/data.json": json.dumps({"windows": 700, "kappa": 0.5}),
        "metrics/adam/circumstances.json": json.dumps({"machine": machine()}),
        SCORES: json.dumps({"best_validation_mae": 0.175, "evaluations": 3961, "teacher_forced": {"mae": 0.2}}),
        CURVE: "step\tstable_rank\n0\t23.0\n1\t22.9\n60\t20.0\n",
        "plots/loss.png": "picture",
    }
    content["dvc.lock"] = LOCK
    for name, text in content.items():
        (tmp_path / "committed" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "committed" / name).write_text(text)
    shutil.copytree(tmp_path / "committed", tmp_path / "anew")
    return tmp_path / "committed", tmp_path / "anew"


def verdict(folders, same_kind=False):
    return verification.compare(*folders, NAMES, same_kind=same_kind).verdict


def change(folders, name, old, new):
    path = folders[1] / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_the_same_bytes_are_identical_whatever_the_circumstances_say(folders):
    (folders[1] / "metrics/adam/circumstances.json").write_text("{}")
    for digest in ("2", "3", "4"):  # of a page, of a record, of a folder whose files are compared themselves
        change(folders, "dvc.lock", f"0{digest}", f"a{digest}")
    likeness = verification.compare(*folders, NAMES, same_kind=True)
    assert (likeness.verdict, likeness.same, likeness.faults) == ("identical", 5, [])


@pytest.mark.parametrize(
    ("name", "old", "new", "elsewhere"),
    [
        (CURVE, "22.9", "22.900001", "rounding"),
        (CURVE, "20.0", "21.0", "rounding"),  # the path is another one, its end is alike
        (CURVE, "22.9", "22.8", "fault"),  # no rounding makes that in one step
        (CURVE, "20.0", "15.0", "fault"),
        (CURVE, "60\t20.0", "60\tnan", "fault"),
        (SCORES, "0.175", "0.176", "rounding"),
        (SCORES, "0.175", "0.35", "fault"),
        (SCORES, '"evaluations": 3961, ', "", "fault"),
        ("plots/loss.png", "picture", "other picture", "rounding"),
        ("dvc.lock", "00001", "0000a", "rounding"),  # the history
        ("metrics/data.json", "700", "500", "fault"),
        ("metrics/data.json", "0.5", "0.500000001", "rounding"),
    ],
)
def test_another_number_is_a_fault_on_the_same_kind_of_machine_and_maybe_rounding_elsewhere(
    folders, name, old, new, elsewhere
):
    change(folders, name, old, new)
    assert verdict(folders, same_kind=True) == "fault"
    assert verdict(folders) == elsewhere


def test_a_file_that_was_not_made_is_a_fault(folders):
    (folders[1] / CURVE).unlink()
    likeness = verification.compare(*folders, NAMES, same_kind=False)
    assert likeness.faults == [f"{CURVE}: was not made"]
    assert verification.sentences(likeness, alike=False)[-2:] == [f"fault: {CURVE}: was not made", "verdict: fault"]


def test_the_kind_of_machine_is_the_trainings_own(folders):
    assert verification.same_kind(folders[0])
    here = machine()
    text = json.dumps({"machine": {**here, "capability": "none", "cores": 1}})
    (folders[0] / "metrics/adam/circumstances.json").write_text(text)
    assert not verification.same_kind(folders[0])
    text = json.dumps({"machine": {**here, "cores": 99}})  # of which no bit depends
    (folders[0] / "metrics/adam/circumstances.json").write_text(text)
    assert verification.same_kind(folders[0])
    (folders[0] / "metrics/adam/circumstances.json").unlink()
    assert not verification.same_kind(folders[0])


def test_what_is_not_committed_is_not_verified(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="is not the root of a DVC repository"):
        verification.verify()
    Path(".dvc").mkdir()
    subprocess.run(["git", "init", "--quiet"], check=True)
    Path("params.yaml").write_text("seed: 1\n")
    with pytest.raises(InputError, match=r"^params\.yaml: is not as the commit has it"):
        verification.verify()


@pytest.mark.slow
def test_a_finished_run_is_verified_from_its_commit(finished):
    before = finished.tree()
    printed = finished.run(sys.executable, "-m", "transformer_spectrum.runtime.verification")
    assert printed.splitlines()[-1] == "verify: verdict: identical"
    assert finished.tree() == before
