"""The five steps of a study, each from files to files: what the stages of studies/pipeline.yaml run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from transformer_spectrum.config.load import load_params
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.files import atomic_path, read_json, read_table, write_json, write_table, write_text
from transformer_spectrum.study.answer.judged import judgement
from transformer_spectrum.study.answer.matched import endpoint_table, summary_table
from transformer_spectrum.study.answer.places import StudyPlaces
from transformer_spectrum.study.answer.plan_text import plan_lines, provisional
from transformer_spectrum.study.answer.report_text import report_text
from transformer_spectrum.study.answer.trainings import distinct, planned_cells, run_cells
from transformer_spectrum.study.answer.tuned import trials_table, tune, with_tuning
from transformer_spectrum.study.claims import load_claims
from transformer_spectrum.study.protocol.model import Protocol, load_protocol

HERE = StudyPlaces()


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
    cells, paths = _run(protocol, protocol.design_sha256, protocol.tuning_blocks, places, workers)
    outcome = tune(protocol, cells, paths)
    _write_csv(places.trials, trials_table(protocol, cells))
    write_json(places.tuning, {"protocol": protocol.design_sha256, **outcome.model_dump(mode="json")})


def run_study(places: StudyPlaces = HERE, workers: int | None = None) -> None:
    """Runs every other block; writes what became of the cells, and every endpoint at every record.

    Args, Raises: of `tune_study`; and tuning has not run.
    """
    protocol = with_tuning(load_protocol(places.protocol), places.tuning)
    cells, paths = _run(protocol, protocol.sha256, _measured(protocol), places, workers)
    _write_csv(places.cells, cells)
    write_table(places.paths, paths)


def tabulate_study(places: StudyPlaces = HERE) -> None:
    """Writes every endpoint where an axis is held equal, and their means over seeds."""
    protocol = with_tuning(load_protocol(places.protocol), places.tuning)
    assert protocol.tuning is not None
    table = endpoint_table(protocol, pd.read_csv(places.cells), read_table(places.paths), protocol.tuning)
    write_table(places.endpoints, table)
    _write_csv(places.summary, summary_table(table))


def judge_whole_study(places: StudyPlaces = HERE) -> None:
    """Writes the verdicts, and the answers to the claims in the study's folder."""
    protocol = with_tuning(load_protocol(places.protocol), places.tuning)
    claims = load_claims(places.claims) if places.claims.is_dir() else {}
    write_json(places.verdicts, judgement(protocol, read_table(places.endpoints), claims))


def report_study(places: StudyPlaces = HERE) -> None:
    """Writes the report."""
    summary, cells = pd.read_csv(places.summary), pd.read_csv(places.cells)
    write_text(places.report, report_text(read_json(places.verdicts), summary, cells))


def plan_study(places: StudyPlaces = HERE) -> list[str]:
    """What would run, in lines; at the middle of the rates where tuning has not chosen yet."""
    protocol = load_protocol(places.protocol)
    known = with_tuning(protocol, places.tuning) if places.tuning.exists() else provisional(protocol)
    cells = planned_cells(known, known.blocks, load_params())
    return plan_lines(known, cells, distinct(known, cells))


def _measured(protocol: Protocol) -> list[str]:
    return [name for name in protocol.blocks if name not in protocol.tuning_blocks]


def _run(
    protocol: Protocol, sha256: str, blocks: Sequence[str], places: StudyPlaces, workers: int | None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    from transformer_spectrum.study.cluster import ComputePlace  # the judge needs no Dask

    cells = planned_cells(protocol, blocks, load_params())
    return run_cells(protocol, sha256, cells, places.store, ComputePlace(workers or os.cpu_count() or 1))


def _write_csv(path: Path, table: pd.DataFrame) -> None:
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.9g")
