"""Hill and Clauset against closed forms, a plain loop and the powerlaw package."""

import math
from pathlib import Path

import numpy as np
import powerlaw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transformer_spectrum.spectra import xmin_scan
from transformer_spectrum.spectra.power_law import (
    alpha_hat,
    clauset_fit,
    hill_alpha,
    hill_count,
    hill_plot,
    hill_standard_error,
    log_alpha_norm,
)


def pareto(seed, n=100, alpha=2.5):
    return (1 - np.random.default_rng(seed).random(n)) ** (-1 / (alpha - 1))


def published(name):
    return np.loadtxt(Path(powerlaw.__file__).parent / "reference_data" / f"{name}.txt")


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


def fast_fit(eigenvalues, min_tail, distance):
    """The same with the loop over x in numpy: for longer spectra."""
    ascending = np.sort(eigenvalues)
    best = (np.inf,)
    for xmin in np.unique(ascending[ascending > 0])[:-1]:
        tail = ascending[ascending >= xmin]
        if len(tail) >= min_tail:
            slope = len(tail) / np.log(tail / xmin).sum()
            fitted = 1 - (tail / xmin) ** -slope
            worst = abs(fitted - np.searchsorted(tail, tail, "left") / len(tail)).max()
            if distance == "two_sided":
                worst = max(worst, abs(fitted - np.searchsorted(tail, tail, "right") / len(tail)).max())
            best = min(best, (worst, xmin, 1 + slope, len(tail)))
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


LONG = {
    "Pareto": pareto(20, 1100),
    "heavier Pareto": pareto(21, 700, 1.4),
    "Gaussian": marchenko_pastur(22, 600, 600),
    "ties": np.round(pareto(23, 900), 2),
    "lognormal": np.random.default_rng(24).lognormal(0, 2, 800),
}


@pytest.mark.parametrize("distance", ["two_sided", "powerlaw"])
@pytest.mark.parametrize("name", LONG)
def test_long_spectra_whose_candidates_are_mostly_ruled_out_get_the_answer_of_a_plain_loop(name, distance):
    fit = clauset_fit(LONG[name], 5, distance)
    found = tuple(map(float, (fit.distance, fit.xmin, fit.alpha, fit.tail)))
    assert found == pytest.approx(fast_fit(LONG[name], 5, distance), rel=1e-9)


@pytest.mark.parametrize("distance", ["two_sided", "powerlaw"])
@pytest.mark.parametrize("make", [pareto, marchenko_pastur, tied])
def test_ruling_candidates_out_changes_no_answer(monkeypatch, make, distance):
    batch = np.stack([make(seed) for seed in range(60)])
    pruned = clauset_fit(batch, 4, distance)
    monkeypatch.setattr(xmin_scan, "FEW", math.inf)
    for field, values in clauset_fit(batch, 4, distance)._asdict().items():
        np.testing.assert_allclose(getattr(pruned, field), values, rtol=1e-12, err_msg=field)


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
    assert hill_alpha(np.array([0.5, 2.0, 8.0, 1.0]), 2) == pytest.approx(1 + 1 / (2 * math.log(2)), rel=1e-14)


@pytest.mark.parametrize("name", SPECTRA)
def test_the_hill_plot_holds_hills_alpha_of_every_k_and_nan_exactly_where_there_is_none(name):
    x = SPECTRA[name]
    plot = hill_plot(x)
    assert plot.shape == (len(x) - 1,)
    for k in range(1, len(x)):
        if np.isnan(plot[k - 1]):
            with pytest.raises(ValueError, match=r"are equal|are positive"):
                hill_alpha(x, k)
        else:
            assert plot[k - 1] == pytest.approx(hill_alpha(x, k), rel=1e-12)


def test_the_hill_plot_of_a_batch_in_any_unit_is_that_of_its_spectra():
    batch = np.stack([[marchenko_pastur(3 * i + j, 30, 20) for j in range(3)] for i in range(2)])
    assert hill_plot(batch).shape == (2, 3, 19)
    np.testing.assert_allclose(hill_plot(1e-9 * batch[..., ::-1])[1, 2], hill_plot(batch[1, 2]), rtol=1e-9)
    assert np.isnan(hill_plot(np.array([3.0, 3.0, 3.0]))).all()
    with pytest.raises(ValueError, match="no Hill plot"):
        hill_plot(np.array([1.0]))


def test_standard_errors_are_alpha_less_one_over_the_root_of_the_tail():
    fit = clauset_fit(np.stack([pareto(0), pareto(1)]), 8)
    assert fit.standard_error == pytest.approx((fit.alpha - 1) / np.sqrt(fit.tail), rel=1e-14)
    assert hill_standard_error(2.5, 9) == 0.5
    plot = hill_plot(pareto(2))
    assert hill_standard_error(plot, np.arange(1, 100))[24] == pytest.approx((plot[24] - 1) / 5, rel=1e-14)


def test_hills_standard_error_is_the_spread_over_samples():
    alphas = hill_alpha(np.stack([pareto(seed, 400) for seed in range(2000)]), 100)
    assert alphas.std() == pytest.approx(hill_standard_error(alphas, 100).mean(), rel=0.05)


def test_alpha_hat_and_log_alpha_norm_follow_their_formulas():
    x = np.array([0.5, 100.0, 10.0, 0.0])
    assert alpha_hat(3.0, x) == pytest.approx(6, rel=1e-14)
    assert log_alpha_norm(3.0, x) == pytest.approx(math.log10(0.125 + 1e6 + 1e3), rel=1e-14)
    assert log_alpha_norm(1.0, x) == pytest.approx(math.log10(110.5), rel=1e-14)
    assert alpha_hat(np.array([2.0, 3.0]), np.stack([x, x])).tolist() == pytest.approx([4, 6], rel=1e-14)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 1e6), st.floats(1e-6, 1e6))
def test_log_alpha_norm_is_alpha_hat_and_a_little_more_at_any_alpha_and_unit(seed, alpha, factor):
    x = factor * marchenko_pastur(seed, 12, 9)
    gap = log_alpha_norm(alpha, x) - alpha_hat(alpha, x)
    scale = alpha * abs(math.log10(x.max())) + 1
    assert -1e-12 * scale <= gap <= math.log10(9) + 1e-12 * scale
    shifted = alpha_hat(alpha, factor * x) - alpha_hat(alpha, x)
    assert shifted == pytest.approx(alpha * math.log10(factor), rel=1e-9, abs=1e-9 * scale)


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
    monkeypatch.setattr(xmin_scan, "CELLS", cells)
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
    estimates = (
        lambda x: clauset_fit(x, 3),
        lambda x: hill_alpha(x, 3),
        hill_plot,
        lambda x: alpha_hat(2.0, x),
        lambda x: log_alpha_norm(2.0, x),
    )
    for estimate in estimates:
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
    with pytest.raises((ValueError, TypeError), match="kuiper"):
        clauset_fit(short, 3, "kuiper")
    for norm in (alpha_hat, log_alpha_norm):
        with pytest.raises(ValueError, match="no eigenvalue is positive"):
            norm(2.0, np.zeros(3))
        for alpha in (0.0, math.nan, math.inf):
            with pytest.raises(ValueError, match="alpha must be"):
                norm(alpha, short)


# Clauset, Shalizi & Newman (2009), table 6.1: xmin, alpha and n_tail of the continuous series that powerlaw ships.
# Their code ranks equal values one after the other, which is neither convention; cities need the one, the series
# with many equal values (quakes, surnames) the other, and the rest come out in both.
TABLE = {
    "blackouts": ("two_sided", 1e-3, 211, 230, 2.3, 59),
    "cities": ("powerlaw", 1e-3, 19447, 52.46, 2.37, 580),
    "fires": ("two_sided", 1.0, 203785, 6324, 2.2, 521),
    "flares": ("two_sided", 1.0, 12773, 323, 1.79, 1711),
    "quakes": ("two_sided", 1e-3, 19302, 0.794, 1.64, 11697),
    "surnames": ("two_sided", 1e-3, 2753, 111.92, 2.5, 239),
}


@pytest.mark.parametrize("name", TABLE)
def test_the_published_fits_come_out(name):
    distance, unit, n, xmin, alpha, tail = TABLE[name]
    x = unit * published(name)
    fit = clauset_fit(x, 2, distance)
    assert len(x) == n
    assert fit.tail == tail
    assert fit.xmin == pytest.approx(xmin, rel=1e-3)
    assert fit.alpha == pytest.approx(alpha, abs=0.005 if alpha * 10 % 1 else 0.05)
