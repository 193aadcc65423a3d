"""Which commit, experiment, day and machine the trainings are of: a sentence for the top, a table for the end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformer_spectrum.report.page.html import Table
from transformer_spectrum.report.page.numbers import joined
from transformer_spectrum.report.run import Run, Training

SHORT = 10
"""Digits of a commit that are enough to find it."""
LISTED = 3
"""Changed files that are named before they are counted."""
OLDER = "trained before this was recorded"


def sentences(run: Run) -> list[str]:
    """A sentence for the trainings that share commit, experiment, day and machine: one, if all do.

    >>> sentences(run)[0].split(", ")[:3]
    ['Trained on 2026-01-02', 'commit 0123456789', 'no DVC experiment']
    """
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, training in run.trainings.items():
        groups.setdefault(_facts(training), []).append(run.caption.name_of(name))
    lines = []
    for (day, commit, experiment, kind), names in groups.items():
        who = f"{joined(names)} trained" if len(groups) > 1 else "Trained"
        lines.append(f"{who} {day}, commit {commit}, {experiment}, on {kind}.")
    return lines


def _facts(training: Training) -> tuple[str, ...]:
    circumstances = training.circumstances
    experiment = circumstances.get("experiment")
    words = f"DVC experiment {experiment}" if experiment else _no_experiment(circumstances)
    return _day(circumstances), _commit(circumstances, SHORT), words, _machine(training)


def _no_experiment(circumstances: Mapping[str, Any]) -> str:
    return "no DVC experiment" if circumstances else f"DVC experiment unknown ({OLDER})"


def _day(circumstances: Mapping[str, Any]) -> str:
    return f"on {circumstances['begun'][:10]}" if circumstances else f"on an unknown date ({OLDER})"


def _commit(circumstances: Mapping[str, Any], digits: int | None = None) -> str:
    commit = circumstances.get("commit")
    if not commit:
        return f"unknown ({circumstances.get('unknown', {}).get('commit', OLDER)})"
    changed = circumstances["changed"]
    if not changed:
        return str(commit[:digits])
    more = f" and {len(changed) - LISTED} more files" if len(changed) > LISTED else ""
    return f"{commit[:digits]} with uncommitted changes in {', '.join(changed[:LISTED])}{more}"


def _machine(training: Training) -> str:
    """The processor, its instructions and cores, and what computed."""
    kind = training.circumstances.get("machine")
    device, threads = training.settings["device"], training.settings["threads"]
    used = f"device {device}, {threads} {'thread' if threads == 1 else 'threads'}"
    if not kind:
        return f"an unknown machine ({OLDER}; {used})"
    traits = ", ".join(str(kind[name]) for name in ("architecture", "capability", "system") if kind.get(name))
    accelerator = f", {kind['accelerator']}" if kind.get("accelerator") and str(device).startswith("cuda") else ""
    cores = f"{kind['cores']} {'core' if kind['cores'] == 1 else 'cores'}"
    return f"{kind['processor'] or 'a processor of unknown name'} ({traits}), {cores}{accelerator}, {used}"


def table(run: Run) -> Table:
    """The same in full, a row for each training.

    >>> table(run).rows[0][:4]
    ('Adam', '0123456789abcdef0123456789abcdef01234567', 'none', '2026-01-02T03:04:05+00:00')
    """
    rows = tuple(
        (
            run.caption.name_of(name),
            _commit(training.circumstances),
            training.circumstances.get("experiment") or ("none" if training.circumstances else f"unknown ({OLDER})"),
            training.circumstances.get("begun") or f"unknown ({OLDER})",
            _machine(training),
        )
        for name, training in run.trainings.items()
    )
    return Table(
        "What the trainings were made of, when and on what.",
        ("optimizer", "commit", "experiment", "begun (UTC)", "machine"),
        rows,
        left=(0, 1, 2, 3, 4),
    )
