"""DVCLive's folder: whole new one or the old one."""

import json
import os

import pytest

from transformer_spectrum.record import Recorder


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Recorder("metrics/adam") as recorder:
        recorder.step(0, {"loss": 3.0})
        recorder.step(1, {"loss": 2.0})
        recorder.summary({"test": {"mae": 0.5}})
    return tmp_path / "metrics/adam"


def test_curves_and_summary_are_written(folder):
    assert (folder / "plots/metrics/loss.tsv").read_text().split() == ["step", "loss", "0", "3.0", "1", "2.0"]
    assert json.loads((folder / "metrics.json").read_text()) == {"loss": 2.0, "test": {"mae": 0.5}, "step": 1}
    assert os.listdir(folder.parent) == ["adam"]


def test_a_second_run_replaces_the_first(folder):
    with Recorder("metrics/adam") as recorder:
        recorder.step(0, {"other": 7.0})
    assert os.listdir(folder / "plots/metrics") == ["other.tsv"]
    assert os.listdir(folder.parent) == ["adam"]


def test_a_failed_run_puts_the_old_folder_back(folder):
    before = (folder / "metrics.json").read_bytes()
    with pytest.raises(RuntimeError), Recorder("metrics/adam") as recorder:
        recorder.step(0, {"other": 7.0})
        raise RuntimeError
    assert (folder / "metrics.json").read_bytes() == before
    assert os.listdir(folder / "plots/metrics") == ["loss.tsv"]
    assert os.listdir(folder.parent) == ["adam"]


def test_what_a_killed_run_left_aside_is_put_back_by_the_next(folder):
    folder.rename(folder.with_name(".adam.previous"))
    folder.mkdir()
    (folder / "half").write_text("")
    with pytest.raises(RuntimeError), Recorder("metrics/adam"):
        raise RuntimeError
    assert (folder / "metrics.json").exists()
    assert not (folder / "half").exists()


def test_no_dvc_yaml_is_written(folder):
    assert not list(folder.parent.parent.rglob("dvc.yaml"))
