"""A grid of trainings: a YAML file of named data sets and named losses -> one validated cell for each combination.

    title: COVID-19 cases
    optimizers: [adam, es, ga]        # of these some or all
    set: {training: {batch_size: 16}} # optional: parameters of all cells
    datasets:                         # name -> parameters under data and model
      covid: {data: {dataset: covid}}
    losses:                           # name -> parameters under loss, adam, es and ga
      mse: {loss: {type: mse}}
      sgt_q5: {loss: {type: sgt, q: 5.0}}

A data set is everything that has to be the same for all losses that are compared on it; a loss may bring a learning
rate of its own. What is not named stays as in params.yaml. Run i of every cell has the seed `seed` + i, which fixes
initial weights, drawn series, split and batch order for all losses alike.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformer_spectrum.config import tree
from transformer_spectrum.config.load import Params, parameters_in, parse_params, read_tree
from transformer_spectrum.config.schema import OPTIMIZERS
from transformer_spectrum.config.tree import Tree
from transformer_spectrum.config.wheel_files import FILES, packaged
from transformer_spectrum.runtime.errors import InputError

FOLDER = Path("studies/grids")
MOST_RUNS = 10_000
KEYS = ("title", "optimizers", "set", "datasets", "losses")
OF_DATASET = ("data", "model")
OF_LOSS = ("loss", *OPTIMIZERS)
NAME = re.compile(r"[a-z0-9]+(_[a-z0-9]+)*")  # becomes part of folders and of experiments' names
ONE_THREAD: Mapping[str, Any] = {"threads": 1, "training": {"workers": 1}}


@dataclass(frozen=True)
class Grid:
    """A grid file.

    Attributes:
        name: of the file, without .yaml.
        source: the file, for errors.
        title: a few words for figures.
        optimizers: at least one.
        shared: parameters of all cells.
        datasets, losses: name -> parameters, at least one each.
    """

    name: str
    source: str
    title: str
    optimizers: tuple[str, ...]
    shared: Tree
    datasets: Mapping[str, Tree]
    losses: Mapping[str, Tree]


@dataclass(frozen=True)
class Cell:
    """One training of a study.

    Attributes:
        study, dataset, loss, optimizer: names.
        seed: of everything random in it.
        params: all parameters.
    """

    study: str
    dataset: str
    loss: str
    optimizer: str
    seed: int
    params: Params

    @property
    def key(self) -> tuple[str, str, str, str, int]:
        return self.study, self.dataset, self.loss, self.optimizer, self.seed

    @property
    def place(self) -> str:
        """Relative folder."""
        return f"{self.dataset}/{self.loss}/{self.optimizer}/seed_{self.seed}"

    @property
    def name(self) -> str:
        """A readable name, legal in a git reference."""
        return f"{self.study}-{self.dataset}-{self.loss}-{self.optimizer}-s{self.seed}"


def named_grids() -> dict[str, Path]:
    """Name -> file of the grids that need no path: those that come with the package, and those in studies/grids/ here.

    >>> {"covid", "rvr", "synthetic"} <= named_grids().keys()
    True
    """
    own = {path.stem: path for path in FOLDER.glob("*.yaml")}
    return {Path(name).stem: packaged(name) for name in FILES if name.startswith("studies/grids/")} | own


def find_grid(name: str) -> Path:
    """The file of a grid that is named by its file name or by a path.

    Raises:
        InputError: there is none.

    >>> find_grid("synthetic").name
    'synthetic.yaml'
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        return path
    grids = named_grids()
    if name not in grids:
        near = difflib.get_close_matches(name, grids, n=1)
        guess = f"; did you mean {near[0]}?" if near else ""
        raise InputError(f"grid = {name}: must be a file ending in .yaml, or one of {', '.join(sorted(grids))}{guess}")
    return grids[name]


def load_grid(name: str) -> Grid:
    """Reads a grid; the parameters in it are checked with every cell, see `cells`.

    Raises:
        InputError: one line naming the file, what is wrong in it, and the rule.

    >>> grid = load_grid("synthetic")
    >>> grid.optimizers, list(grid.datasets)
    (('adam', 'es', 'ga'), ['narrow', 'wide', 'narrow_smooth', 'wide_smooth'])
    """
    path = find_grid(name)
    content = read_tree(path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: must be a mapping with {', '.join(KEYS)}")
    for key in content:
        if key not in KEYS:
            near = difflib.get_close_matches(str(key), KEYS, n=1)
            raise InputError(f"{path}: {key}: unknown key" + (f"; did you mean {near[0]}?" if near else ""))
    if not NAME.fullmatch(path.stem):
        raise InputError(f"{path}: the file's name must be lower-case letters and digits, with single _ between them")
    return Grid(
        name=path.stem,
        source=str(path),
        title=str(content.get("title", path.stem)),
        optimizers=check_optimizers(content.get("optimizers", list(OPTIMIZERS)), f"{path}: optimizers"),
        shared=_block(content.get("set", {}), f"{path}: set", None),
        datasets=_named(content, "datasets", str(path), OF_DATASET),
        losses=_named(content, "losses", str(path), OF_LOSS),
    )


def check_optimizers(names: Any, label: str) -> tuple[str, ...]:
    """The optimizers, if each is one and named once.

    Raises:
        InputError: they are not; starts with `label`.

    >>> check_optimizers(["adam", "ga"], "--optimizers")
    ('adam', 'ga')
    """
    legal = isinstance(names, list | tuple) and names and all(name in OPTIMIZERS for name in names)
    if not legal or len(set(names)) < len(names):
        raise InputError(f"{label} = {names}: must be some of {', '.join(OPTIMIZERS)}, each once")
    return tuple(names)


def _named(content: Tree, key: str, source: str, sections: Sequence[str]) -> dict[str, Tree]:
    blocks = content.get(key)
    if not isinstance(blocks, dict) or not blocks:
        raise InputError(f"{source}: {key}: must map at least one name to its parameters")
    for name in blocks:
        if not (isinstance(name, str) and NAME.fullmatch(name)):
            rule = "must be lower-case letters and digits, with single _ between them"
            raise InputError(f"{source}: {key}: {name!r}: {rule}")
    return {name: _block(block, f"{source}: {key}: {name}", sections) for name, block in blocks.items()}


def _block(block: Any, where: str, sections: Sequence[str] | None) -> Tree:
    if not isinstance(block, dict):
        raise InputError(f"{where}: must be a mapping of parameters, as in params.yaml")
    for section in block:
        if sections is not None and section not in sections:
            raise InputError(f"{where}: {section}: must be one of {', '.join(sections)}")
        if section == "seed":
            raise InputError(f"{where}: seed: is params.yaml's, or --set seed=S; run i has seed + i")
    return tree.nest(parameters_in(block, where))


def cells(
    grid: Grid,
    base: Params,
    *,
    runs: int,
    optimizers: Sequence[str] | None = None,
    overlay: Tree | None = None,
    settings: Tree | None = None,
) -> list[Cell]:
    """Every cell of the grid, run by run, so that more runs only add cells behind the others.

    Later ones win: params.yaml, the grid's `set`, the overlay, the settings, the data set, the loss. Each cell computes
    in one thread.

    Args:
        grid: what to run.
        base: params.yaml.
        runs: seeds of each combination; count, 1 to MOST_RUNS.
        optimizers: in the place of the grid's.
        overlay: parameters, such as those of config/overlays/smoke.yaml.
        settings: parameters that no data set or loss may set as well.
    Raises:
        InputError: a parameter of some cell breaks a rule; names the file, the data set and the loss.

    >>> base = parse_params(read_tree(packaged("params.yaml")))
    >>> [cell.place for cell in cells(load_grid("synthetic"), base, runs=1)[:2]]
    ['narrow/sgt_wide/adam/seed_1', 'narrow/sgt_wide/es/seed_1']
    """
    if not 1 <= runs <= MOST_RUNS:
        raise InputError(f"--runs = {runs}: must be from 1 to {MOST_RUNS}")
    settings = settings or {}
    _check_settings(grid, settings)
    shared = tree.merge(base.model_dump(), grid.shared, overlay or {}, settings, ONE_THREAD)
    parsed: dict[tuple[str, str], Params] = {}
    for dataset, of_dataset in grid.datasets.items():
        for loss, of_loss in grid.losses.items():
            try:
                parsed[dataset, loss] = parse_params(tree.merge(shared, of_dataset, of_loss))
            except InputError as error:
                raise InputError(f"{grid.source}: data set {dataset}, loss {loss}: {error}") from None
            seed = parsed[dataset, loss].seed
            if seed + runs > 2**63:
                raise InputError(f"--runs = {runs} with seed = {seed}: the last run's seed must fit 64 bits")
            if parsed[dataset, loss].data.dataset == "file":
                raise InputError(f"{grid.source}: data set {dataset}: data.dataset = file: is for single trainings")
    _check_distinct(grid, parsed)
    chosen = grid.optimizers if optimizers is None else check_optimizers(list(optimizers), "--optimizers")
    return [
        Cell(
            grid.name,
            dataset,
            loss,
            optimizer,
            params.seed + run,
            params.model_copy(update={"seed": params.seed + run}),
        )
        for run in range(runs)
        for (dataset, loss), params in parsed.items()
        for optimizer in chosen
    ]


def _check_settings(grid: Grid, settings: Tree) -> None:
    asked = tree.flatten(settings).keys()
    for kind, blocks in (("data set", grid.datasets), ("loss", grid.losses)):
        for owner, block in blocks.items():
            for name in tree.flatten(block):
                if name in asked:
                    raise InputError(
                        f"--set {name}: {kind} {owner} of {grid.source} sets it, so it would have no effect"
                    )


def _check_distinct(grid: Grid, parsed: Mapping[tuple[str, str], Params]) -> None:
    first_dataset, first_loss = next(iter(parsed))
    sides = (
        ("data sets", {name: parsed[name, first_loss] for name in grid.datasets}, OF_DATASET),
        ("losses", {name: parsed[first_dataset, name] for name in grid.losses}, OF_LOSS),
    )
    for words, named, sections in sides:
        seen: dict[str, str] = {}
        for name, params in named.items():
            content = params.model_dump_json(include=set(sections))
            if content in seen:
                raise InputError(f"{grid.source}: {words} {seen[content]} and {name}: the same parameters")
            seen[content] = name
