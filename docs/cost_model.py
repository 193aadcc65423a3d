"""Cells, hours and money of the reference grid, from benchmarks/costs.yaml: the table of docs/costs.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from transformer_spectrum.config.load import load_params
from transformer_spectrum.study.running.grid import cells, load_grid

ROOT = Path(__file__).parents[1]
COSTS = ROOT / "benchmarks/costs.yaml"
MISSING = "not measured"


def grid_cells(name: str, seeds: int) -> Counter[str]:
    """Trainings of a grid by optimizer."""
    grid = load_grid(str(ROOT / "studies/grids" / f"{name}.yaml"))
    return Counter(cell.optimizer for cell in cells(grid, load_params(ROOT / "params.yaml"), runs=seeds))


def hours(place: Mapping[str, Any], trainings: Mapping[str, int]) -> float | None:
    """How long a grid takes at a place; None where something of it was not measured.

    Args:
        place: an entry of `places`.
        trainings: of each optimizer; count.
    """
    seconds = [place["seconds"][optimizer] for optimizer in trainings]
    if None in seconds or place["spectra"] is None:
        return None
    training = sum(count * place["seconds"][optimizer] for optimizer, count in trainings.items()) / place["workers"]
    spectra = sum(trainings.values()) * place["spectra"] / (place["beside"] or place["workers"])
    return (max(training, spectra) if place["beside"] else training + spectra) / 3600


def cost_table(costs: Mapping[str, Any] | None = None) -> str:
    """The page's table as Markdown.

    Args:
        costs: content of costs.yaml; the file's own if not given.
    """
    costs = costs or yaml.safe_load(COSTS.read_text(encoding="utf-8"))
    trainings = grid_cells(costs["grid"], costs["seeds"])
    heads = [*(f"seconds a training, {name}" for name in trainings), "seconds of its spectra", "hours", "price an hour"]
    lines = [["where", "workers", *heads, "price of the grid", "measured by"]]
    for place in costs["places"].values():
        duration, price = hours(place, trainings), place["price"]
        beside = f", {place['beside']} beside" if place["beside"] else ""
        numbers = [*(place["seconds"][name] for name in trainings), place["spectra"], duration, price]
        total = None if duration is None or price is None else duration * price
        words = [place["words"], f"{place['workers']}{beside}", *map(_number, [*numbers, total])]
        lines.append([*words, f"`{place['measured_by']}`" if place["measured_by"] else MISSING])
    rows = [f"| {' | '.join(line)} |" for line in (lines[0], ["---"] * len(lines[0]), *lines[1:])]
    return "\n".join([f"{sum(trainings.values()):,} trainings.", "", *rows])


def _number(value: float | None) -> str:
    return MISSING if value is None else f"{value:,.3g}"
