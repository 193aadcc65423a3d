"""Sign-flip tests, step-down max-T, and the interval that inverts them."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.study.inference import signs
from transformer_spectrum.study.inference.estimates import hodges_lehmann, mean_difference, p_above
from transformer_spectrum.study.inference.signflip import family_test, smallest_p
from transformer_spectrum.study.inference.signs import flipped_sums, sign_count


def draws(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def all_signs(seeds):
    return np.array(list(itertools.product([1.0, -1.0], repeat=seeds)))


def z_of(values):
    """The statistic of the family, from Student's t, written down a second time."""
    scores = np.empty(values.shape[1])
    for place, column in enumerate(values.T):
        column = column[np.isfinite(column)]
        degrees = len(column) - 1
        t = column.mean() / (column.std(ddof=1) / len(column) ** 0.5)
        scores[place] = (8 * degrees + 1) / (8 * degrees + 3) * np.sqrt(degrees * np.log1p(t**2 / degrees))
    return scores


def brute_force(values):
    """Adjusted p-values by the definition, one sign vector and one subset at a time."""
    observed = z_of(values)
    order = np.argsort(-observed)
    flipped = np.array([z_of(values * vector[:, None]) for vector in all_signs(len(values))])
    adjusted, previous = np.empty(len(observed)), 0.0
    for place, contrast in enumerate(order):
        maxima = flipped[:, order[place:]].max(axis=1)
        previous = max(previous, (maxima >= observed[contrast] - 1e-8).mean())
        adjusted[contrast] = previous
    return adjusted


def test_the_smallest_p_is_a_half_to_the_pairs_less_one_and_five_pairs_never_reach_a_twentieth():
    for pairs in (1, 2, 5, 6, 12):
        values = np.abs(draws(pairs, pairs, 1))
        assert family_test(values, level=0.9999).p_values[0] == smallest_p(pairs) == 2.0 ** (1 - pairs)
    assert smallest_p(5) > 0.05 >= smallest_p(6)


@pytest.mark.parametrize("seeds", [1, 2, 7, 13, 15])
def test_half_of_the_signs_are_enumerated_each_once(seeds):
    values = 2.0 ** np.arange(seeds)[:, None]  # every sign vector has another sum
    sums = np.concatenate(list(flipped_sums(values))).ravel()
    assert sums[0] == values.sum()
    assert len(sums) == sign_count(seeds).signs // 2
    assert len({*sums, *-sums}) == 2**seeds


@pytest.mark.parametrize("seeds", [4, 9])
def test_a_contrast_alone_has_the_p_value_of_scipys_exact_permutation_test(seeds):
    values = draws(seeds, seeds) + 0.4
    oracle = stats.permutation_test(
        (values,), lambda x, axis: x.mean(axis=axis), permutation_type="samples", vectorized=True, n_resamples=np.inf
    )
    assert family_test(values[:, None]).p_values[0] == pytest.approx(oracle.pvalue, abs=1e-12)
    assert mean_difference(values).p_value == pytest.approx(oracle.pvalue, abs=1e-12)
    greater = stats.permutation_test(
        (values - 0.3,),
        lambda x, axis: x.mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=np.inf,
        alternative="greater",
    )
    assert p_above(values, 0.3) == pytest.approx(greater.pvalue, abs=1e-12)


@pytest.mark.parametrize("censored", [0, 5])
def test_adjusted_p_values_are_those_of_the_definition_with_and_without_missing_pairs(censored):
    values = draws(3, 9, 4) + np.array([1.2, 0.7, 0.1, 0.5])
    values[:, 3] = values[:, 2] + 0.1 * values[:, 3]
    places = np.random.default_rng(1).choice(values.size, censored, replace=False)
    values.flat[places] = np.nan
    result = family_test(values)
    assert result.adjusted == pytest.approx(brute_force(values), abs=1e-12)
    assert (result.adjusted >= result.p_values - 1e-12).all()
    assert result.pairs.tolist() == np.isfinite(values).sum(axis=0).tolist()


def test_an_adjusted_p_is_never_below_that_of_a_contrast_with_a_larger_statistic():
    raised = 0
    for seed in range(30):
        values = draws(seed, 6, 4) + 0.3
        adjusted = family_test(values).adjusted
        assert adjusted == pytest.approx(brute_force(values), abs=1e-12)
        ordered = adjusted[np.argsort(-z_of(values))]
        assert (np.diff(ordered) >= 0).all()
        raised += (np.diff(ordered) == 0).any()
    assert raised > 0  # as some would be below without the rule


def test_seeds_without_any_pair_are_no_seeds():
    values = draws(1, 8, 2)
    gone = np.vstack([values, np.full((3, 2), np.nan)])
    result = family_test(gone)
    assert result.signs == 2**8
    assert (result.adjusted == family_test(values).adjusted).all()


def test_a_contrast_that_can_just_reach_the_level_is_tested():
    values = np.abs(draws(2, 5, 1))
    assert family_test(values, level=0.0625).adjusted.tolist() == [0.0625]
    assert family_test(values, level=0.0624).untestable.tolist() == [True]


def test_a_twin_of_a_contrast_costs_nothing_because_one_sign_flips_both():
    values = draws(5, 10, 1) + 0.8
    alone = family_test(values).adjusted[0]
    twins = family_test(np.hstack([values, 3 * values, -values])).adjusted
    assert twins == pytest.approx([alone] * 3, abs=1e-12)


def test_a_contrast_that_could_never_be_rejected_leaves_the_family_and_says_so():
    values = draws(8, 9, 2) + 1.0
    few = np.full((9, 1), np.nan)
    few[:4] = 5.0 + draws(9, 4, 1)
    result = family_test(np.hstack([values, few]))
    assert result.untestable.tolist() == [False, False, True]
    assert np.isnan(result.adjusted[2])
    assert result.p_values[2] == smallest_p(4)
    assert result.adjusted[:2] == pytest.approx(family_test(values).adjusted, abs=1e-12)


def test_no_difference_at_all_has_p_one_and_a_constant_one_the_smallest():
    values = np.column_stack([np.zeros(7), np.full(7, 0.3)])
    result = family_test(values)
    assert result.p_values.tolist() == [1.0, smallest_p(7)]
    assert result.adjusted.tolist() == [1.0, smallest_p(7)]
    assert result.statistics.tolist() == [0.0, np.inf]
    nothing = family_test(np.full((3, 2), np.nan))
    assert np.isnan(nothing.p_values).all()
    assert nothing.pairs.tolist() == [0, 0]


def test_a_sample_of_signs_begins_with_the_sums_as_they_are():
    values = draws(1, 25, 2)
    assert next(flipped_sums(values))[0] == pytest.approx(values.sum(axis=0))
    assert sum(len(block) for block in flipped_sums(values)) == sign_count(25).signs // 2


def test_beyond_twenty_seeds_a_seeded_sample_is_used_and_said():
    values = draws(2, 24, 2) + np.array([0.55, 0.0])
    result = family_test(values, seed=3)
    assert not result.exact
    assert result.signs == 131072
    assert (family_test(values, seed=3).p_values == result.p_values).all()
    assert result.p_values == pytest.approx(family_test(values, seed=4).p_values, abs=0.01)
    assert result.p_values == pytest.approx(stats.ttest_1samp(values, 0).pvalue, abs=0.02)
    exact = family_test(values[:20])
    assert exact.exact
    assert exact.signs == 2**20


@given(st.integers(2, 9), st.integers(0, 1000), st.floats(-2, 2), st.sampled_from([0.5, 0.8, 0.9, 0.95]))
def test_the_interval_holds_exactly_what_the_test_does_not_reject(seeds, seed, theta, confidence):
    values = draws(seed, seeds)
    effect = mean_difference(values, confidence=confidence)
    accepted = mean_difference(values - theta).p_value > 1 - confidence
    assert accepted == (effect.low <= theta <= effect.high)
    assert effect.low <= effect.mean <= effect.high


@pytest.mark.parametrize("theta", np.linspace(-1.5, 1.5, 13))
def test_a_sampled_interval_holds_what_the_sampled_test_accepts_though_signs_come_again(monkeypatch, theta):
    monkeypatch.setattr(signs, "EXACT_AT_MOST", 3)
    monkeypatch.setattr(signs, "SAMPLED", 1 << signs.BLOCK_BITS)
    values = draws(11, 6)  # 64 vectors, each drawn again and again, the identity too
    for confidence in (0.8, 0.9, 0.95):
        effect = mean_difference(values, confidence=confidence, seed=5)
        assert not effect.exact
        accepted = mean_difference(values - theta, seed=5).p_value > 1 - confidence
        assert accepted == (effect.low <= theta <= effect.high)


def test_the_limits_are_order_statistics_of_the_means_of_subsets():
    values = draws(4, 8)
    means = sorted(np.mean(subset) for size in range(1, 9) for subset in itertools.combinations(values, size))
    rank = int(0.05 * 2**7)
    effect = mean_difference(values)
    assert effect.low == pytest.approx(means[rank - 1])
    assert effect.high == pytest.approx(means[-rank])


def test_a_sampled_interval_is_near_to_that_of_student_for_normal_differences():
    values = draws(6, 40) + 0.2
    effect = mean_difference(values)
    student = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert not effect.exact
    assert (effect.low, effect.high) == pytest.approx((student.low, student.high), abs=0.03)


def test_hodges_lehmann_is_where_the_signed_rank_statistic_is_balanced():
    values = draws(7, 11)
    estimate = hodges_lehmann(values)

    def positive_ranks(shift):
        moved = values - shift
        return stats.rankdata(np.abs(moved))[moved > 0].sum()

    below, above = positive_ranks(estimate - 1e-6), positive_ranks(estimate + 1e-6)
    assert above <= 11 * 12 / 4 <= below
    assert stats.wilcoxon(values - estimate).pvalue > 0.95


def test_d_z_is_the_mean_in_standard_deviations_and_missing_pairs_are_left_out():
    values = np.array([1.0, np.nan, 3.0, 2.0])
    effect = mean_difference(values)
    assert (effect.pairs, effect.mean, effect.d_z) == (3, 2.0, 2.0)
    assert mean_difference(np.full(2, np.nan)).pairs == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: family_test(np.zeros((3, 0))), "with a contrast"),
        (lambda: family_test(np.full((3, 1), np.inf)), "must not be infinite"),
        (lambda: family_test(np.zeros((3, 1)), level=1.0), "level = 1"),
        (lambda: mean_difference(np.zeros(3), confidence=0.0), "confidence = 0"),
        (lambda: mean_difference(np.array([np.inf])), "must not be infinite"),
    ],
)
def test_what_is_no_table_of_differences_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
