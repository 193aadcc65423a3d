"""What reads a file that anybody may have written, by the folder of tests/corpus that such files lie in."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pooch
from hostile_server import hostile, sends

from transformer_spectrum.cli.overrides import overrides
from transformer_spectrum.config.aliases import read_config
from transformer_spectrum.config.load import PARAMETERS, load_params, read_tree
from transformer_spectrum.config.resolve import Asked, resolve
from transformer_spectrum.data.fetch import downloads
from transformer_spectrum.data.files.series_files import read_series_file
from transformer_spectrum.data.series.covid import read_covid
from transformer_spectrum.data.series.rvr import read_rvr
from transformer_spectrum.runtime.errors import LINE, InputError
from transformer_spectrum.runtime.files import read_json
from transformer_spectrum.study.answer.plan_text import plan_lines, provisional
from transformer_spectrum.study.answer.trainings import distinct
from transformer_spectrum.study.claims import parse_claim
from transformer_spectrum.study.protocol.cells import planned_cells
from transformer_spectrum.study.protocol.model import load_protocol
from transformer_spectrum.study.running import grid as grids
from transformer_spectrum.training.records.history import History
from transformer_spectrum.weights.files.folders import open_checkpoint

ROOT = Path(__file__).parents[1]
SECONDS = 10.0
BYTES = 500 * 2**20


def _checkpoint(path: Path) -> None:
    checkpoint = open_checkpoint(path, skip_objects=True)
    for name in checkpoint.tensors:
        checkpoint.read(name)


def _parameters(path: Path) -> None:
    resolve(Asked({}, params=str(path)), say=lambda line: None)


def _grid(path: Path) -> None:
    base = load_params(ROOT / "params.yaml")
    grids.cells(grids.load_grid(str(path)), base, runs=1)


def _protocol(path: Path) -> None:
    known = provisional(load_protocol(path))
    cells = planned_cells(known, known.blocks, load_params(ROOT / "params.yaml"))
    plan_lines(known, cells, distinct(known, cells))


def _claim(path: Path) -> None:
    parse_claim(read_tree(path), str(path))


def _overlay(path: Path) -> None:
    """As `sweep --overlay` and `overrides` take it."""
    overrides(read_tree(path), str(path))


def _answer(path: Path) -> None:
    """A server's answer: downloaded as a table of cases."""
    target = path.with_name(f"{path.stem}-download")
    at_once = SimpleNamespace(sleep=lambda seconds: None)
    with (
        hostile(sends(path.read_bytes())) as url,
        mock.patch.multiple(downloads, TOTAL_SECONDS=3.0, READ_SECONDS=1.0),
        mock.patch.object(pooch.core, "time", at_once),
    ):
        try:
            downloads.download(url, target)
            read_covid(target)
        except (downloads.Unreachable, InputError) as error:
            raise InputError(f"{path.name}: {error}") from None
        finally:
            target.unlink(missing_ok=True)


FUZZED: dict[str, Callable[[Path], object]] = {
    "params": _parameters,
    "config": read_config,
    "toml": read_config,
    "grid": _grid,
    "protocol": _protocol,
    "claim": _claim,
    "overlay": _overlay,
    "json": read_json,
    "csv": read_series_file,
    "parquet": read_series_file,
    "npy": read_series_file,
    "npz": read_series_file,
    "covid": read_covid,
    "rvr": read_rvr,
    "safetensors": _checkpoint,
    "torch": _checkpoint,
    "history": History.load,
    "http": _answer,
}
"""Kind of `fuzzing` -> what reads it."""
READERS: dict[str, tuple[Callable[[Path], object], ...]] = {
    "yaml": (_parameters, read_config),
    "toml": (read_config,),
    "grid": (_grid,),
    "claim": (_claim,),
    "overlay": (_overlay,),
    "json": (read_json,),
    "npy": (read_series_file,),
    "npz": (read_series_file,),
    "csv": (read_series_file,),
    "parquet": (read_series_file,),
    "weights": (_checkpoint,),
}


def judged(read: Callable[[Path], object], path: Path) -> str:
    """The one-line message by which a file is refused, empty where it is read; fails where neither is so in bounds."""
    began, before = time.monotonic(), _peak()
    try:
        read(path)
        message = ""
    except InputError as error:
        message = str(error)
        assert message, "an error without words"
        assert len(message.splitlines()) == 1, message
        assert len(message) <= LINE, f"a message of {len(message)} characters"
        named = path.name in message or any(name in message for name in PARAMETERS)
        assert named, f"names neither the file nor a parameter: {message}"
    assert time.monotonic() - began < SECONDS, f"took {time.monotonic() - began:.1f} s"
    assert _peak() - before < BYTES, f"took {(_peak() - before) / 2**20:.0f} MiB"
    return message


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
