"""The table of quantities beside their nulls, where an axis is held equal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from transformer_spectrum.analysis.comparison.trajectory import Trajectory
from transformer_spectrum.study.answer.places import StudyPlaces
from transformer_spectrum.study.answer.stored import stored
from transformer_spectrum.study.beside_nulls.quantities import (
    QUANTITIES,
    SPREAD_SAYS_MUCH,
    columns,
    null_name,
    spread_name,
)
from transformer_spectrum.study.inference.matching import match
from transformer_spectrum.study.protocol.model import Protocol

COLUMNS = (
    "block",
    "dataset",
    "axis",
    "arm",
    "quantity",
    "seeds",
    "value",
    "null",
    "difference",
    "null_sd",
    "deviations",
)
"""Means over the seeds that have a value; `deviations` is the mean of difference / null_sd of each seed, empty where
that says little."""


def nulls_path(places: StudyPlaces) -> Path:
    """Where it goes.

    >>> nulls_path(StudyPlaces(Path("studies"))).as_posix()
    'studies/tables/nulls.csv'
    """
    return places.cells.with_name("nulls.csv")


def read_nulls(places: StudyPlaces) -> pd.DataFrame:
    """The table, as the stage study-nulls has written it.

    Raises:
        InputError: there is none, or it is no such table.

    >>> read_nulls(StudyPlaces(Path("none")))
    Traceback (most recent call last):
    transformer_spectrum.runtime.errors.InputError: none/tables/nulls.csv: no such file; run the stage study-nulls
    """
    path = nulls_path(places)
    return stored(path, COLUMNS, "study-nulls", may_be_empty=True)


def nulls_table(
    protocol: Protocol, cells: pd.DataFrame, paths: pd.DataFrame, measured: Mapping[str, Mapping[str, np.ndarray]]
) -> pd.DataFrame:
    """COLUMNS of every block, data set, axis, arm and quantity.

    Trainings are compared where `answer.matched` compares them: at the same targets, between the nearest records that
    have weights. Those that have diverged, or never arrive, are in no mean.

    Args:
        protocol: with its tuning, whose targets are held equal.
        cells, paths: of `answer.trainings.run_cells`.
        measured: training -> `measured.beside_nulls`.

    >>> from transformer_spectrum.study.protocol.model import EXAMPLE, parse_protocol
    >>> tuning = {"rates": {}, "targets": {}, "margins": {}}
    >>> empty = pd.DataFrame([], columns=["block", "dataset", "status"])
    >>> len(nulls_table(parse_protocol({**EXAMPLE, "tuning": tuning}), empty, pd.DataFrame(columns=["training"]), {}))
    0
    """
    assert protocol.tuning is not None
    by_training = dict(list(paths.groupby("training", sort=False)))
    pieces = []
    for (block, dataset), rows in cells[cells["status"] == "done"].groupby(["block", "dataset"], sort=False):
        target = protocol.tuning.target(str(block), str(dataset))
        held = {} if target is None else {"validation_mae": target}
        trajectories = [
            _trajectory(row, by_training[row["training"]], measured[row["training"]]) for _, row in rows.iterrows()
        ]
        wide = match(trajectories, held, axes=protocol.axes).pivot(
            index=["axis", "arm", "seed"], columns="endpoint", values="value"
        )
        pieces.append(_summed(str(block), str(dataset), wide))
    return pd.concat(pieces, ignore_index=True) if pieces else pd.DataFrame(columns=list(COLUMNS))


def _summed(block: str, dataset: str, wide: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds; `wide` has a row an axis, arm and seed, and the columns of `quantities.columns`."""
    pieces = []
    for quantity in QUANTITIES:
        value, null, spread = (wide[name] for name in (quantity, null_name(quantity), spread_name(quantity)))
        difference = value - null
        deviations = (difference / spread).where(spread > 0) if quantity in SPREAD_SAYS_MUCH else difference * np.nan
        of_seeds = pd.DataFrame(
            {"value": value, "null": null, "difference": difference, "null_sd": spread, "deviations": deviations}
        )
        groups = of_seeds.groupby(level=["axis", "arm"], sort=False)
        summed = groups.mean().assign(seeds=groups["difference"].count(), quantity=quantity).reset_index()
        pieces.append(summed.assign(block=block, dataset=dataset)[list(COLUMNS)])
    return pd.concat(pieces, ignore_index=True)


def _trajectory(cell: pd.Series, path: pd.DataFrame, measured: Mapping[str, np.ndarray]) -> Trajectory:
    return Trajectory(
        name=cell["arm"],
        method=cell["method"],
        dataset=cell["dataset"],
        updates=path["updates"].to_numpy(),
        evaluations=path["evaluations"].to_numpy(),
        validation_mae=path["validation_mae"].to_numpy(),
        distance=path["distance"].to_numpy(),
        metrics={name: measured[name] for name in columns()},
        seed=int(cell["seed"]),
    )
