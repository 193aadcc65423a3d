"""Tail measures on data whose tails are known."""

import json

import numpy as np
import pytest
from scipy import stats

from transformer_spectrum.data.describe.description import describe
from transformer_spectrum.data.describe.tails import hill_index, kappa, skewness
from transformer_spectrum.distributions.sgt import SGT
from transformer_spectrum.distributions.sgt_fit import fit_sgt


def generator():
    return np.random.default_rng(0)


def test_skewness_is_that_of_scipy_and_exact_for_a_coin():
    # a coin of probability 1/4: (1 - 2/4) / sqrt(3/16)
    assert skewness(np.array([1.0, 0.0, 0.0, 0.0])) == pytest.approx(0.5 / np.sqrt(3 / 16))
    values = generator().gamma(2.0, size=(10, 30, 2))
    assert skewness(values) == pytest.approx(stats.skew(values, axis=None))
    with pytest.raises(ValueError, match="equal"):
        skewness(np.full(7, 0.1))


def test_kappa_of_a_two_valued_sample_is_its_formula():
    values = np.repeat([-1.0, 1.0], 200_000)
    mean_of_four = 1.5  # E|sum of 4 signs| = (2 * 4 + 8 * 2) / 16
    expected = 2 - np.log(4) / np.log(mean_of_four)
    assert kappa(values, 4, generator()) == pytest.approx(expected, abs=0.1)


def test_kappa_is_about_the_mean_wherever_that_lies():
    # M(1) = 1 and M(4) = 1.5 are those of the centred signs; about zero both would be about the mean, and kappa 1.
    values = np.repeat([9.0, 11.0], 200_000)
    assert kappa(values, 4, generator()) == pytest.approx(2 - np.log(4) / np.log(1.5), abs=0.1)
    drawn = generator().standard_t(3, size=30_000)
    assert kappa(drawn + 1000.0, 30, generator()) == pytest.approx(kappa(drawn, 30, generator()), abs=1e-9)


def test_kappa_is_0_for_gaussian_and_1_for_cauchy_values():
    rng = generator()
    assert kappa(rng.normal(size=300_000), 30, rng) == pytest.approx(0.0, abs=0.03)
    assert kappa(rng.standard_cauchy(size=300_000), 30, rng) == pytest.approx(1.0, abs=0.25)


def test_kappa_ranks_student_t_between_them():
    rng = generator()
    values = [kappa(rng.standard_t(df, size=300_000), 30, rng) for df in (100, 3, 1.5)]
    assert values == sorted(values)


def test_hill_index_is_the_exponent_of_a_pareto_tail():
    assert hill_index(generator().pareto(2.5, 100_000) + 1, 0.2) == pytest.approx(2.5, rel=0.03)


@pytest.mark.parametrize("x", [np.ones(10), np.zeros(1000), np.ones(1000)])
def test_a_tail_that_cannot_be_measured_is_refused(x):
    with pytest.raises(ValueError, match=r"tail|equal"):
        hill_index(x, 0.1)


def test_the_fewest_sums_and_the_shortest_tail_are_enough():
    values = generator().standard_t(3, size=120)
    assert np.isfinite(kappa(values, 4, generator()))  # 30 sums
    with pytest.raises(ValueError, match="119 values make 29 sums of 4, fewer than 30"):
        kappa(values[:-1], 4, generator())
    largest = np.sort(np.abs(values))[::-1]
    assert hill_index(values, 5 / 120) == pytest.approx(5 / np.log(largest[:5] / largest[5]).sum())
    with pytest.raises(ValueError, match="fewer than 5"):
        hill_index(values, 4 / 120)


def test_sums_that_spread_no_wider_than_values_have_no_kappa():
    # Signs of which half are minus: E|sum of 2| = 2 * 29/59 < 1 = E|value|.
    values = np.tile([-1.0, 1.0], 30)
    for seed in range(50):
        sums = np.abs(np.random.default_rng(seed).permutation(values).reshape(30, 2).sum(axis=1)).mean()
        if 0 < sums <= 1:
            with pytest.raises(ValueError, match="no wider"):
                kappa(values, 2, np.random.default_rng(seed))
        else:
            expected = 2 - np.log(2) / np.log(sums)
            assert kappa(values, 2, np.random.default_rng(seed)) == pytest.approx(expected)


def described(windows):
    return describe(windows, hill_fraction=0.05, fit_points=5000, generator=generator())


def test_the_fit_sees_the_q_of_the_increments():
    steps = SGT(0.0, 1.0, 0.0, 2.0, 2.0).rvs((40, 300, 1), generator())
    found = described(steps.cumsum(axis=1))
    assert found["sgt_p2"]["q"] == pytest.approx(2.0, rel=0.25)
    assert found["kappa"] > 0.02
    assert 2 < found["hill_index"] < 6


def test_a_trend_in_the_windows_changes_no_measure_of_the_increments():
    walks = generator().standard_t(3, size=(40, 200, 1)).cumsum(axis=1)
    with_trend = described(walks + 5.0 * np.arange(200)[:, None])
    plain = described(walks)
    for name in ("skewness_of_increments", "kappa", "hill_index"):
        assert with_trend[name] == pytest.approx(plain[name], rel=1e-5)
    assert with_trend["sgt_p2"]["q"] == pytest.approx(plain["sgt_p2"]["q"], rel=1e-3)
    increments = np.diff(walks, axis=1).ravel()
    assert plain["skewness_of_increments"] == pytest.approx(stats.skew(increments), rel=1e-5)
    largest = np.sort(np.abs(increments - increments.mean()))[::-1][: len(increments) // 20 + 1]
    assert plain["hill_index"] == pytest.approx(1 / np.log(largest[:-1] / largest[-1]).mean(), rel=1e-5)


def test_the_log_likelihood_is_that_of_a_point_under_the_fitted_distribution():
    walks = generator().standard_t(4, size=(20, 100, 1)).cumsum(axis=1)
    increments = np.diff(walks, axis=1).ravel()
    increments = (increments - increments.mean()) / increments.std()
    fit = fit_sgt(increments, 2.0)
    values = described(walks)["sgt_p2"]
    assert values["log_likelihood"] == pytest.approx(fit.sgt.logpdf(increments).mean(), rel=1e-5)
    assert (values["p"], values["q"], values["lam"]) == pytest.approx((2.0, fit.sgt.q, fit.sgt.lam), rel=1e-5)


def test_windows_without_tails_say_so_instead_of_giving_nan():
    found = described(np.ones((5, 30, 1)).cumsum(axis=1))
    assert "sgt" not in found
    assert set(found["reasons"]) == {"skewness_of_increments", "kappa", "hill_index", "sgt", "sgt_p2"}
    json.dumps(found, allow_nan=False)


def test_constant_windows_give_reasons_alone():
    found = described(np.full((5, 30, 1), 0.1))
    assert set(found) == {"reasons"}
    assert "all values are equal" in found["reasons"]["skewness"]


@pytest.mark.parametrize("windows", [np.ones((5, 1, 1)), np.ones((0, 30, 1)), np.full((5, 30, 1), np.nan)])
def test_windows_without_increments_or_with_gaps_are_refused(windows):
    with pytest.raises(ValueError, match="windows"):
        described(windows)


def test_a_sample_lighter_than_its_bound_says_so():
    found = described(generator().uniform(size=(40, 200, 1)))
    assert found["sgt_p2"]["q"] == 1000
    assert "q at its bound 1000" in found["reasons"]["sgt_p2"]
    json.dumps(found, allow_nan=False)


def test_short_data_name_what_is_missing():
    found = described(generator().normal(size=(3, 10, 1)))
    assert "sums" in found["reasons"]["kappa"]
    assert "tail" in found["reasons"]["hill_index"]
    json.dumps(found, allow_nan=False)


def test_the_same_generator_gives_the_same_description():
    windows = generator().standard_t(3, size=(40, 200, 1))
    assert described(windows) == described(windows)
