"""From paths to endpoints where an axis is held equal, block by block."""

from __future__ import annotations

import numpy as np
import pandas as pd

from transformer_spectrum.analysis.comparison.trajectory import Trajectory
from transformer_spectrum.study.answer.stored import SUMMARY
from transformer_spectrum.study.inference.endpoints import ENDPOINTS
from transformer_spectrum.study.inference.matching import COLUMNS, match
from transformer_spectrum.study.protocol.model import Protocol
from transformer_spectrum.study.protocol.sections import TuningOutcome

DIVERGED = "diverged"
"""In the column `crossing`: the training has no value on any axis."""


def endpoint_table(protocol: Protocol, cells: pd.DataFrame, paths: pd.DataFrame, tuning: TuningOutcome) -> pd.DataFrame:
    """`matching.COLUMNS` of every block's cells, behind the block and the sha256 of their protocol.

    Trainings that have diverged have rows without a value, so that they are counted.

    Args:
        protocol: whose axes they are.
        cells, paths: of `trainings.run_cells`.
        tuning: whose targets of validation MAE are held equal; without one it is what all arms of a seed reach.

    >>> from transformer_spectrum.study.protocol.model import EXAMPLE, parse_protocol
    >>> tuning = TuningOutcome(rates={}, targets={}, margins={})
    >>> cells, protocol = pd.DataFrame([], columns=["block", "dataset"]), parse_protocol(EXAMPLE)
    >>> endpoint_table(protocol, cells, pd.DataFrame(), tuning).columns.tolist()[:4]
    ['block', 'protocol', 'dataset', 'axis']
    """
    by_training = dict(list(paths.groupby("training", sort=False))) if len(paths) else {}
    pieces = []
    for (block, dataset), rows in cells.groupby(["block", "dataset"], sort=False):
        usable = rows[rows["status"] != DIVERGED]
        trajectories = [_trajectory(row, by_training[row["training"]]) for _, row in usable.iterrows()]
        target = tuning.target(str(block), str(dataset))
        held = {} if target is None else {"validation_mae": target}
        table = match(trajectories, held, axes=protocol.axes) if trajectories else _without(rows.iloc[:0], protocol)
        table = pd.concat([table, _without(rows[rows["status"] == DIVERGED], protocol)], ignore_index=True)
        borne = {(row["arm"], row["seed"]): row["protocol"] for _, row in rows.iterrows()}
        table.insert(0, "block", str(block))
        keys = zip(table["arm"], table["seed"], strict=True)
        table.insert(1, "protocol", [borne[key] for key in keys])
        pieces.append(table)
    return pd.concat(pieces, ignore_index=True) if pieces else pd.DataFrame(columns=["block", "protocol", *COLUMNS])


def summary_table(endpoints: pd.DataFrame) -> pd.DataFrame:
    """SUMMARY: of every arm, axis and endpoint the mean over seeds, their standard deviation, and how many have none.

    >>> rows = [("controls", "5f", "light", "distance", 0.1, "adam-mse", seed, "reached", 9.0, "mp_spikes", value)
    ...     for seed, value in enumerate([1.0, 3.0, np.nan])]
    >>> summary_table(pd.DataFrame(rows, columns=["block", "protocol", *COLUMNS])).values.tolist()
    [['controls', 'light', 'adam-mse', 'distance', 'mp_spikes', 2, 1, 2.0, 1.4142135623730951]]
    """
    places = list(SUMMARY[:5])
    groups = endpoints.groupby(places, sort=False)["value"]
    columns = {"seeds": groups.count(), "without": groups.size() - groups.count()}
    return pd.DataFrame({**columns, "mean": groups.mean(), "sd": groups.std()}).reset_index()[list(SUMMARY)]


def _trajectory(row: pd.Series, path: pd.DataFrame) -> Trajectory:
    return Trajectory(
        name=row["arm"],
        method=row["method"],
        dataset=row["dataset"],
        updates=path["updates"].to_numpy(),
        evaluations=path["evaluations"].to_numpy(),
        validation_mae=path["validation_mae"].to_numpy(),
        distance=path["distance"].to_numpy(),
        metrics={each.name: path[each.name].to_numpy() for each in ENDPOINTS},
        seed=int(row["seed"]),
        loss=row["loss"],
        influence_cosine=float(row["influence_cosine"]),
    )


def _without(rows: pd.DataFrame, protocol: Protocol) -> pd.DataFrame:
    """Rows without a value on every axis that a training could have been on."""
    records = [
        (row["dataset"], axis, np.nan, row["arm"], int(row["seed"]), DIVERGED, np.nan, each.name, np.nan)
        for _, row in rows.iterrows()
        for axis in protocol.axes
        if row["method"] == "gradient" or axis != "updates"
        for each in ENDPOINTS
    ]
    return pd.DataFrame(records, columns=list(COLUMNS))
