"""The steps of a study that train, each from files to files: what the stages of studies/dvc.yaml run.

What these leave is tabulated by `tabulated`, judged by `study.conclusions.steps` and published by
`study.conclusions.published`, none of which trains anything.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from transformer_spectrum.config.load import load_params
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.files import write_json, write_table
from transformer_spectrum.study.answer.arm_spectra import arm_spectra
from transformer_spectrum.study.answer.places import HERE, StudyPlaces
from transformer_spectrum.study.answer.plan_text import plan_lines, provisional
from transformer_spectrum.study.answer.stored import write_csv_table
from transformer_spectrum.study.answer.trainings import distinct, run_cells
from transformer_spectrum.study.answer.tuned import trials_table, tune, with_tuning
from transformer_spectrum.study.protocol.cells import planned_cells
from transformer_spectrum.study.protocol.model import Protocol, load_protocol
from transformer_spectrum.training.records.history import History


def tune_study(places: StudyPlaces = HERE, workers: int | None = None) -> None:
    """Runs the tuning blocks; writes the trials and what they fix.

    Args:
        places: of the study.
        workers: processes, of one thread each, >= 1; None = as many as cores.
    Raises:
        InputError: the protocol has no tuning block, a training has failed, or every rate of an arm has diverged.

    >>> tune_study(StudyPlaces(Path("nowhere")))
    Traceback (most recent call last):
    transformer_spectrum.runtime.errors.InputError: nowhere/protocol.yaml: no such file
    """
    protocol = load_protocol(places.protocol)
    if not protocol.tuning_blocks:
        raise InputError(f"{places.protocol}: tuning_blocks: names none, so nothing fixes rates, targets and margins")
    cells, paths, _ = _run(protocol, protocol.design_sha256, protocol.tuning_blocks, places, workers)
    outcome = tune(protocol, cells, paths)
    write_csv_table(places.trials, trials_table(protocol, cells))
    write_json(places.tuning, {"protocol": protocol.design_sha256, **outcome.model_dump(mode="json")})


def run_study(places: StudyPlaces = HERE, workers: int | None = None) -> None:
    """Runs every other block; writes what became of the cells, every endpoint at every record, and the arms' spectra.

    Args, Raises: of `tune_study`; and tuning has not run.
    """
    protocol = with_tuning(load_protocol(places.protocol), places.tuning)
    assert protocol.tuning is not None
    cells, paths, histories = _run(protocol, protocol.sha256, protocol.measured_blocks, places, workers)
    write_csv_table(places.cells, cells)
    write_table(places.paths, paths)
    write_table(places.spectra, arm_spectra(cells, protocol.tuning, lambda name: History.load(histories[name])))


def plan_study(places: StudyPlaces = HERE) -> list[str]:
    """What would run, in lines; at the middle of the rates where tuning has not chosen yet."""
    protocol = load_protocol(places.protocol)
    known = with_tuning(protocol, places.tuning) if places.tuning.exists() else provisional(protocol)
    cells = planned_cells(known, known.blocks, load_params())
    return plan_lines(known, cells, distinct(known, cells))


def _run(
    protocol: Protocol, sha256: str, blocks: Sequence[str], places: StudyPlaces, workers: int | None
) -> tuple[pd.DataFrame, pd.DataFrame, Mapping[str, Path]]:
    from transformer_spectrum.study.running.cluster import ComputePlace  # the judge needs no Dask

    cells = planned_cells(protocol, blocks, load_params())
    return run_cells(protocol, sha256, cells, places.store, ComputePlace(workers or os.cpu_count() or 1))
