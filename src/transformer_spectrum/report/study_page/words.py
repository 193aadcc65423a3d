"""The answer of a study in sentences, numbers first, made from its verdicts and shares of variance alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from transformer_spectrum.report.page.numbers import joined, number, signed
from transformer_spectrum.vocabulary import AXIS_WORDS

ENDPOINT_WORDS: Mapping[str, str] = {
    "change_log_stable_rank": "ln stable rank of the change W_t − W_0",
    "path_log_stable_rank": "ln stable rank of W less that of its null",
    "rank_correlation": "|rank correlation| with the validation MAE within a seed",
    "spectral_entropy_gain": "spectral entropy of W less that of W_0",
    "spectral_entropy_excess": "spectral entropy of W less that of its null",
    "large_value_excess": "ln(σ_1 / median σ) of W less that of its null",
    "leading_vectors_kept": "agreement of W’s leading vectors with those of W_0, less .9",
    "small_value_excess": "ln(smallest tenth of σ / median σ) of W less that of its null",
    "leading_vectors_settled": "agreement of W’s leading vectors at half of the updates with those at the end, less .9",
    "change_leading_vectors_settled": "agreement of W_t − W_0’s leading vectors at half with those at the end, less .9",
}
"""The primary ones, and those that claims alone have; any other is its name with spaces."""
QUESTIONS: Mapping[str, str] = {
    "optimizer": "Does the optimizer shape it?",
    "loss": "Does the loss shape it?",
    "treatment": "Does anything else?",
}
"""What a contrast's arms differ in -> the question that it answers."""
QUANTITY_WORDS: Mapping[str, str] = {
    "change_log_stable_rank": "ln stable rank of the change",
    "log_stable_rank": "ln stable rank of W",
    "hill_alpha": "Hill’s exponent of W",
    "ks_alpha": "KS exponent of W",
    "ks_distance": "D of the KS exponent",
    "farms_alpha": "FARMS exponent of W",
}
"""What stands beside its null; see `study.beside_nulls.quantities`."""
NOT_RUN = "not run"

Verdict = Mapping[str, Any]


def endpoint_words(name: str) -> str:
    """What an endpoint is called.

    >>> endpoint_words("mp_spikes")
    'mp spikes'
    """
    return ENDPOINT_WORDS.get(name, name.replace("_", " "))


def quantity_words(name: str) -> str:
    """What a quantity beside its null is called.

    >>> quantity_words("ks_distance")
    'D of the KS exponent'
    """
    return QUANTITY_WORDS[name]


def where_words(axis: str) -> str:
    """Where arms are compared.

    >>> where_words("distance"), where_words("end")
    ('at equal relative distance', 'where trainings end')
    """
    return "where trainings end" if axis == "end" else f"at equal {AXIS_WORDS[axis]}"


def failed_words(failures: Mapping[str, Sequence[str]]) -> list[str]:
    """A sentence a control that did not come out as it has to.

    >>> failed_words({"A/A": ["mp_spikes"], "batch 8": []})
    ['Control A/A did not come out as it has to on mp spikes.', 'Control batch 8 was not run.']
    """
    return [
        f"Control {name} did not come out as it has to on {joined([endpoint_words(each) for each in endpoints])}."
        if endpoints
        else f"Control {name} was {NOT_RUN}."
        for name, endpoints in failures.items()
    ]


def standing_words(standing: Mapping[str, Any]) -> str:
    """Whether the results confirm anything.

    >>> standing_words({"confirmatory": False, "reason": "there are no results"})
    'Not confirmatory: there are no results.'
    """
    if standing["confirmatory"]:
        return "Confirmatory: every result was made under the protocol as it is."
    return f"Not confirmatory: {standing['reason']}."


def answers(verdicts: Mapping[str, Any], variance: pd.DataFrame) -> list[tuple[str, list[str]]]:
    """Each question with the sentences that answer it, one a primary endpoint; then whose the variance is.

    Args:
        verdicts: of `study.conclusions.judged.judgement`.
        variance: of `study.conclusions.attributed.shares_table`.

    >>> answers({"contrasts": [], "controls": []}, pd.DataFrame({"block": []}))
    []
    """
    axis = AXIS_WORDS[verdicts["axes"][0]] if verdicts.get("axes") else ""
    found = []
    for between, question in QUESTIONS.items():
        own = [verdict for verdict in (*verdicts["contrasts"], *verdicts["controls"]) if verdict["between"] == between]
        sentences = [
            _counted(endpoint, [verdict for verdict in own if verdict["endpoint"] == endpoint], axis, verdicts["level"])
            for endpoint in dict.fromkeys(verdict["endpoint"] for verdict in own)
        ]
        if sentences:
            found.append((question, sentences))
    if shares := shares_words(verdicts, variance):
        found.append(("Whose is the variance?", shares))
    return found


def _counted(endpoint: str, verdicts: Sequence[Verdict], axis: str, level: float) -> str:
    """How many contrasts were found, null and open, how large they are, and how many keep their sign on all axes."""
    by = {name: [verdict for verdict in verdicts if verdict["judgement"] == name] for name in ("found", "null")}
    rest = len(verdicts) - len(by["found"]) - len(by["null"])
    robust = sum(verdict["robust"] is True for verdict in by["found"])
    pieces = [f"{len(by['found'])} of {len(verdicts)} contrasts found"]
    if by["found"]:
        pieces[0] += f" ({robust} of them with one sign on all axes)"
    nonzero = sum(verdict["adjusted_p"] is not None and verdict["adjusted_p"] <= level for verdict in by["null"])
    pieces += [f"{len(by['null'])} null within the margin", f"{rest} inconclusive"]
    if nonzero:
        pieces[1] += f" ({nonzero} of them small, and not zero)"
    told = [f"{verdict['contrast']['name']} {effect_words(verdict)}" for verdict in sorted(by["found"], key=_size)]
    others = [verdict for verdict in verdicts if verdict["judgement"] != "found" and _size(verdict) < 0.0]
    if others:
        least = min(others, key=_size)
        told.append(
            f"the largest of the others is {least['contrast']['name']} {effect_words(least)}"
            if by["found"]
            else f"The largest is {least['contrast']['name']} {effect_words(least)}"
        )
    name = endpoint_words(endpoint)
    sizes = f" {'; '.join(told)}." if told else ""
    return f"{name[:1].upper()}{name[1:]}, at equal {axis}: {', '.join(pieces)}.{sizes}"


def _size(verdict: Verdict) -> float:
    """Less than 0, the least for the largest mean difference on the primary axis."""
    return -abs(verdict["axes"][first_axis(verdict)]["mean"] or 0.0)


def first_axis(verdict: Verdict) -> str:
    """The primary one of a verdict.

    >>> first_axis({"axes": {"distance": {}, "updates": {}}})
    'distance'
    """
    return next(iter(verdict["axes"]))


def effect_words(verdict: Verdict) -> str:
    """Mean and interval on the primary axis, and the judgement.

    >>> effect = {"mean": 0.5, "low": 0.25, "high": None, "pairs": 4}
    >>> effect_words({"axes": {"distance": effect}, "judgement": "found", "robust": False})
    '+0.50 [0.25, –], found, the axis decides the sign'
    """
    effect = verdict["axes"][first_axis(verdict)]
    turned = ", the axis decides the sign" if verdict["judgement"] == "found" and verdict["robust"] is False else ""
    return f"{signed(effect['mean'], 2)} {interval(effect)}, {verdict['judgement']}{turned}"


def interval(effect: Mapping[str, Any]) -> str:
    """The limits of a mean difference; a dash where so few pairs bound nothing.

    >>> interval({"low": -0.1, "high": 0.2})
    '[−0.10, 0.20]'
    """
    return f"[{number(effect['low'], 2)}, {number(effect['high'], 2)}]"


def shares_words(verdicts: Mapping[str, Any], variance: pd.DataFrame) -> list[str]:
    """A sentence for each primary endpoint: the terms of the largest shares, seed and rest together.

    >>> shares_words({"axes": ["distance"], "endpoints": {}}, pd.DataFrame({"block": []}))
    []
    """
    sentences = []
    for (block, endpoint), rows in variance.groupby(["block", "endpoint"], sort=False) if len(variance) else []:
        if verdicts["endpoints"].get(endpoint, [""])[0] != "primary":
            continue
        rows = rows[(rows["axis"] == verdicts["axes"][0])]
        usable = rows[rows["share"].notna()]
        if usable.empty:
            reasons = ", ".join(rows["reason"].astype(str))
            sentences.append(f"{endpoint_words(endpoint)}: no shares ({reasons}).")
            continue
        terms = usable[~usable["term"].str.contains("seed")].sort_values("share", ascending=False)
        told = [
            f"{row.term} {percent(row.share)} [{percent(row.low)}, {percent(row.high)}]"
            for row in terms.itertuples()
            if row.share >= 0.01
        ]
        lost = [name for name in ("optimizer", "loss", "rate", "dataset") if name in set(terms["term"])]
        small = [row.term for row in terms.itertuples() if row.share < 0.01 and row.term in lost]
        negative = any(row.share <= -0.005 for row in usable.itertuples())
        rest = float(usable.loc[usable["term"].str.contains("seed"), "share"].sum())
        under = f"; under 1 %: {joined(small)}" if small else ""
        if negative:
            under += "; estimates below zero, which come about where there is no share, leave the others above 100 %"
        told = told or ["no factor can be told from nothing"]
        name = endpoint_words(endpoint)
        where = f"at equal {AXIS_WORDS[verdicts['axes'][0]]}{_reached(verdicts, block)}"
        sentences.append(
            f"{name[:1].upper()}{name[1:]} over {int(rows['trainings'].iloc[0])} trainings of the block {block}, "
            f"{where}: {', '.join(told)}; seed and all with it {percent(rest)}{under}."
        )
    return sentences


def _reached(verdicts: Mapping[str, Any], block: str) -> str:
    """What the MAE is at which a block that is held to no tuning block is compared."""
    plans = [plan for plan in verdicts.get("blocks", ()) if plan["name"] == block]
    of_seed = verdicts["axes"][0] == "validation_mae" and plans and not any(plans[0]["targets"].values())
    return ", the lowest that all arms of a seed reach" if of_seed else ""


def percent(share: float | None) -> str:
    """A share of 1.

    >>> percent(0.2564), percent(-0.0001), percent(float("nan"))
    ('25.6 %', '0.0 %', '–')
    """
    return "–" if share is None or math.isnan(share) else f"{round(100 * share, 1) + 0.0:.1f} %".replace("-", "−")


def not_measured(reasons: Mapping[str, str]) -> str:
    """The claims that a protocol cannot answer, and why.

    >>> not_measured({"muon_keeps_rank": "no arm muon-mes in block optimizers; did you mean muon-mse?"})
    'Not measured by this protocol: muon_keeps_rank (no arm muon-mes in block optimizers; did you mean muon-mse?).'
    """
    return f"Not measured by this protocol: {', '.join(f'{name} ({reason})' for name, reason in reasons.items())}."
