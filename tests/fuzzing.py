"""Files that nobody should write, made from random numbers alone: the same ones, the same file.

Each kind begins with something legal and damages it, at the level of its meaning (values, shapes, headers) or of its
bytes. `readers.judged` says what must come of it.
"""

from __future__ import annotations

import copy
import gzip
import io
import json
import pickle
import random
import struct
import tempfile
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from made_up import layout, training
from safetensors.torch import save as safetensors_bytes
from study_protocol import PROTOCOL

from transformer_spectrum.config import tree
from transformer_spectrum.config.aliases import KEYS

ROOT = Path(__file__).parents[1]
SCALARS = (
    *("", " ", "null", "~", "true", "no", "off", ".nan", ".inf", "-.inf", "nan", "inf", "1e400", "-1e400", "1e-400"),
    *("0", "-1", "1_000", "0x1f", "0o17", "1:30:00", "2023-02-30", "2023-01-01 25:00:00", "0000-00-00", "9999-12-31"),
    *("!!int abc", "!!float x", "!!binary '$'", "!!timestamp x", "!!set {a}", "!!python/name:os.system", "!x y", "*a"),
    *("&a [*a]", "<<", "{<<: 1}", "? [a]: b", "[", "{", "]", "'", '"', "|", ">", "@", "`", "%", "- -", "[[[[]]]]"),
    *(
        "9" * 25,
        "9" * 320,
        "9" * 5000,
        "0." + "1" * 400,
        "1" + "0" * 400 + ".5",
        "1e1000000000",
        "2**64",
        "18446744073709551616",
    ),
    *("é" * 50, "\u202e", "\ud7ff", "\x00", "\x1b[31m", "<script>", "$(touch x)", "; touch x", "../../x", "/dev/zero"),
    *("x" * 5000, "[" * 200, "[" * 1500, "{a: " * 100, "a: b: c", "- a\n- b", "#", "...", "---", "%YAML 9.9"),
)
CELLS = (
    *(
        "",
        "nan",
        "NA",
        "inf",
        "-inf",
        "1e308",
        "1e400",
        "-0",
        "1,5",
        "1.5.2",
        "٣",
        "１",
        "0x10",
        "1_0",
        "9" * 400,
        "x" * 300,
    ),
    *(
        "2023-02-30",
        "9999-12-31",
        "0001-01-01",
        "2023-01-01T00:00:00+99:99",
        "2023-W53-7",
        "1e30",
        "-1e30",
        "1970",
        "24:00",
    ),
    *(
        "2023-03-26 02:30 Europe/Berlin",
        "1.7e18",
        "\x00",
        '"',
        "'",
        "\n",
        "\r",
        "\ufeff",
        "=1+1",
        "True",
        "2023Q5",
        "13/13/2023",
    ),
)


def spoilt(content: bytes, chance: random.Random) -> bytes:
    """Bytes with a few of them changed, left out, doubled, or cut off."""
    damaged = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 8))):
        if not damaged:
            break
        place, length = chance.randrange(len(damaged)), chance.choice((1, 1, 2, 4, 8, 64))
        match chance.randrange(6):
            case 0:
                damaged[place] ^= 1 << chance.randrange(8)
            case 1:
                damaged[place : place + length] = bytes(chance.choice((0, 255, 127, 128)) for _ in range(length))
            case 2:
                del damaged[place : place + length]
            case 3:
                damaged[place:place] = damaged[place : place + length]
            case 4:
                del damaged[place:]
            case 5:
                damaged[place : place + length] = chance.randbytes(length)
    return bytes(damaged)


@cache
def _params() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "params.yaml").read_text())


def value(chance: random.Random, depth: int = 0) -> Any:
    """Of a parameter, or of anything."""
    match chance.randrange(9 if depth < 3 else 6):
        case 0:
            return chance.choice((None, True, False, float("inf"), float("-inf"), float("nan"), -0.0))
        case 1:
            return chance.choice((-1, 0, 1)) * 10 ** chance.choice((0, 1, 5, 10, 18, 19, 20, 100, 308, 309, 400))
        case 2:
            return chance.choice((-1, 1)) * 10.0 ** chance.uniform(-320, 308)
        case 3 | 4 | 5:
            return chance.choice(SCALARS)
        case 6:
            return [value(chance, depth + 1) for _ in range(chance.choice((0, 1, 2, 50)))]
        case 7:
            return {str(value(chance, 3)): value(chance, depth + 1) for _ in range(chance.choice((0, 1, 2, 20)))}
    return chance.choice((0.5, 1, 2, 3, 7, 64))


def _yaml(values: dict[str, Any], chance: random.Random) -> bytes:
    """A tree as YAML, some of its values as they were never meant to be written."""
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    if chance.random() < 0.5:
        lines = text.splitlines()
        for _ in range(chance.choice((1, 1, 3))):
            i = chance.randrange(len(lines))
            key, colon, _ = lines[i].partition(":")
            lines[i] = chance.choice(
                (f"{key}{colon} {chance.choice(SCALARS)}", chance.choice(SCALARS), f" {lines[i]}", "")
            )
        text = "\n".join(lines) + "\n"
    content = text.encode("utf-8", errors="surrogatepass")
    return spoilt(content, chance) if chance.random() < 0.2 else content


def params(chance: random.Random) -> bytes:
    """params.yaml."""
    values = tree.flatten(copy.deepcopy(_params()))
    for _ in range(chance.choice((1, 1, 2, 5))):
        name = chance.choice(list(values))
        match chance.randrange(4):
            case 0:
                values.pop(name)
            case 1:
                values[f"{name}{chance.choice(('x', '.x', '-', ' '))}"] = values.pop(name)
            case _:
                values[name] = value(chance)
    try:
        return _yaml(tree.nest(values), chance)
    except TypeError:  # a value and a section of one name
        return _yaml({"seed": 1}, chance)


def config(chance: random.Random) -> bytes:
    """A config, .yaml."""
    names = chance.sample(
        [*KEYS, "name", "data.dataset", "parameters.seed", "parameters.loss.q"], chance.randrange(1, 6)
    )
    return _yaml(tree.nest({name: value(chance) for name in names}), chance)


@cache
def _legal(name: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / name).read_text())


def _damaged(content: dict[str, Any], chance: random.Random) -> bytes:
    """A tree with a few of its leaves or branches taken away, renamed, or of other values."""
    content = copy.deepcopy(content)
    for _ in range(chance.choice((1, 1, 2, 4))):
        node: Any = content
        while True:
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            if not keys:
                break
            key = chance.choice(keys)
            if isinstance(node[key], dict | list) and chance.random() < 0.85:
                node = node[key]
                continue
            match chance.randrange(5):
                case 0:
                    del node[key]
                case 1 if isinstance(node, dict):
                    node[f"{key}{chance.choice(('x', '.x', '-', ' '))}"] = node.pop(key)
                case 2 if isinstance(node, list):
                    node.insert(0, node[key])
                case _:
                    node[key] = value(chance)
            break
    return _yaml(content, chance)


def grid(chance: random.Random) -> bytes:
    """A grid of a sweep."""
    return _damaged(_legal(f"studies/grids/{chance.choice(('synthetic', 'covid', 'rvr'))}.yaml"), chance)


def protocol(chance: random.Random) -> bytes:
    """A study's protocol."""
    return _damaged(chance.choice((PROTOCOL, _legal("studies/protocol.yaml"))), chance)


def claim(chance: random.Random) -> bytes:
    """A published claim."""
    names = sorted(path.name for path in (ROOT / "studies/claims").glob("*.yaml"))
    return _damaged(_legal(f"studies/claims/{chance.choice(names)}"), chance)


def overlay(chance: random.Random) -> bytes:
    """Parameters that are laid over others."""
    names = sorted(path.name for path in (ROOT / "config/overlays").glob("*.yaml"))
    return _damaged(_legal(f"config/overlays/{chance.choice(names)}"), chance)


def toml(chance: random.Random) -> bytes:
    """A config, .toml."""
    names = chance.sample(list(KEYS), chance.randrange(1, 6))
    lines = [f"{name} = {chance.choice((*SCALARS, '1', '0.5', repr(str(i))))}" for i, name in enumerate(names)]
    content = "\n".join(lines).encode("utf-8", errors="surrogatepass")
    return spoilt(content, chance) if chance.random() < 0.3 else content


def json_file(chance: random.Random) -> bytes:
    """run.json, an index and the like."""
    text = json.dumps(
        {"name": "a", "optimizer": "adam", "dataset": "synthetic", "values": [value(chance) for _ in range(3)]}
    )
    match chance.randrange(4):
        case 0:
            return ("[" * chance.choice((10, 990, 5000)) + text).encode()
        case 1:
            return text.replace("a", "9" * chance.choice((10, 5000)), 1).encode()
    return spoilt(text.encode(), chance)


def csv(chance: random.Random) -> bytes:
    """Series as a table, long or wide."""
    rows, start = chance.choice((2, 5, 30)), chance.choice((0, 1990, 20_000))
    times = [
        chance.choice((str(start + i), f"2023-01-{i + 1:02d}", f"{start + i}.5", f"2023-01-01 {i % 24:02d}:30"))
        if chance.random() < 0.05
        else f"2023-{1 + i // 28:02d}-{1 + i % 28:02d}"
        for i in range(rows)
    ]
    table = [["date", "entity", "value", "flag"], *([times[i], "ab"[i % 2], f"{i}.5", "1"] for i in range(rows))]
    if chance.random() < 0.3:
        table = [line[: chance.choice((2, 3))] for line in table]
    for _ in range(chance.choice((0, 1, 1, 3))):
        line = table[chance.randrange(len(table))]
        line[chance.randrange(len(line))] = chance.choice(CELLS)
    if chance.random() < 0.2:
        column = chance.randrange(len(table[0]))
        for line in table[1:]:
            line[min(column, len(line) - 1)] = chance.choice(CELLS)
    separator = chance.choice((",", ",", ",", ";", "\t"))
    content = chance.choice(("\n", "\n", "\r\n", "\r")).join(separator.join(line) for line in table)
    encoded = content.encode(chance.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1")), errors="replace")
    return spoilt(encoded, chance) if chance.random() < 0.3 else encoded


def parquet(chance: random.Random) -> bytes:
    """Series as a Parquet table of odd types, or a damaged one."""
    count = chance.choice((0, 1, 5))
    columns: dict[str, Any] = {
        "date": pd.date_range(chance.choice(("2023-01-01", "1700-01-01", "2260-01-01")), periods=count),
        "entity": ["a"] * count,
        "value": np.arange(count) * chance.choice((1.0, np.nan, 1e300)),
    }
    odd = (
        [b"\xff"] * count,
        [[1, 2]] * count,
        [{"a": 1}] * count,
        [None] * count,
        np.arange(count, dtype=np.float16),
        np.arange(count).astype("timedelta64[ns]"),
        pd.Categorical(["x"] * count),
        np.zeros(count, dtype=bool),
        [2**63 - 1] * count,
        pd.date_range("2023-03-26", periods=count, freq="h", tz="Europe/Berlin"),
    )
    if chance.random() < 0.6:
        columns[chance.choice([*columns, "more"])] = chance.choice(odd)
    stream = io.BytesIO()
    frame = pd.DataFrame(columns)
    if chance.random() < 0.2 and count:
        frame = frame.set_index(chance.choice([name for name in frame if frame[name].dtype != np.float16]))
    frame.to_parquet(stream, index=None)
    return spoilt(stream.getvalue(), chance) if chance.random() < 0.6 else stream.getvalue()


def npy(chance: random.Random) -> bytes:
    """An array with a header that may lie."""
    kinds = ("<f8", ">f4", "<i2", "|b1", "<c16", "<U3", "|S2", "|O", "<M8[D]", "|V8", "<f2", "<u8", "x", "(2,3)<f8")
    sizes = (0, 1, 2, 3, -1, 10**9, 10**19, 2**63)
    shape = tuple(chance.choice(sizes[: chance.choice((4, 8))]) for _ in range(chance.choice((0, 1, 2, 3, 3, 5, 70))))
    fields = (
        f"'descr': {chance.choice(kinds)!r}, 'fortran_order': {chance.choice((False, True, None))}, 'shape': {shape}"
    )
    header = chance.choice((f"{{{fields}, }}", f"{{{fields}", "[" * 3000, "{}", "x")).encode() + b"\n"
    version = chance.choice((b"\x01\x00", b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x07\x07"))
    length = struct.pack("<H" if version[0] == 1 else "<I", len(header) + chance.choice((0, 0, 0, 1, 60_000)))
    crafted = b"\x93NUMPY" + version + length + header + bytes(chance.choice((0, 8, 64, 1000)))
    if chance.random() < 0.5:
        return crafted
    stream = io.BytesIO()
    np.save(stream, np.random.default_rng(chance.randrange(99)).normal(size=(3, 20, 2)))
    return spoilt(stream.getvalue(), chance)


def npz(chance: random.Random) -> bytes:
    """An archive of arrays."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", chance.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for name in chance.sample(
            ("series.npy", "entities.npy", "series", "x.npy", "../x.npy", "x" * 300), chance.randrange(4)
        ):
            archive.writestr(name, npy(chance) if chance.random() < 0.8 else b"text")
    return spoilt(stream.getvalue(), chance) if chance.random() < 0.5 else stream.getvalue()


@cache
def _covid() -> bytes:
    days = [f"2022-01-{i:02d}" for i in range(1, 29)]
    return ("date,Malta,Spain\n" + "".join(f"{day},{i},{i}.5\n" for i, day in enumerate(days))).encode()


def _cells(text: str, chance: random.Random) -> bytes:
    lines = [line.split(",") for line in text.splitlines()]
    for _ in range(chance.choice((0, 1, 2))):
        line = chance.choice(lines)
        line[chance.randrange(len(line))] = chance.choice(CELLS)
    content = ("\n".join(",".join(line) for line in lines) + "\n").encode("utf-8", errors="surrogatepass")
    return spoilt(content, chance) if chance.random() < 0.6 else content


def covid(chance: random.Random) -> bytes:
    """The raw table of cases."""
    return _cells(_covid().decode(), chance)


def rvr(chance: random.Random) -> bytes:
    """The raw table of hospital series."""
    head = "jurisdiction,collection_date,average_inpatient_beds_1,total_admissions_all_influenza\n"
    return _cells(
        head + "".join(f"{name},2022-01-{i:02d},{i},{i}\n" for name in ("AK", "AL") for i in range(1, 15)), chance
    )


@cache
def _state_dict() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {
        "fc.weight": torch.ones(4, 3),
        "fc.bias": torch.zeros(4),
        "embedding": torch.ones(2, 2, dtype=torch.bfloat16),
    }


def safetensors(chance: random.Random) -> bytes:
    """A file of weights with a header that may lie."""
    content = safetensors_bytes(_state_dict())
    if chance.random() < 0.4:
        return spoilt(content, chance)
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    entry = header[chance.choice([name for name in header if name != "__metadata__"])]
    odd = (-1, 0, 1, 2**31, 2**62, 2**64, 1.5, "1", None, [], True)
    match chance.randrange(4):
        case 0:
            entry["shape"] = [chance.choice(odd) for _ in range(chance.randrange(5))]
        case 1:
            entry["data_offsets"] = [chance.choice((*odd, 4, 48, 64)) for _ in range(chance.choice((0, 1, 2, 2, 2, 3)))]
        case 2:
            entry["dtype"] = chance.choice(("F32", "F64", "I8", "BOOL", "F8_E4M3", "x", "", None, 1))
        case 3:
            header[chance.choice(("", "a" * 5000, "__metadata__", "é"))] = value(chance)
    try:
        text = json.dumps(header).encode()
    except ValueError:  # an integer of thousands of digits
        text = b"{}"
    stated = struct.pack("<Q", chance.choice((len(text), len(text), len(text), 0, 2**63, len(text) + 8)))
    return stated + text + content[8 + length :]


CANARY = "fuzzing_has_run_code"


class _Code:
    def __reduce__(self) -> Any:
        import os

        return os.system, (f"touch {CANARY}",)


def torch_file(chance: random.Random) -> bytes:
    """What torch.save writes, or a pickle inside of it that would run code."""
    content: Any = dict(_state_dict())
    odd = (
        _Code(),
        [_Code()],
        {1: 2},
        ("x",) * 3,
        None,
        10**400,
        float("nan"),
        b"x",
        {"a": content},
        Path("x"),
        slice(1),
    )
    for _ in range(chance.choice((0, 1, 2))):
        content[chance.choice(("args", "fc.weight", 7, None, ("a", 1)))] = chance.choice(odd)
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=chance.random() < 0.7)
    if chance.random() < 0.6:
        return spoilt(stream.getvalue(), chance)
    if chance.random() < 0.5:
        return stream.getvalue()
    data = spoilt(pickle.dumps({"a": value(chance), "b": _Code()}, protocol=chance.choice((2, 2, 3, 4))), chance)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for name, inside in (("data.pkl", data), ("version", b"3\n"), ("byteorder", b"little"), ("data/0", bytes(64))):
            file.writestr(f"archive/{name}", inside)
    return archive.getvalue()


@cache
def _history() -> dict[str, np.ndarray]:
    history, _ = training("adam", 3, [spec for spec in layout(8) if spec[1] == "readout"])
    with tempfile.NamedTemporaryFile(suffix=".npz") as file:
        history.save(file.name)
        with np.load(file.name) as archive:
            return dict(archive)


def history(chance: random.Random) -> bytes:
    """What a training leaves of its steps."""
    arrays: dict[str, Any] = dict(_history())
    name = chance.choice(list(arrays))
    match chance.randrange(5):
        case 0:
            arrays.pop(name)
        case 1:
            arrays[name] = arrays[name][None]
        case 2:
            arrays[name] = np.array(["x"] * 3)
        case 3:
            arrays[name] = arrays[name].ravel()[:1]
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return spoilt(stream.getvalue(), chance) if chance.random() < 0.5 else stream.getvalue()


def http(chance: random.Random) -> bytes:
    """What a server sends instead of an answer."""
    body = gzip.compress(_covid(), mtime=0) if (packed := chance.random() < 0.4) else _covid()
    status = chance.choice(
        ("200 OK",) * 5 + ("206 Partial", "302 Found", "404 no", "503 busy", "999 x", "abc", "200 " + "x" * 5000)
    )
    lengths = (str(len(body)),) * 4 + ("0", "-1", "abc", "9" * 30, str(len(body) + 9), "1e3", "")
    fields = [f"Content-Length: {chance.choice(lengths)}"]
    if packed or chance.random() < 0.1:
        fields.append(f"Content-Encoding: {chance.choice(('gzip',) * 5 + ('br', 'gzip, gzip', 'deflate', 'x' * 99))}")
    if chance.random() < 0.2:
        fields.append(f"Transfer-Encoding: {chance.choice(('chunked', 'gzip', 'x'))}")
    if status.startswith("302"):
        targets = (
            "http://[::1",
            "ftp://x/y",
            "file:///etc/passwd",
            "//",
            "/",
            "http://",
            "\x00",
            "http://127.0.0.1:1/x",
        )
        fields.append(f"Location: {chance.choice(targets)}")
    answer = "\r\n".join([f"HTTP/1.1 {status}", *fields, "", ""])
    content = answer.encode("latin-1") + body
    return spoilt(content, chance) if chance.random() < 0.5 else content


KINDS: dict[str, tuple[Callable[[random.Random], bytes], str]] = {
    "params": (params, "yaml"),
    "config": (config, "yaml"),
    "toml": (toml, "toml"),
    "grid": (grid, "yaml"),
    "protocol": (protocol, "yaml"),
    "claim": (claim, "yaml"),
    "overlay": (overlay, "yaml"),
    "json": (json_file, "json"),
    "csv": (csv, "csv"),
    "parquet": (parquet, "parquet"),
    "npy": (npy, "npy"),
    "npz": (npz, "npz"),
    "covid": (covid, "csv"),
    "rvr": (rvr, "csv"),
    "safetensors": (safetensors, "safetensors"),
    "torch": (torch_file, "pt"),
    "history": (history, "npz"),
    "http": (http, "http"),
}
"""Kind -> what makes a file of it, and how the file's name ends."""
