"""Which of the tensors in a checkpoint are the model, and that nothing which is not taken goes unsaid."""

import numpy as np
import pytest
import torch

import transformer_spectrum as ts
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.weights.files import contents, open_checkpoint, tensors_of
from transformer_spectrum.weights.files.contents import contents_of


def model(seed=0, layers=1):
    generator = torch.Generator().manual_seed(seed)
    return {f"layers.{i}.query.weight": torch.randn(12, 10, generator=generator) for i in range(layers)}


def adam(state):
    parameters = [torch.nn.Parameter(tensor) for tensor in state.values()]
    optimizer = torch.optim.Adam(parameters)
    sum(parameter.sum() for parameter in parameters).backward()
    optimizer.step()
    return optimizer.state_dict()


LAYERS = {"kernel": torch.ones(4, 4), "bias": torch.ones(4)}
FLAX = {"encoder": {"layer_0": LAYERS, "norm": {"scale": torch.ones(4)}}, "output": {"dense": LAYERS}}
CHECKPOINTS = {  # contents, key of the model, what is beside it
    "a state dict": (model(), "", []),
    "a state dict beside numbers": ({**model(), "epoch": 3}, "", []),
    "a state dict with a dictionary of statistics": ({**model(), "stats": {"mean": torch.ones(9, 9)}}, "", ["stats"]),
    "a larger matrix beside": ({"model": model(), "confusion": torch.ones(99, 99), "epoch": 3}, "model", ["confusion"]),
    "a matrix called weights beside": ({"net": model(), "class_weights": torch.ones(99, 99)}, "net", ["class_weights"]),
    "vectors beside": ({"state_dict": model(), "mean": torch.ones(3)}, "state_dict", ["mean"]),
    "a key never seen before": ({"thing": model(), "maps": torch.ones(50, 50)}, "thing", ["maps"]),
    "averages beside": ({"ema": model(1, 3), "model": model()}, "model", ["ema"]),
    "averages alone": ({"model_ema": model(), "epoch": 1}, "model_ema", []),
    "averages by another suffix": ({"params_ema": model(1), "params": model()}, "params", ["params_ema"]),
    "averages as a list": ({"net": model(), "ema": {"shadow_params": [torch.ones(4, 4)]}}, "net", ["ema"]),
    "a discriminator": ({"D": model(1, 3), "G": model(), "D_optim": adam(model())}, "G", ["D", "D_optim"]),
    "two generators": ({"netG_A": model(), "netG_B": model(1), "netD_A": model(2)}, "netG_A", ["netG_B", "netD_A"]),
    "a teacher": ({"teacher": model(1), "student": model()}, "student", ["teacher"]),
    "an actor": (
        {"critic": model(1, 4), "actor": model(), "actor_target": model()},
        "actor",
        ["critic", "actor_target"],
    ),
    "a larger optimizer": ({"optimizer": adam(model(0, 3)), "model": model()}, "model", ["optimizer"]),
    "an optimizer of any name": ({"o": adam(model()), "m": model()}, "m", ["o"]),
    "a training of Lightning": (
        {
            "state_dict": model(),
            "optimizer_states": [adam(model())],
            "callbacks": {"averaging": {"weights": [torch.ones(30, 30)]}},
            "lr_schedulers": [{"last_epoch": 3}],
        },
        "state_dict",
        ["optimizer_states", "callbacks"],
    ),
    "wrappers in wrappers": (
        {"checkpoint": {"model": {"state_dict": model(), "ema": model(1)}}},
        "checkpoint.model.state_dict",
        ["checkpoint.model.ema"],
    ),
    "a list of models": ({"models": [model(), model(1)]}, "models.0", ["models.1"]),
    "a tuple": ((model(), adam(model())), "0", ["1"]),
    "numbers as keys": ({0: model(), 1: torch.ones(3)}, "0", ["1"]),
    "nested layers": ({"params": FLAX, "batch_stats": {"m": {"mean": torch.ones(4)}}}, "params", ["batch_stats"]),
    "nested layers below one key": ({"params": {"encoder": FLAX["encoder"]}}, "params", []),
    "nested layers alone": (FLAX, "", []),
    "parts of one model": (
        {"model": {"embedding": {"weight": torch.ones(9, 4)}, "encoder": model()}, "rng": torch.get_rng_state()},
        "model",
        ["rng"],
    ),
    "parts with the same names": ({"model": {"encoder": model(), "decoder": model(1)}, "epoch": 1}, "model", []),
    "layers in a list": ({"model": {"blocks": [model(), model(1)], "head": {"weight": torch.ones(9, 4)}}}, "model", []),
    "modules of their own": ({"encoder": LAYERS, "decoder": LAYERS}, "", []),
    "a list of parameters": ({"params": [torch.ones(4, 4), torch.ones(4)], "losses": [3.0]}, "params", []),
    "arrays": ({"params": {"w": np.ones((4, 4))}, "confusion": np.ones((50, 50))}, "params", ["confusion"]),
    "a live module": ({"model": torch.nn.Linear(4, 4), "confusion": torch.ones(50, 50)}, "model", ["confusion"]),
    "words in capitals": ({"modelState": model(), "emaState": model(1)}, "modelState", ["emaState"]),
}


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_the_dictionary_that_looks_like_a_model_is_taken_and_the_rest_is_listed(kind):
    whole, key, beside = CHECKPOINTS[kind]
    chosen = tensors_of(whole)
    assert chosen.choice.key == key
    assert [entry.name for entry in chosen.choice.beside] == beside
    rest = [
        path
        for path in contents_of(whole).tensors
        if not any(f"{'.'.join(path)}.".startswith(f"{name}.") for name in beside)
    ]
    assert len(chosen.tensors) == len(rest)  # the model, and all of it
    if key or beside:
        assert (f'under "{key}"' if key else "the top of the file") in chosen.choice.notes[0]
        assert all(name in chosen.choice.notes[0] for name in beside)


@pytest.mark.parametrize("around", [lambda state: state, lambda state: {"model": state, "epoch": 3}])
def test_layers_quantised_by_torch_are_weights_of_their_own_layers(around):
    """torch keeps the weight and the bias of a quantised Linear in one tuple."""
    weight = torch.quantize_per_tensor(torch.randn(8, 6), 0.01, 0, torch.qint8)
    state = {"0.scale": torch.ones(()), "0.zero_point": torch.zeros((), dtype=torch.int64)}
    for layer, bias in (("0.", torch.ones(8)), ("2.", None)):
        state[f"{layer}_packed_params.dtype"] = torch.qint8
        state[f"{layer}_packed_params._packed_params"] = (weight, bias)
    chosen = tensors_of(around(state))
    assert set(chosen.tensors) == {"0.scale", "0.zero_point", "0.weight", "0.bias", "2.weight"}
    assert not chosen.choice.beside


@pytest.mark.parametrize("beside", ["confusion", "mean"])
def test_the_command_and_the_library_take_the_same_matrices(beside, tmp_path, caplog):
    whole = {beside: torch.ones(20, 20), "net": model(3, 2), "epoch": 3}
    torch.save(whole, tmp_path / "a.pt")
    expected = ts.singular_values(model(3, 2))
    measured = ts.singular_values(whole)
    assert measured.keys() == expected.keys()
    assert {name.removesuffix(".weight") for name in open_checkpoint(tmp_path / "a.pt").tensors} == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(measured[name], values)
    assert f"beside it: {beside}" in caplog.text


def test_reasons_say_what_is_left_out_and_how_much():
    chosen = tensors_of({"model": model(), "ema": model(1, 2), "opt": adam(model()), "loss": torch.ones(7)})
    reasons = {entry.name: entry.reason for entry in chosen.choice.beside}
    assert reasons == {
        "ema": "a further set of weights beside the model, 2 tensors of 240 entries; --key ema measures it",
        "opt": "the state of an optimizer or a training, 3 tensors of 241 entries; --key opt measures it",
        "loss": "a tensor beside the model",
    }
    assert next(entry.shape for entry in chosen.choice.beside if entry.name == "loss") == (7,)


KEYED = {"model": model(), "ema": model(1), "state": {"net": model(2), "opt": adam(model())}, "epoch": 3}


@pytest.mark.parametrize(
    ("key", "taken", "names"),
    [
        ("ema", "ema", ["layers.0.query.weight"]),
        ("state", "state.net", ["layers.0.query.weight"]),
        ("state.net", "state.net", ["layers.0.query.weight"]),
        ("state.opt.state", "state.opt.state", ["0.step", "0.exp_avg", "0.exp_avg_sq"]),
        ("model.layers.0", "model", ["layers.0.query.weight"]),
        ("layers.0", "model", ["layers.0.query.weight"]),
    ],
)
def test_a_key_chooses(key, taken, names):
    chosen = tensors_of(KEYED, key)
    assert (chosen.choice.key, list(chosen.tensors)) == (taken, names)
    assert f'under "{taken}"' in chosen.choice.notes[0] or f'begins with "{key}"' in chosen.choice.notes[0]
    taken_paths = set(chosen.choice.paths.values())
    listed = [entry.name for entry in chosen.choice.beside]
    for path in contents_of(KEYED).tensors:
        whole = ".".join(path)
        assert path in taken_paths or any(f"{whole}.".startswith(f"{name}.") for name in listed), whole


@pytest.mark.parametrize(
    ("whole", "key", "rule"),
    [
        (KEYED, "emma", r"--key emma is not in it \(nearest: ema\); with tensors: model, ema, state"),
        (KEYED, "epoch", "--key epoch holds no tensors; with tensors: model, ema"),
        (model(), "encoder", "--key encoder is not in it; with tensors: layers"),
        ({"epoch": 1, "args": {"lr": 2}}, None, "no tensors in it; its keys: epoch, args"),
        ({}, None, "no tensors in it"),
        (adam(model()), None, "holds the state of an optimizer.*its keys: state"),
        ({"optimizer": adam(model()), "epoch": 1}, None, "holds the state of an optimizer.*its keys: optimizer"),
    ],
)
def test_without_a_model_the_keys_that_exist_are_named(whole, key, rule):
    with pytest.raises(InputError, match=rule):
        tensors_of(whole, key)


def test_moments_in_a_flat_file_are_no_weights():
    chosen = tensors_of({**model(), "optim.layers.0.exp_avg": torch.ones(12, 10)})
    assert list(chosen.tensors) == ["layers.0.query.weight"]
    assert [entry.name for entry in chosen.choice.beside] == ["optim.layers.0.exp_avg"]


def test_a_dictionary_that_holds_itself_ends():
    whole = {"model": model()}
    whole["itself"] = whole["again"] = [whole, whole]
    chosen = tensors_of(whole)
    assert list(chosen.tensors) == ["layers.0.query.weight"]
    assert [entry.name for entry in chosen.choice.beside] == ["itself.0", "itself.1", "again.0", "again.1"]


def test_a_list_that_is_named_many_times_over_ends(monkeypatch):
    monkeypatch.setattr(contents, "TENSORS", 1000)
    for bottom, rule in ((3, "no tensors in it"), (torch.ones(2, 2), "more than 1,000 tensors")):
        whole = [bottom, bottom]
        for _ in range(30):
            whole = [whole, whole]
        with pytest.raises(InputError, match=rule):
            tensors_of(whole)


def test_names_that_meet_stay_apart():
    chosen = tensors_of({"params": {"a.weight": torch.ones(4, 4), "a": {"weight": torch.zeros(4, 4)}}})
    assert sorted(tensor.sum().item() for tensor in chosen.tensors.values()) == [0, 16]


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "model."])
def test_prefixes_of_wrappers_change_no_family(prefix):
    names = ["head.weight", "layers.0.attn.query.weight", "fc.weight"]
    plain = ts.analyze({name: torch.randn(12, 10) for name in names})
    wrapped = ts.analyze({f"{prefix}{name}": torch.randn(12, 10) for name in names})
    assert list(wrapped.families) == list(plain.families) == ["readout", "query", "readout"]
