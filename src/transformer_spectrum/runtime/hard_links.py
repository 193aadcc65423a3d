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
    """Another name of the same file, or a copy where the file system has no hard links; a symbolic link stays one."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)
