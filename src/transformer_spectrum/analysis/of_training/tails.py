"""Tests of one matrix's tail: how well a power law fits, against what, and whether spikes explain the spectrum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from transformer_spectrum.spectra import tail_tests
from transformer_spectrum.spectra.analysis import Analysis, Estimators
from transformer_spectrum.spectra.spike_or_tail import SpikeOrTail, spike_or_tail

ALTERNATIVES: tuple[tail_tests.Alternative, ...] = ("lognormal", "exponential", "truncated_power_law")
NOT_ASKED = "spectra.bootstrap = 0"


@dataclass(frozen=True)
class TailTests:
    """How well a power law describes the tail of one matrix's spectrum.

    Attributes:
        goodness: of the fit, by bootstrap; None where there is no fit or it was not asked for.
        ratios: alternative -> likelihood ratio of the power law against it; empty where there is no fit.
        reason: why something is missing, or empty.
        spike_or_tail: whether noise with a few spikes explains the spectrum, which needs no fit.
    """

    goodness: tail_tests.GoodnessOfFit | None
    ratios: Mapping[str, tail_tests.LikelihoodRatio]
    reason: str
    spike_or_tail: SpikeOrTail


def tail_of(
    values: np.ndarray,
    analysis: Analysis,
    position: int,
    matrix: int,
    shape: tuple[int, int],
    estimators: Estimators,
    draws: int,
    generator: np.random.Generator,
) -> TailTests:
    """Of one matrix at one of the steps that were analysed.

    Args:
        values: (r,) its singular values; weight units.
        analysis: with its power-law fit at [position, matrix].
        position, matrix: where.
        shape: of the matrix; rows and columns.
        estimators: of the fit.
        draws: of the bootstrap; count, 0 = none.
        generator: of the draws.

    >>> from transformer_spectrum.spectra.analysis import analyze
    >>> values, estimators = np.array([[[1.0, 1.0, 1.0]]]), Estimators()
    >>> analysis = analyze(values, np.array([[3, 3]]), estimators)
    >>> tail = tail_of(values[0, 0], analysis, 0, 0, (3, 3), estimators, 10, np.random.default_rng(0))
    >>> tail.reason, str(tail.spike_or_tail.verdict)
    ('fewer positive eigenvalues than the tail needs', 'not_tested')
    """
    reason, explained = analysis.reason("ks_alpha", position, matrix), spike_or_tail(values, shape)
    if reason:
        return TailTests(None, {}, reason, explained)
    eigenvalues = values**2
    xmin = float(analysis.values["ks_xmin"][position, matrix])
    ratios: dict[str, tail_tests.LikelihoodRatio] = {
        name: tail_tests.likelihood_ratio(eigenvalues, xmin, name) for name in ALTERNATIVES
    }
    reasons = [f"{name}: {ratio.reason}" for name, ratio in ratios.items() if ratio.reason]
    if not draws:
        return TailTests(None, ratios, "; ".join([NOT_ASKED, *reasons]), explained)
    goodness = tail_tests.goodness_of_fit(
        eigenvalues,
        min_tail=estimators.min_tail,
        distance=estimators.ks_distance,
        draws=draws,
        generator=generator,
    )
    return TailTests(goodness, ratios, "; ".join(reasons), explained)
