"""A metric against its null: the difference, and standard deviations where these say something."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from transformer_spectrum.spectra import effects
from transformer_spectrum.spectra.analysis import METRICS, Estimators, analyze
from transformer_spectrum.spectra.effects import effect

DRAWS = np.array([1.0, 2.0, 3.0, 6.0])  # mean 3, standard deviation sqrt(14 / 3)


# -- closed forms ----------------------------------------------------------------------------------------------
def test_an_effect_is_a_difference_in_standard_deviations_of_the_draws():
    result = effect("stable_rank", np.array([5.0, 3.0, 0.0]), np.stack([DRAWS] * 3, axis=1))
    np.testing.assert_allclose(result.difference, [2, 0, -3])
    np.testing.assert_allclose(result.deviations, np.array([2, 0, -3]) / np.sqrt(14 / 3))
    assert (result.reason == "").all()
    assert (result.null_mean == 3).all()
    np.testing.assert_allclose(result.null_sd, np.sqrt(14 / 3))


def test_a_normal_metric_without_an_effect_has_students_t_stretched_by_the_draws():
    random = np.random.default_rng(1)
    deviations = effect("", random.standard_normal(20000), random.standard_normal((20, 20000))).deviations
    assert stats.kstest(deviations / np.sqrt(1.05), stats.t(19).cdf).pvalue > 1e-3


# -- reasons ---------------------------------------------------------------------------------------------------
def test_every_missing_effect_has_its_reason_and_keeps_its_difference():
    draws = np.array([[1.0, 1, np.nan, 4, 0], [2, 2, 2, 4, 0], [3, 3, 3, 4, 0], [6, 6, np.nan, 5, 1]])
    result = effect("stable_rank", np.array([5.0, np.nan, 5.0, 5.0, 5.0]), draws)
    assert result.reason.tolist() == ["", effects.NO_VALUE, effects.FEW_DRAWS, effects.NO_SPREAD, effects.NO_SPREAD]
    assert (np.isnan(result.deviations) == (result.reason != "")).all()
    np.testing.assert_allclose(result.difference, [2, np.nan, 2.5, 0.75, 4.75])
    heavy = effect("condition_number", np.array([5.0, np.nan]), np.stack([DRAWS] * 2, axis=1))
    assert heavy.reason.tolist() == [effects.HEAVY_TAILED, effects.NO_VALUE]
    assert heavy.difference[0] == 2
    assert np.isnan(heavy.deviations).all()


def test_draws_that_differ_by_the_rounding_of_float32_alone_have_no_spread():
    draws = np.float32(3.7) * (1 + 6e-8 * np.random.default_rng(0).standard_normal(20))
    assert effect("frobenius_norm", np.array(3.8), draws).reason == effects.NO_SPREAD
    assert effect("frobenius_norm", np.array(3.8), draws + 1e-4 * np.arange(20)).reason == ""


@pytest.mark.parametrize(("equal", "reason"), [(9, ""), (10, effects.NO_SPREAD), (19, effects.NO_SPREAD)])
def test_a_spread_that_a_few_exceptions_make_is_none(equal, reason):
    draws = np.append(np.zeros(equal), 1 + np.arange(20 - equal))
    assert effect("", np.array(1.0), draws).reason == reason
    assert effect("", np.array(1.0), np.append(draws, [np.nan] * 30)).reason == reason  # of those that have the metric


def test_without_a_null_there_is_neither_difference_nor_effect():
    result = effect("stable_rank", np.array([5.0, np.nan]), np.empty((0, 2)))
    assert result.reason.tolist() == [effects.NO_DRAWS, effects.NO_VALUE]
    assert np.isnan(result.difference).all()
    assert np.isnan(result.deviations).all()
    assert effect("stable_rank", np.array(5.0), np.full(3, np.nan)).reason == effects.FEW_DRAWS
    with pytest.raises(ValueError, match="infinite"):
        effect("stable_rank", np.array(np.inf), DRAWS)


# -- behaviour -------------------------------------------------------------------------------------------------
def test_what_may_have_deviations_was_measured_for_every_metric():
    assert set(effects.BEYOND_FIVE) == set(METRICS)
    assert {metric for metric, percent in effects.BEYOND_FIVE.items() if percent > 0.1} == effects.UNUSABLE
    assert "condition_number" in effects.UNUSABLE
    rows = [line.split() for line in effects.__doc__.splitlines() if line.split()[:1] and line.split()[0] in METRICS]
    largest = {metric: max(float(share) for share in shares if share != "none") for metric, *shares in rows}
    assert largest == effects.BEYOND_FIVE  # the table of the docstring
    assert effects.UNUSABLE.isdisjoint({"stable_rank", "spectral_entropy", "spectral_norm", "frobenius_norm"})


@pytest.mark.parametrize("shape", [(16, 16), (24, 48)])
def test_effects_of_nothing_hardly_ever_exceed_five(shape):
    arrangements = np.random.default_rng(2).standard_normal((21, 150, *shape))
    values = np.linalg.svd(arrangements, compute_uv=False)
    analysis = analyze(values, np.array([shape] * 150), Estimators())
    beyond = {}
    for metric in METRICS:
        drawn = analysis.values[metric]
        each = [effect(metric, drawn[i], np.delete(drawn, i, axis=0)) for i in range(21)]
        beyond[metric] = np.mean([np.abs(result.deviations) > 5 for result in each])
        if metric in effects.UNUSABLE:
            assert all((result.reason != "").all() for result in each)
    assert max(beyond.values()) <= 0.002
    assert sum(beyond.values()) / len(METRICS) < 0.0005


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(1e-6, 1e6), st.floats(-10, 10))
def test_an_effect_does_not_depend_on_the_unit(seed, factor, shift):
    random = np.random.default_rng(seed)
    values, draws = random.standard_normal(4), random.standard_normal((6, 4))
    moved = effect("", factor * (values + shift), factor * (draws + shift))
    np.testing.assert_allclose(moved.deviations, effect("", values, draws).deviations, rtol=1e-6, atol=1e-9)
