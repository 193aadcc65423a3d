"""`make repro`: `dvc repro`, after which no file of DVC's own has to be repaired by hand, and whose outputs are cached.

DVC writes dvc.lock and .dvc/tmp/rwlock in place. A process that is killed meanwhile leaves a part of them, and every
later command of DVC refuses them. So copies are kept while it runs, and what is not whole is put back: now where DVC
alone was killed, else by the next call. DVC also ends with code 0 where the cache could not take the outputs, as on a
full disk; here that is an error.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from transformer_spectrum.runtime.errors import InputError, one_line_errors
from transformer_spectrum.runtime.files import write_json, write_text
from transformer_spectrum.runtime.log import to_stderr
from transformer_spectrum.runtime.parsing import parsing

logger = logging.getLogger("transformer_spectrum.runtime.reproduction")  # its own name is __main__ where it runs

LOCKS = ("dvc.lock", "studies/dvc.lock")
GUARD = Path(".dvc/tmp/reproduction")  # holds the copies, and says while it runs that a call is at work
READERS_WRITERS = Path(".dvc/tmp/rwlock")
DIGEST = re.compile(r"[0-9a-f]{32}(\.dir)?")
SECONDS_BETWEEN_LOOKS = 0.2
LOOKS = 5  # at a file that is not whole, or locked: another process of DVC may be writing it, or ending


def stages_of(path: Path) -> dict[str, Any] | None:
    """The stages of a dvc.lock; None where it is missing, or a part of it is.

    >>> stages_of(Path("dvc.lock")) is None
    True
    """
    try:
        with parsing(path, "a whole dvc.lock"):  # any beginning of a YAML may stand there
            text = path.read_text(encoding="utf-8")
            tree = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
            stages = tree["stages"]
            entries = [
                entry for stage in stages.values() for kind in ("deps", "outs") for entry in stage.get(kind) or ()
            ]
            complete = all("path" in entry and DIGEST.fullmatch(entry["md5"]) for entry in entries)
            complete = complete and all(isinstance(stage["cmd"], str | list) for stage in stages.values())
    except (InputError, OSError):
        return None
    return stages if complete and text.endswith("\n") and "schema" in tree else None


def _copy_of(name: str) -> Path:
    return GUARD / name.replace("/", "-")


def _keep(seen: dict[str, int]) -> None:
    """Copies what is whole and has changed since it was seen."""
    for name in LOCKS:
        path = Path(name)
        with contextlib.suppress(OSError):
            changed = path.stat().st_mtime_ns
            if seen.get(name) != changed and stages_of(path) is not None:
                content = path.read_text(encoding="utf-8")
                if path.stat().st_mtime_ns == changed:
                    write_text(_copy_of(name), content)
                    seen[name] = changed


def repair(*, killed: bool) -> list[str]:
    """Puts back what a killed DVC has left half-written, in the current folder.

    Args:
        killed: the last call was; then what is missing in a lock file, and its copy has, was not written any more.
    Returns:
        A sentence for each file.
    Raises:
        InputError: a file is not whole, and neither a copy nor git has it whole.

    >>> repair(killed=True)
    []
    """
    sentences = []
    for name in LOCKS:
        path, copy = Path(name), _copy_of(name)
        if not path.exists() and not (killed and copy.exists()):
            continue
        stages, earlier = _settled(path), stages_of(copy)
        if stages is not None and not (killed and earlier is not None and not _covers(stages, earlier)):
            continue
        if earlier is not None:
            content, source = copy.read_text(encoding="utf-8"), "the copy that was kept"
        else:
            content, source = _committed(name), "the commit"
        write_text(path, content)
        sentences.append(f"{name}: was half-written by a process that was killed; put back from {source}")
    if READERS_WRITERS.exists():
        entries = _entries(READERS_WRITERS)
        if entries is None:
            READERS_WRITERS.unlink()
            sentences.append(f"{READERS_WRITERS}: was half-written by a process that was killed; removed")
        elif (alive := _of_the_living(entries)) != entries:
            write_json(READERS_WRITERS, alive)
    return sentences


def _covers(tree: Any, earlier: Any) -> bool:
    """Whether a tree has everything that an earlier one had, whatever the values are now."""
    if isinstance(earlier, dict):
        return isinstance(tree, dict) and all(key in tree and _covers(tree[key], earlier[key]) for key in earlier)
    if isinstance(earlier, list):
        return isinstance(tree, list) and len(tree) >= len(earlier) and all(map(_covers, tree, earlier))
    return True


def _settled(path: Path) -> dict[str, Any] | None:
    """Its stages, once nobody is writing it."""
    for _ in range(LOOKS):
        stages = stages_of(path)
        if stages is not None:
            return stages
        time.sleep(SECONDS_BETWEEN_LOOKS)
    return None


def _entries(path: Path) -> dict[str, Any] | None:
    """Which process reads and writes which path; None where that is not whole."""
    for _ in range(LOOKS):
        with contextlib.suppress(OSError, ValueError, RecursionError):
            return dict(json.loads(path.read_text(encoding="utf-8")))
        time.sleep(SECONDS_BETWEEN_LOOKS)
    return None


def _of_the_living(entries: dict[str, Any]) -> dict[str, Any]:
    """Without those of killed processes that nobody has waited for, as in a container: DVC takes them for alive."""
    import psutil

    def lives(holder: Any) -> bool:
        with contextlib.suppress(psutil.Error, LookupError, TypeError):
            return psutil.Process(int(holder["pid"])).status() != psutil.STATUS_ZOMBIE
        return True  # gone altogether, which DVC notices, or nothing of ours

    result: dict[str, Any] = {}
    for mode, holders in entries.items():
        paths = holders.items() if isinstance(holders, dict) else ()
        left = {
            path: [holder for holder in held if lives(holder)] if isinstance(held, list) else held
            for path, held in paths
            if isinstance(held, list) or lives(held)
        }
        result[mode] = {path: held for path, held in left.items() if held}
    return result


def _committed(name: str) -> str:
    process = subprocess.run(["git", "show", f"HEAD:{name}"], capture_output=True, text=True, check=False)
    if process.returncode:
        raise InputError(f"{name}: is not whole, and no copy of it is; remove it, and all stages run again")
    return process.stdout


def _locked(handle: int) -> bool:
    """Locks a file; whether nobody else has it, even after the time that a killed process takes to end."""
    for look in range(LOOKS):
        if look:
            time.sleep(SECONDS_BETWEEN_LOOKS)
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    return False


@contextlib.contextmanager
def _at_work() -> Iterator[int]:
    """Keeps a second call away; a handle that what is started inherits, so that it counts as long as that runs.

    Raises:
        InputError: another call is at work.
    """
    GUARD.mkdir(parents=True, exist_ok=True)
    handle = os.open(GUARD / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        with contextlib.suppress(OSError):  # of a file system without locks
            if not _locked(handle):
                raise InputError("another `make repro` is at work in this folder; wait for its end")
        yield handle
    finally:
        os.close(handle)


def lost() -> list[str]:
    """Outputs of the pipeline that are in the current folder, and that DVC's cache should have, and has not.

    What is not there, as those of stages that were not asked for, is not lost.
    """
    from dvc.repo import Repo

    with Repo() as repo:
        outs = [out for stage in repo.stage.load_all("dvc.yaml") for out in stage.outs]
        return [str(out) for out in outs if out.use_cache and out.hash_info and out.exists and out.changed_cache()]


def reproduce(options: Sequence[str]) -> int:
    """`dvc repro` in the current folder; its exit code, or 1 where the cache lacks outputs.

    Args:
        options: of `dvc repro`.
    Raises:
        InputError: see `repair`; or another call is at work.
    """
    if not Path(".dvc").is_dir():
        raise InputError(f"{Path.cwd()}: is not the root of a DVC repository")
    with _at_work() as handle:
        running = GUARD / "running"
        _tell(repair(killed=running.exists()))
        seen: dict[str, int] = {}
        _keep(seen)
        running.touch()
        command = [str(Path(sys.executable).with_name("dvc")), "repro", *options]
        child = subprocess.Popen(command, pass_fds=[handle])
        signal.signal(signal.SIGTERM, lambda *_: child.terminate())
        while child.poll() is None:
            with contextlib.suppress(KeyboardInterrupt, subprocess.TimeoutExpired):  # the terminal tells DVC too
                child.wait(SECONDS_BETWEEN_LOOKS)
            _keep(seen)
        _tell(repair(killed=child.returncode < 0))
        running.unlink(missing_ok=True)
    if child.returncode < 0:
        _tell([f"dvc was ended by {signal.Signals(-child.returncode).name}"])
        return 128 - child.returncode
    if child.returncode == 0 and "--dry" not in options and (names := lost()):
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        _tell(
            [f"{names[0]}{more}: not in DVC's cache, though dvc ended well; is the disk full? then: dvc commit --force"]
        )
        return 1
    return child.returncode


def _tell(sentences: Sequence[str]) -> None:
    for sentence in sentences:
        logger.info(f"repro: {sentence}")


if __name__ == "__main__":
    with one_line_errors("repro"), to_stderr():
        raise SystemExit(reproduce(sys.argv[1:]))
