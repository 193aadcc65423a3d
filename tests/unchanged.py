"""`make unchanged`: whether the study comes out of this commit's code as it came out of another commit's, byte by byte.

    python tests/unchanged.py --base REVISION [--epochs 4] [--generations 10] [--seeds 2]

A change that moves code about, or that only meets what no training of the study contains, need not cost the hours of
`make study` for tables that are the same: `dvc commit studies/dvc.yaml` says so to DVC. Nobody has to believe it.
This runs the study in short, all of its blocks, data sets, losses, optimizers and treatments with fewer seeds, epochs
and generations, once with the code of the base and once with that of HEAD, on this machine, and compares the tables.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
STAGES = ("tuning", "run", "table")

FEW = 3
"""A block of so many seeds, such as one that tunes rates, has one left."""


def shortened(protocol: dict[str, Any], epochs: int, generations: int, seeds: int) -> dict[str, Any]:
    """The same study with fewer seeds, epochs and generations; a treatment of more epochs has as many times more."""
    factor = epochs / protocol["set"]["adam"]["epochs"]
    protocol["set"]["adam"]["epochs"] = epochs
    for name in ("es", "ga"):
        protocol["set"].setdefault(name, {})["generations"] = generations
    for treatment in protocol["treatments"].values():
        own = treatment.get("set", {}).get("adam", {})
        if "epochs" in own:
            own["epochs"] = max(1, round(own["epochs"] * factor))
    for block in protocol["blocks"].values():
        block["seeds"]["count"] = min(block["seeds"]["count"], seeds) if block["seeds"]["count"] > FEW else 1
    return protocol


def tables(revision: str, protocol: dict[str, Any], folder: Path) -> Path:
    """The tables of a study by a revision's code."""
    subprocess.run(["git", "clone", "--quiet", "--no-checkout", str(ROOT), str(folder)], check=True)
    subprocess.run(["git", "checkout", "--quiet", "--detach", revision], cwd=folder, check=True)
    (folder / "studies/short.yaml").write_text(yaml.safe_dump(protocol, sort_keys=False))
    for stage in STAGES:
        command = [sys.executable, f"stages/study_{stage}.py", "studies/short.yaml"]
        subprocess.run(command, cwd=folder, env=os.environ | {"PYTHONPATH": "src"}, check=True)
    return folder / "studies/short/tables"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True, help="revision whose code made the committed tables")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--generations", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    names = [
        subprocess.run(["git", "rev-parse", "--short", name], cwd=ROOT, capture_output=True, text=True, check=True)
        for name in (options.base, "HEAD")
    ]
    committed = yaml.safe_load((ROOT / "studies/protocol.yaml").read_text())
    protocol = shortened(committed, options.epochs, options.generations, options.seeds)
    started, different = time.monotonic(), []
    with tempfile.TemporaryDirectory() as name:
        base, head = (tables(each.stdout.strip(), protocol, Path(name) / f"{i}") for i, each in enumerate(names))
        for table in sorted({path.name for path in (*base.iterdir(), *head.iterdir())}):
            contents = [
                (folder / table).read_bytes() if (folder / table).is_file() else None for folder in (base, head)
            ]
            different += [] if contents[0] == contents[1] else [table]
            print(f"{table}: {'DIFFERENT' if table in different else 'the same bytes'}")
    revisions = " and ".join(each.stdout.strip() for each in names)
    verdict = f"differ in {', '.join(different)}" if different else "give the same tables"
    print(f"{revisions} {verdict} ({time.monotonic() - started:.0f} s)")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
