"""Grids: what they ask for, and what is wrong with those that ask for nothing sensible."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from transformer_spectrum.config.resolve import assigned
from transformer_spectrum.config.tree import nest
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.study.running import grid as grids

ROOT = Path(__file__).parents[2]
LOSSES = {
    "sgt_wide": ("sgt", 15.0, 1.001),
    "sgt_q100": ("sgt", 0.707, 100.0),
    "sgt_q5": ("sgt", 0.707, 5.0),
    "sgt_q20": ("sgt", 0.707, 20.0),
    "sgt_q75": ("sgt", 0.707, 75.0),
    "mse": ("mse", None, None),
    "mae": ("mae", None, None),
    "cauchy": ("cauchy", None, None),
}


def cells_of(path, base, runs=1, **options):
    return grids.cells(grids.load_grid(str(path)), base, runs=runs, **options)


@pytest.mark.parametrize(("name", "datasets"), [("synthetic", 4), ("covid", 1), ("rvr", 2)])
def test_the_named_grids_have_eight_losses_three_optimizers_and_a_seed_for_each_run(name, datasets, base, monkeypatch):
    monkeypatch.chdir(ROOT)
    cells = cells_of(name, base, runs=2)
    assert len(cells) == len({cell.place for cell in cells}) == datasets * 8 * 3 * 2
    for cell in cells:
        kind, sigma, q = LOSSES[cell.loss]
        assert cell.params.loss.type == kind
        if kind == "sgt":
            assert (cell.params.loss.sigma, cell.params.loss.q) == (sigma, q)
        assert cell.params.seed == cell.seed
    assert {cell.seed for cell in cells} == {base.seed, base.seed + 1}
    assert {cell.optimizer for cell in cells} == {"adam", "es", "ga"}


def test_the_synthetic_grid_has_light_and_heavy_tails_each_with_and_without_smoothing(base, monkeypatch):
    monkeypatch.chdir(ROOT)
    found = {cell.dataset: cell.params.data.synthetic for cell in cells_of("synthetic", base)}
    assert {name: (one.sigma, one.q, one.kernel.type) for name, one in found.items()} == {
        "narrow": (0.707, 100.0, "none"),
        "wide": (15.0, 1.001, "none"),
        "narrow_smooth": (0.707, 100.0, "cosine_gaussian"),
        "wide_smooth": (15.0, 1.001, "cosine_gaussian"),
    }
    assert {found[name].kernel.size for name in ("narrow_smooth", "wide_smooth")} == {15}


@pytest.mark.parametrize(("name", "expected"), [("covid", {"covid"}), ("rvr", {"rvr_beds", "rvr_flu"})])
def test_the_grids_of_real_data_ask_for_them(name, expected, base, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert {cell.params.data.dataset for cell in cells_of(name, base)} == expected


def test_cells_of_one_seed_and_data_set_differ_in_loss_and_optimizer_alone(base, monkeypatch):
    monkeypatch.chdir(ROOT)
    for dataset in ("narrow", "wide_smooth"):
        rest = {
            cell.params.model_dump_json(exclude={"loss"})
            for cell in cells_of("synthetic", base)
            if cell.dataset == dataset
        }
        assert len(rest) == 1


def test_more_runs_only_add_cells_behind_the_others(write_grid, base):
    few, many = (cells_of(write_grid(), base, runs=runs) for runs in (2, 5))
    assert [cell.key for cell in many[: len(few)]] == [cell.key for cell in few]


def test_later_parameters_win_over_earlier_ones(write_grid, base, smoke):
    path = write_grid(set={"model": {"embed_dim": 32}, "adam": {"epochs": 7}})
    cell = cells_of(path, base, overlay=smoke, settings=nest(assigned(["adam.epochs=9", "seed=40"])))[0]
    assert cell.params.model.embed_dim == 16  # of the overlay
    assert cell.params.adam.epochs == 9
    assert cell.params.data.synthetic.series == 30  # of the data set, against 60 in the overlay
    assert (cell.params.seed, cell.seed) == (40, 40)


def test_every_cell_computes_in_one_thread(write_grid, base):
    path = write_grid(set={"threads": 2, "training": {"workers": 2}})
    assert {(cell.params.threads, cell.params.training.workers) for cell in cells_of(path, base)} == {(1, 1)}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dataset": {}}, "tiny.yaml: dataset: unknown key; did you mean datasets?"),
        ({"losses": {}}, "tiny.yaml: losses: must map at least one name to its parameters"),
        ({"losses": {"MSE!": {}}}, "tiny.yaml: losses: 'MSE!': must be lower-case letters and digits"),
        (
            {"losses": {"a": {"loss": {"qq": 3}}}},
            "tiny.yaml: losses: a: loss.qq: unknown parameter; did you mean loss.q?",
        ),
        (
            {"losses": {"a": {"loss": {"q": 0.8}}}},
            "loss a: loss.q = 0.8 with loss.p = 2: the SGT variance needs p*q > 2",
        ),
        ({"losses": {"a": {"data": {"stride": 3}}}}, "losses: a: data: must be one of loss, adam, es, ga"),
        ({"losses": {"a": 3}}, "tiny.yaml: losses: a: must be a mapping of parameters"),
        ({"losses": {"a": {}, "b": {}}}, "tiny.yaml: losses a and b: the same parameters"),
        ({"datasets": {"a": {"loss": {"q": 3}}}}, "datasets: a: loss: must be one of data, model"),
        ({"datasets": {"a": {"data": {"dataset": "covd"}}}}, "data set a, loss mse: data.dataset = 'covd'"),
        ({"set": {"seed": 3}}, "tiny.yaml: set: seed"),
        ({"optimizers": ["adam", "sgd"]}, "tiny.yaml: optimizers = ['adam', 'sgd']: must be some of adam, es, ga"),
        ({"optimizers": ["adam", "adam"]}, "each once"),
    ],
)
def test_a_bad_grid_is_one_line_that_names_the_file_and_the_rule(write_grid, base, changes, words):
    with pytest.raises(InputError, match=re.escape(words)) as raised:
        cells_of(write_grid(**changes), base)
    assert "\n" not in str(raised.value)


def test_a_rule_that_only_one_cell_breaks_is_found_before_anything_runs(write_grid, base):
    datasets = {
        "fine": {"data": {"dataset": "synthetic"}},
        "odd": {"data": {"dataset": "synthetic", "output_length": 61}},
    }
    with pytest.raises(InputError, match=r"data set odd, loss mse: model\.patch_length = 12"):
        cells_of(write_grid(datasets=datasets), base)


@pytest.mark.parametrize(
    ("items", "words"),
    [
        (["loss.q=3"], "--set loss.q: loss sgt_q5 of"),
        (["data.synthetic.q=3"], "--set data.synthetic.q: data set narrow of"),
        (["adam.epoch=3"], "adam.epoch: unknown parameter; did you mean adam.epochs?"),
        (["adam.epochs"], "--set adam.epochs: must be key=value"),
        (["adam.epochs=[3"], "--set adam.epochs=[3: not a YAML value"),
    ],
)
def test_a_bad_setting_is_one_line(write_grid, base, items, words):
    with pytest.raises(InputError, match=re.escape(words)):
        cells_of(write_grid(), base, settings=nest(assigned(items)))


def test_an_unknown_grid_is_named_with_a_guess(monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(InputError, match=r"grid = synthetc: .* did you mean synthetic\?"):
        grids.load_grid("synthetc")
    with pytest.raises(InputError, match=r"none\.yaml: no such file"):
        grids.load_grid("none.yaml")


def test_the_packages_own_grids_are_there_in_every_folder_and_those_of_the_folder_win(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in ("covid", "rvr", "synthetic"):
        assert grids.load_grid(name) == replace(
            grids.load_grid(str(ROOT / f"studies/grids/{name}.yaml")), source=grids.load_grid(name).source
        )
    (tmp_path / "studies/grids").mkdir(parents=True)
    tree = yaml.safe_load((ROOT / "studies/grids/covid.yaml").read_text())
    (tmp_path / "studies/grids/covid.yaml").write_text(yaml.safe_dump({**tree, "title": "mine"}))
    assert grids.load_grid("covid").title == "mine"


@pytest.mark.parametrize(("runs", "optimizers"), [(0, None), (1, ["sgd"]), (1, [""])])
def test_bad_runs_and_optimizers_are_named(write_grid, base, runs, optimizers):
    with pytest.raises(InputError, match=r"--runs = 0|--optimizers = "):
        cells_of(write_grid(), base, runs=runs, optimizers=optimizers)
