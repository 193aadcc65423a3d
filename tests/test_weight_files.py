"""Whatever holds the weights, the same tensors come out, one at a time, and nothing in a file is run."""

import json
import os
import pickle

import pytest
import torch
from safetensors.torch import save_file

from transformer_spectrum import weight_files
from transformer_spectrum.errors import InputError
from transformer_spectrum.weight_files import FLOATING, open_checkpoint


@pytest.fixture
def tensors():
    generator = torch.Generator().manual_seed(0)
    return {
        "layer.10.weight": torch.randn(4, 3, generator=generator),
        "layer.2.weight": torch.randn(3, 5, generator=generator).to(torch.bfloat16),
        "layer.2.bias": torch.randn(3, generator=generator).double(),
        "ids": torch.arange(6).reshape(2, 3),
    }


def single(folder, tensors):
    save_file(tensors, folder / "weights.safetensors")
    return folder / "weights.safetensors"


def state_dict(folder, tensors, **options):
    torch.save(tensors, folder / "weights.pt", **options)
    return folder / "weights.pt"


def sharded(folder, tensors):
    shards = {"model-1-of-2.safetensors": list(tensors)[:2], "model-2-of-2.safetensors": list(tensors)[2:]}
    for file, names in shards.items():
        save_file({name: tensors[name] for name in names}, folder / file)
    index = {name: file for file, names in shards.items() for name in names}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    return folder


LAYOUTS = {
    "safetensors": single,
    "state dict": state_dict,
    "old state dict": lambda folder, tensors: state_dict(folder, tensors, _use_new_zipfile_serialization=False),
    "nested state dict": lambda folder, tensors: state_dict(folder, {"epoch": 3, "state_dict": tensors}),
    "model beside optimizer": lambda folder, tensors: state_dict(folder, {"model": tensors, "optimizer": {"lr": 1.0}}),
    "folder": lambda folder, tensors: single(folder, tensors).rename(folder / "model.safetensors").parent,
    "folder of a bin": lambda folder, tensors: state_dict(folder, tensors).rename(folder / "pytorch_model.bin").parent,
    "sharded folder": sharded,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_tensors_in_natural_order(layout, tensors, tmp_path):
    checkpoint = open_checkpoint(LAYOUTS[layout](tmp_path, tensors))
    stored = checkpoint.tensors
    assert list(stored) == ["ids", "layer.2.bias", "layer.2.weight", "layer.10.weight"]
    for name, tensor in tensors.items():
        assert stored[name].shape == tuple(tensor.shape)
        assert (stored[name].dtype in FLOATING) == tensor.is_floating_point()
        assert torch.equal(checkpoint.read(name), tensor)
    assert bool(checkpoint.notes) == (layout == "old state dict")


def test_the_configuration_beside_the_weights_is_read_for_a_file_as_for_its_folder(tensors, tmp_path):
    path = single(tmp_path, tensors)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    assert open_checkpoint(path).config == open_checkpoint(tmp_path).config == {"model_type": "bert"}


def test_a_state_dict_is_mapped_anew_after_so_many_bytes(tensors, tmp_path, monkeypatch):
    checkpoint = open_checkpoint(state_dict(tmp_path, tensors))
    monkeypatch.setattr(weight_files, "REMAP_AFTER", 1)
    for _ in range(2):
        assert torch.equal(checkpoint.read("ids"), tensors["ids"])
        assert checkpoint.files[0]._open is None


class Payload:
    """What a malicious pickle would run."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def damaged(kind, folder, tensors):
    if kind == "missing":
        return folder / "none.safetensors"
    if kind in ("cut safetensors", "cut state dict"):
        path = single(folder, tensors) if kind == "cut safetensors" else state_dict(folder, tensors)
        path.write_bytes(path.read_bytes()[:-40])
        return path
    if kind in ("empty safetensors", "empty state dict", "text state dict", "unknown suffix"):
        name = {"empty safetensors": "a.safetensors", "unknown suffix": "a.npz"}.get(kind, "a.pt")
        (folder / name).write_bytes(b"words" if kind == "text state dict" else b"")
        return folder / name
    if kind == "plain pickle":
        (folder / "a.pt").write_bytes(pickle.dumps({"a": 1}))
        return folder / "a.pt"
    if kind == "whole module":
        return state_dict(folder, torch.nn.Linear(2, 2))
    if kind == "no tensors":
        return state_dict(folder, {"epoch": 3})
    if kind == "empty folder":
        return folder
    if kind == "several files":
        single(folder, tensors).rename(folder / "a.safetensors")
        single(folder, tensors)
        return folder
    if kind == "bad config":
        (folder / "config.json").write_text("{")
        return single(folder, tensors)
    index = json.loads((sharded(folder, tensors) / "model.safetensors.index.json").read_text())
    if kind == "missing shard":
        (folder / "model-2-of-2.safetensors").unlink()
    elif kind == "shard elsewhere":
        index["weight_map"]["ids"] = "../model-2-of-2.safetensors"
    elif kind == "tensor not in its shard":
        index["weight_map"]["more"] = "model-2-of-2.safetensors"
    elif kind == "no weight map":
        index = {"metadata": {}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        ("missing", "no such file"),
        ("cut safetensors", "not a readable safetensors"),
        ("empty safetensors", "not a readable safetensors"),
        ("cut state dict", "not a readable torch"),
        ("empty state dict", "not a readable torch"),
        ("text state dict", "not a readable torch"),
        ("plain pickle", "not a readable torch|no tensors"),
        ("whole module", "torch.nn.modules.linear.Linear"),
        ("no tensors", "no tensors"),
        ("unknown suffix", "must end in"),
        ("empty folder", "no weights"),
        ("several files", "name one"),
        ("bad config", "not valid JSON"),
        ("missing shard", "model-2-of-2.safetensors is missing"),
        ("shard elsewhere", "same folder"),
        ("tensor not in its shard", "more is not in"),
        ("no weight map", "weight_map"),
    ],
)
def test_what_cannot_be_read_is_named_in_one_line_with_its_rule(kind, rule, tensors, tmp_path):
    path = damaged(kind, tmp_path, tensors)
    with pytest.raises(InputError, match=rule) as caught:
        open_checkpoint(path)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_code_in_a_pickle_is_never_run(tmp_path):
    path = state_dict(tmp_path, {"weight": Payload(tmp_path / "made")})
    with pytest.raises(InputError, match="code in a pickle is never run"):
        open_checkpoint(path)
    assert not (tmp_path / "made").exists()
