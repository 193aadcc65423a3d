"""The contrasts as a table for a paper, CSV and LaTeX."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

NUMBERS = ("pairs", "mean", "low", "high", "hodges_lehmann", "d_z", "p_value")


def contrasts_table(verdicts: Mapping[str, Any]) -> pd.DataFrame:
    """A row a contrast, endpoint and axis, controls first.

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
            verdict["judgement"],
            {True: "yes", False: "no", None: "unknown"}[verdict["robust"]],
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
    ['null', 'unknown \\\\\\\\']
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
    rows = table[table["adjusted_p"].notna()][chosen]
    return rows.to_latex(index=False, escape=True, float_format="%.3f", na_rep="--")
