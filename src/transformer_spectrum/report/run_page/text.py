"""The answer in sentences made from the numbers, and the warnings that belong to them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from transformer_spectrum.analysis.comparison.shifts import Shift
from transformer_spectrum.analysis.comparison.tail_fits import PLAUSIBLE, rejected
from transformer_spectrum.report.run_page.inputs import Run
from transformer_spectrum.vocabulary import STANDIN, display_name

QUESTION = "How do the loss and the optimizer shape the weight spectra?"
INSIDE = 2.0
"""A change of at most so many standard deviations of the null is called within it."""
CHANGED = "stable_rank"
FAMILY = "feed_forward"

WHAT_IF = (
    "This run has a single loss, so it separates the optimizers, not the losses. For those run it again: "
    "dvc exp run -S loss.type=mae, or -S loss.q=2, and compare."
)


def care(run: Run) -> str:
    """What z means, and what it does not."""
    return (
        "z is the change of a family's mean since the initial weights, in standard deviations of that mean over "
        f"{run.params.spectra.shuffles} shuffles of the initial matrices, the null; up to {INSIDE:g} it is called "
        "within. One run proves little: z does not say that another seed would show the same."
    )


def about(run: Run) -> str:
    """The run in a line: data, loss, model, seed."""
    return f"{run.caption.line().replace('   ', ' ')} · model: {run.params.model.type}"


def number(value: float | None, digits: int = 3, lacking: str = "–") -> str:
    """The value with so many decimals and thousands apart; a dash where there is none."""
    return lacking if value is None else f"{value:,.{digits}f}".replace("-", "−")


def words(family: str) -> str:
    """feed_forward -> feed-forward, encoder_gates_16x4 -> encoder gates 16×4."""
    text = family.replace("_attention", "-attention").replace("feed_forward", "feed-forward").replace("_", " ")
    return re.sub(r"(\d)x(\d)", r"\1×\2", text)


def joined(parts: list[str]) -> str:
    """a, b and c."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else "".join(parts)


def shown_family(run: Run) -> str:
    """The family of the answer: feed-forward, or where there is none the one whose stable rank moved furthest."""
    if FAMILY in run.families:
        return FAMILY
    moved = [one for one in run.shifts if one.metric == CHANGED]
    if not moved:
        return run.families[0]
    return max(moved, key=lambda one: abs(one.z or 0.0)).family


def headline(run: Run) -> str:
    """The answer in one sentence: who reached the lowest loss, and whose spectra left their null."""
    best = _ranked(run)[0]
    reached = f"{display_name(best)} reached the lowest validation loss, {_with_unit(run, _loss(run, best))}"
    family = shown_family(run)
    what = f"the stable rank of the {words(family)} matrices"
    moved = [one for name in run.trainings if (one := run.shift(name, family, CHANGED)) and one.z is not None]
    if not moved:
        sentence = f"{reached}; {what} has no null to be compared with."
    elif max(abs(one.z) for one in moved) <= INSIDE:
        sentence = f"{reached}; no optimizer moved {what} out of its null."
    else:
        furthest = max(moved, key=lambda one: abs(one.z))
        facts = f"{number(furthest.initial, 2)} to {number(furthest.last, 2)}, z = {signed(furthest.z)}"
        mover = "and" if furthest.optimizer == best else f"but {display_name(furthest.optimizer)}"
        sentence = f"{reached}, {mover} moved {what} furthest from its null by its last step ({facts})."
    return f"On simulated stand-in data, no real series: {sentence}" if run.caption.standin else sentence


def answer(run: Run) -> list[str]:
    """What came out, in sentences: losses, spectra, forecasts."""
    return [_losses(run), *_spectra(run), _forecasts(run)]


def _ranked(run: Run) -> list[str]:
    """Optimizers, the lowest validation loss first."""
    return sorted(run.trainings, key=lambda name: run.trainings[name].scores["best_validation_loss"])


def _loss(run: Run, name: str) -> str:
    return number(run.trainings[name].scores["best_validation_loss"])


def _with_unit(run: Run, loss: str) -> str:
    return loss if run.caption.loss_unit == "dimensionless" else f"{loss} {run.caption.loss_unit}"


def loss_name(run: Run) -> str:
    """sgt (q = 5) -> SGT loss (q = 5)."""
    kind, _, shape = run.caption.loss.partition(" ")
    return f"{kind.capitalize() if kind == 'cauchy' else kind.upper()} loss {shape}".strip()


def _losses(run: Run) -> str:
    start = next(iter(run.trainings.values())).initial_loss
    begun = f" with a validation loss of {_with_unit(run, number(start))}" if start is not None else ""
    reached = []
    for i, name in enumerate(_ranked(run)):
        one = run.trainings[name]
        verb = " came to" if i == 0 else ""
        failed = "" if one.learned else " (no better than the start)"
        reached.append(f"{display_name(name)}{verb} {_loss(run, name)} in {one.evaluations:,} evaluations{failed}")
    return f"Under the {loss_name(run)} and from the same initial weights{begun}, {joined(reached)}."


def _spectra(run: Run) -> Iterator[str]:
    """The stable rank of one family under each optimizer against its null, then the largest change elsewhere."""
    family = shown_family(run)
    moved = [one for name in run.trainings if (one := run.shift(name, family, CHANGED))]
    if moved:
        changes = joined([f"{_moved(one)} under {display_name(one.optimizer)}" for one in moved])
        begun = number(moved[0].initial, 2)
        yield f"The mean stable rank of the {words(family)} matrices, {begun} at the start, {changes}."
    known = [one for one in run.shifts if one.metric == CHANGED and one.family != family and one.z is not None]
    if known:
        largest = max(known, key=lambda one: abs(one.z))
        where = f"{words(largest.family)} under {display_name(largest.optimizer)}"
        if abs(largest.z) > INSIDE:
            yield f"Of the other families, {where} went furthest: there it {_moved(largest)}."
        else:
            yield f"In no other family did it leave the null; {where} went furthest (z = {signed(largest.z)})."


def _moved(one: Shift) -> str:
    """fell to 21.06 (−9.5 %, z = −8.9)."""
    facts = [f"{signed(one.percent)} %"] if one.percent is not None else []
    facts.append("no null" if one.z is None else f"z = {signed(one.z)}")
    if one.z is not None and abs(one.z) <= INSIDE:
        return f"stayed within its null ({number(one.last, 2)}, {', '.join(facts)})"
    verb = "fell" if one.last < one.initial else "rose"
    return f"{verb} to {number(one.last, 2)} ({', '.join(facts)})"


def signed(value: float | None, digits: int = 1) -> str:
    """With a plus or a minus, 0 with neither; a dash where there is none."""
    if value is None:
        return number(value)
    rounded = round(value, digits)
    return f"+{number(rounded, digits)}" if rounded > 0 else number(abs(rounded) if rounded == 0 else rounded, digits)


def _forecasts(run: Run) -> str:
    ranked = sorted(run.trainings, key=lambda name: run.trainings[name].scores["free_running"]["mae"])
    errors = {name: run.trainings[name].scores["free_running"]["mae"] for name in ranked}
    listed = joined([f"{number(error)} ({display_name(name)})" for name, error in errors.items()])
    simple, least = min(((name, one["mae"]) for name, one in run.data["baselines"].items()), key=lambda pair: pair[1])
    beat = [display_name(name) for name, error in errors.items() if error < least]
    if beat:
        verdict = f"only {beat[0]} does better than" if len(beat) == 1 else f"{joined(beat)} do better than"
    else:
        verdict = "none does better than"
    return (
        f"Free-running forecasts of the test windows miss by {listed} scaled units on average; {verdict} the best "
        f"baseline that needs no model, {words(simple)} ({number(least)})."
    )


def banner(run: Run) -> list[str]:
    """What a reader must know before any number of a stand-in; empty for other data."""
    if not run.caption.standin:
        return []
    notes = [str(note) for note in run.provenance.get("notes", [])]
    return [f"{STANDIN}: every number and figure on this page comes from a simulation, not from real series.", *notes]


def warnings(run: Run) -> list[str]:
    """Trainings that came to nothing or were resumed, scores and fits that are missing or rejected, and why."""
    return [*_trainings(run), *_scores(run), *_data(run), *_metrics(run), *_rejected(run), *_tails(run)]


def _trainings(run: Run) -> Iterator[str]:
    for name, one in run.trainings.items():
        title = display_name(name)
        if not one.learned:
            yield f"{title}: no step is better by validation than the initial weights."
        if resumed := one.scores.get("resumed_at"):
            steps = joined([str(step) for step in resumed])
            yield f"{title}: stopped and resumed at step {steps}. The result is the same; its wall time may not be."
        if one.about["seed"] != run.params.seed:
            yield f"{title}: trained with seed {one.about['seed']}, not params.yaml's {run.params.seed}; run dvc repro."


def _scores(run: Run) -> Iterator[str]:
    """A line for each reason, with the scores that it concerns, of the optimizers and of the baselines."""
    shared: dict[str, dict[str, list[str]]] = {}
    for name, one in run.trainings.items():
        for score, reason in one.scores["missing"].items():
            shared.setdefault(str(reason), {}).setdefault(_score(score), []).append(display_name(name))
    for score, reason in run.data["reasons"].items():
        kind, _, rest = score.partition(".")
        if kind == "baselines":
            simple, _, metric = rest.rpartition(".")
            shared.setdefault(str(reason), {}).setdefault(metric, []).append(words(simple))
    for reason, scores in shared.items():
        concerned = "; ".join(f"{score} of {joined(names)}" for score, names in scores.items())
        yield f"{reason[:1].upper()}{reason[1:]}: {concerned}."


def _score(name: str) -> str:
    """free_running.mape -> free-running mape."""
    way, _, metric = name.rpartition(".")
    return f"{way.replace('_', '-')} {metric}".strip()


def _data(run: Run) -> Iterator[str]:
    for name, reason in run.data["reasons"].items():
        kind, _, what = name.partition(".")
        if kind != "baselines":
            yield f"Description of the {kind} windows, {what.replace('_', ' ')}: {reason}."
    for split in ("train", "validation", "test"):
        for name, fit in run.data[split].items():
            told = f"{split}.{name}" in run.data["reasons"]
            if isinstance(fit, Mapping) and fit.get("converged") is False and not told:
                yield f"Description of the {split} windows, {name.replace('_', ' ')}: the fit did not converge."


def _metrics(run: Run) -> Iterator[str]:
    """A line for each reason why a family's mean lacks a metric of some matrices, with the families."""
    shared: dict[tuple[str, str], dict[str, list[str]]] = {}
    for line in run.spectra["reasons"]:
        place, metrics, count, why = line.split(": ", 3)
        when, _, family = place.partition(".")
        some, _, all_of = count.partition(" of ")
        part = "" if some == all_of else f", {count} matrices"
        shared.setdefault((why, metrics), {}).setdefault(words(family) + part, []).append(display_name(when))
    everywhere = 1 + len(run.trainings)  # with the initial weights
    for (why, metrics), families in shared.items():
        places = (name if len(whens) == everywhere else f"{name} ({joined(whens)})" for name, whens in families.items())
        yield f"Spectra, {why}: no {metrics.replace('_', ' ')} for {'; '.join(places)}."


def _rejected(run: Run) -> Iterator[str]:
    """How many power laws their own test rejects."""
    count, tested = rejected(run.tails)
    if count:
        yield (
            f"Tails, a power law is rejected (bootstrap p < {PLAUSIBLE:g}) in {count} of {tested} fits: "
            "their exponents describe none."
        )


def _tails(run: Run) -> Iterator[str]:
    """A line for each reason why part of a power-law fit has no value, with the matrices that it concerns."""
    shared: dict[str, dict[str, None]] = {}
    for matrix, missing in zip(run.tails["matrix"], run.tails["missing"], strict=True):
        for reason in filter(None, missing.split("; ")):
            shared.setdefault(reason, {})[matrix] = None
    for reason, matrices in shared.items():
        names = list(matrices)
        more = f" and {len(names) - 4} more" if len(names) > 4 else ""
        yield f"Tails, {reason}: {', '.join(names[:4])}{more}."
