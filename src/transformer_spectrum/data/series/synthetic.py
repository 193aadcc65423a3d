"""Synthetic series, read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from transformer_spectrum.data.series.entity_series import Series
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.parsing import read_npy


def read_synthetic(path: Path) -> list[Series]:
    """The series of an array (series, steps, features) of finite numbers.

    Raises:
        InputError: the file is missing, corrupt or holds something else.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile(suffix=".npy") as file:
    ...     np.save(file.name, np.zeros((2, 5, 1)))
    ...     [entity_series.entity for entity_series in read_synthetic(Path(file.name))]
    ['0', '1']
    """
    values = read_npy(path, "run dvc repro -f synthesize", "run the stage that writes it (dvc repro synthesize)")
    if values.dtype.kind not in "iuf":
        raise InputError(f"{path}: an array of {values.dtype}; must be of numbers")
    if values.ndim != 3 or not np.isfinite(values).all():
        raise InputError(f"{path}: must be a finite array (series, steps, features), got shape {values.shape}")
    width = len(str(len(values) - 1))
    return [Series(f"{i:0{width}d}", 0, steps) for i, steps in enumerate(values)]
