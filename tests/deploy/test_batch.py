"""The worked file for Slurm and PBS, with a batch system that runs a job at once and on this machine."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from distributed.security import Security

from transformer_spectrum.study.running.cluster import ComputePlace, connected
from transformer_spectrum.study.running.worker import seat

ROOT = Path(__file__).parents[2]
BATCH = ROOT / "docs/howto/clusters/batch.py"
SUBMIT = """#!/bin/bash
cp "${@: -1}" job.sh
setsid bash job.sh > job.txt 2>&1 &
echo $! > job.pid
echo "Submitted batch job $!"
"""
CANCEL = """#!/bin/bash
kill -TERM -- "-$1"
"""


@pytest.fixture
def folder(tmp_path):
    """A folder with a certificate, and with commands that Slurm and PBS would bring."""
    credentials = Security.temporary()
    (tmp_path / "certificate.pem").write_text(credentials.tls_client_cert)
    (tmp_path / "key.pem").write_text(credentials.tls_client_key)
    (tmp_path / "bin").mkdir()
    for name, text in {"sbatch": SUBMIT, "qsub": SUBMIT, "scancel": CANCEL, "qdel": CANCEL}.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    return tmp_path


def command(system, *options):
    words = [sys.executable, BATCH, system, "--certificate", "certificate.pem", "--key", "key.pem", *options]
    return [*map(str, words), "--host", "127.0.0.1", "--cores", "1"]


def environment(folder):
    path = os.pathsep.join((str(folder / "bin"), os.environ["PATH"]))
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT / "src")}


@pytest.mark.slow
@pytest.mark.parametrize("system", ["slurm", "pbs"])
def test_a_job_of_the_batch_system_is_a_worker_with_a_seat_and_goes_with_the_scheduler(system, folder):
    process = subprocess.Popen(
        command(system), cwd=folder, env=environment(folder), stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        printed = process.stdout.readline()
        address = re.search(r"--scheduler (tls://127\.0\.0\.1:\d+) --tls-ca certificate\.pem", printed).group(1)
        place = ComputePlace(1, address, *(folder / f"{name}.pem" for name in ("certificate", "certificate", "key")))
        with connected(place) as client:
            client.wait_for_workers(1, timeout=180)
            (worker,) = client.scheduler_info()["workers"].values()
            assert worker["resources"] == {seat("CPU"): 1.0}
            assert worker["nthreads"] == 1
        job = psutil.Process(int((folder / "job.pid").read_text()))
        processes = [job, *job.children(recursive=True)]
        process.send_signal(signal.SIGINT)
        assert process.wait(180) == 0
        _, alive = psutil.wait_procs(processes, timeout=180)
        assert not alive
    finally:
        for pid in (process.pid, int((folder / "job.pid").read_text()) if (folder / "job.pid").exists() else 0):
            if pid:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
