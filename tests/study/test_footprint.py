"""A training that cannot fit is refused before it begins, by what to change."""

import pytest

from transformer_spectrum.cli.main import main
from transformer_spectrum.config.load import load_params, parse_params, read_tree
from transformer_spectrum.config.tree import put
from transformer_spectrum.models.forecaster import Layout
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.memory import GIB, Free
from transformer_spectrum.study.running.grid import Cell
from transformer_spectrum.study.running.work import WINDOWS_FILES, make_windows, train_cells
from transformer_spectrum.training import build
from transformer_spectrum.training.footprint import OF_CANDIDATE, check_it_fits, footprint

SMALL = {"data.synthetic.series": 20, "device": "cpu"}
HUGE = {"model.embed_dim": 16384, "model.feedforward_dim": 32768}


def params_with(root, **changes):
    tree = read_tree(root / "params.yaml")
    for name, value in {**SMALL, **{name.replace("__", "."): value for name, value in changes.items()}}.items():
        put(tree, name, value)
    return parse_params(tree)


@pytest.fixture
def root(repository):
    return repository


@pytest.mark.parametrize("layers", [1, 2, 5])
@pytest.mark.parametrize("kind", ["transformer", "lstm"])
def test_it_counts_the_weights_that_the_network_has(root, kind, layers):
    params = params_with(root, model__type=kind, model__layers=layers)
    assert footprint(params, "adam", 3).weights == Layout(build.model(params, 3)).size


def test_the_arithmetic_is_of_sizes_that_no_machine_has(root):
    params = params_with(root, **{name.replace(".", "__"): value for name, value in HUGE.items()})
    whole = footprint(params, "adam", 1)
    assert whole.weights > 10**10
    assert whole.size > 1000 * GIB


def test_layers_without_end_are_counted_without_being_built(root):
    whole = footprint(params_with(root, model__layers=10**9), "adam", 1)
    two, three = (footprint(params_with(root, model__layers=layers), "adam", 1).weights for layers in (2, 3))
    assert whole.weights == two + (10**9 - 2) * (three - two)
    assert whole.size > 1000 * GIB


def test_a_deeper_network_holds_more_for_its_gradient_and_no_more_for_a_forward_pass(root):
    deep, shallow = (params_with(root, model__layers=layers) for layers in (16, 2))
    activations = "activations"
    ratio = footprint(deep, "adam", 1).parts[activations].size / footprint(shallow, "adam", 1).parts[activations].size
    assert 5 < ratio < 7  # measured: benchmarks/memory.py
    assert footprint(deep, "es", 1).parts[activations] == footprint(shallow, "es", 1).parts[activations]


@pytest.mark.parametrize("sizes", [{"embed_dim": 4 * 10**12}, {"feedforward_dim": 2**62}])
def test_a_matrix_beyond_counting_is_named(root, sizes):
    with pytest.raises(InputError, match=r"model\.embed_dim = .*: must be smaller; with 1 features a matrix has more"):
        footprint(params_with(root, **{f"model__{name}": value for name, value in sizes.items()}), "adam", 1)


@pytest.mark.parametrize(
    ("optimizer", "changes", "vectors"),
    [
        ("ga", {"ga__popsize": 1000}, 2000),
        ("es", {"es__algorithm": "cma", "es__popsize": 100}, 1500),
        ("es", {"es__algorithm": "openai", "es__popsize": 10_000}, 0),
        ("es", {"es__algorithm": "sep_cma", "es__popsize": 10_000}, 0),
    ],
)
def test_a_population_counts_where_its_members_are_kept(root, optimizer, changes, vectors):
    whole = footprint(params_with(root, **changes), optimizer, 1)
    popsize = next(value for name, value in changes.items() if name.endswith("popsize"))
    assert whole.parts["a population"].size == vectors * 4 * whole.weights + OF_CANDIDATE * popsize


@pytest.mark.parametrize(
    ("optimizer", "changes", "words"),
    [
        ("adam", {}, "are weights, gradients and what the rule keeps: make model.embed_dim, model.feedforward_dim or"),
        ("adam", {"training__snapshot_every": 1}, "are kept weights: make training.snapshot_every larger"),
        ("ga", {"ga__popsize": 500}, "are a population: make ga.popsize smaller"),
        ("adam", {"training__batch_size": 5000}, "are activations: make training.batch_size or data.sequence_length"),
    ],
)
def test_it_says_what_to_change(root, optimizer, changes, words):
    refusal = footprint(params_with(root, **changes), optimizer, 1).refusal(Free(2**20, "of this container"))
    assert "iB, and 1 MiB are free of this container; " in refusal
    assert words in refusal
    assert footprint(params_with(root, **changes), optimizer, 1).refusal(Free(2**60, "")) is None


def test_a_command_refuses_it_in_one_line_and_leaves_no_run(root, capsys):
    options = [word for name, value in {**SMALL, **HUGE}.items() for word in ("--set", f"{name}={value}")]
    with pytest.raises(SystemExit) as ended:
        main(["train", *options])
    assert ended.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert line.startswith("transformer-spectrum: error: a training by adam would take about 1,")
    assert not list((root / "runs").rglob("run.json"))


def test_a_sweeps_cells_fail_by_the_same_reason_and_those_beside_them_are_trained(root):
    small = {"model__embed_dim": 8, "model__layers": 1, "adam__epochs": 2}
    usual = params_with(root, **small)
    many = params_with(root, **{**small, "adam__epochs": 10**9}, training__snapshot_every=1, spectra__tracked_every=1)
    cells = [Cell("synthetic", "light", "mse", "adam", seed, params) for seed, params in ((1, many), (2, usual))]
    made = make_windows(cells[0], {})
    windows = {name: made[name] for name in WINDOWS_FILES}
    reason, files = train_cells(cells, [None, None], [0, 0], windows)
    assert "make training.snapshot_every larger" in reason
    assert "best.safetensors" in files


def test_what_patience_a_budget_or_tuning_may_spare_counts_for_nothing(root):
    every = {"adam__epochs": 10**6, "training__snapshot_every": 1}
    kept = footprint(params_with(root, **every), "adam", 1).parts["kept weights"].size
    for fewer in ({"adam__patience": 5}, {"budget__evaluations": 100}, {"budget__seconds": 5.0}):
        assert footprint(params_with(root, **every, **fewer), "adam", 1).parts["kept weights"].size < kept / 1000
    trial = footprint(params_with(root, **every), "adam", 1, keeps_weights=False)
    assert trial.parts["kept weights"].size < kept / 1000


def test_beside_an_accelerator_what_lies_in_the_machines_memory_is_told_apart(root):
    whole = footprint(params_with(root, es__algorithm="cma"), "es", 1, 1000)
    host, device = whole.of(on_host=True), whole.of(on_host=False)
    assert set(host.parts) == {"kept weights", "a population", "windows"}
    assert set(host.parts) | set(device.parts) == set(whole.parts)
    assert "a population" in footprint(params_with(root), "ga", 1).of(on_host=False).parts


def test_what_fits_is_left_alone(root):
    params = params_with(root)
    made = make_windows(Cell("synthetic", "light", "mse", "adam", 1, params), {})
    path = root / "windows.npz"
    path.write_bytes(made["windows/windows.npz"])
    check_it_fits(params, "adam", path)
    check_it_fits(load_params(root / "params.yaml"), "ga", path, Free(2 * GIB, "of this machine"))
