"""One observed or simulated series on the data set's time axis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Series:
    """A series without gaps in time.

    Attributes:
        entity: country, jurisdiction, or the number of a synthetic series.
        start: position of the first value on the axis that all series of the data set share: days since
            1970-01-01 for downloaded series, 0 for synthetic ones, steps since the first row of a user's table.
        values: (T, F) float64 in data units; NaN where a value is missing inside the series.

    >>> Series("Malta", start=18_997, values=np.array([[3.0], [np.nan], [5.0]])).values.shape
    (3, 1)
    """

    entity: str
    start: int
    values: np.ndarray
