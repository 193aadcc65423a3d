"""Pieces of work on a Dask cluster: each goes to one free seat, and what is lost with a worker goes to another.

A piece of work is sent to a worker by name. What is lost with it goes to another, until it has taken more workers along
than the scheduler allows; then it has failed, with a reason. Left to itself Dask would put a piece behind another,
where the data lie, though other workers are free, and hold the loss of the worker against both.
"""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import queue
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Set
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakValueDictionary

import dask
from distributed import Client, Future
from distributed.scheduler import KilledWorker

from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.log import to_stderr
from transformer_spectrum.study.running.files import Files
from transformer_spectrum.study.running.security import check_address
from transformer_spectrum.study.running.worker import GPU, PRELOAD, SEAT, Kind, identity, seat

logger = logging.getLogger(__name__)

POLL = 1.0
"""Seconds between two looks at who is in the cluster, while nothing ends."""
FETCHING = 60.0
"""Seconds that a value may take from a worker."""
RETRIES = 1
"""How often work that has raised an error that is none of its input is tried once more."""


@dataclass(frozen=True)
class Ended:
    """What came of a piece of work.

    Attributes:
        value: what its function has returned; None where it has failed.
        reason: why it has failed, in one line; empty when it has not.
        log: what it has printed.
    """

    value: Any
    reason: str
    log: str


@dataclass(frozen=True, eq=False)
class Task:
    """One piece of work.

    Attributes:
        name: what it is called by in messages and on the dashboard.
        function: at the top of a module.
        arguments: makes those of the function, when the work is sent.
        shared: files behind the arguments that other pieces of work need as well, by a name that tells them apart.
        kind: of worker that it is for.
        ended: told here what has come of it; gives work that is to follow, which goes before what waits.
    """

    name: str
    function: Callable[..., Any]
    arguments: Callable[[], tuple[Any, ...]]
    ended: Callable[[Ended], Iterable[Task]]
    shared: Mapping[str, Callable[[], Files]] = field(default_factory=dict)
    kind: Kind = "CPU"


@dataclass(frozen=True)
class _Sent:
    """Work on its way: the task, the files that have to stay meanwhile, and the worker that it was sent to."""

    task: Task
    shared: list[Future[Any]]
    worker: str


def perform(function: Callable[..., Any], arguments: tuple[Any, ...], *shared: Files) -> Ended:
    """Does a piece of work; called on a worker.

    >>> perform(divmod, (7, 2)).value
    (3, 1)
    """
    printed = io.StringIO()
    value, reason = None, ""
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed), to_stderr():
        try:
            value = function(*arguments, *shared)
        except InputError as error:
            reason = " ".join(str(error).split())
    return Ended(value, reason, printed.getvalue())


def unlike(theirs: Mapping[str, Mapping[str, str]], ours: Mapping[str, Mapping[str, str]]) -> str:
    """The first thing in which two identities differ, see `worker.identity`.

    >>> unlike({"versions": {"torch": "2.11.0"}}, {"versions": {"torch": "2.13.0"}})
    'it has torch 2.11.0, and not 2.13.0'
    >>> unlike({"code": {"losses.py": "5f2e"}}, {"code": {"losses.py": "0a1b"}})
    'its losses.py is of another commit'
    """
    for block in sorted(ours, reverse=True):
        of_block = theirs.get(block, {})
        for name in sorted({*of_block, *ours[block]}):
            if of_block.get(name) != ours[block].get(name):
                if block == "versions":
                    return f"it has {name} {of_block.get(name)}, and not {ours[block].get(name)}"
                return f"its {name} is of another commit"
    return ""


class Engine:
    """Runs pieces of work on the workers of a cluster that have our code and our package versions.

    Args:
        client: of the cluster's scheduler.
        title: what messages begin with.
        patience: looks, `POLL` seconds apart, at which there may be no worker for work that waits; count, None =
            for ever, as in a queue. Not seconds, which pass while this process is stopped.
    """

    def __init__(self, client: Client, title: str, patience: int | None = None) -> None:
        self.client, self.title, self.patience = client, title, patience
        self._unserved = 0
        self._workers: dict[Kind, list[str]] = {"CPU": [], "GPU": []}
        self._refused: dict[str, str] = {}
        self._awaited: set[Kind] = set()
        self._ended: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
        self._shared: WeakValueDictionary[str, Future[Any]] = WeakValueDictionary()
        self._running: dict[Future[Any], _Sent] = {}
        self._losses: Counter[Task] = Counter()

    @property
    def seats(self) -> dict[Kind, int]:
        """How many workers of each kind can take our work."""
        return {kind: len(addresses) for kind, addresses in self._workers.items()}

    def wait(self, kind: Kind = "CPU") -> None:
        """Until there is a worker that can take our work.

        Args:
            kind: GPU = one that can take work for accelerators.
        Raises:
            InputError: there are workers, and every one of them is refused; or `run`'s.
        """
        while self._look({kind}):
            if self._refused and not any(self.seats.values()):
                reason = next(iter(self._refused.values()))
                raise InputError(f"{self.title}: no worker can take its work: {reason}")
            time.sleep(POLL)

    def run(self, tasks: Iterable[Task]) -> None:
        """Runs every task, in this order, and those that follow.

        Raises:
            InputError: the scheduler has gone, or no worker has come for too long.
        """
        waiting = deque(tasks)
        try:
            while waiting or self._running:
                self._look({task.kind for task in waiting} | {sent.task.kind for sent in self._running.values()})
                waiting.extendleft(self._of_lost_workers())
                self._submit(waiting)
                with contextlib.suppress(queue.Empty):
                    future = self._ended.get(timeout=POLL)
                    sent = self._running.pop(future, None)
                    if sent is not None:  # else it was given up with its worker
                        waiting.extendleft(self._followed(sent, self._outcome(future, sent)))
        finally:
            if self._running:
                with contextlib.suppress(Exception):
                    self.client.cancel(list(self._running), force=True)
                self._running.clear()

    def _of_lost_workers(self) -> list[Task]:
        """Work whose worker has gone, once more, or what follows where it has taken too many along."""
        again: list[Task] = []
        present = {address for addresses in self._workers.values() for address in addresses}
        for future, sent in list(self._running.items()):
            if sent.worker not in present and not future.done():
                del self._running[future]
                self.client.cancel([future], force=True)
                again += self._followed(sent, self._lost(sent, 1))
        return again

    def _followed(self, sent: _Sent, ended: Ended | None) -> list[Task]:
        """What is to be done next, the last first; None = the same once more."""
        return [sent.task] if ended is None else list(reversed(list(sent.task.ended(ended))))

    def _lost(self, sent: _Sent, workers: int) -> Ended | None:
        """What becomes of work that was lost with so many workers more."""
        self._losses[sent.task] += workers
        count = self._losses[sent.task]
        if count <= self._allowed:
            return None
        return Ended(None, f"lost with {count} worker{'s' * (count > 1)}, the last at {sent.worker}", "")

    @functools.cached_property
    def _allowed(self) -> int:
        """How many workers a piece of work may take along; of the scheduler."""
        return int(self.client.run_on_scheduler(dask.config.get, "distributed.scheduler.allowed-failures"))

    def _submit(self, waiting: deque[Task]) -> None:
        """Gives the first tasks that a free seat is for to the scheduler."""
        taken = {sent.worker for sent in self._running.values()}
        free = {kind: [each for each in addresses if each not in taken] for kind, addresses in self._workers.items()}
        passed: list[Task] = []
        while waiting and any(free.values()):
            task = waiting.popleft()
            kind = self._seat_of(task.kind)
            if free[kind]:
                self._send(task, kind, free[kind].pop(0))
            else:
                passed.append(task)
        waiting.extendleft(reversed(passed))

    def _send(self, task: Task, kind: Kind, worker: str) -> None:
        resources = {seat(kind): 1.0, **({GPU: 1.0} if task.kind == "GPU" else {})}
        shared = [self._share(name, files, kind) for name, files in task.shared.items()]
        future = self.client.submit(
            perform,
            task.function,
            task.arguments(),
            *shared,
            workers=[worker],
            resources=resources,
            retries=RETRIES,
            pure=False,
        )
        self._running[future] = _Sent(task, shared, worker)
        future.add_done_callback(self._ended.put)

    def _seat_of(self, kind: Kind) -> Kind:
        """Where there are workers on accelerators alone, these do the rest too."""
        return "GPU" if kind == "GPU" or (not self.seats["CPU"] and self.seats["GPU"]) else "CPU"

    def _share(self, name: str, files: Callable[[], Files], kind: Kind) -> Future[Any]:
        """Files on the cluster, sent once while they are needed; a scheduler makes them again when they are lost."""
        future = self._shared.get(name)
        if future is None:
            future = self.client.submit(dict, files(), key=f"{name}-{seat(kind)}", resources={seat(kind): 0.0})
            self._shared[name] = future
        return future

    def _outcome(self, future: Future[Any], sent: _Sent) -> Ended | None:
        """What has come of work; None where it has to be done once more."""
        try:
            return future.result(timeout=FETCHING)
        except KilledWorker as error:
            return self._lost(sent, error.allowed_failures + 1)
        except CancelledError:
            raise self._gone() from None
        except Exception as error:  # of the work, on a worker: whatever it is, it ends this piece of work alone
            if isinstance(error, OSError) and future.status == "lost":  # done, and its worker has gone since
                return None
            if isinstance(error, OSError) and future.status != "error":  # done, but its value cannot be had any more
                raise self._gone() from None
            return Ended(None, f"{type(error).__name__}: {' '.join(str(error).split())}", "")

    def _gone(self) -> InputError:
        return InputError(f"{self.title}: the scheduler has gone; what is done is kept")

    def _look(self, needed: Set[Kind]) -> set[Kind]:
        """Counts the seats, and says once of each worker that has none why that is so; what nobody is there to do.

        Raises:
            InputError: the scheduler has gone, or a worker is not reached safely, or none has come for too long.
        """
        if self.client.status not in ("running", "connecting"):
            raise self._gone()
        try:
            workers = self.client.scheduler_info(n_workers=-1)["workers"]
        except (KeyError, OSError):  # the client was closed meanwhile, and then knows of nobody
            raise self._gone() from None
        kinds: tuple[Kind, ...] = ("CPU", "GPU")
        self._workers = {
            kind: [address for address, worker in workers.items() if seat(kind) in worker["resources"]]
            for kind in kinds
        }
        for address, worker in workers.items():
            check_address(f"{self.title}: worker", address)
            strange = not any(seat(kind) in worker["resources"] for kind in kinds)
            if strange and address not in self._refused:
                self._refused[address] = f"worker {address} is refused: {self._fault(address, worker['resources'])}"
                logger.warning(f"{self.title}: {self._refused[address]}")
        missing: set[Kind] = {kind for kind in needed if not self.seats[self._seat_of(kind)]}
        for kind in sorted(missing - self._awaited):
            logger.info(f"{self.title}: waiting for a worker{' with the Dask resource GPU' * (kind == 'GPU')}")
        self._awaited = missing
        self._unserved = self._unserved + 1 if missing else 0
        if self.patience is not None and self._unserved > self.patience:
            seconds = f"{self.patience * POLL:g} s"
            raise InputError(
                f"{self.title}: no worker has come for {seconds}; what is done is kept, go on by a new call"
            )
        return missing

    def _fault(self, address: str, resources: Mapping[str, float]) -> str:
        """Why a worker offers no seat to us."""
        answer = self.client.run(identity, workers=[address], on_error="return").get(address)
        if not isinstance(answer, dict):
            return f"it does not run this code: {type(answer).__name__}: {' '.join(str(answer).split())}"
        if answer != identity():
            return unlike(answer, identity())
        if not any(name.startswith(SEAT) for name in resources):
            return f"it was started without --preload {PRELOAD}"
        return "it was started with code that has changed since"
