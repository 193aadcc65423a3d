"""The command `sweep`: a grid of data sets, losses, optimizers and seeds, as one table and figures."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from transformer_spectrum.cli.options import add_force, at_least
from transformer_spectrum.runtime.errors import InputError

if TYPE_CHECKING:
    from transformer_spectrum.study.running.grid import Cell, Grid

RESULTS = Path("studies/results")
TLS = {
    "--tls-ca": "PEM of the authority that has signed the cluster's certificates",
    "--tls-cert": "PEM of our certificate",
    "--tls-key": "PEM of our key",
}
OF_THIS_MACHINE = ("--workers", "--dashboard")


def add(command: argparse.ArgumentParser) -> None:
    """Its arguments.

    >>> add(command := argparse.ArgumentParser())
    >>> command.parse_args(["synthetic", "--runs", "3"]).runs
    3
    """
    command.description = (
        "Runs a grid of trainings, verifies each result against what was asked for, and gathers them in table.csv, "
        "cells.csv and figures/. Called again, it runs only what is missing or was asked for differently."
    )
    command.add_argument("grid", metavar="GRID", help="a name in studies/grids/, such as synthetic, or a YAML file")
    add = command.add_argument
    add("--runs", type=int, default=1, metavar="N", help="seeds of each combination: seed, seed + 1, ...; %(default)s")
    add("--optimizers", metavar="LIST", help="such as adam,es; those of the grid if not given")
    add("--workers", type=int, metavar="J", help="processes here, of one thread each; as many as cores if not given")
    add("--scheduler", metavar="ADDRESS", help="of a Dask cluster in their place: tls://HOST:PORT, or tcp:// here")
    for option, words in TLS.items():
        add(option, type=Path, metavar="FILE", help=f"{words}; Dask's configuration if not given")
    add("--members", type=int, metavar="M", help="trainings at once in a worker; 8 if not given, on a GPU 256")
    add("--dashboard", metavar="HOST:PORT", help="of this machine's workers; 127.0.0.1:8787 if not given")
    add("--out", type=Path, metavar="FOLDER", help=f"{RESULTS}/GRID if not given")
    add(
        "--overlay",
        type=Path,
        metavar="FILE",
        help="parameters under those of data sets and losses, as in config/overlays/",
    )
    add("--set", action="append", default=[], metavar="NAME=VALUE", help="any parameter; may be repeated")
    add("--figures", metavar="LIST", help="metrics to draw, such as stable_rank,ks_alpha, or none; all if not given")
    add("--cell", type=int, metavar="INDEX", help="run one cell of --dry-run's list, for a cluster; writes no tables")
    add_force(command)
    add("--dry-run", action="store_true", help="check the grid and list its cells")


def asked(chosen: argparse.Namespace) -> tuple[Grid, list[Cell]]:
    """The grid and the cells that the arguments ask for.

    Raises:
        InputError: one of them, the grid or a parameter breaks a rule.

    >>> add(command := argparse.ArgumentParser())
    >>> grid, cells = asked(command.parse_args(["synthetic", "--runs", "2", "--optimizers", "ga"]))
    >>> [cell.place for cell in cells[:2]]
    ['narrow/sgt_wide/ga/seed_1', 'narrow/sgt_q5/ga/seed_1']
    """
    from transformer_spectrum.config import tree
    from transformer_spectrum.config.load import parameters_in, read_tree
    from transformer_spectrum.config.resolve import Asked, assigned, resolve
    from transformer_spectrum.study.running import grid as grids

    grid = grids.load_grid(chosen.grid)
    overlay = {}
    if chosen.overlay is not None:
        overlay = tree.nest(parameters_in(read_tree(chosen.overlay), str(chosen.overlay)))
    return grid, grids.cells(
        grid,
        resolve(Asked({})).params,
        runs=chosen.runs,
        optimizers=None if chosen.optimizers is None else chosen.optimizers.split(","),
        overlay=overlay,
        settings=tree.nest(assigned(chosen.set)),
    )


def run(chosen: argparse.Namespace) -> None:
    """Ends with exit code 1 when a cell has failed or diverged.

    >>> add(command := argparse.ArgumentParser())
    >>> run(command.parse_args(["synthetic", "--optimizers", "ga", "--dry-run"]))  # doctest: +ELLIPSIS
     0  narrow/sgt_wide/ga/seed_1
     1  narrow/sgt_q5/ga/seed_1
    ...
    """
    grid, cells = asked(chosen)
    at_least("--workers", chosen.workers, 1)
    at_least("--members", chosen.members, 1)
    for option in OF_THIS_MACHINE if chosen.scheduler else TLS:
        if getattr(chosen, option[2:].replace("-", "_")) is not None:
            rule = (
                "is for workers of this machine, and not for --scheduler" if chosen.scheduler else "needs --scheduler"
            )
            raise InputError(f"{option}: {rule}")
    if chosen.cell is not None and not 0 <= chosen.cell < len(cells):
        raise InputError(f"--cell = {chosen.cell}: must be >= 0 and < {len(cells)}, the cells that are asked for")
    if chosen.dry_run:
        print(_listed(cells))
        return
    from transformer_spectrum.study.running.worker import single_threaded

    single_threaded()  # before torch is imported
    from transformer_spectrum.study.sweep.steps import run_one, sweep

    out = chosen.out or RESULTS / grid.name
    if chosen.cell is None:
        from transformer_spectrum.study.running.cluster import ComputePlace, check_dashboard

        if chosen.dashboard is not None:
            check_dashboard(chosen.dashboard)
        place = ComputePlace(
            chosen.workers or os.cpu_count() or 1,
            chosen.scheduler,
            chosen.tls_ca,
            chosen.tls_cert,
            chosen.tls_key,
            chosen.dashboard,
        )
        good = sweep(grid, cells, out, place, chosen.figures, members=chosen.members, force=chosen.force)
    else:
        good = run_one(cells[chosen.cell], out, force=chosen.force)
    if not good:
        raise SystemExit(1)


def _listed(cells: list[Cell]) -> str:
    """A line for every cell: its index and where its result is kept."""
    width = len(str(len(cells) - 1))
    return "\n".join(f"{index:{width}d}  {cell.place}" for index, cell in enumerate(cells))
