"""The answer in sentences made from the numbers."""

from __future__ import annotations

from collections.abc import Iterator

from transformer_spectrum.analysis.comparison.shifts import Shift
from transformer_spectrum.report.figures.moved import INSIDE
from transformer_spectrum.report.page.numbers import joined, number, signed
from transformer_spectrum.report.run import MAIN_METRIC, Run
from transformer_spectrum.vocabulary import DIMENSIONLESS, STANDIN, display_name, family_words, metric_words

QUESTION = "How do the loss and the optimizer shape the weight spectra?"
WHAT_IF = (
    "This run has a single loss, so it separates the optimizers, not the losses. For those run it again: "
    "dvc exp run -S loss.type=mae, or -S loss.q=2, and compare."
)
METRIC_WORDS = metric_words(MAIN_METRIC)


def care(run: Run) -> str:
    """What z means, and what it does not.

    >>> care(run).split(", ")[1]
    'in standard deviations of that mean over 20 shuffles of the initial matrices'
    """
    return (
        "z is the change of a family's mean since the initial weights, in standard deviations of that mean over "
        f"{run.params.spectra.shuffles} shuffles of the initial matrices, the null; up to {INSIDE:g} it is called "
        "within. One run proves little: z does not say that another seed would show the same."
    )


def run_line(run: Run) -> str:
    """The run in a line: data, loss, seed, model.

    >>> run_line(run)
    'data: synthetic · loss: sgt (p = 2, q = 5, λ = 0) · seed: 1 · model: transformer'
    """
    return " · ".join([*run.caption.facts(), f"model: {run.params.model.type}"])


def headline(run: Run) -> str:
    """The answer in one sentence: who reached the lowest loss, and whose spectra left their null.

    >>> print(*headline(run).split("; "), sep="\\n")
    Adam reached the lowest validation loss, 0.949 nats
    no optimizer moved the stable rank of the feed-forward matrices out of its null.
    """
    best = _ranked(run)[0]
    reached = f"{display_name(best)} reached the lowest validation loss, {_with_unit(run, _loss(run, best))}"
    family = run.main_family
    ranks = f"the {METRIC_WORDS} of the {family_words(family)} matrices"
    shifts = [shift for name in run.trainings if (shift := run.shift(name, family, MAIN_METRIC))]
    moves = [shift for shift in shifts if shift.z is not None]
    if not moves:
        sentence = f"{reached}; {ranks} has no null to be compared with."
    elif max(abs(shift.z) for shift in moves) <= INSIDE:
        sentence = f"{reached}; no optimizer moved {ranks} out of its null."
    else:
        furthest = max(moves, key=lambda shift: abs(shift.z))
        facts = f"{number(furthest.initial, 2)} to {number(furthest.last, 2)}, z = {signed(furthest.z)}"
        mover = "and" if furthest.optimizer == best else f"but {display_name(furthest.optimizer)}"
        sentence = f"{reached}, {mover} moved {ranks} furthest from its null by its last step ({facts})."
    return f"On simulated stand-in data, no real series: {sentence}" if run.caption.standin else sentence


def answer(run: Run) -> list[str]:
    """What came out, in sentences: losses, spectra, forecasts.

    >>> answer(run)[-1].split("; ")[1]
    'only Adam does better than the best baseline that needs no model, context mean (0.750).'
    """
    return [_losses(run), *_spectra(run), _forecasts(run)]


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
    """Optimizers, the lowest validation loss first."""
    return sorted(run.trainings, key=lambda name: run.trainings[name].scores["best_validation_loss"])


def _loss(run: Run, name: str) -> str:
    return number(run.trainings[name].scores["best_validation_loss"])


def _with_unit(run: Run, loss: str) -> str:
    return loss if run.caption.loss_unit == DIMENSIONLESS else f"{loss} {run.caption.loss_unit}"


def _losses(run: Run) -> str:
    start = next(iter(run.trainings.values())).initial_loss
    begun = f" with a validation loss of {_with_unit(run, number(start))}" if start is not None else ""
    reached = []
    for place, name in enumerate(_ranked(run)):
        training = run.trainings[name]
        verb = " came to" if place == 0 else ""
        failed = "" if training.learned else " (no better than the start)"
        spent = f"{training.evaluations:,} evaluations"
        reached.append(f"{display_name(name)}{verb} {_loss(run, name)} in {spent}{failed}")
    return f"Under the {run.caption.loss_name} and from the same initial weights{begun}, {joined(reached)}."


def _spectra(run: Run) -> Iterator[str]:
    """The stable rank of one family under each optimizer against its null, then the largest change elsewhere."""
    family = run.main_family
    shifts = [shift for name in run.trainings if (shift := run.shift(name, family, MAIN_METRIC))]
    if shifts:
        changes = joined([f"{_moved(shift)} under {display_name(shift.optimizer)}" for shift in shifts])
        begun = number(shifts[0].initial, 2)
        yield f"The mean {METRIC_WORDS} of the {family_words(family)} matrices, {begun} at the start, {changes}."
    elsewhere = [
        shift for shift in run.shifts if shift.metric == MAIN_METRIC and shift.family != family and shift.z is not None
    ]
    if elsewhere:
        largest = max(elsewhere, key=lambda shift: abs(shift.z))
        where = f"{family_words(largest.family)} under {display_name(largest.optimizer)}"
        if abs(largest.z) > INSIDE:
            yield f"Of the other families, {where} went furthest: there it {_moved(largest)}."
        else:
            yield f"In no other family did it leave the null; {where} went furthest (z = {signed(largest.z)})."


def _moved(shift: Shift) -> str:
    """fell to 21.06 (−9.5 %, z = −8.9)."""
    facts = [f"{signed(shift.percent)} %"] if shift.percent is not None else []
    facts.append("no null" if shift.z is None else f"z = {signed(shift.z)}")
    if shift.z is not None and abs(shift.z) <= INSIDE:
        return f"stayed within its null ({number(shift.last, 2)}, {', '.join(facts)})"
    verb = "fell" if shift.last < shift.initial else "rose"
    return f"{verb} to {number(shift.last, 2)} ({', '.join(facts)})"


def _forecasts(run: Run) -> str:
    ranked = sorted(run.trainings, key=lambda name: run.trainings[name].scores["free_running"]["mae"])
    errors = {name: run.trainings[name].scores["free_running"]["mae"] for name in ranked}
    listed = joined([f"{number(error)} ({display_name(name)})" for name, error in errors.items()])
    baselines = {name: scores["mae"] for name, scores in run.data["baselines"].items()}
    simple = min(baselines, key=baselines.__getitem__)
    better = [display_name(name) for name, error in errors.items() if error < baselines[simple]]
    if better:
        verdict = f"only {better[0]} does better than" if len(better) == 1 else f"{joined(better)} do better than"
    else:
        verdict = "none does better than"
    return (
        f"Free-running forecasts of the test windows miss by {listed} scaled units on average; {verdict} the best "
        f"baseline that needs no model, {simple.replace('_', ' ')} ({number(baselines[simple])})."
    )
