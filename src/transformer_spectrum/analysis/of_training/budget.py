"""The budget that optimizers share: evaluations, on an axis that may be logarithmic."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from transformer_spectrum.analysis.of_training.summary import Summary


def budget_of(summaries: Mapping[str, Summary], optimizer: str) -> np.ndarray:
    """(S,) evaluations so far; NaN where there are none, unless no training has any, so that the axis stays linear.

    >>> budget_of(summaries, "es").tolist()
    [nan, 32.0, 64.0, 96.0, 128.0]
    """
    is_spent = any((summary.history.evaluations > 0).any() for summary in summaries.values())
    evaluations = summaries[optimizer].history.evaluations
    return np.where(evaluations > 0, evaluations, np.nan) if is_spent else evaluations.astype(np.float64)
