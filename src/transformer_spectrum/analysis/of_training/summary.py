"""Trainings condensed to families of matrices: what the tables and the figures show alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from transformer_spectrum.analysis.comparison.endpoints import CHANGE
from transformer_spectrum.analysis.comparison.family_distance import relative_distance
from transformer_spectrum.analysis.of_training.nulls import STEP, joined, main_null, prefixed, spread
from transformer_spectrum.analysis.of_training.thinning import tracked_of
from transformer_spectrum.analysis.of_training.tracked_steps import Evidence, gather
from transformer_spectrum.config.schema import SpectraParams
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.spectra.analysis import Analysis, Estimators, analyze
from transformer_spectrum.spectra.effects import Effect, effect
from transformer_spectrum.spectra.nulls import Null, family_draws, family_null
from transformer_spectrum.training.records.history import History
from transformer_spectrum.training.records.snapshots import Snapshots
from transformer_spectrum.weights.matrices.shapes import shape_classes


@dataclass(frozen=True)
class Summary:
    """One optimizer's training.

    Attributes:
        history: as stored.
        analysis: every metric of it, see `analyzed`.
        families: label -> positions of the matrices that are averaged: one family and shape, up to transposition.
        settings: of the estimators, and which steps are shown.
        evidence: what the weights say at the tracked steps.
    """

    history: History
    analysis: Analysis
    families: Mapping[str, np.ndarray]
    settings: SpectraParams
    evidence: Evidence

    @property
    def tracked(self) -> list[int]:
        """Recorded positions of the steps that figures show."""
        return tracked_of(self.history, self.settings).tolist()

    @property
    def spectral_families(self) -> list[str]:
        """Labels of the families whose matrices have more than one singular value, so that a spectrum has a shape."""
        ranks = self.history.shapes.min(axis=1)
        return [family for family, members in self.families.items() if ranks[members[0]] > 1]

    def mean(self, metric: str, family: str) -> np.ndarray:
        """(S,) mean over the family's matrices; NaN where none has a value."""
        return self.analysis.class_mean(metric, self.families[family])

    def null(self, metric: str, family: str, position: int, *, name: str | None = None) -> Null:
        """Mean and spread of the family's mean over the draws of a null, at a tracked position.

        Args:
            metric: its name.
            family: label.
            position: among the steps of the evidence.
            name: of the null; None = the metric's main one, see `nulls.main_null`.
        """
        return family_null(self._draws(metric, family, position, name))

    def effect(self, metric: str, family: str, position: int, *, name: str | None = None) -> Effect:
        """The family's mean against its null: a difference, and the same in standard deviations of the null's draws.

        The one definition behind texts, tables, figures and `dvc plots`; arguments as of `null`.
        """
        draws = family_draws(self._draws(metric, family, position, name))
        return effect(metric.removeprefix(CHANGE), np.asarray(self.observed(metric, family, position)), draws)

    def observed(self, metric: str, family: str, position: int) -> float:
        """`mean` at a tracked position, from the entries in float64 as the draws of the nulls are.

        So that the effect of nothing is exactly 0; recorded singular values are float32.
        """
        return float(self.evidence.observed.class_mean(metric, self.families[family])[position])

    def _draws(self, metric: str, family: str, position: int, name: str | None) -> np.ndarray:
        """(D, m) the metric in each draw of each of the family's matrices."""
        analysis = self.evidence.nulls[name or main_null(metric)][position]
        return analysis.values[metric][:, self.families[family]]

    def _draws_at_steps(self, metric: str, family: str) -> np.ndarray:
        """(D, K, m) the metric in each draw of its main null, at every tracked step."""
        members = self.families[family]
        return np.stack([step.values[metric][:, members] for step in self.evidence.nulls[main_null(metric)]], axis=1)

    def band(self, metric: str, family: str, deviations: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
        """(S,) low and high end of the main null, mean -+ 2 standard deviations; NaN but at the tracked steps."""
        low, high = (np.full(len(self.history.steps), np.nan) for _ in range(2))
        low[self.tracked], high[self.tracked] = family_null(self._draws_at_steps(metric, family)).band(deviations)
        return low, high

    def effects(self, metric: str, family: str) -> tuple[np.ndarray, np.ndarray]:
        """(S,) difference and deviations of `effect`; NaN but at the tracked steps."""
        differences, deviations = (np.full(len(self.history.steps), np.nan) for _ in range(2))
        observed = self.evidence.observed.class_mean(metric, self.families[family])
        against = effect(metric.removeprefix(CHANGE), observed, family_draws(self._draws_at_steps(metric, family)))
        differences[self.tracked], deviations[self.tracked] = against.difference, against.deviations
        return differences, deviations

    def change(self, metric: str) -> np.ndarray:
        """(S, M) change since step 0 in percent of the value there; NaN where that is 0 or has no value."""
        values = self.analysis.values[metric]
        start = np.where(values[0] != 0, np.abs(values[0]), np.nan)
        return 100.0 * (values - values[0]) / start

    def distance(self, family: str) -> np.ndarray:
        """(S,) |W_t - W_0| / |W_0|, Frobenius norms over all the family's matrices; NaN where these start as zero."""
        return relative_distance(self.history, self.families[family])

    def singular_value_ratios(self, family: str, position: int) -> np.ndarray:
        """(r,) `mean_singular_values` over the initial ones of the same rank; NaN where the initial one is 0."""
        values, initial = (self.mean_singular_values(family, at) for at in (position, 0))
        return np.divide(values, initial, out=np.full_like(values, np.nan), where=initial > 0)

    def mean_singular_values(self, family: str, position: int) -> np.ndarray:
        """(r,) mean over the family's matrices of the i-th largest singular value, at a recorded position."""
        members = self.families[family]
        spectra = np.stack([self.history.spectrum(position, matrix) for matrix in members])
        return spectra.mean(axis=0, dtype=np.float64)

    def mean_change_spectra(self, family: str, position: int) -> tuple[np.ndarray, np.ndarray]:
        """(r,) mean singular values of the family's changes at a tracked position, and of those changes shuffled."""
        members = self.families[family]
        rank = int(self.history.shapes[members[0]].min())
        recorded = self.history.change_singular_values[self.tracked[position]]
        both = (recorded, self.evidence.shuffled_change[position])
        values, shuffled = (spectra[members, :rank].mean(axis=0, dtype=np.float64) for spectra in both)
        return values, shuffled

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


def analyzed(history: History, estimators: Estimators) -> Analysis:
    """Every metric of the matrices, of their changes and, where they were recorded, of the steps, at every record.

    Names of the last two begin with "change_" and "step_".

    Raises:
        ValueError: a singular value is not finite or is negative.

    >>> analysis = analyzed(summaries["adam"].history, Estimators())
    >>> analysis.reason("change_stable_rank", 0, 0), analysis.reason("change_stable_rank", 1, 0)
    ('zero matrix', '')
    """
    weights = history.singular_values
    analyses = [analyze(weights, history.shapes, estimators)]
    change = analyze(history.change_singular_values, history.shapes, estimators, stored=weights)
    analyses.append(prefixed(change, CHANGE))
    if history.step_singular_values is not None:
        recorded = np.isfinite(history.step_singular_values[:, :, 0]).all(axis=1)
        steps = history.step_singular_values[recorded]
        measured = analyze(steps, history.shapes, estimators, stored=weights[recorded])
        analyses.append(spread(prefixed(measured, STEP), recorded))
    return joined(*analyses)


def estimators_of(spectra: SpectraParams) -> Estimators:
    """The estimators that the parameters describe.

    >>> estimators_of(params.spectra) == Estimators()
    True
    """
    return Estimators(
        hill_fraction=spectra.hill_fraction,
        min_tail=spectra.min_tail,
        ks_distance=spectra.ks_distance,
        window=(spectra.window_first, spectra.window_last),
        edge_level=spectra.edge_level,
    )


def summarize(
    histories: Mapping[str, History],
    snapshots: Mapping[str, Snapshots],
    spectra: SpectraParams,
    *,
    heads: int,
    seed: int,
) -> dict[str, Summary]:
    """Analyzes every training.

    Args:
        histories: optimizer -> its training; all start from the same weights.
        snapshots: optimizer -> its weights at the kept steps.
        spectra: settings of the estimators.
        heads: of the attention layers.
        seed: of shuffles and bootstraps.
    Raises:
        InputError: a history has a singular value that is not finite, other matrices, or another start.

    >>> history, snapshots = History.load("models/es/history.npz"), Snapshots.load("models/es/snapshots.safetensors")
    >>> summary = summarize({"es": history}, {"es": snapshots}, params.spectra, heads=4, seed=1)["es"]
    >>> summary.tracked, summary.mean("stable_rank", "readout").round(2).tolist()
    ([0, 1, 4], [4.19, 4.14, 4.17, 4.21, 4.19])
    """
    _check_common_start(histories)
    summaries: dict[str, Summary] = {}
    initial = None
    for optimizer, history in histories.items():
        try:
            analysis = analyzed(history, estimators_of(spectra))
        except ValueError as error:
            raise InputError(f"history of {optimizer}: {error}") from None
        tracked = tracked_of(history, spectra)
        evidence = gather(
            optimizer,
            history,
            snapshots[optimizer],
            history.steps[tracked].tolist(),
            estimators_of(spectra),
            spectra,
            heads=heads,
            seed=seed,
            initial=initial,
        )
        initial = evidence.nulls["initial"][0]
        families = shape_classes(history.families.tolist(), history.shapes.tolist())
        summaries[optimizer] = Summary(history, analysis, families, spectra, evidence)
    return summaries


def _check_common_start(histories: Mapping[str, History]) -> None:
    """The initial weights are the null of all optimizers, so they must be the same."""
    (first, reference), *others = histories.items()
    for optimizer, history in others:
        if not np.array_equal(history.names, reference.names) or not np.array_equal(history.shapes, reference.shapes):
            raise InputError(f"{first} and {optimizer} trained different matrices; run dvc repro")
        start, expected = history.singular_values[0], reference.singular_values[0]
        if not np.allclose(start, expected, rtol=1e-3, atol=1e-6 * np.nanmax(expected), equal_nan=True):
            raise InputError(f"{first} and {optimizer} did not start from the same weights; run dvc repro")
