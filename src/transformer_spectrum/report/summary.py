"""Trainings condensed to families of matrices: what the tables and the figures show alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from transformer_spectrum.errors import InputError
from transformer_spectrum.history import History
from transformer_spectrum.schema import SpectraParams
from transformer_spectrum.spectra.analysis import Analysis, analyze, shape_classes


@dataclass(frozen=True)
class Summary:
    """One optimizer's training.

    Attributes:
        history: as stored.
        analysis: every metric of it.
        families: label -> positions of the matrices that are averaged: one family and shape, up to transposition.
        settings: of the estimators, and which steps are shown.
    """

    history: History
    analysis: Analysis
    families: Mapping[str, np.ndarray]
    settings: SpectraParams

    @property
    def tracked(self) -> list[int]:
        """Recorded positions of the steps that figures show."""
        settings = self.settings
        return tracked_positions(self.history.steps, settings.tracked_every, settings.tracked_at_most).tolist()

    @property
    def spectral_families(self) -> list[str]:
        """Labels of the families whose matrices have more than one singular value, so that a spectrum has a shape."""
        ranks = self.history.shapes.min(axis=1)
        return [family for family, members in self.families.items() if ranks[members[0]] > 1]

    def mean(self, metric: str, family: str) -> np.ndarray:
        """(S,) mean over the family's matrices; NaN where none has a value."""
        return self.analysis.class_mean(metric, self.families[family])

    def mean_singular_values(self, family: str, position: int) -> np.ndarray:
        """(r,) mean over the family's matrices of the i-th largest singular value, at a recorded position."""
        members = self.families[family]
        return np.mean([self.history.spectrum(position, matrix) for matrix in members], axis=0, dtype=np.float64)

    def pooled_eigenvalues(self, family: str, position: int) -> np.ndarray:
        """Eigenvalues s^2 of all the family's matrices, over the mean one of the family's initial matrices.

        One scale for the family and all steps: growth shows, and the initial ones have mean 1. Families whose
        initial matrices are all zero stay as they are.
        """
        spectra = [
            np.concatenate([self.history.spectrum(at, matrix) for matrix in self.families[family]]).astype(np.float64)
            for at in (0, position)
        ]
        return spectra[1] ** 2 / (np.mean(spectra[0] ** 2) or 1.0)


def summarize(histories: Mapping[str, History], spectra: SpectraParams) -> dict[str, Summary]:
    """Analyzes every training.

    Args:
        histories: optimizer -> its training; all start from the same weights.
        spectra: settings of the estimators.
    Raises:
        InputError: a history has a singular value that is not finite, other matrices, or another start.
    """
    summaries: dict[str, Summary] = {}
    for optimizer, history in histories.items():
        try:
            analysis = analyze(
                history.singular_values,
                history.shapes,
                hill_fraction=spectra.hill_fraction,
                min_tail=spectra.min_tail,
                ks_distance=spectra.ks_distance,
                window=(spectra.window_first, spectra.window_last),
            )
        except ValueError as error:
            raise InputError(f"history of {optimizer}: {error}") from None
        summaries[optimizer] = Summary(history, analysis, shape_classes(history.families, history.shapes), spectra)
    _check_common_start(histories)
    return summaries


def _check_common_start(histories: Mapping[str, History]) -> None:
    """The initial weights are the null of all optimizers, so they must be the same."""
    (first, reference), *others = histories.items()
    for optimizer, history in others:
        if not np.array_equal(history.names, reference.names) or not np.array_equal(history.shapes, reference.shapes):
            raise InputError(f"{first} and {optimizer} trained different matrices; run dvc repro")
        start, same = history.singular_values[0], reference.singular_values[0]
        if not np.allclose(start, same, rtol=1e-3, atol=1e-6 * np.nanmax(same), equal_nan=True):
            raise InputError(f"{first} and {optimizer} did not start from the same weights; run dvc repro")


def evenly(count: int, at_most: int) -> np.ndarray:
    """Positions 0 ... count - 1 thinned evenly to at most `at_most` (>= 2), the first and the last included."""
    return np.unique(np.linspace(0, count - 1, min(count, at_most)).round().astype(int))


def tracked_positions(steps: np.ndarray, every: int, at_most: int) -> np.ndarray:
    """Positions of the steps that figures show: 0, 1, every so many and the last.

    When these are too many, 0, 1 and the last stay and the others are spread geometrically between 1 and the last,
    since spectra change most at the beginning.

    Args:
        steps: (S,) ascending from 0.
        every: spacing; steps.
        at_most: positions; count, >= 3.
    """
    steps = np.asarray(steps)
    shown = np.flatnonzero((steps == 0) | (steps == 1) | (steps % every == 0) | (steps == steps[-1]))
    if len(shown) <= at_most:
        return shown
    later = steps[shown[1:]]
    wanted = np.geomspace(later[0], later[-1], at_most - 1)
    nearest = np.abs(np.log(later[None, :] / wanted[:, None])).argmin(axis=1)
    return np.concatenate([shown[:1], shown[1:][np.unique(nearest)]])
