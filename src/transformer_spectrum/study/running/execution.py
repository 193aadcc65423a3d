"""The missing cells of a study on a cluster: its data, its trainings in ensembles, and their spectra."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.files import write_text
from transformer_spectrum.runtime.log import to_stderr, work_begins
from transformer_spectrum.runtime.progress import Progress
from transformer_spectrum.study.running import results, work
from transformer_spectrum.study.running.cluster import ComputePlace, connected
from transformer_spectrum.study.running.engine import Ended, Engine, Task
from transformer_spectrum.study.running.ensembles import Ensemble, Shape, ensembles
from transformer_spectrum.study.running.files import Files, read_files
from transformer_spectrum.study.running.grid import Cell
from transformer_spectrum.study.running.request import Request
from transformer_spectrum.study.running.store import Store, read_record
from transformer_spectrum.study.running.worker import Kind
from transformer_spectrum.training import build
from transformer_spectrum.training.setup import read_windows

logger = logging.getLogger(__name__)

Measure = Callable[[Cell, bool, Files], Files]
"""`work.measure` or `work.measure_path`: a cell, whether its data are a stand-in, what is kept of it -> its tables."""
RETURNING = 180
"""Looks, a second apart, until a worker of this machine has to be there again; 10 are usual."""
Failures = dict[str, str]
"""ComputePlace -> why a cell is not done."""


def execute(
    study: str,
    cells: Sequence[Cell],
    store: Store,
    place: ComputePlace,
    members: int | None = None,
    measure: Measure = work.measure,
) -> Failures:
    """Runs what is missing of a study; workers compute, and only this process writes results.

    Args:
        study: its name.
        cells: all of it.
        store: its folder.
        place: where to compute.
        members: trainings in one ensemble at most, >= 1; None = `ensembles.MEMBERS`.
        measure: what makes a training's tables.
    Returns:
        Why cells are not done.
    Raises:
        InputError: nobody is there to compute, or no device that a cell asks for.
    """
    work_begins()
    failures = _fetch(study, cells, store)
    ready = [cell for cell in cells if cell.place not in failures]
    results.say_standins(study, {cell.dataset for cell in ready if results.is_standin(store, cell)})
    missing = [cell for cell in ready if not _is_there(store, cell)]
    if not missing:
        logger.info(f"sweep {study}: {len(cells)} cells, {len(ready)} of them done before")
        return failures
    gpus = 0 if place.scheduler else _gpus(missing)
    if not place.scheduler:
        place = dataclasses.replace(place, workers=min(place.workers, len(missing)))
    with connected(place, gpus) as client:
        engine = Engine(client, f"sweep {study}", None if place.scheduler else RETURNING)
        engine.wait("GPU" if any(cell.params.device == "cuda" for cell in missing) else "CPU")
        execution = Execution(study, store, engine, measure, lasting=place.scheduler is None)
        execution.prepare(missing)
        execution.complete(missing, len(cells), len(ready) - len(missing), members)
    return failures | execution.failures


def _is_there(store: Store, cell: Cell) -> bool:
    windows = not results.windows_fault(store, cell, results.asked_windows(store, cell))
    return windows and results.is_done(store, cell, results.asked_training(store, cell))


def _gpus(cells: Sequence[Cell]) -> int:
    """Accelerators of this machine that some cell would use.

    Raises:
        InputError: one is asked for, and there is none.
    """
    asked = {cell.params.device for cell in cells}
    if "cuda" in asked:
        build.device("cuda")
    return torch.cuda.device_count() if asked & {"auto", "cuda"} else 0


def _fetch(study: str, cells: Sequence[Cell], store: Store) -> Failures:
    """Fetches the raw series that are missing, in this process, which alone has to reach their source."""
    sets = {cell.dataset: cell for cell in reversed(cells) if results.raw_fault(store, cell)}
    failed: Failures = {}
    if sets:
        with Progress(f"sweep {study}: raw series", len(sets), "data set") as progress:
            progress.update(0)
            for number, (name, cell) in enumerate(sets.items(), start=1):
                log = store.log("raw", name)
                try:
                    with _printing_to(log):
                        results.fetch(store, cell)
                except InputError as error:
                    failed[name] = str(error)
                    logger.warning(f"sweep {study}: raw series: {name} failed: {error} ({log})")
                progress.update(number, failed=len(failed))
    return {cell.place: f"no data: {failed[cell.dataset]}" for cell in cells if cell.dataset in failed}


@contextlib.contextmanager
def _printing_to(log: Path) -> Iterator[None]:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as stream, contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream), to_stderr():
        yield


class Execution:
    """What is asked of the workers of one study, and what is written of their answers.

    Args:
        study: its name.
        store: its folder.
        engine: of the workers.
        measure: what makes a training's tables.
        lasting: whether workers keep resume files in the study's folder, which then is theirs too.
    """

    def __init__(self, study: str, store: Store, engine: Engine, measure: Measure, *, lasting: bool) -> None:
        self.study, self.store, self.engine, self.measure, self.lasting = study, store, engine, measure, lasting
        self.failures: Failures = {}
        self._requests: dict[str, Request] = {}
        self._ended = 0
        self._progress: Progress | None = None

    def prepare(self, cells: Sequence[Cell]) -> None:
        """Makes the windows that are missing, once for each data set and seed."""
        shared = {(cell.dataset, cell.seed): cell for cell in reversed(cells)}
        todo = [cell for cell in shared.values() if results.windows_fault(self.store, cell, self._asked_windows(cell))]
        failed: Failures = {}
        tasks = [
            Task(
                f"{cell.dataset}/seed_{cell.seed}",
                work.make_windows,
                functools.partial(self._drawn_from, cell),
                functools.partial(self._prepared, cell, failed),
            )
            for cell in todo
        ]
        self._run(f"sweep {self.study}: windows", "data set", len(tasks), tasks)
        for cell in cells:
            if reason := failed.get(f"{cell.dataset}/seed_{cell.seed}"):
                self.failures[cell.place] = f"no data: {reason}"

    def _drawn_from(self, cell: Cell) -> tuple[Any, ...]:
        return cell, results.raw_series(self.store, cell)

    def _asked_windows(self, cell: Cell) -> Request:
        return results.asked_windows(self.store, cell)

    def _prepared(self, cell: Cell, failed: Failures, ended: Ended) -> Iterable[Task]:
        name = f"{cell.dataset}/seed_{cell.seed}"
        log = self._log(ended, "windows", name)
        if ended.reason:
            failed[name] = ended.reason
            logger.warning(f"sweep {self.study}: windows: {name} failed: {ended.reason} ({log})")
        else:
            results.put_windows(self.store, cell, ended.value)
        self._count(1, len(failed))
        return ()

    def complete(self, missing: Sequence[Cell], total: int, before: int, members: int | None) -> None:
        """Trains and measures.

        Args:
            missing: cells that were not there; those that have failed since are left out.
            total: cells of the study; count.
            before: those of them that were done before; count.
            members: trainings in one ensemble at most; None = `ensembles.MEMBERS`.
        """
        ready = [cell for cell in missing if cell.place not in self.failures]
        self._requests = {cell.place: results.asked_training(self.store, cell) for cell in ready}
        todo = [cell for cell in ready if not self._is_done(cell)]  # windows may have come back as they were
        untrained = [cell for cell in todo if results.training_fault(self.store, cell, self._requests[cell.place])]
        kinds: dict[str, Kind] = {cell.place: self._kind(cell) for cell in untrained}
        shapes = self._shapes(untrained)
        cut = ensembles(untrained, shapes, kinds, self.engine.seats, members)
        seats = sum(self.engine.seats.values())
        logger.info(
            f"sweep {self.study}: {total} cells, {before + len(ready) - len(todo)} of them done before; "
            f"{len(untrained)} to train in {len(cut)} ensembles on {seats} worker{'s' * (seats != 1)}"
        )
        tasks = [self._measuring(cell) for cell in todo if cell not in untrained]
        tasks += [self._training(ensemble) for ensemble in cut]
        self._run(f"sweep {self.study}", "cell", len(todo), tasks)
        for cell in todo:  # what was written is read again before it counts
            if cell.place not in self.failures and not self._is_done(cell):
                reason = results.training_fault(self.store, cell, self._requests[cell.place])
                self.failures[cell.place] = reason or "its spectra are missing"

    def _is_done(self, cell: Cell) -> bool:
        return results.is_done(self.store, cell, self._requests[cell.place])

    def _kind(self, cell: Cell) -> Kind:
        device = cell.params.device
        return "GPU" if device == "cuda" or (device == "auto" and self.engine.seats["GPU"]) else "CPU"

    def _shapes(self, cells: Sequence[Cell]) -> dict[str, Shape]:
        """ComputePlace -> windows of each, read once for a data set and a seed."""
        by_windows: dict[Path, Shape] = {}
        for cell in cells:
            path = self.store.windows(cell) / work.WINDOWS
            if path not in by_windows:
                train = read_windows(path / "windows.npz")["train"]
                by_windows[path] = Shape(*train.context.shape[:2], *train.target.shape[1:])
        return {cell.place: by_windows[self.store.windows(cell) / work.WINDOWS] for cell in cells}

    def _training(self, ensemble: Ensemble) -> Task:
        store, cells = self.store, ensemble.cells
        folders = list(dict.fromkeys(store.windows(cell) for cell in cells))
        shared = {
            f"windows-{read_record(folder)['files'][work.WINDOWS_FILES[0]]}": functools.partial(
                read_files, folder, work.WINDOWS_FILES
            )
            for folder in folders
        }
        arguments = (
            cells,
            [store.resume(cell).absolute() if self.lasting else None for cell in cells],
            [folders.index(store.windows(cell)) for cell in cells],
        )
        return Task(
            ensemble.name,
            work.train_cells,
            lambda: arguments,
            functools.partial(self._trained, ensemble),
            shared,
            ensemble.kind,
        )

    def _trained(self, ensemble: Ensemble, ended: Ended) -> Iterable[Task]:
        """Writes the trainings; lets each member of an ensemble that has failed as a whole be tried alone once."""
        if ended.reason and len(ensemble.cells) > 1:
            words = f"{ensemble.name} failed together: {ended.reason}; each is tried alone"
            logger.warning(f"sweep {self.study}: {words}")
            return [self._training(Ensemble(ensemble.kind, (cell,))) for cell in ensemble.cells]
        outputs = [ended.reason] if ended.reason else ended.value
        following = []
        for cell, files in zip(ensemble.cells, outputs, strict=True):
            log = self._log(ended, "trainings", cell.place)
            if isinstance(files, str):
                self._fail(cell, files, log)
            else:
                results.put_training(self.store, cell, files, self._requests[cell.place])
                following.append(self._measuring(cell))
        return following

    def _measuring(self, cell: Cell) -> Task:
        return Task(
            f"{cell.place} spectra",
            self.measure,
            functools.partial(self._measured_on, cell),
            functools.partial(self._measured, cell),
        )

    def _measured_on(self, cell: Cell) -> tuple[Any, ...]:
        folder = self.store.training(cell)
        files = read_files(folder, list(read_record(folder)["files"]))
        return cell, results.is_standin_training(self.store, cell), files

    def _measured(self, cell: Cell, ended: Ended) -> Iterable[Task]:
        if ended.reason:
            self._fail(cell, ended.reason, self._log(ended, "spectra", cell.place))
        else:
            results.put_spectra(self.store, cell, ended.value)
            self._count(1, len(self.failures))
        return ()

    def _fail(self, cell: Cell, reason: str, log: Path) -> None:
        self.failures[cell.place] = reason
        logger.warning(f"sweep {self.study}: {cell.place} failed: {reason} ({log})")
        self._count(1, len(self.failures))

    def _log(self, ended: Ended, *names: str) -> Path:
        path = self.store.log(*names)
        write_text(path, ended.log)
        return path

    def _run(self, title: str, unit: str, total: int, tasks: Sequence[Task]) -> None:
        if not tasks:
            return
        with Progress(title, total, unit) as self._progress:
            self._ended = 0
            self._progress.update(0)
            self.engine.run(tasks)

    def _count(self, more: int, failed: int) -> None:
        assert self._progress is not None
        self._ended += more
        self._progress.update(self._ended, failed=failed)
