"""How the work of trainings is divided, and who shares it.

Members are computed in chunks: large enough that a product is worth its call, small enough that what lies between two
products stays in the processor's cache. On a CPU threads share the chunks, each with one core: two threads that
compute two chunks beat two threads inside every small product. A batch's gradient is cut besides into pieces of
windows. What is a piece follows from sizes alone, so that neither the number of threads nor the machine's speed
changes a result.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

from transformer_spectrum.models.forecaster import Forecaster

Task = TypeVar("Task")
Result = TypeVar("Result")

MIB = 2**20
PIECES, PIECE_MIB = 4, 1.5
"""A gradient's batch is cut into so many pieces at most, each with so many activations at least."""
GRADIENT_MIB = 24
"""Activations of the members whose gradients a core computes at once; `benchmarks/ensembles.py`."""
WINDOWS = 64
"""Windows in a piece when a CPU scores vectors on whole sets."""
GPU_SHARE, WITH_GRADIENT = 0.25, 8
"""Of a GPU's free memory for activations; and how many times as many a gradient holds."""


def power_of_two(limit: float) -> int:
    """The largest that is not above the limit, at least 1.

    >>> power_of_two(0.5), power_of_two(9)
    (1, 8)
    """
    return 1 << (max(1, int(limit)).bit_length() - 1)


def grouped(keys: Iterable[Hashable]) -> list[list[int]]:
    """Positions of equal keys, in the order in which the keys come.

    >>> grouped("abca")
    [[0, 3], [1], [2]]
    """
    groups: dict[Hashable, list[int]] = {}
    for position, key in enumerate(keys):
        groups.setdefault(key, []).append(position)
    return list(groups.values())


class Division:
    """Sizes of what is computed at once, for networks of one architecture and windows of one length.

    Args:
        model: that is computed.
        steps: (C, H) of the windows.
        batch_size: windows in a batch.
        device, workers, memory_mib, precision, compile: see `evaluation.Evaluation`.

    Attributes:
        on_cpu: whether a CPU computes.
        workers: threads that share the work; 1 on a GPU.
        cores: threads for what is computed on the CPU even beside a GPU.
        members: that are scored at once; a power of two, so that mirrored pairs that are neighbours stay together.
        learning_members: whose gradients are computed at once.
        windows: in a piece of a whole set.
        pieces: of a batch's gradient.

    >>> from transformer_spectrum.config.load import load_params
    >>> from transformer_spectrum.training.build import model
    >>> division = Division(model(load_params("params.yaml"), 1), (96, 24), 32, torch.device("cpu"), workers=2)
    >>> division.pieces, division.share(lambda task: task**2, [1, 2, 3])
    (1, [1, 4, 9])
    """

    def __init__(
        self,
        model: Forecaster,
        steps: tuple[int, int],
        batch_size: int,
        device: torch.device,
        *,
        workers: int = 1,
        memory_mib: float | None = None,
        precision: torch.dtype = torch.float32,
        compile: bool = False,
    ) -> None:
        self.on_cpu = device.type == "cpu"
        self.workers = workers if self.on_cpu else 1
        self.cores = workers if self.on_cpu else os.cpu_count() or 1
        floats = batch_size * model.activations(*steps)
        free = None if self.on_cpu else _free_mib(device)
        scoring = memory_mib or (model.chunk_mib if free is None else free)
        self.members = power_of_two(scoring * MIB / (floats * precision.itemsize))
        learning = memory_mib or (GRADIENT_MIB if free is None else free / WITH_GRADIENT)
        self.learning_members = power_of_two(learning * MIB / (floats * 4))
        self.windows = WINDOWS if free is None else power_of_two(free * MIB / (model.activations(*steps) * 4))
        whole = not self.on_cpu or compile
        self.pieces = 1 if whole else min(PIECES, power_of_two(floats * 4 / (PIECE_MIB * MIB)))

    def share(self, work: Callable[[Task], Result], tasks: Sequence[Task]) -> list[Result]:
        """What comes of all tasks, in their order, by all workers."""
        workers = min(self.workers, len(tasks))
        with _one_thread():
            if workers == 1:
                return [work(task) for task in tasks]
            with ThreadPoolExecutor(workers) as pool:
                return list(pool.map(work, tasks))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Inside, torch computes with one thread, in the threads that start here as well."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _free_mib(device: torch.device) -> float:
    """Memory of a GPU that activations may take; MiB."""
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 8192 * MIB
    return free * GPU_SHARE / MIB
