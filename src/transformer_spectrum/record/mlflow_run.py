"""A training's run in MLflow: its parameters, metrics, weights and figures.

Everything is sent by a thread (see `delivery`), in batches of whole steps, so that it costs a training next to
nothing and a server that dies ends nothing.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from transformer_spectrum.errors import InputError
from transformer_spectrum.files import read_json, sha256, write_json
from transformer_spectrum.record.delivery import Delivery

if TYPE_CHECKING:
    from mlflow import MlflowClient

VARIABLE = "MLFLOW_TRACKING_URI"
EXPERIMENT_VARIABLE, EXPERIMENT = "MLFLOW_EXPERIMENT_NAME", "transformer-spectrum"
SCHEMES = ("", "file", "sqlite", "http", "https", "postgresql", "mysql", "mssql")
METRICS_IN_A_BATCH = 1000  # what MLflow takes at once
PATIENCE, PATIENCE_WHEN_STOPPED = 120.0, 5.0
"""How long MLflow may take over one part at the end; seconds."""


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
    """What waits to be sent to MLflow, and the sending of it, which a thread of `Delivery` does."""

    def __init__(self, tracking: Tracking) -> None:
        self.tracking, self.address = tracking, mlflow_address(tracking.address)
        failures = _import_mlflow(self.address)
        self.client: MlflowClient | None = None
        self.id, self.sent = "", -1
        """The run's, and the last step that an earlier process has sent."""
        self.steps: deque[tuple[int, int, dict[str, float], bool]] = deque()
        self.files: deque[tuple[Path, str]] = deque()
        self.history = self.status = ""
        self.delivery = Delivery(self._send, failures, self._tell)

    def _tell(self, reason: str) -> None:
        self.tracking.say(
            f"MLflow at {_shown(self.address)} takes nothing ({reason}); the training goes on, and what it sends waits"
        )

    def step(self, index: int, scalars: Mapping[str, float], *, final: bool = False) -> None:
        """Puts the scalars of a step into the queue; `final` ones were not sent by an earlier process."""
        values = {name: float(value) for name, value in scalars.items()}
        self.steps.append((index, time.time_ns() // 10**6, values, final))

    def finish(self, models: Path) -> str:
        """Sends the rest and the training's files; why that failed, or nothing."""
        self.history = sha256(models / "history.npz")
        for path in sorted(models.iterdir()):
            self.files.append((path, "weights" if path.suffix == ".safetensors" else "training"))
        reason = self.stop("FINISHED", PATIENCE)
        self.tracking.memory.unlink(missing_ok=True)
        with suppress(OSError):  # something else is in it
            self.tracking.memory.parent.rmdir()
        if reason:
            self.tracking.say(f"MLflow at {_shown(self.address)} did not take all: {reason}")
        return reason

    def stop(self, status: str, patience: float | None = None) -> str:
        """Sends what waits and ends the run with MLflow's word for how."""
        self.status = status
        return self.delivery.finish(PATIENCE_WHEN_STOPPED if patience is None else patience)

    def _send(self) -> Iterator[None]:
        from mlflow import MlflowClient

        if self.client is None:
            self.client = MlflowClient(self.address)
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

        memory = self.tracking.memory
        remembered: Mapping[str, str] = {}
        with suppress(InputError):  # damaged or not there: nothing to go on with
            remembered = read_json(memory)
        known: Mapping[str, str] = {}
        run = _run_of(client, remembered.get("run", ""))
        if run is not None and remembered.get("training") == self.tracking.training:
            client.update_run(run.info.run_id, "RUNNING")
            history = client.get_metric_history(run.info.run_id, "validation_loss")
            self.sent = max((metric.step for metric in history), default=-1)
            known = run.data.params
            self.tracking.say(f"goes on with MLflow's run {run.info.run_id} behind its step {self.sent}")
        else:
            if run is not None:  # that training will not be gone on with
                client.set_terminated(run.info.run_id, "KILLED")
            run = client.create_run(_experiment(client, self.address), run_name=self.tracking.name)
            write_json(memory, {"run": run.info.run_id, "training": self.tracking.training})
        params = {name: _text(value) for name, value in leaves(self.tracking.params)}
        missing = [Param(name, text) for name, text in params.items() if name not in known]
        client.log_batch(run.info.run_id, params=missing, tags=[RunTag(*tag) for tag in self.tracking.tags.items()])
        self.id = run.info.run_id


def mlflow_address(given: str) -> str:
    """Where MLflow is: the environment variable MLFLOW_TRACKING_URI, or else `given`.

    Raises:
        InputError: no address that MLflow knows.
    """
    address = os.environ.get(VARIABLE) or given
    if urlsplit(address).scheme.partition("+")[0] not in SCHEMES or address.rstrip("/") == "sqlite:":
        name = VARIABLE if os.environ.get(VARIABLE) else "tracking.mlflow"
        raise InputError(
            f"{name} = {_shown(address)}: must be a folder, sqlite:///FILE, http(s)://SERVER or a database's address"
        )
    return address


def attach_figures(given: str, histories: Sequence[Path], figures: Path, say: Callable[[str], None]) -> None:
    """Adds figures to the newest MLflow run of each training; a server that takes none is told, and ends nothing.

    Args:
        given: tracking.mlflow.
        histories: history.npz of each training, by whose checksum its run is found.
        figures: folder with the PNG files.
        say: takes one line for the user.
    Raises:
        InputError: MLflow is not installed, or its address is none.
    """
    address = mlflow_address(given)
    failures = _import_mlflow(address)

    def send() -> Iterator[None]:
        from mlflow import MlflowClient

        client = MlflowClient(address)
        for history in histories:
            found = client.search_runs(
                [_experiment(client, address)],
                f"tags.history = '{sha256(history)}'",
                order_by=["attributes.start_time DESC"],
                max_results=1,
            )
            if not found:
                say(f"{history.parent} has no run at MLflow, so its figures are not sent: it was trained without")
            for run in found:
                for path in sorted(figures.glob("*.png")):
                    client.log_artifact(run.info.run_id, str(path), "figures")
                    yield

    reason = Delivery(send, failures, lambda reason: None).finish(PATIENCE)
    if reason:
        say(f"MLflow at {_shown(address)} did not take the figures: {reason}")


def _import_mlflow(address: str) -> tuple[type[Exception], ...]:
    """Imports MLflow, quietly and with limits to its patience; what it raises when a server fails."""
    defaults = {"DISABLE_TELEMETRY": "true", "LOGGING_LEVEL": "WARNING"}
    # Its own are 7 and 120 s. What fails is tried again anyway, and at a training's end somebody waits.
    defaults |= {"HTTP_REQUEST_MAX_RETRIES": "2", "HTTP_REQUEST_TIMEOUT": "20"}
    if urlsplit(address).scheme in ("", "file"):
        defaults["ALLOW_FILE_STORE"] = "true"  # it asks to be told that one is meant
    for name, value in defaults.items():
        os.environ.setdefault(f"MLFLOW_{name}", value)
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # it tells every try
    try:
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError
    except ImportError as error:
        raise InputError(
            f"tracking.mlflow = {_shown(address)}: MLflow is not installed ({error.name}); pip install '.[mlflow]'"
        ) from None
    return MlflowException, SQLAlchemyError, OSError


def _run_of(client: MlflowClient, identity: str) -> Any:
    """The run, or None where there is none."""
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(identity) if identity else None
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
    return run if run is not None and run.info.lifecycle_stage == "active" else None


def _experiment(client: MlflowClient, address: str) -> str:
    """Id of the experiment, which is made where it is missing."""
    from mlflow.exceptions import MlflowException

    name = os.environ.get(EXPERIMENT_VARIABLE) or EXPERIMENT
    found = client.get_experiment_by_name(name)
    if found is None:
        # Files go beside the database; MLflow's default is the working directory, which may be a passing one.
        database = address.partition("///")[2].partition("?")[0] if address.startswith("sqlite") else ""
        location = (Path(database).resolve().parent / "mlruns").as_uri() if database else None
        try:
            return client.create_experiment(name, artifact_location=location)
        except MlflowException:  # another training has been faster
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    return found.experiment_id


def leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields (dotted name, value)."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _shown(address: str) -> str:
    from transformer_spectrum.data.downloads import shown  # here, because it imports a client for HTTP

    return shown(address)
