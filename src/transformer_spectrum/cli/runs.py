"""The command `runs`: what has been trained outside DVC, with its main metrics."""

from __future__ import annotations

import argparse
import json
import logging
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformer_spectrum.runtime.errors import InputError, printable, shortened

if TYPE_CHECKING:
    from transformer_spectrum.training.records.run_folder import RunFolder

logger = logging.getLogger(__name__)

COLUMNS = {
    "run": "run",
    "state": "state",
    "optimizer": "optimizer",
    "data": "data",
    "model": "model",
    "loss": "loss",
    "seed": "seed",
    "step": "best step",
    "evaluations": "evaluations",
    "validation_mae": "validation MAE",
    "test_mae": "test MAE",
    "change_stable_rank": "stable rank of the change",
    "change_stable_rank_effect": "its effect",
    "stop_reason": "ended",
}


def add(command: argparse.ArgumentParser) -> None:
    """Its arguments.

    >>> add(command := argparse.ArgumentParser())
    >>> command.parse_args(["--json"]).json
    True
    """
    command.description = (
        "Lists the runs under runs/, the oldest of each name first: validation MAE of the best step and free-running "
        "test MAE in scaled units, the mean stable rank of the change at the best step of the family that moves "
        "(feed-forward, of an LSTM its first gates) and its effect, the difference from that of the same changes with "
        "shuffled entries, and why the training ended. What is not there yet is blank."
    )
    command.add_argument(
        "--runs", metavar="FOLDER", type=Path, default=Path("runs"), help="where they are; %(default)s"
    )
    command.add_argument("--json", action="store_true", help="as JSON, with full precision")


def _json(path: Path) -> dict[str, Any]:
    """Empty where there is none yet; a damaged one is an error, for it may say that data are a stand-in."""
    from transformer_spectrum.runtime.files import read_json

    return read_json(path) if path.exists() else {}


def _change(effects: Mapping[str, Any]) -> dict[str, float | None]:
    """Of the family that moves, at the best step; from what effects.json has of an optimizer."""
    from transformer_spectrum.weights.matrices.families import moving_family

    families = [label for label, numbers in effects.items() if isinstance(numbers, dict)]
    numbers = effects[moving_family(families)] if families else {}
    return {name: numbers.get(name) for name in ("change_stable_rank", "change_stable_rank_effect")}


def _row(folder: RunFolder, record: dict[str, Any], root: Path) -> dict[str, Any]:
    from transformer_spectrum.config.load import load_params

    params = load_params(folder.params)
    scores, effects = _json(folder.metrics / "scores.json"), _json(folder.spectra / "effects.json")
    standin = " (STAND-IN)" if _json(folder.data / "provenance.json").get("standin") else ""
    return {
        "run": str(folder.path.relative_to(root)),
        "state": folder.state,
        "optimizer": record["optimizer"],
        "data": f"{Path(record['dataset']).name}{standin}",
        "model": params.model.type,
        "loss": params.loss.type + (f" q={params.loss.q:g}" if params.loss.type == "sgt" else ""),
        "seed": params.seed,
        "step": scores.get("best_step"),
        "evaluations": scores.get("evaluations"),
        "validation_mae": scores.get("best_validation_mae"),
        "test_mae": scores.get("free_running", {}).get("mae"),
        **_change(effects.get(record["optimizer"], {})),
        "stop_reason": scores.get("stop_reason"),
    }


def _rows(root: Path) -> Iterator[dict[str, Any]]:
    """A row of every run; of one whose files are damaged only where it is, and a line in the log."""
    from transformer_spectrum.runtime.parsing import parsing
    from transformer_spectrum.training.records.run_folder import RunFolder

    for path in sorted(root.glob("*/*/run.json")):
        folder = RunFolder(path.parent)
        try:
            record = folder.read()
            if not (isinstance(record, dict) and {"name", "optimizer"} <= record.keys()):
                continue
            with parsing(folder.path, "as a run has written it"):
                row = _row(folder, record, root)
        except InputError as error:
            logger.warning(f"runs: {error}")
            row = dict.fromkeys(COLUMNS) | {"run": str(folder.path.relative_to(root)), "state": "damaged"}
        yield row


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else printable(shortened(value))


def _finite(value: Any) -> Any:
    """None for what JSON has no number for."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def run(chosen: argparse.Namespace) -> None:
    """Prints a table, one line a run.

    >>> run(argparse.Namespace(runs=Path("nowhere"), json=False))
    nowhere: no runs; transformer-spectrum train makes them
    """
    if chosen.runs.exists() and not chosen.runs.is_dir():
        raise InputError(f"--runs = {chosen.runs}: must be a folder")
    rows = list(_rows(chosen.runs))
    if chosen.json:
        print(json.dumps([{name: _finite(value) for name, value in row.items()} for row in rows], indent=2))
        return
    if not rows:
        print(f"{chosen.runs}: no runs; transformer-spectrum train makes them")
        return
    cells = [list(COLUMNS.values()), *([_shown(row[name]) for name in COLUMNS] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(COLUMNS))]
    for line in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
