"""What a training reports while it runs, by DVCLive; the only importer of it."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from dvclive import Live

from transformer_spectrum.errors import InputError


class Recorder:
    """A DVCLive folder that is the old one until the training has succeeded or the new one is being written.

    Args:
        folder: such as metrics/adam; it gets metrics.json and plots/metrics/*.tsv. When the training fails, the
            folder is put back as it was.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.previous = self.folder.with_name(f".{self.folder.name}.previous")

    def __enter__(self) -> Recorder:
        # A process that was killed has left the good folder aside.
        if self.previous.exists():
            shutil.rmtree(self.folder, ignore_errors=True)
            self.previous.replace(self.folder)
        if self.folder.exists():
            self.folder.replace(self.previous)
        try:
            self.live = Live(str(self.folder), dvcyaml=False, save_dvc_exp=False, report=None, monitor_system=False)
        except sqlite3.Error as error:  # DVC's own bookkeeping, on a full disk
            self._restore()
            raise InputError(f"{self.folder}: DVCLive cannot start: {error}") from None
        except BaseException:
            self._restore()
            raise
        return self

    def step(self, index: int, scalars: Mapping[str, float]) -> None:
        """Logs the scalars of one step."""
        self.live.step = index
        for name, value in scalars.items():
            self.live.log_metric(name, float(value))

    def summary(self, values: Mapping[str, float | int | str]) -> None:
        """Puts values into metrics.json without a curve."""
        self.live.summary.update(values)

    def _restore(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.previous.exists():
            self.previous.replace(self.folder)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._restore()
            return
        try:
            self.live.end()
        except BaseException:
            self._restore()
            raise
        shutil.rmtree(self.previous, ignore_errors=True)
