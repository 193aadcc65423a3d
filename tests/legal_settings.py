"""Trainings of settings that the schema allows, drawn with a seed: each trains, or is refused in one line.

    python tests/legal_settings.py --cases 500 --seed 0
    python tests/legal_settings.py --seed 0 --trial 123

The values come from the schema itself, its ends and what lies beside them, so a new parameter is drawn as soon as it is
there. What is left as it is stands in KEPT: sizes that decide how long a trial takes, and places.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import random
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any, get_args

import numpy as np
from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo
from quick_pictures import draw_quickly

from transformer_spectrum.cli.main import main
from transformer_spectrum.config.load import PARAMETERS

TINY = {
    "data.sequence_length": 12,
    "data.output_length": 4,
    "data.synthetic.series": 8,
    "data.synthetic.length": 30,
    "data.synthetic.kernel.type": "none",
    "data.synthetic.kernel.size": 3,
    "data.describe.fit_points": 100,
    "model.embed_dim": 4,
    "model.heads": 2,
    "model.layers": 1,
    "model.feedforward_dim": 4,
    "model.patch_length": 4,
    "training.batch_size": 4,
    "training.record_every": 1,
    "training.snapshot_every": 1,
    "adam.epochs": 2,
    "adam.warmup_epochs": 0,
    "es.generations": 3,
    "es.popsize": 4,
    "ga.generations": 3,
    "ga.popsize": 4,
    "ga.tournament_size": 2,
    "ga.elites": 1,
    "spectra.tracked_every": 1,
    "spectra.shuffles": 3,
    "spectra.bootstrap": 0,
}
KEPT = ("device", "threads", "data.dataset", "data.mirror", "data.covid.", "data.rvr", "data.file.", "tracking.")
KEPT += ("adam.compile", "data.on_unreachable", "data.standin_seed", "budget.seconds")
LARGEST = {"data.": 40, "model.": 8, "adam.epochs": 3, "es.generations": 4, "ga.generations": 4, "spectra.": 12}
"""Of whole numbers, by the beginning of a name; the others go up to 10."""
COMMANDS = {"train": ("adam.", "es.", "ga."), "train-es": ("es.", "adam.", "ga."), "train-ga": ("ga.", "adam.", "es.")}
"""Command -> its own section, and those without effect."""


def _bounds(field: FieldInfo) -> tuple[float, float, bool, bool]:
    """Lowest and highest value, and whether these belong to the range."""
    low, high, with_low, with_high = -math.inf, math.inf, False, False
    for rule in field.metadata:
        if isinstance(rule, Ge):
            low, with_low = float(rule.ge), True  # type: ignore[arg-type]
        elif isinstance(rule, Gt):
            low, with_low = float(rule.gt), False  # type: ignore[arg-type]
        elif isinstance(rule, Le):
            high, with_high = float(rule.le), True  # type: ignore[arg-type]
        elif isinstance(rule, Lt):
            high, with_high = float(rule.lt), False  # type: ignore[arg-type]
    return low, high, with_low, with_high


def drawn(name: str, chance: random.Random) -> Any:
    """A legal value of a parameter, such as its range's end; None where nothing but the default is tried."""
    field = PARAMETERS[name]
    kinds = get_args(field.annotation) or (field.annotation,)
    if all(isinstance(kind, str) for kind in kinds):
        return chance.choice(kinds)
    if bool in kinds:
        return chance.random() < 0.5
    low, high, with_low, with_high = _bounds(field)
    if int in kinds:
        first = 0 if low == -math.inf else int(low) + (not with_low)
        most = next((limit for beginning, limit in LARGEST.items() if name.startswith(beginning)), 10)
        return chance.choice([first, first + 1, chance.randint(first, max(first, most))])
    if float in kinds:
        numbers = [0.0, 1e-9, 1e-3, 0.1, 0.5, 0.9, 1.0, 2.0, 30.0, 1e4, *([math.inf] if name.endswith(".q") else [])]
        numbers += [low, high, math.nextafter(low, math.inf), math.nextafter(high, -math.inf), -0.5, 1e25, 1e-25]
        legal = [x for x in numbers if (low < x < high or (x == low and with_low) or (x == high and with_high))]
        return chance.choice([x for x in legal if math.isfinite(x) or name.endswith(".q")])
    return None


def settings(trial: int, seed: int) -> tuple[str, dict[str, Any]]:
    """Command and parameters of a trial, a function of its numbers alone."""
    chance = random.Random(f"{seed} {trial}")
    command = chance.choice(list(COMMANDS))
    own, *without = COMMANDS[command]
    names = [name for name in PARAMETERS if not name.startswith((*KEPT, *without))]
    mine = [name for name in names if name.startswith(own)]
    chosen = chance.sample(names, chance.randint(1, 6)) + chance.sample(mine, 3)
    values = {name: drawn(name, chance) for name in chosen}
    return command, {**TINY, **{name: value for name, value in values.items() if value is not None}}


def told(value: Any) -> str:
    """As `--set` takes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return ".inf" if value == math.inf else repr(value) if isinstance(value, float) else str(value)


def complaint(command: str, values: dict[str, Any]) -> tuple[str, str]:
    """What is wrong with what came of it, empty where nothing is; and how it ended. In the current folder."""
    options = [word for name, value in values.items() for word in ("--set", f"{name}={told(value)}")]
    said, shown, code = io.StringIO(), io.StringIO(), 0
    with warnings.catch_warnings(), contextlib.redirect_stderr(said), contextlib.redirect_stdout(shown):
        warnings.simplefilter("error", RuntimeWarning)
        try:
            main([command, "-d", "synthetic", "-n", "drawn", "--device", "cpu", *options])
        except SystemExit as ended:
            code = int(ended.code or 0)
    runs = [path for path in Path("runs/drawn").glob("*") if path.is_dir()]
    last = (said.getvalue().strip().splitlines() or [""])[-1]
    if code == 2:
        wrong = "" if ": error: " in last and len(last) < 1600 else f"refused without a line: {last[-300:]}"
        return wrong or ("a refused run has left its folder" if runs else ""), "refused"
    if code or len(runs) != 1:
        return f"exit code {code}, {len(runs)} runs: {last[-300:]}", "failed"
    scores = json.loads((runs[0] / "metrics/scores.json").read_text())
    history = np.load(runs[0] / "model/history.npz")
    for name in ("loss", "validation_mae", "distance"):
        if not np.isfinite(history[name]).all():
            return f"{name} is not finite in the history", "failed"
    if scores["stop_cause"] == "diverged" and not scores["stop_reason"]:
        return "diverged without a reason", "failed"
    return "", scores["stop_cause"]


def run(trial: int, seed: int) -> tuple[str, str]:
    """One trial in a folder of its own."""
    command, values = settings(trial, seed)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        try:
            return complaint(command, values)
        except Exception as error:
            return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}", "failed"


def call() -> int:
    """Runs the trials; exit code 1 where one failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--trial", type=int, help="this one alone")
    asked = parser.parse_args()
    draw_quickly(setattr)
    trials = range(asked.cases) if asked.trial is None else [asked.trial]
    began, ends, failed = time.monotonic(), Counter[str](), 0
    for trial in trials:
        wrong, end = run(trial, asked.seed)
        ends[end] += 1
        if wrong:
            failed += 1
            command, values = settings(trial, asked.seed)
            other = {name: value for name, value in values.items() if TINY.get(name) != value}
            print(f"FAILED {trial}: {wrong}\n    {command} {other}", flush=True)
    spent = time.monotonic() - began
    print(f"seed {asked.seed}: {len(trials)} trials in {spent:.0f} s, {failed} failed; {dict(ends)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(call())
