"""DVC's run cache for a stage that protects its outputs itself.

DVC removes the outputs of a stage before it looks the stage up in its run cache and before it runs it, so a stage that
then fails has lost them. `persist: true` prevents that, and DVC looks no stage with such an output up. So the stage
does it: it asks the same cache (`.dvc/cache/runs`, which `dvc push --run-cache` sends) by the same key, puts what it
finds in place only when it is whole, and enters what it has computed. A cache that cannot be read or written costs a
line on standard error and nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from transformer_spectrum.runtime.files import atomic_folder

logger = logging.getLogger(__name__)

Stage = Any  # dvc.stage.Stage; DVC has no types

STAGE_VARIABLE = "DVC_STAGE"  # DVC sets it for the command of a stage
FORCING = {"-f", "--force", "--no-run-cache"}


def once(compute: Callable[[], None], carry: Callable[[Path, Path], None] = lambda old, new: None) -> None:
    """Does a stage's work, unless DVC's run cache has what it would write; outside of DVC it is always done.

    It is done too where DVC was told so: by `-f` or `--no-run-cache`, or because nothing at all has changed.

    Args:
        compute: writes every output of the stage.
        carry: (old folder, new folder) -> None; puts what others have put into an output that is a folder into the
            new one.

    >>> once(lambda: print("computed"))
    computed
    """
    name = os.environ.get(STAGE_VARIABLE)
    if not name:
        return compute()
    stage = key = None
    with _no_more_than_a_line(name, "looked up"):
        stage = _stage(name)
        forced = _is_forced(stage)
        stage.save_deps()
        key = _key(stage)
        if not forced and _restore(stage, carry):
            return None
    compute()
    if stage is not None and key is not None:
        with _no_more_than_a_line(name, "filled"):
            _enter(stage, key)
    return None


@contextlib.contextmanager
def _no_more_than_a_line(name: str, verb: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # DVC's are many, and none of them is a reason to lose a training
        words = " ".join(f"{type(error).__name__} {error}".split())
        logger.warning(f"{name}: DVC's run cache could not be {verb}: {words}")


def _stage(name: str) -> Stage:
    """The stage that is running, as DVC's cache would see it if it removed the outputs."""
    from dvc.repo import Repo

    repo = Repo()
    stage = repo.stage.get_target(name)
    for out in stage.outs:
        out.persist = False
    return stage


def _is_forced(stage: Stage) -> bool:
    """Whether the stage runs though it need not, which is then what the user wants."""
    import psutil

    with contextlib.suppress(psutil.Error):
        for process in psutil.Process().parents():
            words = process.cmdline()
            if any(Path(word).name == "dvc" for word in words[:3]) and FORCING & {*words}:
                return True
    entries = (*stage.deps, *stage.outs)
    return not stage.changed_stage() and not any(entry.status() for entry in entries)


def _key(stage: Stage) -> str:
    from dvc.stage.cache import _get_stage_hash

    return str(_get_stage_hash(stage))


def _restore(stage: Stage, carry: Callable[[Path, Path], None]) -> bool:
    """Puts the outputs of an earlier run of the same stage in place, all of them or none; whether there was one."""
    cache = stage.repo.stage_cache
    entry = cache._load(stage)
    if not entry:
        return False
    earlier = cache._create_stage(entry, wdir=stage.wdir)
    if not earlier.outs_cached():
        return False
    with contextlib.ExitStack() as stack:
        folders: dict[Path, Path] = {}
        for out in earlier.outs:
            path = Path(out.fs_path)
            tree = out.get_obj()
            is_folder = out.hash_info.isdir
            folder = path if is_folder else path.parent
            if folder not in folders:
                folders[folder] = stack.enter_context(atomic_folder(folder, own=()))
            content = (
                [(key, file.value) for key, _, file in tree] if is_folder else [((path.name,), out.hash_info.value)]
            )
            for key, digest in content:
                _copy(Path(out.cache.oid_to_path(digest)), folders[folder].joinpath(*key), digest)
            if is_folder and folder.is_dir():
                carry(folder, folders[folder])
    logger.info(f"{stage.addressing}: taken from DVC's run cache, as the same was computed before")
    return True


def _copy(source: Path, target: Path, digest: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    with target.open("rb") as stream:
        content = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if content != digest:
        raise ValueError(f"{source} is damaged")


def _enter(stage: Stage, key: str) -> None:
    """Enters what the stage has written, unless what it read has changed meanwhile."""
    stage.save_deps()
    if _key(stage) != key:
        logger.warning(f"{stage.addressing}: a dependency has changed meanwhile; not entered in DVC's run cache")
        return
    stage.save_outs()
    stage.repo.stage_cache.save(stage)
