"""What is told beside its null, by name."""

from __future__ import annotations

RANK, CHANGE_RANK = "log_stable_rank", "change_log_stable_rank"
HILL, KS, DISTANCE, FARMS = "hill_alpha", "ks_alpha", "ks_distance", "farms_alpha"
QUANTITIES = (CHANGE_RANK, RANK, HILL, KS, DISTANCE, FARMS)
"""`ks_distance` is D, how far a spectrum is from the power law of `ks_alpha`. The null of that of the change is the
change with shuffled entries, of all others, which are of W, W_0 plus that."""
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
