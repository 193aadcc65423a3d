"""How long the reference grid takes, in pieces that can be resumed, from what a round was measured to take."""

from __future__ import annotations

import math
from typing import NamedTuple

DATA_SETS = 4


class Piece(NamedTuple):
    """Rounds of an ensemble that are done without a break.

    Attributes:
        optimizer: of all its members.
        data_set: its number, from 1.
        members: trainings.
        first, last: rounds, counted from 1.
        seconds: with setting up.
    """

    optimizer: str
    data_set: int
    members: int
    first: int
    last: int
    seconds: float


def plan(
    optimizer: str,
    members: int,
    rounds: int,
    per_round: float,
    per_record: float,
    every: int,
    start: float,
    limit: float,
) -> list[Piece]:
    """An ensemble for each data set, cut so that no piece takes longer than the limit, where that is possible.

    Args:
        optimizer: of the ensembles.
        members: of each.
        rounds: epochs or generations of a training.
        per_round: seconds of one of them.
        per_record: seconds of a validation and all spectra.
        every: rounds between two records.
        start: seconds until the first round is done, each time that a piece begins.
        limit: seconds.

    >>> [(piece.first, piece.last, piece.seconds) for piece in plan("es", 8, 30, 10.0, 5.0, 10, 20.0, 200.0)][:2]
    [(1, 15, 177.5), (16, 30, 177.5)]
    """
    seconds = rounds * per_round + rounds / every * per_record
    count = min(rounds, max(1, math.ceil(seconds / max(limit - start, 1e-9))))
    ends = [round(rounds * (number + 1) / count) for number in range(count)]
    return [
        Piece(optimizer, data_set, members, first + 1, last, start + seconds * (last - first) / rounds)
        for data_set in range(1, DATA_SETS + 1)
        for first, last in zip([0, *ends], ends, strict=False)
    ]
