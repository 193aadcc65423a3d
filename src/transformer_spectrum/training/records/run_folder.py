"""runs/NAME/TIME/, a folder for each training outside DVC: where things lie in it, and what a list of them shows."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.files import read_json, write_json
from transformer_spectrum.runtime.replacement import new_folder
from transformer_spectrum.tracking.folders import belong_together

LOCK_TRIES = 25
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


@dataclass(frozen=True)
class RunFolder:
    """One training's folder.

    Attributes:
        path: of the folder.

    >>> RunFolder(Path("runs/first/20260102T000000Z")).unfinished.as_posix()
    'runs/first/20260102T000000Z/resume/state.safetensors'
    """

    path: Path

    @property
    def record(self) -> Path:
        """JSON: name, optimizer, data set, versions, when it began, and when it ended (None before)."""
        return self.path / "run.json"

    @property
    def params(self) -> Path:
        """YAML: every parameter, with where it came from."""
        return self.path / "params.yaml"

    @property
    def data(self) -> Path:
        """Folder of windows.npz and provenance.json."""
        return self.path / "data"

    @property
    def description(self) -> Path:
        """JSON: description of each split, baselines."""
        return self.path / "data.json"

    @property
    def model(self) -> Path:
        """Folder of weights, history and forecasts, such as models/adam of the pipeline."""
        return self.path / "model"

    @property
    def metrics(self) -> Path:
        """DVCLive's folder, with scores.json."""
        return self.path / "metrics"

    @property
    def spectra(self) -> Path:
        """Folder of the tables of spectra."""
        return self.path / "spectra"

    @property
    def figures(self) -> Path:
        """Folder of figures and the tables behind them; put in place behind `spectra`."""
        return self.path / "figures"

    @property
    def resume(self) -> Path:
        """Folder of the state of an unfinished training."""
        return self.path / "resume"

    @property
    def unfinished(self) -> Path:
        """Of `resume` the file whose removal ends a training."""
        return self.resume / "state.safetensors"

    @property
    def is_trained(self) -> bool:
        """Whether model and metrics are whole, and nothing is left to do for them."""
        return belong_together(self.model, self.metrics) and not self.unfinished.exists()

    @property
    def state(self) -> str:
        """running, interrupted, trained (the figures, or their delivery, are missing) or done; all but that go on."""
        if self._is_locked():
            return "running"
        if not self.is_trained:
            return "interrupted"
        ended = self.read().get("ended", "by an earlier version, which did not say when")
        return "done" if ended and self.figures.is_dir() else "trained"

    def end(self) -> None:
        """Says in `record` that all is done: the one step that makes the run so."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        write_json(self.record, {**self.read(), "ended": now})

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Keeps other processes from going on with the run.

        Raises:
            InputError: one of them is at work in the folder.
        """
        handle = os.open(self.path, os.O_RDONLY)
        try:
            for tries_left in reversed(range(LOCK_TRIES)):
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:  # `runs` holds it for an instant
                    if not tries_left:
                        raise InputError(f"{self.path}: another process is at work in it") from None
                    time.sleep(0.02)
                except OSError:  # a file system without locks
                    break
            yield
        finally:
            os.close(handle)

    def _is_locked(self) -> bool:
        handle = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        finally:
            os.close(handle)
        return False

    def read(self) -> dict[str, Any]:
        """What `record` says.

        Raises:
            InputError: the folder is not of a run.
        """
        if not self.record.is_file():
            raise InputError(f"{self.path}: not the folder of a run; it has no {self.record.name}")
        return read_json(self.record)


def new_run(
    root: Path, name: str, fill: Callable[[RunFolder], None], now: datetime.datetime | None = None
) -> RunFolder:
    """Makes root/name/time, a folder that was not there before, and is there only when it has been filled.

    Args:
        root: such as runs.
        name: letters, digits, "_", "." and "-"; may have been used before.
        fill: writes what a run begins with, with `record` among it, into the temporary folder that it is given.
        now: UTC; the clock's if None.
    Raises:
        InputError: the name is not one, or whatever `fill` raises; nothing is left then.

    >>> import tempfile
    >>> now = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
    >>> with tempfile.TemporaryDirectory() as scratch:
    ...     runs = [new_run(Path(scratch), "first", lambda folder: folder.record.touch(), now) for _ in range(2)]
    >>> [run.path.name for run in runs]
    ['20260102T000000Z', '20260102T000000Z-2']
    """
    if not NAME.fullmatch(name):
        raise InputError(
            f"--name = {name!r}: must be letters, digits, '_', '.' and '-', and begin with one of the first"
        )
    stamp = (now or datetime.datetime.now(datetime.UTC)).strftime("%Y%m%dT%H%M%SZ")
    again = (f"{stamp}-{number}" for number in range(2, 10_000))  # begun in the same second
    return RunFolder(new_folder(root / name, [stamp, *again], lambda path: fill(RunFolder(path))))
