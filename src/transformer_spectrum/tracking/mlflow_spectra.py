"""What the spectra of trainings came to, added to the runs in MLflow that the trainings have made: curves of the
families of matrices, tables, figures."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformer_spectrum.runtime.files import read_table, sha256, write_table
from transformer_spectrum.runtime.replacement import scratch_folder
from transformer_spectrum.tracking.delivery import Delivery
from transformer_spectrum.tracking.mlflow_run import FAILURES, METRICS_IN_A_BATCH, PATIENCE, waiting
from transformer_spectrum.tracking.mlflow_store import client_of, experiment_of, import_mlflow, mlflow_address, named

if TYPE_CHECKING:
    from mlflow import MlflowClient

TABLES = (
    "spectra_history.parquet",
    "spectra_nulls.parquet",
    "spectra_tails.parquet",
    "spectra_circuits.parquet",
    "spectra_vectors.parquet",
    "spectra_spikes.parquet",
)
NUMBERS = ("spectra.json", "effects.json", "comparison.json")
CURVES = "spectra_evolution.csv"
SENT = "spectra"
"""Tag with the checksum of the curves that a run has got, so that the same ones are not sent twice."""


def attach_spectra(
    store: str, models: Mapping[str, Path], plots: Path, tables: Path, say: Callable[[str], None]
) -> str:
    """Adds curves, tables and figures to the newest MLflow run of each training.

    A server that takes none is told, and ends nothing.

    Args:
        store: tracking.mlflow.
        models: optimizer -> folder of its training; the checksum of its history.npz finds the run.
        plots: folder with the PNG files and spectra_evolution.csv.
        tables: folder with `NUMBERS` and the long `TABLES`.
        say: takes one line for the user.
    Returns:
        Why something was not sent; empty when all was.
    Raises:
        InputError: MLflow is not installed, or its address is none.
    """
    address = mlflow_address(store)
    import_mlflow(address)
    unknown: list[str] = []

    def send() -> Iterator[None]:
        client = client_of(address)
        experiment = experiment_of(client, address)
        for optimizer, folder in models.items():
            yield
            runs = client.search_runs(
                [experiment],
                f"tags.history = '{sha256(folder / 'history.npz')}'",
                order_by=["attributes.start_time DESC"],
                max_results=1,
            )
            if not runs and str(folder) not in unknown:
                unknown.append(str(folder))
                say(f"{folder} has no run at MLflow, so its spectra are not sent: it was trained without")
            for run in runs:
                yield from _send(client, run, optimizer, plots, tables)

    reason = Delivery(send, FAILURES, lambda reason: None, waiting(address, say)).finish(PATIENCE)
    if reason:
        say(f"MLflow at {named(address)} did not take the spectra and figures: {reason}")
    return reason


def _send(client: MlflowClient, run: Any, optimizer: str, plots: Path, tables: Path) -> Iterator[None]:
    identity, checksum = run.info.run_id, sha256(plots / CURVES)
    if run.data.tags.get(SENT) != checksum:
        metrics = _curves(plots / CURVES, optimizer)
        for first in range(0, len(metrics), METRICS_IN_A_BATCH):
            client.log_batch(identity, metrics=metrics[first : first + METRICS_IN_A_BATCH])
            yield
        client.set_tag(identity, SENT, checksum)
    for path in sorted(plots.glob("*.png")):
        client.log_artifact(identity, str(path), "figures")
        yield
    for name in NUMBERS:
        client.log_artifact(identity, str(tables / name), "spectra")
        yield
    with scratch_folder() as scratch:
        for name in TABLES:
            table = read_table(tables / name)
            write_table(scratch / name, table[table["optimizer"] == optimizer])
            client.log_artifact(identity, str(scratch / name), "spectra")
            yield


def _curves(path: Path, optimizer: str) -> list[Any]:
    """Of each family and metric of the figures, the values at all steps, such as ks_alpha.feed_forward."""
    from mlflow.entities import Metric

    now = time.time_ns() // 10**6
    with path.open(newline="", encoding="utf-8") as stream:
        return [
            Metric(f"{row['metric']}.{row['family']}", float(row["value"]), now, int(row["step"]))
            for row in csv.DictReader(stream)
            if row["optimizer"] == optimizer and row["value"]
        ]
