"""What `import transformer_spectrum` offers to those who use the package as a library."""

import doctest
import importlib
import json
import subprocess
import sys
from pathlib import Path
from shutil import copyfile, copytree

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

import transformer_spectrum as ts
from transformer_spectrum.analysis.of_training.summary import estimators_of
from transformer_spectrum.cli.analyze import ESTIMATORS
from transformer_spectrum.config.load import Params, parse_params
from transformer_spectrum.data.windows.arrays import SPLITS, Windows, pack
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.files import write_arrays, write_json
from transformer_spectrum.spectra import metrics
from transformer_spectrum.spectra.analysis import Estimators
from transformer_spectrum.training.artifacts import forecasts
from transformer_spectrum.training.records.run_folder import RunFolder
from transformer_spectrum.training.train import Job, train

ROOT = Path(__file__).parents[2]
SMALL = {
    "model": {"embed_dim": 8, "heads": 2, "layers": 1, "feedforward_dim": 16, "patch_length": 4},
    "data": {"sequence_length": 24, "output_length": 8},
    "training": {"snapshot_every": 1, "batch_size": 4},
    "es": {"generations": 2, "popsize": 4, "algorithm": "snes"},
    "spectra": {"tracked_every": 1, "min_tail": 3},
}


def small_params(**model: object) -> Params:
    tree = yaml.safe_load((ROOT / "params.yaml").read_text())
    for name, values in SMALL.items():
        tree[name].update(values)
    tree["model"].update(model)
    tree["loss"]["q"] = float("inf")
    return parse_params(tree)


def small_windows() -> dict[str, Windows]:
    generator = np.random.default_rng(0)

    def windows(count: int) -> Windows:
        values = generator.normal(size=(count, 24, 2)).astype(np.float32)
        one = np.ones((count, 1, 2))
        names = np.array([f"{i}" for i in range(count)])
        return Windows(values[:, :16], values[:, 16:], 0 * one, one, names, np.zeros(count, dtype=np.int64))

    return {split: windows(6) for split in SPLITS}


@pytest.fixture(scope="module", params=["transformer", "lstm"])
def trained(request, tmp_path_factory) -> Path:
    """A folder with models/es and metrics/es, left behind by a real training of two channels."""
    folder = tmp_path_factory.mktemp(request.param)
    write_arrays(folder / "windows.npz", pack(small_windows()))
    write_json(folder / "provenance.json", {"source": "standin", "standin": True, "sha256": "abc"})
    inputs = {"data": folder / "windows.npz", "provenance": folder / "provenance.json", "resume": folder / "resume"}
    outputs = {"models": folder / "models/es", "metrics": folder / "metrics/es"}
    train(Job(small_params(type=request.param), "es", **inputs, **outputs))
    return folder


def test_an_evolution_that_scored_no_candidate_leaves_a_file_that_says_so(tmp_path):
    """The pipeline's outputs are files, so each must be there."""
    write_arrays(tmp_path / "windows.npz", pack(small_windows()))
    write_json(tmp_path / "provenance.json", {"source": "standin", "standin": True, "sha256": "abc"})
    inputs = {"data": tmp_path / "windows.npz", "provenance": tmp_path / "provenance.json", "resume": tmp_path / "r"}
    params = small_params()
    params = params.model_copy(update={"budget": params.budget.model_copy(update={"evaluations": 1})})
    train(Job(params, "es", **inputs, models=tmp_path / "es", metrics=tmp_path / "m"))
    assert ts.load(tmp_path / "es").provenance["best_step"] == 0
    with pytest.raises(
        InputError, match=r"best_candidate\.safetensors: holds no weights: no candidate of a finite loss"
    ):
        ts.load(tmp_path / "es", "best_candidate")


@pytest.fixture
def weights(tmp_path) -> Path:
    """A folder with the weights of an untrained transformer, to be damaged."""
    torch.manual_seed(0)
    params = small_params()
    from transformer_spectrum.training import build

    model = build.model(params, features=2)
    about = {"optimizer": "adam", "params": json.loads(params.model_dump_json())}
    save_file(model.state_dict(), tmp_path / "best.safetensors", {"run": json.dumps(about)})
    return tmp_path


def rewrite(folder: Path, *, about: object = None, **tensors: torch.Tensor | None) -> None:
    """Changes the header or tensors (None takes one out) of best.safetensors."""
    from safetensors import safe_open

    path = folder / "best.safetensors"
    with safe_open(path, "pt") as file:
        header = file.metadata()
    kept = load_file(path) | tensors
    header = header if about is None else {"run": about if isinstance(about, str) else json.dumps(about)}
    save_file({name: value for name, value in kept.items() if value is not None}, path, header)


def test_importing_the_package_imports_nothing_heavy():
    program = (
        "import sys, transformer_spectrum as ts; heavy = {'torch', 'scipy', 'pandas', 'matplotlib', 'dvc'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules);"
        "ts.load_params(); ts.load_run; ts.SGT; assert 'torch' not in sys.modules; print(*dir(ts))"
    )
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(ts.__all__) <= set(ended.stdout.split())


@pytest.mark.parametrize("name", ts.__all__)
def test_every_public_name_is_there_and_documented(name):
    assert getattr(ts, name).__doc__
    assert f"    {name}" in ts.__doc__
    assert f"`{name}" in (ROOT / "docs/api/library.md").read_text().split("\n::: ")[0]


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'spectrum'"):
        ts.spectrum  # noqa: B018


def test_load_gives_back_the_weights_that_were_scored(trained, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # where there is no params.yaml
    loaded = ts.load(trained / "models/es")
    assert not loaded.model.training
    windows = small_windows()["test"]
    made = forecasts(loaded.model, windows, torch.device("cpu"))["free_running"]
    kept = np.load(trained / "models/es/forecasts.npz")
    order = [int(name) for name in kept["entities"]]
    assert np.array_equal(made[order], kept["forecast"])
    context = torch.from_numpy(windows.context)
    assert np.array_equal(loaded.model.forecast(context, 8).numpy(), made)


def test_load_gives_back_parameters_and_provenance(trained):
    loaded = ts.load(trained / "models/es")
    assert loaded.params == small_params(type=loaded.params.model.type)
    assert loaded.params.loss.q == float("inf")
    assert loaded.provenance["data"] == {"source": "standin", "standin": True, "sha256": "abc"}
    assert loaded.provenance["optimizer"] == "es"
    assert "parameters_added_since" not in loaded.provenance
    assert loaded.provenance["versions"]["torch"] == torch.__version__


def test_load_chooses_among_the_weights_of_a_training(trained):
    folder = trained / "models/es"
    history = ts.load_run(folder).history
    last = ts.singular_values(ts.load(folder, "last"))
    for i, name in enumerate(history.names):
        assert np.allclose(last[name], history.spectrum(-1, i), rtol=1e-6)
    for which in ("best", "last", "best_candidate"):
        named = ts.load(folder / f"{which}.safetensors")
        chosen = ts.load(folder, which)
        assert named.path == chosen.path
        stored = load_file(chosen.path)
        assert all(torch.equal(p, stored[name]) for name, p in chosen.model.named_parameters())


def test_a_training_says_in_both_of_its_files_how_it_ended_and_in_one_which_candidate_was_best(trained):
    about = json.loads((trained / "models/es/run.json").read_text())
    scores = json.loads((trained / "metrics/es/scores.json").read_text())
    assert (scores["optimizer"], scores["stop_cause"], scores["evaluations"]) == ("es", "finished", 11)
    assert scores["stop_reason"]
    told = ("optimizer", "stop_reason", "stop_cause", "best_step")
    assert {name: about[name] for name in told} == {name: scores[name] for name in told}
    curve = np.loadtxt(trained / "metrics/es/plots/metrics/best_candidate_loss.tsv", skiprows=1, ndmin=2)
    step, loss = curve[curve[:, 1].argmin()]
    assert about["best_candidate"] == {"step": step, "loss": pytest.approx(loss)}
    history = ts.load_run(trained / "models/es").history
    assert scores["best_validation_loss"] == history.validation_loss.min()
    assert history.validation_loss[history.steps == scores["best_step"]] == scores["best_validation_loss"]


@pytest.mark.parametrize(
    ("path", "which", "words"),
    [
        ("nowhere", None, "nowhere: no such file or folder"),
        ("best.pt", None, r"best\.pt: must be the folder of a training or a \.safetensors file"),
        ("best.safetensors", "last", "which = last with .*: chooses from the folder"),
        (".", "last", r"last\.safetensors: no such file; the folder has best"),
    ],
)
def test_weights_that_are_not_there_are_one_line(weights, path, which, words):
    (weights / "best.pt").write_bytes(b"")
    with pytest.raises(InputError, match=words) as raised:
        ts.load(weights / path, which)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"about": "null"}, "says nothing of a training"),
        ({"about": "{"}, "not a readable safetensors file of a training"),
        ({"about": {"params": {}, "steps": [0, 1]}}, "snapshots of single matrices, no model"),
        ({"about": {"params": {}}}, "another version of transformer-spectrum: model.*: missing"),
        ({"about": {"params": {"los": {}}}}, "another version of transformer-spectrum: los: unknown parameter"),
        ({"about": {"params": {"loss": 3}}}, "another version of transformer-spectrum: loss"),
        ({"about": {"params": [1]}}, "another version of transformer-spectrum: .*must be a mapping"),
        ({"readout.bias": torch.zeros(7)}, "its readout does not fit model.patch_length = 4"),
        ({"encoder_norm.bias": torch.zeros(9)}, r"encoder_norm\.bias has \(9,\) where its parameters describe \(8,\)"),
        ({"encoder_norm.bias": None}, r"encoder_norm\.bias has no such weights where its parameters describe \(8,\)"),
        ({"extra": torch.zeros(2)}, r"extra has \(2,\) where its parameters describe no such weights"),
    ],
)
def test_weights_that_do_not_fit_are_one_line_that_names_the_file(weights, change, words):
    rewrite(weights, **change)
    with pytest.raises(InputError, match=rf"best\.safetensors: .*{words}") as raised:
        ts.load(weights)
    assert "\n" not in str(raised.value)


def test_weights_from_before_a_parameter_are_read_and_say_so(weights):
    params = small_params()
    tree = json.loads(params.model_dump_json())
    del tree["spectra"]["edge_level"], tree["data"]["file"]
    rewrite(weights, about={"optimizer": "adam", "params": tree})
    loaded = ts.load(weights)
    of_file = [f"data.file.{name}" for name in ("season", "time_column", "entity_column", "value_columns")]
    assert loaded.provenance["parameters_added_since"] == [*of_file, "spectra.edge_level"]
    assert loaded.params.spectra.edge_level == ts.load_params(ROOT / "params.yaml").spectra.edge_level
    assert loaded.params.loss == params.loss
    del tree["model"]["layers"]
    rewrite(weights, about={"optimizer": "adam", "params": tree})
    with pytest.raises(InputError, match=r"model\.layers: missing"):
        ts.load(weights)


def test_a_torn_file_of_weights_is_one_line(weights):
    whole = (weights / "best.safetensors").read_bytes()
    (weights / "best.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"best\.safetensors: not a readable safetensors file"):
        ts.load(weights)


def test_load_run_gives_history_provenance_and_scores(trained):
    run = ts.load_run(trained / "models/es")
    assert run.history.steps.tolist() == [0, 1, 2]
    assert run.provenance == json.loads((trained / "models/es/run.json").read_text())
    assert run.params == ts.load(trained / "models/es").params
    assert run.scores is None
    scored = ts.load_run(str(trained / "models/es"), trained / "metrics/es")
    assert scored.scores == json.loads((trained / "metrics/es/scores.json").read_text())
    assert len(scored.history.seconds) == 3


def test_the_folder_of_a_run_outside_dvc_is_loaded_with_its_own_metrics(trained, tmp_path):
    folder = RunFolder(tmp_path)
    copytree(trained / "models/es", folder.model)
    copytree(trained / "metrics/es", folder.metrics)
    assert ts.load(tmp_path, "last").path == folder.model / "last.safetensors"
    run = ts.load_run(tmp_path)
    assert run.scores == ts.load_run(trained / "models/es", trained / "metrics/es").scores


def test_scores_of_another_training_are_refused(trained, tmp_path):
    copytree(trained / "metrics/es", tmp_path / "es")
    scores = json.loads((tmp_path / "es/scores.json").read_text())
    write_json(tmp_path / "es/scores.json", scores | {"best_step": scores["best_step"] + 1})
    with pytest.raises(InputError, match=r"scores\.json: of another training"):
        ts.load_run(trained / "models/es", tmp_path / "es")
    with pytest.raises(InputError, match="nowhere: no such folder"):
        ts.load_run(tmp_path / "nowhere")


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (2, 4, 4, 6), (2, 0, 3, 3)])
def test_singular_values_are_those_of_numpy(shape):
    matrix = np.random.default_rng(0).normal(size=shape)
    expected = np.linalg.svd(matrix, compute_uv=False)
    assert np.allclose(ts.singular_values(matrix), expected, rtol=1e-7)
    assert np.allclose(ts.singular_values(torch.from_numpy(matrix).float()), expected, rtol=1e-5)


def test_singular_values_of_any_module_and_of_a_state_dict_are_named():
    torch.manual_seed(0)
    module = torch.nn.TransformerEncoderLayer(8, 2, 16)
    found = ts.singular_values(module)
    assert set(found) == {
        f"self_attn.{name}" for name in ("in_proj.query", "in_proj.key", "in_proj.value", "out_proj")
    } | {
        "linear1",
        "linear2",
    }
    key = module.self_attn.in_proj_weight[8:16].detach().numpy()
    assert np.allclose(found["self_attn.in_proj.key"], np.linalg.svd(key, compute_uv=False), rtol=1e-5)
    again = ts.singular_values(module.state_dict())
    assert all(np.array_equal(again[name], found[name]) for name in found)


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        (np.zeros(3), InputError, r"need a matrix, got shape \(3,\)"),
        (np.zeros((3, 0)), InputError, r"got shape \(3, 0\)"),
        (np.full((2, 2), np.nan), InputError, "the matrix: an entry is not finite"),
        (
            {"up.weight": torch.full((2, 2), torch.inf)},
            InputError,
            "none is a matrix .* up.weight: weights are not finite: 4 of 4 entries",
        ),
        ("nothing/there", InputError, "nothing/there: no such file or folder; name a training"),
        (object(), TypeError, "neither numbers nor anything that holds matrices of weights: object"),
        ({"bias": torch.zeros(3)}, InputError, "none is a matrix of weights"),
    ],
)
def test_what_has_no_singular_values_says_why(value, error, words):
    with pytest.raises(error, match=words):
        ts.singular_values(value)


def test_a_run_its_history_and_its_last_model_measure_the_same(trained):
    run = ts.load_run(trained / "models/es")
    own = estimators_of(run.params.spectra)
    whole = ts.analyze(run)
    of_history = ts.analyze(run.history, estimators=own)
    of_model = ts.analyze(ts.load(trained / "models/es", "last"))
    assert whole.names.tolist() == of_model.names.tolist() == run.history.names.tolist()
    assert whole.families.tolist() == of_model.families.tolist()
    for metric in ("stable_rank", "spectral_entropy", "ks_alpha"):
        assert np.array_equal(whole.values[metric], of_history.values[metric], equal_nan=True)
        assert np.allclose(whole.values[metric][-1], of_model.values[metric][0], rtol=1e-5, equal_nan=True)
    assert own != Estimators()
    assert not np.array_equal(whole.values["ks_tail"], ts.analyze(run.history).values["ks_tail"], equal_nan=True)


def test_analyze_gives_a_tidy_table_with_reasons(trained):
    run = ts.load_run(trained / "models/es")
    table = ts.analyze(run).table()
    assert len(table) == len(run.history.steps) * len(run.history.names)
    second = table[(table["step"] == 1) & (table["matrix"] == run.history.names[2])].iloc[0]
    assert second["stable_rank"] == pytest.approx(float(metrics.stable_rank(run.history.spectrum(1, 2))), rel=1e-6)
    assert (second["rows"], second["columns"]) == tuple(run.history.shapes[2])
    empty = table[table["ks_alpha"].isna()]
    assert empty["missing"].str.contains("ks_alpha").all()


def test_singular_values_are_analyzed_with_the_shapes_of_their_matrices():
    equal = ts.analyze(np.ones(4), shapes=(4, 9))
    assert equal.values["stable_rank"].tolist() == [[4.0]]
    assert equal.values["spectral_entropy"][0, 0] == pytest.approx(np.log(4))
    assert equal.reason("hill_alpha", 0, 0)
    several = ts.analyze([[3.0, 1.0, 1.0], [2.0, 2.0, np.nan]], shapes=[(3, 4), (2, 5)])
    assert several.values["stable_rank"].tolist() == [[pytest.approx(11 / 9), 2.0]]
    assert ts.analyze(np.ones((5, 2, 3)), shapes=(3, 3)).steps.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("values", "shapes", "words"),
    [
        (np.ones(3), None, "do not tell the rows and columns"),
        (np.ones(3), (4, 4), "have other than 3 singular values"),
        (np.ones(3), (2, 4), "have other than 3 singular values"),
        (np.ones(3), (3,), "must be rows and columns"),
        (np.ones((2, 3)), [(3, 3)] * 3, "for all or each of 2 matrices"),
        (np.ones((1, 1, 1, 3)), (3, 3), r"must be \(r,\), \(M, R\) or \(S, M, R\)"),
        (-np.ones(3), (3, 3), "must be finite and not negative"),
        (torch.nn.Linear(2, 2), (2, 2), "a Linear knows its own"),
    ],
)
def test_singular_values_that_cannot_be_analyzed_say_why(values, shapes, words):
    with pytest.raises(InputError, match=words):
        ts.analyze(values, shapes)


def test_the_estimators_of_the_library_are_the_committed_ones():
    committed = ts.load_params(ROOT / "params.yaml").spectra
    assert estimators_of(committed) == Estimators()
    assert {name: getattr(committed, name) for name in ESTIMATORS} == ESTIMATORS


@pytest.mark.parametrize("trained", ["transformer"], indirect=True)  # of which the examples are
def test_the_examples_in_the_docstrings_hold(trained, monkeypatch):
    copyfile(ROOT / "params.yaml", trained / "params.yaml")
    monkeypatch.chdir(trained)
    tried = 0
    for name in ("analysis.loading", "config.load", "analysis.api", "spectra.bounds"):
        result = doctest.testmod(importlib.import_module(f"transformer_spectrum.{name}"))
        assert result.failed == 0
        tried += result.attempted
    assert tried >= 12


def test_the_path_of_a_training_is_measured_as_its_record_and_a_file_of_it_as_its_model(trained):
    models = trained / "models/es"
    by_path, run = ts.analyze(str(models)), ts.load_run(models)
    for metric, values in ts.analyze(run).values.items():
        np.testing.assert_array_equal(by_path.values[metric], values)
    assert by_path.steps.tolist() == run.history.steps.tolist()
    of_file = ts.analyze(models / "last.safetensors", shuffles=3)
    assert of_file.names.tolist() == run.history.names.tolist()
    assert of_file.nulls["stable_rank"].deviations.shape == (1, len(run.history.names))
    snapshots = ts.analyze(models / "snapshots.safetensors")
    assert len(snapshots.names) > len(run.history.names)
    with pytest.raises(InputError, match=r"no entries to shuffle; transformer_spectrum.load\(.*es.\) gives the model"):
        ts.analyze(models, shuffles=3)
    best = ts.singular_values(ts.load(models))
    assert all((best[name] == values).all() for name, values in ts.singular_values(models).items())


def test_what_is_given_back_prints_itself_in_a_line(trained):
    model, run = ts.load(trained / "models/es"), ts.load_run(trained / "models/es", trained / "metrics/es")
    for answer in (model, run, run.history, run.params, ts.analyze(run), ts.analyze(model)):
        assert len(repr(answer)) < 250
        assert "array(" not in repr(answer)
        assert repr(answer).startswith(type(answer).__name__ + "(")
    assert "es, sgt loss, seed" in repr(model)
    assert f"best step {run.history.best_step}" in repr(run)
    assert str(run.params) == repr(run.params)


def test_the_only_training_under_a_name_is_found_by_the_name(trained, tmp_path):
    for time in ("20260101T000000Z", "20260102T000000Z"):
        copytree(trained / "models/es", tmp_path / "runs/first" / time / "model")
        copytree(trained / "metrics/es", tmp_path / "runs/first" / time / "metrics")
        write_json(tmp_path / "runs/first" / time / "run.json", {"name": "first", "optimizer": "es"})
    copytree(tmp_path / "runs/first/20260101T000000Z", tmp_path / "runs/lone/20260101T000000Z")
    assert ts.load(tmp_path / "runs/lone").params.loss.type == "sgt"
    assert ts.load_run(tmp_path / "runs/lone").scores
    for function in (ts.load, ts.load_run, ts.analyze):
        with pytest.raises(InputError, match=r"first: holds 2 trainings; name one of them, such as .*20260102"):
            function(tmp_path / "runs/first")


def test_the_distribution_and_the_losses_work_together():
    distribution = ts.SGT(mu=0.0, sigma=1.0, lam=0.2, p=2.0, q=5.0)
    error = torch.linspace(-3, 3, 7, dtype=torch.float64)
    loss = ts.losses.sgt(torch.zeros_like(error), error, distribution)
    assert np.allclose(loss.numpy(), -distribution.logpdf(error.numpy()))
