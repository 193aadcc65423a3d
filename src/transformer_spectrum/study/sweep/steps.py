"""A whole study: what is missing is run, what is there is verified, and all of it gathered in tables and figures."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.files import atomic_together
from transformer_spectrum.runtime.interruption import Interruption
from transformer_spectrum.study.running import results, work
from transformer_spectrum.study.running.files import read_files
from transformer_spectrum.study.running.grid import Cell, Grid
from transformer_spectrum.study.running.store import Store, fault, read_record
from transformer_spectrum.study.sweep.table import alike_losses, write_cells, write_table

if TYPE_CHECKING:
    from transformer_spectrum.study.running.cluster import ComputePlace
    from transformer_spectrum.study.running.execution import Failures

logger = logging.getLogger(__name__)


def sweep(
    grid: Grid,
    cells: Sequence[Cell],
    root: Path,
    place: ComputePlace,
    figures: str | None = None,
    *,
    members: int | None = None,
    force: bool = False,
) -> bool:
    """Runs the cells that are missing, not what was asked for, or damaged; then writes tables and figures.

    Args:
        grid: what the cells come from.
        cells: all of the study.
        root: its folder: table.csv, cells.csv, figures/ and, underneath, every result.
        place: where to compute.
        figures: metrics to draw, see `figures.chosen_metrics`.
        members: trainings in one ensemble at most, see `ensembles`.
        force: write over what no sweep has written, see `Store.check`.
    Returns:
        Whether every cell is done; none has failed or diverged.
    Raises:
        InputError: another sweep is at work in the folder, or it is not a study's, or nobody is there to compute.
        Interrupted: a signal has ended it; what is done is kept.
    """
    # Here, because one cell of a cluster needs neither Dask nor figures.
    from transformer_spectrum.study.running.cluster import check_scheduler
    from transformer_spectrum.study.running.execution import execute
    from transformer_spectrum.study.sweep.figures import chosen_metrics

    metrics = chosen_metrics(figures)
    store = Store(root)
    store.check(force=force)
    if not root.exists():
        check_scheduler(place)  # before there is a folder, which would be left empty
    with Interruption(), store.locked(shared=False):
        store.claim()
        store.sweep_out()
        failures = execute(grid.name, cells, store, place, members)
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
            if results.raw_fault(store, cell):
                results.fetch(store, cell)
            if results.windows_fault(store, cell, results.asked_windows(store, cell)):
                results.put_windows(store, cell, work.make_windows(cell, results.raw_series(store, cell)))
        results.say_standins(cell.study, [cell.dataset] if results.is_standin(store, cell) else [])
        _complete(store, cell)
        return not read_record(store.training(cell))["outcome"]["diverged"]


def _complete(store: Store, cell: Cell) -> None:
    """Trains, unless that is done, and measures the spectra, unless that is done."""
    request = results.asked_training(store, cell)
    if results.training_fault(store, cell, request):
        windows = read_files(store.windows(cell), work.WINDOWS_FILES)
        (outputs,) = work.train_cells([cell], [store.resume(cell)], [0], windows)
        if isinstance(outputs, str):
            raise InputError(outputs)
        results.put_training(store, cell, outputs, request)
    if fault(store.spectra(cell), results.asked_spectra(store, cell)):
        files = read_files(store.training(cell), list(read_record(store.training(cell))["files"]))
        standin = results.is_standin_training(store, cell)
        results.put_spectra(store, cell, work.measure(cell, standin, files))


def _gather(grid: Grid, cells: Sequence[Cell], store: Store, failures: Failures, metrics: Sequence[str]) -> bool:
    """Tables and figures of the cells that are done; whether all are."""
    from transformer_spectrum.study.sweep.figures import write_figures

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
    results.say_standins(
        grid.name, {cell.dataset for cell in usable if read_record(store.training(cell))["outcome"]["standin"]}
    )
    return not bad
