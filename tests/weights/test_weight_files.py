"""Whatever holds the weights, and whatever it is called, the same tensors come out, one at a time."""

import gzip
import json
import pickle
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.weights.files import FLOATING, open_checkpoint, readers


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
    folder.mkdir(exist_ok=True)
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
    "torch file named .pth.tar": lambda folder, tensors: state_dict(folder, tensors).rename(folder / "best.pth.tar"),
    "torch file without suffix": lambda folder, tensors: state_dict(folder, tensors).rename(folder / "checkpoint_12"),
    "torch file named .safetensors": lambda folder, tensors: state_dict(folder, tensors).rename(
        folder / "a.safetensors"
    ),
    "safetensors named .bin": lambda folder, tensors: single(folder, tensors).rename(folder / "a.bin"),
    "safetensors named .model": lambda folder, tensors: single(folder, tensors).rename(folder / "a.model"),
}
NOTED = {  # what a reader has to know of a layout
    "old state dict": "the old format of torch.save",
    "torch file named .safetensors": "of torch.save in spite of its name",
    "nested state dict": 'the model is what lies under "state_dict"',
    "model beside optimizer": 'the model is what lies under "model"',
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
    assert NOTED.get(layout, "") in "; ".join(checkpoint.notes)
    assert bool(checkpoint.notes) == (layout in NOTED)


def test_the_configuration_beside_the_weights_is_read_for_a_file_as_for_its_folder(tensors, tmp_path):
    path = single(tmp_path, tensors)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    assert open_checkpoint(path).config == open_checkpoint(tmp_path).config == {"model_type": "bert"}


def test_a_state_dict_is_mapped_anew_after_so_many_bytes(tensors, tmp_path, monkeypatch):
    checkpoint = open_checkpoint(state_dict(tmp_path, tensors))
    monkeypatch.setattr(readers, "REMAP_AFTER", 1)
    for _ in range(2):
        assert torch.equal(checkpoint.read("ids"), tensors["ids"])
        assert not checkpoint.files[0]._open


def bytes_of(write, folder, tensors):
    path = write(folder, tensors)
    content = path.read_bytes()
    path.unlink()
    return content


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1048576\n"
NOT_WEIGHTS = {  # name, content, what the error says it is
    "empty state dict": ("a.pt", b"", "is empty"),
    "empty safetensors": ("a.safetensors", b"", "is empty"),
    "git lfs": ("a.safetensors", POINTER, r"Git LFS pointer.*git lfs pull.*1,048,576 bytes"),
    "git lfs named bin": ("pytorch_model.bin", POINTER, "Git LFS pointer"),
    "dvc": ("a.pt.dvc", b"outs:\n- md5: 12ab\n  size: 3\n  path: a.pt\n", "DVC pointer.*dvc pull"),
    "annex": ("a.pt", b"/annex/objects/SHA256E-s10--12ab.pt\n", "git-annex pointer"),
    "page": ("a.bin", b"\n<!DOCTYPE html>\n<html><body>Log in</body></html>", "HTML page"),
    "page in latin-1": ("a.bin", "<html><p>r\xe9seau".encode("latin-1") + b" " * 600, "HTML page"),
    "refusal": ("a.bin", b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "XML page"),
    "answer": ("a.bin", b'{"error": "Repository not found"}', "JSON"),
    "words": ("a.pt", b"no weights here", "text, no weights.*no weights here"),
    "zeros": ("a.pt", bytes(2000), "begins with zeros"),
    "noise": ("a.pt", b"\x01\xfe\x90" * 300, "neither a safetensors file nor one of torch.save.*01 fe 90"),
    "plain pickle": ("a.pt", pickle.dumps({"a": 1}), "a pickle that torch.save did not write"),
    "hdf5": ("a.h5", b"\x89HDF\r\n\x1a\n" + bytes(9), "HDF5"),
    "gguf": ("a.gguf", b"GGUF\x03\x00\x00\x00", "GGUF"),
    "onnx": ("a.onnx", b"\x08\x07\x12\x07pytorch\x1a\x051.9.0", "ONNX"),
    "onnx by name": ("a.onnx", b"\x08\x07\x12\x04else", "ONNX"),
    "flax": ("flax_model.msgpack", b"\x81\xa6params\x81\xc7\xff", "Flax"),
    "tensorflow": ("model.ckpt-1.data-00000-of-00001", b"\x01\xfe\x90\x81", "TensorFlow checkpoint"),
    "old tensorflow": ("model.ckpt", b"\x00\x01\xfe" * 9 + bytes.fromhex("57fb808b247547db"), "TensorFlow checkpoint"),
    "gzip": ("a.pt.gz", gzip.compress(b"weights"), "compressed by gzip"),
}


@pytest.mark.parametrize("kind", NOT_WEIGHTS)
def test_what_holds_no_weights_is_named_by_its_content(kind, tmp_path):
    name, content, cause = NOT_WEIGHTS[kind]
    (tmp_path / name).write_bytes(content)
    refused(tmp_path / name, cause)


def refused(path, cause):
    with pytest.raises(InputError, match=cause) as caught:
        open_checkpoint(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("write", [single, state_dict, LAYOUTS["old state dict"]])
@pytest.mark.parametrize("share", [0.05, 0.3, 0.7, 0.999])
def test_a_file_that_was_cut_off_anywhere_is_refused_as_such(write, share, tensors, tmp_path):
    content = bytes_of(write, tmp_path, tensors)
    path = tmp_path / "part.bin"
    path.write_bytes(content[: int(len(content) * share)])
    refused(path, "cut off")


def test_archives_of_other_programs_are_told_apart(tensors, tmp_path):
    np.save(tmp_path / "a.npy", np.ones((2, 2)))
    np.savez(tmp_path / "a.npz", a=np.ones((2, 2)))
    torch.jit.script(torch.nn.Linear(2, 2)).save(tmp_path / "a.pt")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(state_dict(tmp_path, tensors), "weights.pt")
    with tarfile.open(tmp_path / "old.pt", "w") as archive:
        for name in ("sys_info", "pickle", "tensors", "storages"):
            (tmp_path / name).write_bytes(b"")
            archive.add(tmp_path / name, name)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("notes.txt", "none")
    causes = {
        "a.npy": "NumPy array",
        "a.npz": "NumPy archive",
        "a.pt": "TorchScript",
        "a.tar": "a tar archive",
        "old.pt": "PyTorch before 0.1.10",
        "a.zip": "torch.save did not write.*notes.txt",
    }
    for name, cause in causes.items():
        refused(tmp_path / name, cause)


def damaged(kind, folder, tensors):
    if kind == "missing":
        return folder / "none.safetensors"
    if kind == "dead link":
        (folder / "a.pt").symlink_to(folder / "blob")
        return folder / "a.pt"
    if kind == "no tensors":
        return state_dict(folder, {"epoch": 3})
    if kind == "empty folder":
        return folder
    if kind == "weights below":
        (folder / "unet").mkdir()
        single(folder / "unet", tensors)
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
    elif kind == "pointer for a shard":
        (folder / "model-2-of-2.safetensors").write_bytes(POINTER)
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
        ("dead link", "a link to .*blob, which is not there"),
        ("no tensors", "no tensors in it; its keys: epoch"),
        ("empty folder", "no weights"),
        ("weights below", "unet/weights.safetensors"),
        ("several files", "name one of a.safetensors, weights.safetensors"),
        ("bad config", "not valid JSON"),
        ("missing shard", "model-2-of-2.safetensors is missing"),
        ("pointer for a shard", "model-2-of-2.safetensors: a Git LFS pointer"),
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


def test_files_of_a_folder_that_are_not_read_are_listed(tensors, tmp_path):
    single(tmp_path, tensors).rename(tmp_path / "model.safetensors")
    state_dict(tmp_path, tensors).rename(tmp_path / "pytorch_model.bin")
    for name in ("adapter_model.safetensors", "optimizer.pt", "training_args.bin", "config.json", "README.md"):
        (tmp_path / name).write_bytes(b"{}")
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "model.onnx").write_bytes(b"")
    checkpoint = open_checkpoint(tmp_path)
    assert [file.path.name for file in checkpoint.files] == ["model.safetensors"]
    assert {entry.name: entry.reason.split()[0:2] for entry in checkpoint.beside} == {
        "adapter_model.safetensors": ["an", "adapter"],
        "optimizer.pt": ["a", "file"],
        "pytorch_model.bin": ["a", "further"],
        "training_args.bin": ["a", "file"],
        "onnx/model.onnx": ["a", "file"],
    }


def test_a_shard_that_the_index_does_not_name_is_listed(tensors, tmp_path):
    sharded(tmp_path, tensors)
    (tmp_path / "model-3-of-3.safetensors").write_bytes(b"")
    assert [entry.name for entry in open_checkpoint(tmp_path).beside] == ["model-3-of-3.safetensors"]


def test_a_key_takes_the_names_that_it_begins_in_a_file_and_in_shards(tensors, tmp_path):
    for path in (single(tmp_path, tensors), sharded(tmp_path / "folder", tensors)):
        checkpoint = open_checkpoint(path, "layer.2")
        assert list(checkpoint.tensors) == ["layer.2.bias", "layer.2.weight"]
        assert {entry.name for entry in checkpoint.beside} == {"ids", "layer.10.weight"}
        with pytest.raises(InputError, match=r"--key laye.*ids, layer"):
            open_checkpoint(path, "laye")
