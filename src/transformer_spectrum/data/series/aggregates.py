"""Rows and columns of an export that are sums of others, such as World: dropped, so that nothing counts twice."""

from __future__ import annotations

import re

CONTINENTS = ("Africa", "Asia", "Europe", "North America", "Oceania", "South America")


def is_sum_of_countries(location: str) -> bool:
    """Whether a location of the COVID table is the world, a continent, the European Union or an income group.

    >>> [name for name in ("World", "Sweden", "Europe", "High-income countries") if is_sum_of_countries(name)]
    ['World', 'Europe', 'High-income countries']
    """
    return (
        location in ("World", "International", *CONTINENTS)
        or location.startswith("European Union")
        or " income" in location
        or "-income" in location
        or " excl. " in location
    )


def is_sum_of_jurisdictions(jurisdiction: str) -> bool:
    """Whether a jurisdiction of the hospital export is the nation, or one of the ten HHS regions.

    >>> [name for name in ("US", "CA", "Region 9") if is_sum_of_jurisdictions(name)]
    ['US', 'Region 9']
    """
    return jurisdiction in ("US", "USA") or re.fullmatch(r"Region \d+", jurisdiction) is not None
