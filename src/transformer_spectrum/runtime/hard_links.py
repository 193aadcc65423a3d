"""Further names of the same files: what a folder holds of others goes on lying in the folder that takes its place."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection
from pathlib import Path


def carry_over(old: Path, new: Path, own: Collection[str]) -> None:
    """Puts what the old folder holds of others into the new one too: by hard links, so that no byte is at risk.

    Args:
        old: a folder.
        new: another; what it has already stays as it is.
        own: names directly in `old` that need not be carried over.

    >>> for name in ("old/ours.txt", "old/notes.txt", "new/ours.txt"):
    ...     Path(name).parent.mkdir(exist_ok=True)
    ...     _ = Path(name).write_text(name)
    >>> carry_over(Path("old"), Path("new"), own=["ours.txt"])
    >>> {path.name: path.read_text() for path in sorted(Path("new").iterdir())}
    {'notes.txt': 'old/notes.txt', 'ours.txt': 'new/ours.txt'}
    """
    for path in old.iterdir():
        place = new / path.name
        if path.name in own or os.path.lexists(place):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.copytree(path, place, symlinks=True, copy_function=link_or_copy)
        else:
            link_or_copy(path, place)


def link_or_copy(source: str | Path, target: str | Path) -> None:
    """Another name of the same file, or a copy where the file system has no hard links; a symbolic link stays one.

    >>> _ = Path("a.txt").write_text("one file")
    >>> link_or_copy("a.txt", "b.txt")
    >>> Path("b.txt").read_text()
    'one file'
    """
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)
