"""Level and coverage on simulated studies: fewer of those that benchmarks/RESULTS.md has."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

PATH = Path(__file__).parents[3] / "benchmarks/inference.py"
STUDIES = 300


@pytest.fixture(scope="module")
def benchmark():
    specification = importlib.util.spec_from_file_location("inference_benchmark", PATH)
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    yield module
    del sys.modules[specification.name]


def within(share, expected):
    """Three standard errors of a share of so many studies."""
    return 3 * np.sqrt(expected * (1 - expected) / STUDIES) >= abs(share - expected)


@pytest.mark.parametrize("place", [0, 4, 5, 6, 7, 8])
def test_no_more_than_one_study_in_twenty_finds_what_is_not_there(benchmark, place):
    scenario = benchmark.SCENARIOS[place]
    result = benchmark.rates(scenario, STUDIES, seed=3)
    assert result.false < 0.05 or within(result.false, 0.05), scenario.name
    assert result.false > 0.005, "a test that never errs has no power either"
    assert result.coverage > 0.95 or within(result.coverage, 0.95), scenario.name
    assert result.false_null < 0.05 or within(result.false_null, 0.05), scenario.name
    if scenario.effect:
        assert 0.5 < result.power < 0.75


def test_a_test_of_each_contrast_alone_errs_more_often_than_the_family_may(benchmark):
    generator, scenario = np.random.default_rng(0), benchmark.SCENARIOS[0]
    families = [benchmark.family_test(scenario.differences(generator)) for _ in range(STUDIES)]
    assert np.mean([(family.p_values <= 0.05).any() for family in families]) > 0.12


def test_studies_of_one_seed_are_the_same(benchmark):
    scenario = benchmark.SCENARIOS[10]
    first, again = (benchmark.rates(scenario, 5, seed=4) for _ in range(2))
    assert (first.false, first.power, first.coverage) == (again.false, again.power, again.coverage)
