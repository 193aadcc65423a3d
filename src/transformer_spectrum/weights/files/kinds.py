"""What a file is by its first bytes, whatever its name ends in; what holds no weights is refused by its cause."""

from __future__ import annotations

import contextlib
import json
import re
import tarfile
import zipfile
from pathlib import Path
from typing import Any, Literal

from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.parsing import parsing

Kind = Literal["safetensors", "torch zip", "torch legacy", "index"]

HEAD = 512  # bytes that are looked at; a tar archive says what it is at byte 257
HEADER_LIMIT = 100_000_000  # bytes of a safetensors header, the limit of its library
TORCH_LEGACY = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # torch.serialization.MAGIC_NUMBER, pickled behind the protocol
TENSORFLOW_TABLE = bytes.fromhex("57fb808b247547db")  # the end of a TensorFlow checkpoint's index
_UNPACK = "unpack it first"
_NOT_WEIGHTS = (
    (b"\x93NUMPY", "a NumPy array (.npy); save its matrices with torch.save or safetensors"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras and TensorFlow write; convert it to safetensors"),
    (b"GGUF", "a GGUF file of llama.cpp; use the safetensors it was converted from"),
    (b"lmgg", "a GGML file of llama.cpp; use the weights it was converted from"),
    (b"fmgg", "a GGML file of llama.cpp; use the weights it was converted from"),
    (b"tjgg", "a GGML file of llama.cpp; use the weights it was converted from"),
    (b"\x1f\x8b", f"compressed by gzip; {_UNPACK}"),
    (b"BZh", f"compressed by bzip2; {_UNPACK}"),
    (b"\xfd7zXZ\x00", f"compressed by xz; {_UNPACK}"),
    (b"\x28\xb5\x2f\xfd", f"compressed by zstd; {_UNPACK}"),
    (b"\x04\x22\x4d\x18", f"compressed by lz4; {_UNPACK}"),
    (b"7z\xbc\xaf\x27\x1c", f"a 7z archive; {_UNPACK}"),
    (b"Rar!", f"a RAR archive; {_UNPACK}"),
    (b"PAR1", "a Parquet table, no weights"),
    (b"ARROW1", "an Arrow table, no weights"),
    (b"\x89PNG", "a PNG picture, no weights"),
    (b"\xff\xd8\xff", "a JPEG picture, no weights"),
    (b"%PDF", "a PDF document, no weights"),
    (b"SQLite format 3", "an SQLite database, no weights"),
)
_POINTERS = (
    (rb"version https://(git-lfs|hawser)\.github\.com", "a Git LFS pointer, not the weights; run `git lfs pull`"),
    (rb"# xet version", "a Git Xet pointer, not the weights; run `git xet checkout` or download the file"),
    (rb"/?(\.\./)*(\.git/)?annex/objects/", "a git-annex pointer, not the weights; run `git annex get`"),
    (rb"(?s)outs:\s*\n\s*- .*\b(md5|etag|hash)\b", "a DVC pointer, not the weights; run `dvc pull` and name the file"),
)


def kind_of(path: Path) -> Kind:
    """How to read a file, decided by its content.

    Args:
        path: of a file.
    Returns:
        "safetensors", "torch zip" (torch.save since PyTorch 1.6), "torch legacy" (before), or "index", the JSON
        of a sharded checkpoint.
    Raises:
        InputError: anything else; the message names the file and what it is: a pointer of Git LFS, a page that a
            download saved, another format, an empty file or one that was cut off.

    >>> import torch
    >>> torch.save({"fc.weight": torch.ones(2, 3)}, "weights.pt")
    >>> kind_of(Path("weights.pt"))
    'torch zip'
    """
    if not path.is_file():
        raise InputError(f"{path}: is no regular file")
    size = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(HEAD)
    if not head:
        raise InputError(f"{path}: is empty (0 bytes); the download or copy did not finish")
    if head[:2] == b"PK":
        return _zip(path)
    if head[8:9] == b"{" and _header_length(head) <= HEADER_LIMIT:
        _check_safetensors(path, size, _header_length(head))
        return "safetensors"
    if TORCH_LEGACY in head[:32]:
        return "torch legacy"
    text = _text(head)
    if text.startswith("{") and path.suffix == ".json":
        return "index"
    raise InputError(f"{path}: {_cause(path, head, size, text)}")


def _header_length(head: bytes) -> int:
    return int.from_bytes(head[:8], "little")


def _check_safetensors(path: Path, size: int, length: int) -> None:
    """A header that is whole and data as long as it says; whether they fit otherwise, the library says."""
    if 8 + length > size:
        raise InputError(f"{path}: a safetensors file that was cut off: a header of {length} bytes, {size} in the file")
    with path.open("rb") as stream:
        stream.seek(8)
        ends: list[Any] = []
        with contextlib.suppress(Exception):  # whatever is wrong, the library reads it next and says so
            header = json.loads(stream.read(length))
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    if ends and all(isinstance(end, int) for end in ends) and 8 + length + max(ends) > size:
        whole = 8 + length + max(ends)
        raise InputError(f"{path}: a safetensors file that was cut off: {size} of {whole} bytes")


def _text(head: bytes) -> str:
    """The beginning as text without leading space; empty where it is none."""
    try:
        text = head.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if head.lstrip().startswith(b"<"):  # a page in an older encoding
            return head.lstrip().decode("latin-1")
        if error.start < len(head) - 4:  # a character cut at the end is still text
            return ""
        text = head[: error.start].decode("utf-8-sig")
    return text.lstrip() if all(character.isprintable() or character.isspace() for character in text) else ""


def _zip(path: Path) -> Kind:
    hint = "the file was cut off or damaged (a download or a save that did not finish)"
    with parsing(path, "a whole zip archive, as torch.save writes", hint), zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        compressed = [record.filename for record in archive.infolist() if record.compress_type != zipfile.ZIP_STORED]
    inside = {name.split("/", 1)[-1] for name in names}
    if "constants.pkl" in inside or "bytecode.pkl" in inside:
        reason = "a TorchScript archive (torch.jit.save), which holds code; save model.state_dict() with torch.save"
    elif "data.pkl" in inside and compressed:  # where torch maps it, it takes the compressed bytes for entries
        reason = f"not as torch.save writes it: {compressed[0]} is compressed; zip it again without compression"
    elif "data.pkl" in inside:
        return "torch zip"
    elif "archive_format" in inside or any("models/model.json" in name for name in names):
        reason = "a program of torch.export (.pt2), which holds code; save model.state_dict() with torch.save"
    elif any(name.endswith(".data/extern_modules") for name in names):
        reason = "a torch.package archive, which holds code; save model.state_dict() with torch.save"
    elif "model.weights.h5" in inside:
        reason = "a Keras file (.keras); convert it to safetensors"
    elif names and all(name.endswith(".npy") for name in names):
        reason = "a NumPy archive (.npz); save its matrices with torch.save or safetensors"
    else:
        reason = (
            f"a zip archive that torch.save did not write (it holds {', '.join(names[:3]) or 'nothing'}); {_UNPACK}"
        )
    raise InputError(f"{path}: {reason}")


def _cause(path: Path, head: bytes, size: int, text: str) -> str:
    """What a file is that cannot be read."""
    for pattern, reason in _POINTERS:
        if re.match(pattern, head.lstrip()):
            stated = re.search(rb"^size (\d+)", head, re.MULTILINE)
            return f"{reason} ({int(stated[1]):,} bytes)" if stated else reason
    for magic, reason in _NOT_WEIGHTS:
        if head.startswith(magic):
            return reason
    if not head.strip(b"\x00"):
        return "begins with zeros: a download that did not finish, or a damaged disk"
    if head[257:262] == b"ustar" or (size >= HEAD and tarfile.is_tarfile(path)):
        return _tar(path)
    if text:
        return _words(text)
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05":
        return (
            "a pickle that torch.save did not write, which is not opened: a pickle may hold code; "
            "load it where you trust it and save a state dict by torch.save or safetensors"
        )
    return _by_name(path, head)


def _tar(path: Path) -> str:
    with parsing(path, "a whole tar archive", "it was cut off or damaged"), tarfile.open(path) as archive:
        names = {member.name.split("/")[-1] for member in archive}
    if {"storages", "tensors", "pickle"} <= names:
        return (
            "the tar format of PyTorch before 0.1.10, which holds a pickle that is not opened; load it in an old "
            "PyTorch where you trust it and save a state dict"
        )
    return f"a tar archive; {_UNPACK}"


def _words(text: str) -> str:
    start = text[:200].lower()
    if start.startswith("<?xml") or "<error>" in start:
        return "an XML page, such as a server's refusal, saved in place of the weights; download the file again"
    if start.startswith("<"):
        return "an HTML page, saved in place of the weights (a login, an error, a preview); download the file again"
    if start.startswith(("{", "[")):
        return "JSON, no weights; a server's answer in place of the file, or name the file of weights"
    line = text.splitlines()[0][:40]
    return f"text, no weights: it begins with {line!r}"


def _by_name(path: Path, head: bytes) -> str:
    """The last guess, for formats that have no unmistakable beginning."""
    suffixes = {
        ".onnx": "an ONNX graph",
        ".pb": "a TensorFlow graph",
        ".tflite": "a TensorFlow Lite model",
        ".msgpack": "Flax's msgpack",
        ".mlmodel": "a Core ML model",
        ".pdparams": "a PaddlePaddle file",
        ".ot": "a file of tch-rs",
    }
    if b"\x12\x07pytorch" in head[:32] or b"onnx" in head[:64].lower():
        return "an ONNX graph; use the weights it was exported from, as safetensors or a state dict"
    if head[4:8] == b"TFL3":
        return "a TensorFlow Lite model; use the weights it was converted from"
    if path.suffix in suffixes:
        return f"{suffixes[path.suffix]} by its name; convert it to safetensors or a state dict"
    if _ends_with(path, TENSORFLOW_TABLE):
        return "a TensorFlow checkpoint; convert it to safetensors or a state dict"
    if re.search(r"\.data-\d+-of-\d+$|\.index$", path.name) or path.name == "checkpoint":
        return "a TensorFlow checkpoint by its name; convert it to safetensors or a state dict"
    return (
        "neither a safetensors file nor one of torch.save: damaged, encrypted or of another format "
        f"(it begins with {head[:8].hex(' ')})"
    )


def _ends_with(path: Path, magic: bytes) -> bool:
    with path.open("rb") as stream:
        stream.seek(-min(len(magic), path.stat().st_size), 2)
        return stream.read() == magic
