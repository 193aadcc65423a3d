"""What was reached: losses and validation MAE, against steps and against the budget that optimizers share."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

TITLE = "Loss and MAE"
STEPS = "step (an update of the weights, or a generation)"
EVALUATIONS = "evaluations (forward passes over a batch)"
EVALUATION_MEANING = "an evaluation is a forward pass over a batch; a backward pass counts as two"
MAE = "validation MAE (scaled units)"
MAE_MEANING = (
    "the teacher-forced validation MAE is the same measure under every loss; losses of different kinds are not"
)
LINES = "bold: validation; thin: training"
BEST = "best step, whose weights are scored"
RANGE = 1000.0
"""A largest loss over the smallest beyond which a linear axis shows one of them alone."""


def is_logarithmic(losses: Iterable[float]) -> bool:
    """Whether losses lie so far apart, as before a divergence, that their axis has to be logarithmic.

    Args:
        losses: loss units; those that are not finite do not count.

    >>> is_logarithmic([0.5, 2.0]), is_logarithmic([0.5, 2000.0]), is_logarithmic([-1.0, 2000.0])
    (False, True, False)
    """
    values = np.fromiter(losses, np.float64)
    values = values[np.isfinite(values)]
    return bool(len(values) and values.min() > 0 and values.max() > RANGE * values.min())
