"""The learning rate of every update: warm-up, then constant or a cosine."""

from __future__ import annotations

import math


def schedule_factor(update: int, warmup: int, total: int, schedule: str) -> float:
    """Share of the highest learning rate that an update takes.

    (update + 1) / warmup during the warm-up; then 1, or (1 + cos(pi (update - warmup) / (total - warmup))) / 2.

    Args:
        update: counted from 0 over the whole training.
        warmup: updates in which the rate rises; 0 = none.
        total: updates of the whole training; > warmup.
        schedule: constant or cosine.
    Returns:
        Dimensionless, in (0, 1] for updates before `total`.
    Source: Loshchilov & Hutter (2017), https://arxiv.org/abs/1608.03983, eq. (5), without restarts.

    >>> [round(schedule_factor(update, 2, 6, "cosine"), 3) for update in (0, 1, 2, 4, 6)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    if update < warmup:
        return (update + 1) / warmup
    if schedule == "constant":
        return 1.0
    return (1 + math.cos(math.pi * (update - warmup) / (total - warmup))) / 2
