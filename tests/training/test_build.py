"""Parameters become the objects that they describe."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from scipy import stats

from transformer_spectrum.config.load import Params, parse_params
from transformer_spectrum.data.windows.arrays import Windows
from transformer_spectrum.models.forecaster import Layout
from transformer_spectrum.models.lstm import LSTM
from transformer_spectrum.models.transformer import Transformer
from transformer_spectrum.optimizers.evolution.cma_es import CMA
from transformer_spectrum.optimizers.evolution.openai_es import OpenAIES
from transformer_spectrum.optimizers.evolution.sep_cma import SepCMA
from transformer_spectrum.optimizers.evolution.snes import SNES
from transformer_spectrum.optimizers.ga import GA
from transformer_spectrum.optimizers.gradient.adam import Adam
from transformer_spectrum.optimizers.gradient.descent import Descent
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.training import build

TREE = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text())


def params(**changes: object) -> Params:
    tree = copy.deepcopy(TREE)
    for name, value in changes.items():
        block, key = name.split("__") if "__" in name else (None, name)
        (tree[block] if block else tree)[key] = value
    return parse_params(tree)


def test_each_architecture_has_the_sizes_asked_for():
    transformer = build.model(params(model__embed_dim=32, model__heads=2, model__layers=3, model__patch_length=6), 2)
    assert isinstance(transformer, Transformer)
    assert (transformer.heads, transformer.layers, len(transformer.decoder)) == (2, 3, 3)
    assert transformer.context_embedding.weight.shape == (32, 12)
    lstm = build.model(params(model__type="lstm", model__embed_dim=32), 1)
    assert isinstance(lstm, LSTM)
    assert lstm.hidden == 32


def test_the_seed_decides_the_weights_and_nothing_else_does():
    one, same = build.model(params(), 1), build.model(params(adam__epochs=3, loss__type="mse"), 1)
    other = build.model(params(seed=2), 1)
    layout = Layout(one)
    assert torch.equal(layout.flatten(one), layout.flatten(same))
    assert not torch.equal(layout.flatten(one), layout.flatten(other))


@pytest.mark.parametrize(
    ("optimizer", "changes", "kind", "steps", "patience"),
    [
        ("adam", {"adam__epochs": 7, "adam__patience": 3}, Descent, 7, 3),
        ("es", {"es__algorithm": "cma", "es__generations": 8, "es__patience": 4}, CMA, 8, 4),
        ("es", {"es__algorithm": "openai", "es__generations": 9}, OpenAIES, 9, None),
        ("es", {"es__algorithm": "openai", "es__rank": 2}, OpenAIES, None, None),
        ("es", {"es__algorithm": "sep_cma"}, SepCMA, None, None),
        ("es", {"es__algorithm": "snes"}, SNES, None, None),
        ("ga", {"ga__generations": 10, "ga__patience": 5}, GA, 10, 5),
    ],
)
def test_each_optimizer_is_the_searcher_asked_for(optimizer, changes, kind, steps, patience):
    settings = params(**changes)
    method, most, waits = build.searcher(settings, optimizer, Layout(build.model(settings, 1)))
    assert type(method) is kind
    assert steps in (None, most)
    assert patience in (None, waits)


def test_the_settings_of_a_method_reach_it():
    settings = params(adam__weight_decay=0.1, adam__warmup_epochs=2, adam__schedule="cosine", training__workers=2)
    layout = Layout(build.model(settings, 1))
    adam, _, _ = build.searcher(settings, "adam", layout)
    assert (adam.rule, adam.warmup_epochs, adam.schedule) == (Adam(weight_decay=0.1), 2, "cosine")
    ga, _, _ = build.searcher(params(ga__mutation_decay=0.9, training__workers=2), "ga", layout)
    assert (ga.mutation_decay, ga.workers) == (0.9, 2)
    low, _, _ = build.searcher(params(es__algorithm="openai", es__rank=2, es__sigma_decay=0.5), "es", layout)
    assert (low.rank, low.sigma_decay, low.shapes) == (2, 0.5, tuple(layout.shapes))
    vd, _, _ = build.searcher(params(es__algorithm="cma", es__covariance="vd"), "es", layout)
    assert vd.covariance == "vd"


def test_a_full_covariance_that_would_not_fit_is_refused_with_what_it_would_take():
    settings = params(es__algorithm="cma", es__covariance="full")
    with pytest.raises(InputError, match=r"es\.covariance = full with 170,124 weights: .* GiB"):
        build.searcher(settings, "es", Layout(build.model(settings, 1)))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"loss__type": "mse"}, 4.0),
        ({"loss__type": "mae"}, 2.0),
        ({"loss__type": "sgt", "loss__q": float("inf")}, -stats.norm(0, 0.707).logpdf(2.0)),
    ],
)
def test_each_loss_is_the_one_asked_for(changes, expected):
    loss = build.loss(params(**changes))
    assert loss(torch.tensor([1.0]), torch.tensor([3.0])).item() == pytest.approx(expected, rel=1e-5)


def test_the_cauchy_loss_has_the_scale_asked_for():
    def at(gamma: float, error: float) -> float:
        loss = build.loss(params(loss__type="cauchy", loss__gamma=gamma))
        return loss(torch.tensor([0.0]), torch.tensor([error])).item()

    ours = at(2.0, 3.0) - at(2.0, 0.0)
    assert ours == pytest.approx(stats.cauchy(0, 2).logpdf(0) - stats.cauchy(0, 2).logpdf(3), rel=1e-5)


def test_a_device_that_is_not_there_is_an_error_and_auto_says_what_it_took(caplog):
    missing = "mps" if not torch.backends.mps.is_available() else "cuda"
    with pytest.raises(InputError, match=f"device = {missing}"):
        build.device(missing)
    build.device.cache_clear()
    with caplog.at_level("INFO"):
        taken = build.device("auto")
    assert f"device = auto: computing on {taken}" in caplog.messages


def test_the_objective_reads_the_windows_it_is_given():
    rng = np.random.default_rng(0)
    context, target = rng.normal(size=(5, 240, 1)).astype("f4"), rng.normal(size=(5, 60, 1)).astype("f4")
    unit = np.ones((5, 1, 1))
    windows = Windows(context, target, 0 * unit, unit, np.array(list("abcde")), np.arange(5))
    settings = params(device="cpu", loss__type="mse")
    model = build.model(settings, 1)
    layout = Layout(model)
    objective = build.objective(settings, model, layout, windows)
    expected = (model(torch.from_numpy(context), torch.from_numpy(target)) - torch.from_numpy(target)).square().mean()
    assert objective.validation(build.initial_weights(settings, model, layout)).loss == pytest.approx(
        expected.item(), rel=1e-5
    )


@pytest.mark.parametrize(
    ("patch", "kind", "has", "expected"),
    [
        (1, "transformer", True, "bfloat16"),
        (1, "transformer", False, "float32"),
        (12, "transformer", True, "float32"),
        (1, "lstm", True, "float32"),
    ],
)
def test_automatic_precision_is_bfloat16_only_where_it_pays(patch, kind, has, expected, monkeypatch):
    monkeypatch.setattr(build, "_has_bfloat16", lambda where: has)
    committed = parse_params(yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text()))
    model = committed.model.model_copy(update={"patch_length": patch, "type": kind})
    training = committed.training.model_copy(update={"precision": "auto"})
    params = committed.model_copy(update={"model": model, "training": training, "device": "cpu"})
    assert build.precision(params) == expected
