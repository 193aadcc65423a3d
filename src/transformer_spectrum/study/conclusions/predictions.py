"""Which spectral endpoints tell the error of a trained network, for claims that compare groups of them.

Within one seed the trainings of a block differ in what was varied, and so in their error where they end. How well an
endpoint ranks them is Spearman's correlation with the validation MAE, whatever its sign: a number for each seed, the
unit of replication, so that groups of endpoints are compared as arms are, paired within seeds. A group has the mean of
its members' correlations.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import stats

from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.study.claims import END, RANK_CORRELATION, Claim

FEWEST = 4
"""Trainings of a seed whose ranks can tell anything."""


def rank_correlations(claims: Mapping[str, Claim], cells: pd.DataFrame, paths: pd.DataFrame) -> pd.DataFrame:
    """The mean over a group of endpoints of |Spearman's rho| with the validation MAE where trainings end.

    Args:
        claims: name -> claim; those without groups count for nothing here.
        cells: studies/tables/cells.csv, a row a training.
        paths: studies/tables/paths.parquet; the record of the most evaluations of each training is taken.
    Returns:
        Rows for `claims.answer`: a group is an arm; NaN and "never" for a seed of fewer than `FEWEST` trainings, or
        whose trainings all have the same value of an endpoint.
    Raises:
        InputError: paths lacks a column, or a training; a training comes twice in a block; or two claims
            have groups of one name with other endpoints on one block and data set.

    >>> rank_correlations({}, pd.DataFrame(), pd.DataFrame()).columns.tolist()[:4]
    ['block', 'dataset', 'axis', 'target']
    """
    rows = []
    for name in ("training", "evaluations", "validation_mae") if len(paths) else ():
        if name not in paths:
            raise InputError(f"paths: has no column {name}")
    ends = paths.loc[paths.groupby("training")["evaluations"].idxmax()].set_index("training") if len(paths) else paths
    for claim in claims.values():
        if lacking := [name for members in claim.groups.values() for name in members if name not in ends]:
            raise InputError(f"claim {claim.statement!r}: groups: {lacking[0]}: is no column of the study's paths")
    for (block, dataset), groups in _groups(claims).items():
        inside = cells[(cells["block"] == block) & (cells["dataset"] == dataset) & (cells["status"] == "done")]
        for wrong, rule in (
            (inside["training"].duplicated(), "comes twice in the cells"),
            (~inside["training"].isin(ends.index), "has no record in the study's paths"),
        ):
            if wrong.any():
                raise InputError(f"training {inside['training'][wrong].iloc[0]}: {rule}")
        for seed, trained in inside.groupby("seed"):
            last = ends.loc[trained["training"]]
            for group, members in groups.items():
                value = float(np.mean([_strength(last[name], last["validation_mae"]) for name in members]))
                crossing = "never" if np.isnan(value) else "reached"
                place = (block, dataset, END, np.nan, group, seed, crossing, np.nan)
                rows.append((*place, RANK_CORRELATION, value))
    columns = ["block", "dataset", "axis", "target", "arm", "seed", "crossing", "updates", "endpoint", "value"]
    return pd.DataFrame(rows, columns=columns)


def _groups(claims: Mapping[str, Claim]) -> dict[tuple[str, str], dict[str, tuple[str, ...]]]:
    """(block, data set) -> group -> its endpoints, each once, however many claims ask for it."""
    found: dict[tuple[str, str], dict[str, tuple[str, ...]]] = {}
    for claim in claims.values():
        if not claim.groups:
            continue
        known = found.setdefault((claim.block, claim.dataset), {})
        for group, members in claim.groups.items():
            if known.setdefault(group, members) != members:
                raise InputError(
                    f"claim {claim.statement!r}: groups.{group}: has other endpoints in another claim on "
                    f"{claim.block}, {claim.dataset}; give it a name of its own"
                )
    return found


def _strength(endpoint: pd.Series, error: pd.Series) -> float:
    """|rho| over the trainings that have both; NaN where they are too few, or all alike."""
    both = np.isfinite(endpoint.to_numpy(float)) & np.isfinite(error.to_numpy(float))
    values, errors = endpoint[both], error[both]
    if both.sum() < FEWEST or values.nunique() < 2 or errors.nunique() < 2:
        return float("nan")
    return abs(float(stats.spearmanr(values, errors).statistic))
