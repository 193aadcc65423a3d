"""runs/NAME/TIME/, a folder for each training outside DVC: where things lie in it, and what a list of them shows."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformer_spectrum.errors import InputError
from transformer_spectrum.files import read_json

RUNS = Path("runs")
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


@dataclass(frozen=True)
class RunFolder:
    """One training's folder.

    Attributes:
        path: of the folder.
    """

    path: Path

    @property
    def about(self) -> Path:
        """JSON: name, optimizer, data set, when it began, version."""
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
        """Folder of figures and the tables behind them; written last, so that a run that has it is complete."""
        return self.path / "figures"

    @property
    def resume(self) -> Path:
        """Folder of the state of an unfinished training."""
        return self.path / "resume"

    @property
    def state(self) -> str:
        """done, interrupted (can be resumed), or trained (figures are missing)."""
        if self.figures.is_dir():
            return "done"
        return "trained" if self.model.is_dir() else "interrupted"

    def read(self) -> dict[str, Any]:
        """What `about` says.

        Raises:
            InputError: the folder is not of a run.
        """
        if not self.about.is_file():
            raise InputError(f"{self.path}: not the folder of a run; it has no {self.about.name}")
        return read_json(self.about)


def new_run(root: Path, name: str, now: datetime.datetime | None = None) -> RunFolder:
    """Makes root/name/time, a folder that was not there before.

    Args:
        root: such as runs.
        name: letters, digits, "_", "." and "-"; may have been used before.
        now: UTC; the clock's if None.
    Raises:
        InputError: the name is not one.
    """
    if not NAME.fullmatch(name):
        raise InputError(
            f"--name = {name!r}: must be letters, digits, '_', '.' and '-', and begin with one of the first"
        )
    stamp = (now or datetime.datetime.now(datetime.UTC)).strftime("%Y%m%dT%H%M%SZ")
    for number in range(1, 10_000):
        path = root / name / (stamp if number == 1 else f"{stamp}-{number}")
        try:
            path.mkdir(parents=True)
        except FileExistsError:  # begun in the same second
            continue
        return RunFolder(path)
    raise InputError(f"{root / name}: too many runs begun in one second")


def list_runs(root: Path) -> Iterator[tuple[RunFolder, dict[str, Any]]]:
    """(folder, its `about`) of every run under `root`, by name and time; folders of anything else are passed over.

    Raises:
        InputError: a run.json is damaged.
    """
    for path in sorted(root.glob("*/*/run.json")):
        folder = RunFolder(path.parent)
        about = read_json(path)
        if isinstance(about, dict) and {"name", "optimizer"} <= about.keys():
            yield folder, about
