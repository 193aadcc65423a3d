"""The step of a study that follows claims up: from files to files, as a stage of studies/dvc.yaml runs it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from transformer_spectrum.config.load import load_params
from transformer_spectrum.study.answer.places import HERE, StudyPlaces
from transformer_spectrum.study.answer.stored import write_csv_table
from transformer_spectrum.study.answer.trainings import run_cells, training_of
from transformer_spectrum.study.answer.tuned import with_tuning
from transformer_spectrum.study.claims import END, ZERO, Claim, load_claims
from transformer_spectrum.study.follow_up.endpoints import FOLLOWED, is_followed
from transformer_spectrum.study.follow_up.measured import followed
from transformer_spectrum.study.follow_up.table import COLUMNS, followed_table
from transformer_spectrum.study.protocol.cells import PlannedCell, planned_cells
from transformer_spectrum.study.protocol.model import Protocol, load_protocol
from transformer_spectrum.study.running.grid import Cell
from transformer_spectrum.training.records.history import History
from transformer_spectrum.training.records.snapshots import Snapshots


def follow_claims(places: StudyPlaces = HERE, workers: int | None = None) -> None:
    """Measures the trainings that claims ask for; those that the study's folder does not hold run again.

    Args:
        places: of the study.
        workers: processes, of one thread each, >= 1; None = as many as cores.
    Raises:
        InputError: a file is missing or broken, tuning has not run, or a training has failed.

    >>> follow_claims(StudyPlaces(Path("nowhere")))
    Traceback (most recent call last):
    transformer_spectrum.runtime.errors.InputError: nowhere/protocol.yaml: no such file
    """
    protocol = with_tuning(load_protocol(places.protocol), places.tuning)
    claims = load_claims(places.claims) if places.claims.is_dir() else {}
    cells = cells_asked_for(protocol, claims.values())
    rows: list[tuple[object, ...]] = []
    if cells:
        from transformer_spectrum.study.running.cluster import ComputePlace  # a study without such claims needs no Dask

        compute = ComputePlace(workers or os.cpu_count() or 1)
        states, _, histories = run_cells(protocol, protocol.sha256, cells, places.store, compute)
        for cell, state in zip(cells, states.to_dict("records"), strict=True):
            training = training_of(protocol, cell)
            values = _measured(training, histories[training.place]) if state["status"] == "done" else {}
            for endpoint in FOLLOWED:
                value = values.get(endpoint.name, np.nan)
                crossing = "reached" if np.isfinite(value) else "never"
                place = (cell.block, state["protocol"], cell.dataset, END, np.nan, cell.arm.name, cell.seed)
                rows.append((*place, crossing, float(state["steps"]), endpoint.name, value))
    write_csv_table(followed_table(places), pd.DataFrame(rows, columns=list(COLUMNS)))


def cells_asked_for(protocol: Protocol, claims: Iterable[Claim]) -> list[PlannedCell]:
    """Cells of the arms of those claims whose endpoints are followed up, in the protocol's order.

    Args:
        protocol: with its tuning; a claim of a block, data set or arm that it does not have asks for nothing.
        claims: any.

    >>> from transformer_spectrum.study.protocol.model import EXAMPLE, parse_protocol
    >>> cells_asked_for(parse_protocol(EXAMPLE), [])
    []
    """
    asked: dict[tuple[str, str], set[str]] = {}
    for claim in claims:
        if is_followed(claim.endpoint):
            asked.setdefault((claim.block, claim.dataset), set()).update({claim.first, claim.second} - {ZERO})
    blocks = [name for name in protocol.blocks if name in {block for block, _ in asked}]
    if not blocks:
        return []
    cells = planned_cells(protocol, blocks, load_params())
    return [cell for cell in cells if cell.arm.name in asked.get((cell.block, cell.dataset), ())]


def _measured(training: Cell, history: Path) -> dict[str, float]:
    return followed(
        History.load(history),
        Snapshots.load(history.with_name("snapshots.safetensors")),
        training.params.spectra,
        optimizer=training.optimizer,
        seed=training.seed,
    )
