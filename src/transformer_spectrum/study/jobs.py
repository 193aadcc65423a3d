"""Trainings that a worker is asked for, all of one ensemble."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from transformer_spectrum.config.load import Params
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.training.train import train


@dataclass(frozen=True)
class Job:
    """One training: what `training.train.train` takes.

    Attributes:
        params, optimizer, data, models, metrics, provenance, resume, name: see there.
    """

    params: Params
    optimizer: str
    data: Path
    models: Path
    metrics: Path
    provenance: Path
    resume: Path
    name: str | None = None


def train_all(jobs: Sequence[Job]) -> list[str]:
    """Trains every job.

    Returns:
        Of each job the reason why it has failed, in one line; empty when it has not.

    >>> train_all([])
    []
    """
    return [_train(job) for job in jobs]


def _train(job: Job) -> str:
    try:
        train(
            job.params,
            job.optimizer,
            data=job.data,
            models=job.models,
            metrics=job.metrics,
            provenance=job.provenance,
            resume=job.resume,
            name=job.name,
        )
    except InputError as error:
        return " ".join(str(error).split())
    return ""
