"""A Dask scheduler on this node whose workers are jobs of Slurm or PBS; it prints the command for the sweep.

    pip install dask-jobqueue
    python batch.py slurm --certificate certificate.pem --key key.pem --jobs 4

Ctrl-C ends the workers' jobs. Change what stands in SETTINGS to what your site asks for; `--show` prints the job's
script and submits nothing.
"""

import argparse
import signal
import socket
from pathlib import Path

import dask
from dask_jobqueue import PBSCluster, SLURMCluster
from distributed.security import Security

CORES = 8
MEMORY = "16GB"
COMMON = {"queue": None, "account": None, "walltime": "04:00:00"}
SETTINGS = {"slurm": COMMON, "pbs": {**COMMON, "resource_spec": f"select=1:ncpus={CORES}:mem={MEMORY.lower()}"}}
CLUSTERS = {"slurm": SLURMCluster, "pbs": PBSCluster}
WORKER = ["--preload", "transformer_spectrum.study.running.worker", "--dashboard-address", "127.0.0.1:0"]
WORKER += ["--memory-limit", "0"]  # the batch system's own limit holds; Dask would end a worker by a share of it
ALLOWED_FAILURES = 5
"""Workers that an ensemble may be lost with; those that the batch system ends at their time limit count."""


def security(certificate: Path, key: Path) -> Security:
    """One certificate for all, which is its own authority; Dask checks who has signed it and no host's name."""
    roles = ("client", "scheduler", "worker")
    files = {f"tls_{role}_cert": str(certificate.resolve()) for role in roles}
    files |= {f"tls_{role}_key": str(key.resolve()) for role in roles}
    return Security(tls_ca_file=str(certificate.resolve()), require_encryption=True, **files)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("system", choices=CLUSTERS)
    parser.add_argument("--certificate", type=Path, required=True)
    parser.add_argument("--key", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=1, help=f"each of {CORES} one-thread workers")
    parser.add_argument("--cores", type=int, default=CORES)
    parser.add_argument("--host", default=socket.gethostname(), help="of this node, as the workers' nodes reach it")
    parser.add_argument("--show", action="store_true")
    chosen = parser.parse_args()
    dask.config.set({"distributed.scheduler.allowed-failures": ALLOWED_FAILURES})
    cluster = CLUSTERS[chosen.system](
        **SETTINGS[chosen.system],
        cores=chosen.cores,
        processes=chosen.cores,
        memory=MEMORY,
        protocol="tls://",
        security=security(chosen.certificate, chosen.key),
        scheduler_options={"host": chosen.host, "dashboard_address": "127.0.0.1:8787"},
        worker_extra_args=WORKER,
        job_script_prologue=["export OMP_NUM_THREADS=1"],
    )
    if chosen.show:
        print(cluster.job_script())
        cluster.close()
        return
    cluster.scale(jobs=chosen.jobs)
    options = f"--tls-ca {chosen.certificate} --tls-cert {chosen.certificate} --tls-key {chosen.key}"
    print(f"transformer-spectrum sweep GRID --scheduler {cluster.scheduler_address} {options}", flush=True)
    try:
        signal.pause()
    except KeyboardInterrupt:
        cluster.close()


if __name__ == "__main__":
    main()
