"""What is told beside its null, by name, and of which null it is."""

from __future__ import annotations

from collections.abc import Mapping

RANK, CHANGE_RANK = "log_stable_rank", "change_log_stable_rank"
HILL, KS, DISTANCE, FARMS = "hill_alpha", "ks_alpha", "ks_distance", "farms_alpha"
QUANTITIES: Mapping[str, str] = {
    CHANGE_RANK: "change with shuffled entries",
    RANK: "W_0 plus change with shuffled entries",
    HILL: "W_0 plus change with shuffled entries",
    KS: "W_0 plus change with shuffled entries",
    DISTANCE: "W_0 plus change with shuffled entries",
    FARMS: "W_0 plus change with shuffled entries",
}
"""Quantity -> the null it stands beside. `ks_distance` is D, how far a spectrum is from the power law of `ks_alpha`."""
SPREAD_SAYS_MUCH = (CHANGE_RANK, RANK)
"""Those whose draws have a spread that is worth a unit; of fitted exponents and D it is not, see `spectra.effects`."""


def null_name(quantity: str) -> str:
    """Of the mean over draws.

    >>> null_name("ks_alpha")
    'ks_alpha null'
    """
    return f"{quantity} null"


def spread_name(quantity: str) -> str:
    """Of the standard deviation over draws.

    >>> spread_name("ks_alpha")
    'ks_alpha null sd'
    """
    return f"{quantity} null sd"


def columns() -> list[str]:
    """Value, null and its spread of every quantity.

    >>> columns()[:3]
    ['change_log_stable_rank', 'change_log_stable_rank null', 'change_log_stable_rank null sd']
    """
    return [name for quantity in QUANTITIES for name in (quantity, null_name(quantity), spread_name(quantity))]
