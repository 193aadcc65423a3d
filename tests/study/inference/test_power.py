"""How many seeds are enough, said before they run."""

import numpy as np
import pytest
from scipy import stats

from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.study.inference.power import check_power, pairs_needed, rejection_rate


def power_of_student(pairs, size, level):
    """Of the two-sided t test, by the noncentral t."""
    limit = stats.t.ppf(1 - level / 2, pairs - 1)
    shifted = stats.nct(pairs - 1, size * pairs**0.5)
    return shifted.sf(limit) + shifted.cdf(-limit)


@pytest.mark.parametrize(("size", "level"), [(0.5, 0.05), (1.0, 0.05), (1.5, 0.05), (1.0, 0.05 / 6)])
def test_as_many_seeds_are_needed_as_by_the_t_test_or_up_to_two_more(size, level):
    student = next(n for n in range(2, 100) if power_of_student(n, size, level) >= 0.8)
    assert student - 1 <= pairs_needed(size, level=level) <= student + 2


def test_the_simulated_power_is_near_that_of_the_t_test():
    for pairs in (12, 20):
        assert rejection_rate(pairs, 0.8) == pytest.approx(power_of_student(pairs, 0.8, 0.05), abs=0.03)


def test_without_an_effect_the_test_rejects_at_its_level_or_below():
    for pairs in (6, 12, 20):
        assert rejection_rate(pairs, 0.0) <= 0.05 + 3 * 0.005


def test_five_seeds_can_never_reach_a_twentieth_and_the_warning_says_so():
    assert rejection_rate(5, 50.0) == 0.0
    assert rejection_rate(5, 50.0, level=0.0625) == 1.0
    check = check_power("muon - adam", 5)
    assert not check.can_reject
    assert check.short_of == (0.5, 1.0, 1.5)
    assert "cannot reach p = 0.05" in check.sentence


def test_enough_seeds_bring_no_warning_and_too_few_for_a_small_effect_do():
    assert check_power("a", 40).sentence == ""
    check = check_power("a", 12)
    assert check.can_reject
    assert check.short_of == (0.5,)
    assert check.sentence.startswith("a: 12 seeds are few; 80 % power needs 34 for d_z = 0.5")


def test_more_seeds_than_a_study_can_have_are_none():
    assert pairs_needed(0.05) is None
    assert "more than 200" in check_power("a", 12, sizes=[0.05]).sentence


@pytest.mark.parametrize(
    "call",
    [
        lambda: pairs_needed(0.0),
        lambda: pairs_needed(1.0, level=0.0),
        lambda: pairs_needed(1.0, power=1.0),
        lambda: check_power("a", 0),
    ],
)
def test_what_has_no_power_is_refused(call):
    with pytest.raises(InputError, match="must be"):
        call()


def test_the_same_seed_gives_the_same_power():
    assert rejection_rate(15, 0.7, seed=2) == rejection_rate(15, 0.7, seed=2)
    assert np.isclose(rejection_rate(15, 0.7, seed=2), rejection_rate(15, 0.7, seed=3), atol=0.06)
