"""Which cells are trained together: a rule from sizes alone, never from timing, so that it can be repeated."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from transformer_spectrum.study.running.grid import Cell
from transformer_spectrum.study.running.worker import Kind
from transformer_spectrum.training.ensemble import shared

MEMBERS: Mapping[Kind, int] = {"CPU": 8, "GPU": 256}
"""Trainings in one ensemble at most, where nothing else is asked for."""


@dataclass(frozen=True)
class Shape:
    """Of the windows that a cell trains on.

    Attributes:
        windows: those to train on; count.
        context, horizon: steps.
        features: values a step.
    """

    windows: int
    context: int
    horizon: int
    features: int


@dataclass(frozen=True)
class Ensemble:
    """Cells that one worker trains as one.

    Attributes:
        kind: of worker that it is for.
        cells: at least one, in the grid's order.
    """

    kind: Kind
    cells: tuple[Cell, ...]

    @property
    def name(self) -> str:
        """Where the first cell lies, and how many others there are."""
        others = f" and {len(self.cells) - 1} more" if len(self.cells) > 1 else ""
        return f"{self.cells[0].place}{others}"


def group_key(cell: Cell, shape: Shape) -> str:
    """What members of one ensemble have in common: architecture, lengths, batch size, and the kind of optimizer.

    >>> from transformer_spectrum.config.load import load_params
    >>> params, shape = load_params("params.yaml"), Shape(700, 240, 60, 1)
    >>> cells = [Cell("synthetic", "narrow", loss, "adam", seed, params) for loss, seed in (("mse", 1), ("mae", 2))]
    >>> group_key(cells[0], shape) == group_key(cells[1], shape)
    True
    """
    params = cell.params
    settings = getattr(params, cell.optimizer)
    kind = {name: getattr(settings, name, None) for name in ("algorithm", "popsize")}
    lengths = [shape.context, shape.horizon, shape.features]
    return json.dumps({**shared(params, cell.optimizer), **kind, "lengths": lengths}, sort_keys=True)


def members_at_most(cells: int, workers: int, bound: int) -> int:
    """Members of an ensemble: as many as are bound together with gain, but no fewer ensembles than workers.

    Args:
        cells: to be trained; count, >= 1.
        workers: that take them; count, >= 1.
        bound: of an ensemble's members; >= 1.

    >>> members_at_most(96, 2, 8), members_at_most(8, 2, 8), members_at_most(3, 16, 8)
    (8, 4, 1)
    """
    return max(1, min(bound, math.ceil(cells / workers)))


def ensembles(
    cells: Sequence[Cell],
    shapes: Mapping[str, Shape],
    kinds: Mapping[str, Kind],
    workers: Mapping[Kind, int],
    members: int | None = None,
) -> list[Ensemble]:
    """Cells of one group, cut into ensembles of sizes that differ by one at most; first seeds first.

    Args:
        cells: to be trained, in the grid's order.
        shapes: place -> windows of each.
        kinds: place -> which workers are to train it.
        workers: how many there are of each kind.
        members: in an ensemble at most, >= 1; None = `MEMBERS`.

    >>> from transformer_spectrum.config.load import load_params
    >>> params = load_params("params.yaml")
    >>> cells = [Cell("synthetic", "narrow", "mse", "adam", seed, params) for seed in range(9)]
    >>> shapes, kinds = ({cell.place: value for cell in cells} for value in (Shape(700, 240, 60, 1), "CPU"))
    >>> [len(ensemble.cells) for ensemble in ensembles(cells, shapes, kinds, {"CPU": 1})]
    [4, 5]
    """
    groups: dict[tuple[Kind, str], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((kinds[cell.place], group_key(cell, shapes[cell.place])), []).append(cell)
    order = {cell.place: position for position, cell in enumerate(cells)}
    cut: list[Ensemble] = []
    for (kind, _), group in groups.items():
        count = sum(kinds[cell.place] == kind for cell in cells)
        size = members_at_most(count, max(1, workers.get(kind, 0)), members or MEMBERS[kind])
        # Alike numbers of batches side by side: a member that has no batch left in an epoch waits for the others.
        alike = sorted(group, key=lambda cell: shapes[cell.place].windows)
        pieces = math.ceil(len(alike) / size)
        edges = [len(alike) * piece // pieces for piece in range(pieces + 1)]
        for first, last in itertools.pairwise(edges):
            cut.append(Ensemble(kind, tuple(sorted(alike[first:last], key=lambda cell: order[cell.place]))))
    return sorted(cut, key=lambda ensemble: order[ensemble.cells[0].place])
