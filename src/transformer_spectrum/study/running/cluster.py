"""Scheduler and workers of a study: processes of this machine, or a scheduler that somebody has started.

The processes of this machine are forked from a server that has imported everything and computed nothing, talk by
certificates that exist in their memory alone, and end with the process that has started them, however it ends.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import signal
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import forkserver
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dask
from distributed import Client, Nanny, Scheduler, SpecCluster
from distributed.security import Security
from distributed.utils import get_mp_context

from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.study.running.security import check_address, client_security
from transformer_spectrum.study.running.worker import GPU, PRELOAD, single_threaded

logger = logging.getLogger(__name__)

PRELOADED = ["distributed", "distributed.nanny", "transformer_spectrum.study.running.work"]
PRELOADED += ["dvc.repo", "scmrepo.git", "torch._dynamo", "cma.sigma_adaptation"]
"""The last four are imported late, by DVCLive, torch's Adam and cma: once here instead of in every process."""
LOOPBACK = "127.0.0.1"
DASHBOARD = f"{LOOPBACK}:8787"
ALLOWED_FAILURES = 1
"""Workers that a piece of work may take along before it counts as failed; one more, and it has."""
CONNECTING = 30
"""Seconds that a scheduler has to answer."""
REACHING = 3
"""Seconds that its dashboard has to answer."""


@dataclass(frozen=True)
class ComputePlace:
    """Where a study computes.

    Attributes:
        workers: processes of this machine, count >= 1; unused where there is a scheduler.
        scheduler: address of one that has been started; None = this machine.
        tls_ca, tls_cert, tls_key: certificates for it, see `client_security`.
        dashboard: HOST:PORT of the dashboard of this machine's scheduler; None = `DASHBOARD`.
    """

    workers: int = 1
    scheduler: str | None = None
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    dashboard: str | None = None


@contextlib.contextmanager
def connected(place: ComputePlace, gpus: int = 0) -> Iterator[Client]:
    """A client of the scheduler at that place; processes that were started for it are ended behind the block.

    Args:
        place: where.
        gpus: accelerators of this machine that get a worker each, beside the other ones; count.
    Raises:
        InputError: no scheduler answers there, or one may not talk to it.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(dask.config.set({"distributed.admin.large-graph-warning-threshold": "1GB"}))
        _silence()
        if place.scheduler is None:
            client = stack.enter_context(_local(place, gpus))
        else:
            client = stack.enter_context(_remote(place))
        yield client


def _silence() -> None:
    """Dask's own messages: what matters of it, the engine says."""
    for name in ("distributed", "distributed.client", "distributed.core"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def check_scheduler(place: ComputePlace) -> None:
    """Refuses a scheduler that does not answer, or that one may not talk to; where there is none, nothing.

    >>> check_scheduler(ComputePlace(workers=2))
    """
    if place.scheduler:
        _silence()
        _client(place).close()


def _client(place: ComputePlace) -> Client:
    address = place.scheduler
    assert address is not None
    check_address("--scheduler", address)
    security = client_security(address, place.tls_ca, place.tls_cert, place.tls_key)
    try:
        return Client(address, security=security, timeout=CONNECTING, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        reason = " ".join(str(error.__cause__ or error).split()) or type(error.__cause__ or error).__name__
        raise InputError(f"--scheduler = {address}: no scheduler answers there: {reason}") from None


@contextlib.contextmanager
def _remote(place: ComputePlace) -> Iterator[Client]:
    address = place.scheduler
    with _client(place) as client:
        # What it is bound to: one may reach by loopback what listens to the whole network.
        check_address(f"--scheduler {address}: its own address", client.scheduler_info()["address"])
        _say_dashboard(client, str(address))
        yield client


@contextlib.contextmanager
def _local(place: ComputePlace, gpus: int) -> Iterator[Client]:
    drawn = importlib.util.find_spec("bokeh") is not None
    if not drawn:
        logger.info("dashboard: off, because bokeh is not installed")
    settings = {
        "distributed.worker.multiprocessing-method": "forkserver",
        "distributed.scheduler.allowed-failures": ALLOWED_FAILURES,
        "distributed.worker.daemon": True,
    }
    with dask.config.set(settings):
        _start_server()
        security = Security.temporary()
        shared = {"host": LOOPBACK, "protocol": "tls://", "security": security, "dashboard": False}
        scheduler = {**shared, "port": 0, "dashboard": drawn, "dashboard_address": _dashboard_address(place, drawn)}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Port .* is already in use")  # the one that is taken is said
            try:
                cluster = SpecCluster(
                    workers=_workers(place.workers, gpus, shared),
                    scheduler={"cls": Scheduler, "options": scheduler},
                    security=security,
                    silence_logs=logging.CRITICAL,
                )
            except RuntimeError as error:
                reason = " ".join(str(error).split())
                raise InputError(
                    f"--workers = {place.workers}: do not start: {reason} Is memory or ulimit short?"
                ) from None
        try:
            with Client(cluster, set_as_default=False) as client:
                if drawn:
                    logger.info(f"dashboard of this machine: {client.dashboard_link}")
                yield client
        except BaseException:
            _kill(cluster)
            raise
        finally:
            cluster.close()


def _workers(count: int, gpus: int, shared: dict[str, Any]) -> dict[str, Any]:
    """Names and specifications: one-threaded workers, and one for each accelerator."""
    options = {
        **shared,
        "nthreads": 1,
        "memory_limit": 0,  # Dask would end a worker by a share of memory that nobody has asked for
        "dashboard_address": f"{LOOPBACK}:0",
        "preload": [PRELOAD],
        "silence_logs": logging.CRITICAL,
    }
    environment = dict(os.environ)  # the server has that of its own start
    specifications = {
        f"cpu-{number}": {"cls": Nanny, "options": {**options, "env": environment}} for number in range(count)
    }
    given = environment.get("CUDA_VISIBLE_DEVICES")  # numbers or names of those that this process may use
    devices = given.split(",") if given else list(map(str, range(gpus)))
    for number, device in enumerate(devices[:gpus]):
        own = {**environment, "CUDA_VISIBLE_DEVICES": device.strip()}
        specifications[f"gpu-{number}"] = {"cls": Nanny, "options": {**options, "env": own, "resources": {GPU: 1}}}
    return specifications


def _dashboard_address(place: ComputePlace, drawn: bool) -> str:
    if not drawn:
        return f"{LOOPBACK}:0"  # Dask's own pages of plain text, which cannot be switched off
    return place.dashboard or DASHBOARD


def check_dashboard(address: str) -> None:
    """Refuses what is no HOST:PORT.

    >>> check_dashboard("0.0.0.0:8787")
    >>> check_dashboard(":8787")
    Traceback (most recent call last):
    transformer_spectrum.runtime.errors.InputError: --dashboard = :8787: must be HOST:PORT, such as 127.0.0.1:8787
    """
    try:
        fields = urlsplit(f"//{address}")
        usable = bool(fields.hostname) and fields.port is not None and fields.netloc == address
    except ValueError:
        usable = False
    if not usable:
        raise InputError(f"--dashboard = {address}: must be HOST:PORT, such as {DASHBOARD}")


def _say_dashboard(client: Client, owner: str) -> None:
    """Where a scheduler that somebody has started shows itself, if it does."""
    link = client.dashboard_link
    try:
        urllib.request.urlopen(link, timeout=REACHING).close()
    except urllib.error.HTTPError:  # Dask names the page though its scheduler has none
        logger.info(f"dashboard of {owner}: off")
    except (OSError, ValueError):  # what this process does not reach a browser may
        logger.info(f"dashboard of {owner}: {link}, not within reach from here")
    else:
        logger.info(f"dashboard of {owner}: {link}")


def _kill(cluster: SpecCluster) -> None:
    """Ends workers at once: what they are at is kept in resume files step by step, or is to be thrown away."""
    for nanny in cluster.workers.values():
        nanny.auto_restart = False
        if nanny.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(nanny.pid, signal.SIGKILL)


def _start_server() -> None:
    single_threaded()  # the server imports torch
    context = get_mp_context()
    context.set_forkserver_preload(PRELOADED)
    before = os.environ.get("PYTHONPATH")
    # The server looks for its modules there and nowhere else, and passes in silence over those that it misses.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(Path(__file__).parents[3]), before)))
    try:
        forkserver.ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
