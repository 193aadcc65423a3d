"""One training as a path: what each record has spent, where it stands, and the metrics of one family of matrices."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from transformer_spectrum.runtime.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

Method = Literal["gradient", "population"]

AXES = ("validation_mae", "evaluations", "distance", "updates")
"""What can be held equal; the first is the primary one. Updates mean the same within gradient methods only."""
ALIKE = 0.99
"""Cosine of a loss's influence with that of MSE above which the two are called one loss on these residuals."""
FALLING = "validation_mae"
"""The axis along which a training comes down; the others rise."""


@dataclass(frozen=True)
class Trajectory:
    """One training of one arm of a comparison, S records in order, the initial weights first.

    One that has diverged at its first update has that record alone, and reaches nothing.

    Args:
        name: of the arm: what is compared, such as "adam" or "q=2.5".
        method: "gradient", whose update follows one gradient, or "population", whose update is a generation.
        dataset: identity of data, windows and scaling; only trainings on the same one can be compared.
        updates: (S,) updates done, ascending from 0; a record's step.
        evaluations: (S,) forward passes over a batch spent so far, never falling.
        validation_mae: (S,) teacher-forced mean absolute error of the validation windows; scaled units.
        distance: (S,) of the family from its initial weights, |W_t - W_0| / |W_0|, both Frobenius norms over all
            its matrices.
        metrics: name -> (S,) of the family, such as the stable rank of its change; not finite = no value.
        seed: of initial weights, data and batches; arms are compared within one.
        family: of matrices, for which distance and metrics stand.
        loss: what was minimised, type and settings; "" = not known.
        influence_cosine: at the best step, between the loss's influence on the validation residuals and that of MSE; in
            [-1, 1], not finite = not known.
    Raises:
        InputError: arrays that do not fit each other or this description.

    >>> path = Trajectory("adam", "gradient", "synthetic", [0, 1, 4], [1, 4, 13], [0.9, 0.7, 0.6], [0, 0.1, 0.2],
    ...     {"stable_rank": [20, 19, 18]})
    >>> path
    Trajectory(adam, seed 0: 3 records to update 4)
    >>> path.along("evaluations")
    array([ 1.,  4., 13.])
    """

    name: str
    method: Method
    dataset: str
    updates: ArrayLike
    evaluations: ArrayLike
    validation_mae: ArrayLike
    distance: ArrayLike
    metrics: Mapping[str, ArrayLike] = field(default_factory=dict)
    seed: int = 0
    family: str = ""
    loss: str = ""
    influence_cosine: float = math.nan

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise InputError(f"method = {self.method} of {self.name}: must be one of {', '.join(get_args(Method))}")
        for axis in AXES:
            object.__setattr__(self, axis, self._column(axis, getattr(self, axis)))
        object.__setattr__(self, "metrics", {name: self._column(name, of) for name, of in self.metrics.items()})
        updates, evaluations = self.along("updates"), self.along("evaluations")
        if not len(updates) or updates[0] != 0 or not (np.diff(updates) > 0).all():
            raise InputError(f"updates of {self.name}: must ascend from 0")
        if not (np.isfinite(evaluations).all() and (np.diff(evaluations) >= 0).all()):
            raise InputError(f"evaluations of {self.name}: must be finite and never fall")

    def __repr__(self) -> str:
        updates = self.along("updates")
        records = f"{len(updates)} record{'s' if len(updates) > 1 else ''}"
        return f"Trajectory({self.name}, seed {self.seed}: {records} to update {updates[-1]:.0f})"

    def _column(self, name: str, values: ArrayLike) -> np.ndarray:
        column = np.array(values, dtype=np.float64)
        if column.ndim != 1 or column.shape != np.shape(self.updates):
            raise InputError(f"{name} of {self.name}: shape {column.shape} where updates have {np.shape(self.updates)}")
        column.flags.writeable = False
        return column

    def along(self, axis: str) -> np.ndarray:
        """(S,) the records' positions on one of AXES, float64.

        Raises:
            InputError: no such axis.
        """
        if axis not in AXES:
            raise InputError(f"axis = {axis}: must be one of {', '.join(AXES)}")
        return getattr(self, axis)

    def metric(self, name: str) -> np.ndarray:
        """(S,) one of the metrics, float64.

        Raises:
            InputError: no such metric.
        """
        if name not in self.metrics:
            raise InputError(f"metric = {name}: {self.name} has {', '.join(self.metrics) or 'none'}")
        return np.asarray(self.metrics[name])

    def curve(self, metric: str, axis: str) -> tuple[np.ndarray, np.ndarray]:
        """A metric over an axis: (n,) positions and (n,) values of the records after step 0 that have both, in order.

        In the order of training, so that a MAE that rises again leads the curve back. Step 0 is left out because no
        line is drawn from it: between the initial weights and the first record nothing is known.

        >>> path = Trajectory("es", "population", "synthetic", [0, 1, 2], [1, 9, 17], [0.9, 0.7, 0.8],
        ...     [0, 0.1, 0.2], {"stable_rank": [20, 19, 18]})
        >>> path.curve("stable_rank", "validation_mae")
        (array([0.7, 0.8]), array([19., 18.]))
        """
        positions, values = self.along(axis)[1:], self.metric(metric)[1:]
        recorded = np.isfinite(positions) & np.isfinite(values)
        return positions[recorded], values[recorded]


def min_cosine(cosines: Iterable[float]) -> float:
    """The smallest of several seeds' cosines; NaN as soon as one is not known.

    >>> min_cosine([0.99, 0.95]), min_cosine([0.99, math.nan])
    (0.95, nan)
    """
    return float(np.min(list(cosines)))


def curves(trajectories: Iterable[Trajectory]) -> pd.DataFrame:
    """Every metric of every record beside its position on all axes: one table for charts over any of them.

    Returns:
        A row for each trajectory, metric and record, step 0 included: arm, seed, family, metric, the columns of AXES,
        value, and change since step 0, in the metric's unit.

    >>> path = Trajectory("es", "population", "synthetic", [0, 1], [1, 9], [0.9, 0.7], [0, 0.1], {"rank": [20, 19]})
    >>> curves([path])[["arm", "validation_mae", "value", "change"]].to_numpy().tolist()
    [['es', 0.9, 20.0, 0.0], ['es', 0.7, 19.0, -1.0]]
    """
    import pandas as pd

    columns = ["arm", "seed", "family", "metric", *AXES, "value", "change"]
    tables = [
        pd.DataFrame(
            {
                "arm": path.name,
                "seed": path.seed,
                "family": path.family,
                "metric": name,
                **{axis: path.along(axis) for axis in AXES},
                "value": path.metric(name),
                "change": path.metric(name) - path.metric(name)[0],
            }
        )
        for path in trajectories
        for name in path.metrics
    ]
    return pd.concat(tables, ignore_index=True)[columns] if tables else pd.DataFrame(columns=columns)
