"""Where the spectra change: the change of every matrix since step 0, from the input of the model to its output."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

TITLE = "Where the spectra change"
CHANGE = "change since step 0 (%)"
SHARE = 0.99
SMALLEST = 1e-6
TEXT = (
    "The change of every matrix since step 0, from the input (top) to the output. Red: grown; blue: shrunk; the "
    f"colours end where {100 * (1 - SHARE):.0f} % of the changes are larger."
)
PARTS = {
    "encoder.": "enc.",
    "decoder.": "dec.",
    "self_attention": "self",
    "cross_attention": "cross",
    "feed_forward": "ff",
}
"""How names of matrices are cut beside a heat map on a page."""


def limit(changes: Iterable[float]) -> float:
    """The change that all but 1 % of a metric's changes stay below, where the colours end; never 0.

    Args:
        changes: of all matrices at all steps of the table; percent.

    >>> limit([-1.0 * change for change in range(1, 101)]), limit([0.0])
    (99.0, 1e-06)
    """
    sizes = np.sort(np.abs(np.fromiter(changes, np.float64)))
    if not len(sizes):
        return SMALLEST
    return max(float(f"{sizes[int(SHARE * (len(sizes) - 1))]:.3g}"), SMALLEST)


def short_expression(name: str) -> str:
    """The name of a matrix, cut, in the language of Vega.

    Args:
        name: an expression that gives it.

    >>> short_expression("n").endswith("'cross_attention', 'cross'), 'feed_forward', 'ff')")
    True
    """
    for long, cut in PARTS.items():
        name = f"replace({name}, '{long}', '{cut}')"
    return name
