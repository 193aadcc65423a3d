"""One contract, every searcher, several problems."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats

from transformer_spectrum.search.adam import Adam
from transformer_spectrum.search.es import CMA, OpenAIES, centred_ranks
from transformer_spectrum.search.ga import GA, crossover, sbx_spread, tournament

SIZE = 10


class Quadratic:
    """sum_i scale_i (w_i - 1)^2; a batch is a number that shifts the loss, so that sharing it can be seen."""

    def __init__(self, condition: float = 1.0, noise: float = 0.0, spoil: float = 0.0) -> None:
        self.size = SIZE
        self.scale = torch.logspace(0, math.log10(condition), SIZE)
        self.noise, self.spoil = noise, spoil
        self.scored: list[tuple[int, float]] = []
        self.gradients = 0

    def batch(self, generator):
        return self.noise * torch.randn((), generator=generator).item()

    def epoch(self, generator):
        for _ in range(20):
            yield self.batch(generator)

    def losses(self, population, batch):
        self.scored.append((len(population), batch))
        losses = (self.scale * (population - 1) ** 2).sum(1) + batch
        if self.spoil and len(population) > 1:
            losses[: int(self.spoil * len(population))] = torch.nan
        return losses

    def gradient(self, weights, batch):
        self.gradients += 1
        return float((self.scale * (weights - 1) ** 2).sum() + batch), 2 * self.scale * (weights - 1)


SEARCHERS = {
    "adam": Adam(epochs=40, learning_rate=0.05),
    "cma": CMA(generations=80, popsize=16, sigma=0.2),
    "openai": OpenAIES(generations=120, popsize=32, sigma=0.05, learning_rate=0.05),
    "ga": GA(120, 32, 0.3, 3, 0.9, 10.0, 0.2, 0.1, 2),
}
every = pytest.mark.parametrize("name", SEARCHERS)


def run(name, objective, seed=0, weights=None):
    weights = torch.zeros(SIZE) if weights is None else weights
    return list(SEARCHERS[name].steps(objective, weights, torch.Generator().manual_seed(seed)))


@every
@pytest.mark.parametrize("condition", [1.0, 10.0])
def test_a_searcher_minimises(name, condition):
    steps = run(name, Quadratic(condition))
    assert steps[-1].loss < 0.05 * steps[0].loss


@every
def test_step_zero_is_the_initial_weights_and_they_are_left_alone(name):
    weights = torch.linspace(-1, 1, SIZE)
    before = weights.clone()
    steps = run(name, Quadratic(), weights=weights)
    assert steps[0].index == 0
    assert torch.equal(steps[0].weights, before)
    assert torch.equal(weights, before)


@every
def test_indices_count_up_and_evaluations_never_fall(name):
    steps = run(name, Quadratic())
    assert [step.index for step in steps] == list(range(len(steps)))
    assert all(a.evaluations < b.evaluations for a, b in itertools.pairwise(steps))


@every
def test_evaluations_are_what_the_objective_was_asked_for(name):
    objective = Quadratic()
    steps = run(name, objective)
    asked = sum(count for count, _ in objective.scored) + 3 * objective.gradients
    assert steps[-1].evaluations == asked


@every
def test_steps_keep_their_weights_when_the_search_goes_on(name):
    kept = []
    for step in SEARCHERS[name].steps(Quadratic(), torch.zeros(SIZE), torch.Generator().manual_seed(0)):
        kept.append((step.weights, step.weights.clone()))
    assert all(torch.equal(one, copy) for one, copy in kept)
    assert not torch.equal(kept[1][0], kept[-1][0])


@every
def test_the_same_generator_gives_the_same_search(name):
    one, two, other = run(name, Quadratic()), run(name, Quadratic()), run(name, Quadratic(), seed=1)
    assert all(torch.equal(a.weights, b.weights) for a, b in zip(one, two, strict=True))
    if name != "adam":  # this problem has no batches that Adam could see differently
        assert not torch.equal(one[-1].weights, other[-1].weights)


@every
def test_global_random_state_is_left_alone(name):
    np.random.seed(3)
    torch.manual_seed(3)
    before = (np.random.get_state()[1].copy(), torch.get_rng_state())
    run(name, Quadratic())
    assert (np.random.get_state()[1] == before[0]).all()
    assert torch.equal(torch.get_rng_state(), before[1])


@pytest.mark.parametrize("name", ["cma", "openai", "ga"])
def test_all_candidates_of_a_generation_share_a_batch(name):
    objective = Quadratic(noise=1.0)
    run(name, objective)
    sizes = [count for count, _ in objective.scored if count > 1]
    assert set(sizes) == {SEARCHERS[name].popsize}
    batches = [batch for count, batch in objective.scored if count > 1]
    assert len(set(batches)) == len(batches)  # and each generation has a new one


@pytest.mark.parametrize("name", ["cma", "openai", "ga"])
def test_candidates_whose_loss_is_not_finite_do_not_stop_the_search(name):
    steps = run(name, Quadratic(spoil=0.25))
    assert steps[-1].loss < 0.5 * steps[0].loss


@pytest.mark.parametrize("name", ["cma", "ga"])
def test_a_generation_without_one_finite_loss_is_reported_as_such(name):
    steps = run(name, Quadratic(spoil=1.0))
    assert math.isnan(steps[1].loss)


def test_a_large_gradient_is_clipped_to_the_given_norm():
    # With Adam's scale invariance clipping shows only when norms differ between updates.
    class Jump(Quadratic):
        def gradient(self, weights, batch):
            self.gradients += 1
            return 1.0, torch.full((SIZE,), 1.0 if self.gradients > 1 else 1e6)

    free = list(Adam(1, 0.1, 0.0).steps(Jump(), torch.zeros(SIZE), torch.Generator().manual_seed(0)))
    clipped = list(Adam(1, 0.1, 1.0).steps(Jump(), torch.zeros(SIZE), torch.Generator().manual_seed(0)))
    assert clipped[-1].weights.abs().min() > 2 * free[-1].weights.abs().max()


def test_centred_ranks_put_the_lowest_loss_first_and_ties_together():
    ranks = centred_ranks(torch.tensor([3.0, 1.0, torch.nan, 2.0, 2.0]))
    assert ranks.tolist() == [-0.25, 0.5, -0.5, 0.125, 0.125]


def test_the_openai_gradient_points_downhill():
    objective = Quadratic()
    steps = list(OpenAIES(1, 2000, 0.01, 0.1).steps(objective, torch.zeros(SIZE), torch.Generator().manual_seed(0)))
    assert (steps[1].weights > 0).all()  # Adam's first update is the sign of the gradient, the optimum is at +1


def test_the_spread_factor_has_the_density_of_deb_and_agrawal():
    eta = 3.0
    beta = sbx_spread(torch.rand(200_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64), eta)

    def cdf(b):
        return np.where(b <= 1, 0.5 * b ** (eta + 1), 1 - 0.5 / np.maximum(b, 1) ** (eta + 1))

    assert stats.kstest(beta.numpy(), cdf).pvalue > 0.01


def test_children_keep_the_mean_of_their_parents_and_half_the_weights_cross():
    generator = torch.Generator().manual_seed(0)
    one, two = torch.randn(2, 40, 50, generator=generator, dtype=torch.float64)
    left, right = crossover(one, two, 5.0, generator)
    torch.testing.assert_close(left + right, one + two)
    assert 0.45 < (left - one).abs().lt(1e-12).double().mean() < 0.55


def test_tournaments_of_one_are_a_lottery_and_large_ones_are_not():
    losses = torch.arange(8.0)
    generator = torch.Generator().manual_seed(0)
    lottery = tournament(losses, 8000, 1, generator).bincount(minlength=8)
    assert stats.chisquare(lottery.numpy()).pvalue > 0.01
    strict = tournament(losses, 8000, 4, generator).bincount(minlength=8).double() / 8000
    expected = [((8 - i) / 8) ** 4 - ((7 - i) / 8) ** 4 for i in range(8)]
    np.testing.assert_allclose(strict.numpy(), expected, atol=0.02)


def test_elites_survive_unchanged_and_are_scored_again():
    seen: list[torch.Tensor] = []

    class Watched(Quadratic):
        def losses(self, population, batch):
            seen.append(population.clone())
            return super().losses(population, batch)

    objective = Watched()
    list(GA(3, 8, 0.3, 2, 1.0, 5.0, 1.0, 0.1, 2).steps(objective, torch.zeros(SIZE), torch.Generator().manual_seed(0)))
    first, second = seen[1], seen[2]
    best = first[((first - 1) ** 2).sum(1).argsort()[:2]]
    assert torch.equal(second[:2], best)
    assert torch.equal(first[0], torch.zeros(SIZE))  # the initial network is in the first population
