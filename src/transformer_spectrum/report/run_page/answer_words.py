"""The answer in sentences made from the numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator

from scipy import stats

from transformer_spectrum.analysis.comparison.endpoints import MAIN_METRIC, SECOND_METRIC
from transformer_spectrum.analysis.comparison.shifts import Shift
from transformer_spectrum.report.figures.moved import INSIDE
from transformer_spectrum.report.page.numbers import joined, number, signed
from transformer_spectrum.report.run import Run
from transformer_spectrum.report.run_page import axes
from transformer_spectrum.vocabulary import STANDIN, family_words, metric_words

QUESTION = "How do the loss and the optimizer shape the weight spectra?"
DIVERGED = "then diverged"
WHAT_IF = (
    "This run has a single loss, so it separates the optimizers, not the losses. For those run it again: "
    "dvc exp run -S loss.type=mae, or -S loss.q=2, and compare."
)


def care(run: Run) -> str:
    """What an effect is, what its deviations mean, and how many were looked at.

    >>> care(run).split(". ")[1]
    'The deviations are standard deviations of that mean over 20 draws of the null; up to 2 it is called within it'
    """
    told = [shift for shift in run.shifts if shift.deviations is not None]
    draws = run.params.spectra.shuffles
    outside = sum(abs(shift.deviations) > INSIDE for shift in told if shift.deviations is not None)
    expected = 2 * stats.t.sf(INSIDE / math.sqrt(1 + 1 / draws), draws - 1)
    return (
        "An effect is the difference of a family's mean from its null: of the matrices, the initial ones plus their "
        "change with shuffled entries; of the change, the change with shuffled entries. The deviations are standard "
        f"deviations of that mean over {draws} draws of the null; up to {INSIDE:g} it is called within it. "
        f"{len(told)} effects with deviations were looked at, {outside} of them are beyond {INSIDE:g}; were there "
        f"nothing to find, about {100 * expected:.0f} in 100 would be. Deviations say nothing of what another "
        "seed would give."
    )


def run_line(run: Run) -> str:
    """The run in a line: data, loss, seed, model.

    >>> run_line(run)
    'data: synthetic · loss: sgt (p = 2, q = 5, λ = 0) · seed: 1 · es: openai · model: transformer'
    """
    return " · ".join([*run.caption.facts(), f"model: {run.params.model.type}"])


def headline(run: Run) -> str:
    """The answer in one sentence: who reached the lowest error, and what the changes are like at equal error.

    >>> print(*headline(run).split("; "), sep="\\n")
    Adam reached the lowest validation MAE, 0.759
    at equal validation MAE (0.887) the stable rank of the change of the feed-forward matrices is 6.02 under ES and \
6.19 under GA
    Adam passed it before its first record
    the axis decides the order of ES and GA
    whether all axes agree on Adam and ES and Adam and GA is not known. One seed.
    """
    best = _ranked(run)[0]
    if not any(training.learned for training in run.trainings.values()):
        clauses = [f"No training has a step that is better by {run.selection} than the initial weights"]
    elif run.params.training.select == "mae":
        clauses = [f"{run.caption.name_of(best)} reached the lowest validation MAE, {_mae(run, best)}"]
    else:
        lowest = f"has the lowest validation MAE at its best step (by {run.selection}), {_mae(run, best)}"
        clauses = [f"{run.caption.name_of(best)} {lowest}"]
    if run.trainings[best].learned:
        clauses += filter(None, [axes.reached(run), axes.agreement(run)])
    sentence = f"{'; '.join(clauses)}. One seed."
    return f"On simulated stand-in data, no real series: {sentence}" if run.caption.standin else sentence


def answer(run: Run) -> list[str]:
    """What came out, in sentences: errors, changes on each axis, effects against nulls, forecasts, and for whom it
    holds.

    >>> answer(run)[1]
    'Stable rank of the change: Adam is below ES at equal evaluations (-4.39); at equal validation MAE and distance \
they have no common value, so the sign on all axes is not known.'
    """
    return [
        _errors(run),
        *axes.verdicts(run, MAIN_METRIC),
        *axes.verdicts(run, SECOND_METRIC),
        *_effects(run),
        _forecasts(run),
        *axes.scope(run),
    ]


def banner(run: Run) -> list[str]:
    """What a reader must know before any number of a stand-in; empty for other data.

    >>> banner(run)
    []
    >>> from dataclasses import replace
    >>> banner(replace(run, caption=replace(caption, standin=True)))
    ['STAND-IN DATA: every number and figure on this page comes from a simulation, not from real series.']
    """
    if not run.caption.standin:
        return []
    notes = [str(note) for note in run.provenance.get("notes", [])]
    return [f"{STANDIN}: every number and figure on this page comes from a simulation, not from real series.", *notes]


def _ranked(run: Run) -> list[str]:
    """Optimizers, the lowest validation MAE at the best step first."""
    return sorted(run.trainings, key=lambda name: run.trainings[name].best_mae)


def _mae(run: Run, name: str) -> str:
    return number(run.trainings[name].best_mae)


def _errors(run: Run) -> str:
    start = next(iter(run.trainings.values())).initial_mae
    begun = f" with a validation MAE of {number(start)}" if start is not None else ""
    reached = []
    for place, name in enumerate(_ranked(run)):
        training = run.trainings[name]
        verb = " came to" if place == 0 else ""
        notes = [] if training.learned else ["no better than the start"]
        notes += [DIVERGED] if training.diverged else []
        failed = f" ({', '.join(notes)})" if notes else ""
        spent = f"{training.evaluations_at_best:,} evaluation{'s' * (training.evaluations_at_best != 1)}"
        reached.append(f"{run.caption.name_of(name)}{verb} {_mae(run, name)} in {spent}{failed}")
    return (
        f"Under the {run.caption.loss_name} and from the same initial weights{begun}, {joined(reached)}, each at its "
        f"best step by {run.selection}."
    )


def _effects(run: Run) -> Iterator[str]:
    """Of the family of the answer what each training's best step has against its null, then the largest elsewhere."""
    family = run.main_family
    for metric in (MAIN_METRIC, SECOND_METRIC):
        told = [shift for name in run.trainings if (shift := run.shift(name, family, metric))]
        if told:
            places = joined([f"{_against_null(shift)} under {run.caption.name_of(shift.optimizer)}" for shift in told])
            yield (
                f"Against its null the mean {metric_words(metric)} of the {family_words(family)} matrices is "
                f"{places}, each at its best step."
            )
    elsewhere = [
        shift
        for shift in run.shifts
        if shift.metric == MAIN_METRIC and shift.family != family and shift.effect is not None
    ]
    if elsewhere:
        deviating = [shift for shift in elsewhere if shift.deviations is not None]
        if deviating:
            farthest = max(deviating, key=lambda shift: abs(shift.deviations or 0.0))
            measure = "deviates most from its null"
        else:
            farthest = max(elsewhere, key=lambda shift: abs((shift.effect or 0.0) / (shift.value or math.inf)))
            measure = "is farthest from its null for its size"
        where = f"{family_words(farthest.family)} under {run.caption.name_of(farthest.optimizer)}"
        yield f"Of the other families the {metric_words(MAIN_METRIC)} of {where} {measure}: {_against_null(farthest)}."


def _against_null(shift: Shift) -> str:
    """4.40 (18.30 below it, 95.1 deviations)."""
    if shift.effect is None:
        return f"{number(shift.value, 2)} (it has none)"
    size = f"{number(abs(shift.effect), 2)} {'below' if shift.effect < 0 else 'above'} it"
    if shift.deviations is None:
        return f"{number(shift.value, 2)} ({size})"
    within = ", within it" if abs(shift.deviations) <= INSIDE else ""
    return f"{number(shift.value, 2)} ({size}, {signed(shift.deviations)} deviations{within})"


def _forecasts(run: Run) -> str:
    ranked = sorted(run.trainings, key=lambda name: run.trainings[name].scores["free_running"]["mae"])
    errors = {name: run.trainings[name].scores["free_running"]["mae"] for name in ranked}
    listed = joined([f"{number(error)} ({run.caption.name_of(name)})" for name, error in errors.items()])
    baselines = {name: scores["mae"] for name, scores in run.data["baselines"].items()}
    simple = min(baselines, key=baselines.__getitem__)
    better = [run.caption.name_of(name) for name, error in errors.items() if error < baselines[simple]]
    if better:
        verdict = f"only {better[0]} does better than" if len(better) == 1 else f"{joined(better)} do better than"
    else:
        verdict = "none does better than"
    return (
        f"Free-running forecasts of the test windows miss by {listed} scaled units on average; {verdict} the best "
        f"baseline that needs no model, {simple.replace('_', ' ')} ({number(baselines[simple])})."
    )
