"""Values that are the bound of a search and not where it came to rest: all that they say is an inequality."""

from __future__ import annotations

from collections.abc import Mapping

from transformer_spectrum.spectra.analysis import MANY_SPIKES


def bounds(
    values: Mapping[str, float], reasons: Mapping[str, str], shape: tuple[int, int], min_tail: int
) -> dict[str, str]:
    """The metrics of one matrix whose search ended at its bound, and the inequality that is left of them.

    - `mp_spikes`: at floor(r / 2), the most that are counted, with the next eigenvalue above the edge too. It has no
      value then, nor has any metric of the bulk: see `random_matrix.fit_bulk`.
    - `ks_tail`: at `min_tail`, the fewest that are allowed. A larger xmin was never tried, so that alpha, xmin and D
      are those of the shortest tail and not of the best one.

    Args:
        values: metric -> value, NaN where there is a reason; needs `ks_tail`.
        reasons: metric -> reason or empty text; needs `mp_spikes`.
        shape: rows and columns of the matrix.
        min_tail: `Estimators.min_tail`; count.
    Returns:
        Metric -> such as "≥ 192" or "≤ 8"; empty where no search ended at its bound.

    >>> bounds({"ks_tail": 8.0}, {"mp_spikes": ""}, (64, 64), min_tail=8)
    {'ks_tail': '≤ 8'}
    """
    inequalities = {}
    if values["ks_tail"] == min_tail:
        inequalities["ks_tail"] = f"≤ {min_tail}"
    if reasons["mp_spikes"] == MANY_SPIKES:
        inequalities["mp_spikes"] = f"≥ {min(shape) // 2}"
    return inequalities
