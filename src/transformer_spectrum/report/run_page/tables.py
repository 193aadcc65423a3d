"""The tables of the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformer_spectrum.config.tree import flatten
from transformer_spectrum.data.series.catalogue import CATALOGUE, OWN
from transformer_spectrum.report.page.html import Table
from transformer_spectrum.report.run_page.inputs import Run, Shift, Training
from transformer_spectrum.report.run_page.text import CHANGED, PLAUSIBLE, number, shown_family, signed, words
from transformer_spectrum.vocabulary import STANDIN, display_name


def result(run: Run) -> Table:
    """What every optimizer reached, beside the initial weights and the forecasts that need no model."""
    family, baselines = shown_family(run), run.data["baselines"]
    persistence = baselines["persistence"]["mae"] if "persistence" in baselines else None
    first = next(iter(run.trainings.values()))
    start = next((one for one in run.shifts if (one.family, one.metric) == (family, CHANGED)), None)
    begun = number(start.initial, 2) if start else "–"
    rows = [("initial weights", "", number(first.initial_loss), "", "", "", begun, "", "0")]
    for name, one in run.trainings.items():
        forced, free = (one.scores[way]["mae"] for way in ("teacher_forced", "free_running"))
        moved = run.shift(name, family, CHANGED)
        rows.append(
            (
                display_name(name),
                f"{one.evaluations:,}",
                number(one.scores["best_validation_loss"]),
                number(forced),
                number(free),
                _against(free, persistence),
                number(moved.last, 2) if moved else "–",
                signed(moved.z) if moved else "–",
                number(one.distance, 1),
            )
        )
    for name, scores in baselines.items():
        against = _against(scores["mae"], persistence)
        rows.append((words(name), "", "", "", number(scores["mae"]), against, "", "", ""))
    return Table(
        "What was reached. Losses and scores: best step by validation; spectra: last step.",
        (
            "training or baseline",
            "evaluations",
            f"validation loss ({run.caption.loss_unit})",
            "test MAE, teacher-forced",
            "test MAE, free-running",
            "against persistence",
            f"stable rank, {words(family)}",
            "its z against the null",
            "distance from the initial weights",
        ),
        tuple(rows),
    )


def _against(value: float, persistence: float | None) -> str:
    return f"{signed(100 * (value / persistence - 1), 0)} %" if persistence else "–"


def shifts(run: Run) -> Table:
    """The stable rank of every family at both ends of every training."""
    rows = []
    for family in run.families:
        moved = {name: run.shift(name, family, CHANGED) for name in run.trainings}
        if known := [one for one in moved.values() if one]:
            ends = (cell for one in moved.values() for cell in _end(one))
            rows.append((words(family), number(known[0].initial, 2), *ends))
    titles = (f"{display_name(name)}{what}" for name in run.trainings for what in (", last step", ", z"))
    return Table("Mean stable rank of each family of matrices.", ("family", "initial", *titles), tuple(rows))


def _end(one: Shift | None) -> tuple[str, str]:
    return ("–", "–") if one is None else (number(one.last, 2), signed(one.z))


def tails(run: Run) -> Table:
    """Power-law fits at the last step; a row's matrices are of one family and shape, or their mean meant nothing."""
    groups: dict[tuple[tuple[str, str], str], list[Mapping[str, str]]] = {}
    last = {name: max(int(row["step"]) for row in run.tails if row["optimizer"] == name) for name in run.trainings}
    for row in run.tails:
        if int(row["step"]) == last[row["optimizer"]]:
            shape = sorted((int(row["rows"]), int(row["columns"])), reverse=True)
            groups.setdefault(((row["family"], "×".join(map(str, shape))), row["optimizer"]), []).append(row)
    rows = tuple(
        (
            words(kind[0]),
            kind[1],
            display_name(optimizer),
            str(len(members)),
            *(_mean(members, *column) for column in (("ks_alpha", 2), ("null_alpha", 2), ("ks_distance", 2))),
            _mean(members, "ks_tail", 0),
            _plausible(members),
        )
        for kind in dict.fromkeys(kind for kind, _ in groups)
        for optimizer in run.trainings
        if (members := groups.get((kind, optimizer)))
    )
    return Table(
        "Power laws fitted to the eigenvalues' tails, last step, means over the family; a fit is no proof of one.",
        ("family", "shape", "optimizer", "matrices", "KS alpha", "of shuffles", "D", "tail n", f"p ≥ {PLAUSIBLE:g}"),
        rows,
        left=(0, 1, 2),
    )


def _mean(members: list[Mapping[str, str]], column: str, digits: int) -> str:
    known = [float(row[column]) for row in members if row[column]]
    return number(sum(known) / len(known), digits) if known else "–"


def _plausible(members: list[Mapping[str, str]]) -> str:
    tested = [float(row["goodness_p"]) for row in members if row["goodness_p"]]
    return f"{sum(p >= PLAUSIBLE for p in tested)} of {len(tested)}" if tested else "not tested"


def trainings(run: Run) -> Table:
    """How every training went, and what it cost."""
    seconds = sum(one.seconds for one in run.trainings.values())
    rows = tuple(_spent(name, one) for name, one in run.trainings.items())
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
            "resumed at step",
            "ended by",
        ),
        rows,
        left=(0, 5, 8),
    )


def _spent(name: str, one: Training) -> tuple[str, ...]:
    return (
        display_name(name),
        f"{one.last_step:,}",
        f"{one.scores['best_step']:,}",
        f"{one.evaluations:,}",
        number(one.seconds, 0),
        str(one.about["device"]),
        str(one.about["threads"]),
        ", ".join(map(str, one.scores.get("resumed_at", []))) or "never",
        str(one.scores["stop_reason"]),
    )


def provenance(run: Run) -> Table:
    """Where the data come from."""
    origin, splits = run.provenance, ("train", "validation", "test")
    facts = {
        "data set": run.caption.dataset,
        "source": "STAND-IN: simulated, no real series" if run.caption.standin else origin["source"],
        "location": origin["location"],
        "raw file": f"{origin['rows']:,} rows, {origin['bytes']:,} bytes",
        "sha256": origin["sha256"],
        "licence": OWN if run.caption.standin else CATALOGUE[run.caption.dataset].licence,
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
    words = [
        f"{count:,} windows ({name.removeprefix('dropped_').replace('_', ' ')})"
        for name, count in counts.items()
        if count
    ]
    return ", ".join(words) or "no window"


SHARED = {"split", "describe"}
"""Sections of data.* that belong to every data set; each of the others belongs to one."""
ELSEWHERE = {"tracking": True, "data": {"mirror"}}
"""Where records go and where files came from: folders and addresses of one machine, which change no number."""


def parameters(run: Run) -> list[Table]:
    """The parameters that this run depends on, a table for each section; those of other data sets are left out."""
    tree = run.params.model_dump(exclude=ELSEWHERE)
    used = SHARED | {run.caption.dataset}
    tree["data"] = {
        name: value for name, value in tree["data"].items() if name in used or not isinstance(value, Mapping)
    }
    sections: dict[str, list[tuple[str, str]]] = {}
    for name, value in flatten(tree).items():
        sections.setdefault(name.partition(".")[0] if "." in name else "general", []).append((name, _value(value)))
    return [
        Table(f"Parameters, {title}.", ("parameter", "value"), tuple(rows), left=(0, 1))
        for title, rows in sections.items()
    ]


PARAMETERS = ("parameter", "value", "standin")
"""Columns of metrics/parameters.csv, by which dvc plots lists the parameters that differ between revisions."""


def parameter_rows(run: Run) -> list[tuple[str, str, str]]:
    """The parameters of `parameters`, with the mark of a stand-in."""
    mark = STANDIN if run.caption.standin else ""
    return [(name, value, mark) for table in parameters(run) for name, value in table.rows]


def _value(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def versions(run: Run) -> Table:
    """Package versions, a column for each training only where they differ."""
    found = {name: one.about["versions"] for name, one in run.trainings.items()}
    packages = list(dict.fromkeys(package for each in found.values() for package in each))
    same = len({tuple(sorted(each.items())) for each in found.values()}) == 1
    shown = dict([next(iter(found.items()))]) if same else found
    titles = ("version",) if same else tuple(display_name(name) for name in shown)
    rows = tuple((package, *(str(each.get(package, "–")) for each in shown.values())) for package in packages)
    return Table(
        "Package versions that the trainings ran with.",
        ("package", *titles),
        rows,
        left=(0, *range(1, len(titles) + 1)),
    )
