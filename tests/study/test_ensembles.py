"""Which cells are trained together: closed forms of the rule."""

import dataclasses
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transformer_spectrum.config.load import load_params, parse_params
from transformer_spectrum.study.running.ensembles import MEMBERS, Shape, ensembles, group_key, members_at_most
from transformer_spectrum.study.running.grid import Cell

SHAPE = Shape(windows=700, context=240, horizon=60, features=1)
PARAMS = load_params("params.yaml")


def cell(seed=1, loss="mse", optimizer="adam", dataset="narrow", **sections):
    tree = PARAMS.model_dump()
    for name, values in sections.items():
        tree[name] |= values
    return Cell("study", dataset, loss, optimizer, seed, parse_params(tree))


def cut(cells, workers=1, members=None, shapes=None, kind="CPU"):
    shapes = shapes or {cell.place: SHAPE for cell in cells}
    return ensembles(cells, shapes, {cell.place: kind for cell in cells}, {kind: workers}, members)


@given(st.integers(1, 400), st.integers(1, 40), st.integers(1, 300))
def test_ensembles_are_as_large_as_the_bound_and_as_many_as_the_workers(count, workers, bound):
    size = members_at_most(count, workers, bound)
    assert 1 <= size <= bound
    assert size == bound or size * workers >= count > (size - 1) * workers


@given(st.integers(1, 60), st.integers(1, 5), st.integers(1, 20))
def test_every_cell_is_in_one_ensemble_and_sizes_differ_by_one_at_most(count, workers, members):
    cells = [cell(seed) for seed in range(count)]
    sizes = [len(ensemble.cells) for ensemble in cut(cells, workers, members)]
    assert sorted(sum((ensemble.cells for ensemble in cut(cells, workers, members)), ()), key=cells.index) == cells
    assert max(sizes) <= members
    assert max(sizes) - min(sizes) <= 1


def test_what_is_trained_together_shares_architecture_lengths_batches_and_optimizer():
    first = group_key(cell(), SHAPE)
    alike = [cell(seed=2), cell(loss="sgt"), cell(adam={"learning_rate": 0.1})]
    assert {group_key(changed, SHAPE) for changed in alike} == {first}
    unlike = [
        cell(optimizer="es"),
        cell(adam={"algorithm": "sgd"}),
        cell(model={"layers": 1}),
        cell(training={"batch_size": 16}),
    ]
    assert first not in {group_key(changed, SHAPE) for changed in unlike}
    shapes = [dataclasses.replace(SHAPE, context=239), dataclasses.replace(SHAPE, features=2)]
    assert first not in {group_key(cell(), shape) for shape in shapes}
    assert group_key(cell(), dataclasses.replace(SHAPE, windows=9)) == first


def test_cells_with_as_many_windows_stand_together():
    """A member with fewer batches waits in every epoch for those with more."""
    cells = [cell(seed, dataset=dataset) for seed in range(4) for dataset in ("short", "long")]
    shapes = {item.place: dataclasses.replace(SHAPE, windows=10 if item.dataset == "short" else 99) for item in cells}
    assert [Counter(item.dataset for item in group.cells) for group in cut(cells, members=4, shapes=shapes)] == [
        {"short": 4},
        {"long": 4},
    ]


def test_an_accelerator_takes_larger_ensembles():
    cells = [cell(seed) for seed in range(300)]
    assert max(len(ensemble.cells) for ensemble in cut(cells)) == MEMBERS["CPU"]
    assert [len(ensemble.cells) for ensemble in cut(cells, kind="GPU")] == [150, 150]
    assert MEMBERS["GPU"] > MEMBERS["CPU"]


@pytest.mark.parametrize("workers", [1, 3])
def test_the_same_cells_are_cut_in_the_same_way(workers):
    cells = [cell(seed, optimizer=optimizer) for seed in range(7) for optimizer in ("adam", "es")]
    first = cut(cells, workers)
    assert first == cut(cells, workers)
    assert [ensemble.cells[0].seed for ensemble in first] == sorted(ensemble.cells[0].seed for ensemble in first)
