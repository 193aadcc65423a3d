"""What a training reports while it runs: a folder of DVCLive, and an MLflow run where one is named.

The folder and that of the weights belong together. DVCLive writes in place, so that a training can be watched; the old
folder waits aside until the weights have been put in their place, which is the step that makes a training done. Which
of the two folders of metrics belongs to the weights that are there, scores.json says: it names the checksum of their
history.
"""

from __future__ import annotations

import errno
import math
import shutil
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from dvclive.live import Live

from transformer_spectrum.config.tree import flatten
from transformer_spectrum.runtime.circumstances import circumstances
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.files import carry_over, read_json, write_json
from transformer_spectrum.runtime.interruption import Interrupted
from transformer_spectrum.runtime.replacement import VANISHED
from transformer_spectrum.tracking.folders import belong_together
from transformer_spectrum.tracking.mlflow_run import MLflowRun, Tracking
from transformer_spectrum.tracking.tracker import NoTracker, Tracker

HEADLINE = ("step", "validation_loss", "stable_rank", "test_mae")
"""Of all scalars, those in metrics.json: what `dvc metrics` and `dvc exp show` are to show. The others are curves."""
SCORES_FILE = "scores.json"
CIRCUMSTANCES_FILE = "circumstances.json"
OWN_FILES = ("metrics.json", SCORES_FILE, CIRCUMSTANCES_FILE)
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

    def make_summary(self) -> None:
        write_json(self.metrics_file, {name: self.summary[name] for name in HEADLINE if name in self.summary})


def carry_over_of_others(previous: Path, folder: Path) -> None:
    """Puts into a new DVCLive folder what is neither DVCLive's nor ours in the old one.

    Args:
        previous: the old folder.
        folder: the new one.
    """
    for inside, own in ((Path(), (*OWN_FILES, "plots")), (Path("plots"), ("metrics",)), (CURVES, None)):
        old = previous / inside
        if old.is_dir():
            names = [path.name for path in old.glob("*.tsv")] if own is None else own
            (folder / inside).mkdir(parents=True, exist_ok=True)
            carry_over(old, folder / inside, names)


class Recorder:
    """A DVCLive folder that is the old one until the first step, and again when the training fails.

    Curves grow with every step, metrics.json is renewed every second, so that `dvc exp show` and the VS Code extension
    follow a training.

    Args:
        folder: such as metrics/adam; it gets metrics.json (`HEADLINE`), plots/metrics/*.tsv, scores.json and
            circumstances.json (commit, experiment, date, machine). What else lies in it stays.
        tracking: sends the same to MLflow, whose failures end nothing; None = not.
        models: the folder that it belongs to, such as models/adam.
    Raises:
        InputError: MLflow is not installed, or its address is none.
    """

    def __init__(self, folder: str | Path, tracking: Tracking | None = None, models: Path | None = None) -> None:
        self.folder, self.models = Path(folder), models
        self.previous = self.folder.with_name(f".{self.folder.name}.previous")
        self.live: _Live | None = None
        self._begun, self._ended, self._summarised = False, False, -math.inf
        self._identity: tuple[int, int] | None = None
        self._rows: dict[str, int] = {}
        self.tracker: Tracker = NoTracker() if tracking is None else MLflowRun(tracking)

    def __enter__(self) -> Recorder:
        # A process that was killed has left the good folder aside, or has not removed the old one any more.
        if self.previous.exists():
            if self._is_whole():
                shutil.rmtree(self.previous)
            else:
                shutil.rmtree(self.folder, ignore_errors=True)
                self.previous.replace(self.folder)
        return self

    def _is_whole(self) -> bool:
        return self.models is not None and belong_together(self.models, self.folder)

    def _begin(self) -> _Live:
        self._begun = True
        if self.folder.exists():
            self.folder.replace(self.previous)
        try:
            live = _Live(str(self.folder), dvcyaml=False, save_dvc_exp=False, report=None, monitor_system=False)
            if self.previous.is_dir():
                carry_over_of_others(self.previous, self.folder)
        except sqlite3.Error as error:  # DVC's own bookkeeping, on a full disk
            raise InputError(f"{self.folder}: DVCLive cannot start: {error}") from None
        self._identity = self.folder.stat().st_dev, self.folder.stat().st_ino
        return live

    def _curve(self, name: str) -> Path:
        return self.folder / "plots" / "metrics" / f"{name}.tsv"

    def _check(self, path: Path) -> None:
        """DVCLive would make a folder or a curve that somebody has removed anew, and go on with half of it."""
        unchanged = self.folder.exists() and self._identity == (self.folder.stat().st_dev, self.folder.stat().st_ino)
        if not unchanged or not path.exists():
            raise FileNotFoundError(errno.ENOENT, VANISHED, str(path if unchanged else self.folder))

    def step(self, index: int, scalars: Mapping[str, float]) -> None:
        """Logs the scalars of one step.

        Raises:
            FileNotFoundError: the folder, or a curve in it, was removed meanwhile.
        """
        if self.live is None:
            self.live = self._begin()
            write_json(self.folder / CIRCUMSTANCES_FILE, circumstances())
        self.live.step = self.live.summary["step"] = index  # where it ends, DVCLive takes the step from the summary
        for name, value in scalars.items():
            self._check(self._curve(name) if name in self._rows else self.folder)
            self.live.log_metric(name, float(value))
            self._rows[name] = self._rows.get(name, 0) + 1
        if time.monotonic() - self._summarised >= SECONDS_BETWEEN_SUMMARIES:
            self.live.make_summary()
            self._summarised = time.monotonic()
        self.tracker.step(index, scalars)

    def result(self, headline: Mapping[str, float], scores: Mapping[str, Any]) -> None:
        """What the training came to; completes the folder, for the weights to be put in their place then.

        Args:
            headline: last values of some of `HEADLINE`.
            scores: all there is to say, for scores.json.
        Raises:
            FileNotFoundError: the folder, or a curve in it, was removed meanwhile.
        """
        if self.live is None:
            raise ValueError("a result without a step")
        self.live.summary.update(headline)
        for name, rows in self._rows.items():
            path = self._curve(name)
            self._check(path)
            if path.read_bytes().count(b"\n") != rows + 1:
                raise OSError(errno.EIO, "was changed while it was being written", str(path))
        write_json(self.folder / SCORES_FILE, {**scores, **self.tracker.unsent})
        self.live.end()
        self._ended = True
        curves = self.live.summary
        numbers = {n: x for n, x in flatten(scores).items() if isinstance(x, int | float) and n not in curves}
        self.tracker.step(self.live.step, numbers, final=True)

    def keep(self, models: Path) -> None:
        """Removes the old folder, for the training is done, and sends its files to MLflow, where one is named.

        Args:
            models: with the training's files.
        Raises:
            FileNotFoundError: the folder, or scores.json, which says what was not sent, was removed meanwhile.
        """
        shutil.rmtree(self.previous, ignore_errors=True)
        remarks = self.tracker.finish(models)
        if remarks != self.tracker.unsent:
            path = self.folder / SCORES_FILE
            self._check(path)
            scores = {name: value for name, value in read_json(path).items() if name not in self.tracker.unsent}
            write_json(path, {**scores, **remarks})

    def _restore(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.previous.exists():
            self.previous.replace(self.folder)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            if self._begun and not self._is_whole():
                self._restore()
            self.tracker.fail(interrupted=isinstance(error, Interrupted))
            return
        if self.live is None:
            return
        if not self._ended:
            try:
                self.live.end()
            except BaseException:
                self._restore()
                raise
        shutil.rmtree(self.previous, ignore_errors=True)
