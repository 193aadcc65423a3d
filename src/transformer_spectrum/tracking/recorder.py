"""What a training reports while it runs: a folder of DVCLive, and an MLflow run where one is named.

The folder and that of the weights belong together. DVCLive writes in place, so that a training can be watched; the old
folder waits aside until the weights have been put in their place, which is the step that makes a training done. Which
of the two folders of metrics belongs to the weights that are there, scores.json says: it names the checksum of their
history.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from transformer_spectrum.runtime.circumstances import CIRCUMSTANCES_FILE, circumstances
from transformer_spectrum.runtime.files import carry_over, read_json, write_json
from transformer_spectrum.runtime.interruption import Interrupted
from transformer_spectrum.tracking.dvclive_folder import CURVES, DVCLiveFolder
from transformer_spectrum.tracking.folders import METRICS_FILE, SCORES_FILE, belong_together
from transformer_spectrum.tracking.mlflow_run import MLflowRun, Tracking
from transformer_spectrum.tracking.tracker import Tracker

OWN_FILES = (METRICS_FILE, SCORES_FILE, CIRCUMSTANCES_FILE)


def carry_over_of_others(previous: Path, folder: Path) -> None:
    """Puts into a new DVCLive folder what is neither DVCLive's nor ours in the old one.

    Args:
        previous: the old folder.
        folder: the new one.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as scratch:
    ...     previous, folder = Path(scratch) / "old", Path(scratch) / "new"
    ...     for path in (previous, folder):
    ...         path.mkdir()
    ...     for name in ("metrics.json", "notes.md"):
    ...         (previous / name).touch()
    ...     carry_over_of_others(previous, folder)
    ...     sorted(path.name for path in folder.iterdir())
    ['notes.md']
    """
    for inside, own in ((Path(), (*OWN_FILES, "plots")), (Path("plots"), ("metrics",)), (CURVES, None)):
        old = previous / inside
        if old.is_dir():
            names = [path.name for path in old.glob("*.tsv")] if own is None else own
            (folder / inside).mkdir(parents=True, exist_ok=True)
            carry_over(old, folder / inside, names)


class Recorder:
    """Reports to all trackers; the folder is the old one until the first step, and again when the training fails.

    `dvc exp show` and the VS Code extension follow a training in the folder.

    Args:
        folder: such as metrics/adam; it gets metrics.json, plots/metrics/*.tsv, scores.json (see `DVCLiveFolder`) and
            circumstances.json (commit, experiment, date, machine). What else lies in it stays.
        tracking: sends the same to MLflow, whose failures end nothing; None = not.
        models: the folder that it belongs to, such as models/adam.
    Raises:
        InputError: MLflow is not installed, or its address is none.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as scratch:
    ...     with Recorder(f"{scratch}/adam") as recorder:
    ...         recorder.step(0, {"validation_mae": 0.75, "distance": 0.0})
    ...         recorder.result({"test_mae": 0.5}, {"free_running": {"mae": 0.5}})
    ...     read_json(Path(scratch) / "adam/metrics.json")
    {'step': 0, 'validation_mae': 0.75, 'test_mae': 0.5}
    """

    def __init__(self, folder: str | Path, tracking: Tracking | None = None, models: Path | None = None) -> None:
        self.folder, self.models = Path(folder), models
        self.previous = self.folder.with_name(f".{self.folder.name}.previous")
        self.live = DVCLiveFolder(self.folder)
        self.trackers: tuple[Tracker, ...] = (self.live,) if tracking is None else (self.live, MLflowRun(tracking))
        self._begun = False

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

    def _begin(self) -> None:
        self._begun = True
        if self.folder.exists():
            self.folder.replace(self.previous)
        self.live.open()
        if self.previous.is_dir():
            carry_over_of_others(self.previous, self.folder)
        write_json(self.folder / CIRCUMSTANCES_FILE, circumstances())

    def _unsent(self) -> dict[str, str]:
        return {name: remark for tracker in self.trackers for name, remark in tracker.unsent.items()}

    def step(self, index: int, scalars: Mapping[str, float]) -> None:
        """Reports the scalars of one step.

        Raises:
            InputError: DVCLive cannot start.
            FileNotFoundError: the folder, or a curve in it, was removed meanwhile.
        """
        if not self._begun:
            self._begin()
        for tracker in self.trackers:
            tracker.step(index, scalars)

    def result(self, headline: Mapping[str, float], scores: Mapping[str, Any]) -> None:
        """What the training came to; completes the folder, for the weights to be put in their place then.

        Args:
            headline: last values of some scalars, for metrics.json.
            scores: all there is to say, for scores.json.
        Raises:
            FileNotFoundError: the folder, or a curve in it, was removed meanwhile.
        """
        scores = {**scores, **self._unsent()}
        for tracker in self.trackers:
            tracker.result(headline, scores)

    def keep(self, models: Path) -> None:
        """Removes the old folder, for the training is done, and gives its files to the trackers.

        Args:
            models: with the training's files.
        Raises:
            FileNotFoundError: the folder, or scores.json, which says what was not sent, was removed meanwhile.
        """
        shutil.rmtree(self.previous, ignore_errors=True)
        remarks = {name: remark for tracker in self.trackers for name, remark in tracker.finish(models).items()}
        unsent = self._unsent()
        if remarks != unsent:
            path = self.folder / SCORES_FILE
            self.live.check(path)
            scores = {name: value for name, value in read_json(path).items() if name not in unsent}
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
            for tracker in self.trackers:
                tracker.fail(interrupted=isinstance(error, Interrupted))
            return
        if not self._begun:
            return
        try:
            self.live.end()
        except BaseException:
            self._restore()
            raise
        shutil.rmtree(self.previous, ignore_errors=True)
