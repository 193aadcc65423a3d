"""The primary endpoints of every arm along validation MAE and along distance, as bands over seeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from transformer_spectrum.study.answer.matched import DIVERGED
from transformer_spectrum.study.answer.stored import CURVES

ALONG = ("validation_mae", "distance")
PLACES = 24
"""Of a curve, evenly apart in logarithms between the ends of its data set."""


def curves_table(cells: pd.DataFrame, paths: pd.DataFrame, endpoints: Sequence[str]) -> pd.DataFrame:
    """CURVES of every arm; where fewer than half of its seeds pass, it has none.

    A seed is at a place of the axis where its running minimum of MAE (maximum of distance) first is there, by a
    straight line between records behind step 0.

    Args:
        cells, paths: of `trainings.run_cells`; trainings that diverged are left out.
        endpoints: columns of `paths`.

    >>> curves_table(pd.DataFrame(columns=["block", "dataset", "arm", "status"]), pd.DataFrame(), []).empty
    True
    """
    done = cells[cells["status"] != DIVERGED]
    by_training = dict(list(paths.groupby("training", sort=False))) if len(paths) else {}
    rows = []
    for (block, dataset), of_block in done.groupby(["block", "dataset"], sort=False):
        for axis in ALONG:
            values = np.concatenate([by_training[name][axis].to_numpy()[1:] for name in of_block["training"].unique()])
            values = values[np.isfinite(values) & (values > 0)]
            if not len(values):
                continue
            grid = np.geomspace(values.min(), values.max(), PLACES)
            for arm, of_arm in of_block.groupby("arm", sort=False):
                trainings = [by_training[name] for name in of_arm["training"]]
                rows += [
                    (block, dataset, arm, axis, at, endpoint, *band)
                    for endpoint in endpoints
                    for at, *band in _bands(trainings, axis, endpoint, grid)
                ]
    return pd.DataFrame(rows, columns=list(CURVES))


def _bands(
    trainings: Sequence[pd.DataFrame], axis: str, endpoint: str, grid: np.ndarray
) -> Iterator[tuple[float, int, float, float]]:
    stack = np.stack([_along(path, axis, endpoint, grid) for path in trainings])
    for place, at in enumerate(grid.tolist()):
        values = stack[:, place][np.isfinite(stack[:, place])]
        if len(values) and 2 * len(values) >= len(trainings):
            spread = float(values.std(ddof=1)) if len(values) > 1 else np.nan
            yield at, len(values), float(values.mean()), spread


def _along(path: pd.DataFrame, axis: str, endpoint: str, grid: np.ndarray) -> np.ndarray:
    """(places,) of one training; NaN where it does not pass."""
    place, values = path[axis].to_numpy()[1:], path[endpoint].to_numpy()[1:]
    usable = np.isfinite(place) & np.isfinite(values)
    if not usable.any():
        return np.full(len(grid), np.nan)
    place, values = place[usable], values[usable]
    if axis == "validation_mae":
        place, grid = -place, -grid
    advanced = np.maximum.accumulate(place)
    first = np.append(True, np.diff(advanced) > 0)
    return np.interp(grid, advanced[first], values[first], left=np.nan, right=np.nan)
