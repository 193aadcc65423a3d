"""Files that are either the old one or the whole new one: temporary file, fsync, rename."""

from __future__ import annotations

import contextlib
import csv
import errno
import hashlib
import json
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from transformer_spectrum.errors import InputError


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; on success it is flushed to disk and renamed onto `path`.

    Args:
        path: the file to write; missing parent folders are made.
    Raises:
        OSError: the disk is full or the folder is not writable; `path` is then what it was before.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        # The user asked for `path`; the temporary name would only puzzle.
        if error.filename in (None, name):
            raise OSError(error.errno or errno.EIO, error.strerror or str(error), str(path)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: str | Path, own: Collection[str] | None = None) -> Iterator[Path]:
    """Yields an empty temporary folder; on success it takes the place of the folder `path`.

    On any failure the old folder stays as it was.

    Args:
        path: the folder, or a link to it, which stays one.
        own: names directly in it that the writer may take away; whatever else lies there, and the new folder has not,
            goes on lying there. None: the old folder goes as a whole.
    """
    path = Path(path).resolve() if Path(path).is_symlink() else Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        yield temporary
        temporary.chmod(0o755)
        for path_inside in filter(Path.is_file, temporary.rglob("*")):
            path_inside.chmod(0o644)
        old = temporary.with_name(temporary.name + ".old")
        if own is not None and path.is_dir():
            carry_over(path, temporary, own)
        if path.exists():
            path.replace(old)
        try:
            temporary.replace(path)
        except BaseException:
            if old.exists():
                old.replace(path)
            raise
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        inside = str(error.filename or temporary)
        if inside.startswith(str(temporary)):
            there = str(path) + inside.removeprefix(str(temporary))
            raise OSError(error.errno or errno.EIO, error.strerror or str(error), there) from error
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def carry_over(old: Path, new: Path, own: Collection[str]) -> None:
    """Puts what the old folder holds of others into the new one too: by hard links, so that no byte is at risk.

    Args:
        old: a folder.
        new: another; what it has already stays as it is.
        own: names directly in `old` that need not be carried over.
    """
    for path in old.iterdir():
        there = new / path.name
        if path.name in own or os.path.lexists(there):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.copytree(path, there, symlinks=True, copy_function=link_or_copy)
        else:
            link_or_copy(path, there)


def link_or_copy(source: str | Path, target: str | Path) -> None:
    """Another name of the same file, or a copy where the file system has no hard links; a symbolic link stays one."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)


def write_text(path: str | Path, text: str) -> None:
    """Writes UTF-8 text atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Writes strict JSON atomically: a NaN or an infinity is refused (say why instead)."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Reads JSON.

    Raises:
        InputError: the file is missing or is not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run the stage that writes it (dvc repro)") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid JSON ({error})") from None


def write_csv(path: str | Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Writes a CSV atomically; floats keep 7 significant digits."""
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        for row in rows:
            writer.writerow([f"{x:.7g}" if isinstance(x, float | np.floating) else x for x in row])


def write_arrays(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes an .npz atomically; no pickled objects, the same arrays give the same bytes."""
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **dict(arrays))


def read_arrays(path: str | Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Reads the named arrays of an .npz without pickle.

    Raises:
        InputError: the file is missing, corrupt, or lacks one of `names`.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in names}
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run the stage that writes it (dvc repro)") from None
    except KeyError as error:
        raise InputError(f"{path}: lacks the array {error}; it was written by something else") from None
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: not a readable .npz ({error}); run its stage again") from None


def sha256(path: str | Path) -> str:
    """Hex digest of a file's bytes."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
