"""No effect, shown and not assumed; and how many of many are false."""

import numpy as np
import pytest
from scipy import stats

from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.study.inference.discovery import benjamini_hochberg
from transformer_spectrum.study.inference.equivalence import equivalence
from transformer_spectrum.study.inference.estimates import hodges_lehmann, mean_difference, p_above


def draws(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("shift", [0.0, 0.5, -0.9])
def test_equivalence_is_shown_exactly_if_the_interval_at_twice_the_level_lies_inside_the_margin(shift):
    for seed in range(40):
        values = draws(seed, 8) + shift
        effect = mean_difference(values, confidence=0.9)
        inside = effect.low > -1.0 and effect.high < 1.0
        assert (equivalence(values, 1.0).p_value <= 0.05) == inside


def test_a_difference_beyond_the_margin_is_called_none_in_at_most_one_of_twenty_studies():
    at_margin = [equivalence(draws(seed, 8) + 1.0, 1.0).p_value <= 0.05 for seed in range(600)]
    assert np.mean(at_margin) == pytest.approx(0.05, abs=0.025)
    same = [equivalence(0.4 * draws(seed, 8), 1.0).p_value <= 0.05 for seed in range(100)]
    assert np.mean(same) > 0.95


def test_which_arm_comes_first_does_not_matter_to_equivalence():
    values = draws(3, 9) + 0.3
    there, back = equivalence(values, 0.7), equivalence(-values, 0.7)
    assert (there.p_not_below, there.p_not_above) == (back.p_not_above, back.p_not_below)
    assert there.p_not_above < stats.ttest_1samp(values, 0.7, alternative="less").pvalue + 0.03


@pytest.mark.parametrize("margin", [0.0, -1.0, np.inf, np.nan])
def test_a_margin_that_is_none_is_refused(margin):
    with pytest.raises(InputError, match="margin"):
        equivalence(draws(0, 6), margin)


def test_q_values_are_those_worked_out_by_hand_and_missing_tests_do_not_count():
    p_values = np.array([0.001, 0.20, 0.008, np.nan, 0.039, 0.041])
    expected = [0.005, 0.20, 0.02, np.nan, 0.05125, 0.05125]  # p m / rank of 5 tests, then the minimum from below
    assert benjamini_hochberg(p_values) == pytest.approx(expected, nan_ok=True)
    assert np.isnan(benjamini_hochberg(np.full(2, np.nan))).all()


def test_the_rejected_are_those_of_the_step_up_rule():
    for seed in range(20):
        p_values = np.random.default_rng(seed).beta(0.4, 1.5, size=12)
        ranked = np.sort(p_values)
        below = np.flatnonzero(ranked <= 0.1 * np.arange(1, 13) / 12)
        threshold = ranked[below[-1]] if len(below) else -1.0
        assert ((benjamini_hochberg(p_values) <= 0.1) == (p_values <= threshold)).all()


@pytest.mark.parametrize("sign", [1, -1])
def test_an_infinite_difference_is_refused_by_whatever_takes_one(sign):
    differences = np.array([sign * np.inf, *[0.01] * 8])
    for statistic in (
        lambda: equivalence(differences, 0.1),
        lambda: p_above(differences, 0.0),
        lambda: mean_difference(differences),
        lambda: hodges_lehmann(differences),
    ):
        with pytest.raises(InputError, match="must not be infinite"):
            statistic()


@pytest.mark.parametrize("p_value", [-0.1, 1.2, np.inf])
def test_what_is_no_p_value_has_no_q(p_value):
    with pytest.raises(InputError, match="must be >= 0 and <= 1"):
        benjamini_hochberg(np.array([0.5, p_value, np.nan]))


def test_without_a_pair_there_is_no_median():
    assert np.isnan(hodges_lehmann(np.array([np.nan])))
