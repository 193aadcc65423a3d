"""Kernels, smoothing and the synthetic series."""

import math

import numpy as np
import pytest
from scipy import stats

from transformer_spectrum.config.load import parse_params, read_tree
from transformer_spectrum.config.tree import put
from transformer_spectrum.config.wheel_files import packaged
from transformer_spectrum.data.synthesis.drawing import draw_synthetic
from transformer_spectrum.data.synthesis.smoothed_noise import smooth, smoothing_kernel, synthesize
from transformer_spectrum.distributions.sgt import SGT
from transformer_spectrum.runtime.errors import InputError

NORMAL = SGT(0.0, 0.707, 0.0, 2.0, np.inf)


def test_kernels_are_their_formulas():
    x = np.arange(7) - 3
    np.testing.assert_allclose(smoothing_kernel("gaussian", 7, 2.0, 9.0), np.exp(-(x**2) / 8))
    np.testing.assert_allclose(smoothing_kernel("cosine", 7, 2.0, 9.0), np.cos(2 * np.pi * x / 9))
    np.testing.assert_allclose(smoothing_kernel("sine", 7, 2.0, 9.0), np.sin(2 * np.pi * x / 9))
    both = np.exp(-(x**2) / 8) * np.cos(2 * np.pi * x / 9)
    np.testing.assert_allclose(smoothing_kernel("cosine_gaussian", 7, 2.0, 9.0), both)
    assert smoothing_kernel("none", 7, 2.0, 9.0).tolist() == [1.0]


def test_a_period_that_no_position_has_a_sine_of_is_told_by_the_kernel_and_not_by_the_tail():
    for kind in ("sine", "cosine", "cosine_gaussian"):
        with pytest.raises(InputError, match=r"kernel\.period = 4.9.*sum of \|k\|"):
            smoothing_kernel(kind, 15, 3.0, 5e-324)
    assert smoothing_kernel("gaussian", 3, 5e-324, 1.0).tolist() == [0.0, 1.0, 0.0]


def test_draws_too_large_to_be_squared_are_refused_by_the_parameters_that_made_them(tmp_path):
    tree = read_tree(packaged("params.yaml"))
    put(tree, "data.synthetic.sigma", 1e200)
    put(tree, "data.synthetic.series", 5)
    with pytest.raises(InputError, match=r"data\.synthetic\.sigma = 1e\+200: draws of up to .*must be below 1e\+150"):
        draw_synthetic(parse_params(tree), tmp_path / "raw")
    put(tree, "data.synthetic.sigma", 1.0)
    put(tree, "data.synthetic.kernel.period", 5e-324)
    with pytest.raises(InputError, match=r"^data\.synthetic: kernel\.type = cosine_gaussian with"):
        draw_synthetic(parse_params(tree), tmp_path / "raw")


def test_a_kernel_without_a_tap_is_an_error_that_names_it():
    with pytest.raises(InputError, match=r"kernel\.type = sine with kernel\.size = 1.*sum of \|k\|"):
        smoothing_kernel("sine", 1, 1.0, 10.0)
    with pytest.raises(InputError, match=r"kernel\.type = gaussian with kernel\.size = 2"):
        smoothing_kernel("gaussian", 2, 0.01, 10.0)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (("box", 3, 1.0, 1.0), r"kernel\.type = box"),
        (("gaussian", 0, 1.0, 1.0), r"kernel\.size = 0"),
        (("gaussian", 3, 0.0, 1.0), r"kernel\.sigma = 0"),
        (("cosine", 3, 1.0, math.inf), r"kernel\.period = inf"),
    ],
)
def test_a_kernel_setting_out_of_range_is_named(settings, words):
    with pytest.raises(InputError, match=words):
        smoothing_kernel(*settings)


def test_a_series_too_short_for_any_tap_is_refused():
    with pytest.raises(InputError, match="all taps inside are 0 at step 0"):
        smooth(np.ones((1, 1, 1)), smoothing_kernel("sine", 3, 1.0, 8.0))


def test_a_huge_value_leaves_steps_beyond_the_kernel_untouched():
    series = np.random.default_rng(0).normal(size=(1, 100, 1))
    spiked = series.copy()
    spiked[0, 10] = 1e30
    kernel = smoothing_kernel("gaussian", 9, 2.0, 1.0)
    np.testing.assert_array_equal(smooth(spiked, kernel)[:, 15:], smooth(series, kernel)[:, 15:])


@pytest.mark.parametrize("size", [1, 4, 15, 101])
def test_a_positive_kernel_keeps_a_constant_constant_up_to_the_edges(size):
    constant = np.full((2, 30, 1), 3.7)
    np.testing.assert_allclose(smooth(constant, smoothing_kernel("gaussian", size, 4.0, 1.0)), constant, rtol=1e-12)


@pytest.mark.parametrize("kind", ["gaussian", "sine", "cosine", "cosine_gaussian"])
@pytest.mark.parametrize("size", [2, 4, 15, 61, 101])
def test_smoothing_is_a_plain_loop_over_taps(kind, size):
    series = np.random.default_rng(0).normal(size=(2, 40, 2))
    kernel = smoothing_kernel(kind, size, 4.0, 12.0)
    expected = np.zeros_like(series)
    for t in range(40):
        weight = 0.0
        for i, tap in enumerate(kernel):
            at = t + (size - 1) // 2 - i
            if 0 <= at < 40:
                expected[:, t] += tap * series[:, at]
                weight += abs(tap)
        expected[:, t] /= weight
    np.testing.assert_allclose(smooth(series, kernel), expected, atol=1e-12)


def settings(kind, **changes):
    given = {"series": 50, "length": 200, "features": 2, "kernel_size": 15, "kernel_sigma": 3.0, "kernel_period": 24.0}
    return given | {"kernel_type": kind} | changes


def test_series_have_the_shape_the_distribution_and_the_seed_asked_for():
    one = synthesize(NORMAL, **settings("none"), generator=np.random.default_rng(1))
    assert one.shape == (50, 200, 2)
    assert one.dtype == np.float64
    assert stats.kstest(one.ravel(), NORMAL.cdf).pvalue > 0.001
    np.testing.assert_array_equal(one, synthesize(NORMAL, **settings("none"), generator=np.random.default_rng(1)))
    assert not np.array_equal(one, synthesize(NORMAL, **settings("none"), generator=np.random.default_rng(2)))


def test_series_are_the_smoothed_noise_of_the_same_generator():
    noise = synthesize(NORMAL, **settings("none"), generator=np.random.default_rng(1))
    made = synthesize(NORMAL, **settings("cosine_gaussian"), generator=np.random.default_rng(1))
    np.testing.assert_array_equal(made, smooth(noise, smoothing_kernel("cosine_gaussian", 15, 3.0, 24.0)))


def test_smoothed_series_are_correlated_over_the_kernel():
    series = synthesize(NORMAL, **settings("gaussian", features=1), generator=np.random.default_rng(1))
    lagged = [np.corrcoef(series[:, lag:].ravel(), series[:, : 200 - lag].ravel())[0, 1] for lag in (1, 40)]
    assert lagged[0] > 0.9
    assert abs(lagged[1]) < 0.1


def test_draws_too_large_for_float64_are_refused():
    heavy = SGT(0.0, 1.0, 0.0, 2.0, 0.001, centred=False, unit_variance=False)
    with pytest.raises(InputError, match=r"q = 0\.001 with p = 2"):
        synthesize(heavy, **settings("none"), generator=np.random.default_rng(1))
