"""What a family of contrasts comes to: found, null or inconclusive, on which axes, and under which controls.

A contrast is found where its adjusted p on the primary axis is at most the level; null where its difference there is
shown to lie inside the margin, even if it is not zero; else inconclusive. It is robust only if the mean difference has
one sign on all axes that both arms are on, over the seeds that all axes share and over those of each. Controls are
judged first: a control that has to be found or has to be null and is not is named in every verdict on the same endpoint
that it touches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import pandas as pd

from transformer_spectrum.analysis.comparison.verdict import PairVerdict
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.study.inference.equivalence import Equivalence, equivalence
from transformer_spectrum.study.inference.estimates import MeanDifference, mean_difference
from transformer_spectrum.study.inference.matching import Contrast, difference_matrix, paired
from transformer_spectrum.study.inference.signflip import family_test
from transformer_spectrum.vocabulary import AXIS_WORDS


class Judgement(StrEnum):
    """What the seeds say of a contrast.

    >>> Judgement("null") is Judgement.NULL
    True
    """

    FOUND = "found"
    NULL = "null"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class ContrastVerdict:
    """One endpoint of one contrast.

    Attributes:
        contrast: its arms and data set.
        endpoint: its name.
        judgement: on the primary axis.
        adjusted_p: of the family; NaN where so few pairs can never reach the level.
        untestable: whether that is so.
        equivalence: against the margin; None where the endpoint has none.
        axes: axis -> the mean difference there with its interval, the primary one first.
        robust: whether all axes give one sign, see `analysis.comparison.verdict`; None where that is not known.
        censored: seeds without a pair on the primary axis; count.
        failed_controls: names of the controls that touch this contrast and did not come out on this endpoint as they
            have to.
        confirmatory: whether the results were made under the protocol as it is, see `protocol.standing`.
    """

    contrast: Contrast
    endpoint: str
    judgement: Judgement
    adjusted_p: float
    untestable: bool
    equivalence: Equivalence | None
    axes: Mapping[str, MeanDifference]
    robust: bool | None
    censored: int
    failed_controls: tuple[str, ...] = ()
    confirmatory: bool = False

    @property
    def effect(self) -> MeanDifference:
        """On the primary axis."""
        return next(iter(self.axes.values()))

    @property
    def sentence(self) -> str:
        """The verdict in words, numbers first."""
        effect, axis = self.effect, next(iter(self.axes))
        numbers = (
            f"{effect.mean:+.3g} [{effect.low:.3g}, {effect.high:.3g}], adjusted p {self.adjusted_p:.2g}, "
            f"{effect.pairs} pairs"
        )
        words = {
            True: "the same sign on all axes",
            False: "the axis decides the sign",
            None: "sign on all axes unknown",
        }
        tail = f"; failed controls: {', '.join(self.failed_controls)}" if self.failed_controls else ""
        missing = f", {self.censored} censored" if self.censored else ""
        status = self.judgement if self.confirmatory else f"{self.judgement} (not confirmatory)"
        return (
            f"{self.contrast.name}, {self.endpoint} on {self.contrast.dataset} at equal {AXIS_WORDS.get(axis, axis)}: "
            f"{numbers}{missing}: {status}, {words[self.robust]}{tail}."
        )


@dataclass(frozen=True)
class Control:
    """A contrast whose answer is known beforehand.

    Attributes:
        contrast: its name.
        expected: FOUND or NULL.
        touches: names of the contrasts whose verdicts stand on it; empty = all.
    """

    contrast: str
    expected: Judgement
    touches: tuple[str, ...] = ()


def judge(
    table: pd.DataFrame,
    contrasts: Sequence[Contrast],
    endpoints: Sequence[str],
    axes: Mapping[str, Sequence[str]] | Sequence[str],
    *,
    margins: Mapping[str, float] | None = None,
    level: float = 0.05,
    seed: int = 0,
) -> tuple[ContrastVerdict, ...]:
    """A family: every endpoint of every contrast, tested together on the primary axis.

    Args:
        table: of `matching.match`.
        contrasts: with names of their own.
        endpoints: names.
        axes: the primary one first; or contrast -> its axes, where one has fewer.
        margins: endpoint -> margin of equivalence, fixed beforehand.
        level: of the family, and of each equivalence; 0 < x < 1.
        seed: of the sample of signs of more than 20 seeds.
    Returns:
        In the order of contrasts, then endpoints.
    Raises:
        InputError: contrasts without a name of their own, of an arm with itself or without an axis; a margin that is
            not positive, or of no endpoint; or what `matching.paired` refuses.

    >>> rows = [
    ...     ("light", axis, 0.8, arm, seed, "reached", 9.0, "rank", value + shift)
    ...     for axis in ("validation_mae", "distance") for arm, shift in (("muon", 1.0), ("adam", 0.0))
    ...     for seed, value in enumerate([0.1, 0.3, 0.2, 0.5, 0.4, 0.0, 0.2])
    ... ]
    >>> table = pd.DataFrame(rows, columns=["dataset", "axis", "target", "arm", "seed", "crossing", "updates",
    ...     "endpoint", "value"])
    >>> contrast = Contrast("muon - adam", "light", "muon", "adam")
    >>> (verdict,) = judge(table, [contrast], ["rank"], ["validation_mae", "distance"])
    >>> verdict.judgement.value, verdict.robust, verdict.adjusted_p
    ('found', True, 0.015625)
    """
    places = [(contrast, name) for contrast in contrasts for name in endpoints]
    of_contrast: dict[str, tuple[str, ...]] = {}
    for each in contrasts:
        if each.name in of_contrast:
            raise InputError(f"contrast {each.name}: comes twice; each needs a name of its own")
        if each.first == each.second:
            raise InputError(f"contrast {each.name}: first = second = {each.first}: must be two arms")
        of_contrast[each.name] = tuple(axes.get(each.name, ()) if isinstance(axes, Mapping) else axes)
        if not of_contrast[each.name]:
            raise InputError(f"contrast {each.name}: has no axis; needs one or more, the primary one first")
    for name in margins or {}:
        if name not in endpoints and name not in set(table["endpoint"]):
            raise InputError(f"margin of {name}: the table has no such endpoint")
    differences = [
        [paired(table, contrast, name, axis) for axis in of_contrast[contrast.name]] for contrast, name in places
    ]
    _, matrix = difference_matrix(by_axis[0] for by_axis in differences)
    family = family_test(matrix, level=level, seed=seed)
    verdicts = []
    for place, ((contrast, name), by_axis) in enumerate(zip(places, differences, strict=True)):
        margin = (margins or {}).get(name)
        against = None if margin is None else equivalence(matrix[:, place], margin, seed=seed)
        adjusted = float(family.adjusted[place])
        effects = {
            each.axis: mean_difference(difference_matrix([each])[1][:, 0], confidence=1 - level, seed=seed)
            for each in by_axis
        }
        verdicts.append(
            ContrastVerdict(
                contrast=contrast,
                endpoint=name,
                judgement=_judgement(adjusted, against, level),
                adjusted_p=adjusted,
                untestable=bool(family.untestable[place]),
                equivalence=against,
                axes=effects,
                robust=PairVerdict(name, contrast.first, contrast.second, tuple(by_axis)).robust,
                censored=len(by_axis[0].without),
            )
        )
    return tuple(verdicts)


def failed(controls: Sequence[Control], verdicts: Sequence[ContrastVerdict]) -> dict[str, tuple[str, ...]]:
    """Name of a control -> the endpoints on which it is not what it has to be; none at all = it was not run.

    >>> failed([Control("batch order", Judgement.NULL)], [])
    {'batch order': ()}
    """
    failures: dict[str, tuple[str, ...]] = {}
    for control in controls:
        judged = {each.endpoint: each.judgement for each in verdicts if each.contrast.name == control.contrast}
        wrong = tuple(name for name, judgement in judged.items() if judgement is not control.expected)
        if wrong or not judged:
            failures[control.contrast] = wrong
    return failures


def under_controls(
    verdicts: Sequence[ContrastVerdict], controls: Sequence[Control], of_controls: Sequence[ContrastVerdict]
) -> tuple[ContrastVerdict, ...]:
    """The verdicts, each with the controls that touch it and failed on its endpoint, or were not run.

    Args:
        verdicts: of the contrasts.
        controls: what has to come out.
        of_controls: the verdicts of the controls' own contrasts.

    >>> under_controls([], [], [])
    ()
    """
    failures = failed(controls, of_controls)
    touched = {control.contrast: control.touches for control in controls}

    def names(verdict: ContrastVerdict) -> tuple[str, ...]:
        return tuple(
            name
            for name, endpoints in failures.items()
            if (not endpoints or verdict.endpoint in endpoints)
            and (not touched[name] or verdict.contrast.name in touched[name])
        )

    return tuple(replace(verdict, failed_controls=names(verdict)) for verdict in verdicts)


def _judgement(adjusted: float, against: Equivalence | None, level: float) -> Judgement:
    if against is not None and against.p_value <= level:
        return Judgement.NULL
    return Judgement.FOUND if adjusted <= level else Judgement.INCONCLUSIVE
