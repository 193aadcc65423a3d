"""Closed forms, then the law of noise by an independent way, then size and power over a few hundred matrices."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import binom, ks_2samp

from transformer_spectrum.spectra import spike_or_tail as module
from transformer_spectrum.spectra.random_matrix import fit_bulk, mp_density
from transformer_spectrum.spectra.spike_or_tail import (
    NO_BULK,
    TOO_SMALL,
    Verdict,
    most_spikes,
    noise_entropies,
    spike_credit,
    spike_or_tail,
    strongest_share,
)

LEVEL = 0.05


def singular_values(matrices):
    return np.linalg.svd(matrices, compute_uv=False)


def planted(seed, draws, shape, spikes, strength):
    """Noise of variance 1 and `spikes` directions of singular value strength * (rows * columns)^(1/4)."""
    random = np.random.default_rng(seed)
    matrices = random.standard_normal((draws, *shape))
    axis = np.arange(spikes)
    matrices[:, axis, axis] += strength * math.prod(shape) ** 0.25
    return singular_values(matrices)


def rejected(spectra, shape):
    return int(np.sum(spike_or_tail(spectra, shape, draws=999).p_value <= LEVEL))


# -- closed forms ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("ratio", [1.0, 0.5, 0.25, 0.05])
@pytest.mark.parametrize("rho", [1.0, 0.7, 0.2])
def test_the_credit_is_the_integral_over_the_spectral_shift(rho, ratio):
    root = math.sqrt(ratio)

    def shifted(angle):  # d(z ln z) times what the shift of an infinite spike has beyond that of rho
        z = 1 + ratio + 2 * root * math.cos(angle)
        infinite = 1 - angle / math.pi
        shift = np.angle(1 - np.exp(-1j * angle) / rho) / math.pi
        return (math.log(max(z, 1e-300)) + 1) * 2 * root * math.sin(angle) * (infinite - shift)

    lacking, _ = quad(shifted, 0, math.pi, limit=400)
    assert spike_credit(rho, ratio) == pytest.approx(lacking, abs=1e-6)


def test_a_spike_of_infinite_strength_needs_no_credit_and_one_at_the_edge_the_most():
    shares = np.linspace(1e-6, 1, 50)
    credit = spike_credit(shares, 0.3)
    assert credit[0] == pytest.approx(0, abs=1e-5)
    assert (np.diff(credit) > 0).all()
    assert spike_credit(1.0, 1.0) == pytest.approx(4 * math.log(2) - 1)


def test_allowed_spikes_are_at_most_a_tenth_and_grow_with_the_rank():
    counts = [most_spikes((side, 2 * side)) for side in range(10, 2000)]
    assert all(count <= side // 10 for side, count in zip(range(10, 2000), counts, strict=True))
    assert counts == sorted(counts)
    assert most_spikes((64, 256)) == most_spikes((256, 64)) == 6


def test_the_more_spikes_the_farther_from_the_bulk_they_have_to_be():
    shares = [strongest_share(256 - k, 256 - k, k) for k in range(26)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] == module.STRONGEST_SHARE


# -- the law of noise ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("n", "m"), [(40, 40), (90, 30)])
def test_the_law_drawn_from_bidiagonals_is_that_of_dense_gaussian_matrices(n, m):
    dense = singular_values(np.random.default_rng(1).standard_normal((600, n, m))) ** 2
    unit = dense / dense.mean(axis=1, keepdims=True)
    assert ks_2samp((unit * np.log(unit)).sum(axis=1), noise_entropies(n, m, 600, 3)).pvalue > 0.01


@pytest.mark.parametrize("ratio", [1.0, 0.25])
def test_the_mean_of_the_law_is_half_the_aspect_for_each_eigenvalue(ratio):
    shape = (1000, int(1000 * ratio))
    mean, _ = quad(lambda z: z * math.log(z) * mp_density(z, shape, 1e-3), 1e-12, (1 + math.sqrt(ratio)) ** 2)
    assert mean == pytest.approx(ratio / 2, abs=1e-3)
    assert noise_entropies(shape[0], shape[1], 99, 0).mean() / shape[1] == pytest.approx(ratio / 2, abs=5e-3)


def test_the_law_of_large_noise_is_that_of_smaller_noise_moved(monkeypatch):
    moved = noise_entropies(300, 200, 400, 0)
    monkeypatch.setattr(module, "LARGEST_DRAWN", 1000)
    whole = noise_entropies(300, 200, 400, 1)
    assert abs(moved.mean() - whole.mean()) < 0.3 * whole.std()
    assert moved.std() == pytest.approx(whole.std(), rel=0.2)


def test_noise_without_spikes_allowed_has_uniform_p_values():
    p_values = spike_or_tail(planted(2, 400, (32, 48), 0, 0), (32, 48), draws=999, spikes_allowed=0).p_value
    assert np.abs(np.sort(p_values) - (np.arange(400) + 0.5) / 400).max() < 1.63 / 20  # Kolmogorov at 1 %


def test_spikes_of_infinite_strength_leave_uniform_p_values():
    p_values = spike_or_tail(planted(3, 300, (64, 64), 6, 1e4), (64, 64), draws=1999).p_value
    assert np.abs(np.sort(p_values) - (np.arange(300) + 0.5) / 300).max() < 1.63 / math.sqrt(300) + 0.03


# -- size and power --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("shape", [(64, 64), (40, 120)])
@pytest.mark.parametrize("spikes", [0, 1, 5])
@pytest.mark.parametrize("strength", [0.9, 1.2, 1.6, 5.0])
def test_noise_with_spikes_of_any_strength_is_called_heavy_tailed_at_most_at_the_level(shape, spikes, strength):
    draws = 200
    spikes = min(spikes, min(shape) // 10)
    assert rejected(planted(4, draws, shape, spikes, strength), shape) <= binom.ppf(0.999, draws, LEVEL)


def test_entries_of_few_degrees_of_freedom_are_found():
    random = np.random.default_rng(5)
    assert rejected(singular_values(random.standard_t(2.5, size=(200, 64, 64))), (64, 64)) > 200 * 0.65
    assert rejected(singular_values(random.standard_t(2.5, size=(40, 128, 128))), (128, 128)) >= 36


def test_power_law_populations_are_found():
    random = np.random.default_rng(6)
    variances = (1 - random.random((100, 64, 1))) ** (-1 / 1.5)
    assert rejected(singular_values(np.sqrt(variances) * random.standard_normal((100, 64, 128))), (64, 128)) > 95


def test_uniform_entries_as_of_untrained_weights_are_noise():
    random = np.random.default_rng(7)
    result = spike_or_tail(singular_values(random.uniform(-1, 1, (100, 64, 64))), (64, 64), draws=999)
    assert np.mean(result.verdict == Verdict.NOISE) > 0.9


# -- behaviour -------------------------------------------------------------------------------------------------
def test_the_verdict_says_how_many_spikes_explain_the_spectrum():
    for spikes in (0, 1, 5):
        result = spike_or_tail(planted(8, 30, (64, 64), spikes, 3.0), (64, 64))
        assert (result.spikes == spikes).sum() >= 27
        expected = Verdict.SPIKES if spikes else Verdict.NOISE
        assert (result.verdict == expected).sum() >= 26
        assert (result.reason == "").all()
        assert (result.most_spikes, result.level, result.draws) == (6, LEVEL, 1999)


def test_spikes_are_those_of_the_bulk_fit_up_to_the_most_allowed():
    spectra = planted(9, 20, (64, 64), 9, 4.0)
    counted = fit_bulk(spectra, (64, 64)).spikes
    assert (counted > 6).all()
    assert (spike_or_tail(spectra, (64, 64)).spikes == 6).all()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(1e-30, 1e30))
def test_scale_order_and_transposition_change_nothing(seed, factor):
    random = np.random.default_rng(seed)
    spectra = singular_values(random.standard_t(3, size=(3, 40, 56)))
    whole = spike_or_tail(spectra, (40, 56))
    changed = spike_or_tail(factor * random.permuted(spectra, axis=-1), (56, 40))
    np.testing.assert_allclose(changed.statistic, whole.statistic, rtol=1e-6, atol=1e-6)
    assert (changed.verdict == whole.verdict).all()
    alone = spike_or_tail(spectra[1], (40, 56))
    assert alone.statistic == pytest.approx(whole.statistic[1], rel=1e-9)
    assert alone.verdict == whole.verdict[1]


def test_draws_are_made_once_for_a_shape_and_repeat_themselves():
    noise_entropies.cache_clear()
    spectra = planted(10, 4, (64, 64), 0, 0)
    first = spike_or_tail(spectra, (64, 64))
    again = spike_or_tail(spectra[0], (64, 64))
    assert (noise_entropies.cache_info().misses, noise_entropies.cache_info().hits) == (1, 1)
    assert again.p_value == first.p_value[0]
    assert not noise_entropies(58, 58, 1999, 0).flags.writeable
    noise_entropies.cache_clear()
    assert (spike_or_tail(spectra, (64, 64)).p_value == first.p_value).all()


def test_what_is_not_tested_says_why_and_the_rest_is_tested():
    spectra = planted(11, 3, (30, 30), 0, 0)
    spectra[1, 10:] = 0.0
    result = spike_or_tail(spectra, (30, 30))
    assert result.reason.tolist() == ["", NO_BULK, ""]
    assert result.verdict[1] == Verdict.NOT_TESTED
    assert np.isnan([result.p_value[1], result.statistic[1], result.spikes[1]]).all()
    assert np.isfinite(result.p_value[[0, 2]]).all()
    small = spike_or_tail(np.arange(1.0, 20.0), (19, 400))
    assert (str(small.verdict), str(small.reason)) == (Verdict.NOT_TESTED, TOO_SMALL)
    zero = spike_or_tail(np.zeros(64), (64, 64))
    assert str(zero.reason) == NO_BULK


def test_a_few_zeros_below_are_no_hindrance():
    spectra = np.append(planted(12, 1, (64, 64), 2, 4.0)[0][:-4], np.zeros(4))
    assert np.isfinite(spike_or_tail(spectra, (64, 64)).p_value)


def test_settings_outside_their_range_are_refused():
    values = np.arange(1.0, 65.0)
    with pytest.raises(ValueError, match="must be as many as 32"):
        spike_or_tail(values, (64, 32))
    with pytest.raises(ValueError, match="spikes_allowed = 7"):
        spike_or_tail(values, (64, 64), spikes_allowed=7)
    for level in (0.0, 1.0):
        with pytest.raises(ValueError, match="level"):
            spike_or_tail(values, (64, 64), level=level)
    with pytest.raises(ValueError, match="draws = 18"):
        spike_or_tail(values, (64, 64), draws=18)
    assert spike_or_tail(values, (64, 64), draws=19).draws == 19
