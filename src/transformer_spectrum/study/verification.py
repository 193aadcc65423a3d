"""Whether a DVC experiment's commit is the training that was asked for, and that training taken out of it.

Judged by what the commit itself holds: its parameters, the code in its tree, its dvc.lock, and the bytes of its outputs
with the parameters that these say they were made by. What the queue says of a task is not asked.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import io
import json
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from dvc.api import DVCFileSystem
from dvc.exceptions import DvcException
from safetensors import SafetensorError, safe_open

from transformer_spectrum.config import tree
from transformer_spectrum.config.load import parse_params
from transformer_spectrum.runtime import deciding_code
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.files import atomic_folder
from transformer_spectrum.study.grid import Cell
from transformer_spectrum.study.request import Request, training_request, windows_request
from transformer_spectrum.study.store import own_names, write_record
from transformer_spectrum.study.work import keep, outcome
from transformer_spectrum.training.fingerprint import deciding
from transformer_spectrum.training.resume import difference

PACKAGE = "src/transformer_spectrum"
WINDOWS = ("data/processed/windows.npz", "data/processed/provenance.json")


class Unverified(Exception):
    """An experiment is not the result that was asked for; the message says why."""


def git(*arguments: str) -> bytes:
    """What a git command prints.

    Raises:
        InputError: it has failed.

    >>> git("--version").split()[:2]
    [b'git', b'version']
    """
    ended = subprocess.run(["git", *arguments], capture_output=True, check=False)
    if ended.returncode:
        raise InputError(f"git {arguments[0]}: {ended.stderr.decode(errors='replace').strip().splitlines()[-1:]}")
    return ended.stdout


def asked(cell: Cell) -> Request:
    """What the cell's training is made from, as a DVC experiment, which prepares its windows itself.

    >>> from transformer_spectrum.config.load import load_params
    >>> cell = Cell("synthetic", "narrow", "mse", "adam", 1, load_params("params.yaml"))
    >>> asked(cell)["windows"]["raw"]  # not known beforehand
    {}
    """
    return {"backend": "dvc", **training_request(cell, windows_request(cell.params, {}))}


def collect(cell: Cell, request: Request, commit: str, folder: Path) -> None:
    """Takes the training out of an experiment's commit into the study's folder, if it is what was asked for.

    Args:
        cell: which training.
        request: see `asked`.
        commit: of the experiment.
        folder: where to; what others have put there stays.
    Raises:
        Unverified: it is not.
    """
    _check_request(cell, request, commit)
    _check_lock(cell, commit)
    with atomic_folder(folder, own_names(folder)) as inside:
        models, live = inside / "models", inside / "metrics"
        _get(commit, f"models/{cell.optimizer}", models)
        _get(commit, f"metrics/{cell.optimizer}", live)
        _check_weights(cell, request, models)
        try:
            keep(cell, models, live, inside)
            came = outcome(inside)
        except (InputError, OSError, ValueError) as error:
            raise Unverified(f"its outputs cannot be read: {error}") from None
        write_record(inside, request, {**came, "experiment": commit})


def _check_request(cell: Cell, request: Request, commit: str) -> None:
    """By the parameters and the code in the commit."""
    try:
        params = parse_params(yaml.safe_load(git("show", f"{commit}:params.yaml")), "its params.yaml")
        package = git("rev-parse", f"{commit}:{PACKAGE}").decode().strip()
    except (InputError, yaml.YAMLError) as error:
        raise Unverified(f"its commit cannot be read: {error}") from None
    committed = asked(dataclasses.replace(cell, params=params, seed=params.seed))
    for block in (committed, committed["windows"]):
        block["code"] = _code(package, tuple(block["code"]))
    if committed != request:
        raise Unverified(f"of another request: {difference(committed, request)}")


@functools.lru_cache(maxsize=64)
def _code_of_tree(package: str) -> dict[str, str]:
    """Module -> checksum of every module in a git tree."""
    archive = git("archive", "--format=tar", package)
    with tempfile.TemporaryDirectory() as folder, tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
        return deciding_code.checksums([""], Path(folder))


def _code(package: str, modules: tuple[str, ...]) -> dict[str, str]:
    sums = _code_of_tree(package)
    return {name: sums[name] for name in modules if name in sums}


def _check_lock(cell: Cell, commit: str) -> None:
    """By dvc.lock, written when a stage has ended well: it must be of the commit's own parameters and files."""
    stage = f"train-{cell.optimizer}"
    try:
        params = yaml.safe_load(git("show", f"{commit}:params.yaml"))
        stages = yaml.safe_load(git("show", f"{commit}:dvc.lock"))["stages"]
        lock, windows = stages[stage], {out["path"]: out["md5"] for out in stages["prepare"]["outs"]}
    except (InputError, yaml.YAMLError, KeyError, TypeError) as error:
        raise Unverified(f"its dvc.lock has no {stage}: {error}") from None
    for name, value in lock["params"]["params.yaml"].items():
        if _value(params, name) != value:
            raise Unverified(f"{stage} in its dvc.lock ran with another {name}")
    for dependency in lock["deps"]:
        path, md5 = dependency["path"], dependency["md5"]
        if path in WINDOWS:
            committed = windows.get(path)
        elif md5.endswith(".dir"):
            continue  # of code; its modules' checksums are in the request
        else:
            committed = hashlib.md5(git("show", f"{commit}:{path}"), usedforsecurity=False).hexdigest()
        if committed != md5:
            raise Unverified(f"{stage} in its dvc.lock ran with another {path}")


def _value(params: Any, name: str) -> Any:
    """Of a parameter or a section; None where there is none."""
    try:
        return tree.get(params, name)
    except KeyError:
        return None


def _get(commit: str, path: str, folder: Path) -> None:
    """Copies an output; every file must be what dvc.lock says."""
    fs = _file_system(commit)
    try:
        fs.get(path, str(folder), recursive=True)
        listed = [entry for entry in _walk(fs, path) if entry.get("md5")]
    except (DvcException, OSError) as error:
        raise Unverified(f"{path} is not in DVC's cache: {' '.join(str(error).split())}") from None
    for entry in listed:
        inside = folder / Path(entry["name"]).relative_to(path)
        if hashlib.md5(inside.read_bytes(), usedforsecurity=False).hexdigest() != entry["md5"]:
            raise Unverified(f"{entry['name']} in DVC's cache is damaged")


@functools.lru_cache(maxsize=1)
def _file_system(commit: str) -> Any:
    return DVCFileSystem(rev=commit)


def _walk(fs: Any, path: str) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    for entry in fs.ls(path, detail=True):
        entries += _walk(fs, entry["name"]) if entry["type"] == "directory" else [entry]
    return entries


def _check_weights(cell: Cell, request: Request, models: Path) -> None:
    """By what the weights say of themselves."""
    try:
        with safe_open(models / "best.safetensors", framework="numpy") as file:
            provenance: Mapping[str, Any] = json.loads(file.metadata()["run"])
        params = deciding(provenance["params"], cell.optimizer)
    except (SafetensorError, OSError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise Unverified(f"its weights cannot be read: {error}") from None
    if provenance.get("optimizer") != cell.optimizer or params != request["params"]:
        raise Unverified(f"its weights are of another training: {difference(params, request['params'])}")
