"""The figures of the report in numbers, for those who cannot see them or want to copy them."""

from __future__ import annotations

from math import isnan

from transformer_spectrum.analysis.comparison.forecast_errors import forecast_errors
from transformer_spectrum.report.page.html import Table
from transformer_spectrum.report.run_page.inputs import Rows, Run, numbers_of
from transformer_spectrum.report.run_page.text import CHANGED, number, signed, words
from transformer_spectrum.vocabulary import display_name


def _short(value: float | None) -> str:
    """Four significant digits."""
    return "–" if value is None else f"{value:.4g}".replace("-", "−")


def shifts(run: Run) -> Table:
    """Every change of every metric."""
    rows = tuple(
        (
            one.metric.replace("_", " "),
            words(one.family),
            display_name(one.optimizer),
            _short(one.initial),
            _short(one.last),
            signed(one.percent, 2),
            signed(one.z, 2),
        )
        for one in sorted(run.shifts, key=lambda one: (one.metric != CHANGED,))
    )
    header = ("metric", "family", "optimizer", "initial", "last", "change (%)", "z")
    return Table("Every family's mean at the initial weights and at the last step.", header, rows, left=(0, 1, 2))


def losses(run: Run) -> Table:
    """Both losses at the first, the best and the last step."""
    rows = []
    for name, one in run.trainings.items():
        known = {(r["step"], r["split"]): float(r["loss"]) for r in run.curves["loss"] if r["optimizer"] == name}
        for what, step in (("start", 0), ("best", one.scores["best_step"]), ("end", one.last_step)):
            pair = (number(known.get((str(step), split))) for split in ("train", "validation"))
            rows.append((display_name(name), what, f"{step:,}", *pair))
    header = ("optimizer", "at the", "step", "training loss", "validation loss")
    return Table(f"Losses, {run.caption.loss_unit}.", header, tuple(rows), left=(0, 1))


def ends(run: Run) -> Table:
    """Every metric of every family: the null, and where each training ended."""
    rows = []
    for metric in dict.fromkeys(one.metric for one in run.shifts):
        for family in run.families:
            found = [one for name in run.trainings if (one := run.shift(name, family, metric))]
            if found:
                last = {one.optimizer: _short(one.last) for one in found}
                null = f"{_short(found[0].low)} to {_short(found[0].high)}" if found[0].low is not None else "–"
                cells = (last.get(name, "–") for name in run.trainings)
                rows.append((metric.replace("_", " "), words(family), _short(found[0].initial), null, *cells))
    titles = (f"{display_name(name)}, last step" for name in run.trainings)
    header = ("metric", "family", "initial", "null ± 2 sd", *titles)
    return Table("Family means beside their nulls.", header, tuple(rows), left=(0, 1))


def _by_family(run: Run, curve: str, caption: str, value: str) -> Table:
    """A value of each family at the start and at each training's last tracked step: the largest of a column."""
    table, rows = run.curves[curve], []
    last = {
        name: max((int(row["step"]) for row in table if row["optimizer"] == name), default=0) for name in run.trainings
    }
    for family in dict.fromkeys(row["family"] for row in table):
        mine = [row for row in table if row["family"] == family]
        start = max((float(row[value]) for row in mine if row["step"] == "0"), default=None)
        tops = (
            max(
                (float(row[value]) for row in mine if (row["optimizer"], row["step"]) == (name, str(step))),
                default=None,
            )
            for name, step in last.items()
        )
        rows.append((words(family), _short(start), *map(_short, tops)))
    titles = (f"{display_name(name)}, last step" for name in run.trainings)
    return Table(caption, ("family", "initial", *titles), tuple(rows))


def densities(run: Run) -> Table:
    """How far the right end of each density has come."""
    caption = "The largest eigenvalue of each family (centre of its bin), over the family's mean initial eigenvalue."
    return _by_family(run, "esd", caption, "eigenvalue")


def largest(run: Run) -> Table:
    """The largest singular value of each family."""
    return _by_family(run, "singular_values", "Mean largest singular value of each family, weight units.", "value")


def furthest(run: Run, at_most: int = 12) -> Table:
    """The matrices that changed most by the last step."""
    table = [row for row in run.curves["heatmap"] if row["metric"] == CHANGED]
    last = {(row["optimizer"], row["matrix"]): row for row in table}
    ranked = sorted(last.values(), key=lambda row: -abs(float(row["change"])))[:at_most]
    rows = tuple(
        (row["matrix"], display_name(row["optimizer"]), _short(float(row["value"])), signed(float(row["change"])))
        for row in ranked
    )
    caption = f"The {len(rows)} matrices whose stable rank has changed most by the last step."
    return Table(caption, ("matrix", "optimizer", "stable rank", "change (%)"), rows, left=(0, 1))


def limit(table: Rows, metric: str) -> float:
    """The change in percent that all but 1 % of a metric's changes stay below; never 0."""
    sizes = sorted(abs(float(row["change"])) for row in table if row["metric"] == metric)
    return max(float(f"{sizes[int(0.99 * (len(sizes) - 1))]:.3g}"), 1e-6)


def window(row: dict[str, str]) -> str:
    """A window's name: its entity, which is unique only with the window's number."""
    return f"{row['entity']} (window {row['window']})"


def errors(run: Run) -> Table:
    """Mean absolute error of each shown window and forecast, data units."""
    errors = forecast_errors(numbers_of(run.curves["forecasts"])).reindex(columns=list(run.trainings))
    rows = tuple(
        (window({"entity": entity, "window": index}), *(_short(None if isnan(error) else error) for error in row))
        for (index, entity), row in zip(errors.index, errors.to_numpy(), strict=True)
    )
    unit = run.caption.data_unit.replace("\n", " ")
    header = ("window", *(display_name(name) for name in run.trainings))
    return Table(f"Mean absolute error of the forecasts shown; {unit}.", header, rows)
