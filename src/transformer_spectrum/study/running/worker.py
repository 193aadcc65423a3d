"""What a Dask worker of a study says of itself as it starts: `--preload transformer_spectrum.study.running.worker`.

A worker offers a seat, a Dask resource whose name holds the checksum of its package versions and of its code. A study
asks for the seat that its own checksum names, so Dask itself sends no work to a worker that would compute other bits.
A worker that was started with Dask's resource GPU takes trainings on it; every other one computes on its processor.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal

from transformer_spectrum.runtime import deciding_code
from transformer_spectrum.runtime.provenance import versions

if TYPE_CHECKING:
    from distributed import Worker

Kind = Literal["CPU", "GPU"]

GPU = "GPU"
"""Name of the Dask resource that a worker on an accelerator is started with."""
PRELOAD = "transformer_spectrum.study.running.worker"
SEAT = "transformer-spectrum"
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def single_threaded() -> None:
    """Lets the libraries of this process and of its children, when they are imported, compute in one thread.

    >>> from unittest.mock import patch
    >>> with patch.dict(os.environ):
    ...     single_threaded()
    ...     os.environ["OMP_NUM_THREADS"]
    '1'
    """
    for name in THREAD_VARIABLES:
        os.environ[name] = "1"


@functools.cache
def identity() -> dict[str, dict[str, str]]:
    """What decides the bits that this process computes: package versions, and checksums of our modules as it began.

    A build of torch for a processor and one for an accelerator (2.13.0+cpu, 2.13.0+cu130) are one version.

    >>> list(identity()), identity()["versions"]["torch"]
    (['versions', 'code'], '2.13.0')
    """
    numbers = {**versions(), "dask": version("dask"), "distributed": version("distributed")}
    plain = {name: number.partition("+")[0] for name, number in numbers.items()}
    return {"versions": plain, "code": deciding_code.checksums([""])}


def seat(kind: Kind, checksum: str | None = None) -> str:
    """Name of the Dask resource that is the right to compute for a study with this code.

    Args:
        kind: on a processor or on an accelerator.
        checksum: of an identity; ours if not given.

    >>> seat("GPU", "5f2e")
    'transformer-spectrum GPU 5f2e'
    """
    return f"{SEAT} {kind} {checksum or _checksum()}"


def _checksum() -> str:
    return hashlib.sha256(json.dumps(identity(), sort_keys=True).encode()).hexdigest()[:12]


def dask_setup(worker: Worker) -> None:
    """Called by Dask before the worker registers with its scheduler.

    >>> from types import SimpleNamespace
    >>> from unittest.mock import patch
    >>> resources = {"GPU": 1.0}
    >>> dask_setup(SimpleNamespace(state=SimpleNamespace(total_resources=resources, available_resources={})))
    >>> list(resources) == ["GPU", seat("GPU")]
    True
    """
    kind: Kind = "GPU" if worker.state.total_resources.get(GPU) else "CPU"
    if kind == "CPU":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    resources: dict[str, Any] = {seat(kind): 1.0}  # trainings at once, however many threads the worker has
    worker.state.total_resources.update(resources)
    worker.state.available_resources.update(resources)
