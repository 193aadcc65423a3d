"""The genetic algorithm's operators against theory and pymoo, and the whole of it against pymoo's."""

import math

import numpy as np
import pytest
import torch
from pymoo.algorithms.soo.nonconvex.ga import GA as PymooGA
from pymoo.core.population import Population as PymooPopulation
from pymoo.core.problem import Problem
from pymoo.operators.crossover.sbx import SBX
from pymoo.operators.mutation.gauss import GaussianMutation
from pymoo.optimize import minimize
from pymoo.problems import get_problem
from scipy import stats

from transformer_spectrum.optimizers import ga as module
from transformer_spectrum.optimizers.ga import GA, cross, diversity, log_spread, mutated, random_bits, tournament


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def bred(population, losses, seed=0, **changes):
    """The next generation; by default nothing happens but selection."""
    settings = {"tournament_size": 1, "crossover_rate": 0.0, "crossover_eta": 5.0, "mutation_rate": 0.0}
    method = GA(1, len(population), 0.0, **{**settings, "mutation_stdev": 0.0, "elites": 0, **changes})
    after = population.clone()
    method._breed(after, losses, method.mutation_stdev, seeded(seed))
    return after


# -- crossover -------------------------------------------------------------------------------------------------------
def test_half_of_the_weights_cross_and_their_spread_has_the_density_of_deb_and_agrawal():
    eta = 3.0
    beta = log_spread(random_bits(100, 2000, seeded()), eta).exp().flatten().double().numpy()
    crossed = beta[beta != 1]
    assert stats.binomtest(len(crossed), 200_000, 0.5).pvalue > 0.01

    def cdf(b):  # 0.5 (eta + 1) b^eta up to 1, 0.5 (eta + 1) b^-(eta + 2) above
        return np.where(b <= 1, 0.5 * b ** (eta + 1), 1 - 0.5 / np.maximum(b, 1) ** (eta + 1))

    assert stats.kstest(crossed, cdf).pvalue > 0.01


def test_extreme_bits_give_finite_spreads():
    ends = torch.tensor([-(2**31), -1, 0, 1, 2**31 - 1, 2**30 - 1, 2**30], dtype=torch.int32)
    spread = log_spread(ends, 0.0)
    assert torch.isfinite(spread).all()
    assert spread[[0, 4]].tolist() == [0, 0]
    assert float(spread.abs().max()) == pytest.approx(31 * math.log(2), rel=1e-6)


def test_random_bits_are_uniform_on_all_their_values():
    bits = random_bits(301, 333, seeded())
    assert bits.shape == (301, 333)
    assert bits.dtype == torch.int32
    assert stats.kstest((bits.flatten().double().numpy() + 2**31) / 2**32, "uniform").pvalue > 0.01
    for shift in (0, 7, 31):
        assert stats.binomtest(int(((bits >> shift) & 1).sum()), bits.numel(), 0.5).pvalue > 0.01


def test_the_spread_of_children_is_that_of_pymoos_crossover():
    eta, count = 7.0, 40_000
    ours = torch.tensor([[0.0], [1.0]]).repeat(1, count)
    one, two = ours[:1], ours[1:]
    cross(one, two, eta, seeded())
    ours = (two - one).abs().flatten().double().numpy()
    parents = PymooPopulation.new("X", np.stack([np.zeros(count), np.ones(count)]))
    wide = Problem(n_var=count, xl=-1e9, xu=1e9)  # its bounds reshape the spread near them
    operator = SBX(prob=1.0, prob_var=0.5, eta=eta)
    theirs = operator.do(wide, parents, np.array([[0, 1]]), random_state=np.random.default_rng(0)).get("X")
    theirs = np.abs(theirs[1] - theirs[0])
    assert stats.ks_2samp(ours[ours != 1], theirs[np.abs(theirs - 1) > 1e-12]).pvalue > 0.01


def test_children_keep_the_mean_of_their_parents_and_half_of_the_weights_stay():
    parents = torch.randn(2, 40, 50, generator=seeded(), dtype=torch.float64)
    left, right = parents.clone()
    cross(left, right, 5.0, seeded(1))
    torch.testing.assert_close(left + right, parents.sum(0))
    assert 0.45 < float((left == parents[0]).double().mean()) < 0.55


def test_the_share_of_couples_that_cross_is_the_one_asked_for():
    population = torch.randn(20, 40, generator=seeded())
    crossed = 0
    for seed in range(200):
        children = bred(population, torch.zeros(20), seed, crossover_rate=0.3)
        crossed += int((~(children[:, None] == population[None]).all(2).any(1)).sum())
    # A couple of the same parent twice cannot be seen to cross: 1 in 20.
    assert abs(crossed / 4000 - 0.3 * 0.95) < 4 * math.sqrt(0.3 * 0.7 / 2000)


# -- mutation --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("rate", [1e-3, 0.1, 0.5, 0.95])
def test_each_place_mutates_with_the_given_probability_independently(rate):
    generator, places, trials = seeded(), 60, 4000
    hits = np.zeros((trials, places), dtype=int)
    for trial in range(trials):
        hits[trial, mutated(places, rate, generator).numpy()] = 1
    # Each place alike, and their number binomial, as only independent ones are.
    assert stats.binomtest(int(hits.sum()), hits.size, rate).pvalue > 0.01
    by_place = hits.sum(0)
    statistic = ((by_place - trials * rate) ** 2 / (trials * rate * (1 - rate))).sum()
    assert stats.chi2.sf(statistic, places) > 0.01
    counts = np.bincount(hits.sum(1), minlength=places + 1)
    expected = trials * stats.binom.pmf(np.arange(places + 1), places, rate)
    often = expected >= 5
    observed = np.append(counts[often], counts[~often].sum())
    assert stats.chisquare(observed, np.append(expected[often], expected[~often].sum())).pvalue > 0.005


def test_the_ends_of_the_mutation_rate():
    assert mutated(7, 0.0, seeded()).tolist() == []
    assert mutated(7, 1.0, seeded()).tolist() == list(range(7))
    assert mutated(0, 0.5, seeded()).tolist() == []
    assert len(mutated(1000, 1e-12, seeded())) == 0


def test_positions_are_ascending_and_within_bounds_when_they_come_in_several_draws():
    for seed in range(300):
        found = mutated(40, 0.9, seeded(seed))
        assert (found.diff() > 0).all()
        assert int(found[0]) >= 0
        assert int(found[-1]) < 40


def test_mutations_are_normal_with_the_given_deviation():
    children = bred(torch.zeros(20, 5000), torch.zeros(20), mutation_rate=0.2, mutation_stdev=0.7)
    changed = children[children != 0].double().numpy()
    assert stats.binomtest(len(changed), 100_000, 0.2).pvalue > 0.01
    assert stats.kstest(changed, stats.norm(0, 0.7).cdf).pvalue > 0.01


def test_the_deviation_decays_after_each_generation(Quadratic):
    seen = []

    class Watched(Quadratic):
        def losses(self, population, batch):
            if len(population) > 1:
                seen.append(population.clone())
            return super().losses(population, batch)

    method = GA(4, 20, 0.0, 1, 0.0, 5.0, 1.0, 0.1, 0, mutation_decay=0.1)
    list(method.steps(Watched(size=2000), torch.zeros(2000), seeded()))
    variances = [float(population.var()) for population in seen]
    # Without selection the variances of the generations' mutations add up.
    assert variances == pytest.approx([0, 0.01, 0.0101, 0.010101], rel=0.05)


# -- selection -------------------------------------------------------------------------------------------------------
def test_tournaments_of_one_are_a_lottery_and_large_ones_are_not():
    losses, generator = torch.arange(8.0), seeded()
    lottery = tournament(losses, 8000, 1, generator).bincount(minlength=8)
    assert stats.chisquare(lottery.numpy()).pvalue > 0.01
    strict = tournament(losses, 8000, 4, generator).bincount(minlength=8).double() / 8000
    expected = [((8 - i) / 8) ** 4 - ((7 - i) / 8) ** 4 for i in range(8)]
    np.testing.assert_allclose(strict.numpy(), expected, atol=0.02)


@pytest.mark.parametrize("elites", [0, 1, 2, 7])
def test_elites_come_first_and_the_others_are_copies_of_winners(elites):
    population = torch.randn(8, 300, generator=seeded())
    losses = torch.tensor([3.0, 1.0, 8.0, 2.0, 7.0, 6.0, 5.0, 4.0])
    children = bred(population, losses, elites=elites, tournament_size=3)
    assert torch.equal(children[:elites], population[losses.argsort()[:elites]])
    assert (children[:, None] == population[None]).all(2).any(1).all()


def test_elites_survive_unchanged_and_are_scored_again(Quadratic):
    seen = []

    class Watched(Quadratic):
        def losses(self, population, batch):
            seen.append(population.clone())
            return super().losses(population, batch)

    list(GA(3, 8, 0.3, 2, 1.0, 5.0, 1.0, 0.1, 2).steps(Watched(), torch.zeros(10), seeded()))
    first, second = seen[1], seen[2]
    best = first[((first - 1) ** 2).sum(1).argsort()[:2]]
    assert torch.equal(second[:2], best)
    assert len(second) == 8
    assert torch.equal(first[0], torch.zeros(10))  # the initial network is in the first population


def test_a_generation_tells_the_median_of_its_finite_losses_and_its_diversity(Quadratic):
    seen = []

    class Watched(Quadratic):
        def losses(self, population, batch):
            seen.append((population.clone(), super().losses(population, batch)))
            return seen[-1][1]

    steps = list(GA(3, 8, 0.3, 2, 1.0, 5.0, 1.0, 0.1, 2).steps(Watched(spoil=0.25), torch.zeros(10), seeded()))
    for step, (population, losses) in zip(steps[1:], seen[1:], strict=True):
        median = sorted(losses[losses.isfinite()].tolist())[2]  # of six the third
        diversity_now = pytest.approx(float(population.std(0).mean()), rel=1e-3)
        assert step.scalars == {"median_loss": median, "diversity": diversity_now}


# -- the whole -------------------------------------------------------------------------------------------------------
def test_the_mean_of_the_members_can_be_what_is_analysed(Quadratic):
    class Watched(Quadratic):
        def losses(self, population, batch):
            self.members = population.clone() if len(population) > 1 else getattr(self, "members", None)
            return super().losses(population, batch)

    settings = (20, 8, 0.3, 3, 0.9, 10.0, 0.2, 0.1, 1)
    objective = Watched(noise=0.5)
    means, members = [], list(GA(*settings).steps(Watched(noise=0.5), torch.zeros(10), seeded()))
    for step in GA(*settings, weights="mean").steps(objective, torch.zeros(10), seeded()):
        means.append(step)
        if step.index:
            assert torch.equal(step.weights, objective.members.mean(0))
            batch = objective.scored[-1]
            assert batch == (1, objective.scored[-2][1])  # the generation's own
            assert step.loss == float(objective.loss(step.weights[None], batch[1])[0])
    for step, member in zip(means[1:], members[1:], strict=True):  # what is analysed changes nothing else
        assert torch.equal(step.candidate, member.weights)
        assert (step.candidate_loss, step.scalars) == (member.loss, member.scalars)
        assert step.evaluations == member.evaluations + step.index
        assert member.candidate is None


def test_the_number_of_threads_does_not_change_the_result(monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 8 * 50)
    population, losses = torch.randn(8, 1234, generator=seeded()), torch.arange(8.0)
    settings = {"crossover_rate": 0.9, "mutation_rate": 0.1, "mutation_stdev": 0.1, "elites": 2}
    assert torch.equal(bred(population, losses, workers=1, **settings), bred(population, losses, workers=4, **settings))


def test_diversity_is_the_mean_standard_deviation(monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 32 * 9)
    population = 1000 + 0.01 * torch.randn(32, 100, generator=seeded(), dtype=torch.float64)
    assert diversity(population) == pytest.approx(float(population.std(0).mean()))
    assert diversity(population.float()) == pytest.approx(float(population.std(0).mean()), rel=0.01)
    assert diversity(torch.ones(4, 10)) == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sphere", "rastrigin", "rosenbrock"])
def test_it_gets_as_far_as_pymoos_algorithm_in_as_many_evaluations(name, Quadratic):
    size, popsize, generations = 10, 40, 100
    problem = get_problem(name, n_var=size)
    width = float(problem.xu[0] - problem.xl[0])

    class Known(Quadratic):
        def batch(self, generator):
            return None

        def losses(self, population, batch):
            return torch.from_numpy(problem.evaluate(population.double().numpy())).flatten()

    def ours(seed):
        start = torch.from_numpy(np.random.default_rng(seed).uniform(problem.xl, problem.xu)).float()
        method = GA(generations, popsize, width / 4, 5, 0.9, 15.0, 0.1, width / 10, 5)
        return list(method.steps(Known(), start, seeded(seed)))[-1].loss

    def theirs(seed):  # with the same operators; its survivors are the best of parents and children
        operators = {"crossover": SBX(prob=0.9, eta=15), "mutation": GaussianMutation(sigma=0.1, prob=1, prob_var=0.1)}
        method = PymooGA(pop_size=popsize, **operators)
        return float(minimize(problem, method, ("n_gen", generations), seed=seed).F[0])

    # Five, because pymoo's runs of one seed differ by a factor of three from call to call.
    reached, expected = (np.median([run(seed) for seed in range(5)]) for run in (ours, theirs))
    assert reached < 10 * expected  # the same order of magnitude; pymoo's survivors compete with their children
