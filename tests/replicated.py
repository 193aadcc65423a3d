"""`make replicated`: whether the verdicts of the committed study stand by another rounding.

    python tests/replicated.py [--folder FOLDER]

The committed tables were made by torch's kernels for AVX2, and `studies/dvc.yaml` asks for them. On a processor that
has more, or another maker's, sums round otherwise, and a training makes much of that. This trains all blocks of
gradient methods but the crossed one, with the committed rates, targets and margins, by whatever kernels this machine
has, and holds the verdicts against the committed ones. Population methods are left out: they came out the same to the
last digit where that was tried. It takes 500 trainings, 45 minutes on two cores; a folder that is given keeps them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from transformer_spectrum.study.answer.places import StudyPlaces
from transformer_spectrum.study.answer.tuned import with_tuning
from transformer_spectrum.study.conclusions.judged import judgement
from transformer_spectrum.study.protocol.model import load_protocol

ROOT = Path(__file__).parents[1]
NAME = "elsewhere"
CROSSED, METHODS, GRADIENT = "crossed", "optimizers", ("sgd", "adam", "muon")
AXES = ("validation_mae", "evaluations", "distance")


def of_gradient_methods(protocol: dict[str, Any]) -> dict[str, Any]:
    """The same protocol without the crossed block and the arms of population methods."""
    blocks = protocol["blocks"]
    del blocks[CROSSED]
    others = set(blocks[METHODS]["optimizers"]) - set(GRADIENT)
    blocks[METHODS]["optimizers"] = list(GRADIENT)
    protocol["contrasts"] = [
        contrast for contrast in protocol["contrasts"] if contrast["first"].split("-")[0] not in others
    ]
    return protocol


def prepare(studies: Path) -> Path:
    """Writes the protocol, and the committed tuning as if it had been made under it."""
    path = studies / f"{NAME}.yaml"
    protocol = of_gradient_methods(yaml.safe_load((studies / "protocol.yaml").read_text()))
    path.write_text(yaml.safe_dump(protocol, sort_keys=False))
    tuning = json.loads((studies / "tables/tuning.json").read_text())
    tuning["protocol"] = load_protocol(path).design_sha256
    tuning["own_targets"] = {
        name: targets for name, targets in tuning["own_targets"].items() if name in protocol["blocks"]
    }
    places = StudyPlaces.of(path)
    places.tuning.parent.mkdir(parents=True, exist_ok=True)
    places.tuning.write_text(json.dumps(tuning))
    return path


def verdicts_of(path: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """(contrast, endpoint) -> verdict, of what was trained."""
    places = StudyPlaces.of(path)
    protocol = with_tuning(load_protocol(places.protocol), places.tuning)
    return _named(judgement(protocol, pd.read_parquet(places.endpoints), {}))


def _named(content: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    verdicts = [*content["contrasts"], *content["controls"]]
    return {(verdict["contrast"]["name"], verdict["endpoint"]): verdict for verdict in verdicts}


def held_against(committed: Path, path: Path) -> pd.DataFrame:
    """A row a contrast and endpoint: judgements and means here and in the committed tables."""
    before, now = _named(json.loads(committed.read_text())), verdicts_of(path)
    rows = []
    for key, verdict in now.items():
        row: dict[str, Any] = dict(zip(("contrast", "endpoint"), key, strict=True))
        for name, each in (("committed", before[key]), ("here", verdict)):
            row[name] = each["judgement"]
            row |= {f"{axis} {name}": each["axes"].get(axis, {}).get("mean") for axis in AXES}
        rows.append(row)
    return pd.DataFrame(rows)


def summary(table: pd.DataFrame) -> list[str]:
    """What is the same, in lines."""
    same = table["committed"] == table["here"]
    lines = [f"verdicts: {same.sum()} of {len(table)} the same"]
    lines += [
        f"  {row.contrast}, {row.endpoint}: {row.committed}, here {row.here}" for row in table[~same].itertuples()
    ]
    for axis in AXES:
        before, now = table[f"{axis} committed"].astype(float), table[f"{axis} here"].astype(float)
        apart = (before - now).abs()
        signs = (np.sign(before) == np.sign(now)).sum()
        lines.append(
            f"at equal {axis}: {signs} of {apart.notna().sum()} of one sign, means {apart.median():.4f} apart in the "
            f"median, {apart.max():.3f} at most"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="a clone that keeps its trainings; a temporary one if not given")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = chosen.folder or Path(scratch) / "clone"
        if not folder.exists():
            subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
        path = prepare(folder / "studies")
        for stage in ("run", "table"):
            command = [sys.executable, f"stages/study_{stage}.py", f"studies/{path.name}"]
            subprocess.run(command, cwd=folder, env=os.environ | {"PYTHONPATH": "src"}, check=True)
        table = held_against(folder / "studies/tables/verdicts.json", path)
        print(table.round(3).to_csv(index=False))
        print("\n".join(summary(table)))


if __name__ == "__main__":
    main()
