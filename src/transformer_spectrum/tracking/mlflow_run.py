"""A training's run in MLflow: its parameters, metrics, weights and figures.

A thread sends it (see `delivery`), in batches of whole steps: a training waits for nothing, and a server that dies
ends nothing. What fails is told and recorded.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformer_spectrum.config import tree
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.files import read_json, sha256, write_json
from transformer_spectrum.tracking.delivery import Delivery
from transformer_spectrum.tracking.mlflow_store import (
    client_of,
    experiment_of,
    import_mlflow,
    mlflow_address,
    named,
    run_of,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

METRICS_IN_A_BATCH = 1000  # what MLflow takes at once
FAILURES = (Exception,)  # MLflow lets through whatever its HTTP, database and storage libraries raise
PATIENCE, PATIENCE_WHEN_STOPPED = 60.0, 5.0
"""How long MLflow may take over one part at the end; seconds."""


NOT_YET_SENT = "not all was sent: the training was stopped meanwhile"
"""What scores.json says of MLflow until the last file has come through."""


@dataclass(frozen=True)
class Tracking:
    """The MLflow run of a training.

    Attributes:
        address: as tracking.mlflow has it; the environment variable MLFLOW_TRACKING_URI, when set and not empty,
            takes its place.
        name: of the run, for people.
        training: tells trainings apart; one that is resumed goes on with its run.
        params: tree of all parameters.
        tags: name -> text.
        memory: JSON file that keeps the run's id until the training is through.
        say: takes one line for the user.
    """

    address: str
    name: str
    training: str
    params: Mapping[str, Any]
    tags: Mapping[str, str]
    memory: Path
    say: Callable[[str], None]


class MLflowRun:
    """A `Tracker`: what waits to be sent to MLflow, and the sending of it, which a thread of `Delivery` does."""

    unsent: Mapping[str, str] = {"mlflow": NOT_YET_SENT}

    def __init__(self, tracking: Tracking) -> None:
        self.tracking, self.address = tracking, mlflow_address(tracking.address)
        import_mlflow(self.address)
        self.client: MlflowClient | None = None
        self.id, self.sent = "", -1
        """The run's, and the last step that an earlier process has sent."""
        self.steps: deque[tuple[int, int, dict[str, float], bool]] = deque()
        self.files: deque[tuple[Path, str]] = deque()
        self.history = self.status = ""
        self._curves: set[str] = set()
        self._last = 0
        self.delivery = Delivery(self._send, FAILURES, self._tell, waiting(self.address, tracking.say))

    def _tell(self, reason: str) -> None:
        self.tracking.say(
            f"MLflow at {named(self.address)} takes nothing ({reason}); the training goes on, and what it sends waits"
        )

    def step(self, index: int, scalars: Mapping[str, float]) -> None:
        """Puts the scalars of a step into the queue."""
        self._last = index
        self._curves.update(scalars)
        self._put(index, scalars)

    def result(self, headline: Mapping[str, float], scores: Mapping[str, Any]) -> None:
        """Puts the numbers that are in no curve into the queue."""
        curves = self._curves | headline.keys()
        numbers = {n: x for n, x in tree.flatten(scores).items() if isinstance(x, int | float) and n not in curves}
        self._put(self._last, numbers, final=True)

    def _put(self, index: int, scalars: Mapping[str, float], *, final: bool = False) -> None:
        """`final` scalars were not sent by an earlier process."""
        values = {name: float(value) for name, value in scalars.items()}
        self.steps.append((index, time.time_ns() // 10**6, values, final))

    def finish(self, models: Path) -> Mapping[str, str]:
        """Sends the rest and the training's files; what scores.json says where that failed."""
        self.history = sha256(models / "history.npz")
        for path in sorted(models.iterdir()):
            self.files.append((path, "weights" if path.suffix == ".safetensors" else "training"))
        reason = self.stop("FINISHED", PATIENCE)
        self.tracking.memory.unlink(missing_ok=True)
        with suppress(OSError):  # something else is in it
            self.tracking.memory.parent.rmdir()
        if reason:
            self.tracking.say(f"MLflow at {named(self.address)} did not take all: {reason}")
        return {"mlflow": f"not all was sent: {reason}"} if reason else {}

    def fail(self, *, interrupted: bool) -> None:
        """Sends what waits, briefly, and ends the run."""
        self.stop("KILLED" if interrupted else "FAILED")

    def stop(self, status: str, patience: float | None = None) -> str:
        """Sends what waits and ends the run with MLflow's word for how."""
        self.status = status
        return self.delivery.finish(PATIENCE_WHEN_STOPPED if patience is None else patience)

    def _send(self) -> Iterator[None]:
        if self.client is None:
            self.client = client_of(self.address)
        if not self.id:
            self._open(self.client)
        yield
        while self.steps:
            count, metrics = self._batch()
            self.client.log_batch(self.id, metrics=metrics)
            for _ in range(count):
                self.steps.popleft()
            yield
        if self.history:
            self.client.set_tag(self.id, "history", self.history)
        while self.files:
            path, folder = self.files[0]
            self.client.log_artifact(self.id, str(path), folder)
            self.files.popleft()
            yield
        if self.status:
            self.client.set_terminated(self.id, self.status)

    def _batch(self) -> tuple[int, list[Any]]:
        """The next whole steps that MLflow takes at once, and their metrics without those that it has."""
        from mlflow.entities import Metric

        metrics: list[Any] = []
        count = 0
        for index, milliseconds, scalars, final in list(self.steps):
            if count and len(metrics) + len(scalars) > METRICS_IN_A_BATCH:
                break
            count += 1
            if final or index > self.sent:
                metrics += [Metric(name, value, milliseconds, index) for name, value in scalars.items()]
        return count, metrics

    def _open(self, client: MlflowClient) -> None:
        """Goes on with the run of the same training, which an earlier process has begun, or begins one."""
        from mlflow.entities import Param, RunTag
        from mlflow.tracking.context.registry import resolve_tags

        memory = self.tracking.memory
        remembered: Mapping[str, str] = {}
        with suppress(InputError):  # damaged or not there: nothing to go on with
            remembered = read_json(memory)
        params_there: Mapping[str, str] = {}
        run = run_of(client, remembered.get("run", ""))
        if run is not None and remembered.get("training") == self.tracking.training:
            client.update_run(run.info.run_id, "RUNNING")
            history = client.get_metric_history(run.info.run_id, "validation_loss")
            self.sent = max((metric.step for metric in history), default=-1)
            params_there = run.data.params
            self.tracking.say(f"goes on with MLflow's run {run.info.run_id} behind its step {self.sent}")
        else:
            if run is not None:  # that training will not be gone on with
                client.set_terminated(run.info.run_id, "KILLED")
            run = client.create_run(experiment_of(client, self.address), run_name=self.tracking.name)
            write_json(memory, {"run": run.info.run_id, "training": self.tracking.training})
        params = {name: _text(value) for name, value in tree.flatten(self.tracking.params).items()}
        missing = [Param(name, text) for name, text in params.items() if name not in params_there]
        # MLflow's own tags, those of its columns: user, source, commit.
        tags = {**resolve_tags(), **self.tracking.tags}
        client.log_batch(run.info.run_id, params=missing, tags=[RunTag(*tag) for tag in tags.items()])
        self.id = run.info.run_id


def waiting(address: str, say: Callable[[str], None]) -> Callable[[float], None]:
    """What is said when MLflow takes long at the end.

    >>> waiting("https://user:secret@host", print)(60.0)
    waiting for MLflow at https://host, until nothing comes through for 60 s
    """
    return lambda patience: say(
        f"waiting for MLflow at {named(address)}, until nothing comes through for {patience:g} s"
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
