"""Where MLflow is: addresses, the client that speaks to them, the experiment that holds the runs."""

from __future__ import annotations

import logging
import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from transformer_spectrum.runtime.addresses import without_password
from transformer_spectrum.runtime.errors import InputError

if TYPE_CHECKING:
    from mlflow import MlflowClient

VARIABLE = "MLFLOW_TRACKING_URI"
EXPERIMENT_VARIABLE, EXPERIMENT = "MLFLOW_EXPERIMENT_NAME", "transformer-spectrum"
SCHEMES = ("", "file", "sqlite", "http", "https", "postgresql", "mysql", "mssql")


def mlflow_address(configured: str) -> str:
    """Where MLflow is: the environment variable MLFLOW_TRACKING_URI, or else `configured`.

    Raises:
        InputError: no address that MLflow knows.

    >>> from unittest.mock import patch
    >>> with patch.dict(os.environ, {VARIABLE: "http://localhost:5000"}):
    ...     mlflow_address("sqlite:///mlflow.db")
    'http://localhost:5000'
    """
    address = os.environ.get(VARIABLE) or configured
    if urlsplit(address).scheme.partition("+")[0] not in SCHEMES or address.rstrip("/") == "sqlite:":
        name = VARIABLE if os.environ.get(VARIABLE) else "tracking.mlflow"
        raise InputError(
            f"{name} = {named(address)}: must be a folder, sqlite:///FILE, http(s)://SERVER or a database's address"
        )
    return address


def import_mlflow(address: str) -> None:
    """Imports MLflow, quietly and with limits to its patience.

    Raises:
        InputError: it is not installed.
    """
    defaults = {"DISABLE_TELEMETRY": "true", "LOGGING_LEVEL": "WARNING"}
    defaults["SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"  # which belongs to whoever has called the command
    # Its own are 7 and 120 s. What fails is tried again anyway, and at a training's end somebody waits.
    defaults |= {"HTTP_REQUEST_MAX_RETRIES": "1", "HTTP_REQUEST_TIMEOUT": "10"}
    if urlsplit(address).scheme in ("", "file"):
        defaults["ALLOW_FILE_STORE"] = "true"  # it asks to be told that one is meant
    for name, value in defaults.items():
        os.environ.setdefault(f"MLFLOW_{name}", value)
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # it tells every try
    try:
        for name in ("mlflow", "sqlalchemy", "filelock"):
            import_module(name)
    except ImportError as error:
        raise InputError(
            f"tracking.mlflow = {named(address)}: MLflow is not installed ({error.name}); pip install '.[mlflow]'"
        ) from None


def client_of(address: str) -> MlflowClient:
    """MLflow's client; a new SQLite database is made by one process at a time, or their tables would clash."""
    from filelock import FileLock
    from mlflow import MlflowClient

    database = _database(address)
    if database is None:
        return MlflowClient(address)
    database.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{database}.lock"):
        return MlflowClient(address)


def _database(address: str) -> Path | None:
    """The file of an SQLite database."""
    path = address.partition("///")[2].partition("?")[0] if address.startswith("sqlite") else ""
    return Path(path).resolve() if path else None


def run_of(client: MlflowClient, identity: str) -> Any:
    """The run, or None where there is none."""
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(identity) if identity else None
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
    return run if run is not None and run.info.lifecycle_stage == "active" else None


def experiment_of(client: MlflowClient, address: str) -> str:
    """Id of the experiment, which is made where it is missing."""
    from mlflow.exceptions import MlflowException

    name = os.environ.get(EXPERIMENT_VARIABLE) or EXPERIMENT
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        # Files go beside the database; MLflow's default is the working directory, which may be a passing one.
        database = _database(address)
        location = None if database is None else (database.parent / "mlruns").as_uri()
        try:
            return client.create_experiment(name, artifact_location=location)
        except MlflowException:  # another training has been faster
            experiment = client.get_experiment_by_name(name)
            if experiment is None:
                raise
    return experiment.experiment_id


def named(address: str) -> str:
    """The address without user name and password, for messages.

    >>> named("postgresql://user:secret@host/runs")
    'postgresql://host/runs'
    """
    return without_password(address)
