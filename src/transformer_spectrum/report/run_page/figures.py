"""The report's figures: what each shows, its specification, its data, and its numbers as a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from transformer_spectrum.report.page.html import Table
from transformer_spectrum.report.run_page import numbers as page_numbers
from transformer_spectrum.report.run_page import specs as page_specs
from transformer_spectrum.report.run_page import spectra as page_spectra
from transformer_spectrum.report.run_page import text as page_text
from transformer_spectrum.report.run_page.inputs import Rows, Run
from transformer_spectrum.report.run_page.parts import Spec

DIGITS = 5
"""Significant digits of the data: more than a screen can show."""
SHOWN_DEPTH = 100
"""Curves of singular values end at the largest over this: the smallest would squeeze the others."""


@dataclass(frozen=True)
class Figure:
    """One figure of the page.

    Attributes:
        name: of its anchor and of the file that its data are saved as.
        title: a short heading.
        text: what to look at, and how to read it.
        alternative: what it shows, for those who cannot see it; the numbers are in the table.
        spec: Vega-Lite, without data.
        parse: columns that hold numbers.
        data: CSV.
        numbers: the figure in numbers.
        legend: what else than the optimizers has a colour; names of CSS variables.
        optimizers: it has lines of the optimizers, which a reader can mute.
    """

    name: str
    title: str
    text: str
    alternative: str
    spec: Spec
    parse: tuple[str, ...]
    data: str
    numbers: Table
    legend: tuple[str, ...] = ("null",)
    optimizers: bool = True


def figures(run: Run) -> list[Figure]:
    """All figures that have anything to show, in the page's order."""
    made = (make(run) for make in (moved, loss, evolution, esd, singular_values, heatmap, forecasts))
    return [figure for figure in made if figure is not None]


def missing(run: Run) -> list[str]:
    """A line for each figure that has nothing to show, as where every weight is 0."""
    names = {figure.name for figure in figures(run)}
    return [f"The figure {title!r} is left out: {reason}." for name, title, reason in MAY_LACK if name not in names]


MAY_LACK = (
    ("moved", "What moved, and how far from its null", "no family has a null that varies"),
    ("evolution", "How the spectra evolve", "no metric has a value"),
    ("esd", "Spectral densities", "no eigenvalue is positive"),
    ("singular-values", "Singular values", "none is positive"),
    ("layers", "Where in the model", "no matrix has a change since step 0 that can be told"),
)


def _csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """CSV with numbers cut to DIGITS."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([f"{x:.{DIGITS}g}" if isinstance(x, float) else x for x in row] for row in rows)
    return stream.getvalue()


def _distinct(rows: Rows, column: str) -> list[str]:
    return list(dict.fromkeys(row[column] for row in rows))


def _floats(row: dict[str, str], *columns: str) -> list[float | str]:
    return [float(row[name]) if row[name] else "" for name in columns]


def _numbers(columns: Sequence[str], but: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in columns if name not in but)


def moved(run: Run) -> Figure | None:
    """How far each family's spectrum came from its null."""
    known = [one for one in run.shifts if one.z is not None]
    columns = ("optimizer", "family", "metric", "initial", "last", "percent", "z")
    rows = ((one.optimizer, one.family, one.metric, one.initial, one.last, one.percent, one.z) for one in known)
    metrics = list(dict.fromkeys(one.metric for one in known))
    if not metrics:
        return None
    return Figure(
        "moved",
        "What moved, and how far from its null",
        "The change of each family's mean from the initial weights to the last step, in standard deviations of that "
        "mean over shuffles of the initial matrices. Inside the grey band (2 standard deviations) a change is no "
        "larger than what shuffling untrained weights does. A metric that every shuffle shares has no z and no point.",
        "Dots by family and optimizer on an axis of standard deviations, with a grey band from -2 to 2.",
        page_specs.moved(run.families, list(run.trainings), metrics),
        _numbers(columns, columns[:3]),
        _csv(columns, rows),
        page_numbers.shifts(run),
        legend=(),
    )


def loss(run: Run) -> Figure:
    """Training and validation loss."""
    best = {(name, str(one.scores["best_step"])) for name, one in run.trainings.items()}
    columns = ("optimizer", "step", "evaluations", "split", "loss", "best")
    rows = (
        (
            row["optimizer"],
            row["step"],
            row["evaluations"],
            row["split"],
            float(row["loss"]),
            int(row["split"] == "validation" and (row["optimizer"], row["step"]) in best),
        )
        for row in run.curves["loss"]
    )
    return Figure(
        "loss",
        "What was reached, on which budget",
        f"{page_text.loss_name(run)}. Bold: validation; thin: training; the dot is the best step, whose weights are "
        "scored. An evaluation is a forward pass over a batch, a backward pass counts as two.",
        "Training and validation loss of each optimizer against steps and against evaluations.",
        page_specs.loss(list(run.trainings), run.caption.loss_unit),
        _numbers(columns, ("optimizer", "split")),
        _csv(columns, rows),
        page_numbers.losses(run),
        legend=(),
    )


def evolution(run: Run) -> Figure | None:
    """Every metric against steps and evaluations."""
    table = run.curves["spectra_evolution"]
    if not table:
        return None
    columns = ("optimizer", "step", "evaluations", "family", "metric", "value", "initial", "null_low", "null_high")
    rows = (
        (*(row[name] for name in columns[:5]), *_floats(row, "value", "initial", "null_low", "null_high"))
        for row in table
    )
    return Figure(
        "evolution",
        "How the spectra evolve",
        "The mean of each family of matrices. Dashed: the initial weights. Grey: the mean ± 2 standard deviations over "
        "shuffles of the initial matrices. KS and Hill alpha are fits, not proof of a power law: untrained Gaussian "
        "matrices get one too.",
        "A panel for each family: a spectral metric of each optimizer against steps or evaluations, with the null.",
        page_specs.evolution(run.families, list(run.trainings), _distinct(table, "metric")),
        _numbers(columns, ("optimizer", "family", "metric")),
        _csv(columns, rows),
        page_numbers.ends(run),
    )


def _with_progress(table: Rows) -> Callable[[dict[str, str]], str]:
    """Where a step stands among its optimizer's tracked ones: 0 the first, 1 the last."""
    steps: dict[str, list[int]] = {}
    for row in table:
        steps.setdefault(row["optimizer"], []).append(int(row["step"]))
    places = {name: sorted(set(some)) for name, some in steps.items()}

    def progress(row: dict[str, str]) -> str:
        mine = places[row["optimizer"]]
        return f"{mine.index(int(row['step'])) / max(1, len(mine) - 1):.2g}"

    return progress


def esd(run: Run) -> Figure | None:
    """Empirical spectral densities."""
    table = run.curves["esd"]
    if not table:
        return None
    progress = _with_progress(table)
    columns = ("optimizer", "step", "progress", "family", "eigenvalue", "density")
    rows = (
        (row["optimizer"], row["step"], progress(row), row["family"], *_floats(row, "eigenvalue", "density"))
        for row in table
    )
    return Figure(
        "esd",
        "Spectral densities",
        "The empirical spectral density (ESD) of the eigenvalues s² of WᵀW, pooled over a family, in units of that "
        "family's mean initial eigenvalue; both axes logarithmic. Dashed: the initial weights. A tail that grows to "
        "the right is where training has put its work.",
        "A panel for each family: density of eigenvalues, axes logarithmic, by optimizer, and the initial weights.",
        page_spectra.density(_distinct(table, "family"), list(run.trainings)),
        _numbers(columns, ("optimizer", "family")),
        _csv(columns, rows),
        page_numbers.densities(run),
    )


def singular_values(run: Run) -> Figure | None:
    """Singular values by rank."""
    table = run.curves["singular_values"]
    if not any(float(row["value"]) > 0 for row in table):
        return None
    progress = _with_progress(table)
    columns = ("optimizer", "step", "progress", "family", "rank", "value", "initial")
    largest = {
        (row["optimizer"], row["step"], row["family"]): float(row["value"]) for row in table if row["rank"] == "1"
    }
    rows = (
        (row["optimizer"], row["step"], progress(row), row["family"], row["rank"], *_floats(row, "value", "initial"))
        for row in table
        if float(row["value"]) > largest[row["optimizer"], row["step"], row["family"]] / SHOWN_DEPTH
    )
    return Figure(
        "singular-values",
        "Singular values",
        "The mean over a family's matrices of the i-th largest singular value, on logarithmic axes, down to a "
        "hundredth of the largest; first over the initial one of the same rank, where a flat line would be mere "
        "growth. Dashed: the initial weights.",
        "A panel for each family: singular values against rank for each optimizer and the initial weights.",
        page_spectra.singular_values(_distinct(table, "family"), list(run.trainings)),
        _numbers(columns, ("optimizer", "family")),
        _csv(columns, rows),
        page_numbers.largest(run),
    )


def heatmap(run: Run) -> Figure | None:
    """Every matrix at every step."""
    table = run.curves["heatmap"]
    if not table:
        return None
    names = {int(row["row"]): row["matrix"] for row in table}
    listed = [names.get(i, "") for i in range(max(names) + 1)]
    columns = ("optimizer", "step", "row", "metric", "value", "change")
    rows = (
        (row["optimizer"], row["step"], row["row"], row["metric"], *_floats(row, "value", "change")) for row in table
    )
    metrics = _distinct(table, "metric")
    limits = {metric: page_numbers.limit(table, metric) for metric in metrics}
    return Figure(
        "layers",
        "Where in the model",
        "The change of every matrix since step 0, from the input (top) to the output. Red: grown; blue: shrunk; the "
        "colours end where 1 % of the changes are larger. Bare where a metric has no value.",
        "A heat map for each optimizer: change of a spectral metric by matrix and step.",
        page_specs.heatmap(list(run.trainings), metrics, limits, listed),
        _numbers(columns, ("optimizer", "metric")),
        _csv(columns, rows),
        page_numbers.furthest(run),
        legend=(),
        optimizers=False,
    )


def forecasts(run: Run) -> Figure:
    """Forecasts of test windows."""
    table = run.curves["forecasts"]
    horizon = max(int(row["time"]) for row in table) + 1
    columns = ("window", "feature", "time", "series", "value")
    rows = (
        (page_numbers.window(row), row["feature"], row["time"], row["series"], float(row["value"]))
        for row in table
        if int(row["time"]) >= -2 * horizon
    )
    windows = list(dict.fromkeys(page_numbers.window(row) for row in table))
    unit = run.caption.data_unit.replace("\n", " ")
    return Figure(
        "forecasts",
        "Forecasts against truth",
        "Free-running forecasts of test windows, which selected nothing, by each optimizer's best weights. The "
        "forecast begins at the dashed line.",
        "A panel for each of several test windows: context, truth and the forecast of each optimizer.",
        page_specs.forecasts(windows, list(run.trainings), _distinct(table, "feature"), unit),
        _numbers(columns, ("window", "series")),
        _csv(columns, rows),
        page_numbers.errors(run),
        legend=("context", "truth"),
    )
