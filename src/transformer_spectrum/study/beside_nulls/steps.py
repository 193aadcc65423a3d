"""The step of a study that sets endpoints beside their nulls: from files to files, as a stage of studies/dvc.yaml."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from pathlib import Path

import numpy as np

from transformer_spectrum.config.load import load_params
from transformer_spectrum.config.schema import SpectraParams
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.progress import Progress
from transformer_spectrum.study.answer.places import HERE, StudyPlaces
from transformer_spectrum.study.answer.stored import write_csv_table
from transformer_spectrum.study.answer.trainings import run_cells, training_of
from transformer_spectrum.study.answer.tuned import with_tuning
from transformer_spectrum.study.beside_nulls.measured import beside_nulls
from transformer_spectrum.study.beside_nulls.table import nulls_path, nulls_table
from transformer_spectrum.study.protocol.cells import PlannedCell, planned_cells
from transformer_spectrum.study.protocol.model import Protocol, load_protocol
from transformer_spectrum.training.records.history import History
from transformer_spectrum.training.records.snapshots import Snapshots

SEEDS = 3
"""The first so many of a block: no effect is tested here, and the draws of all seeds would cost hours more."""
Asked = tuple[str, Path, SpectraParams, str, int]
"""A training's name, the file of its history, settings, what trained it, and its seed."""


def set_beside_nulls(places: StudyPlaces = HERE, workers: int | None = None, seeds: int = SEEDS) -> None:
    """Writes `table.COLUMNS` of the blocks whose arms are contrasted; what the study's folder lacks is trained again.

    Args:
        places: of the study.
        workers: processes, of one thread each, >= 1; None = as many as cores.
        seeds: the first so many of every block.
    Raises:
        InputError: a file is missing or broken, tuning has not run, or a training has failed.

    >>> set_beside_nulls(StudyPlaces(Path("nowhere")))
    Traceback (most recent call last):
    transformer_spectrum.runtime.errors.InputError: nowhere/protocol.yaml: no such file
    """
    from transformer_spectrum.study.running.cluster import ComputePlace  # what only reads a study needs no Dask

    protocol = with_tuning(load_protocol(places.protocol), places.tuning)
    assert protocol.tuning is not None
    cells = cells_asked_for(protocol, seeds)
    processes = workers or os.cpu_count() or 1
    states, paths, histories = run_cells(protocol, protocol.sha256, cells, places.store, ComputePlace(processes))
    trainings = {training.place: training for training in (training_of(protocol, cell) for cell in cells)}
    done = set(states.loc[states["status"] == "done", "training"])
    asked = [
        (name, histories[name], training.params.spectra, training.optimizer, training.seed)
        for name, training in trainings.items()
        if name in done
    ]
    measured = _measured_all(asked, processes)
    write_csv_table(nulls_path(places), nulls_table(protocol, states, paths, measured))


def cells_asked_for(protocol: Protocol, seeds: int) -> list[PlannedCell]:
    """The cells of the first seeds of every block that a contrast or control is of, in the protocol's order.

    >>> from transformer_spectrum.study.protocol.model import EXAMPLE, parse_protocol
    >>> tuning = {"rates": {"adam-mse": 0.001}, "targets": {}, "margins": {}}
    >>> [cell.place for cell in cells_asked_for(parse_protocol({**EXAMPLE, "tuning": tuning}), seeds=1)]
    ['controls/light/adam-mse/seed_1', 'controls/light/adam-mse-decay/seed_1']
    """
    contrasted = {contrast.block for contrast in protocol.contrasts}
    blocks = [name for name in protocol.blocks if name in contrasted]
    cells = planned_cells(protocol, blocks, load_params()) if blocks else []
    return [cell for cell in cells if cell.seed < protocol.blocks[cell.block].seeds.first + seeds]


def _measured_all(asked: Sequence[Asked], processes: int) -> Mapping[str, Mapping[str, np.ndarray]]:
    """Of every training, in so many processes; which of them measures which changes no bit."""
    context = multiprocessing.get_context("spawn")  # no thread of this process is in theirs
    size = min(processes, len(asked))
    with Progress("beside nulls", len(asked), unit="training") as progress:
        if size <= 1:
            return dict(_told(map(_measured, asked), progress))
        try:
            with ProcessPoolExecutor(size, context) as pool:
                return dict(_told(pool.map(_measured, asked), progress))
        except BrokenExecutor:
            rule = "what is trained is kept: call it again, with fewer workers where memory is short"
            raise InputError(f"a process that measured nulls was killed; {rule}") from None


def _told(
    results: Iterable[tuple[str, dict[str, np.ndarray]]], progress: Progress
) -> Iterable[tuple[str, dict[str, np.ndarray]]]:
    for number, result in enumerate(results):
        progress.update(number + 1)
        yield result


def _measured(asked: Asked) -> tuple[str, dict[str, np.ndarray]]:
    name, history, spectra, optimizer, seed = asked
    snapshots = Snapshots.load(history.with_name("snapshots.safetensors"))
    return name, beside_nulls(History.load(history), snapshots, spectra, optimizer=optimizer, seed=seed)
