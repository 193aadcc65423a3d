"""Endpoints of many trainings where an axis is held equal, as one table, and the differences of its pairs.

A training is taken where it first is at the target, by a straight line between records after step 0
(`analysis.comparison.arrival.first_crossing`); that gives its update there, and every endpoint follows the straight
line over updates between the nearest records that have it. One that passed the target before its first record, one
that never arrives, and an endpoint that is not recorded on both sides have no value: they are censored, counted, and
never filled in. Trainings on other data are refused.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from transformer_spectrum.analysis.comparison.arrival import Arrival, Crossing
from transformer_spectrum.analysis.comparison.held_equal import hold_equal
from transformer_spectrum.analysis.comparison.trajectory import AXES, Trajectory
from transformer_spectrum.analysis.comparison.verdict import AxisDifference
from transformer_spectrum.runtime.errors import InputError, quoted
from transformer_spectrum.study.inference.signflip import as_numbers
from transformer_spectrum.study.inference.signs import in_order

COLUMNS = ("dataset", "axis", "target", "arm", "seed", "crossing", "updates", "endpoint", "value")
"""Of a table of matched endpoints; `value` is NaN where the training is censored."""
NEEDED = ("dataset", "axis", "arm", "seed", "endpoint", "value")
"""Without these columns nothing is compared."""
CENSORED = (Crossing.LEFT_CENSORED.value, Crossing.RIGHT_CENSORED.value)


class Contrast(NamedTuple):
    """Two arms on one data set; their difference is first - second.

    Attributes:
        name: unique in its family.
        dataset: as in the table's column.
        first, second: arms.
    """

    name: str
    dataset: str
    first: str
    second: str


def match(
    trajectories: Iterable[Trajectory], targets: Mapping[str, float] | None = None, *, axes: Sequence[str] = AXES
) -> pd.DataFrame:
    """Every endpoint of every training at the target of every axis.

    Args:
        trajectories: of one data set; an endpoint is one of their metrics. Arms need not have the same seeds.
        targets: axis -> what to hold equal, in its units, fixed before these seeds ran; on axes without one it is what
            all arms of a seed reach.
        axes: of AXES; on that of updates only gradient methods have rows.
    Returns:
        COLUMNS, a row for each axis, training and endpoint.
    Raises:
        InputError: no training, other data sets among them, the same arm and seed twice, no such axis, or a target that
            is not finite.

    >>> path = Trajectory("adam", "gradient", "light", [0, 1, 2], [1, 4, 7], [0.9, 0.7, 0.5], [0, 0.1, 0.2],
    ...     {"rank": [20.0, 19.0, 15.0]})
    >>> table = match([path], {"validation_mae": 0.6}, axes=["validation_mae"])
    >>> table[["crossing", "updates", "value"]].values.tolist()
    [['reached', 1.5, 17.0]]
    """
    trajectories = list(trajectories)
    for name, target in (targets or {}).items():
        if name not in AXES:
            raise InputError(f"targets: {quoted(name)}: must be one of {', '.join(AXES)}")
        if not np.isfinite(as_numbers(target, f"target of {name}")):
            raise InputError(f"target of {name} = {target}: must be finite")
    rows = _by_seed(trajectories)
    gradient = [[path for path in row if path.method == "gradient"] for row in rows]
    paths = {(path.name, path.seed): path for path in trajectories}
    records = []
    for axis in axes:
        if axis not in AXES:
            raise InputError(f"axis = {axis}: must be one of {', '.join(AXES)}")
        members = [row for row in (gradient if axis == "updates" else rows) if row]
        if not members:
            continue
        equal = hold_equal(axis, members, targets)
        for arrival in equal.arrivals:
            path = paths[arrival.arm, arrival.seed]
            place = (path.dataset, axis, equal.targets[arrival.seed], arrival.arm, arrival.seed)
            for endpoint in path.metrics:
                value = _value(path, arrival, endpoint)
                records.append((*place, arrival.crossing.value, arrival.updates, endpoint, value))
    numbers = dict.fromkeys(("target", "updates", "value"), "float64")
    return pd.DataFrame(records, columns=list(COLUMNS)).astype(numbers)


def paired(table: pd.DataFrame, contrast: Contrast, endpoint: str, axis: str) -> AxisDifference:
    """first - second of a contrast in every seed that both arms have a value in.

    Args:
        table: of `match`, of one or several data sets.
        contrast: whose arms are on one data set.
        endpoint, axis: as in the table.
    Returns:
        The differences by seed, and the seeds of either arm that have none.
    Raises:
        InputError: an arm has no row on that data set, endpoint and axis, or what `arm_values` refuses; the arms are at
            other targets in a seed.

    >>> low, high = (
    ...     Trajectory(name, "gradient", "light", [0, 1, 2], [1, 4, 7], [0.9, 0.7, 0.5], [0, 0.1, 0.2], {"rank": ranks})
    ...     for name, ranks in (("adam", [20, 19, 15]), ("muon", [20, 20, 20]))
    ... )
    >>> table = match([low, high], {"validation_mae": 0.5})
    >>> paired(table, Contrast("muon - adam", "light", "muon", "adam"), "rank", "validation_mae").by_seed
    {0: 5.0}
    """
    values = [arm_values(table, contrast, arm, endpoint, axis) for arm in (contrast.first, contrast.second)]
    _refuse_other_targets(table, contrast, endpoint, axis)
    seeds = in_order({*values[0], *values[1]})
    by_seed = {seed: values[0].get(seed, np.nan) - values[1].get(seed, np.nan) for seed in seeds}
    recorded = {seed: difference for seed, difference in by_seed.items() if np.isfinite(difference)}
    return AxisDifference(axis, recorded, tuple(seed for seed in seeds if seed not in recorded))


def difference_matrix(differences: Iterable[AxisDifference]) -> tuple[list[Any], np.ndarray]:
    """The seeds of several contrasts, and (seeds, contrasts) differences with NaN where there is no pair.

    >>> difference_matrix([AxisDifference("updates", {1: 0.5, 2: 0.25}), AxisDifference("updates", {2: 1.0}, (1,))])
    ([1, 2], array([[0.5 ,  nan],
           [0.25, 1.  ]]))
    """
    columns = list(differences)
    seeds = in_order({seed for column in columns for seed in (*column.by_seed, *column.without)})
    matrix = [[column.by_seed.get(seed, np.nan) for column in columns] for seed in seeds]
    return seeds, np.array(matrix, dtype=np.float64).reshape(len(seeds), len(columns))


def _by_seed(trajectories: Sequence[Trajectory]) -> list[list[Trajectory]]:
    rows: dict[int, dict[str, Trajectory]] = {}
    for path in trajectories:
        if path.dataset != trajectories[0].dataset:
            raise InputError(
                f"{trajectories[0].name} and {path.name}: trained on {trajectories[0].dataset} and {path.dataset}; "
                "trainings on other data are never matched"
            )
        if path.name in rows.setdefault(path.seed, {}):
            raise InputError(f"{path.name} of seed {path.seed}: comes twice; name each arm otherwise")
        rows[path.seed][path.name] = path
    if not rows:
        raise InputError("trajectories: must be one or more")
    return [list(row.values()) for row in rows.values()]


def _value(path: Trajectory, arrival: Arrival, endpoint: str) -> float:
    """At the update of an arrival, between the nearest records after step 0 that have the endpoint; NaN outside."""
    if arrival.updates is None:
        return np.nan
    direct = arrival.values[endpoint]
    if direct is not None:
        return direct
    updates, values = path.curve(endpoint, "updates")
    return float(np.interp(arrival.updates, updates, values, left=np.nan, right=np.nan)) if len(updates) else np.nan


def arm_values(table: pd.DataFrame, contrast: Contrast, arm: str, endpoint: str, axis: str) -> dict[Any, float]:
    """Seed -> value of one arm of a contrast, NaN where it is censored.

    Raises:
        InputError: the table lacks a column; the arm has no row on the contrast's data set, endpoint and axis, a seed
            twice, an infinite value, or one where it is censored.

    >>> path = Trajectory("adam", "gradient", "light", [0, 1, 2], [1, 4, 7], [0.9, 0.7, 0.5], [0, 0.1, 0.2],
    ...     {"rank": [20, 19, 15]})
    >>> arm_values(match([path], {"distance": 0.2}), Contrast("a", "light", "adam", "es"), "adam", "rank", "distance")
    {0: 15.0}
    """
    if lacking := [name for name in NEEDED if name not in table]:
        raise InputError(f"table: has no column {lacking[0]}")
    of_arm = table[(table["arm"] == arm) & (table["endpoint"] == endpoint) & (table["axis"] == axis)]
    rows = of_arm[of_arm["dataset"] == contrast.dataset]
    if rows.empty:
        datasets = ", ".join(of_arm["dataset"].unique()) or "none"
        raise InputError(
            f"contrast {contrast.name}: {arm} has no {endpoint} at equal {axis} on {contrast.dataset}; it has it on "
            f"{datasets}, and trainings on other data are never matched"
        )
    seeds, values = [_plain(seed) for seed in rows["seed"].tolist()], as_numbers(rows["value"].to_numpy(), "value")
    crossings = rows["crossing"].tolist() if "crossing" in rows else [""] * len(rows)
    found: dict[Hashable, float] = {}
    for seed, value, crossing in zip(seeds, values.tolist(), crossings, strict=True):
        wrong = ""
        if seed is None or seed != seed:
            wrong = ": every row must have a seed"
        elif seed in found:
            wrong = ": comes twice; a training has one value there"
        elif math.isinf(value):
            wrong = f" = {value}: must not be infinite; NaN = censored"
        elif crossing in CENSORED and not math.isnan(value):
            wrong = f" = {value:g}: the training is {crossing}, so it has no value there"
        if wrong:
            place = f"{endpoint} of {arm}, seed {quoted(seed)}, at equal {axis} on {contrast.dataset}"
            raise InputError(f"{place}{wrong}")
        found[seed] = value
    return found


def _refuse_other_targets(table: pd.DataFrame, contrast: Contrast, endpoint: str, axis: str) -> None:
    """The arms of a seed are compared where the same is held equal, or not at all."""
    if "target" not in table:
        return
    place = (table["dataset"] == contrast.dataset) & (table["endpoint"] == endpoint) & (table["axis"] == axis)
    rows = table[place & table["arm"].isin([contrast.first, contrast.second])]
    differing = rows.groupby("seed")["target"].nunique() > 1
    if differing.any():
        raise InputError(
            f"contrast {contrast.name}: seed {quoted(_plain(differing.idxmax()))}: the arms are at different "
            f"targets of {axis}"
        )


def _plain(seed: Hashable) -> Hashable:
    """A number of Python's, whole where it is, whatever type its column has."""
    seed = seed.item() if isinstance(seed, np.generic) else seed
    return int(seed) if isinstance(seed, float) and seed.is_integer() else seed
