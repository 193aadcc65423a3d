"""What the evolution strategies share, and each one's own arithmetic."""

import math
import warnings

import cma
import numpy as np
import pytest
import torch

from transformer_spectrum.optimizers.evolution.cma_es import CMA, full_covariance_memory
from transformer_spectrum.optimizers.evolution.openai_es import OpenAIES
from transformer_spectrum.optimizers.evolution.sep_cma import Constants, SeparableCovariance, SepCMA
from transformer_spectrum.optimizers.evolution.snes import SNES, SeparableNormal, scale_rate, utilities
from transformer_spectrum.optimizers.evolution.strategy import by_rank, centred_ranks, ranked


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


class Given:
    """Takes the place of `Noise`: the directions are those of the test."""

    def __init__(self, rows):
        self.rows = rows

    def moments(self, weights, squares):
        return weights @ self.rows, squares @ self.rows.square()


# -- shared ----------------------------------------------------------------------------------------------------------
def test_centred_ranks_put_the_lowest_loss_first_and_ties_together():
    ranks = centred_ranks(torch.tensor([3.0, 1.0, torch.nan, 2.0, 2.0]))
    assert ranks.tolist() == [-0.25, 0.5, -0.5, 0.125, 0.125]


def test_losses_that_are_not_finite_rank_last():
    assert ranked(torch.tensor([1.0, math.nan, -math.inf, math.inf])).tolist() == [1.0, *[math.inf] * 3]


def test_values_by_rank_reach_their_candidates():
    values = torch.tensor([10.0, 20.0, 30.0])
    assert by_rank(values, torch.tensor([5.0, 1.0, 3.0])).tolist() == [30.0, 10.0, 20.0]
    assert by_rank(values, torch.tensor([1.0, 1.0, 0.0])).tolist() == [20.0, 30.0, 10.0]


@pytest.mark.parametrize("kind", [CMA, SepCMA, SNES])
def test_a_step_size_below_the_weights_resolution_ends_the_search(kind, Quadratic):
    steps = list(kind(50, 8, 1e-9).steps(Quadratic(), torch.full((10,), 3.0), seeded()))
    assert len(steps) == 2
    assert "too small to change the weights" in steps[-1].stop_reason


# -- sep_cma ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("size", "popsize"), [(3, 8), (7, 10), (40, 12), (500, 32)])
def test_separable_cma_takes_the_steps_of_pycma_on_the_same_samples(size, popsize):
    mean = torch.randn(size, generator=seeded(), dtype=torch.float64)
    normal = np.random.default_rng(1)
    theirs = CMA(1, popsize, 0.3).distribution(mean, seeded(), None).search
    theirs.opts["randn"] = theirs.sm.randn = lambda *shape: normal.standard_normal(shape)
    ours = SeparableCovariance(mean, 0.3, popsize, None)
    curvature = torch.logspace(0, 2, size, dtype=torch.float64)
    for generation in range(30):
        candidates = np.asarray(theirs.ask())
        directions = torch.from_numpy((candidates - theirs.mean) / (theirs.sigma * theirs.sigma_vec.scaling))
        if generation:  # theirs put the pair first; ours would be along the same line
            line = ours.last / torch.linalg.vector_norm(ours.last)
            ahead, behind = directions[:2]
            torch.testing.assert_close(ahead / torch.linalg.vector_norm(ahead), line, rtol=1e-7, atol=1e-8)
            torch.testing.assert_close(behind, -ahead, rtol=1e-7, atol=1e-8)
        losses = (curvature * torch.from_numpy(candidates) ** 2).sum(1)
        theirs.tell(list(candidates), losses.numpy())
        ours.noise = Given(directions)
        ours.tell(losses)
        same = {
            "mean": (ours.centre, theirs.mean),
            "scale": (ours.scale, theirs.sigma_vec.scaling),
            "path": (ours.path, theirs.pc),
            "shifts": (ours.shifts, theirs.adapt_sigma.ps),
            "sigma": (torch.tensor(ours.sigma, dtype=torch.float64), theirs.sigma),
        }
        for name, (one, two) in same.items():
            np.testing.assert_allclose(one.numpy(), two, rtol=1e-7, atol=1e-9, err_msg=f"{name} {generation}")


def test_the_constants_are_those_of_pycma_in_the_dimension_of_a_network():
    ours = Constants.of(170_000, 32)
    theirs = CMA(1, 32, 0.1).distribution(torch.zeros(170_000), seeded(), None).search.sp
    np.testing.assert_allclose(ours.variance.numpy(), theirs.weights.asarray, rtol=1e-12)
    assert (ours.single, ours.rank, ours.path) == pytest.approx((theirs.c1_sep, theirs.cmu_sep, theirs.cc_sep))
    assert ours.parents == pytest.approx(theirs.weights.mueff)


@pytest.mark.parametrize("popsize", [4, 6, 8])
@pytest.mark.parametrize("size", [2, 100, 170_000])
def test_in_small_populations_the_worse_half_is_bounded_by_its_own_effective_number(size, popsize):
    ours = Constants.of(size, popsize)
    theirs = CMA(1, popsize, 0.1).distribution(torch.zeros(size), seeded(), None).search.sp
    np.testing.assert_allclose(ours.variance.numpy(), theirs.weights.asarray, rtol=1e-12)
    # Hansen (2016), eqs. 50 and 51, by hand: the second binds at 4 and 6, the first from 8 on.
    weights = [math.log((popsize + 1) / 2) - math.log(rank) for rank in range(1, popsize + 1)]
    worse = [-weight for weight in weights if weight < 0]
    effective = sum(worse) ** 2 / sum(weight**2 for weight in worse)
    bounds = 1 + ours.single / ours.rank, 1 + 2 * effective / (ours.parents + 2)
    assert (bounds[0] > bounds[1]) == (popsize < 8)
    assert -float(ours.variance.clamp(max=0).sum()) == pytest.approx(min(bounds))


def test_the_two_points_lie_ahead_and_behind_at_a_random_candidates_distance():
    search = SeparableCovariance(torch.zeros(400), 0.5, 8, None)
    search.ask(seeded())
    search.tell(torch.arange(8, dtype=torch.float64))
    moved = search.mean()
    members = search.ask(seeded(1)).members(0, 8) - moved
    torch.testing.assert_close(members[0], -members[1])
    torch.testing.assert_close(members[0] / members[0].norm(), moved / moved.norm(), rtol=1e-3, atol=1e-4)
    lengths = members.norm(dim=1) / search.sigma
    assert (lengths - 20).abs().max() < 3  # sqrt(400), with standard deviation 1 / sqrt 2


def test_sigma_grows_on_a_slope_and_shrinks_at_the_optimum(Quadratic):
    class Slope(Quadratic):
        def loss(self, vectors, batch):
            return vectors.sum(1)

    slope = list(SepCMA(60, 12, 0.1).steps(Slope(), torch.zeros(10), seeded()))
    assert slope[-1].scalars["sigma"] > 3
    optimum = list(SepCMA(60, 12, 0.1).steps(Quadratic(), torch.ones(10), seeded()))
    assert optimum[-1].scalars["sigma"] < 0.01


@pytest.mark.parametrize("kind", [SepCMA, SNES])
def test_scales_learn_the_curvature_of_each_weight(kind, Quadratic):
    objective = Quadratic(condition=1e4)
    method = kind(400, 16, 0.3)
    for step in method.steps(objective, torch.zeros(10), seeded()):
        state = step.state()
        if step.loss < 1e-6:
            break
    assert step.loss < 1e-6
    scale = state["scale"]
    # The ideal is curvature^(-1/2), a factor of 100 between the flattest and the steepest.
    assert 10 < float(scale[0] / scale[-1]) < 1000


def test_separable_cma_and_pycma_get_as_far_in_as_many_generations(Quadratic):
    def loss(kind, seed):
        return list(kind(60, 12, 0.2).steps(Quadratic(10.0, size=200), torch.zeros(200), seeded(seed)))[-1].loss

    ours, theirs = (np.mean([loss(kind, seed) for seed in range(3)]) for kind in (SepCMA, CMA))
    assert 0.8 < ours / theirs < 1.25


# -- cma -------------------------------------------------------------------------------------------------------------
def test_a_full_covariance_is_refused_with_the_memory_that_it_would_need(Quadratic):
    steps = CMA(1, 8, 0.1, "full").steps(Quadratic(size=170_000), torch.zeros(170_000), seeded())
    with pytest.raises(ValueError, match=r"170000 weights: would need 1507.3 GiB; at most 4096"):
        next(steps)
    assert full_covariance_memory(2 * 4096) == pytest.approx(4 * full_covariance_memory(4096))


@pytest.mark.parametrize("covariance", ["diagonal", "vd", "vkd", "full"])
def test_each_covariance_is_the_one_asked_for(covariance):
    search = CMA(1, 8, 0.1, covariance).distribution(torch.zeros(12), seeded(), None).search
    kinds = {
        "diagonal": cma.sampler.GaussStandardConstant,
        "vd": cma.restricted_gaussian_sampler.GaussVDSampler,
        "vkd": cma.restricted_gaussian_sampler.GaussVkDSampler,
        "full": cma.sampler.GaussFullSampler,
    }
    assert type(search.sm) is kinds[covariance]


def test_vd_learns_one_long_direction_that_a_diagonal_cannot(Quadratic):
    class Valley(Quadratic):
        def loss(self, vectors, batch):
            along = vectors.mean(1, keepdim=True)
            return 1000 * ((vectors - along) ** 2).sum(1) + 10 * (along[:, 0] - 1) ** 2

    def final(covariance):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return list(CMA(120, 12, 0.1, covariance).steps(Valley(), torch.zeros(10), seeded()))[-1].loss

    assert final("vd") < 0.2 * final("diagonal")


# -- snes ------------------------------------------------------------------------------------------------------------
def test_snes_utilities_and_rates_in_closed_form():
    # popsize 4: max(0, ln 3 - ln k) = 1.0986, 0.4055, 0, 0; their sum is ln 4.5.
    expected = [math.log(3) / math.log(4.5) - 0.25, math.log(1.5) / math.log(4.5) - 0.25, -0.25, -0.25]
    assert utilities(4).tolist() == pytest.approx(expected)
    assert float(utilities(7).sum()) == pytest.approx(0, abs=1e-15)
    assert scale_rate(1) == pytest.approx(0.6)
    assert scale_rate(100) == pytest.approx((3 + math.log(100)) / 50)


def test_one_snes_step_in_closed_form():
    search = SeparableNormal(torch.tensor([5.0], dtype=torch.float64), 2.0, 4, 0.5, None)
    search.noise = Given(torch.tensor([[3.0], [0.0], [-1.0], [1.0]], dtype=torch.float64))
    search.tell(torch.tensor([9.0, 2.0, 1.0, 4.0], dtype=torch.float64))  # best -1, then 0, 1, 3
    best = math.log(3) / math.log(4.5) - 0.25
    gradient = -best - 0.25 * 1 - 0.25 * 3
    curvature = best * 1 - 0.25 * 1 - 0.25 * 9
    assert float(search.centre) == pytest.approx(5 + 0.5 * 2 * gradient)
    assert float(search.scale) == pytest.approx(2 * math.exp(0.3 * curvature))


# -- openai ----------------------------------------------------------------------------------------------------------
def test_the_openai_gradient_points_downhill(Quadratic):
    start = torch.linspace(-1, 0.5, 10)
    method = OpenAIES(1, 4000, 0.01, learning_rate=0.1, optimizer="sgd")
    _, step = method.steps(Quadratic(condition=3.0), start, seeded())
    moved, downhill = step.weights - start, Quadratic(condition=3.0).scale * (1 - start)
    assert float(torch.cosine_similarity(moved, downhill, dim=0)) > 0.99


def test_adams_first_update_has_the_length_of_the_learning_rate(Quadratic):
    _, step = OpenAIES(1, 64, 0.01, learning_rate=0.03).steps(Quadratic(), torch.zeros(10), seeded())
    torch.testing.assert_close(step.weights.abs(), torch.full((10,), 0.03))


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_weight_decay_is_decoupled_from_the_gradient(optimizer, Quadratic):
    class Flat(Quadratic):
        def loss(self, vectors, batch):
            return torch.ones(len(vectors))

    method = OpenAIES(5, 8, 0.1, learning_rate=0.2, optimizer=optimizer, weight_decay=0.5)
    steps = list(method.steps(Flat(), torch.full((10,), 2.0), seeded()))
    torch.testing.assert_close(steps[5].weights, torch.full((10,), 2.0 * 0.9**5))


def test_sigma_decays_after_each_generation(Quadratic):
    seen = []

    class Watched(Quadratic):
        def losses(self, population, batch):
            seen.append(getattr(population, "sigma", None))
            return super().losses(population, batch)

    steps = list(OpenAIES(3, 8, 0.1, learning_rate=0.01, sigma_decay=0.5).steps(Watched(), torch.zeros(10), seeded()))
    assert [sigma for sigma in seen if sigma] == [0.1, 0.05, 0.025]
    assert steps[3].scalars["sigma"] == pytest.approx(0.0125)


def test_openai_candidates_are_mirrored_and_those_of_low_rank_stay_low_rank(Quadratic):
    seen = []

    class Watched(Quadratic):
        def losses(self, population, batch):
            if len(population) > 1:
                seen.append(population.members(0, len(population)))
            return super().losses(population, batch)

    method = OpenAIES(1, 8, 0.1, learning_rate=0.01, rank=1, shapes=((6, 7), (8,)))
    list(method.steps(Watched(size=50), torch.zeros(50), seeded()))
    assert torch.equal(seen[0][0::2], -seen[0][1::2])
    matrices = seen[0][:, :42].unflatten(1, (6, 7))
    assert (torch.linalg.matrix_rank(matrices) == 1).all()


def test_impossible_settings_are_refused():
    with pytest.raises(ValueError, match="popsize = 7: must be even"):
        OpenAIES(1, 7, 0.1)
    with pytest.raises(ValueError, match="rank = 2: needs the shapes"):
        OpenAIES(1, 8, 0.1, rank=2)


@pytest.mark.parametrize("covariance", ["diagonal", "full", "vd", "vkd"])
def test_cmas_random_numbers_are_those_of_its_own_seed(covariance):
    asked = []
    for other in (0, 1):
        np.random.seed(other)
        search = CMA(popsize=6, sigma=0.3, generations=2, covariance=covariance).distribution(
            torch.zeros(8), seeded(), None
        )
        asked.append(search.ask(seeded()))
    assert torch.equal(*asked)


def test_cma_ranks_a_loss_that_is_none_behind_the_worst_that_is_one():
    means = []
    for last in (math.inf, math.nan, 1e6):
        search = CMA(popsize=6, sigma=0.3, generations=2, covariance="diagonal").distribution(
            torch.zeros(8), seeded(), None
        )
        search.ask(seeded())
        search.tell(torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5, last], dtype=torch.float64))
        means.append(search.mean())
    assert torch.equal(means[0], means[2])
    assert torch.equal(means[1], means[2])
