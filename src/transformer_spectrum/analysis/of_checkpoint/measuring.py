"""One matrix of a checkpoint: its spectrum, its metrics, and those of the same entries in random places."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from torch import Tensor

from transformer_spectrum.analysis.of_checkpoint.results import MeasuredMatrix
from transformer_spectrum.analysis.of_checkpoint.settings import ExaminationSettings
from transformer_spectrum.runtime.seeds import numpy_generator, torch_generator
from transformer_spectrum.spectra import nulls
from transformer_spectrum.spectra.analysis import METRICS, analyze
from transformer_spectrum.spectra.effects import effect
from transformer_spectrum.spectra.spike_or_tail import spike_or_tail
from transformer_spectrum.spectra.weightwatcher import kernel_slices
from transformer_spectrum.weights.matrices.entries import numbers
from transformer_spectrum.weights.matrices.large import shuffled_in_pieces, spectrum_in_pieces
from transformer_spectrum.weights.matrices.matrix import Matrix, spectrum

LARGE = 1 << 21  # entries above which one matrix at a time is decomposed in pieces, on the chosen device
NULL_BUDGET = 1 << 36  # products spent on the shuffles of one matrix


def measure(matrix: Matrix, entries: Tensor, settings: ExaminationSettings) -> MeasuredMatrix:
    """One matrix and its shuffles.

    Args:
        matrix: which it is.
        entries: (rows, columns) finite, on the CPU, any floating or complex type.
        settings: how.

    >>> import torch
    >>> from transformer_spectrum.spectra.analysis import Estimators
    >>> from transformer_spectrum.weights.matrices.families import Family
    >>> matrix = Matrix("head", Family("readout"), "head", (2, 2))
    >>> measured = measure(matrix, torch.diag(torch.tensor([3.0, 4.0])), ExaminationSettings(Estimators(), shuffles=0))
    >>> measured.singular_values, measured.values["stable_rank"]
    (array([4., 3.]), 1.5625)
    """
    draws = draws_of(matrix.shape, settings.shuffles)
    purpose = f"shuffles of {matrix.name}"
    large = matrix.entries > LARGE
    values = spectrum_in_pieces(entries, settings.device) if large else spectrum(numbers(entries[None], matrix.name))[0]
    if not draws:
        shuffled = np.empty((0, len(values)))
    elif large:
        shuffled = shuffled_in_pieces(entries, draws, numpy_generator(settings.seed, purpose), settings.device)
    else:
        shuffled = nulls.shuffled_singular_values(entries[None], draws, torch_generator(settings.seed, purpose))[:, 0]
    spectra = np.concatenate([values[None], shuffled])[:, None]  # (1 + D, 1, r)
    analysis = analyze(spectra, np.array([matrix.shape]), settings.estimators)
    own, drawn = ({name: analysis.values[name][rows, 0] for name in METRICS} for rows in (0, slice(1, None)))
    return MeasuredMatrix(
        matrix,
        values,
        _compact(shuffled),
        {name: float(own[name]) for name in METRICS},
        {name: analysis.reason(name, 0, 0) for name in METRICS},
        {name: effect(name, own[name], drawn[name]) for name in METRICS},
        spike_or_tail(values, matrix.shape, seed=settings.seed),
    )


def _compact(values: np.ndarray) -> np.ndarray:
    """As float32, half the memory, where that holds them all."""
    single, positive = np.finfo(np.float32), values[values > 0]
    holds = not len(positive) or (positive.min() >= single.tiny and positive.max() <= single.max)
    return values.astype(np.float32) if holds else values


def draws_of(shape: tuple[int, int], shuffles: int) -> int:
    """Shuffles of a matrix: as many as asked for, fewer when they would cost above NULL_BUDGET, at least 3 unless 0.

    >>> draws_of((64, 64), 20), draws_of((4096, 4096), 20), draws_of((4096, 4096), 0)
    (20, 3, 0)
    """
    if not shuffles:
        return 0
    cost = shape[0] * shape[1] * min(shape)
    return max(nulls.DRAWS_MINIMUM, min(shuffles, NULL_BUDGET // cost))


def with_slices(measured: MeasuredMatrix, kernel: Tensor) -> MeasuredMatrix:
    """The matrix of a kernel with the spectra of its positions beside its own.

    >>> import torch
    >>> with_slices(examination.matrices[0], torch.ones(8, 3, 2, 2)).slices.shape
    (4, 3)
    """
    slices = spectrum(kernel_slices(numbers(kernel, measured.matrix.name)))
    return replace(measured, slices=slices, slice_shape=(kernel.shape[0], kernel.shape[1]))
