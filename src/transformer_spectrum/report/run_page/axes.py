"""The trainings where something is held equal, in words and as tables: what metrics/comparison.json says.

At their last steps optimizers stand at different errors, so what is said of these alone may turn round elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformer_spectrum.analysis.comparison.endpoints import MAIN_METRIC
from transformer_spectrum.report.page.html import Table
from transformer_spectrum.report.page.numbers import LACKING, joined, number
from transformer_spectrum.report.run import Run
from transformer_spectrum.vocabulary import AXIS_WORDS, CROSSING_WORDS, family_words, metric_words

AXES: Mapping[str, int] = {"validation_mae": 3, "evaluations": 0, "distance": 3, "updates": 0}
"""What is held equal -> the decimals of its values."""


def tables(run: Run) -> list[Table]:
    """A table for each metric, a row for each axis; none where fewer than two trainings can be compared.

    >>> [row[0] for row in tables(run)[0].rows]
    ['validation MAE: 0.887', 'evaluations: 128', 'relative distance: 0.046']
    """
    return [_table(run, metric) for metric in run.comparison.get("metrics", [])]


def _table(run: Run, metric: str) -> Table:
    comparison = run.comparison
    arms = list(comparison["axes"]["validation_mae"]["arms"])
    rows = []
    for axis, digits in AXES.items():
        if axis in comparison["axes"]:
            held = comparison["axes"][axis]
            cells = (_cell(held["arms"].get(arm), metric) for arm in arms)
            rows.append((f"{AXIS_WORDS[axis]}: {number(held['target'], digits)}", *cells))
    caption = (
        f"Mean {metric_words(metric)} of the {family_words(comparison['family'])} matrices where all trainings have "
        "reached the same for the first time, between records by a straight line."
    )
    return Table(caption, ("held equal", *map(run.caption.name_of, arms)), tuple(rows))


def _cell(arm: Mapping[str, Any] | None, metric: str) -> str:
    if arm is None:
        return LACKING
    if arm[metric] is None:
        return CROSSING_WORDS[arm["crossing"]].cell if arm["crossing"] in CROSSING_WORDS else LACKING
    return f"{number(arm[metric], 2)} (at {number(arm['updates'], 0)})"


def reached(run: Run) -> str:
    """The main metric of each training at equal validation MAE; empty where there is no comparison.

    >>> reached(run)
    'at equal validation MAE (0.887) the stable rank of the change of the feed-forward matrices is 6.02 under ES and \
6.19 under GA; Adam passed it before its first record'
    """
    if not run.comparison:
        return ""
    held = run.comparison["axes"]["validation_mae"]
    told = [
        f"{number(arm[MAIN_METRIC], 2)} under {run.caption.name_of(name)}"
        for name, arm in held["arms"].items()
        if arm[MAIN_METRIC] is not None
    ]
    absent = [
        f"{run.caption.name_of(name)} {_clause(arm)}" for name, arm in held["arms"].items() if arm[MAIN_METRIC] is None
    ]
    family, words = family_words(run.comparison["family"]), metric_words(MAIN_METRIC)
    place = f"at equal validation MAE ({number(held['target'])})"
    if not told:
        return f"{place} no training has a {words} of the {family} matrices"
    return "; ".join(filter(None, [f"{place} the {words} of the {family} matrices is {joined(told)}", joined(absent)]))


def _clause(arm: Mapping[str, Any]) -> str:
    """Why it has no value where something is held equal."""
    return CROSSING_WORDS[arm["crossing"]].clause if arm["crossing"] in CROSSING_WORDS else "has no value there"


def verdicts(run: Run, metric: str) -> list[str]:
    """Each pair of trainings on all axes, one sentence each.

    >>> len(verdicts(run, "stable_rank"))
    3
    """
    return [
        f"{_capital(verdict['sentence'])}"
        for verdict in run.comparison.get("verdicts", [])
        if verdict["metric"] == metric
    ]


def agreement(run: Run) -> str:
    """Whether the order of the trainings by the main metric is one on all axes; empty where there is none to tell.

    >>> agreement(run)
    'the axis decides the order of ES and GA; whether all axes agree on Adam and ES and Adam and GA is not known'
    """
    told = [verdict for verdict in run.comparison.get("verdicts", []) if verdict["metric"] == MAIN_METRIC]
    if not told:
        return ""
    if all(verdict["agrees"] for verdict in told):
        return "the order is the same on every axis"
    turning = [
        f"{run.caption.name_of(verdict['first'])} and {run.caption.name_of(verdict['second'])}"
        for verdict in told
        if verdict["agrees"] is False
    ]
    unknown = [
        f"{run.caption.name_of(verdict['first'])} and {run.caption.name_of(verdict['second'])}"
        for verdict in told
        if verdict["agrees"] is None
    ]
    parts = [f"the axis decides the order of {joined(turning)}"] if turning else []
    parts += [f"whether all axes agree on {joined(unknown)} is not known"] if unknown else []
    return "; ".join(parts)


def scope(run: Run) -> list[str]:
    """Who has no value where, and what one seed says.

    >>> scope(run)[-1]
    'This is one seed (1): what another would show, it does not say.'
    """
    return list(run.comparison.get("sentences", []))


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
