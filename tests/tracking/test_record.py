"""DVCLive's folder: whole new one or the old one."""

import json
import os
import shutil
import signal
import threading
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
import yaml

from transformer_spectrum.runtime.files import sha256, write_arrays
from transformer_spectrum.runtime.interruption import Interrupted
from transformer_spectrum.tracking import dvclive_folder, mlflow_run
from transformer_spectrum.tracking.folders import belong_together
from transformer_spectrum.tracking.mlflow_run import MLflowRun
from transformer_spectrum.tracking.recorder import Recorder


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Recorder("metrics/adam") as recorder:
        recorder.step(0, {"loss": 3.0, "change_stable_rank": 8.0})
        recorder.step(1, {"loss": 2.0, "change_stable_rank": 7.0})
        recorder.result({"test_mae": 0.5}, {"free_running": {"mae": 0.5, "rmse": 0.7}})
    return tmp_path / "metrics/adam"


def test_every_scalar_has_a_curve_and_only_the_headline_is_in_the_metrics(folder):
    assert (folder / "plots/metrics/loss.tsv").read_text().split() == ["step", "loss", "0", "3.0", "1", "2.0"]
    metrics = json.loads((folder / "metrics.json").read_text())
    assert list(metrics) == ["step", "change_stable_rank", "test_mae"]
    assert metrics == {"step": 1, "change_stable_rank": 7.0, "test_mae": 0.5}
    assert json.loads((folder / "scores.json").read_text()) == {"free_running": {"mae": 0.5, "rmse": 0.7}}
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
    assert sorted(os.listdir(folder / "plots/metrics")) == ["change_stable_rank.tsv", "loss.tsv"]
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


def test_the_old_folder_is_there_until_the_first_step(folder):
    before = (folder / "metrics.json").read_bytes()
    with Recorder("metrics/adam") as recorder:
        assert (folder / "metrics.json").read_bytes() == before
        recorder.step(0, {"change_stable_rank": 9.0})
        assert json.loads((folder / "metrics.json").read_text()) == {"step": 0, "change_stable_rank": 9.0}


def test_metrics_and_curves_grow_while_it_runs(folder, monkeypatch):
    monkeypatch.setattr(dvclive_folder, "SECONDS_BETWEEN_SUMMARIES", 0.0)
    with Recorder("metrics/adam") as recorder:
        for step in range(5):
            recorder.step(step, {"change_stable_rank": 9.0 - step, "distance": 0.1 * step})
            assert json.loads((folder / "metrics.json").read_text()) == {"step": step, "change_stable_rank": 9.0 - step}
            assert len((folder / "plots/metrics/distance.tsv").read_text().splitlines()) == step + 2


def test_metrics_are_renewed_at_most_every_second_because_a_step_may_take_a_millisecond(folder, monkeypatch):
    written, write = [], dvclive_folder.write_json
    monkeypatch.setattr(
        dvclive_folder,
        "write_json",
        lambda path, value: (write(path, value), "step" in value and written.append(value["step"])),
    )
    monkeypatch.setattr(dvclive_folder, "SECONDS_BETWEEN_SUMMARIES", 1000.0)
    with Recorder("metrics/adam") as recorder:
        for step in range(200):
            recorder.step(step, {"change_stable_rank": 1.0})
        assert written == [0]
    assert written == [0, 199]


def test_a_value_that_is_not_finite_is_text_in_strict_json(folder):
    with Recorder("metrics/adam") as recorder:
        recorder.step(0, {"change_stable_rank": float("nan")})
    assert json.loads((folder / "metrics.json").read_text())["change_stable_rank"] == "nan"


@pytest.mark.parametrize("damage", ["removed", "removed and made again", "emptied", "a curve removed"])
@pytest.mark.parametrize("when", ["before a step", "before the result"])
def test_a_folder_that_vanishes_while_it_is_written_ends_the_training_and_the_old_one_comes_back(damage, when, folder):
    before = (folder / "metrics.json").read_bytes()
    with pytest.raises(FileNotFoundError) as caught, Recorder("metrics/adam") as recorder:
        recorder.step(0, {"loss": 5.0})
        if damage == "a curve removed":
            (folder / "plots/metrics/loss.tsv").unlink()
        else:
            shutil.rmtree(folder / "plots" if damage == "emptied" else folder)
            if damage == "removed and made again":
                folder.mkdir()
        if when == "before a step":
            recorder.step(1, {"loss": 4.0})
        recorder.result({"test_mae": 0.5}, {})
    assert caught.value.strerror == "vanished while it was being written: something else has removed it"
    assert caught.value.filename.startswith("metrics/adam")
    assert (folder / "metrics.json").read_bytes() == before
    assert os.listdir(folder.parent) == ["adam"]


def test_a_curve_with_fewer_rows_than_were_written_is_no_result(folder):
    with pytest.raises(OSError, match="was changed while it was being written"), Recorder("metrics/adam") as recorder:
        recorder.step(0, {"loss": 5.0})
        (folder / "plots/metrics/loss.tsv").write_text("")
        recorder.step(1, {"loss": 4.0})
        recorder.result({"test_mae": 0.5}, {})


@pytest.mark.parametrize("committed", [True, False])
def test_of_two_folders_the_one_that_belongs_to_the_weights_stays(committed, folder, tmp_path):
    """A killed process may have left both: before the weights were in their place, or after."""
    models = tmp_path / "models"
    write_arrays(models / "history.npz", {"steps": np.arange(3 if committed else 4)})
    shutil.copytree(folder, folder.with_name(".adam.previous"))
    scores = {"history": sha256(models / "history.npz") if committed else "of other weights"}
    (folder / "scores.json").write_text(json.dumps(scores))
    with Recorder("metrics/adam", models=models):
        pass
    assert ("history" in json.loads((folder / "scores.json").read_text())) is committed
    assert os.listdir(folder.parent) == ["adam"]


class Uploading:
    """An MLflow run whose sending of files is stopped."""

    unsent = MLflowRun.unsent

    def __init__(self, scores):
        self.scores, self.seen, self.status = scores, None, ""

    def step(self, index, scalars):
        pass

    def result(self, headline, scores):
        pass

    def finish(self, models):
        self.seen = json.loads(self.scores.read_text())
        raise Interrupted(signal.SIGINT)

    def fail(self, *, interrupted):
        self.status = "KILLED" if interrupted else "FAILED"


def test_a_stop_while_mlflow_takes_the_files_leaves_a_whole_training_that_says_what_was_not_sent(folder, tmp_path):
    models = tmp_path / "models"
    write_arrays(models / "history.npz", {"steps": np.arange(3)})
    with pytest.raises(Interrupted), Recorder("metrics/adam", models=models) as recorder:
        run = Uploading(folder / "scores.json")
        recorder.trackers = (recorder.live, run)
        recorder.step(0, {"loss": 9.0})
        recorder.result({"test_mae": 0.25}, {"free_running": {}, "history": sha256(models / "history.npz")})
        recorder.keep(models)
    assert run.status == "KILLED"
    assert run.seen["mlflow"] == "not all was sent: the training was stopped meanwhile"  # also after a SIGKILL
    assert json.loads((folder / "scores.json").read_text()) == run.seen
    assert json.loads((folder / "metrics.json").read_text())["test_mae"] == 0.25
    assert belong_together(models, folder)
    assert os.listdir(folder.parent) == ["adam"]


class Listening:
    """A tracker that keeps what it was told."""

    unsent = MappingProxyType({"elsewhere": "not yet sent"})

    def __init__(self):
        self.told = []

    def step(self, index, scalars):
        self.told.append(("step", index, scalars))

    def result(self, headline, scores):
        self.told.append(("result", headline, scores))

    def finish(self, models):
        self.told.append(("finish", models))
        return {"elsewhere": "the disk is full"}

    def fail(self, *, interrupted):
        self.told.append(("fail", interrupted))


def test_every_tracker_is_told_the_same_and_its_last_remark_stays(folder, tmp_path):
    trackers = first, second = Listening(), Listening()
    with Recorder("metrics/adam") as recorder:
        recorder.trackers += trackers
        recorder.step(0, {"loss": 9.0})
        recorder.result({"test_mae": 0.25}, {"optimizer": "adam"})
        scores = json.loads((folder / "scores.json").read_text())
        recorder.keep(tmp_path)
    assert scores == {"optimizer": "adam", "elsewhere": "not yet sent"}
    assert first.told == second.told
    assert first.told == [
        ("step", 0, {"loss": 9.0}),
        ("result", {"test_mae": 0.25}, scores),
        ("finish", tmp_path),
    ]
    assert json.loads((folder / "scores.json").read_text()) == {"optimizer": "adam", "elsewhere": "the disk is full"}


def test_a_tracker_hears_that_a_training_failed_even_before_its_first_step(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tracker = Listening()
    with pytest.raises(RuntimeError), Recorder("metrics/adam") as recorder:
        recorder.trackers += (tracker,)
        raise RuntimeError
    assert tracker.told == [("fail", False)]
    assert not Path("metrics/adam").exists()


def test_of_mlflow_the_result_takes_the_numbers_that_no_curve_has(monkeypatch, tmp_path):
    monkeypatch.setattr(mlflow_run, "import_mlflow", lambda address: None)
    monkeypatch.setattr(mlflow_run, "Delivery", lambda *parts: None)
    run = MLflowRun(mlflow_run.Tracking("runs", "a", "one", {}, {}, tmp_path / "m.json", print))
    run.step(7, {"loss": 9.0})
    run.result({"test_mae": 0.25}, {"loss": 1.0, "test_mae": 0.25, "free_running": {"mae": 0.5}, "optimizer": "adam"})
    assert [(index, scalars, final) for index, _, scalars, final in run.steps] == [
        (7, {"loss": 9.0}, False),
        (7, {"free_running.mae": 0.5}, True),
    ]


@pytest.mark.slow
def test_whoever_polls_a_training_sees_whole_metrics_and_longer_curves(tmp_path, monkeypatch):
    from transformer_spectrum.config.load import parse_params
    from transformer_spectrum.data.prepare import prepare
    from transformer_spectrum.data.synthesis.drawing import draw_synthetic
    from transformer_spectrum.training.train import Job, train

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(dvclive_folder, "SECONDS_BETWEEN_SUMMARIES", 0.0)
    root = Path(__file__).parents[2]
    tree = yaml.safe_load((root / "params.yaml").read_text())
    merge(tree, yaml.safe_load((root / "config/overlays/smoke.yaml").read_text()))
    merge(tree, {"device": "cpu", "adam": {"epochs": 30, "patience": 30}})
    params = parse_params(tree)
    draw_synthetic(params, "raw")
    prepare(params, raw=Path("raw"), processed=Path("data"), metrics=Path("data.json"))
    seen, ended = [], threading.Event()

    def poll():
        while not ended.wait(0.005):
            live, curve = Path("metrics/adam/metrics.json"), Path("metrics/adam/plots/metrics/validation_mae.tsv")
            if live.exists():
                seen.append((json.loads(live.read_text()), len(curve.read_bytes())))

    poller = threading.Thread(target=poll)
    poller.start()
    try:
        train(
            Job(
                params,
                "adam",
                data=Path("data/windows.npz"),
                models=Path("models/adam"),
                metrics=Path("metrics/adam"),
                provenance=Path("data/provenance.json"),
                resume=Path(".resume/adam"),
            )
        )
    finally:
        ended.set()
        poller.join()
    steps, lengths = [metrics["step"] for metrics, _ in seen], [length for _, length in seen]
    assert steps == sorted(steps)
    assert lengths == sorted(lengths)
    assert len(set(steps)) >= 5
    assert len(set(lengths)) >= 5
    assert {"step", "validation_mae", "change_stable_rank"} <= seen[len(seen) // 2][0].keys()


def merge(tree, overlay):
    for key, value in overlay.items():
        if isinstance(value, dict):
            merge(tree[key], value)
        else:
            tree[key] = value


def test_a_training_leaves_no_thread_behind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = threading.active_count()
    for name in ("metrics/adam", "metrics/es"):
        with Recorder(name) as recorder:
            recorder.step(0, {"loss": 3.0})
            recorder.result({"test_mae": 0.5}, {})
    assert threading.active_count() == before


def test_dvc_studio_gets_a_training_where_somebody_has_set_it_up(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    events = []
    monkeypatch.setattr("dvclive.live.get_dvc_studio_config", lambda live: {"token": "none", "url": "http://127.0.0.1"})
    monkeypatch.setattr("dvclive.live.post_to_studio", lambda live, event, data=None: events.append(event))
    with Recorder("metrics/adam") as recorder:
        for step in range(2):
            recorder.step(step, {"loss": 3.0})
        recorder.result({"test_mae": 0.5}, {})
    assert "data" in events
    assert events[-1] == "done"
