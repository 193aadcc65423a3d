"""Files as they travel between who asks and who computes: relative name -> content."""

from __future__ import annotations

import sys
from collections.abc import Collection
from pathlib import Path

Files = dict[str, bytes]


def read_files(folder: Path, names: Collection[str] | None = None) -> Files:
    """The files of a folder, with those of its subfolders.

    Args:
        folder: that holds them.
        names: of those that are wanted; all if not given.

    >>> (folder := Path("windows/deep")).mkdir(parents=True)
    >>> _ = (folder / "windows.npz").write_bytes(b"PK")
    >>> read_files(Path("windows"))
    {'deep/windows.npz': b'PK'}
    """
    if names is None:
        names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return {name: (folder / name).read_bytes() for name in names}


def write_files(folder: Path, files: Files) -> None:
    """Writes files into a folder, which is made where it is missing.

    >>> write_files(Path("copy"), {"deep/windows.npz": b"PK"})
    >>> Path("copy/deep/windows.npz").read_bytes()
    b'PK'
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def scratch() -> str | None:
    """Folder for temporary files: on a Dask worker the worker's own, which Dask clears when the worker was killed.

    >>> scratch() is None  # wherever this machine keeps them
    True
    """
    if "distributed.worker" not in sys.modules:
        return None
    from distributed import get_worker

    try:
        return str(get_worker().local_directory)
    except ValueError:
        return None
