"""The answer of the committed study, as README.md shows it: `python docs/study_numbers.py` prints it as Markdown.

With --write it is put into README.md, between the two comments. It comes from studies/tables, which are in git, so a
clone can check it; the sentences are those of the study's own report.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from marked import command, replaced

from transformer_spectrum.report.page.numbers import joined, signed
from transformer_spectrum.report.study_page.words import effect_words, first_axis, interval, percent
from transformer_spectrum.vocabulary import AXIS_WORDS

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
BEGIN = "<!-- numbers of the study: python docs/study_numbers.py --write -->"
END = "<!-- end of the numbers of the study -->"
CHANGE, WEIGHTS = "change_log_stable_rank", "path_log_stable_rank"
BLOCK = "optimizers"
SPREADS = 2
"""Within so many of a null an arm is not told from it."""
FEW = 0.1
"""Share of contrasts found up to which something hardly matters."""

Verdict = Mapping[str, Any]


def numbers() -> str:
    """All of it, as it stands in README.md: the picture and one paragraph."""
    verdicts = json.loads((ROOT / "studies/tables/verdicts.json").read_text(encoding="utf-8"))
    variance = pd.read_csv(ROOT / "studies/tables/variance.csv")
    nulls = pd.read_csv(ROOT / "studies/tables/nulls.csv")
    cells = pd.read_csv(ROOT / "studies/tables/cells.csv")
    rates = cells.groupby(["block", "dataset", "arm"])["rate"].first().to_dict()
    trainings = cells["training"].nunique()
    seeds = sorted({block["seeds"][1] for block in verdicts["blocks"] if not block["tuning"]})
    optimizers, losses = (
        {
            endpoint: [
                verdict
                for verdict in (*verdicts["contrasts"], *verdicts["controls"])
                if (verdict["between"], verdict["endpoint"]) == (between, endpoint)
            ]
            for endpoint in (CHANGE, WEIGHTS)
        }
        for between in ("optimizer", "loss")
    )
    failed, level = verdicts["failed_controls"], verdicts["level"]
    (share,) = (
        row
        for row in variance.itertuples()
        if (row.endpoint, row.axis, row.term) == (CHANGE, verdicts["axes"][0], "optimizer")
    )
    sentences = [
        f"**Where trainings forecast equally well, the optimizer {_does(optimizers[CHANGE], 'shapes')} the rank of "
        f"what they do to the weights, and the loss {_does(losses[CHANGE], 'does')}.** So say {trainings} trainings of "
        f"{seeds[0]} to {seeds[-1]} paired seeds under a protocol that was fixed before they ran "
        "(`studies/protocol.yaml`), compared at equal validation MAE; differences are first − second in ln units with "
        "95 % intervals.",
        _targets(verdicts["blocks"]),
        *([_failed(failed)] if failed else []),
        f"Stable rank of the change W_t − W_0: of optimizers {_counts(optimizers[CHANGE], level)}, "
        f"{_extremes(optimizers[CHANGE])}; the optimizer has {percent(share.share)} [{percent(share.low)}, "
        f"{percent(share.high)}] of the variance over {share.trainings} crossed trainings. Of losses "
        f"{_counts(losses[CHANGE], level)}: {_largest(losses[CHANGE], rates)}. On other axes the losses differ by up "
        f"to {_elsewhere(losses[CHANGE], rates)}, the optimizers by up to {_elsewhere(optimizers[CHANGE], {})}.",
        _beside_null(nulls, verdicts["axes"][0], optimizers[CHANGE]),
        f"Stable rank of W less that of its null: of optimizers {_counts(optimizers[WEIGHTS], level)}. Of losses "
        f"{_counts(losses[WEIGHTS], level)}, the largest {_largest(losses[WEIGHTS], rates)}"
        f"{_at_one_rate(losses[WEIGHTS])}. On other axes the losses differ by up to "
        f"{_elsewhere(losses[WEIGHTS], rates)}, the optimizers, whose equal MAE comes before W has moved much, "
        f"by up to {_elsewhere(optimizers[WEIGHTS], {})}.",
    ]
    picture = (
        "![Differences between optimizers and between losses with their intervals, and shares of variance]"
        "(studies/report/answer.png)"
    )
    return f"{picture}\n\n{' '.join(sentences)}"


def _failed(controls: Mapping[str, Sequence[str]]) -> str:
    """Names, each with the endpoints on which it did not come out."""
    words = {CHANGE: "the change", WEIGHTS: "W"}
    names = [f"{name} (on {joined([words[each] for each in endpoints])})" for name, endpoints in controls.items()]
    return f"Controls that did not come out as they have to: {joined(names)}."


def _of(judgement: str, verdicts: Sequence[Verdict]) -> list[Verdict]:
    return [verdict for verdict in verdicts if verdict["judgement"] == judgement]


def _does(verdicts: Sequence[Verdict], verb: str) -> str:
    """In one word, by the share of contrasts that are found."""
    share = len(_of("found", verdicts)) / len(verdicts)
    return verb if share == 1 else f"hardly {verb}" if share <= FEW else f"in part {verb}"


def _counts(verdicts: Sequence[Verdict], level: float) -> str:
    told, null = _of("found", verdicts), _of("null", verdicts)
    margins = {f"{verdict['equivalence']['margin']:.2g}" for verdict in null}
    open_ones = len(verdicts) - len(told) - len(null)
    pieces = [f"{len(told)} of {len(verdicts)} contrasts found"]
    turned = sum(verdict["robust"] is False for verdict in told)
    if turned:
        pieces[0] += f" (on {turned} the axis decides the sign)"
    if null:
        nonzero = sum(verdict["adjusted_p"] is not None and verdict["adjusted_p"] <= level for verdict in null)
        pieces.append(f"{len(null)} null within ±{joined(sorted(margins))}")
        pieces[-1] += f" ({nonzero} of them small, and not zero)" if nonzero else ""
    if open_ones:
        pieces.append(f"{open_ones} inconclusive")
    return ", ".join(pieces)


def _mean(verdict: Verdict) -> float:
    return float(verdict["axes"][first_axis(verdict)]["mean"])


def _extremes(verdicts: Sequence[Verdict]) -> str:
    ordered = sorted(_of("found", verdicts), key=_mean)
    told = [
        f"{verdict['contrast']['name']} {signed(_mean(verdict), 2)} {interval(verdict['axes'][first_axis(verdict)])}"
        for verdict in (ordered[0], ordered[-1])
    ]
    return f"from {told[0]} to {told[1]}"


def _beside_null(nulls: pd.DataFrame, axis: str, verdicts: Sequence[Verdict]) -> str:
    """How far the arms of the block of optimizers are from their changes with shuffled entries."""
    names: dict[str, str] = {}  # of arms, from "Muon - Adam"
    for contrast in (verdict["contrast"] for verdict in verdicts):
        names |= zip((contrast["first"], contrast["second"]), contrast["name"].split(" - "), strict=True)
    rows = nulls[(nulls["block"] == BLOCK) & (nulls["axis"] == axis) & (nulls["quantity"] == CHANGE)]
    by_arm = rows.set_index("arm")["deviations"].sort_values()
    away, within = by_arm[by_arm.abs() > SPREADS], by_arm[by_arm.abs() <= SPREADS]
    return (
        "In spreads of its null, the same change with shuffled entries, it is "
        f"{joined([f'{names[arm]} {signed(deviations, 0)}' for arm, deviations in away.items()])}; not {SPREADS} away, "
        f"and so no more than noise by this measure: {joined([names[arm] for arm in within.index])} (means of at most "
        f"{rows['seeds'].max()} seeds)."
    )


def _targets(blocks: Sequence[Mapping[str, Any]]) -> str:
    """Which validation MAE is held equal where."""
    fixed: dict[str, list[str]] = {}
    reached = []
    for block in blocks:
        targets = sorted({round(target, 2) for target in block["targets"].values() if target is not None})
        name = block["name"].replace("_", " ")
        if block["tuning"]:
            continue
        if targets:
            ends = f"{targets[0]:.2f}" if len(targets) == 1 else f"{targets[0]:.2f} to {targets[-1]:.2f}"
            fixed.setdefault(ends, []).append(name)
        else:
            reached.append(name)
    others = f"; for {joined(reached)} what all arms of a seed reach" if reached else ""
    told = [f"{ends} for {joined(names)}" for ends, names in fixed.items()]
    return f"That MAE is one of each block and data set, fixed by tuning seeds: {', '.join(told)}{others}."


def _rated(verdict: Verdict, rates: Mapping[tuple[str, str, str], float]) -> str:
    """How much larger the first arm's rate is, where the arms have different ones."""
    contrast = verdict["contrast"]
    first, second = (
        rates.get((verdict["block"], contrast["dataset"], contrast[arm]), 1.0) for arm in ("first", "second")
    )
    return "" if first == second else f", at {first / second:.3g} times the rate"


def _at_one_rate(verdicts: Sequence[Verdict]) -> str:
    """The same contrast where both arms have one rate, if the protocol has it."""
    largest = max(_of("found", verdicts), key=lambda verdict: abs(_mean(verdict)))
    same = f"{largest['contrast']['name']} one rate"
    told = [verdict for verdict in verdicts if verdict["contrast"]["name"] == same]
    return f"; at one rate {signed(_mean(told[0]), 2)} {interval(told[0]['axes'][first_axis(told[0])])}" if told else ""


def _elsewhere(verdicts: Sequence[Verdict], rates: Mapping[tuple[str, str, str], float]) -> str:
    """The largest difference on each axis but the primary one that all of them can have."""
    told = []
    for axis in ("evaluations", "distance"):
        means = {
            f"{verdict['contrast']['name']}{_rated(verdict, rates)}": verdict["axes"][axis]["mean"]
            for verdict in verdicts
            if verdict["axes"].get(axis, {}).get("mean") is not None
        }
        name = max(means, key=lambda name: abs(means[name]))
        told.append(f"{signed(means[name], 2)} at equal {AXIS_WORDS[axis]} ({name})")
    return joined(told)


def _largest(verdicts: Sequence[Verdict], rates: Mapping[tuple[str, str, str], float]) -> str:
    verdict = max(_of("found", verdicts), key=lambda verdict: abs(_mean(verdict)))
    return f"{verdict['contrast']['name']} {effect_words(verdict)}{_rated(verdict, rates)}"


def renewed(text: str) -> str:
    """The page with the present numbers between its two comments."""
    return replaced(text, BEGIN, numbers(), END)


if __name__ == "__main__":
    command("the answer of the committed study", README, numbers, renewed)
