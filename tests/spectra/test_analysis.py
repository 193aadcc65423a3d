"""A whole training at once: the right numbers in the right places, and a reason for each that is missing."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transformer_spectrum.spectra import analysis, metrics, power_law
from transformer_spectrum.spectra.analysis import BEYOND_NUMBERS, METRICS, Estimators, analyze
from transformer_spectrum.spectra.metrics import alpha_exponent, spectral_entropy, stable_rank
from transformer_spectrum.spectra.power_law import clauset_fit, hill_alpha
from transformer_spectrum.spectra.random_matrix import fit_bulk

SETTINGS = Estimators(hill_fraction=0.25, min_tail=8, ks_distance="two_sided", window=(0.0, 0.5), edge_level=0.99)
ALWAYS = {"spectral_norm", "frobenius_norm", "numerical_rank"}
SHAPE = {"stable_rank", "spectral_entropy", "effective_rank", "participation_ratio"}
DECAY = {"alpha_exponent", "alpha_exponent_se", "alpha_exponent_r_squared"}
TAIL = {"ks_alpha", "ks_alpha_se", "ks_xmin", "ks_distance", "ks_tail", "alpha_hat", "log_alpha_norm"}
BULK = {"mp_variance", "mp_upper_edge", "tw_edge", "mp_spikes", "mp_soft_rank", "mp_distance"}


def padded(spectra_by_step, shapes):
    """(S, M, R) with NaN behind each rank, float32 as the trainings store it."""
    rank = max(min(shape) for shape in shapes)
    out = np.full((len(spectra_by_step), len(shapes), rank), np.nan, dtype=np.float32)
    for step, spectra in enumerate(spectra_by_step):
        for matrix, values in enumerate(spectra):
            out[step, matrix, : len(values)] = values
    return out


def analyze_one(values, shape=None, **changes):
    """One matrix at one step."""
    shapes = np.array([shape or (len(values), len(values))])
    return analyze(padded([[values]], shapes), shapes, replace(SETTINGS, **changes))


def reasons_of(result):
    return {name: result.reason(name, 0, 0) for name in METRICS if result.reason(name, 0, 0)}


def test_every_value_is_the_one_of_its_own_step_and_matrix():
    generator = np.random.default_rng(0)
    shapes = np.array([(32, 32), (64, 16), (16, 64), (32, 40)])
    spectra = [[np.linalg.svd(generator.normal(size=shape), compute_uv=False) for shape in shapes] for _ in range(3)]
    stored = padded(spectra, shapes)
    result = analyze(stored, shapes, SETTINGS)
    for step in range(3):
        for matrix, shape in enumerate(shapes):
            s = stored[step, matrix, : min(shape)].astype(np.float64)
            fit, decay, bulk = clauset_fit(s**2, 8), alpha_exponent(s, (0.0, 0.5)), fit_bulk(s, shape, 0.99)
            expected = {
                "spectral_entropy": spectral_entropy(s),
                "spectral_entropy_normalised": spectral_entropy(s) / math.log(len(s)),
                "effective_rank": metrics.effective_rank(s),
                "participation_ratio": metrics.participation_ratio(s),
                "stable_rank": stable_rank(s),
                "spectral_norm": s.max(),
                "frobenius_norm": np.sqrt((s**2).sum()),
                "condition_number": s.max() / s.min(),
                "numerical_rank": len(s),
                "alpha_exponent": decay.alpha,
                "alpha_exponent_se": decay.standard_error,
                "alpha_exponent_r_squared": decay.r_squared,
                "hill_alpha": hill_alpha(s**2, len(s) // 4),
                "ks_alpha": fit.alpha,
                "ks_alpha_se": fit.standard_error,
                "ks_xmin": fit.xmin,
                "ks_distance": fit.distance,
                "ks_tail": fit.tail,
                "alpha_hat": power_law.alpha_hat(fit.alpha, s**2),
                "log_alpha_norm": power_law.log_alpha_norm(fit.alpha, s**2),
                "mp_variance": bulk.variance,
                "mp_upper_edge": bulk.upper_edge,
                "tw_edge": bulk.tracy_widom_edge,
                "mp_spikes": bulk.spikes,
                "mp_soft_rank": bulk.soft_rank,
                "mp_distance": bulk.distance,
            }
            assert set(expected) == set(METRICS)
            for name, value in expected.items():
                assert result.values[name][step, matrix] == pytest.approx(value, rel=1e-12), name
                assert result.reason(name, step, matrix) == ""


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_is_finite_for_noise_and_heeds_neither_order_nor_transposition(metric):
    values = np.linalg.svd(np.random.default_rng(3).normal(size=(40, 32)), compute_uv=False)
    found = analyze_one(values, (40, 32)).values[metric]
    assert np.isfinite(found).all()
    for other in (analyze_one(values[::-1], (40, 32)), analyze_one(values, (32, 40))):
        np.testing.assert_allclose(other.values[metric], found, rtol=1e-9)


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_has_a_value_or_a_reason_for_degenerate_matrices(metric):
    for values in (np.zeros(16), np.ones(16), np.ones(1), np.r_[np.ones(3), np.zeros(13)]):
        result = analyze_one(values)
        assert np.isnan(result.values[metric][0, 0]) == bool(result.reason(metric, 0, 0))


def test_a_zero_matrix_has_a_norm_and_reasons():
    result = analyze_one(np.zeros(16))
    assert result.values["spectral_norm"][0, 0] == 0
    assert result.values["numerical_rank"][0, 0] == 0
    assert reasons_of(result) == {name: analysis.ZERO_MATRIX for name in METRICS if name not in ALWAYS}


def test_an_embedding_of_one_column_keeps_what_it_can():
    result = analyze_one([2.0], shape=(64, 1))
    assert result.values["stable_rank"][0, 0] == 1
    assert result.values["spectral_entropy"][0, 0] == 0
    assert set(reasons_of(result).values()) == {analysis.ONE_VALUE}
    assert set(METRICS) - set(reasons_of(result)) == ALWAYS | SHAPE | {"condition_number"}


def test_rank_one_is_seen_through_the_rounding_of_the_decomposition():
    generator = np.random.default_rng(1)
    outer = np.outer(generator.normal(size=64), generator.normal(size=64)).astype(np.float32)
    result = analyze_one(np.linalg.svd(outer, compute_uv=False))
    found = reasons_of(result)
    assert found["alpha_exponent"] == analysis.ZERO_IN_WINDOW
    assert found["hill_alpha"] == found["ks_alpha"] == found["ks_tail"] == analysis.SHORT_TAIL
    assert found["mp_spikes"] == analysis.NO_BULK
    assert found["condition_number"] == analysis.ZERO_VALUE
    assert result.values["numerical_rank"][0, 0] == 1
    assert result.values["stable_rank"][0, 0] == pytest.approx(1, abs=1e-6)


def test_a_count_of_spikes_that_ends_at_its_bound_is_missing_with_all_that_rests_on_it():
    powers = 0.85 ** np.arange(64)
    result = analyze_one(powers)
    assert reasons_of(result) == dict.fromkeys(BULK, analysis.MANY_SPIKES)
    noise = np.linalg.svd(np.random.default_rng(3).normal(size=(64, 64)), compute_uv=False)
    both = analysis.analyze(np.stack([noise, powers])[None], np.array([(64, 64)] * 2), SETTINGS)
    assert np.isnan(both.values["mp_variance"]).tolist() == [[False, True]]
    assert both.class_reason("mp_spikes", 0, np.arange(2)) == f"1 of 2: {analysis.MANY_SPIKES}"


def test_an_orthogonal_matrix_has_no_tail():
    rotation, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(64, 64)))
    result = analyze_one(np.linalg.svd(rotation.astype(np.float32), compute_uv=False))
    assert reasons_of(result) == dict.fromkeys({"hill_alpha"} | TAIL, analysis.CONSTANT_TAIL)
    assert result.values["mp_spikes"][0, 0] == 0
    assert result.values["stable_rank"][0, 0] == pytest.approx(64, rel=1e-5)
    assert result.values["alpha_exponent"][0, 0] == pytest.approx(0, abs=1e-5)


def test_a_small_matrix_is_too_small_for_a_tail():
    found = reasons_of(analyze_one([4.0, 3.0, 2.0, 1.0]))
    assert found["ks_alpha"] == analysis.SHORT_TAIL
    assert {name for name, reason in found.items() if reason == analysis.NARROW_WINDOW} == DECAY
    assert "hill_alpha" not in found
    assert not BULK & set(found)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0])
def test_a_bad_singular_value_raises_and_is_located(bad):
    shapes = np.array([(4, 4), (3, 9)])
    stored = padded([[[4, 3, 2, 1], [3, 2, 1]]] * 2, shapes)
    stored[1, 1, 2] = bad
    with pytest.raises(ValueError, match=r"singular value 2 of matrix 1 at step position 1"):
        analyze(stored, shapes, SETTINGS)


def test_the_settings_reach_their_estimators():
    values = np.sort(np.random.default_rng(5).lognormal(size=40).astype(np.float32))[::-1]
    s = values.astype(np.float64)
    assert analyze_one(values, hill_fraction=0.5).values["hill_alpha"][0, 0] == pytest.approx(hill_alpha(s**2, 20))
    assert analyze_one(values, window=(0.1, 1.0)).values["alpha_exponent"][0, 0] == pytest.approx(
        alpha_exponent(s, (0.1, 1.0)).alpha
    )
    fit = clauset_fit(s**2, 20, "powerlaw")
    found = analyze_one(values, min_tail=20, ks_distance="powerlaw")
    assert found.values["ks_distance"][0, 0] == pytest.approx(fit.distance)
    assert found.values["ks_tail"][0, 0] >= 20
    strict, loose = (analyze_one(values, edge_level=level).values["tw_edge"][0, 0] for level in (0.999, 0.6))
    assert strict > loose


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 1e-12, 1e-7, 0.5, 0.5000001, 1.0, 2.0, 1e4]), min_size=1, max_size=12),
    st.integers(0, 3),
)
def test_every_spectrum_has_a_value_or_a_reason(values, wider):
    result = analyze_one(values, shape=(len(values) + wider, len(values)), min_tail=4)
    for name in METRICS:
        value, reason = result.values[name][0, 0], result.reason(name, 0, 0)
        assert math.isfinite(value) == (reason == ""), (name, value, reason)
        assert math.isnan(value) == (reason != ""), (name, value, reason)


def test_a_mean_covers_the_matrices_that_have_a_value_and_counts_the_others():
    shapes = np.array([(16, 16)] * 3)
    decay = np.arange(1, 17) ** -0.5
    stored = padded([[decay, decay**2, np.zeros(16)], [np.zeros(16)] * 3], shapes)
    result = analyze(stored, shapes, SETTINGS)
    members = np.array([0, 1, 2])
    np.testing.assert_allclose(result.class_mean("alpha_exponent", members), [0.75, np.nan], rtol=1e-6)
    assert result.class_reason("alpha_exponent", 0, members) == "1 of 3: zero matrix"
    assert result.class_reason("alpha_exponent", 1, members) == "3 of 3: zero matrix"
    assert result.class_reason("alpha_exponent", 0, members[:2]) == ""
    np.testing.assert_allclose(result.class_mean("spectral_norm", members), [2 / 3, 0])


@pytest.mark.parametrize(
    ("spectrum", "shape"),
    [
        (np.zeros(8), (8, 8)),
        (np.zeros(1), (1, 5)),
        (np.r_[1.0, np.zeros(9)], (10, 20)),
        (np.ones(30), (30, 30)),
        (np.geomspace(1e-60, 1e-70, 30), (30, 30)),
        (np.geomspace(1e70, 1e60, 30), (30, 30)),
        (np.geomspace(1e300, 1e290, 30), (30, 30)),
        (np.geomspace(1e300, 1e-300, 60), (60, 60)),
        (np.geomspace(1e-290, 1e-300, 30), (30, 30)),
        (np.array([1.7e308, 1.6e308]), (2, 2)),
        (np.array([5e-324, 5e-324]), (2, 2)),
        (np.full(20, np.finfo(np.float32).max, dtype=np.float64), (20, 20)),
        (np.linspace(340.0, 290.0, 10), (100_000, 10)),
        (np.array([3.0]), (100_000, 1)),
    ],
    ids=[
        "zero",
        "one zero",
        "rank 1",
        "equal",
        "tiny",
        "large",
        "huge",
        "all sizes",
        "minute",
        "largest",
        "smallest",
        "float32",
        "tall",
        "vector",
    ],
)
def test_a_spectrum_of_any_kind_has_finite_values_or_reasons(spectrum, shape):
    result = analyze(spectrum[None, None], np.array([shape]), SETTINGS)
    for metric in METRICS:
        value = result.values[metric][0, 0]
        assert np.isfinite(value) != bool(result.reason(metric, 0, 0)), metric
        assert not np.isinf(value), metric


@pytest.mark.parametrize("power", [-1020, -1000, -600, -301, 301, 600, 1000, 1010])
@pytest.mark.parametrize("stored", [False, True])
def test_metrics_of_a_spectrum_in_an_extreme_unit_are_those_of_the_same_one_in_a_common_unit(power, stored):
    spectrum = np.linalg.svd(np.random.default_rng(4).normal(size=(30, 24)), compute_uv=False)
    whole = 50 * spectrum[None, None] if stored else None
    shape = np.array([(30, 24)])
    common = analyze(spectrum[None, None], shape, SETTINGS, stored=whole)
    extreme = analyze(
        np.ldexp(spectrum, power)[None, None], shape, SETTINGS, stored=None if whole is None else np.ldexp(whole, power)
    )
    squared = {"ks_xmin", "mp_variance", "mp_upper_edge", "tw_edge"}
    for metric in METRICS:
        expected, value = common.values[metric][0, 0], extreme.values[metric][0, 0]
        if metric in squared and abs(power) > 500:
            assert extreme.reason(metric, 0, 0) == BEYOND_NUMBERS
            assert np.isnan(value)
        elif metric in ("alpha_hat", "log_alpha_norm"):
            shift = 2 * power * np.log10(2.0) * common.values["ks_alpha"][0, 0]
            assert value == pytest.approx(expected + shift, rel=1e-12)
        else:
            degree = 2 if metric in squared else metric in ("spectral_norm", "frobenius_norm")
            assert value == np.ldexp(expected, degree * power), metric  # to the last bit
            assert extreme.reason(metric, 0, 0) == common.reason(metric, 0, 0)


def test_extreme_spectra_beside_common_ones_change_none_of_their_bits():
    common = np.linalg.svd(np.random.default_rng(5).normal(size=(20, 16)), compute_uv=False)
    shapes = np.array([(20, 16)] * 3)
    alone = analyze(common[None, None], shapes[:1], SETTINGS)
    beside = analyze(np.stack([1e-250 * common, common, 1e250 * common])[None], shapes, SETTINGS)
    for metric in METRICS:
        assert beside.values[metric][0, 1].tobytes() == alone.values[metric][0, 0].tobytes(), metric


def test_a_change_far_below_the_rounding_of_its_matrix_counts_as_zero():
    change = np.array([[[1e-250, 1e-251, 1e-252]]])
    result = analyze(change, np.array([(3, 3)]), SETTINGS, stored=np.ones((1, 1, 3)))
    assert result.reason("stable_rank", 0, 0) == "zero matrix"
    assert result.values["numerical_rank"][0, 0] == 0


@pytest.mark.parametrize(
    "settings",
    [
        {"hill_fraction": 0.0},
        {"hill_fraction": 1.01},
        {"hill_fraction": float("nan")},
        {"min_tail": 1},
        {"window": (0.5, 0.5)},
        {"window": (-0.1, 0.5)},
        {"window": (0.0, 1.1)},
        {"edge_level": 0.49},
        {"edge_level": 1.0},
    ],
)
def test_settings_out_of_their_range_are_named_with_the_rule(settings):
    (name,) = settings
    with pytest.raises(ValueError, match=f"^{name} = .*: must be "):
        Estimators(**settings)
