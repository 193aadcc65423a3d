"""One contract, every searcher, several problems."""

import functools
import inspect
import itertools
import math
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load, save

from transformer_spectrum.config.schema import AdamParams, ESParams
from transformer_spectrum.models.forecaster import Layout
from transformer_spectrum.optimizers.evolution.cma_es import CMA
from transformer_spectrum.optimizers.evolution.openai_es import OpenAIES
from transformer_spectrum.optimizers.evolution.sep_cma import SepCMA
from transformer_spectrum.optimizers.evolution.snes import SNES
from transformer_spectrum.optimizers.evolution.strategies import STRATEGIES
from transformer_spectrum.optimizers.ga import GA
from transformer_spectrum.optimizers.gradient.adam import Adam
from transformer_spectrum.optimizers.gradient.algorithms import OWN, RULES, descent
from transformer_spectrum.optimizers.gradient.blocks import Block
from transformer_spectrum.optimizers.gradient.descent import Descent
from transformer_spectrum.optimizers.gradient.lion import Lion
from transformer_spectrum.optimizers.gradient.muon import Muon
from transformer_spectrum.optimizers.gradient.sgd import SGD
from transformer_spectrum.optimizers.gradient.soap import SOAP

SIZE = 10
LAYOUT = Layout(torch.nn.Linear(SIZE - 1, 1))
SEARCHERS = {
    "adam": Descent(Adam(), epochs=40, learning_rate=0.05),
    "adamw": Descent(Adam(decoupled=True, weight_decay=0.01), epochs=40, learning_rate=0.05),
    "adam without momentum": Descent(Adam(beta1=0.0), epochs=40, learning_rate=0.01),
    "sgd": Descent(SGD(), epochs=40, learning_rate=0.005),
    "sgd nesterov": Descent(SGD(nesterov=True), epochs=40, learning_rate=0.005),
    "lion": Descent(Lion(), epochs=40, learning_rate=0.005),
    "muon": Descent(Muon((Block(0, (3, 3)),)), epochs=40, learning_rate=0.05),
    "soap": Descent(SOAP((Block(0, (3, 3)),)), epochs=40, learning_rate=0.05),
    "cma": CMA(generations=80, popsize=16, sigma=0.2),
    "cma vd": CMA(generations=80, popsize=16, sigma=0.2, covariance="vd"),
    "cma vkd": CMA(generations=80, popsize=16, sigma=0.2, covariance="vkd"),
    "cma full": CMA(generations=80, popsize=16, sigma=0.2, covariance="full"),
    "sep_cma": SepCMA(generations=80, popsize=16, sigma=0.2),
    "openai": OpenAIES(generations=120, popsize=32, sigma=0.05, learning_rate=0.05),
    "openai sgd": OpenAIES(150, 32, 0.1, learning_rate=0.03, optimizer="sgd", weight_decay=0.01, sigma_decay=0.999),
    "openai low rank": OpenAIES(120, 32, 0.05, learning_rate=0.05, rank=1, shapes=((3, 3), (1,))),
    "snes": SNES(generations=120, popsize=16, sigma=0.2),
    "ga": GA(120, 32, 0.3, 3, 0.9, 10.0, 0.2, 0.1, 2),
    "ga mean": GA(120, 32, 0.3, 3, 0.9, 10.0, 0.2, 0.1, 2, weights="mean"),
}
PARAMS = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text())
CHOSEN = PARAMS["es"] | {"generations": 80, "popsize": 16, "sigma": 0.2}


def strategy(name):
    """What es.algorithm = name makes, with the other parameters as committed."""
    return STRATEGIES[name](ESParams(**{**CHOSEN, "algorithm": name}), LAYOUT)


def gradient_method(name):
    """What adam.algorithm = name makes, with the other parameters as committed."""
    return descent(AdamParams(**{**PARAMS["adam"], "algorithm": name, "epochs": 40}), LAYOUT)


OTHERS = [name for name in STRATEGIES if name not in SEARCHERS]
SEARCHERS |= {name: strategy(name) for name in OTHERS}
GRADIENT = list(RULES)
SEARCHERS |= {name: gradient_method(name) for name in RULES if name not in SEARCHERS}
METHODS = [
    *GRADIENT,
    "cma",
    "sep_cma",
    "openai",
    "openai low rank",
    "snes",
    "ga",
    "ga mean",
    *OTHERS,
]  # no variants of another
every = pytest.mark.parametrize("name", SEARCHERS)
every_method = pytest.mark.parametrize("name", METHODS)
every_population = pytest.mark.parametrize("name", [name for name in METHODS if name not in GRADIENT])
every_strategy = pytest.mark.parametrize("name", [name for name in METHODS if name not in (*GRADIENT, "ga")])


def run(name, objective, seed=0, weights=None, most=None):
    weights = torch.zeros(SIZE) if weights is None else weights
    steps = SEARCHERS[name].steps(objective, weights, torch.Generator().manual_seed(seed))
    return list(itertools.islice(steps, most))


@pytest.fixture(scope="module")
def whole(Quadratic):
    """Searcher, condition -> all the steps of its search, made once for all tests."""
    return functools.cache(lambda name, condition=1.0: run(name, Quadratic(condition)))


RESUMED = (0, 1, 2, 3, 7, 33)
"""Steps from which a search goes on."""


@pytest.fixture(scope="module")
def noisy(Quadratic):
    """Searcher -> the first steps of its search, and of each of RESUMED the state as a file and that of the draws."""

    @functools.cache
    def searched(name):
        generator, steps, states = torch.Generator().manual_seed(0), [], {}
        search = SEARCHERS[name].steps(Quadratic(10.0, noise=0.5), torch.zeros(SIZE), generator)
        for number, step in enumerate(itertools.islice(search, RESUMED[-1] + 13)):
            steps.append(step)
            if number in RESUMED:  # what a file read without pickle can hold
                states[number] = save(dict(step.state())), generator.get_state()
        return steps, states

    return searched


def test_every_strategy_that_can_be_asked_for_is_made_and_passes_the_contract():
    assert set(get_args(ESParams.model_fields["algorithm"].annotation)) == set(STRATEGIES)
    assert set(STRATEGIES) <= set(METHODS)
    for name in STRATEGIES:
        made = strategy(name)
        assert isinstance(made, type(SEARCHERS[name]))
        for setting in ("generations", "popsize", "sigma"):
            assert getattr(made, setting) == CHOSEN.get(setting, PARAMS["es"][setting]), (name, setting)


def test_every_gradient_method_that_can_be_asked_for_is_made_and_passes_the_contract():
    assert set(get_args(AdamParams.model_fields["algorithm"].annotation)) == set(RULES) == set(OWN)
    assert set(RULES) <= set(METHODS)
    for name in RULES:
        assert type(gradient_method(name).rule) is type(SEARCHERS[name].rule)


@every
@pytest.mark.parametrize("condition", [1.0, 10.0])
def test_a_searcher_minimises(name, condition, whole):
    steps = whole(name, condition)
    assert steps[-1].loss < 0.05 * steps[0].loss


@every_method
def test_step_zero_is_the_initial_weights_and_they_are_left_alone(name, Quadratic):
    weights = torch.linspace(-1, 1, SIZE)
    before = weights.clone()
    steps = run(name, Quadratic(), weights=weights, most=12)
    assert steps[0].index == 0
    assert torch.equal(steps[0].weights, before)
    assert torch.equal(weights, before)


@every_method
def test_indices_count_up_and_evaluations_never_fall(name, Quadratic):
    steps = run(name, Quadratic(), most=12)
    updates = [0, 1, 2, 4, 8, 16, *range(20, 140, 20)] if name in GRADIENT else range(12)
    assert [step.index for step in steps] == list(updates)
    assert all(a.evaluations < b.evaluations for a, b in itertools.pairwise(steps))
    inside = [step.index for step in steps if not step.ends_round]
    assert inside == ([1, 2, 4, 8, 16] if name in GRADIENT else [])


@every
def test_evaluations_are_what_the_objective_was_asked_for(name, Quadratic):
    objective = Quadratic()
    steps = run(name, objective, most=12)
    asked = sum(count for count, _ in objective.scored) + 3 * objective.gradients
    assert steps[-1].evaluations == asked


@every
def test_steps_keep_their_weights_when_the_search_goes_on(name, Quadratic):
    kept = []
    steps = SEARCHERS[name].steps(Quadratic(), torch.zeros(SIZE), torch.Generator().manual_seed(0))
    for step in itertools.islice(steps, 12):
        for vector in [step.weights, step.candidate, *step.state().values()]:
            if vector is not None:
                kept.append((vector, vector.clone()))
    assert all(torch.equal(one, copy) for one, copy in kept)
    assert not torch.equal(kept[0][0], step.weights)


@every_method
def test_the_same_generator_gives_the_same_search(name, Quadratic):
    one, two, other = (run(name, Quadratic(), seed, most=12) for seed in (0, 0, 1))
    assert all(torch.equal(a.weights, b.weights) for a, b in zip(one, two, strict=True))
    if name not in GRADIENT:  # this problem has no batches that a gradient could see differently
        assert not torch.equal(one[-1].weights, other[-1].weights)


@every_method
def test_global_random_state_is_left_alone(name, Quadratic):
    np.random.seed(3)
    torch.manual_seed(3)
    before = (np.random.get_state()[1].copy(), torch.get_rng_state())
    run(name, Quadratic(), most=12)
    assert (np.random.get_state()[1] == before[0]).all()
    assert torch.equal(torch.get_rng_state(), before[1])


@pytest.mark.slow
@every
@pytest.mark.parametrize("at", RESUMED)
def test_a_search_goes_on_from_any_step_as_if_never_stopped_bit_for_bit(name, at, Quadratic, noisy):
    steps, states = noisy(name)
    file, drawn = states[at]
    resumed = torch.Generator()
    resumed.set_state(drawn)
    rest = SEARCHERS[name].steps(Quadratic(10.0, noise=0.5), torch.zeros(SIZE), resumed, load(file))
    for expected, step in zip(steps[at + 1 : at + 13], itertools.islice(rest, 12), strict=True):
        assert (step.index, step.evaluations, step.loss) == (expected.index, expected.evaluations, expected.loss)
        assert torch.equal(step.weights, expected.weights)
        assert (step.scalars, step.ends_round) == (expected.scalars, expected.ends_round)
        assert step.candidate_loss == expected.candidate_loss


@every
def test_a_search_that_goes_on_leaves_the_state_that_it_was_given_alone(name, Quadratic):
    state = dict(run(name, Quadratic(10.0), most=4)[-1].state())
    before = {key: value.clone() for key, value in state.items()}
    list(itertools.islice(SEARCHERS[name].steps(Quadratic(10.0), torch.zeros(SIZE), torch.Generator(), state), 5))
    assert state.keys() == before.keys()
    assert all(torch.equal(state[key], before[key]) for key in before)


@every_population
def test_the_search_that_goes_on_ends_where_the_whole_one_does(name, Quadratic, whole):
    generator = torch.Generator().manual_seed(0)
    for step in itertools.islice(SEARCHERS[name].steps(Quadratic(), torch.zeros(SIZE), generator), 10):
        state = step.state()
    rest = list(SEARCHERS[name].steps(Quadratic(), torch.zeros(SIZE), generator, state))
    assert torch.equal(rest[-1].weights, whole(name)[-1].weights)
    assert len(rest) == len(whole(name)) - 10


@every_method
def test_every_searcher_has_the_signature_of_the_contract(name):
    names = list(inspect.signature(SEARCHERS[name].steps).parameters)
    assert names == ["objective", "weights", "generator", "state"]


@every_population
def test_all_candidates_of_a_generation_share_a_batch(name, Quadratic):
    objective = Quadratic(noise=1.0)
    run(name, objective, most=12)
    sizes = [count for count, _ in objective.scored if count > 1]
    assert set(sizes) == {SEARCHERS[name].popsize}
    batches = [batch for count, batch in objective.scored if count > 1]
    assert len(set(batches)) == len(batches)  # and each generation has a new one


@every_strategy
def test_the_best_candidate_stands_beside_the_mean(name, Quadratic):
    class Watched(Quadratic):
        def losses(self, population, batch):
            losses = super().losses(population, batch)
            if len(losses) > 1:
                self.lowest = float(losses.min())
            return losses

    objective = Watched()
    for step in SEARCHERS[name].steps(objective, torch.zeros(SIZE), torch.Generator().manual_seed(0)):
        if step.index:
            assert step.candidate_loss == objective.lowest
            assert float(objective.loss(step.candidate[None], 0.0)[0]) == pytest.approx(objective.lowest, rel=1e-6)
            assert not torch.equal(step.candidate, step.weights)
            assert float(objective.loss(step.weights[None], 0.0)[0]) == pytest.approx(step.loss, rel=1e-6)


@every_population
def test_candidates_whose_loss_is_not_finite_do_not_stop_the_search(name, Quadratic):
    steps = run(name, Quadratic(spoil=0.25))
    assert steps[-1].loss < 0.5 * steps[0].loss


@every_population
def test_a_generation_without_one_finite_loss_ends_the_search_with_a_reason(name, Quadratic):
    steps = run(name, Quadratic(spoil=1.0))
    assert len(steps) == 2
    assert math.isnan(steps[1].loss)
    assert steps[1].evaluations == 1 + SEARCHERS[name].popsize
    assert steps[1].stop_cause == "diverged"
    assert "diverged in generation 1" in steps[1].stop_reason


@every_population
def test_a_flat_loss_ends_the_search_with_a_reason(name, Quadratic):
    class Flat(Quadratic):
        def loss(self, vectors, batch):
            return torch.full((len(vectors),), 3.0)

    steps = run(name, Flat())
    assert len(steps) == 11
    assert steps[-1].stop_cause == "stagnated"
    assert "one and the same loss for 10 generations" in steps[-1].stop_reason
    assert not any(step.stop_reason or step.stop_cause for step in steps[:-1])


@every_method
def test_a_search_that_reaches_its_last_step_gives_no_reason_of_its_own(name, whole):
    assert whole(name, 10.0)[-1].stop_cause is None


@every_population
def test_double_precision_in_gives_double_precision_out(name, Quadratic):
    steps = run(name, Quadratic(), weights=torch.zeros(SIZE, dtype=torch.float64))
    assert steps[-1].weights.dtype == torch.float64
    assert steps[-1].loss < 0.05 * steps[0].loss
