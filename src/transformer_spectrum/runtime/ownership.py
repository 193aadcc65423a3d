"""Whose a file is: what a command may write over, and what it must leave alone.

A file is ours while the record beside it (FILE.provenance.json, or provenance.json in its folder) has the file's
sha256; so a file that somebody has changed since is no longer ours, and one without a record never was. Only ours is
written over, unless the user forces it. An input of the same command is never written over, and neither is what a
stage of a DVC pipeline makes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.files import read_json, sha256, write_json
from transformer_spectrum.runtime.parsing import parsing

RECORD = "provenance.json"
FORCE = "name another, or pass --force to write over it"


def record_beside(path: Path) -> Path:
    """The record of a single file: FILE.provenance.json.

    >>> record_beside(Path("series/covid.csv")).name
    'covid.csv.provenance.json'
    """
    return path.with_name(f"{path.name}.{RECORD}")


def write_record(record: Path, fields: Mapping[str, Any], files: Iterable[Path] | Mapping[Path, Path]) -> None:
    """Writes what a command has to say of its output, with the sha256 of every file of it.

    Args:
        record: the JSON file.
        fields: anything JSON-able, such as `provenance.describe_source` gives.
        files: in the record's folder or elsewhere; all of them exist. Or place -> where it lies until it is put there.

    >>> _ = Path("cases.csv").write_text("day,cases")
    >>> write_record(record_beside(Path("cases.csv")), {"source": "upstream"}, [Path("cases.csv")])
    >>> list(read_record(record_beside(Path("cases.csv"))))
    ['source', 'files']
    """
    places = files if isinstance(files, Mapping) else {path: path for path in files}
    sums = {os.path.relpath(path, record.parent): sha256(content) for path, content in places.items()}
    write_json(record, {**fields, "files": sums})


def read_record(record: Path) -> dict[str, Any] | None:
    """A record; None where there is none, or a file that is not one of ours.

    >>> _ = Path("other.json").write_text("{}")
    >>> read_record(Path("other.json")) is None  # JSON, but not one of ours
    True
    """
    if record.is_symlink() or not record.is_file():
        return None
    try:
        tree = read_json(record)
    except InputError:
        return None
    is_ours = isinstance(tree, dict) and (isinstance(tree.get("files"), dict) or isinstance(tree.get("sha256"), str))
    return tree if is_ours else None


def is_own(path: Path, record: Path | None = None) -> bool:
    """Whether a file is, to the byte, what one of our commands has written.

    Args:
        path: the file.
        record: where the command keeps the checksum; None: beside it.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "a.csv")
    ...     for text in ("ours", "changed since"):
    ...         _ = path.write_text(text)
    ...         if text == "ours":
    ...             write_record(record_beside(path), {}, [path])
    ...         print(is_own(path))
    True
    False
    """
    if path.is_symlink() or not path.is_file():
        return False
    content = sha256(path)
    for candidate in (record_beside(path), path.with_name(RECORD)) if record is None else (record,):
        tree = read_record(candidate) or {}
        named = tree.get("files", {}).get(os.path.relpath(path, candidate.parent))
        if content in (named, tree.get("sha256")):
            return True
    return False


def check_file(
    option: str, path: Path, *, inputs: Iterable[Path], force: bool, record: Path | None = None, kind: str = "file"
) -> None:
    """Refuses an output that would cost the user something.

    Args:
        option: what the messages call it, such as "--out".
        path: the file that is to be written.
        inputs: files and folders that the command reads.
        force: write over files of others; not over inputs, and not over what a stage makes.
        record: where its checksum is kept; None: beside it.
        kind: what the output is called in the messages.
    Raises:
        InputError: it is an input, is or holds a stage's output, is a folder, or is not ours.

    >>> _ = Path("mine.csv").write_text("by hand")
    >>> check_file("--out", Path("mine.csv"), inputs=[], force=False)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    transformer_spectrum.runtime.errors.InputError: --out = mine.csv: exists and is not as this program has ...
    >>> check_file("--out", Path("mine.csv"), inputs=[], force=True)
    """
    beside = record or record_beside(path)
    for target in (path, beside):
        check_no_input(option, target, inputs, record)
        check_no_stage(option, target)
        if target.is_dir():
            raise InputError(f"{option} = {path}: {target} is a folder; must be a {kind}")
    if force:
        return
    if os.path.lexists(path) and not is_own(path, record):
        raise InputError(f"{option} = {path}: exists and is not as this program has written it; {FORCE}")
    if os.path.lexists(beside) and read_record(beside) is None:
        raise InputError(f"{option} = {path}: {beside} would be written too, and is of somebody else; {FORCE}")


def check_no_input(option: str, path: Path, inputs: Iterable[Path], record: Path | None = None) -> None:
    """Raises InputError where a path is an input, another's file in an input's folder, or a folder around one.

    >>> check_no_input("--out", Path("cases.csv"), [Path("cases.csv")])  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    transformer_spectrum.runtime.errors.InputError: --out = cases.csv: is an input of this command ...
    """
    target = _real(path)
    for named in inputs:
        source = _real(named)
        if target == source or (path.exists() and named.exists() and path.samefile(named)):
            raise InputError(f"{option} = {path}: is an input of this command ({named}), which is never written over")
        if source in target.parents and os.path.lexists(path) and not (is_own(path, record) or read_record(path)):
            raise InputError(f"{option} = {path}: lies in an input of this command ({named}), never written over")
        if target in source.parents:
            raise InputError(f"{option} = {path}: holds an input of this command ({named}), which is never replaced")


def check_no_stage(option: str, path: Path, but: Sequence[Path] = ()) -> None:
    """Raises InputError where a path is, lies in, or holds the output of a DVC stage, which `dvc repro` replaces.

    Args:
        option: what the message calls it.
        path: what is to be written.
        but: outputs that may be written, because the command writes what the stage would.

    >>> Path("repository/.dvc").mkdir(parents=True)
    >>> _ = Path("repository/dvc.yaml").write_text("stages: {prepare: {cmd: make, outs: [data/windows.npz]}}")
    >>> check_no_stage("--out", Path("repository/data"))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    transformer_spectrum.runtime.errors.InputError: --out = repository/data: the DVC stage prepare makes ...
    """
    target = _real(path)
    allowed = {_real(allowed_path) for allowed_path in but}
    for stage, out in stage_outputs(target):
        if out in allowed or not (out == target or out in target.parents or target in out.parents):
            continue
        name = os.path.relpath(out, _checkout_of(target))
        raise InputError(
            f"{option} = {path}: the DVC stage {stage} makes {name}, and dvc repro would replace what lies there; "
            "name another place"
        )


def _checkout_of(path: Path) -> Path | None:
    """The DVC checkout that a resolved path lies in."""
    return next((folder for folder in (path, *path.parents) if (folder / ".dvc").is_dir()), None)


def stage_outputs(path: Path) -> Iterator[tuple[str, Path]]:
    """(stage, resolved path of its output) of every pipeline in the DVC checkout around a path, if there is one.

    >>> Path("checkout/.dvc").mkdir(parents=True)
    >>> _ = Path("checkout/dvc.yaml").write_text("stages: {prepare: {cmd: make, outs: [data/windows.npz]}}")
    >>> [(stage, path.name) for stage, path in stage_outputs(Path("checkout/data"))]
    [('prepare', 'windows.npz')]
    """
    path = _real(path)
    root = _checkout_of(path)
    if root is None:
        return
    between = [folder for folder in (path, *path.parents) if folder == root or root in folder.parents]
    for folder in dict.fromkeys([*between, *(file.parent for file in root.glob("*/dvc.yaml"))]):
        tree, lock = (_mapping(folder / name).get("stages") for name in ("dvc.yaml", "dvc.lock"))
        stages: dict[str, Any] = tree if isinstance(tree, dict) else {}
        for name, block in stages.items():
            if isinstance(block, dict):
                inner = block.get("do", block)
                where = folder / str(inner.get("wdir", "."))
                for out in _outs_of(inner):
                    yield name, (where / out).resolve()
        for name, block in (lock if isinstance(lock, dict) else {}).items():  # where names have been filled in
            stage = str(name).partition("@")[0]
            if isinstance(block, dict) and {"foreach", "matrix"} & set(stages.get(stage) or ()):
                where = folder / str(stages[stage].get("do", stages[stage]).get("wdir", "."))
                for out in _outs_of(block):
                    yield stage, (where / out).resolve()


def _outs_of(block: Mapping[str, Any]) -> Iterator[str]:
    for kind in ("outs", "metrics", "plots"):
        for entry in block.get(kind) or ():
            if isinstance(entry, dict):
                yield str(entry["path"]) if "path" in entry else str(next(iter(entry)))
            else:
                yield str(entry)


def _mapping(path: Path) -> dict[str, Any]:
    """A YAML file; empty where there is none, or one that DVC itself would refuse."""
    try:
        with parsing(path, "valid YAML"):
            tree = yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, InputError):
        return {}
    return tree if isinstance(tree, dict) else {}


def check_replaceable(folder: str | Path, data_file: str, hint: str) -> None:
    """Raises InputError where a data file is not what the provenance beside it says: a user's own, or damaged.

    Args:
        folder: of raw data.
        data_file: the name of the file in it.
        hint: what the user may do with a file of their own.

    >>> Path("raw").mkdir()
    >>> _ = Path("raw/series.csv").write_text("by hand")
    >>> check_replaceable("raw", "series.csv", "move it away")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    transformer_spectrum.runtime.errors.InputError: raw/series.csv: is not what provenance.json beside it ...
    """
    path = Path(folder) / data_file
    if os.path.lexists(path) and not is_own(path, path.with_name(RECORD)):
        raise InputError(
            f"{path}: is not what {RECORD} beside it describes, so it is a file of your own, or damaged, and "
            f"is not written over; {hint}, or remove it"
        )


def _real(path: Path) -> Path:
    """Without links; a link to itself stays, and whoever opens it is told."""
    return Path(os.path.realpath(path))
