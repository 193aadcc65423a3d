"""Numbers as pages, tables and comments write them."""

from __future__ import annotations

import math
from collections.abc import Sequence

LACKING = "–"


def number(value: float | None, digits: int = 3) -> str:
    """The value with so many decimals and thousands apart; a dash where there is none.

    >>> number(-1234.5678), number(2.0, 1), number(None)
    ('−1,234.568', '2.0', '–')
    """
    return LACKING if value is None or math.isnan(value) else f"{value:,.{digits}f}".replace("-", "−")


def signed(value: float | None, digits: int = 1) -> str:
    """With a plus or a minus, 0 with neither; a dash where there is none.

    >>> signed(2.04), signed(-2.0), signed(0.04), signed(None)
    ('+2.0', '−2.0', '0.0', '–')
    """
    if value is None or math.isnan(value):
        return LACKING
    rounded = round(value, digits)
    return f"+{number(rounded, digits)}" if rounded > 0 else number(abs(rounded) if rounded == 0 else rounded, digits)


def short(value: float | None) -> str:
    """Four significant digits; a dash where there is none.

    >>> short(-12.34567), short(123456.0), short(None)
    ('−12.35', '1.235e+05', '–')
    """
    return LACKING if value is None or math.isnan(value) else f"{value:.4g}".replace("-", "−")


def joined(words: Sequence[str]) -> str:
    """Words as a list in a sentence.

    >>> joined(["a", "b", "c"]), joined(["a"]), joined([])
    ('a, b and c', 'a', '')
    """
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)
