"""What the pipeline has written of one run, as the report reads it."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from transformer_spectrum.analysis.comparison.shifts import Shift, shifts
from transformer_spectrum.config.load import Params
from transformer_spectrum.config.schema import OPTIMIZERS
from transformer_spectrum.report.figures.caption import Caption, caption_of
from transformer_spectrum.runtime.circumstances import CIRCUMSTANCES_FILE
from transformer_spectrum.runtime.errors import InputError, quoted, shortened
from transformer_spectrum.runtime.files import RUN, read_json
from transformer_spectrum.runtime.files import read_table as read_parquet
from transformer_spectrum.runtime.parsing import parsing
from transformer_spectrum.weights.matrices.families import moving_family

CURVES: Mapping[str, tuple[str, ...]] = {
    "loss": ("optimizer", "step", "evaluations", "split", "loss", "objective"),
    "validation": ("optimizer", "step", "evaluations", "validation_mae", "residual_mad", "influence_cosine", "best"),
    "spectra_evolution": (
        *("optimizer", "step", "evaluations", "validation_mae", "distance", "family", "metric", "value", "initial"),
        *("null_low", "null_high", "effect", "deviations"),
    ),
    "esd": ("optimizer", "step", "family", "eigenvalue", "density"),
    "singular_values": ("optimizer", "step", "of", "family", "rank", "value", "reference"),
    "heatmap": ("optimizer", "step", "evaluations", "matrix", "row", "metric", "value", "change"),
    "forecasts": ("window", "entity", "feature", "time", "series", "value"),
}
"""Of plots/*.csv, those that the report reads, and their columns."""
MAY_BE_EMPTY = ("spectra_evolution", "esd", "heatmap")
"""Of them, those that a legal training may have nothing for, as where every weight is 0."""
TEXT = (
    "optimizer",
    "family",
    "metric",
    "of",
    "matrix",
    "entity",
    "series",
    "split",
    "objective",
    "standin",
)
"""Columns of words; those of all other names hold numbers, NaN where a cell is empty."""

LONG_TABLES = ("spectra_tails", "spectra_circuits", "spectra_vectors", "spectra_spikes")
"""Of metrics/*.parquet, those that the report reads."""
SCORES = ("best_step", "best_validation_mae", "stop_cause", "stop_reason", "teacher_forced", "free_running", "missing")

LOSS_OR_MAE: Mapping[str, str] = {"mae": "MAE", "loss": "loss"}
"""training.select -> its words."""


@dataclass(frozen=True)
class Training:
    """One optimizer's training.

    Attributes:
        scores: metrics/<optimizer>/scores.json; where it began is `initial_mae`.
        settings: models/<optimizer>/run.json.
        circumstances: metrics/<optimizer>/circumstances.json; empty for a training from before it was written.
        initial_mae: validation MAE of the initial weights; None where it is not finite.
        best_mae: that of the best step, whatever selected it.
        clipped_share: share of the updates since the record before whose gradient was clipped, at the last record; None
            where nothing clips.
        influence_cosine: between the loss's influence and MSE's on the validation residuals of the best step; NaN where
            either has none.
        last_step: the last recorded one.
        evaluations: spent until then; forward passes over a batch.
        evaluations_at_best: spent until the best step.
        seconds: wall time until then, resumed parts included.
        distance: of the best step's weights from the initial ones; Euclidean, weight units.
    """

    scores: Mapping[str, Any]
    settings: Mapping[str, Any]
    circumstances: Mapping[str, Any]
    initial_mae: float | None
    best_mae: float
    clipped_share: float | None
    influence_cosine: float
    last_step: int
    evaluations: int
    evaluations_at_best: int
    seconds: float
    distance: float

    @property
    def learned(self) -> bool:
        """Whether any step is better than the initial weights by the score that selects."""
        return int(self.scores["best_step"]) > 0

    @property
    def diverged(self) -> bool:
        """Whether a loss that is not finite has ended it; its steps before that count."""
        return self.scores["stop_cause"] == "diverged"  # a StopCause of optimizers.contract, which needs torch


@dataclass(frozen=True)
class Run:
    """One run of the pipeline.

    Attributes:
        trainings: optimizer -> its training.
        shifts: every metric that has a value at the best step of its training.
        comparison: metrics/comparison.json: the trainings where something is held equal; empty of one alone.
        curves: name -> plots/<name>.csv.
        tails: metrics/spectra_tails.parquet: power laws at the first and the last step.
        circuits, vectors, spikes: metrics/spectra_<name>.parquet: the heads' circuits, singular vectors of the changes,
            births of spikes.
        spectra: metrics/spectra.json.
        data: metrics/data.json.
        provenance: data/processed/provenance.json.
    """

    params: Params
    caption: Caption
    trainings: Mapping[str, Training]
    shifts: tuple[Shift, ...]
    comparison: Mapping[str, Any]
    curves: Mapping[str, pd.DataFrame]
    tails: pd.DataFrame
    circuits: pd.DataFrame
    vectors: pd.DataFrame
    spikes: pd.DataFrame
    spectra: Mapping[str, Any]
    data: Mapping[str, Any]
    provenance: Mapping[str, Any]

    def shift(self, optimizer: str, family: str, metric: str) -> Shift | None:
        """That change; None where the metric has no value."""
        wanted = (optimizer, family, metric)
        return next((shift for shift in self.shifts if (shift.optimizer, shift.family, shift.metric) == wanted), None)

    @property
    def families(self) -> list[str]:
        """Labels of the families, from the input to the output of the model as the tables have them."""
        return list(dict.fromkeys(shift.family for shift in self.shifts))

    @property
    def main_family(self) -> str:
        """The family of the answer: the one that moves, as in the comparison and in metrics.json."""
        return moving_family(self.families)

    @property
    def selection(self) -> str:
        """Words of the score by which every training's best step was chosen."""
        return f"validation {LOSS_OR_MAE[self.params.training.select]}"


def read_run(params: Params, root: Path = Path()) -> Run:
    """Reads everything of a run.

    Args:
        params: all parameters.
        root: the repository.
    Raises:
        InputError: a file is missing, corrupt, or of another run than the others.

    >>> run = read_run(params)
    >>> list(run.trainings), run.families
    (['adam', 'es', 'ga'], ['feed_forward', 'readout'])
    """
    provenance = _object(root / "data/processed/provenance.json")
    curves = {
        name: _curve_table(root / f"plots/{name}.csv", columns, may_be_empty=name in MAY_BE_EMPTY)
        for name, columns in CURVES.items()
    }
    if curves["esd"].empty and (curves["singular_values"]["value"] > 0).any():
        raise InputError(f"{root / 'plots/esd.csv'}: has no rows; run the stage that writes it again (dvc repro)")
    clipping = {"adam"} if params.adam.gradient_clip else set()
    trainings = {name: _training(root, name, curves["validation"], clips=name in clipping) for name in OPTIMIZERS}
    best_steps = {name: int(training.scores["best_step"]) for name, training in trainings.items()}
    return Run(
        params=params,
        caption=caption_of(params, bool(provenance["standin"])),
        trainings=trainings,
        shifts=shifts(curves["spectra_evolution"], best_steps),
        comparison=_object(root / "metrics/comparison.json"),
        curves=curves,
        **{name.removeprefix("spectra_"): read_parquet(root / f"metrics/{name}.parquet") for name in LONG_TABLES},
        spectra=_object(root / "metrics/spectra.json"),
        data=_object(root / "metrics/data.json"),
        provenance=provenance,
    )


def read_table(path: Path, delimiter: str = ",", *, may_be_empty: bool = False) -> pd.DataFrame:
    """A CSV with a header: text in the columns of `TEXT`, numbers in the others.

    Args:
        path: of the CSV.
        delimiter: between its cells.
        may_be_empty: whether the header alone is enough.
    Raises:
        InputError: the file is missing, no CSV, or has no row.

    >>> _ = Path("cases.csv").write_text("entity,value\\nNA,\\n")
    >>> read_table(Path("cases.csv")).values.tolist()
    [['NA', nan]]
    """
    with parsing(path, "a readable table", "run dvc repro", RUN):
        text = path.read_text(encoding="utf-8")
        if not text.strip():
            raise InputError(f"{path}: has no rows; run the stage that writes it again (dvc repro)")
        header = pd.read_csv(io.StringIO(text), sep=delimiter, nrows=0).columns
        table = pd.read_csv(
            io.StringIO(text),
            sep=delimiter,
            dtype=dict.fromkeys(header.intersection(TEXT), str),
            keep_default_na=False,  # an entity may be called NA
            na_values={name: ["", "nan"] for name in header.difference(TEXT)},
        )
    if table.empty and not may_be_empty:
        raise InputError(f"{path}: has no rows; run the stage that writes it again (dvc repro)")
    return table


class _Content(dict[str, Any]):
    """An object of a JSON file that names the file where it lacks what is asked for."""

    def __init__(self, content: Mapping[str, Any], path: Path) -> None:
        super().__init__(content)
        self.path = path

    def __missing__(self, key: str) -> Any:
        raise InputError(f"{self.path}: lacks {shortened(key)}; run dvc repro")


def _object(path: Path) -> dict[str, Any]:
    """A JSON file with an object in it, in which nothing is looked up in vain without its name being said."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: must be a JSON object; run dvc repro")
    return _named(content, path)


def _named(value: Any, path: Path) -> Any:
    if isinstance(value, dict):
        return _Content({key: _named(inside, path) for key, inside in value.items()}, path)
    return [_named(inside, path) for inside in value] if isinstance(value, list) else value


def _curve_table(
    path: Path, columns: Sequence[str], delimiter: str = ",", *, may_be_empty: bool = False
) -> pd.DataFrame:
    """A table with these columns, numbers where numbers belong."""
    table = read_table(path, delimiter, may_be_empty=may_be_empty)
    for name in columns:
        if name not in table:
            raise InputError(f"{path}: lacks the column {name}; run dvc repro")
        if name not in TEXT and not table.empty and not pd.api.types.is_numeric_dtype(table[name]):
            raise InputError(f"{path}: the column {name} must hold numbers; run dvc repro")
    return table


def _training(root: Path, optimizer: str, validation: pd.DataFrame, *, clips: bool) -> Training:
    folder = root / "metrics" / optimizer
    settings = _object(root / "models" / optimizer / "run.json")
    mine = validation[validation["optimizer"] == optimizer].set_index("step")
    if mine.empty:
        raise InputError(f"{root / 'plots/validation.csv'}: has no step of {optimizer}; run dvc repro")
    scores = _object(folder / "scores.json")
    lacking = [name for name in SCORES if name not in scores]
    if lacking:
        raise InputError(f"{folder / 'scores.json'}: lacks {', '.join(lacking)}; run dvc repro")
    best = scores["best_step"]
    if not isinstance(best, int):
        raise InputError(f"{folder / 'scores.json'}: best_step = {quoted(best)}: must be a whole number; run dvc repro")
    if best not in mine.index:
        raise InputError(f"{root / 'plots/validation.csv'}: has no step {best} of {optimizer}; run dvc repro")
    start = float(mine["validation_mae"].get(0, np.nan))
    seconds = _curve_table(folder / "plots/metrics/seconds.tsv", ("step", "seconds"), "\t").iloc[-1]
    distances = _curve(folder, "distance")
    if best not in distances:
        raise InputError(f"{folder / 'plots/metrics/distance.tsv'}: has no step {best}; run dvc repro")
    return Training(
        scores=scores,
        settings=settings,
        circumstances=_object(folder / CIRCUMSTANCES_FILE) if (folder / CIRCUMSTANCES_FILE).exists() else {},
        initial_mae=start if np.isfinite(start) else None,
        best_mae=float(mine["validation_mae"].at[best]),
        clipped_share=list(_curve(folder, "clipped_share").values())[-1] if clips else None,
        influence_cosine=float(mine["influence_cosine"].at[best]),
        last_step=int(seconds["step"]),
        evaluations=int(mine["evaluations"].max()),
        evaluations_at_best=int(mine["evaluations"].at[best]),
        seconds=float(seconds["seconds"]),
        distance=distances[best],
    )


def _curve(folder: Path, name: str) -> dict[int, float]:
    """A scalar of every step, as DVCLive has written it."""
    table = _curve_table(folder / f"plots/metrics/{name}.tsv", ("step", name), "\t")
    return dict(zip(table["step"].tolist(), table[name].tolist(), strict=True))
