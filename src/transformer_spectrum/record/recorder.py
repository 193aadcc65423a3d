"""What a training reports while it runs: a folder of DVCLive, and an MLflow run where one is named."""

from __future__ import annotations

import math
import shutil
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from dvclive.live import Live

from transformer_spectrum.circumstances import circumstances
from transformer_spectrum.errors import InputError
from transformer_spectrum.files import carry_over, read_json, write_json
from transformer_spectrum.interruption import Interrupted
from transformer_spectrum.record.mlflow_run import MLflowRun, Tracking, leaves

HEADLINE = ("step", "validation_loss", "stable_rank", "test_mae")
"""Of all scalars, those in metrics.json: what `dvc metrics` and `dvc exp show` are to show. The others are curves."""
SCORES_FILE = "scores.json"
CIRCUMSTANCES_FILE = "circumstances.json"
OWN_FILES = ("metrics.json", SCORES_FILE)
CURVES = Path("plots/metrics")
SECONDS_BETWEEN_SUMMARIES = 1.0


class _Live(Live):
    """DVCLive with a small metrics.json that whoever reads it while the training runs finds whole."""

    def _init_dvc(self) -> None:
        # DVCLive makes a repository of DVC wherever it finds one of git, and fails where that has no commit.
        here = Path.cwd()
        if any((folder / ".dvc").is_dir() for folder in (here, *here.parents)):
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
    Raises:
        InputError: MLflow is not installed, or its address is none.
    """

    def __init__(self, folder: str | Path, tracking: Tracking | None = None) -> None:
        self.folder = Path(folder)
        self.previous = self.folder.with_name(f".{self.folder.name}.previous")
        self.live: _Live | None = None
        self._begun, self._summarised = False, -math.inf
        self._run = None if tracking is None else MLflowRun(tracking)

    def __enter__(self) -> Recorder:
        # A process that was killed has left the good folder aside.
        if self.previous.exists():
            shutil.rmtree(self.folder, ignore_errors=True)
            self.previous.replace(self.folder)
        return self

    def _begin(self) -> _Live:
        self._begun = True
        if self.folder.exists():
            self.folder.replace(self.previous)
        try:
            live = _Live(str(self.folder), dvcyaml=False, save_dvc_exp=False, report=None, monitor_system=False)
            if self.previous.is_dir():
                carry_over_of_others(self.previous, self.folder)
            return live
        except sqlite3.Error as error:  # DVC's own bookkeeping, on a full disk
            raise InputError(f"{self.folder}: DVCLive cannot start: {error}") from None

    def step(self, index: int, scalars: Mapping[str, float]) -> None:
        """Logs the scalars of one step."""
        if self.live is None:
            self.live = self._begin()
            write_json(self.folder / CIRCUMSTANCES_FILE, circumstances())
        self.live.step = self.live.summary["step"] = index  # where it ends, DVCLive takes the step from the summary
        for name, value in scalars.items():
            self.live.log_metric(name, float(value))
        if time.monotonic() - self._summarised >= SECONDS_BETWEEN_SUMMARIES:
            self.live.make_summary()
            self._summarised = time.monotonic()
        if self._run is not None:
            self._run.step(index, scalars)

    def result(self, headline: Mapping[str, float], scores: Mapping[str, Any]) -> None:
        """What the training came to.

        Args:
            headline: last values of some of `HEADLINE`.
            scores: all there is to say, for scores.json.
        """
        if self.live is None:
            raise ValueError("a result without a step")
        self.live.summary.update(headline)
        write_json(self.folder / SCORES_FILE, scores)
        if self._run is not None:
            curves = self.live.summary
            numbers = {n: x for n, x in leaves(scores) if isinstance(x, int | float) and n not in curves}
            self._run.step(self.live.step, numbers, final=True)

    def keep(self, models: Path) -> None:
        """Sends the files of a finished training to MLflow, where one is named; scores.json says if that failed."""
        if self._run is None:
            return
        reason = self._run.finish(models)
        if reason:
            path = self.folder / SCORES_FILE
            write_json(path, {**read_json(path), "mlflow": f"not all was sent: {reason}"})

    def _restore(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.previous.exists():
            self.previous.replace(self.folder)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            if self._begun:
                self._restore()
            if self._run is not None:
                self._run.stop("KILLED" if isinstance(error, Interrupted) else "FAILED")
            return
        if self.live is None:
            return
        try:
            self.live.end()
        except BaseException:
            self._restore()
            raise
        shutil.rmtree(self.previous, ignore_errors=True)
