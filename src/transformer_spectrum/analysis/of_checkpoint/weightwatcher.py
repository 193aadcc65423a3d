"""The numbers that WeightWatcher gives of a checkpoint's matrices, beside the null of its alpha."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from transformer_spectrum.analysis.of_checkpoint.results import Examination, MeasuredMatrix
from transformer_spectrum.spectra.effects import effect
from transformer_spectrum.spectra.weightwatcher import spectrum_details

NULL = ("null_draws", "alpha_null", "alpha_null_sd", "alpha_difference", "alpha_deviations")
KERNEL = "the positions of a kernel are not shuffled"


def details(examination: Examination) -> Iterator[tuple[dict[str, Any], dict[str, str]]]:
    """Column -> value and column -> reason of every matrix, in the examination's order; no value, no entry.

    Matrices of the same entries, measured once, have a row each, as there.

    >>> values, reasons = next(details(examination))
    >>> values["longname"], values["layer_type"], values["N"], values["M"]
    ('decoder.0.feed_forward.down', 'dense', 32, 16)
    """
    number = 0
    for matrix in examination.matrices:
        values, reasons = _of_spectrum(matrix)
        values |= {"layer_type": _layer_type(matrix), "family": matrix.matrix.family.label}
        if examination.has_null:
            compared, reason = _null(matrix, values.get("alpha", math.nan))
            values |= {name: value for name, value in compared.items() if np.isfinite(value)}
            reasons |= {name: reason for name in NULL if name not in values}
        names = (matrix.matrix.name, *matrix.same)
        for name in names:
            number += 1
            twins = " ".join(twin for twin in names if twin != name)
            yield {**values, "layer_id": number, "name": name, "longname": name, "same_entries_as": twins}, reasons


def _of_spectrum(matrix: MeasuredMatrix) -> tuple[dict[str, Any], dict[str, str]]:
    if matrix.slices is not None and matrix.slice_shape is not None:
        return spectrum_details(matrix.slices, matrix.slice_shape)
    return spectrum_details(matrix.singular_values[None], matrix.matrix.shape)


def _layer_type(matrix: MeasuredMatrix) -> str:
    if matrix.slices is not None:
        return "conv2d"
    return "embedding" if matrix.matrix.family.label.endswith("embedding") else "dense"


def _null(matrix: MeasuredMatrix, alpha: float) -> tuple[dict[str, float], str]:
    """NULL's values, and why there are none: the same estimate of the matrix with shuffled entries."""
    if matrix.slices is not None:
        return {}, KERNEL
    drawn = [
        spectrum_details(values[None], matrix.matrix.shape)[0].get("alpha", math.nan) for values in matrix.shuffled
    ]
    against = effect("ks_alpha", np.array(alpha), np.array(drawn))
    compared = dict(zip(NULL[1:], map(float, against[:4]), strict=True))
    return {"null_draws": len(drawn), **compared}, str(against.reason)
