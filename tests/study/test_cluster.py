"""Studies on a scheduler and workers that are processes of their own: killed, refused, asked for more."""

import json
import os
import re
import shutil
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import yaml
from distributed.security import Security
from sweeps import call_sweep, records, rows_of
from waiting import PATIENCE, wait_for

from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.study.running.cluster import ComputePlace, _workers, connected
from transformer_spectrum.study.running.engine import Engine, Task
from transformer_spectrum.study.running.ensembles import MEMBERS
from transformer_spectrum.study.running.worker import GPU, PRELOAD, seat

pytestmark = pytest.mark.slow

SCHEDULER = "from distributed.cli.dask_scheduler import main; main()"
WORKER = "from distributed.cli.dask_worker import main; main()"
POISONED = """
import os, signal
from transformer_spectrum.study.running import work
honest = work.train_all
def train_all(jobs):
    if any(job.params.loss.q == 7.0 for job in jobs):
        os.kill(os.getpid(), signal.SIGKILL)
    return honest(jobs)
work.train_all = train_all
"""
"""What makes a worker one that no training with q = 7 survives; its files are those of the others."""
AFRESH = """
for name in [name for name in sys.modules if name.startswith("transformer_spectrum")]:
    del sys.modules[name]
"""
"""What makes a forked worker read the package from where sys.path begins."""
LONG = ("--set", "adam.epochs=60", "--set", "adam.patience=60")
SMOKE = ("--overlay", "config/overlays/smoke.yaml", "--out", "out", "--figures", "none")


def address_in(file):
    """Of the scheduler that writes the file, which is empty for a moment."""
    return json.loads(file.read_text())["address"] if file.exists() and file.stat().st_size else ""


class Cluster:
    """A scheduler and workers on loopback that talk by certificates.

    Args:
        nursery: that forks them.
        folder: for their files.
        allowed: workers that a piece of work may take along.
    """

    def __init__(self, nursery, folder, allowed=0):
        self.nursery, self.folder, self.workers = nursery, folder, []
        credentials = Security.temporary()
        (folder / "certificate.pem").write_text(credentials.tls_client_cert)
        (folder / "key.pem").write_text(credentials.tls_client_key)
        self.environment = {**os.environ, "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": str(allowed)}
        self.environment |= {"DASK_DISTRIBUTED__COMM__TLS__CA_FILE": str(folder / "certificate.pem")}
        file = folder / "scheduler.json"
        self.scheduler = self.start(SCHEDULER, "--protocol", "tls", "--scheduler-file", file, "--no-dashboard")
        self.address = wait_for(lambda: address_in(file), "no scheduler")

    def start(self, program, *options, environment=None):
        files = [("--tls-ca-file", "certificate.pem"), ("--tls-cert", "certificate.pem"), ("--tls-key", "key.pem")]
        tls = [word for option, name in files for word in (option, self.folder / name)]
        words = ["-c", program, *options, "--host", "127.0.0.1", "--port" if program == SCHEDULER else "--worker-port"]
        return self.nursery.start([*words, "0", *tls], self.folder, environment or self.environment)

    def worker(self, *options, program=WORKER, preload=("--preload", PRELOAD)):
        name = f"worker-{len(self.workers)}"
        common = ("--no-nanny", "--no-dashboard", "--nthreads", "1", "--name", name, "--memory-limit", "0")
        place = ("--local-directory", self.folder / name)
        self.workers.append(self.start(program, self.address, *common, *place, *preload, *options))
        return self.workers[-1]

    def options(self):
        return [
            *("--scheduler", self.address),
            *("--tls-ca", str(self.folder / "certificate.pem")),
            *("--tls-cert", str(self.folder / "certificate.pem")),
            *("--tls-key", str(self.folder / "key.pem")),
        ]

    def place(self):
        return ComputePlace(
            1, self.address, *(self.folder / f"{name}.pem" for name in ("certificate", "certificate", "key"))
        )

    def close(self, *, scheduler=True):
        for child in [*self.workers, *[self.scheduler] * scheduler]:
            child.send(signal.SIGKILL)
        self.workers.clear()


@pytest.fixture(scope="module")
def shared(nursery, tmp_path_factory):
    """One scheduler for the tests of this module."""
    cluster = Cluster(nursery, tmp_path_factory.mktemp("cluster"))
    yield cluster
    cluster.close()


@pytest.fixture
def cluster(shared):
    """That scheduler, with workers of this test alone."""
    yield shared
    shared.close(scheduler=False)


def sweep(*options, code=0):
    call_sweep(*SMOKE, *options, code=code)


def cells():
    return rows_of("out/cells.csv")


def trainings(folder="out"):
    """Name -> content of every file but those of wall seconds."""
    root = Path(folder) / "trainings"
    files = sorted(path for path in root.rglob("*") if path.is_file())
    timed = ("record.json", "seconds.tsv", "scores.json")
    return {str(path.relative_to(root)): path.read_bytes() for path in files if path.name not in timed}


def with_loss(name, **loss):
    grid = yaml.safe_load(Path("studies/grids/tiny.yaml").read_text())
    grid["losses"][name] = {"loss": loss}
    Path("studies/grids/tiny.yaml").write_text(yaml.safe_dump(grid, sort_keys=False))


def test_a_cluster_leaves_the_bytes_of_one_local_process_though_its_workers_share_no_folder_with_it(
    repository, cluster, capsys
):
    cluster.worker()
    sweep(*cluster.options())
    assert "2 to train in 1 ensembles on 1 worker" in capsys.readouterr().err
    here = trainings()
    assert sum(name.endswith("history.npz") for name in here) == 2
    assert not Path("out/resume").exists()
    shutil.move("out", "cluster")
    for index in range(2):
        sweep("--cell", index)
    assert trainings() == here
    for name in ("matrices.csv", "families.csv"):
        for path in Path("out/spectra").rglob(name):
            assert path.read_bytes() == Path("cluster", *path.parts[1:]).read_bytes()


def test_a_worker_that_is_killed_in_the_middle_loses_nothing(repository, nursery, tmp_path, capsys):
    cluster = Cluster(nursery, tmp_path, allowed=1)
    killed = cluster.worker()

    def kill():
        wait_for(lambda: list((tmp_path / "worker-0").rglob("state.safetensors")), "no training is begun")
        killed.send(signal.SIGKILL)
        wait_for(killed.ended, "it lives on")
        cluster.worker()

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        sweep(*LONG, *cluster.options())
    finally:
        killer.join()
        cluster.close()
    assert killed.code == -signal.SIGKILL
    assert [cell["status"] for cell in cells()] == ["done", "done"]
    assert "tried alone" not in capsys.readouterr().err


def test_a_cell_that_kills_its_worker_fails_with_a_reason_and_takes_no_other_along(repository, cluster, capsys):
    with_loss("poison", type="sgt", q=7.0)
    first = cluster.worker(program=POISONED + WORKER)

    def replace():
        wait_for(first.ended, "nothing kills the worker")
        cluster.worker(program=POISONED + WORKER)

    replacer = threading.Thread(target=replace)
    replacer.start()
    sweep(*cluster.options(), code=1)
    replacer.join()
    assert {cell["loss"]: cell["status"] for cell in cells()} == {"mse": "done", "sgt_q5": "done", "poison": "failed"}
    (reason,) = [cell["reason"] for cell in cells() if cell["status"] == "failed"]
    assert reason.startswith("lost with 1 worker, the last at tls://127.0.0.1:")
    printed = capsys.readouterr().err
    assert "narrow/mse/adam/seed_1 and 2 more failed together: lost with 1 worker" in printed
    assert "sweep tiny: waiting for a worker" in printed


def test_work_that_kills_its_workers_takes_none_along_that_goes_beside_it(repository, nursery, tmp_path):
    """What kills is never sent to a worker that another piece of work has."""
    beside, allowed = 3, 1
    cluster = Cluster(nursery, tmp_path, allowed)
    for _ in range(1 + beside):
        cluster.worker()
    ended = {}

    def noted(name):
        return lambda outcome: ended.update({name: outcome.reason}) or ()

    tasks = [Task("kills", signal.raise_signal, lambda: (signal.SIGKILL,), noted("kills"))]
    tasks += [Task(f"sleeps {i}", time.sleep, lambda: (2.0,), noted(f"sleeps {i}")) for i in range(beside)]
    try:
        with connected(cluster.place()) as client:
            engine = Engine(client, "sweep tiny")
            wait_for(lambda: not engine._look({"CPU"}) and engine.seats["CPU"] == 1 + beside, "not all workers came")
            engine.run(tasks)
    finally:
        cluster.close()
    assert ended.pop("kills").startswith(f"lost with {allowed + 1} workers, the last at tls://127.0.0.1:")
    assert set(ended.values()) == {""}
    assert len(ended) == beside


def test_workers_of_another_version_or_commit_or_without_our_module_are_refused(repository, cluster, tmp_path, capsys):
    source = tmp_path / "changed"
    shutil.copytree(Path(__file__).parents[2] / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
    losses = source / "transformer_spectrum/losses.py"
    losses.write_text(losses.read_text() + "# changed\n")
    (tmp_path / "older/torch-2.11.0.dist-info").mkdir(parents=True)
    (tmp_path / "older/torch-2.11.0.dist-info/METADATA").write_text("Name: torch\nVersion: 2.11.0\n")
    for folder in (source, tmp_path / "older"):
        program = f"import sys; sys.path.insert(0, {str(folder)!r})\n{AFRESH}\n{WORKER}"
        cluster.worker(program=program)
    cluster.worker(preload=())
    with connected(cluster.place()) as client:
        client.wait_for_workers(3, timeout=PATIENCE)
    sweep(*cluster.options(), code=2)
    printed = capsys.readouterr().err
    assert "its losses.py is of another commit" in printed
    assert "it has torch 2.11.0, and not 2.13.0" in printed
    assert f"it was started without --preload {PRELOAD}" in printed
    assert "sweep tiny: no worker can take its work: worker tls://127.0.0.1:" in printed
    cluster.worker()
    with connected(cluster.place()) as client:
        client.wait_for_workers(4, timeout=PATIENCE)
    sweep(*cluster.options())
    assert [cell["status"] for cell in cells()] == ["done", "done"]


def test_what_is_for_an_accelerator_goes_to_workers_with_dasks_resource_and_nothing_else_does(cluster):
    processor, accelerator = cluster.worker(), cluster.worker("--resources", "GPU=1")
    pids = []

    def noted(ended):
        pids.append(ended.value)
        return ()

    with connected(cluster.place()) as client:
        client.wait_for_workers(2, timeout=PATIENCE)
        engine = Engine(client, "sweep tiny")
        engine.wait("GPU")
        assert engine.seats == {"CPU": 1, "GPU": 1}
        for kind, worker in (("CPU", processor), ("GPU", accelerator)):
            engine.run([Task(f"{kind} {number}", os.getpid, tuple, noted, kind=kind) for number in range(3)])
            assert pids == [worker.pid] * 3
            pids.clear()
        processor.send(signal.SIGKILL)
        wait_for(lambda: len(client.scheduler_info()["workers"]) == 1, "the worker stays")
        engine.run([Task("alone", os.getpid, tuple, noted)])
    assert pids == [accelerator.pid]


@pytest.mark.parametrize(("options", "count"), [((), 2), (("--resources", "GPU=1"), 1)])
def test_cells_that_may_use_an_accelerator_are_cut_for_it(repository, cluster, capsys, monkeypatch, options, count):
    monkeypatch.setitem(MEMBERS, "CPU", 1)
    cluster.worker(*options)
    sweep(*cluster.options())
    assert f"2 to train in {count} ensembles on 1 worker" in capsys.readouterr().err
    assert {cell["status"] for cell in cells()} == {"done"}


def test_a_driver_that_is_killed_leaves_no_worker_and_the_next_call_repeats_nothing(repository, nursery, cluster):
    program = "from transformer_spectrum.cli.main import main; main()"
    options = ("--runs", "2", "--members", "1", "--set", "adam.epochs=30")
    driver = nursery.start(["-c", program, "sweep", "tiny", *SMOKE, *options, "--workers", "1"], Path.cwd())
    wait_for(lambda: records() and list(Path("out/resume").rglob("state.safetensors")), driver.printed())
    workers = psutil.Process(driver.pid).children(recursive=True)
    driver.send(signal.SIGKILL)
    before = records()
    _, alive = psutil.wait_procs(workers, timeout=PATIENCE)
    assert workers
    assert not alive
    cluster.worker()
    sweep(*options, *cluster.options())
    after = records()
    assert len(after) == 4
    assert before.items() <= after.items()


def test_a_scheduler_that_goes_ends_the_study_in_one_line_and_what_is_done_stays(repository, nursery, tmp_path, capsys):
    cluster = Cluster(nursery, tmp_path)
    cluster.worker()

    def kill():
        wait_for(records, "no training is done")
        cluster.scheduler.send(signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        sweep("--runs", "2", "--members", "1", *LONG, *cluster.options(), code=2)
    finally:
        killer.join()
        cluster.close()
    assert "sweep tiny: the scheduler has gone; what is done is kept" in capsys.readouterr().err
    assert records()


@pytest.mark.parametrize("answer", [{}, OSError("in communication")])
def test_a_client_that_is_closed_while_it_asks_is_a_scheduler_that_has_gone(answer):
    def asked(n_workers):
        if isinstance(answer, Exception):
            raise answer
        return answer

    engine = Engine(SimpleNamespace(status="connecting", scheduler_info=asked), "sweep tiny")
    with pytest.raises(InputError, match="sweep tiny: the scheduler has gone; what is done is kept"):
        engine.wait()


@pytest.mark.parametrize("patience", [None, 3])
def test_this_machine_waits_for_a_worker_so_long_and_a_queue_for_ever(monkeypatch, patience):
    looks = []

    def asked(n_workers):
        looks.append(n_workers)
        workers = {"tls://127.0.0.1:1": {"resources": {seat("CPU"): 1}}} if len(looks) == 3 else {}
        if len(looks) == 20:
            raise KeyboardInterrupt
        return {"workers": workers}

    monkeypatch.setattr("transformer_spectrum.study.running.engine.POLL", 0.5)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    engine = Engine(SimpleNamespace(status="running", scheduler_info=asked), "sweep tiny", patience)
    engine.wait()
    assert len(looks) == 3
    words = "no worker has come for 1.5 s; what is done is kept, go on by a new call"
    with pytest.raises(KeyboardInterrupt) if patience is None else pytest.raises(InputError, match=words):
        engine.wait()
    assert len(looks) == (20 if patience is None else 7)


@pytest.mark.parametrize(
    ("given", "devices"), [(None, ["0", "1"]), ("2, 3,5", ["2", "3"]), ("MIG-a,GPU-b", ["MIG-a", "GPU-b"])]
)
def test_workers_take_the_accelerators_that_this_process_may_use(monkeypatch, given, devices):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if given:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    options = [worker["options"] for name, worker in _workers(1, 2, {}).items() if name.startswith("gpu")]
    assert [own["env"]["CUDA_VISIBLE_DEVICES"] for own in options] == devices
    assert all(own["resources"] == {GPU: 1} for own in options)


def test_workers_of_this_machine_that_do_not_start_are_one_line(monkeypatch):
    def refused(**options):
        raise RuntimeError("Nanny failed to start.")

    monkeypatch.setattr("transformer_spectrum.study.running.cluster.SpecCluster", refused)
    monkeypatch.setattr("transformer_spectrum.study.running.cluster._start_server", lambda: None)
    words = "--workers = 2: do not start: Nanny failed to start. Is memory or ulimit short?"
    with pytest.raises(InputError, match=re.escape(words)), connected(ComputePlace(2)):
        pass


@pytest.mark.parametrize(("status", "error"), [("finished", InputError), ("error", None), ("lost", None)])
def test_a_value_that_cannot_be_fetched_any_more_is_told_from_work_that_failed(status, error):
    def result(timeout):
        raise OSError("Timed out")

    engine = Engine(SimpleNamespace(), "sweep tiny")
    future = SimpleNamespace(status=status, result=result)
    if error:
        with pytest.raises(error, match="the scheduler has gone"):
            engine._outcome(future, None)
    elif status == "lost":
        assert engine._outcome(future, None) is None  # once more
    else:
        assert engine._outcome(future, None).reason == "OSError: Timed out"


def test_a_scheduler_is_not_talked_to_without_certificates_that_its_own_authority_has_signed(
    repository, cluster, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("transformer_spectrum.study.running.cluster.CONNECTING", 2)
    sweep("--scheduler", cluster.address, code=2)
    assert f"--scheduler = {cluster.address}: needs --tls-ca and --tls-cert" in capsys.readouterr().err
    strange = Security.temporary()
    (tmp_path / "certificate.pem").write_text(strange.tls_client_cert + strange.tls_client_key)
    file = tmp_path / "certificate.pem"
    sweep("--scheduler", cluster.address, "--tls-ca", file, "--tls-cert", file, code=2)
    printed = capsys.readouterr().err
    assert f"--scheduler = {cluster.address}: no scheduler answers there" in printed
    assert not Path("out/trainings").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--scheduler", "tcp://10.0.0.5:8786"), "must be tls:// off loopback, because Dask runs what it receives"),
        (("--scheduler", "tcp://node7:8786"), "must be tls:// off loopback"),
        (("--scheduler", "127.0.0.1:8786"), "must be tls://HOST:PORT, or tcp://127.0.0.1:PORT on this machine"),
        (("--scheduler", "tcp://127.0.0.1:9"), "no scheduler answers there"),
        (("--scheduler", "tcp://127.0.0.1:9", "--workers", "2"), "--workers: is for workers of this machine"),
        (("--tls-ca", "ca.pem"), "--tls-ca: needs --scheduler"),
        (("--scheduler", "tls://node7:1", "--tls-ca", "ca.pem"), "--tls-ca = ca.pem: no such file"),
        (("--dashboard", ":8787"), "--dashboard = :8787: must be HOST:PORT"),
        (("--members", "0"), "--members = 0: must be >= 1"),
    ],
)
def test_a_bad_option_is_one_line_and_exit_code_2(repository, capsys, monkeypatch, options, words):
    monkeypatch.setattr("transformer_spectrum.study.running.cluster.CONNECTING", 0.5)
    sweep(*options, code=2)
    printed = capsys.readouterr().err
    assert words in printed
    assert printed.count("\n") == 1
    assert not Path("out").exists()


def test_a_scheduler_that_listens_to_the_network_without_certificates_is_refused_though_loopback_reaches_it(
    repository, nursery, tmp_path, capsys
):
    file = tmp_path / "scheduler.json"
    words = ["-c", SCHEDULER, "--host", "0.0.0.0", "--port", "0", "--scheduler-file", file, "--no-dashboard"]
    scheduler = nursery.start(words, tmp_path)
    try:
        address = wait_for(lambda: address_in(file), "no scheduler")
        sweep("--scheduler", f"tcp://127.0.0.1:{address.rpartition(':')[2]}", code=2)
    finally:
        scheduler.send(signal.SIGKILL)
    assert "must be tls:// off loopback" in capsys.readouterr().err


def listening(process):
    """Hosts and ports on which a process accepts connections."""
    return {tuple(link.laddr) for link in process.net_connections("inet") if link.status == psutil.CONN_LISTEN}


def test_this_machines_workers_and_their_dashboard_are_reached_by_loopback_alone(caplog):
    before = listening(psutil.Process())
    with caplog.at_level("INFO"), connected(ComputePlace(dashboard="127.0.0.1:0")) as client:
        client.wait_for_workers(1, timeout=PATIENCE)
        pids = client.run(os.getpid).values()
        opened = [listening(psutil.Process(pid)) for pid in pids] + [listening(psutil.Process()) - before]
        assert client.scheduler_info()["address"].startswith("tls://127.0.0.1:")
        port = client.scheduler_info()["services"]["dashboard"]
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            pass
    assert all({host for host, _ in links} == {"127.0.0.1"} for links in opened)
    assert f"dashboard of this machine: http://127.0.0.1:{port}/status" in caplog.text


def test_this_machines_accelerators_get_a_worker_each_and_the_others_see_none():
    with connected(ComputePlace(workers=1, dashboard="127.0.0.1:0"), gpus=2) as client:
        client.wait_for_workers(3, timeout=PATIENCE)
        engine = Engine(client, "sweep tiny")
        engine.wait("GPU")
        visible = client.run(os.getenv, "CUDA_VISIBLE_DEVICES")
    assert engine.seats == {"CPU": 1, "GPU": 2}
    assert sorted(visible.values()) == ["", "0", "1"]


def test_without_bokeh_there_is_no_dashboard_and_that_is_said_once(caplog, monkeypatch):
    monkeypatch.setitem(sys.modules, "bokeh", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with caplog.at_level("INFO"), connected(ComputePlace()):
        pass
    assert caplog.text.count("dashboard: off, because bokeh is not installed") == 1
    assert "dashboard of" not in caplog.text


def test_an_interrupted_driver_takes_its_work_off_the_cluster_and_keeps_what_is_done(repository, cluster):
    cluster.worker()
    options = ("--runs", "2", "--members", "1", "--set", "adam.epochs=30", *cluster.options())

    def interrupt():
        wait_for(records, "no training is done")
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    sweep(*options, code=130)
    thread.join()
    before = records()
    with connected(cluster.place()) as client:
        wait_for(lambda: not any(client.processing().values()), "its work stays")
    sweep(*options)
    assert len(records()) == 4
    assert before.items() <= records().items()
