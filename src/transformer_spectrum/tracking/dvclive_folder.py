"""A training's folder of DVCLive: a curve of every scalar, a small metrics.json, and scores.json with the result.

DVCLive writes in place, so that a training can be watched. Whether that is the old training's folder or the new one's
in the end is the recorder's matter.
"""

from __future__ import annotations

import errno
import math
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dvclive.live import Live

from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.files import write_json
from transformer_spectrum.runtime.replacement import VANISHED
from transformer_spectrum.tracking.folders import SCORES_FILE

HEADLINE = ("step", "best_step", "validation_mae", "change_stable_rank", "test_mae")
"""Of all scalars, those in metrics.json: what `dvc metrics` and `dvc exp show` are to show. The others are curves."""
CURVES = Path("plots/metrics")
SECONDS_BETWEEN_SUMMARIES = 1.0


class _Live(Live):
    """DVCLive with a small metrics.json that whoever reads it while the training runs finds whole."""

    def _init_dvc(self) -> None:
        # DVCLive makes a repository of DVC wherever it finds one of git, and fails where that has no commit.
        working = Path.cwd()
        if any((folder / ".dvc").is_dir() for folder in (working, *working.parents)):
            super()._init_dvc()
        else:
            self._dvc_file, self._exp_name = self._init_dvc_file(), self._exp_name or "outside-dvc"

    def post_data_to_studio(self) -> None:
        # DVCLive starts a thread for each training that waits for ever, also where nobody has set up DVC Studio.
        if "data" not in self._studio_events_to_skip:
            super().post_data_to_studio()

    def make_summary(self) -> None:
        write_json(self.metrics_file, {name: self.summary[name] for name in HEADLINE if name in self.summary})


class DVCLiveFolder:
    """A `Tracker`: curves grow with every step, metrics.json is renewed every second.

    Args:
        folder: such as metrics/adam; it is made by `open` or by the first step.
    """

    unsent: Mapping[str, str] = {}

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._live: _Live | None = None
        self._ended, self._summarised = False, -math.inf
        self._identity: tuple[int, int] | None = None
        self._rows: dict[str, int] = {}

    def open(self) -> _Live:
        """Makes the folder.

        Raises:
            InputError: DVC cannot keep its own books, as on a full disk.
        """
        try:
            live = _Live(str(self.folder), dvcyaml=False, save_dvc_exp=False, report=None, monitor_system=False)
        except sqlite3.Error as error:
            raise InputError(f"{self.folder}: DVCLive cannot start: {error}") from None
        self._identity = self.folder.stat().st_dev, self.folder.stat().st_ino
        self._live = live
        return live

    def _curve(self, name: str) -> Path:
        return self.folder / CURVES / f"{name}.tsv"

    def check(self, path: Path) -> None:
        """DVCLive would make a folder or a curve that somebody has removed anew, and go on with half of it.

        Raises:
            FileNotFoundError: the folder, or `path` in it, was removed meanwhile.
        """
        unchanged = self.folder.exists() and self._identity == (self.folder.stat().st_dev, self.folder.stat().st_ino)
        if not unchanged or not path.exists():
            raise FileNotFoundError(errno.ENOENT, VANISHED, str(path if unchanged else self.folder))

    def step(self, index: int, scalars: Mapping[str, float]) -> None:
        """Adds a row to the curve of each scalar.

        Raises:
            FileNotFoundError: the folder, or a curve in it, was removed meanwhile.
        """
        live = self.open() if self._live is None else self._live
        live.step = live.summary["step"] = index  # where it ends, DVCLive takes the step from the summary
        for name, value in scalars.items():
            self.check(self._curve(name) if name in self._rows else self.folder)
            live.log_metric(name, float(value))
            self._rows[name] = self._rows.get(name, 0) + 1
        if time.monotonic() - self._summarised >= SECONDS_BETWEEN_SUMMARIES:
            live.make_summary()
            self._summarised = time.monotonic()

    def result(self, headline: Mapping[str, float], scores: Mapping[str, Any]) -> None:
        """Completes the folder.

        Args:
            headline: last values of some of `HEADLINE`.
            scores: for scores.json.
        Raises:
            FileNotFoundError: the folder, or a curve in it, was removed meanwhile.
        """
        if self._live is None:
            raise ValueError("a result without a step")
        self._live.summary.update(headline)
        for name, rows in self._rows.items():
            path = self._curve(name)
            self.check(path)
            if path.read_bytes().count(b"\n") != rows + 1:
                raise OSError(errno.EIO, "was changed while it was being written", str(path))
        write_json(self.folder / SCORES_FILE, scores)
        self.end()

    def end(self) -> None:
        """Renews metrics.json a last time."""
        if self._live is not None and not self._ended:
            self._live.end()
            self._ended = True

    def finish(self, models: Path) -> Mapping[str, Any]:
        """Nothing is left to do: the training's files lie beside the folder."""
        return {}

    def fail(self, *, interrupted: bool) -> None:
        """Nothing: who has asked for the folder removes it."""
