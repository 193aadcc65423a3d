"""Perturbations drawn on demand, and the populations made of them."""

import math
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from transformer_spectrum.optimizers.evolution import perturbation
from transformer_spectrum.optimizers.evolution.perturbation import LowRankNoise, Mirrored, Noise, Scattered

SHAPES = ((6, 5), (4,), (3, 7), (1, 4))
SIZE = 6 * 5 + 4 + 3 * 7 + 4


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def full(count=9, size=SIZE, dtype=torch.float32, pair=None):
    return Noise(count, size, seeded(), torch.empty(0, dtype=dtype), pair)


def low_rank(count=9, rank=1, shapes=SHAPES, dtype=torch.float32):
    return LowRankNoise(count, shapes, rank, seeded(), torch.empty(0, dtype=dtype))


def test_noise_is_standard_normal_and_its_rows_are_independent():
    rows = full(40, 5000).rows(0, 40).double()
    assert stats.kstest(rows.flatten().numpy(), "norm").pvalue > 0.01
    correlation = torch.corrcoef(rows) - torch.eye(40)
    # 780 pairs of rows of 5000: the largest of so many correlations stays below 4.5 standard errors.
    assert correlation.abs().max() < 4.5 / math.sqrt(5000)


@pytest.mark.parametrize("make", [full, low_rank])
def test_what_is_drawn_anew_is_what_would_have_been_kept(make, monkeypatch):
    kept = make()
    weights = torch.linspace(-1, 1, 9, dtype=torch.float64)
    rows, total = kept.rows(0, 9).clone(), kept.sum(weights)
    monkeypatch.setattr(perturbation, "KEPT_MIB", 0)
    anew = make()
    assert torch.equal(anew.rows(0, 9), rows)
    assert torch.equal(anew.rows(3, 5), rows[3:5])
    torch.testing.assert_close(anew.sum(weights), total)


def test_nothing_is_kept_where_it_would_take_too_much_memory(monkeypatch):
    assert full(count=4, size=2**20).memory is not None
    monkeypatch.setattr(perturbation, "KEPT_MIB", 15)
    assert full(count=4, size=2**20).memory is None


@pytest.mark.parametrize("kept", [0, 192])
def test_any_thread_sees_the_same_rows_in_any_order(kept, monkeypatch):
    monkeypatch.setattr(perturbation, "KEPT_MIB", kept)
    expected = full(16, 3000).rows(0, 16).clone()
    noise = full(16, 3000)
    asked = [(start, stop) for start in range(16) for stop in range(start + 1, 17)] * 2
    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(lambda ends: noise.rows(*ends).clone(), asked))
    assert all(torch.equal(part, expected[start:stop]) for part, (start, stop) in zip(seen, asked, strict=True))


def test_one_number_of_the_generator_decides_all():
    assert torch.equal(full().rows(0, 9), full().rows(0, 9))
    generator, other = seeded(), seeded()
    Noise(9, SIZE, generator, torch.empty(0))
    torch.randint(2**32, (), generator=other)
    assert torch.equal(generator.get_state(), other.get_state())


@pytest.mark.parametrize("kept", [0, 192])
def test_a_pair_takes_the_place_of_the_first_two_directions(kept, monkeypatch):
    monkeypatch.setattr(perturbation, "KEPT_MIB", kept)
    direction = torch.linspace(-3, 3, SIZE)
    noise, plain = full(pair=direction), full()
    assert torch.equal(noise.rows(0, 2), torch.stack([direction, -direction]))
    assert torch.equal(noise.rows(1, 9)[1:], plain.rows(2, 9))


@pytest.mark.parametrize("kept", [0, 192])
@pytest.mark.parametrize("columns", [7, 16384])
def test_moments_are_the_weighted_sums_of_the_directions_and_their_squares(kept, columns, monkeypatch):
    monkeypatch.setattr(perturbation, "KEPT_MIB", kept)
    monkeypatch.setattr(perturbation, "COLUMNS", columns)
    noise, weights = full(19, dtype=torch.float64), torch.randn(2, 19, generator=seeded(1), dtype=torch.float64)
    rows = noise.rows(0, 19)
    first, second = noise.moments(*weights)
    torch.testing.assert_close(first, torch.einsum("k,kn->n", weights[0], rows))
    torch.testing.assert_close(second, torch.einsum("k,kn->n", weights[1], rows**2))
    torch.testing.assert_close(noise.sum(weights[0]), first)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_a_low_rank_perturbation_has_that_rank_and_entries_of_unit_variance(rank):
    rows = low_rank(4000, rank, ((12, 9), (3,)), torch.float64).rows(0, 4000)
    matrices = rows[:, : 12 * 9].unflatten(1, (12, 9))
    values = torch.linalg.svdvals(matrices[:50])
    assert (values[:, rank - 1] > 1e-6).all()
    assert (values[:, rank:] < 1e-10).all()
    # The product of two normal numbers has kurtosis 9, a mean of r of them 3 + 6/r: the variance's standard error.
    error = math.sqrt((2 + 6 / rank) / 4000)
    variances = rows[:, : 12 * 9].var(0)
    assert (variances - 1).abs().max() < 5 * error
    assert rows.mean(0).abs().max() < 5 / math.sqrt(4000)


def test_entries_of_a_low_rank_perturbation_are_uncorrelated():
    rows = low_rank(6000, 1, ((6, 5),), torch.float64).rows(0, 6000)
    correlation = torch.corrcoef(rows.T) - torch.eye(30)
    assert correlation.abs().max() < 6 / math.sqrt(6000)


def test_vectors_and_matrices_too_small_for_factors_are_normal():
    rows = low_rank(3000, 1, dtype=torch.float64).rows(0, 3000)
    vector, single_row = rows[:, 30:34], rows[:, -4:]
    assert stats.kstest(vector.flatten().numpy(), "norm").pvalue > 0.01
    assert stats.kstest(single_row.flatten().numpy(), "norm").pvalue > 0.01
    assert stats.kstest(rows[:, :30].flatten().numpy(), "norm").pvalue < 1e-6  # the product of two normals is not


@pytest.mark.parametrize("kept", [0, 192])
@pytest.mark.parametrize("rank", [1, 2])
def test_the_low_rank_sum_is_the_weighted_sum_of_the_perturbations(rank, kept, monkeypatch):
    monkeypatch.setattr(perturbation, "KEPT_MIB", kept)
    noise = low_rank(11, rank, dtype=torch.float64)
    weights = torch.randn(11, generator=seeded(1), dtype=torch.float64)
    torch.testing.assert_close(noise.sum(weights), torch.einsum("k,kn->n", weights, noise.rows(0, 11)))


def test_low_rank_needs_fewer_random_numbers():
    noise = low_rank(4, 1, ((64, 64), (64,)))
    assert sum(noise.factors) == 128 + 64


@settings(max_examples=40, deadline=None)
@given(start=st.integers(0, 17), length=st.integers(1, 18), sigma=st.floats(0.01, 10))
def test_any_part_of_a_mirrored_population_is_its_pairs_around_the_mean(start, length, sigma):
    stop = min(start + length, 18)
    mean = torch.linspace(-1, 1, SIZE, dtype=torch.float64)
    population = Mirrored(mean, sigma, full(9, dtype=torch.float64))
    whole = population.members(0, 18)
    assert len(population) == 18
    torch.testing.assert_close(whole[0::2] + whole[1::2], (2 * mean).expand(9, -1))
    torch.testing.assert_close((whole[0::2] - mean) / sigma, population.noise.rows(0, 9))
    assert torch.equal(population.members(start, stop), whole[start:stop])


def test_a_scattered_population_has_its_own_scale_for_each_weight():
    mean, scale = torch.full((SIZE,), 2.0), torch.linspace(0.1, 3, SIZE)
    population = Scattered(mean, scale, full(3000))
    members = population.members(0, 3000)
    torch.testing.assert_close(members.std(0) / scale, torch.ones(SIZE), atol=0.08, rtol=0)
    assert torch.equal(population.members(5, 8), members[5:8])
