"""Hill and Clauset against closed forms, a plain loop and the powerlaw package."""

import math

import numpy as np
import powerlaw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transformer_spectrum.spectra import power_law
from transformer_spectrum.spectra.power_law import clauset_fit, hill_alpha, hill_count


def pareto(seed, n=100, alpha=2.5):
    return (1 - np.random.default_rng(seed).random(n)) ** (-1 / (alpha - 1))


def marchenko_pastur(seed, rows=64, columns=64):
    return np.linalg.svd(np.random.default_rng(seed).standard_normal((rows, columns)), compute_uv=False) ** 2


def tied(seed, n=100):
    """A heavy tail rounded until many values coincide."""
    return np.round(pareto(seed, n), 1)


def slow_fit(eigenvalues, min_tail, distance):
    """Clauset's method as the paper has it, one loop for xmin, one for x."""
    best = None
    for xmin in sorted(set(eigenvalues)):
        tail = sorted(x for x in eigenvalues if x >= xmin)
        n = len(tail)
        if xmin <= 0 or n < min_tail or tail[-1] == xmin:
            continue
        alpha = 1 + n / sum(math.log(x / xmin) for x in tail)
        worst = 0.0
        for x in set(tail):
            fitted = 1 - (x / xmin) ** (1 - alpha)
            below, upto = sum(y < x for y in tail) / n, sum(y <= x for y in tail) / n
            worst = max(worst, abs(fitted - below), abs(fitted - upto) if distance == "two_sided" else 0.0)
        if best is None or worst < best[2]:
            best = (alpha, xmin, worst, n)
    return best


SPECTRA = {
    "Pareto": pareto(0),
    "heavier Pareto": pareto(1, n=60, alpha=1.8),
    "square Gaussian": marchenko_pastur(2),
    "tall Gaussian": marchenko_pastur(3, 96, 40),
    "ties": tied(4),
    "pairs of equals": np.repeat(pareto(5, 30), 2),
    "zeros": np.concatenate([np.zeros(20), pareto(6, 44)]),
    "few": pareto(7, 9),
}


@pytest.mark.parametrize("distance", ["two_sided", "powerlaw"])
@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("min_tail", [2, 8])
def test_clauset_fit_equals_a_plain_loop(name, min_tail, distance):
    fit = clauset_fit(SPECTRA[name], min_tail, distance)
    assert tuple(map(float, fit)) == pytest.approx(slow_fit(SPECTRA[name].tolist(), min_tail, distance), rel=1e-9)


@pytest.fixture
def exact_powerlaw(monkeypatch):
    """The powerlaw package with its own maximum-likelihood formula for every alpha.

    Its version 2 refines alpha > 3 by Nelder-Mead at a tolerance of 1e-4, and by default takes no alpha > 3.
    """
    monkeypatch.setattr(powerlaw.Power_Law, "fit", lambda self, data=None: self.compute_distance_metrics())
    return lambda x, **options: powerlaw.Fit(x, parameter_ranges={"alpha": [0, 1e6]}, verbose=0, **options)


@pytest.mark.filterwarnings("ignore::UserWarning:powerlaw", "ignore::DeprecationWarning:powerlaw")
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("make", [pareto, marchenko_pastur, tied])
def test_powerlaw_convention_equals_the_powerlaw_package(exact_powerlaw, make, seed):
    x = make(seed)
    # powerlaw tries all distinct values but the two largest: three or more distinct values in the tail.
    third = np.unique(x)[-3]
    oracle = exact_powerlaw(x)
    fit = clauset_fit(x, int((x >= third).sum()), "powerlaw")
    assert fit.alpha == pytest.approx(oracle.alpha, abs=1e-6)
    assert fit.xmin == oracle.xmin
    assert fit.distance == pytest.approx(oracle.D, abs=1e-6)
    assert fit.tail == oracle.n_tail


@pytest.mark.filterwarnings("ignore::UserWarning:powerlaw", "ignore::DeprecationWarning:powerlaw")
@pytest.mark.parametrize("make", [pareto, tied])
def test_the_unchanged_powerlaw_package_agrees_on_heavy_tails(make):
    x = make(11, 200)
    oracle = powerlaw.Fit(x, verbose=0)
    fit = clauset_fit(x, 10, "powerlaw")
    assert 1.5 < oracle.alpha < 3  # where it uses the formula
    assert (fit.alpha, fit.xmin, fit.distance) == pytest.approx((oracle.alpha, oracle.xmin, oracle.D), abs=1e-6)


@pytest.mark.filterwarnings("ignore::UserWarning:powerlaw", "ignore::DeprecationWarning:powerlaw")
def test_both_conventions_agree_where_the_fit_runs_ahead_of_the_data():
    x = marchenko_pastur(8)
    one, two = clauset_fit(x, 8, "powerlaw"), clauset_fit(x, 8, "two_sided")
    assert one.xmin == two.xmin
    assert one.distance == pytest.approx(two.distance, rel=1e-12)
    oracle = powerlaw.Fit(x, xmin=float(two.xmin), parameter_ranges={"alpha": [0, 1e6]}, verbose=0)
    assert two.alpha == pytest.approx(oracle.power_law.alpha, abs=1e-3)
    assert two.distance == pytest.approx(oracle.power_law.D, abs=1e-3)


def test_the_two_conventions_differ_on_ties():
    one, two = (clauset_fit(tied(4), 8, convention) for convention in ("powerlaw", "two_sided"))
    assert one.distance < two.distance


def test_exact_quantiles_of_a_power_law_give_its_exponent():
    n, alpha = 20000, 2.5
    x = (1 - (np.arange(n) + 0.5) / n) ** (-1 / (alpha - 1))
    fit = clauset_fit(x[::-1], n - 1)
    assert fit.alpha == pytest.approx(alpha, abs=1e-3)
    assert fit.distance < 2 / n
    assert hill_alpha(x, 5000) == pytest.approx(alpha, abs=1e-3)


def test_hill_follows_its_formula():
    # k = 2, threshold 1: 1 + 2 / (ln 8 + ln 2) = 1 + 2 / (4 ln 2)
    assert hill_alpha([0.5, 2.0, 8.0, 1.0], 2) == pytest.approx(1 + 1 / (2 * math.log(2)), rel=1e-14)


def test_hill_and_clauset_share_one_convention_of_alpha():
    # Hill leaves the threshold out of the tail, Clauset counts it: the same sum over k and over k + 1 points.
    x = np.sort(pareto(9, 40))[::-1]
    tail = x[:11]
    clauset = clauset_fit(tail, 11)
    assert (hill_alpha(x, 10) - 1) * 11 / 10 == pytest.approx(clauset.alpha - 1, rel=1e-12)


@pytest.mark.parametrize(
    ("rank", "fraction", "k"), [(64, 0.25, 16), (64, 1.0, 63), (10, 0.25, 3), (8, 0.01, 2), (3, 0.5, 2), (1, 1.0, 2)]
)
def test_hills_k_is_a_fraction_of_rank_within_bounds(rank, fraction, k):
    assert hill_count(rank, fraction) == k


def test_untrained_gaussian_matrices_get_an_alpha_too():
    batch = np.stack([marchenko_pastur(seed) for seed in range(200)])
    fit = clauset_fit(batch, 2)
    assert 3 < fit.alpha.mean() < 7
    assert fit.distance.mean() > 0.1


@pytest.mark.parametrize("cells", [1, 1000, 1 << 17])
def test_a_batch_gives_what_its_spectra_give_alone_whatever_the_memory(monkeypatch, cells):
    batch = np.stack([[marchenko_pastur(3 * i + j) for j in range(3)] for i in range(7)])
    alone = [[clauset_fit(spectrum, 8) for spectrum in row] for row in batch]
    monkeypatch.setattr(power_law, "CELLS", cells)
    together = clauset_fit(batch.astype(np.float64), 8)
    for field, values in together._asdict().items():
        assert values.shape == (7, 3), field
        np.testing.assert_array_equal(values, [[getattr(fit, field) for fit in row] for row in alone], field)
    assert hill_alpha(batch, 16)[4, 2] == hill_alpha(batch[4, 2], 16)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([pareto, marchenko_pastur]), st.floats(1e-6, 1e6))
def test_rescaling_and_reordering_leave_the_exponents(seed, make, factor):
    x = make(seed)
    fit, scaled = clauset_fit(x, 8), clauset_fit(factor * x[::-1], 8)
    assert scaled.distance == pytest.approx(fit.distance, rel=1e-9)
    assert scaled.alpha == pytest.approx(fit.alpha, rel=1e-9)
    assert scaled.xmin == pytest.approx(factor * fit.xmin, rel=1e-9)
    assert scaled.tail == fit.tail
    assert hill_alpha(factor * x[::-1], 10) == pytest.approx(hill_alpha(x, 10), rel=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=4, max_size=30), st.sampled_from(["two_sided", "powerlaw"]))
def test_ties_and_zeros_of_any_kind_equal_the_plain_loop(values, distance):
    expected = slow_fit([float(x) for x in values], 3, distance)
    if expected is None:
        with pytest.raises(ValueError, match="no xmin"):
            clauset_fit(np.array(values), 3, distance)
    else:
        fit = clauset_fit(np.array(values), 3, distance)
        assert fit.distance == pytest.approx(expected[2], rel=1e-9)
        assert fit.tail >= 3


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 20))
def test_a_fit_keeps_its_promises(seed, min_tail):
    x = marchenko_pastur(seed, 30, 24)
    two, one = clauset_fit(x, min_tail), clauset_fit(x, min_tail, "powerlaw")
    for fit in (two, one):
        assert fit.alpha > 1
        assert 0 <= fit.distance <= 1
        assert fit.xmin in x
        assert fit.tail == (x >= fit.xmin).sum() >= min_tail
    assert one.distance <= two.distance + 1e-12


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0])
def test_impossible_eigenvalues_raise(bad):
    for estimate in (lambda x: clauset_fit(x, 3), lambda x: hill_alpha(x, 3)):
        with pytest.raises(ValueError, match="eigenvalues must"):
            estimate(np.array([3.0, 2.0, bad, 1.0, 5.0]))


def test_what_cannot_be_fitted_says_why():
    ones, short = np.ones(10), np.array([3.0, 2.0, 1.0, 0.0, 0.0])
    with pytest.raises(ValueError, match="all are equal"):
        clauset_fit(np.stack([pareto(0, 10), ones]), 3)
    with pytest.raises(ValueError, match="fewer than min_tail = 4"):
        clauset_fit(short, 4)
    with pytest.raises(ValueError, match="are equal"):
        hill_alpha(ones, 3)
    with pytest.raises(ValueError, match="fewer than k"):
        hill_alpha(short, 3)
    with pytest.raises(ValueError, match="1 <= k < n"):
        hill_alpha(short, 5)
    with pytest.raises(ValueError, match="min_tail = 1"):
        clauset_fit(short, 1)
    with pytest.raises(ValueError, match="distance = 'kuiper'"):
        clauset_fit(short, 3, "kuiper")
