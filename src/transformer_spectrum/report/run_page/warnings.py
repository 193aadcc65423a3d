"""What a reader has to know beside the answer: what is missing, rejected or was interrupted, each with its reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd

from transformer_spectrum.analysis.comparison.tail_fits import PLAUSIBLE, rejected
from transformer_spectrum.analysis.comparison.trajectory import ALIKE
from transformer_spectrum.report.page.numbers import joined
from transformer_spectrum.report.run import Run
from transformer_spectrum.vocabulary import family_words, metric_words

LISTED = 4
"""Matrices that are named before they are counted."""
NOTHING = "Every score and every fit has a value."


def warnings(run: Run) -> list[str]:
    """Trainings that came to nothing or were resumed, scores and fits that are missing or rejected, and why.

    >>> warnings(run)[1]
    'Description of the test windows, sgt: the fit did not converge.'
    """
    return [
        *_influence(run),
        *_trainings(run),
        *_scores(run),
        *_data(run),
        *_metrics(run),
        *_rejected(run),
        *_tails(run),
    ]


def _influence(run: Run) -> Iterator[str]:
    """A loss that pulls on the residuals as MSE does cannot be told from it, whatever it is called."""
    if run.params.loss.type == "mse":
        return
    alike = {name: training.influence_cosine for name, training in run.trainings.items()}
    alike = {name: cosine for name, cosine in alike.items() if cosine > ALIKE}
    if alike:
        cosines = joined([f"{cosine:.4f} under {run.caption.name_of(name)}" for name, cosine in alike.items()])
        yield (
            f"The {run.caption.loss_name} pulls on the validation residuals of the best steps as MSE does (cosine "
            f"{cosines}; "
            f"above {ALIKE:g}): a comparison with MSE would compare it with itself."
        )


def _trainings(run: Run) -> Iterator[str]:
    for name, training in run.trainings.items():
        title, seed = run.caption.name_of(name), training.settings["seed"]
        if training.diverged:
            yield f"{title}: {training.scores['stop_reason']}."
        if not training.learned:
            yield f"{title}: no step is better by {run.selection} than the initial weights."
        if resumed := training.scores.get("resumed_at"):
            steps = joined([str(step) for step in resumed])
            yield f"{title}: stopped and resumed at step {steps}. The result is the same; its wall time may not be."
        if seed != run.params.seed:
            yield f"{title}: trained with seed {seed}, not params.yaml's {run.params.seed}; run dvc repro."


def _scores(run: Run) -> Iterator[str]:
    """A line for each reason, with the scores that it concerns, of the optimizers and of the baselines."""
    shared: dict[str, dict[str, list[str]]] = {}
    for name, training in run.trainings.items():
        for score, reason in training.scores["missing"].items():
            shared.setdefault(str(reason), {}).setdefault(_score(score), []).append(run.caption.name_of(name))
    for score, reason in run.data["reasons"].items():
        kind, _, rest = score.partition(".")
        if kind == "baselines":
            simple, _, metric = rest.rpartition(".")
            shared.setdefault(str(reason), {}).setdefault(metric, []).append(simple.replace("_", " "))
    for reason, scores in shared.items():
        concerned = "; ".join(f"{score} of {joined(names)}" for score, names in scores.items())
        yield f"{reason[:1].upper()}{reason[1:]}: {concerned}."


def _score(name: str) -> str:
    """free_running.mape -> free-running mape."""
    way, _, metric = name.rpartition(".")
    return f"{way.replace('_', '-')} {metric}".strip()


def _data(run: Run) -> Iterator[str]:
    reasons = run.data["reasons"]
    for name, reason in reasons.items():
        kind, _, number = name.partition(".")
        if kind != "baselines":
            yield f"Description of the {kind} windows, {number.replace('_', ' ')}: {reason}."
    for split in ("train", "validation", "test"):
        for name, fit in run.data[split].items():
            failed = isinstance(fit, Mapping) and fit.get("converged") is False
            if failed and f"{split}.{name}" not in reasons:
                yield f"Description of the {split} windows, {name.replace('_', ' ')}: the fit did not converge."


def _metrics(run: Run) -> Iterator[str]:
    """A line for each reason why a family's mean lacks a metric of some matrices, with the families."""
    shared: dict[tuple[str, str], dict[str, list[str]]] = {}
    for absence in run.spectra["reasons"]:
        lacking, matrices = absence["lacking"], absence["matrices"]
        extent = "" if lacking == matrices else f", {lacking} of {matrices} matrices"
        names = ", ".join(map(metric_words, absence["metrics"]))
        families = shared.setdefault((absence["reason"], names), {})
        whens = families.setdefault(family_words(absence["family"]) + extent, [])
        whens.append(run.caption.name_of(absence["training"]))
    everywhere = 1 + len(run.trainings)  # with the initial weights
    for (why, names), families in shared.items():
        places = (name if len(whens) == everywhere else f"{name} ({joined(whens)})" for name, whens in families.items())
        yield f"Spectra, {why}: no {names} for {'; '.join(places)}."


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
    reasons = run.tails["missing"].astype(str).str.split("; ")
    lines = pd.DataFrame({"matrix": run.tails["matrix"].astype(str), "missing": reasons}).explode("missing")
    for reason, matrices in lines[lines["missing"] != ""].groupby("missing", sort=False)["matrix"]:
        names = list(matrices.unique())
        more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
        yield f"Tails, {reason}: {', '.join(names[:LISTED])}{more}."
