"""Whether results were made under the protocol as it is now, of all its seeds; if not, they confirm nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import pandas as pd

from transformer_spectrum.study.inference.robustness import ContrastVerdict
from transformer_spectrum.study.protocol.model import Protocol

NAMED = 5
"""Seeds that a reason names at most."""


@dataclass(frozen=True)
class Standing:
    """Whether results may confirm anything.

    Attributes:
        confirmatory: every result bears the protocol's sha256, tuning had been fixed, and every arm of a contrast has
            the seeds that were planned and no others.
        foreign: the other sha256 among them, in order.
        reason: why not, or empty text.
    """

    confirmatory: bool
    foreign: tuple[str, ...]
    reason: str


def standing(protocol: Protocol, hashes: Iterable[str], table: pd.DataFrame | None = None) -> Standing:
    """Holds the sha256 that results bear, and their seeds, against the protocol at hand.

    Args:
        protocol: as it is now.
        hashes: of every result of the contrasts' blocks; anything but a text is none.
        table: the results, with columns dataset, arm and seed, and block where it has several; None = not at hand.

    >>> from transformer_spectrum.study.protocol.model import EXAMPLE, parse_protocol
    >>> standing(parse_protocol(EXAMPLE), ["another"]).confirmatory
    False
    """
    borne = list(dict.fromkeys(name if isinstance(name, str) else "unknown" for name in hashes))
    foreign = tuple(name for name in borne if name != protocol.sha256)
    if foreign:
        names = ", ".join(name[:8] for name in foreign)
        reason = f"results were made under protocol {names}, and it is {protocol.sha256[:8]} now"
    elif not borne:
        reason = "there are no results"
    elif protocol.tuning is None:
        reason = "the protocol has no rates, targets and margins from its tuning seeds"
    else:
        reason = "" if table is None else _other_seeds(protocol, table)
    return Standing(not reason, foreign, reason)


def _other_seeds(protocol: Protocol, table: pd.DataFrame) -> str:
    """The first arm of a contrast whose seeds are not those that were planned, censored ones included; or empty."""
    for plan in protocol.contrasts:
        rows = table[table["dataset"] == plan.dataset]
        rows = rows[rows["block"] == plan.block] if "block" in rows else rows
        planned = {str(seed) for seed in protocol.blocks[plan.block].seeds.each()}
        for arm in (plan.first, plan.second):
            seeds = set(rows.loc[rows["arm"] == arm, "seed"].astype(str))
            for words, differing in (("lack", planned - seeds), ("have unplanned", seeds - planned)):
                if differing:
                    names = ", ".join(sorted(differing, key=lambda seed: (len(seed), seed))[:NAMED])
                    return f"results of {arm} in block {plan.block} {words} seeds: {names} ({len(differing)})"
    return ""


def with_standing(verdicts: Iterable[ContrastVerdict], result: Standing) -> tuple[ContrastVerdict, ...]:
    """The verdicts, confirmatory only where the results were made under the protocol as it is.

    >>> with_standing([], Standing(True, (), ""))
    ()
    """
    return tuple(replace(verdict, confirmatory=result.confirmatory) for verdict in verdicts)
