"""Damaged records of a study's folder: what they stand for runs again, whatever they say."""

import copy
import json
import random

import pytest
from fuzzing import spoilt, value
from made_up import ROOT

from transformer_spectrum.config.load import parse_params, read_tree
from transformer_spectrum.config.tree import put
from transformer_spectrum.runtime.files import atomic_folder
from transformer_spectrum.study.running import results
from transformer_spectrum.study.running.grid import Cell
from transformer_spectrum.study.running.store import RECORD, Store, own_names
from transformer_spectrum.study.running.work import WINDOWS_FILES, make_windows, train_cells

FEW = {"data.synthetic.series": 20, "adam.epochs": 1, "device": "cpu", "model.embed_dim": 8, "model.layers": 1}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A store with one training in it, whole."""
    tree = read_tree(ROOT / "params.yaml")
    for name, few in FEW.items():
        put(tree, name, few)
    cell = Cell("synthetic", "light", "mse", "adam", 1, parse_params(tree))
    store = Store(tmp_path_factory.mktemp("store"))
    results.put_windows(store, cell, made := make_windows(cell, {}))
    (files,) = train_cells([cell], [None], [0], {name: made[name] for name in WINDOWS_FILES})
    request = results.asked_training(store, cell)
    results.put_training(store, cell, files, request)
    return store, cell, request


def damaged(record, chance):
    """Bytes of a record with a leaf or a branch changed, lost or renamed, or with a few of its bytes changed."""
    record = copy.deepcopy(record)
    node = record
    while isinstance(node, dict) and node:
        key = chance.choice(list(node))
        if isinstance(node[key], dict) and chance.random() < 0.8:
            node = node[key]
            continue
        match chance.randrange(3):
            case 0:
                del node[key]
            case 1:
                node[f"{key}x"] = node.pop(key)
            case _:
                node[key] = value(chance)
        break
    content = json.dumps(record).encode()
    return spoilt(content, chance) if chance.random() < 0.3 else content


@pytest.mark.parametrize("kind", ["training", "windows"])
def test_a_damaged_record_is_a_fault_in_one_sentence_or_says_what_it_said(trained, kind):
    store, cell, request = trained
    asked = {"training": request, "windows": results.asked_windows(store, cell)}[kind]
    judge = {"training": results.training_fault, "windows": results.windows_fault}[kind]
    path = getattr(store, kind)(cell) / RECORD
    whole = path.read_bytes()
    record = json.loads(whole)
    assert judge(store, cell, asked) == ""
    found = 0
    try:
        for trial in range(400):
            path.write_bytes(damaged(record, random.Random(trial)))
            why = judge(store, cell, asked)
            assert "\n" not in why
            found += bool(why)
            if not why and kind == "training":  # of windows nothing but the files is ever read
                assert json.loads(path.read_text())["outcome"] == record["outcome"]
            assert RECORD in own_names(path.parent)
    finally:
        path.write_bytes(whole)
    assert found > 200


def test_an_outcome_that_is_not_that_of_the_history_is_damage(trained):
    store, cell, request = trained
    path = store.training(cell) / RECORD
    whole = path.read_text()
    record = json.loads(whole)
    record["outcome"]["best_validation_mae"] *= 0.5
    path.write_text(json.dumps(record))
    assert results.training_fault(store, cell, request) == f"{path} is damaged"
    path.write_text(whole)
    assert results.training_fault(store, cell, request) == ""


def test_what_a_killed_sweep_has_left_is_swept_out_under_the_name_that_it_was_written_under(tmp_path):
    store = Store(tmp_path)
    (tmp_path / "windows/heavy/seed_1").mkdir(parents=True)
    left = []
    with atomic_folder(tmp_path / "windows/heavy/seed_2"):
        left += [path.name for path in (tmp_path / "windows/heavy").iterdir() if path.name.startswith(".")]
    (tmp_path / "windows/heavy" / left[0]).mkdir()  # as if that process had been killed before it was in place
    store.sweep_out()
    assert sorted(path.name for path in (tmp_path / "windows/heavy").iterdir()) == ["seed_1", "seed_2"]
