"""A whole study: what is missing is run, what is there is verified, and all of it gathered in tables and figures."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Literal

from transformer_spectrum.runtime.files import atomic_together
from transformer_spectrum.runtime.interruption import Interruption
from transformer_spectrum.runtime.progress import Progress
from transformer_spectrum.study import processes, work
from transformer_spectrum.study.grid import Cell, Grid
from transformer_spectrum.study.processes import Task
from transformer_spectrum.study.request import Request
from transformer_spectrum.study.store import Store, fault, read_record
from transformer_spectrum.study.table import alike_losses, write_cells, write_table

logger = logging.getLogger(__name__)

Backend = Literal["processes", "dvc"]
Failures = dict[str, str]


def sweep(
    grid: Grid,
    cells: Sequence[Cell],
    root: Path,
    backend: Backend,
    jobs: int,
    figures: str | None = None,
    *,
    force: bool = False,
) -> bool:
    """Runs the cells that are missing, not what was asked for, or damaged; then writes tables and figures.

    Args:
        grid: what the cells come from.
        cells: all of the study.
        root: its folder: table.csv, cells.csv, figures/ and, underneath, every result.
        backend: processes of ours, or DVC experiments.
        jobs: trainings at once; >= 1.
        figures: metrics to draw, see `figures.chosen_metrics`.
        force: write over what no sweep has written, see `Store.check`.
    Returns:
        Whether every cell is done; none has failed or diverged.
    Raises:
        InputError: another sweep is at work in the folder, or it is not a study's, or DVC does not take an experiment.
        Interrupted: a signal has ended it; what is done is kept.
    """
    from transformer_spectrum.study.figures import chosen_metrics  # here, because one cell of a cluster draws nothing

    metrics = chosen_metrics(figures)
    store = Store(root)
    store.check(force=force)
    with Interruption(), store.locked(shared=False):
        store.claim()
        store.sweep_out()
        run = _run_experiments if backend == "dvc" else _run
        failures = run(grid, cells, store, jobs)
        return _gather(grid, cells, store, failures, metrics)


def run_one(cell: Cell, root: Path, *, force: bool = False) -> bool:
    """Runs one cell in this process, unless it is done: many machines may do so in one folder. Writes no tables.

    Returns:
        Whether it is done and has not diverged.
    Raises:
        InputError: a whole sweep is at work in the folder, or the cell's input is bad.
        SystemExit: a signal has ended it; 128 + its number.
    """
    store = Store(root)
    store.check(force=force)
    with store.locked(shared=True):
        with store.preparing():
            store.claim()
            if work.raw_fault(store, cell):
                work.fetch(store, cell)
            if fault(store.windows(cell), work.asked_windows(store, cell)):
                work.make_windows(store, cell)
        _say_standins(cell.study, [cell.dataset] if work.is_standin(store, cell) else [])
        work.complete(store, cell, work.asked_training(store, cell))
        return not read_record(store.training(cell))["outcome"]["diverged"]


def _run(grid: Grid, cells: Sequence[Cell], store: Store, jobs: int) -> Failures:
    """Prepares and trains in processes."""
    failures = _prepare(grid, cells, store, jobs)
    _say_standins(grid.name, {cell.dataset for cell in cells if work.is_standin(store, cell)})  # hours before the end
    requests = {cell.place: work.asked_training(store, cell) for cell in cells if cell.place not in failures}
    ready = [cell for cell in cells if cell.place in requests]
    todo = [cell for cell in ready if not work.is_done(store, cell, requests[cell.place])]
    before = len(ready) - len(todo)
    logger.info(f"sweep {grid.name}: {len(cells)} cells, {before} of them done before, {jobs} at once")
    return failures | _complete(f"sweep {grid.name}", todo, requests, store, jobs)


def _run_experiments(grid: Grid, cells: Sequence[Cell], store: Store, jobs: int) -> Failures:
    """Prepares and trains by DVC, then measures in processes."""
    from transformer_spectrum.study import experiments  # here, because DVC takes a second to import

    requests, failures = experiments.run(grid, cells, store, jobs)
    trained = [cell for cell in cells if cell.place in requests]
    todo = [cell for cell in trained if not work.is_done(store, cell, requests[cell.place])]
    return failures | _complete(f"sweep {grid.name}: spectra", todo, requests, store, jobs)


def _say_standins(study: str, datasets: Collection[str]) -> None:
    if datasets:
        words = "a STAND-IN, simulated, not data; name a mirror or run it again when upstream is within reach"
        logger.warning(f"sweep {study}: {', '.join(sorted(datasets))}: {words}")


def _complete(title: str, cells: Sequence[Cell], requests: Mapping[str, Request], store: Store, jobs: int) -> Failures:
    """Trains and measures what is not; reasons of the cells that are not done then."""
    tasks = [
        Task(cell.place, work.complete, (store, cell, requests[cell.place]), store.log("trainings", cell.place))
        for cell in cells
    ]
    failures = _all(title, "cell", tasks, jobs)
    for cell in cells:  # a process's word is not enough
        if cell.place not in failures and not work.is_done(store, cell, requests[cell.place]):
            failures[cell.place] = fault(store.training(cell), requests[cell.place]) or "its spectra are missing"
    return failures


def _prepare(grid: Grid, cells: Sequence[Cell], store: Store, jobs: int) -> Failures:
    """Fetches and prepares what is missing of the data; reasons for the cells that get none."""
    failures: Failures = {}
    sets = {cell.dataset: cell for cell in reversed(cells)}
    tasks = [
        Task(name, work.fetch, (store, cell), store.log("raw", name))
        for name, cell in sets.items()
        if work.raw_fault(store, cell)
    ]
    failed = _all(f"sweep {grid.name}: raw series", "data set", tasks, jobs)
    shared = {(cell.dataset, cell.seed): cell for cell in reversed(cells) if cell.dataset not in failed}
    tasks = [
        Task(f"{name}/seed_{seed}", work.make_windows, (store, cell), store.log("windows", f"{name}/seed_{seed}"))
        for (name, seed), cell in shared.items()
        if fault(store.windows(cell), work.asked_windows(store, cell))
    ]
    failed |= _all(f"sweep {grid.name}: windows", "data set", tasks, jobs)
    for cell in cells:
        for task in (cell.dataset, f"{cell.dataset}/seed_{cell.seed}"):
            if task in failed:
                failures[cell.place] = f"no data: {failed[task]}"
    return failures


def _all(title: str, unit: str, tasks: Sequence[Task], jobs: int) -> Failures:
    """Runs tasks under a progress bar; name -> reason of those that have failed."""
    failures: Failures = {}
    if not tasks:
        return failures
    with Progress(title, len(tasks), unit) as progress:
        ended: list[str] = []

        def note(task: Task, reason: str) -> None:
            ended.append(task.name)
            if reason:
                failures[task.name] = reason
                logger.warning(f"{title}: {task.name} failed: {reason} ({task.log})")
            progress.update(len(ended), failed=len(failures))

        progress.update(0)
        processes.run(tasks, jobs, note)
    return failures


def _gather(grid: Grid, cells: Sequence[Cell], store: Store, failures: Failures, metrics: Sequence[str]) -> bool:
    """Tables and figures of the cells that are done; whether all are."""
    from transformer_spectrum.study.figures import write_figures

    diverged = {
        cell.place
        for cell in cells
        if cell.place not in failures and read_record(store.training(cell))["outcome"]["diverged"]
    }
    usable = [cell for cell in cells if cell.place not in failures and cell.place not in diverged]
    names = ("table.csv", work.FAMILIES, "cells.csv")
    with atomic_together(*(store.root / name for name in names)) as (matrices, families, table):  # of the same cells
        write_table(usable, store, work.MATRICES, matrices)
        write_table(usable, store, work.FAMILIES, families)
        counts = write_cells(cells, store, failures, table)
    store.claim()
    write_figures(grid, usable, store.root / work.FAMILIES, store.root / "figures", metrics)
    bad = ", ".join(f"{counts[status]} {status}" for status in ("failed", "diverged") if counts[status])
    logger.info(
        f"sweep {grid.name}: {counts['done']} of {len(cells)} cells done{', ' + bad if bad else ''}; see {store.root}"
    )
    for line in alike_losses(usable, store):
        logger.warning(f"sweep {grid.name}: {line}")
    _say_standins(
        grid.name, {cell.dataset for cell in usable if read_record(store.training(cell))["outcome"]["standin"]}
    )
    return not bad
