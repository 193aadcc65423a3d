"""The tables of the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformer_spectrum.analysis.comparison.endpoints import MAIN_METRIC, SECOND_METRIC
from transformer_spectrum.analysis.comparison.shifts import Shift
from transformer_spectrum.analysis.comparison.tail_fits import PLAUSIBLE, family_tails
from transformer_spectrum.config.tree import flatten, path
from transformer_spectrum.report.page.html import Table
from transformer_spectrum.report.page.numbers import LACKING, number, signed
from transformer_spectrum.report.run import Run, Training
from transformer_spectrum.vocabulary import (
    DATA_SETS,
    OWN_LICENCE,
    STANDIN,
    STANDIN_MEANING,
    family_words,
    metric_words,
)


def result(run: Run) -> Table:
    """What every optimizer reached, beside the initial weights and the forecasts that need no model.

    >>> [row[0] for row in result(run).rows]
    ['initial weights', 'Adam', 'ES', 'GA', 'persistence', 'context mean']
    >>> result(run).header[1:3], result(run).rows[1][1:3]
    (('best step', 'evaluations'), ('3', '198'))
    """
    family, baselines = run.main_family, run.data["baselines"]
    persistence = baselines["persistence"]["mae"] if "persistence" in baselines else None
    first = next(iter(run.trainings.values()))
    starts = [shift.initial for shift in run.shifts if (shift.family, shift.metric) == (family, SECOND_METRIC)]
    begun = number(starts[0], 2) if starts else LACKING
    rows = [("initial weights", "0", "", number(first.initial_mae), "", "", "", "", begun, "0")]
    for name, training in run.trainings.items():
        forced, free = (training.scores[way]["mae"] for way in ("teacher_forced", "free_running"))
        rows.append(
            (
                run.caption.name_of(name),
                f"{training.scores['best_step']:,}",
                f"{training.evaluations_at_best:,}",
                number(training.best_mae),
                number(forced),
                number(free),
                _against(free, persistence),
                *(_mean_at_best(run.shift(name, family, metric)) for metric in (MAIN_METRIC, SECOND_METRIC)),
                number(training.distance, 1),
            )
        )
    for name, scores in baselines.items():
        against = _against(scores["mae"], persistence)
        rows.append((name.replace("_", " "), "", "", "", "", number(scores["mae"]), against, "", "", ""))
    return Table(
        f"What was reached. All of it, scores and spectra, of the weights of the best step by {run.selection}; MAE in "
        "scaled units.",
        (
            "training or baseline",
            "best step",
            "evaluations",
            "validation MAE",
            "test MAE, teacher-forced",
            "test MAE, free-running",
            "against persistence",
            f"{metric_words(MAIN_METRIC)}, {family_words(family)}",
            f"{metric_words(SECOND_METRIC)}, {family_words(family)}",
            "distance from the start",
        ),
        tuple(rows),
    )


def _mean_at_best(shift: Shift | None) -> str:
    return LACKING if shift is None else number(shift.value, 2)


def _against(error: float, persistence: float | None) -> str:
    return LACKING if not persistence else f"{signed(100 * (error / persistence - 1), 0)} %"


def shifts(run: Run) -> list[Table]:
    """The stable rank of every family's change and of its matrices at the best steps, against their nulls.

    >>> [table.header[:4] for table in shifts(run)]
    [('family', 'Adam', 'Adam, effect', 'Adam, deviations'), ('family', 'initial', 'Adam', 'Adam, effect')]
    """
    return [_shifts_of(run, metric) for metric in (MAIN_METRIC, SECOND_METRIC)]


def _shifts_of(run: Run, metric: str) -> Table:
    rows = []
    begins = metric == SECOND_METRIC
    for family in run.families:
        by_optimizer = [run.shift(name, family, metric) for name in run.trainings]
        present = [shift for shift in by_optimizer if shift]
        if present:
            start = (number(present[0].initial, 2),) if begins else ()
            rows.append((family_words(family), *start, *(cell for shift in by_optimizer for cell in _effect(shift))))
    titles = (f"{run.caption.name_of(name)}{end}" for name in run.trainings for end in ("", ", effect", ", deviations"))
    return Table(
        f"Mean {metric_words(metric)} of each family of matrices at the best steps, its difference from its null, and "
        "that in standard deviations of the null's draws.",
        ("family", *(("initial",) if begins else ()), *titles),
        tuple(rows),
    )


def _effect(shift: Shift | None) -> tuple[str, str, str]:
    if shift is None:
        return LACKING, LACKING, LACKING
    return number(shift.value, 2), signed(shift.effect, 2), signed(shift.deviations)


def tails(run: Run) -> Table:
    """Power-law fits at the last step; a row's matrices are of one family and shape, or their mean meant nothing.

    >>> tails(run).rows[-1][:4]
    ('readout', '16×12', 'GA', '1')
    """
    fits = family_tails(run.tails)
    kinds = dict.fromkeys(fits[["family", "larger", "smaller"]].itertuples(index=False, name=None))
    by_place = {((fit.family, fit.larger, fit.smaller), fit.optimizer): fit for fit in fits.itertuples()}
    rows = tuple(
        (
            family_words(kind[0]),
            f"{kind[1]}×{kind[2]}",
            run.caption.name_of(optimizer),
            str(fit.matrices),
            *(number(mean, 2) for mean in (fit.ks_alpha, fit.null_alpha, fit.ks_distance)),
            number(fit.ks_tail, 0),
            f"{fit.plausible} of {fit.tested}" if fit.tested else "not tested",
            f"{fit.heavy} of {fit.asked}" if fit.asked else "not tested",
        )
        for kind in kinds
        for optimizer in run.trainings
        if (fit := by_place.get((kind, optimizer)))
    )
    return Table(
        "Power laws fitted to the eigenvalues' tails, last step, means over the family; a fit is no proof of one.",
        (
            "family",
            "shape",
            "optimizer",
            "matrices",
            metric_words("ks_alpha"),
            "of its null",
            "D",
            "tail n",
            f"p ≥ {PLAUSIBLE:g}",
            "heavier than spikes explain",
        ),
        rows,
        left=(0, 1, 2),
    )


def trainings(run: Run) -> Table:
    """How every training went, and what it cost.

    >>> trainings(run).rows[0]
    ('Adam', '3', '3', '198', '12', 'cpu', '1', 'off', 'never', 'all steps done')
    """
    seconds = sum(training.seconds for training in run.trainings.values())
    rows = tuple(_spent(run.caption.name_of(name), training) for name, training in run.trainings.items())
    return Table(
        f"What the trainings spent: {number(seconds, 0)} seconds of wall time together.",
        (
            "optimizer",
            "steps",
            "best step",
            "evaluations",
            "wall time (s)",
            "device",
            "threads",
            "clipped updates",
            "resumed at step",
            "ended by",
        ),
        rows,
        left=(0, 5, 9),
    )


def _spent(title: str, training: Training) -> tuple[str, ...]:
    return (
        title,
        f"{training.last_step:,}",
        f"{training.scores['best_step']:,}",
        f"{training.evaluations:,}",
        number(training.seconds, 0),
        str(training.settings["device"]),
        str(training.settings["threads"]),
        "off" if training.clipped_share is None else f"{number(100 * training.clipped_share, 0)} %",
        ", ".join(map(str, training.scores.get("resumed_at", []))) or "never",
        str(training.scores["stop_reason"]),
    )


def provenance(run: Run) -> Table:
    """Where the data come from.

    >>> provenance(run).rows[:3]
    (('data set', 'synthetic'), ('source', 'synthetic'), ('location', 'noise, smoothed'))
    """
    origin, splits = run.provenance, ("train", "validation", "test")
    facts = {
        "data set": run.caption.dataset,
        "source": f"STAND-IN: {STANDIN_MEANING}" if run.caption.standin else origin["source"],
        "location": origin["location"],
        "raw file": f"{origin['rows']:,} rows, {origin['bytes']:,} bytes",
        "sha256": origin["sha256"],
        "licence": OWN_LICENCE if run.caption.standin else DATA_SETS[run.caption.dataset].licence,
        "windows": ", ".join(f"{run.data[split]['windows']:,} {split}" for split in splits),
        "left out": _dropped(run, splits),
        **{f"note {i}": note for i, note in enumerate(origin.get("notes", []), start=1)},
    }
    rows = tuple((name, str(value)) for name, value in facts.items())
    return Table("Where the data come from.", ("fact", "value"), rows, left=(0, 1))


def _dropped(run: Run, splits: tuple[str, ...]) -> str:
    counts: dict[str, int] = {}
    for split in splits:
        for name, count in run.data[split].items():
            if name.startswith("dropped_"):
                counts[name] = counts.get(name, 0) + count
    groups = (
        f"{count:,} windows ({name.removeprefix('dropped_').replace('_', ' ')})"
        for name, count in counts.items()
        if count
    )
    return ", ".join(groups) or "no window"


SHARED = {"split", "describe"}
"""Sections of data.* that belong to every data set; each of the others belongs to one."""
ELSEWHERE = {"tracking": True, "data": {"mirror"}}
"""Where records go and where files came from: folders and addresses of one machine, which change no number."""


def parameters(run: Run) -> list[Table]:
    """The parameters that this run depends on, a table for each section; those of other data sets are left out.

    >>> parameters(run)[0].rows
    (('seed', '1'), ('device', 'auto'), ('threads', '1'))
    """
    tree = run.params.model_dump(exclude=ELSEWHERE)
    used = SHARED | {run.caption.dataset}
    tree["data"] = {
        name: value for name, value in tree["data"].items() if name in used or not isinstance(value, Mapping)
    }
    sections: dict[str, list[tuple[str, str]]] = {}
    for name, value in flatten(tree).items():
        section, *inside = path(name)
        sections.setdefault(section if inside else "general", []).append((name, _value(value)))
    return [
        Table(f"Parameters, {title}.", ("parameter", "value"), tuple(rows), left=(0, 1))
        for title, rows in sections.items()
    ]


PARAMETERS = ("parameter", "value", "standin")
"""Columns of metrics/parameters.csv, by which dvc plots lists the parameters that differ between revisions."""


def parameter_rows(run: Run) -> list[tuple[str, str, str]]:
    """The parameters of `parameters`, with the mark of a stand-in.

    >>> parameter_rows(run)[0]
    ('seed', '1', '')
    """
    mark = STANDIN if run.caption.standin else ""
    return [(name, value, mark) for table in parameters(run) for name, value in table.rows]


def _value(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def versions(run: Run) -> Table:
    """Package versions, a column for each training only where they differ.

    >>> versions(run).rows
    (('python', '3.11.7'), ('torch', '2.13.0'))
    """
    versions_of = {name: training.settings["versions"] for name, training in run.trainings.items()}
    packages = list(dict.fromkeys(package for versions in versions_of.values() for package in versions))
    same = len({tuple(sorted(versions.items())) for versions in versions_of.values()}) == 1
    columns = dict([next(iter(versions_of.items()))]) if same else versions_of
    titles = ("version",) if same else tuple(map(run.caption.name_of, columns))
    rows = tuple(
        (package, *(str(versions.get(package, LACKING)) for versions in columns.values())) for package in packages
    )
    return Table(
        "Package versions that the trainings ran with.",
        ("package", *titles),
        rows,
        left=(0, *range(1, len(titles) + 1)),
    )
