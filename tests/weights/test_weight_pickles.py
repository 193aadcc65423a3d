"""Whatever a checkpoint keeps beside its weights: they are read, or the class in the way is named; nothing is run."""

import argparse
import collections
import dataclasses
import datetime
import decimal
import enum
import os
import pathlib
import pickle
import types
import uuid
import zipfile

import numpy as np
import pytest
import torch

from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.weights.files import open_checkpoint

WEIGHT = torch.arange(20.0).reshape(4, 5)


def saved(folder, whole, **options):
    torch.save(whole, folder / "a.pt", **options)
    return folder / "a.pt"


HARMLESS = {
    "numpy scalars": {
        "loss": np.float64(0.5),
        "step": np.int64(3),
        "done": np.bool_(True),
        "day": np.datetime64("2026-01-01"),
    },
    "random states": {"a": np.random.get_state(), "b": np.random.default_rng(0), "c": torch.get_rng_state()},
    "a type of numpy": np.dtype("float32"),
    "arrays of objects and words": [np.array([{"a": 1}, None], dtype=object), np.array(["a", "b"])],
    "a Namespace": argparse.Namespace(lr=0.1, path=pathlib.Path("runs")),
    "paths": [pathlib.Path("a"), pathlib.PureWindowsPath("C:/a"), pathlib.PurePosixPath("b")],
    "dates": [
        datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
        datetime.date(2026, 1, 1),
        datetime.timedelta(1),
    ],
    "containers": [
        collections.OrderedDict(a=1),
        collections.defaultdict(list, {"a": [1]}),
        collections.Counter("aab"),
        collections.deque([1, 2], maxlen=3),
        types.SimpleNamespace(a=1),
        frozenset([1]),
        {1, 2},
        slice(1, 2),
        range(3),
    ],
    "numbers": [decimal.Decimal("1.5"), 1 + 2j, 10**40, uuid.UUID(int=3), b"bytes", bytearray(b"more")],
    "things of torch": [
        torch.Size([1, 2]),
        torch.float32,
        torch.device("cpu"),
        torch.nn.functional.relu,
        torch.optim.Adam,
    ],
}


@pytest.mark.parametrize("kind", HARMLESS)
@pytest.mark.parametrize("new", [True, False])
def test_what_is_harmless_beside_the_weights_does_not_keep_them_from_being_read(kind, new, tmp_path):
    path = saved(tmp_path, {"model": {"a.weight": WEIGHT}, "rest": HARMLESS[kind]}, _use_new_zipfile_serialization=new)
    checkpoint = open_checkpoint(path)
    assert list(checkpoint.tensors) == ["a.weight"]
    assert torch.equal(checkpoint.read("a.weight"), WEIGHT)
    assert "rest" in "; ".join(checkpoint.notes)


@pytest.mark.parametrize(
    "name",
    ["pathlib.WindowsPath", "pathlib._local.PosixPath", "numpy._core.multiarray.scalar", "lightning.x.AttributeDict"],
)
def test_the_name_of_a_class_is_all_that_is_needed_of_it(name, tmp_path):
    module, last = name.rsplit(".", 1)
    path = tmp_path / "a.pt"
    torch.save({"model": {"a.weight": WEIGHT}, "rest": collections.Counter()}, path)
    with zipfile.ZipFile(path) as archive:
        records = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for record, content in records.items():
            archive.writestr(record, content.replace(b"ccollections\nCounter\n", f"c{module}\n{last}\n".encode()))
    assert torch.equal(open_checkpoint(path).read("a.weight"), WEIGHT)


@pytest.mark.parametrize("level", [0, 9])
def test_an_archive_that_was_compressed_since_is_refused_because_torch_would_map_the_compressed_bytes(level, tmp_path):
    torch.save({"a.weight": WEIGHT}, tmp_path / "a.pt")
    with (
        zipfile.ZipFile(tmp_path / "a.pt") as archive,
        zipfile.ZipFile(tmp_path / "b.pt", "w", zipfile.ZIP_DEFLATED, compresslevel=level) as again,
    ):
        for entry in archive.infolist():
            again.writestr(entry.filename, archive.read(entry), zipfile.ZIP_DEFLATED, level)
    words = r"b\.pt: not as torch\.save writes it: a/data\.pkl is compressed; zip it again without compression"
    with pytest.raises(InputError, match=words):
        open_checkpoint(tmp_path / "b.pt")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("layout", ["C", "F"])
@pytest.mark.parametrize("kind", ["f2", "f4", "f8", "i4", "u1", "c8"])
def test_arrays_are_rebuilt_from_their_bytes(order, layout, kind, tmp_path):
    array = np.asarray(np.arange(20).reshape(4, 5), dtype=f"{order}{kind}", order=layout)
    checkpoint = open_checkpoint(saved(tmp_path, {"params": {"w": array}}))
    np.testing.assert_array_equal(checkpoint.read("w").numpy(), array)


@dataclasses.dataclass
class Config:
    width: int = 3


class Mode(enum.Enum):
    FAST = 1


class Settings(dict):
    pass


class Steps(list):
    pass


@pytest.mark.parametrize("value", [Config(), Mode.FAST, Settings(a=1), Steps([1]), len, torch.nn.Linear(2, 2)])
def test_a_class_that_is_not_known_is_named_with_the_option_that_passes_it_by(value, tmp_path):
    path = saved(tmp_path, {"model": {"a.weight": WEIGHT}, "rest": value})
    name = getattr(value, "__name__", type(value).__name__)
    with pytest.raises(InputError, match=rf"{name}.*code in a pickle is never run.*--skip-objects") as caught:
        open_checkpoint(path)
    assert "\n" not in str(caught.value)
    checkpoint = open_checkpoint(path, skip_objects=True)
    assert torch.equal(checkpoint.read("a.weight"), WEIGHT)
    assert any(name in note and "--skip-objects" in note for note in checkpoint.notes)


def test_a_whole_module_has_the_names_of_its_state_dict_when_its_objects_are_skipped(tmp_path):
    module = torch.nn.TransformerEncoderLayer(8, 2, 16)
    path = saved(tmp_path, module)
    with pytest.raises(InputError, match=r"TransformerEncoderLayer.*save model\.state_dict\(\)"):
        open_checkpoint(path)
    checkpoint = open_checkpoint(path, skip_objects=True)
    state = module.state_dict()
    assert checkpoint.tensors.keys() == state.keys()
    assert all(torch.equal(checkpoint.read(name), tensor) for name, tensor in state.items())


def test_a_whole_module_in_the_old_format_asks_for_its_state_dict(tmp_path):
    path = saved(tmp_path, torch.nn.Linear(2, 2), _use_new_zipfile_serialization=False)
    for skip_objects in (False, True):
        with pytest.raises(InputError, match=r"code in a pickle is never run; save model\.state_dict\(\)"):
            open_checkpoint(path, skip_objects=skip_objects)


class Payload:
    """What a malicious pickle would run."""

    def __init__(self, call, *arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


@pytest.mark.parametrize("skip_objects", [False, True])
@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("call", [os.mkdir, eval, pathlib.Path.mkdir, pickle.loads, torch.load])
def test_code_in_a_pickle_is_never_run(call, new, skip_objects, tmp_path):
    made = tmp_path / "made"
    arguments = {
        os.mkdir: [str(made)],
        eval: [f"__import__('os').mkdir({str(made)!r})"],
        pathlib.Path.mkdir: [made],
        pickle.loads: [pickle.dumps(Payload(os.mkdir, str(made)))],
        torch.load: [str(made)],
    }[call]
    whole = {"model": {"a.weight": WEIGHT}, "rest": Payload(call, *arguments)}
    path = saved(tmp_path, whole, _use_new_zipfile_serialization=new)
    try:
        open_checkpoint(path, skip_objects=skip_objects)
    except InputError as error:
        assert "code in a pickle is never run" in str(error)
    else:
        assert skip_objects
    assert not made.exists()


def test_what_was_allowed_before_is_allowed_after_and_nothing_more(tmp_path):
    before = set(torch.serialization.get_safe_globals())
    open_checkpoint(saved(tmp_path, {"a.weight": WEIGHT, "rest": HARMLESS["a Namespace"]}))
    with pytest.raises(InputError):
        open_checkpoint(saved(tmp_path, {"a.weight": WEIGHT, "rest": Config()}))
    assert set(torch.serialization.get_safe_globals()) == before


@pytest.mark.parametrize("protocol", [0, 4])
def test_a_protocol_that_the_safe_reader_does_not_know_is_named(protocol, tmp_path):
    with pytest.raises(InputError, match=r"a pickle protocol.*without pickle_protocol"):
        open_checkpoint(saved(tmp_path, {"a.weight": WEIGHT}, pickle_protocol=protocol))


def test_a_parameter_without_entries_is_listed(tmp_path):
    checkpoint = open_checkpoint(saved(tmp_path, {"a.weight": WEIGHT, "b.weight": torch.nn.LazyLinear(3).weight}))
    assert [entry.name for entry in checkpoint.beside] == ["b.weight"]
    assert "lazy module" in checkpoint.beside[0].reason


@pytest.mark.parametrize("seed", range(20))
def test_a_damaged_file_ends_in_one_line_or_gives_its_tensors(seed, tmp_path):
    generator = np.random.default_rng(seed)
    path = saved(
        tmp_path,
        {"model": {"a.weight": WEIGHT}, "rest": HARMLESS["containers"]},
        _use_new_zipfile_serialization=bool(seed % 2),
    )
    content = bytearray(path.read_bytes())
    for place in generator.integers(0, len(content), 8):
        content[place] = generator.integers(256)
    path.write_bytes(bytes(content))
    try:
        checkpoint = open_checkpoint(path)
        for name in checkpoint.tensors:
            checkpoint.read(name)
    except InputError as error:
        assert "\n" not in str(error)
        assert str(path) in str(error)
