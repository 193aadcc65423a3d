"""The tables of a study: every spectral metric by matrix and by family, and what became of every cell."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformer_spectrum.analysis.comparison.trajectory import ALIKE, min_cosine
from transformer_spectrum.runtime.files import atomic_path, write_csv
from transformer_spectrum.study.running.grid import Cell
from transformer_spectrum.study.running.spectra_rows import COLUMNS, FAMILY_COLUMNS
from transformer_spectrum.study.running.store import Store, read_record
from transformer_spectrum.study.running.work import FAMILIES, MATRICES
from transformer_spectrum.vocabulary import display_name

OUTCOME = (
    "steps",
    "evaluations",
    "seconds",
    "best_step",
    "initial_validation_loss",
    "best_validation_loss",
    "initial_validation_mae",
    "best_validation_mae",
    "influence_cosine",
    "residual_mad",
    "teacher_forced_mae",
    "free_running_mae",
    "standin",
    "stop_reason",
)
CELLS = ("study", "dataset", "loss", "optimizer", "seed", "status", "reason", *OUTCOME)
"""Status: done, diverged (a loss that was not finite; `stop_reason` says where) or failed (`reason` says why).

Of the best step's validation residuals, scaled units: `influence_cosine` between the loss's influence and that of MSE,
`residual_mad` their median size.
"""


def write_cells(cells: Sequence[Cell], store: Store, failures: Mapping[str, str], path: Path) -> dict[str, int]:
    """Writes a row for every cell that was asked for.

    Args:
        cells: all of the study, in order.
        store: its folder.
        failures: place -> reason, of the cells that have no result.
        path: the CSV file.
    Returns:
        Status -> count.

    >>> from transformer_spectrum.config.load import load_params
    >>> cell = Cell("synthetic", "narrow", "mse", "adam", 1, load_params("params.yaml"))
    >>> write_cells([cell], Store("study"), {cell.place: "killed by SIGKILL"}, Path("cells.csv"))
    {'done': 0, 'diverged': 0, 'failed': 1}
    """
    counts = {"done": 0, "diverged": 0, "failed": 0}
    rows = []
    for cell in cells:
        outcome: dict[str, Any] = {}
        if cell.place not in failures:
            outcome = read_record(store.training(cell))["outcome"]
        status = "failed" if cell.place in failures else "diverged" if outcome["diverged"] else "done"
        counts[status] += 1
        rows.append((*cell.key, status, failures.get(cell.place, ""), *(outcome.get(name) for name in OUTCOME)))
    write_csv(path, CELLS, rows)
    return counts


def alike_losses(cells: Sequence[Cell], store: Store) -> list[str]:
    """In a line for each data set and optimizer: the losses that all pull on the residuals as MSE does, in every seed.

    Two such losses are one loss on these residuals, whatever they are called.

    Args:
        cells: those that are done.
        store: the study's folder.

    >>> alike_losses([], Store("study"))
    []
    """
    cosines: dict[tuple[str, str], dict[str, list[float]]] = {}
    for cell in cells:
        cosine = read_record(store.training(cell))["outcome"].get("influence_cosine")
        of_losses = cosines.setdefault((cell.dataset, cell.optimizer), {})
        of_losses.setdefault(cell.loss, []).append(math.nan if cosine is None else cosine)
    lines = []
    for (dataset, optimizer), of_losses in cosines.items():
        least = {loss: min_cosine(of_seeds) for loss, of_seeds in of_losses.items()}
        alike = [f"{loss} ({cosine:.4f})" for loss, cosine in least.items() if cosine > ALIKE]
        if len(alike) > 1:
            lines.append(
                f"{dataset}, {display_name(optimizer)}: {', '.join(alike)} pull on the validation residuals of the "
                f"best "
                f"steps as MSE does (cosines; above {ALIKE:g}): they are one loss there, so a comparison of them is "
                f"none"
            )
    return lines


def write_table(cells: Sequence[Cell], store: Store, table: str, path: Path) -> None:
    """Writes the spectra of the cells one behind the other.

    Args:
        cells: those that are done, in order; what else lies in the folder does not come in.
        store: the study's folder.
        table: file of each cell's spectra: `work.MATRICES` or `work.FAMILIES`.
        path: the CSV file.

    >>> write_table([], Store("study"), FAMILIES, Path("families.csv"))
    >>> Path("families.csv").read_text().split(",")[:4]
    ['study', 'dataset', 'loss', 'optimizer']
    """
    header = (",".join({MATRICES: COLUMNS, FAMILIES: FAMILY_COLUMNS}[table]) + "\n").encode()
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        stream.write(header)
        for cell in cells:
            with (store.spectra(cell) / table).open("rb") as rows:
                if rows.readline() != header:
                    raise ValueError(f"{rows.name}: another header than {header.decode().strip()}")
                shutil.copyfileobj(rows, stream)
