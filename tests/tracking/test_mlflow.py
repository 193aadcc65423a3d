"""The same trainings in MLflow: in a real server, a database, a folder; and what happens when there is none."""

import contextlib
import hashlib
import json
import math
import multiprocessing
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pandas as pd
import pytest
import yaml
from waiting import wait_for

from transformer_spectrum.analysis.of_training.long_tables import LONG_TABLES
from transformer_spectrum.config.load import parse_params
from transformer_spectrum.config.tree import flatten
from transformer_spectrum.data.prepare import prepare
from transformer_spectrum.data.synthesis.drawing import draw_synthetic
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.files import read_table, write_table
from transformer_spectrum.runtime.interruption import Interrupted
from transformer_spectrum.tracking import delivery, mlflow_run, mlflow_spectra
from transformer_spectrum.tracking.delivery import Delivery
from transformer_spectrum.tracking.mlflow_run import Tracking
from transformer_spectrum.tracking.mlflow_spectra import attach_spectra
from transformer_spectrum.tracking.mlflow_store import mlflow_address
from transformer_spectrum.tracking.recorder import Recorder

ROOT = Path(__file__).parents[2]
SCALARS = {"validation_loss": 2.0, "stable_rank": 8.0}


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    """A folder of its own, and nothing in the environment that steers MLflow."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        monkeypatch.delenv(name)
    settings = {"DISABLE_TELEMETRY": "true", "LOGGING_LEVEL": "ERROR", "HTTP_REQUEST_MAX_RETRIES": "0"}
    for name, value in settings.items():
        monkeypatch.setenv(f"MLFLOW_{name}", value)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as held:
        return held.getsockname()[1]


class Server:
    """A real one with a store of its own, on a port of its own; `address` starts it where it does not run."""

    def __init__(self, folder):
        self.folder, self.process = folder, None

    @property
    def address(self):
        if self.process is None:
            self.port = free_port()
            self.start()
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--backend-store-uri", f"sqlite:///{self.folder}/server.db", "--workers", "1"]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        quick = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with (self.folder / "server.log").open("wb") as log:
            environment = {**os.environ, **quick}
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + 240
        while True:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=2).close()
                return
            waiting = self.process.poll() is None and time.monotonic() < deadline
            assert waiting, (self.folder / "server.log").read_text()
            time.sleep(0.2)

    def kill(self):
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)  # its workers too
            self.process.wait()
        self.process = None


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    server.kill()


@pytest.fixture
def server(running):
    return running.address


@pytest.fixture
def prepared(tmp_path):
    """Smoke-sized parameters and their windows in the working folder."""
    tree = yaml.safe_load((ROOT / "params.yaml").read_text())
    for section, values in yaml.safe_load((ROOT / "config/overlays/smoke.yaml").read_text()).items():
        merge(tree, section, values)
    tree["device"] = "cpu"
    params = parse_params(tree)
    draw_synthetic(params, tmp_path / "raw")
    prepare(params, raw=tmp_path / "raw", processed=tmp_path / "data", metrics=tmp_path / "data.json")
    return tree


def merge(tree, key, value):
    if isinstance(value, dict):
        for inner, one in value.items():
            merge(tree[key], inner, one)
    else:
        tree[key] = value


def outputs_of_spectra(root):
    """Folders like those that the stage spectra writes for two trainings."""
    plots, tables = root / "plots", root / "tables"
    for folder in (plots, tables):
        folder.mkdir()
    (plots / "loss.png").write_text("a figure")
    rows = ["adam,0,feed_forward,ks_alpha,4.5", "adam,1,feed_forward,ks_alpha,3.5", "adam,1,readout,ks_alpha,"]
    text = "\n".join(["optimizer,step,family,metric,value", *rows, "es,0,feed_forward,ks_alpha,9"])
    (plots / "spectra_evolution.csv").write_text(f"{text}\n")
    for name in mlflow_spectra.NUMBERS:
        (tables / name).write_text("{}")
    assert tuple(f"{name}.parquet" for name in LONG_TABLES) == mlflow_spectra.TABLES
    for name in mlflow_spectra.TABLES:
        table = pd.DataFrame({"optimizer": ["adam", "es"], "step": [0, 0], "value": [1.0, 2.0]})
        write_table(tables / name, table)
    return plots, tables


def run_training(tree, address, folder_name, name=None):
    """Trains by Adam into a folder of that name."""
    from transformer_spectrum.training.train import Job, train

    params = parse_params({**tree, "tracking": {"mlflow": address}})
    data, folder = Path("data"), Path(folder_name)
    train(
        Job(
            params,
            "adam",
            data=data / "windows.npz",
            models=folder / "models/adam",
            metrics=folder / "metrics/adam",
            provenance=data / "provenance.json",
            resume=folder / "resume/adam",
            name=name,
        )
    )
    return folder, params


def tracking(address, *, training="one", said=None):
    said = [] if said is None else said
    return Tracking(
        address, "a run", training, {"loss": {"q": 3.0}}, {"optimizer": "adam"}, Path("m.json"), said.append
    )


def models(tmp_path):
    """A folder like that of a training."""
    folder = tmp_path / "models"
    folder.mkdir(exist_ok=True)
    (folder / "history.npz").write_bytes(b"history")
    (folder / "best.safetensors").write_bytes(b"weights")
    return folder


def record_twenty_steps(address):
    """In a process of its own."""
    Path(str(os.getpid())).mkdir()
    os.chdir(str(os.getpid()))
    said = []
    with Recorder("metrics", tracking(address, training=str(os.getpid()), said=said)) as recorder:
        for step in range(20):
            recorder.step(step, SCALARS)
        recorder.result({}, {"best_validation_loss": 1.0})
        recorder.keep(models(Path.cwd()))
    assert all(line.startswith("waiting for MLflow") for line in said), said


def client_of(address):
    from mlflow import MlflowClient

    return MlflowClient(address)


def runs_at(address, client=None):
    client = client or client_of(address)
    experiment = client.get_experiment_by_name("transformer-spectrum")
    return client.search_runs([experiment.experiment_id], order_by=["attributes.start_time DESC"])


def curve(path):
    words = path.read_text().split()[2:]
    return [(int(step), float(value)) for step, value in zip(words[::2], words[1::2], strict=True)]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.slow
def test_a_server_gives_back_parameters_curves_weights_and_spectra_of_a_training(server, prepared, tmp_path, capfd):
    without, _ = run_training(prepared, None, "without")
    folder, params = run_training(prepared, server, "with")
    client = client_of(server)
    run = runs_at(server, client)[0]
    assert run.info.status == "FINISHED"

    expected = {
        name: str(value) for name, value in flatten(params.model_dump(mode="json", exclude={"tracking"})).items()
    }
    assert len(expected) > 90
    assert run.data.params.keys() == expected.keys()
    assert float(run.data.params["loss.q"]) == params.loss.q
    assert json.loads(run.data.params["data.covid.countries"]) == list(params.data.covid.countries)

    curves = {path.stem: curve(path) for path in (folder / "metrics/adam/plots/metrics").glob("*.tsv")}
    assert {"validation_loss", "stable_rank", "seconds", "gradient_norm"} <= curves.keys()
    for name, points in curves.items():
        assert sorted((one.step, one.value) for one in client.get_metric_history(run.info.run_id, name)) == points
    scores = json.loads((folder / "metrics/adam/scores.json").read_text())
    assert run.data.metrics["free_running.mae"] == scores["free_running"]["mae"]
    assert "mlflow" not in scores

    for name, kept in contents(folder / "models/adam").items():
        where = "weights" if name.endswith(".safetensors") else "training"
        back = client.download_artifacts(run.info.run_id, f"{where}/{name}", str(tmp_path))
        assert Path(back).read_bytes() == kept
    assert run.data.tags["mlflow.user"]
    assert run.data.tags["mlflow.source.name"]
    assert run.info.run_name == "adam sgt synthetic seed 1"

    plots, tables = outputs_of_spectra(tmp_path)
    said = []
    for _ in range(2):  # the second time nothing is there twice
        assert attach_spectra(server, {"adam": folder / "models/adam"}, plots, tables, said.append) == ""
    assert [line for line in said if not line.startswith("waiting for MLflow")] == []  # where the machine is busy
    numbers = [(f"spectra/{name}", "{}") for name in ("spectra.json", "effects.json", "comparison.json")]
    for name, expected in (("figures/loss.png", "a figure"), *numbers):
        assert Path(client.download_artifacts(run.info.run_id, name, str(tmp_path))).read_text() == expected
    for name in LONG_TABLES:
        table = read_table(client.download_artifacts(run.info.run_id, f"spectra/{name}.parquet", str(tmp_path)))
        assert table.to_dict("records") == [{"optimizer": "adam", "step": 0, "value": 1.0}]
    curves = client.get_metric_history(run.info.run_id, "ks_alpha.feed_forward")
    assert [(point.step, point.value) for point in curves] == [(0, 4.5), (1, 3.5)]
    assert capfd.readouterr().out == ""

    run_training(prepared, server, "named", name="mine")
    assert runs_at(server, client)[0].info.run_name == "mine"

    # Nothing of it shows in what the pipeline keeps.
    assert contents(folder / "models/adam") == contents(without / "models/adam")
    assert not (folder / "resume").exists()


@pytest.mark.slow
@pytest.mark.parametrize("address", ["sqlite:///{}/store/mlflow.db", "{}/runs", "file://{}/runs"])
def test_a_database_and_a_folder_hold_a_run_too_and_its_files_beside(address, tmp_path):
    address = address.format(tmp_path)
    with Recorder("metrics/adam", tracking(address)) as recorder:
        recorder.step(0, SCALARS)
        recorder.step(1, {**SCALARS, "stable_rank": math.nan})
        recorder.result({"test_mae": 0.5}, {"free_running": {"mae": 0.5}, "stop_reason": "all done"})
        recorder.keep(models(tmp_path))
    client = client_of(address)
    (run,) = runs_at(address, client)
    assert run.data.params == {"loss.q": "3.0"}
    assert run.data.metrics["free_running.mae"] == 0.5
    ranks = [one.value for one in client.get_metric_history(run.info.run_id, "stable_rank")]
    assert ranks[0] == 8.0
    assert math.isnan(ranks[1])
    weights = Path(client.download_artifacts(run.info.run_id, "weights/best.safetensors", str(tmp_path)))
    assert weights.read_bytes() == b"weights"
    assert str(tmp_path) in run.info.artifact_uri  # not in the working folder, which may be a passing one
    assert json.loads(Path("metrics/adam/scores.json").read_text()).keys() == {"free_running", "stop_reason"}
    assert not Path("m.json").exists()


@pytest.mark.slow
def test_trainings_that_run_at_once_share_a_database_that_they_make(tmp_path):
    """As `dvc queue start -j 2` and sweeps have them: both find no tables, and make them."""
    address = f"sqlite:///{tmp_path}/mlflow.db"
    import mlflow  # noqa: F401  before any fork: it takes seconds

    forks = multiprocessing.get_context("fork")
    started = [forks.Process(target=record_twenty_steps, args=(address,)) for _ in range(2)]
    for process in started:
        process.start()
    for process in started:
        process.join(timeout=240)
    assert [process.exitcode for process in started] == [0, 0]
    client = client_of(address)
    runs = runs_at(address, client)
    assert [run.info.status for run in runs] == ["FINISHED"] * 2
    for run in runs:
        assert len(client.get_metric_history(run.info.run_id, "stable_rank")) == 20


@pytest.mark.slow
def test_a_resumed_training_goes_on_with_its_run_and_another_one_begins_its_own(server):
    said = []
    with pytest.raises(Interrupted), Recorder("metrics/adam", tracking(server, said=said)) as recorder:
        for step in range(6):
            recorder.step(step, {**SCALARS, "distance": float(step)})
        raise Interrupted(signal.SIGTERM)
    client = client_of(server)
    first = runs_at(server, client)[0]
    assert first.info.status == "KILLED"
    with Recorder("metrics/adam", tracking(server, said=said)) as recorder:
        for step in range(10):  # the steps of before come again
            recorder.step(step, {**SCALARS, "distance": float(step)})
        recorder.result({}, {"best_validation_loss": 1.0})
        recorder.keep(models(Path.cwd()))
    again = runs_at(server, client)[0]
    assert (again.info.run_id, again.info.status) == (first.info.run_id, "FINISHED")
    assert [one.step for one in client.get_metric_history(first.info.run_id, "distance")] == list(range(10))
    assert said == [f"goes on with MLflow's run {first.info.run_id} behind its step 5"]

    with contextlib.suppress(Interrupted), Recorder("metrics/adam", tracking(server, training="two")) as recorder:
        recorder.step(0, SCALARS)
        raise Interrupted(signal.SIGINT)
    with pytest.raises(RuntimeError), Recorder("metrics/adam", tracking(server, training="three")) as recorder:
        recorder.step(0, SCALARS)
        raise RuntimeError
    third, second = runs_at(server, client)[:2]
    assert first.info.run_id not in (second.info.run_id, third.info.run_id)
    assert (second.info.status, third.info.status) == ("KILLED", "FAILED")


@pytest.mark.slow
def test_a_server_that_never_answers_keeps_no_step_waiting(monkeypatch):
    monkeypatch.setattr(mlflow_run, "PATIENCE_WHEN_STOPPED", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with contextlib.suppress(Interrupted), Recorder("metrics/adam", tracking(address)) as recorder:
            recorder.step(0, SCALARS)
            began = time.monotonic()
            for _ in range(1000):
                recorder.trackers[1].step(1, SCALARS)
            assert time.monotonic() - began < 1
            began = time.monotonic()
            raise Interrupted(signal.SIGINT)
        assert time.monotonic() - began < 5


def test_what_could_not_be_sent_is_sent_in_order_when_the_server_answers_again(monkeypatch):
    monkeypatch.setattr(delivery, "SECONDS_BETWEEN_SENDINGS", 0.01)
    monkeypatch.setattr(delivery, "SECONDS_BETWEEN_TRIES", 0.01)
    waiting, sent, told, broken = [], [], [], [False]

    def send():
        while waiting:
            if broken[0]:
                raise OSError("down")
            sent.append(waiting.pop(0))
            yield

    sending = Delivery(send, (OSError,), told.append)
    for number in range(300):
        broken[0] = 100 <= number < 200
        waiting.append(number)
        time.sleep(0.001)
    assert sending.finish(5.0) == ""
    assert sent == list(range(300))
    assert told == ["down"]


def test_the_last_sending_is_tried_again_for_a_database_may_be_busy(monkeypatch):
    monkeypatch.setattr(delivery, "SECONDS_BETWEEN_LAST_TRIES", 0.01)
    tries, ending = [], []

    def send():
        if ending:
            tries.append(1)
            if len(tries) < 3:
                raise OSError("database is locked")
        yield

    sending = Delivery(send, (OSError,), lambda reason: None)
    time.sleep(0.1)
    ending.append(True)
    assert sending.finish(5.0) == ""
    assert len(tries) == 3


def test_a_delivery_that_hangs_is_given_up():
    def send():
        time.sleep(60)
        yield

    began = time.monotonic()
    assert Delivery(send, (OSError,), print).finish(0.2) == "nothing came through for 0.2 s"
    assert time.monotonic() - began < 5


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_failure_that_nobody_foresaw_is_not_taken_for_success():
    def send():
        raise ZeroDivisionError
        yield

    assert Delivery(send, (OSError,), print).finish(5.0) == "not all was sent"


@pytest.mark.parametrize("address", ["ftp://host/x", "sqlite:", "sqlite:///", "sgt"])
def test_an_address_that_is_none_is_one_line(address):
    if address == "sgt":  # any name is a folder
        assert mlflow_address(address) == address
        return
    with pytest.raises(InputError, match=f"tracking.mlflow = {address}: must be a folder"):
        Recorder("metrics/adam", tracking(address))


def test_the_environment_moves_a_named_store_and_passwords_stay_out_of_messages(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "gopher://user:secret@host")
    with pytest.raises(InputError) as caught:
        mlflow_address("sqlite:///mlflow.db")
    assert str(caught.value).startswith("MLFLOW_TRACKING_URI = gopher://host: must be")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert mlflow_address("sqlite:///mlflow.db") == "http://127.0.0.1:9"


def test_without_the_package_one_line_says_how_to_install_it(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "mlflow"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(
        InputError, match=r"tracking.mlflow = runs: MLflow is not installed .*pip install '\.\[mlflow\]'"
    ):
        Recorder("metrics/adam", tracking("runs"))


def test_nothing_of_mlflow_is_imported_where_no_store_is_named():
    code = (
        "import sys; from transformer_spectrum import training; "
        "from transformer_spectrum.tracking.recorder import Recorder; Recorder('m'); "
        "assert 'mlflow' not in sys.modules and 'sqlalchemy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": str(ROOT / "src")})


def test_the_checksum_that_finds_a_run_is_that_of_its_history(tmp_path):
    folder = models(tmp_path)
    assert hashlib.sha256(b"history").hexdigest() == mlflow_run.sha256(folder / "history.npz")


@pytest.mark.slow
def test_a_server_that_dies_is_said_once_and_recorded_and_the_training_is_whole(running, tmp_path):
    said, address = [], running.address
    with Recorder("metrics/adam", tracking(address, said=said)) as recorder:
        recorder.step(0, SCALARS)
        wait_for(Path("m.json").exists, "the run is not begun")
        running.kill()
        for step in range(1, 100):
            recorder.step(step, SCALARS)
        recorder.result({"test_mae": 0.5}, {"optimizer": "adam"})
        recorder.keep(models(tmp_path))
    assert len(curve(Path("metrics/adam/plots/metrics/validation_loss.tsv"))) == 100
    assert json.loads(Path("metrics/adam/metrics.json").read_text())["step"] == 99
    scores = json.loads(Path("metrics/adam/scores.json").read_text())
    assert scores["optimizer"] == "adam"
    assert re.fullmatch(r"not all was sent: .*(refused|reset).*", scores["mlflow"])
    assert [line.split("(")[0] for line in said][:1] == [f"MLflow at {address} takes nothing "]
    said = [line for line in said if not line.startswith("waiting for MLflow")]  # where the machine is busy
    assert len(said) == 2  # when it failed, and at the end
    plots, tables = outputs_of_spectra(tmp_path)
    began = time.monotonic()
    reason = attach_spectra(address, {"adam": tmp_path / "models"}, plots, tables, said.append)
    assert time.monotonic() - began < 10  # half a second on a quiet machine
    assert re.search("refused|reset", reason)
    assert said[2:] == [f"MLflow at {address} did not take the spectra and figures: {reason}"]


def test_whoever_waits_at_the_end_is_told_once(monkeypatch):
    monkeypatch.setattr(delivery, "SECONDS_OF_SILENCE", 0.1)
    told = []

    def send():
        time.sleep(60)
        yield

    Delivery(send, (OSError,), print, told.append).finish(0.6)
    assert told == [0.6]


def test_who_has_not_answered_all_the_while_is_asked_only_once_more_at_the_end():
    tries = []

    def send():
        tries.append(1)
        raise OSError("down")
        yield

    sending = Delivery(send, (OSError,), lambda reason: None)
    wait_for(lambda: tries, "it is never asked")
    assert sending.finish(5.0) == "down"
    assert len(tries) == 2
