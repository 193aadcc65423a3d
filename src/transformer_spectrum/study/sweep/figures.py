"""A figure of each metric by loss: the best step of every training, beside its null and the initial weights."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from transformer_spectrum.analysis.comparison.endpoints import CHANGE
from transformer_spectrum.config.schema import OPTIMIZERS
from transformer_spectrum.report.pictures.style import house_style, new_figure, save, start_line
from transformer_spectrum.runtime import deciding_code
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.files import atomic_folder, sha256
from transformer_spectrum.runtime.progress import Progress
from transformer_spectrum.spectra.analysis import METRICS
from transformer_spectrum.study.running.grid import Cell, Grid
from transformer_spectrum.study.running.store import fault, own_names, write_record
from transformer_spectrum.vocabulary import (
    BAND_MEANING,
    MARKERS,
    NULL_COLOUR,
    STANDIN,
    START_LABEL,
    WARNING_COLOUR,
    display_name,
    family_title,
    loss_colours,
    metric_words,
)

CODE = ("report/pictures/style.py", "study/sweep/figures.py", "vocabulary.py")

COMPANIONS = ("alpha_exponent_se", "alpha_exponent_r_squared", "ks_alpha_se")
"""They say how good another metric is: in the table only."""
DRAWN = tuple(f"{prefix}{metric}" for prefix in ("", CHANGE) for metric in METRICS if metric not in COMPANIONS)


def _read_best(table: Path) -> pd.DataFrame:
    """The best steps of families.csv."""
    words = dict.fromkeys(("study", "dataset", "loss", "optimizer", "family", "metric"), "category")
    rows = pd.read_csv(table, dtype=words)
    return rows[rows["best"] == 1]


def chosen_metrics(text: str | None) -> tuple[str, ...]:
    """The metrics of a list such as "stable_rank,ks_alpha"; all that are DRAWN for None, none for "none".

    Raises:
        InputError: one of them has no figure.

    >>> chosen_metrics("stable_rank,ks_alpha"), chosen_metrics("none")
    (('stable_rank', 'ks_alpha'), ())
    """
    if text is None:
        return DRAWN
    metrics = () if text == "none" else tuple(text.split(","))
    for metric in metrics:
        if metric not in DRAWN:
            near = difflib.get_close_matches(metric, DRAWN, n=1)
            guess = f"; did you mean {near[0]}?" if near else f": must be none, or some of {', '.join(DRAWN)}"
            raise InputError(f"--figures = {text}: {metric!r} has no figure{guess}")
    return metrics


def write_figures(grid: Grid, cells: Sequence[Cell], table: Path, folder: Path, metrics: Sequence[str] = DRAWN) -> None:
    """Writes METRIC.png for every metric that has a value, unless they are of this table; without a cell
    or a metric, no folder.

    Args:
        grid: for its title and the order of its losses.
        cells: those in the table.
        table: families.csv.
        folder: where to; what others have put there stays.
        metrics: those to draw.

    >>> from transformer_spectrum.study.running.grid import load_grid
    >>> write_figures(load_grid("synthetic"), [], Path("families.csv"), Path("figures"))
    >>> Path("figures").exists()
    False
    """
    if not (cells and metrics):
        for name in own_names(folder) if folder.is_dir() else ():
            (folder / name).unlink(missing_ok=True)
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
        return
    names = [grid.title, *grid.datasets, *grid.losses]
    request = {"table": sha256(table), "grid": names, "metrics": list(metrics), "code": deciding_code.checksums(CODE)}
    if not fault(folder, request):
        return
    best = _read_best(table)
    with (
        atomic_folder(folder, own_names(folder)) as inside,
        Progress(f"sweep {grid.name}: figures", len(metrics), "figure") as progress,
    ):
        for number, metric in enumerate(metrics, start=1):
            rows = best[(best["metric"] == metric) & best["value"].notna()]
            if len(rows):
                save(_by_loss(grid, metric, rows), inside / f"{metric}.png")
            progress.update(number)
        write_record(inside, request, {})


def _by_loss(grid: Grid, metric: str, best: pd.DataFrame) -> Figure:
    """One metric: a row of panels for each data set, a column for each family of matrices, the losses side by side.

    Args:
        grid: for its title and the order of data sets and losses.
        metric: its name.
        best: rows of `_read_best` with that metric and a value.
    """
    datasets = [name for name in grid.datasets if (best["dataset"] == name).any()]
    losses = [name for name in grid.losses if (best["loss"] == name).any()]
    optimizers = [name for name in OPTIMIZERS if (best["optimizer"] == name).any()]
    families = best.drop_duplicates("family").set_index("family")
    colours = loss_colours(list(grid.losses))
    with house_style():
        panel = max(1.7, 0.11 * len(losses) * len(optimizers) + 0.7)
        width, height = max(9.5, panel * len(families) + 0.9), 1.7 * len(datasets)
        figure = new_figure(width, height + 2.2)
        axes = figure.subplots(len(datasets), len(families), sharex=True, squeeze=False)
        for row, dataset in enumerate(datasets):
            for column, label in enumerate(families.index):
                own = best[(best["dataset"] == dataset) & (best["family"] == label)]
                _panel(axes[row, column], own, losses, optimizers, colours)
                if row == 0:
                    size = [int(families.loc[label, side]) for side in ("larger", "smaller")]
                    axes[row, column].set_title(family_title(label, int(families.loc[label, "matrices"]), size))
            axes[row, 0].set_ylabel(f"{dataset}\n{metric_words(metric)}")
        figure.align_ylabels(axes[:, 0])
        _words(figure, grid, metric, optimizers, standin=bool(best["standin"].any()))
        return figure


def _panel(
    axes: Axes, rows: pd.DataFrame, losses: Sequence[str], optimizers: Sequence[str], colours: Mapping[str, str]
) -> None:
    spread = 0.7 / len(optimizers)
    for index, optimizer in enumerate(optimizers):
        own = rows[rows["optimizer"] == optimizer]
        means = own.groupby("loss", observed=True)["value"].mean()
        for names, values, look in (
            (own["loss"].tolist(), own["value"], {"s": 9, "alpha": 0.45, "linewidths": 0}),
            (means.index.tolist(), means, {"s": 30, "linewidths": 0.5, "edgecolors": "white"}),
        ):
            at = [losses.index(name) + spread * (index - (len(optimizers) - 1) / 2) for name in names]
            axes.scatter(at, values, c=[colours[name] for name in names], marker=MARKERS[optimizer], zorder=3, **look)
        for name, nulls in own.groupby("loss", observed=True)[["null", "null_sd"]].mean().iterrows():
            place = losses.index(str(name)) + spread * (index - (len(optimizers) - 1) / 2)
            height, bottom = 4 * nulls["null_sd"], nulls["null"] - 2 * nulls["null_sd"]
            if np.isfinite(bottom):
                look = {"color": NULL_COLOUR, "alpha": 0.25, "linewidth": 0}
                axes.bar(place, height, 0.8 * spread, bottom, zorder=0, **look)
    initial = rows.drop_duplicates("seed")["initial"].mean()
    if np.isfinite(initial):
        axes.axhline(initial, zorder=1, **start_line())
    axes.margins(y=0.15)
    low, high = axes.get_ylim()
    if high - low < 1e-6 * max(1.0, abs(high)):  # constant: the axis would show rounding
        axes.set_ylim(low - 0.5, high + 0.5)
    axes.yaxis.get_major_locator().set_params(nbins=4)
    axes.set_xlim(-0.6, len(losses) - 0.4)
    axes.set_xticks(range(len(losses)), losses, rotation=90)
    axes.grid(axis="x", visible=False)


def _words(figure: Figure, grid: Grid, metric: str, optimizers: Sequence[str], *, standin: bool) -> None:
    """Title, legend, note, and the stand-in's warning in red."""
    width, height = figure.get_size_inches()
    bottom, top = 0.62 / height, 0.36 / height
    figure.get_layout_engine().set(rect=(0, bottom, 1, 1 - bottom - top), w_pad=0.05, h_pad=0.05)
    left, right = 0.1 / width, 1 - 0.1 / width
    name = metric_words(metric)
    title = f"{name[:1].upper()}{name[1:]} by loss: {grid.title}"
    figure.text(left, 1 - 0.1 / height, title, ha="left", va="top", fontsize=12, fontweight="bold")
    grey = {"color": "#444444", "linestyle": "", "markersize": 5.5}
    handles = [Line2D([], [], marker=MARKERS[name], label=display_name(name), **grey) for name in optimizers]
    handles.append(Line2D([], [], label=START_LABEL, **start_line()))
    figure.legend(
        handles=handles,
        loc="upper right",
        bbox_to_anchor=(1 - (1.7 if standin else 0.1) / width, 1 - 0.02 / height),
        ncols=len(handles),
    ).set_in_layout(False)
    note = (
        "Best step of each training, mean over a family's matrices: small marks are seeds, large ones their mean. "
        "Dashed: the initial weights;\n"
        f"grey is the {BAND_MEANING}. A training that diverged or failed is not shown: see cells.csv."
    )
    figure.text(left, 0.1 / height, note, ha="left", va="bottom", color="#444444", fontsize=8.5, linespacing=1.4)
    if standin:
        loud = {"ha": "right", "color": WARNING_COLOUR, "fontweight": "bold"}
        figure.text(right, 1 - 0.1 / height, STANDIN, va="top", fontsize=12, **loud)
