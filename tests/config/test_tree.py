"""Dotted names and trees: the one module that walks them."""

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from transformer_spectrum.config import tree
from transformer_spectrum.config.load import PARAMETERS, load_params

ROOT = Path(__file__).parents[2]
COMMITTED = yaml.safe_load((ROOT / "params.yaml").read_text())
NAMES = st.lists(st.text("abc", min_size=1, max_size=2), min_size=1, max_size=3).map(".".join)


def test_flatten_and_nest_are_inverse_and_name_every_parameter():
    values = tree.flatten(COMMITTED)
    assert tree.nest(values) == COMMITTED
    assert set(values) == set(PARAMETERS)


@given(st.dictionaries(NAMES, st.integers(), max_size=8))
def test_any_values_none_of_which_lies_inside_another_come_back(values):
    values = {name: value for name, value in values.items() if not tree.sections([name]) & set(values)}
    assert tree.flatten(tree.nest(values)) == values


def test_flatten_descends_into_the_sections_alone_that_it_is_told():
    content = {"loss": {"q": {"deep": 1}}, "foo": {"bar": 2}}
    assert tree.flatten(content, into={"loss"}) == {"loss.q": {"deep": 1}, "foo": {"bar": 2}}


def test_get_reads_trees_and_models_alike():
    params = load_params(ROOT / "params.yaml")
    for name, value in tree.flatten(COMMITTED).items():
        read = tree.get(params, name)
        assert (list(read) if isinstance(read, tuple) else read) == value == tree.get(COMMITTED, name)
    for holder in (params, COMMITTED):
        for name in ("loss.qq", "los.q"):
            with pytest.raises(KeyError):
                tree.get(holder, name)


def test_put_refuses_a_name_inside_a_value():
    with pytest.raises(TypeError, match=r"loss\.q: loss is a value and no section"):
        tree.put({"loss": 3}, "loss.q", 5.0)


def test_merge_takes_leaves_of_the_last_overlay_and_leaves_its_arguments_alone():
    base, overlay = {"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 4}}
    assert tree.merge(base, overlay, {"a": {"b": 5}, "d": {"e": 6}}) == {"a": {"b": 5, "c": 2}, "d": {"e": 6}}
    assert (base, overlay) == ({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 4}})


def test_no_other_module_takes_names_of_parameters_apart():
    rooms = ("config", "training", "tracking", "study", "cli", "data", "runtime")
    paths = [path for room in rooms for path in (ROOT / "src/transformer_spectrum" / room).rglob("*.py")]
    for path in [*paths, *(ROOT / "stages").glob("*.py"), *(ROOT / ".ci").glob("*.py")]:
        if path.name != "tree.py":
            assert not re.search(r"""r?(split|partition)\(["']\.["']""", path.read_text()), path
