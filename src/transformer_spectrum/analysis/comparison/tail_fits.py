"""Power-law fits of the matrices of a family together: means, and how many the test does not reject."""

from __future__ import annotations

import numpy as np
import pandas as pd

from transformer_spectrum.spectra.spike_or_tail import Verdict

PLAUSIBLE = 0.1
"""Clauset et al. (2009): a bootstrap p below it rejects the power law."""
MEANS = ("ks_alpha", "null_alpha", "ks_distance", "ks_tail")
FAMILY_TAILS = (
    *("family", "larger", "smaller", "optimizer", "matrices"),
    *MEANS,
    *("plausible", "tested", "heavy", "asked"),
)


def family_tails(tails: pd.DataFrame) -> pd.DataFrame:
    """FAMILY_TAILS at each optimizer's last step: matrices of one family and shape, or their mean meant nothing.

    Args:
        tails: `long_tables.spectra_tails`.
    Returns:
        A row for each family, shape and optimizer, in the order of the table: the shape's sides, the count of matrices,
        the means of those that have a value, how many of the fits that were tested have p >= PLAUSIBLE, and how many
        of the spectra that could be asked whether spikes explain them have a heavy tail.

    >>> fits = {"matrix": ["a", "b"], "rows": [4, 8], "columns": [8, 4], "goodness_p": [0.02, 0.5]}
    >>> fits |= {"tail_verdict": [Verdict.HEAVY_TAIL.value, Verdict.NOT_TESTED.value]}
    >>> tails = pd.DataFrame(fits).assign(optimizer="es", step=9, family="readout", **dict.fromkeys(MEANS, 3.0))
    >>> family_tails(tails)[["larger", "smaller", "matrices", "plausible", "tested", "heavy", "asked"]].values.tolist()
    [[8, 4, 2, 1, 2, 1, 1]]
    """
    if tails.empty:
        return pd.DataFrame(columns=list(FAMILY_TAILS))
    last = tails[tails["step"] == tails.groupby("optimizer", observed=True)["step"].transform("max")]
    sides = np.sort(last[["rows", "columns"]], axis=1)
    table = last.assign(
        larger=sides[:, 1],
        smaller=sides[:, 0],
        tested=last["goodness_p"].notna(),
        plausible=last["goodness_p"] >= PLAUSIBLE,
        heavy=last["tail_verdict"].astype(str) == Verdict.HEAVY_TAIL.value,
        asked=last["tail_verdict"].astype(str) != Verdict.NOT_TESTED.value,
    )
    groups = table.groupby(["family", "larger", "smaller", "optimizer"], sort=False, observed=True)
    counts = {"matrices": ("matrix", "size"), "plausible": ("plausible", "sum"), "tested": ("tested", "sum")}
    counts |= {name: (name, "sum") for name in ("heavy", "asked")}
    means = {name: (name, "mean") for name in MEANS}
    return groups.agg(**counts, **means).reset_index()[list(FAMILY_TAILS)]


def rejected(tails: pd.DataFrame) -> tuple[int, int]:
    """How many power laws their own test rejects, and how many were tested.

    >>> rejected(pd.DataFrame({"goodness_p": [0.02, 0.5, np.nan]}))
    (1, 2)
    """
    tested = tails["goodness_p"].dropna()
    return int((tested < PLAUSIBLE).sum()), len(tested)
