"""Published claims as code: one YAML file a claim, answered on a study's table.

statement: Muon keeps the stable rank of weights where Adam lowers it
sources:
  - {reference: "...", read: abstract, says: "Muon preserves stable rank"}
block: optimizers
dataset: light
first: muon-mse
second: adam-mse              # or zero: the endpoint itself is held against 0
endpoint: path_log_stable_rank
axis: validation_mae
confirmed_if: [above]         # how first lies to second: above, below, or equal within the margin
refuted_if: [below, equal]
caveat: what differs between the source's setting and this study's

A claim of what predicts the error names groups of endpoints; `conclusions.predictions` says what is compared:

endpoint: rank_correlation
axis: end                     # where each training ends
groups: {shape: [hill_alpha, ks_alpha], scale: [log_distance]}
first: shape
second: scale

A claim about where training ends names one of `follow_up.endpoints`:

endpoint: small_value_excess
axis: end
first: adam-mse
second: zero
margin: 0.02                  # what counts as equal, where the protocol has no margin of the endpoint
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field, model_validator

from transformer_spectrum.config.fields import Real, Section
from transformer_spectrum.config.load import read_tree
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.study.follow_up.endpoints import FOLLOWED, is_followed
from transformer_spectrum.study.inference.discovery import benjamini_hochberg
from transformer_spectrum.study.inference.endpoints import endpoint
from transformer_spectrum.study.inference.equivalence import Equivalence, equivalence
from transformer_spectrum.study.inference.estimates import MeanDifference, mean_difference
from transformer_spectrum.study.inference.matching import Contrast, arm_values, difference_matrix, paired
from transformer_spectrum.study.inference.signflip import check_share
from transformer_spectrum.study.protocol.model import validated
from transformer_spectrum.study.protocol.sections import Once

ZERO = "zero"
RANK_CORRELATION, END = "rank_correlation", "end"
"""Endpoint and axis of a claim of what predicts the error: no endpoint of a training, but of all of a seed's."""
Relation = Literal["above", "below", "equal"]


class ClaimSource(Section):
    """Where a claim is made."""

    reference: str = Field(min_length=1, description="authors, year, title, identifier and version")
    read: Literal["text", "abstract"] = Field(description="how far it was read")
    says: str = Field(min_length=1, description="what in it supports the statement")


class Claim(Section):
    """One claim, and what would confirm or refute it."""

    statement: str = Field(min_length=1)
    sources: tuple[ClaimSource, ...] = Field(min_length=1)
    block: str
    dataset: str
    first: str
    second: str
    endpoint: str
    axis: Literal["validation_mae", "evaluations", "distance", "updates", "end"]
    groups: dict[str, tuple[str, ...]] = Field(default={}, description="name -> endpoints that predict the error")
    margin: Real | None = Field(default=None, gt=0, description="of equivalence; None = the protocol's, if any")
    confirmed_if: Annotated[tuple[Relation, ...], Once] = Field(min_length=1)
    refuted_if: Annotated[tuple[Relation, ...], Once] = Field(min_length=1)
    caveat: str = ""

    @model_validator(mode="after")
    def _rules(self) -> Claim:
        if self.first in (self.second, ZERO):
            raise ValueError(f"first = {self.first}: must be another than second, and an arm or a group")
        for name, group in self.groups.items():
            if not group:
                raise ValueError(f"groups.{name}: must have an endpoint")
            for each in group:
                endpoint(each)
        if self.groups:
            if (self.endpoint, self.axis) != (RANK_CORRELATION, END):
                raise ValueError(f"groups: need endpoint: {RANK_CORRELATION} and axis: {END}")
            if missing := {self.first, self.second} - {*self.groups, ZERO}:
                raise ValueError(f"first, second: {min(missing)}: must be one of groups")
        elif is_followed(self.endpoint):
            if self.axis != END:
                raise ValueError(f"endpoint = {self.endpoint}: needs axis: {END}")
        elif self.axis == END:
            followed = ", ".join(each.name for each in FOLLOWED)
            raise ValueError(f"axis = {END}: needs groups, or an endpoint of {followed}")
        else:
            endpoint(self.endpoint)
        if both := set(self.confirmed_if) & set(self.refuted_if):
            raise ValueError(f"confirmed_if, refuted_if: {min(both)}: must be in one of them")
        return self

    @property
    def abstract_only(self) -> bool:
        """Whether no source was read beyond its abstract."""
        return all(source.read == "abstract" for source in self.sources)


class ClaimOutcome(StrEnum):
    """What a study's table says of a claim.

    >>> ClaimOutcome("refuted") is ClaimOutcome.REFUTED
    True
    """

    CONFIRMED = "confirmed"
    REFUTED = "refuted"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class ClaimAnswer:
    """A claim on a table.

    Attributes:
        name: of its file.
        claim: what was asked.
        outcome: confirmed, refuted or inconclusive.
        relation: how first lies to second: above, below, equal, or None where the seeds do not say.
        effect: mean of first - second with its interval.
        q_value: of the difference, among all claims that were answered together; NaN without a pair.
        equivalence: against the margin; None where the endpoint has none.
        censored: seeds without a pair; count.
    """

    name: str
    claim: Claim
    outcome: ClaimOutcome
    relation: Relation | None
    effect: MeanDifference
    q_value: float
    equivalence: Equivalence | None
    censored: int

    @property
    def sentence(self) -> str:
        """The answer in words, numbers in it."""
        effect = self.effect
        numbers = (
            f"{effect.mean:+.3g} [{effect.low:.3g}, {effect.high:.3g}], q {self.q_value:.2g}, {effect.pairs} pairs"
        )
        marked = " Source read as far as its abstract." if self.claim.abstract_only else ""
        return f"{self.claim.statement}: {self.outcome} ({self.claim.endpoint}, {numbers}).{marked}"


def parse_claim(content: Any, source: str) -> Claim:
    """Validates a tree.

    Raises:
        InputError: one line with the file, where in it, the value and the rule.

    >>> parse_claim({"statment": "x"}, "rank.yaml")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    transformer_spectrum.runtime.errors.InputError: rank.yaml: statment: unknown key; did you mean statement? (and ...
    """
    return validated(Claim, content, source)


def load_claims(folder: str | Path) -> dict[str, Claim]:
    """Name of the file -> claim, of every YAML file in a folder, in the order of names.

    Raises:
        InputError: a file that cannot be read or ends in .yml, or none.

    >>> load_claims("nowhere")
    Traceback (most recent call last):
    transformer_spectrum.runtime.errors.InputError: nowhere: has no claim, NAME.yaml
    """
    paths = sorted(Path(folder).glob("*.yaml"))
    for path in sorted(Path(folder).glob("*.yml")):
        raise InputError(f"{path}: a claim's file must end in .yaml")
    if not paths:
        raise InputError(f"{folder}: has no claim, NAME.yaml")
    return {path.stem: parse_claim(read_tree(path), str(path)) for path in paths}


def answer(
    claims: Mapping[str, Claim],
    table: pd.DataFrame,
    *,
    margins: Mapping[str, float] | None = None,
    level: float = 0.05,
    seed: int = 0,
) -> tuple[ClaimAnswer, ...]:
    """Every claim on a study's table.

    First lies above or below second where Benjamini and Hochberg's q of the sign-flip test, over all of these claims,
    is at most the level; it is equal to second where the difference is shown to be inside the margin, the q of that
    likewise, even if it is not zero. What is none of these is inconclusive.

    Args:
        claims: name -> claim.
        table: of `inference.matching.match`; with a column `block`, a claim sees the rows of its own block.
        margins: endpoint -> margin of equivalence, of claims without one of their own; without any nothing is equal.
        level: of the shares of false answers; 0 < x < 1.
        seed: of the sample of signs of more than 20 seeds.
    Raises:
        InputError: a level outside; an arm has no row on that data set, endpoint and axis, or `matching.paired` refuses
            its values.

    >>> rows = [("light", "distance", 1.0, "adam-mse", seed, "reached", 9.0, "mp_spikes", 2.0 + seed % 3)
    ...     for seed in range(8)]
    >>> columns = ["dataset", "axis", "target", "arm", "seed", "crossing", "updates", "endpoint", "value"]
    >>> sources = [ClaimSource(reference="made up", read="text", says="so")]
    >>> claim = Claim(statement="training makes spikes", sources=sources, block="optimizers", dataset="light",
    ...     first="adam-mse", second="zero", endpoint="mp_spikes", axis="distance", confirmed_if=["above"],
    ...     refuted_if=["below", "equal"])
    >>> answer({"spikes": claim}, pd.DataFrame(rows, columns=columns))[0].outcome.value
    'confirmed'
    """
    check_share("level", level)
    differences, censored = [], []
    for claim in claims.values():
        values, missing = _differences(claim, table)
        differences.append(values)
        censored.append(missing)
    effects = [mean_difference(values, confidence=1 - level, seed=seed) for values in differences]
    margin_of = [claim.margin or (margins or {}).get(claim.endpoint) for claim in claims.values()]
    against = [
        None if margin is None else equivalence(values, margin, seed=seed)
        for margin, values in zip(margin_of, differences, strict=True)
    ]
    q_values = benjamini_hochberg(np.array([effect.p_value for effect in effects]))
    equal_q = benjamini_hochberg(np.array([np.nan if test is None else test.p_value for test in against]))
    answers = []
    for place, (name, claim) in enumerate(claims.items()):
        relation = _relation(effects[place].mean, q_values[place], equal_q[place], level)
        outcome = ClaimOutcome.INCONCLUSIVE
        if relation in claim.confirmed_if:
            outcome = ClaimOutcome.CONFIRMED
        elif relation in claim.refuted_if:
            outcome = ClaimOutcome.REFUTED
        q_value = float(q_values[place])
        answers.append(
            ClaimAnswer(name, claim, outcome, relation, effects[place], q_value, against[place], censored[place])
        )
    return tuple(answers)


def _relation(mean: float, q_value: float, equal_q: float, level: float) -> Relation | None:
    if equal_q <= level:
        return "equal"
    if q_value <= level:
        return "above" if mean > 0 else "below"
    return None


def _differences(claim: Claim, table: pd.DataFrame) -> tuple[np.ndarray, int]:
    """(seeds,) first - second, NaN without a pair, and how many of these there are."""
    rows = table[table["block"] == claim.block] if "block" in table else table
    contrast = Contrast(claim.statement, claim.dataset, claim.first, claim.second)
    if claim.second == ZERO:
        values = np.array(list(arm_values(rows, contrast, claim.first, claim.endpoint, claim.axis).values()))
    else:
        values = difference_matrix([paired(rows, contrast, claim.endpoint, claim.axis)])[1][:, 0]
    return values, int(np.isnan(values).sum())
