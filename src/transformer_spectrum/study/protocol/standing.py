"""Whether results were made under the protocol as it is now; if not, they confirm nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from transformer_spectrum.study.inference.robustness import ContrastVerdict
from transformer_spectrum.study.protocol.model import Protocol


@dataclass(frozen=True)
class Standing:
    """Whether results may confirm anything.

    Attributes:
        confirmatory: every result bears the protocol's sha256, and tuning had been fixed.
        foreign: the other sha256 among them, in order.
        reason: why not, or empty text.
    """

    confirmatory: bool
    foreign: tuple[str, ...]
    reason: str


def standing(protocol: Protocol, hashes: Iterable[str]) -> Standing:
    """Holds the sha256 that results bear against the protocol at hand.

    Args:
        protocol: as it is now.
        hashes: of every result of the contrasts' blocks.

    >>> from transformer_spectrum.study.protocol.model import EXAMPLE, parse_protocol
    >>> standing(parse_protocol(EXAMPLE), ["another"]).confirmatory
    False
    """
    borne = list(dict.fromkeys(hashes))
    foreign = tuple(name for name in borne if name != protocol.sha256)
    if foreign:
        names = ", ".join(name[:8] for name in foreign)
        reason = f"results were made under protocol {names}, and it is {protocol.sha256[:8]} now"
    elif not borne:
        reason = "there are no results"
    elif protocol.tuning is None:
        reason = "the protocol has no rates, targets and margins from its tuning seeds"
    else:
        reason = ""
    return Standing(not reason, foreign, reason)


def with_standing(verdicts: Iterable[ContrastVerdict], result: Standing) -> tuple[ContrastVerdict, ...]:
    """The verdicts, confirmatory only where the results were made under the protocol as it is.

    >>> with_standing([], Standing(True, (), ""))
    ()
    """
    return tuple(replace(verdict, confirmatory=result.confirmatory) for verdict in verdicts)
