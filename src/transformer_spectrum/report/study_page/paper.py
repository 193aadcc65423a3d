"""The contrasts as a table for a paper, CSV and LaTeX."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

NUMBERS = ("pairs", "mean", "low", "high", "hodges_lehmann", "d_z", "p_value")
JUDGEMENTS = {"null": "equivalent"}
"""What the table says in place of a judgement's own word: programs that read CSV take "null" for a missing value."""
TEXTS = ("contrast", "dataset", "endpoint", "judgement", "robust")
TINY = 1e-6
"""Below this a number is written as zero."""


def contrasts_table(verdicts: Mapping[str, Any]) -> pd.DataFrame:
    """A row a contrast, endpoint and axis, controls first; what was judged stands in the row of the primary axis.

    >>> contrasts_table({"controls": [], "contrasts": []}).columns.tolist()[:4]
    ['contrast', 'dataset', 'endpoint', 'equal']
    """
    rows = [
        (
            verdict["contrast"]["name"],
            verdict["contrast"]["dataset"],
            verdict["endpoint"],
            axis,
            *(effect[name] for name in NUMBERS),
            verdict["adjusted_p"] if place == 0 else None,
            JUDGEMENTS.get(verdict["judgement"], verdict["judgement"]) if place == 0 else None,
            {True: "yes", False: "no", None: "unknown"}[verdict["robust"]] if place == 0 else None,
            verdict["censored"] if place == 0 else None,
        )
        for verdict in (*verdicts["controls"], *verdicts["contrasts"])
        for place, (axis, effect) in enumerate(verdict["axes"].items())
    ]
    names = ["contrast", "dataset", "endpoint", "equal", *NUMBERS, "adjusted_p", "judgement", "robust", "censored"]
    return pd.DataFrame(rows, columns=names)


def latex(table: pd.DataFrame) -> str:
    """The rows of the primary axis for LaTeX's booktabs.

    >>> verdict = {"contrast": {"name": "A & B", "dataset": "light"}, "endpoint": "mp_spikes", "judgement": "null",
    ...     "robust": None, "adjusted_p": 0.5, "censored": 0, "axes": {"distance": dict.fromkeys(NUMBERS, 1)}}
    >>> latex(contrasts_table({"controls": [], "contrasts": [verdict]})).splitlines()[4].split(" & ")[-2:]
    ['equivalent', 'unknown \\\\\\\\']
    """
    chosen = [
        "contrast",
        "dataset",
        "endpoint",
        "pairs",
        "mean",
        "low",
        "high",
        "d_z",
        "adjusted_p",
        "judgement",
        "robust",
    ]
    rows = table[table["judgement"].notna()][chosen].astype({"pairs": int})
    for name in ("mean", "low", "high", "d_z"):
        rows[name] = rows[name].astype(float).map(_signed)
    rows["adjusted_p"] = rows["adjusted_p"].astype(float).map(_p_value)
    titled = rows.rename(columns={"d_z": "$d_z$", "adjusted_p": "adjusted $p$"})
    return titled.to_latex(index=False, escape=False, na_rep="--", formatters=dict.fromkeys(TEXTS, _escaped))


def _signed(value: float) -> str:
    """Two significant digits and two decimals in LaTeX's mathematics, without an exponent down to 1e-6.

    >>> _signed(-0.0001234), _signed(2.304), _signed(float("nan"))
    ('$-0.00012$', '$2.30$', '--')
    """
    if not math.isfinite(value):
        return "--"
    digits = max(2, 1 - math.floor(math.log10(abs(value)))) if abs(value) > TINY else 2
    return f"${value:.{digits}f}$"


def _p_value(value: float) -> str:
    """As papers give it.

    >>> _p_value(0.0004), _p_value(0.0213), _p_value(float("nan"))
    ('$<0.001$', '$0.021$', '--')
    """
    if math.isnan(value):
        return "--"
    return "$<0.001$" if value < 0.001 else f"${value:.3f}$"


def _escaped(text: str) -> str:
    """Text as LaTeX prints it.

    >>> _escaped("A & B_1 % #")
    'A \\\\& B\\\\_1 \\\\% \\\\#'
    """
    return re.sub(r"([&%$#_{}])", r"\\\1", text)
