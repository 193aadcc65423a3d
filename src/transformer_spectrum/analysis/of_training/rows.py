"""Tables put together of blocks of rows, and taken apart again for CSV."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from transformer_spectrum.spectra.effects import Effect

TEXT, NUMBER = object, np.float64
CATEGORIES = (
    "optimizer",
    "matrix",
    "family",
    "metric",
    "null",
    "reason",
    "bounds",
    "missing",
    "tail_verdict",
    "tail_reason",
)
"""Columns of text that a long table repeats."""


def stacked(columns: Sequence[str], blocks: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """One table of blocks of rows, one below the other.

    Args:
        columns: names, in order; every block has them all.
        blocks: column -> values of the block's rows, (n,), or one value that all of its rows have.
    Returns:
        Whole numbers as int64, others as float64, text as objects; NaN where a number is missing.

    >>> stacked(("family", "step"), [{"family": "readout", "step": [0, 1]}, {"family": "gates", "step": [0]}])
        family  step
    0  readout     0
    1  readout     1
    2    gates     0
    """
    parts: dict[str, list[np.ndarray]] = {name: [] for name in columns}
    for block in blocks:
        arrays = [_column(block[name]) for name in columns]
        length = np.broadcast_shapes(*(array.shape for array in arrays), (1,))[0]
        if length and all(array.size for array in arrays):
            for name, array in zip(columns, arrays, strict=True):
                parts[name].append(np.broadcast_to(array, length))
    return pd.DataFrame({name: np.concatenate(arrays) if arrays else [] for name, arrays in parts.items()})


def _column(values: Any) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind in "iub":
        return array.astype(np.int64)
    return array.astype(NUMBER if array.dtype.kind == "f" else TEXT)


def cells(table: pd.DataFrame) -> Iterator[tuple[Any, ...]]:
    """The rows as CSV takes them: plain Python values, empty text where a number is missing.

    >>> list(cells(pd.DataFrame({"step": [0, 1], "value": [0.5, np.nan]})))
    [(0, 0.5), (1, '')]
    """
    return table.astype(TEXT).where(table.notna(), "").itertuples(index=False, name=None)


def with_categories(table: pd.DataFrame) -> pd.DataFrame:
    """Repeated text as categories, in the order in which they come.

    >>> with_categories(pd.DataFrame({"family": ["readout", "gates", "readout"]}))["family"].cat.categories.tolist()
    ['readout', 'gates']
    """
    for name in table.columns.intersection(list(CATEGORIES)):
        codes, categories = pd.factorize(table[name])
        table[name] = pd.Categorical.from_codes(codes, categories)
    return table


def finite(values: np.ndarray | float) -> np.ndarray:
    """NaN in the place of infinity too: a table has a number or none.

    >>> finite(np.array([1.0, np.inf]))
    array([ 1., nan])
    """
    return np.where(np.isfinite(values), values, np.nan)


def effect_columns(against: Effect) -> dict[str, np.ndarray]:
    """Columns of an effect beside its null, as every table of them has them.

    >>> from transformer_spectrum.spectra.effects import effect
    >>> effect_columns(effect("stable_rank", np.array([5.0]), np.array([[1.0], [2.0], [3.0]])))["deviations"]
    array([3.])
    """
    names = ("null_mean", "null_sd", "difference", "deviations")
    return {**{name: finite(getattr(against, name)) for name in names}, "reason": against.reason}
