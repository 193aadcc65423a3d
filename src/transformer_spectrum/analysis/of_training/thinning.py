"""Which of the recorded steps are shown: evenly, more of them early, or the few that are tracked."""

from __future__ import annotations

import numpy as np

from transformer_spectrum.config.schema import SpectraParams
from transformer_spectrum.training.records.history import History


def evenly(count: int, at_most: int) -> np.ndarray:
    """Positions 0 ... count - 1 thinned evenly to at most `at_most` (>= 2), the first and the last included.

    >>> evenly(10, 4).tolist()
    [0, 3, 6, 9]
    """
    return np.unique(np.linspace(0, count - 1, min(count, at_most)).round().astype(int))


def early(count: int, at_most: int) -> np.ndarray:
    """Positions 0 ... count - 1 thinned to at most `at_most` (>= 2), the first and the last included.

    Half of them evenly, for linear axes, half evenly in log(1 + position), for spectra change most at the beginning.

    >>> early(100, 8).tolist()
    [0, 4, 21, 33, 66, 99]
    """
    if count <= at_most:
        return np.arange(count)
    even = max(2, at_most // 2)
    logarithmic = np.expm1(np.linspace(0, np.log(count), at_most - even)).round().astype(int)
    return np.union1d(evenly(count, even), logarithmic)


def tracked_positions(steps: np.ndarray, rounds: np.ndarray, best_step: int, every: int, at_most: int) -> np.ndarray:
    """Positions of the steps whose weights are looked at: of the first round, every so many rounds, the best, the last.

    When these are too many, the first two, the best and the last stay and the others are spread geometrically between
    them, since spectra change most at the beginning.

    Args:
        steps: (S,) ascending from 0.
        rounds: (S,) whole epochs or generations done.
        best_step: one of the steps, whose weights are kept.
        every: spacing; epochs or generations.
        at_most: positions; count, >= 4.

    >>> generations = np.arange(301)
    >>> tracked_positions(generations, generations, 143, every=5, at_most=7).tolist()
    [0, 1, 5, 20, 70, 143, 300]
    >>> updates, epochs = np.array([0, 1, 2, 4, 5, 10, 15, 20]), np.array([0, 0, 0, 0, 1, 2, 3, 4])
    >>> tracked_positions(updates, epochs, 20, every=2, at_most=9).tolist()
    [0, 1, 2, 3, 4, 5, 7]
    """
    steps, rounds = np.asarray(steps), np.asarray(rounds)
    best = np.flatnonzero(steps == best_step)
    candidates = np.flatnonzero((rounds <= 1) | (rounds % every == 0) | (steps == steps[-1]))
    if len(np.union1d(candidates, best)) <= at_most:
        return np.union1d(candidates, best)
    later = steps[candidates[1:]]
    targets = np.geomspace(later[0], later[-1], at_most - 2)
    nearest = np.abs(np.log(later[None, :] / targets[:, None])).argmin(axis=1)
    return np.union1d(np.concatenate([candidates[:1], candidates[1:][np.unique(nearest)]]), best)


def tracked_of(history: History, settings: SpectraParams) -> np.ndarray:
    """`tracked_positions` of a training under the settings.

    >>> history = summaries["es"].history
    >>> history.steps[tracked_of(history, summaries["es"].settings)].tolist()
    [0, 1, 4]
    """
    return tracked_positions(
        history.steps, history.rounds, history.best_step, settings.tracked_every, settings.tracked_at_most
    )
