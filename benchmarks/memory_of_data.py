"""What reading a file, cutting windows, drawing series and a report take of the memory: estimate, and measured peak.

    python benchmarks/memory_of_data.py

The reports are of this workspace's run (`make repro` before), its tables as they are and repeated with later steps.

Each case runs in a process of its own, of which the system tells the peak of the resident set; what the process had
taken before it began is taken off.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from transformer_spectrum.config.load import Params, parse_params, read_tree
from transformer_spectrum.config.tree import put
from transformer_spectrum.data.files.footprint import file_footprint
from transformer_spectrum.data.files.series_files import read_series_file
from transformer_spectrum.data.prepare import prepare, windows_footprint
from transformer_spectrum.data.synthesis.drawing import draw_synthetic, drawing_footprint
from transformer_spectrum.report.footprint import report_footprint
from transformer_spectrum.report.run import CURVES, LONG_TABLES, read_run
from transformer_spectrum.report.run_page.page import page

MIB = 2**20
DAYS = pd.date_range("2000-01-01", periods=500).strftime("%Y-%m-%d")
COUNTRIES, COLUMNS, NUMBERS = 2000, 3000, (4000, 2000)


def _long(values: np.ndarray) -> pd.DataFrame:
    names = np.repeat([f"country {i}" for i in range(COUNTRIES)], len(DAYS))
    return pd.DataFrame({"entity": names, "date": np.tile(DAYS, COUNTRIES), "cases": values})


def _wide(values: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"date": DAYS, **{f"c{i}": column for i, column in enumerate(values)}})


def _csv(frame: Callable[[np.random.Generator], pd.DataFrame]) -> Callable[[Path, np.random.Generator], None]:
    return lambda path, generator: frame(generator).to_csv(path, index=False)


def _save(path: Path, generator: np.random.Generator) -> None:
    np.save(path, generator.normal(size=NUMBERS).cumsum(axis=1))


def _compressed(path: Path, generator: np.random.Generator) -> None:
    np.savez_compressed(path, series=generator.integers(0, 9, NUMBERS).cumsum(axis=1).astype(float))


LENGTH = COUNTRIES * len(DAYS)
FILES: dict[str, tuple[str, Callable[[Path, np.random.Generator], None]]] = {
    "CSV, long, 1,000,000 rows of 15 digits": ("csv", _csv(lambda draw: _long(draw.normal(size=LENGTH)))),
    "CSV, long, 1,000,000 rows of counts": ("csv", _csv(lambda draw: _long(draw.integers(10, 9999, LENGTH)))),
    "CSV, wide, 3,000 columns of 15 digits": ("csv", _csv(lambda draw: _wide(draw.normal(size=(COLUMNS, len(DAYS)))))),
    "CSV, wide, 6,000 columns of two digits": (
        "csv",
        _csv(lambda draw: _wide(draw.integers(10, 99, (2 * COLUMNS, len(DAYS))))),
    ),
    "Parquet, long, 1,000,000 rows": (
        "parquet",
        lambda path, draw: _long(draw.normal(size=LENGTH)).to_parquet(path, index=False),
    ),
    "npy, 8,000,000 numbers": ("npy", _save),
    "npz, compressed, 8,000,000 numbers": ("npz", _compressed),
}
WINDOWS: dict[str, tuple[tuple[int, int], dict[str, Any]]] = {
    "windows of 300 steps at every step, split by entity": ((500, 500), {"data.stride": 1, "data.split.by": "entity"}),
    "the same split by time, robust scale": (
        (100, 1200),
        {"data.stride": 1, "data.split.by": "time", "data.scaling": "robust"},
    ),
    "20,000 windows of 300 steps, a series each": ((20_000, 300), {"data.split.by": "entity"}),
    "windows of 3,000 steps at every 200th": (
        (300, 9300),
        {"data.sequence_length": 3000, "data.output_length": 600, "data.stride": 200, "data.split.by": "time"},
    ),
}


DRAWS: dict[str, dict[str, Any]] = {
    "40,000 synthetic series of 300 steps": {"series": 40_000},
    "3 series, a kernel of 10,000,000 taps": {"series": 3, "kernel.size": 10_000_000},
}
REPORTS = {
    "report of this workspace's run": 1,
    "the same with 20 times the rows": 20,
    "the same with 60 times the rows": 60,
}


def _peak() -> float:
    """Of the resident set, in bytes; getrusage would count what the process was before it began this program."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024.0 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def _repeated(folder: Path, times: int) -> None:
    """The workspace's run in that folder, every table so many times as long."""
    for name in ("plots", "metrics", "models", "data/processed"):
        shutil.copytree(name, folder / name)
    for path in (folder / f"plots/{name}.csv" for name in CURVES):
        table = pd.read_csv(path, keep_default_na=False)
        pd.concat([_later(table, i) for i in range(times)]).to_csv(path, index=False)
    for path in (folder / f"metrics/{name}.parquet" for name in LONG_TABLES):
        table = pd.read_parquet(path)
        pd.concat([_later(table, i) for i in range(times)]).to_parquet(path)


def _later(table: pd.DataFrame, turn: int) -> pd.DataFrame:
    place = next((name for name in ("step", "window") if name in table), None)
    return table if place is None else table.assign(**{place: table[place].astype(int) + 100_000 * turn})


def _params(changes: dict[str, Any]) -> Params:
    tree = read_tree("params.yaml")
    for key, value in changes.items():
        put(tree, key, value)
    return parse_params(tree)


def measured(name: str, folder: Path) -> tuple[float, float]:
    """Estimate and peak; bytes. In a process of its own."""
    if name in FILES:
        path = next(folder.glob("series.*"))
        before = _peak()
        read_series_file(path)
        return file_footprint(path).size, _peak() - before
    if name in DRAWS:
        params = _params({f"data.synthetic.{key}": value for key, value in DRAWS[name].items()})
        before = _peak()
        draw_synthetic(params, folder / "raw")
        return drawing_footprint(params.data.synthetic).size, _peak() - before
    if name in REPORTS:
        before = _peak()
        run = read_run(_params({}), folder)
        page(run)
        return report_footprint(folder).size, _peak() - before
    path, params = folder / "series.npy", _params({"data.dataset": "file", **WINDOWS[name][1]})
    content = read_series_file(path)
    before = _peak()
    prepare(params, path, folder / "processed", folder / "data.json")
    return windows_footprint(content.series, params.data).size, _peak() - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.measure:
        name, folder = json.loads(chosen.measure)
        print(json.dumps(measured(name, Path(folder))))
        return
    print("| work | estimated, MiB | measured, MiB | ratio |")
    print("|---|---|---|---|")
    for name in (*FILES, *WINDOWS, *DRAWS, *REPORTS):
        generator = np.random.default_rng(0)
        with tempfile.TemporaryDirectory() as folder:
            if name in FILES:
                suffix, write = FILES[name]
                write(Path(folder) / f"series.{suffix}", generator)
            elif name in REPORTS:
                _repeated(Path(folder), REPORTS[name])
            elif name in WINDOWS:
                np.save(Path(folder) / "series.npy", generator.normal(size=WINDOWS[name][0]).cumsum(axis=1))
            command = [sys.executable, __file__, "--measure", json.dumps([name, folder])]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        estimate, taken = json.loads(done.stdout)
        print(f"| {name} | {estimate / MIB:,.0f} | {taken / MIB:,.0f} | {estimate / taken:.2f} |", flush=True)


if __name__ == "__main__":
    main()
