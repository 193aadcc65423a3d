"""params.yaml and its schema: every range, every rule across parameters, one line for whatever is wrong."""

import copy
from pathlib import Path
from typing import Any

import annotated_types
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from transformer_spectrum.config.load import PARAMETERS, load_params, parse_params
from transformer_spectrum.config.tree import get, path, put
from transformer_spectrum.runtime.errors import InputError

ROOT = Path(__file__).parents[2]
TREE = yaml.safe_load((ROOT / "params.yaml").read_text())


def changed(name: str, value: Any, tree: dict = TREE) -> dict:
    tree = copy.deepcopy(tree)
    put(tree, name, value)
    return tree


def outside() -> list[tuple[str, float]]:
    """For every bound of every parameter a value just outside it."""
    cases = []
    for name, field in PARAMETERS.items():
        step = 1 if "int" in str(field.annotation) else 1e-6
        for rule in field.metadata:
            if isinstance(rule, annotated_types.Ge):
                cases.append((name, rule.ge - step))
            elif isinstance(rule, annotated_types.Gt):
                cases.append((name, rule.gt))
            elif isinstance(rule, annotated_types.Le):
                cases.append((name, rule.le + step))
            elif isinstance(rule, annotated_types.Lt):
                cases.append((name, rule.lt))
    return cases


def test_the_committed_parameters_are_valid():
    params = load_params(ROOT / "params.yaml")
    assert params.data.context + params.data.horizon == params.data.window_length


def test_most_parameters_have_a_range():
    assert len(outside()) > 60


@pytest.mark.parametrize(("name", "value"), outside())
def test_a_value_outside_its_range_is_an_error_that_names_it(name, value):
    with pytest.raises(InputError) as caught:
        parse_params(changed(name, value))
    assert name in str(caught.value)
    assert "must" in str(caught.value)


@pytest.mark.parametrize(("name", "field"), list(PARAMETERS.items()))
def test_a_value_of_the_wrong_type_is_an_error_that_names_it(name, field):
    with pytest.raises(InputError, match=name.replace(".", r"\.")):
        parse_params(changed(name, {"a": 1}))


@pytest.mark.parametrize(("name", "field"), list(PARAMETERS.items()))
def test_a_missing_parameter_is_an_error_that_names_it(name, field):
    tree = copy.deepcopy(TREE)
    *sections, last = path(name)
    del (get(tree, ".".join(sections)) if sections else tree)[last]
    with pytest.raises(InputError, match=name.replace(".", r"\.")):
        parse_params(tree)


@pytest.mark.parametrize(("name", "field"), list(PARAMETERS.items()))
def test_every_parameter_is_described_and_commented(name, field):
    assert field.description
    last = name.split(".")[-1]
    lines = [line for line in (ROOT / "params.yaml").read_text().splitlines() if line.strip().startswith(f"{last}:")]
    assert lines
    assert last == "url" or any("#" in line for line in lines)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"loss.q": 0.8}, "loss.q = 0.8 with loss.p = 2: the SGT variance needs p*q > 2"),
        ({"loss.q": 0.4, "loss.unit_variance": False}, "the SGT mean needs p*q > 1"),
        ({"data.synthetic.q": 1.0}, "data.synthetic.q = 1 with data.synthetic.p = 2"),
        ({"model.heads": 5}, "model.heads = 5 with model.embed_dim = 64: must divide it"),
        ({"data.output_length": 300}, "data.output_length = 300 with data.sequence_length = 300"),
        ({"model.patch_length": 7}, "model.patch_length = 7 with a context of 240 steps"),
        ({"data.split.test": 0.9}, "must leave a share for training"),
        ({"es.popsize": 33}, "es.popsize = 33: must be even"),
        ({"ga.elites": 16}, "ga.elites = 16 with ga.popsize = 16"),
        ({"ga.tournament_size": 17}, "ga.tournament_size = 17 with ga.popsize = 16"),
        ({"adam.algorithm": "sgdm"}, "adam.algorithm = 'sgdm': must be 'adam', 'adamw', 'sgd', 'lion'"),
        ({"adam.algorithm": "sgd", "adam.beta1": 0.9}, "adam.beta1 = 0.9 with adam.algorithm = sgd: needs"),
        ({"adam.momentum": 0.9}, "adam.momentum = 0.9 with adam.algorithm = adam: needs sgd or muon"),
        ({"adam.nesterov": True}, "adam.nesterov = true with adam.algorithm = adam: needs sgd with momentum > 0"),
        (
            {"adam.algorithm": "sgd", "adam.nesterov": True, "adam.momentum": 0.0},
            "adam.algorithm = sgd and adam.momentum = 0: needs sgd with momentum > 0",
        ),
        ({"adam.beta2": 1.0}, "adam.beta2 = 1.0: must be less than 1"),
        ({"adam.patience": 0}, "adam.patience = 0: must be"),
        ({"spectra.window_first": 0.6}, "spectra.window_first = 0.6 with spectra.window_last = 0.5"),
        ({"data.synthetic.length": 299}, "data.synthetic.length = 299 with data.sequence_length = 300"),
        ({"loss.q": float("nan")}, "loss.q"),
        ({"loss.sigma": float("inf")}, "loss.sigma = inf: must be finite"),
        ({"adam.epochs": True}, "adam.epochs = True: must be a whole number"),
        ({"adam.epochs": 3.0}, "adam.epochs = 3.0: must be a whole number"),
        ({"loss.centred": 1}, "loss.centred = 1: must be true or false"),
        ({"data.dataset": "flu"}, "data.dataset = 'flu'"),
    ],
)
def test_a_broken_rule_is_told_in_one_line(changes, words):
    tree = TREE
    for name, value in changes.items():
        tree = changed(name, value, tree)
    with pytest.raises(InputError) as caught:
        parse_params(tree)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_parameter_is_an_error_with_a_suggestion():
    with pytest.raises(InputError, match=r"loss\.qq: unknown parameter; did you mean loss\.q\?"):
        parse_params(changed("loss.qq", 3))


@pytest.mark.parametrize(("text", "value"), [(".inf", float("inf")), ("inf", float("inf")), ("1e1", 10.0)])
def test_numbers_that_yaml_reads_as_text_are_numbers(text, value):
    assert parse_params(changed("loss.q", text)).loss.q == value


def test_the_gaussian_limit_is_allowed():
    assert parse_params(changed("loss.q", float("inf"))).loss.q == float("inf")


@pytest.mark.parametrize("content", ["", "- 1", "seed: [", "a: 1\n\tb: 2", "\x00"])
def test_a_file_that_is_no_mapping_is_a_one_line_error(content, tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(content)
    with pytest.raises(InputError, match=r"params\.yaml"):
        load_params(path)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        load_params(tmp_path / "params.yaml")


LEAVES = list(PARAMETERS)


@given(st.sampled_from(LEAVES), st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5))
def test_any_value_is_either_accepted_or_told_in_one_line(name, value):
    try:
        parse_params(changed(name, value))
    except InputError as error:
        assert "\n" not in str(error).replace(repr(value), "")


def test_a_data_set_may_override_the_window():
    params = parse_params(changed("data.dataset", "rvr_beds"))
    assert (params.data.window_length, params.data.horizon, params.data.context) == (180, 36, 144)
