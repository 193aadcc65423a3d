"""Distances and spectra of recorded weights, those of all trainings in one batched decomposition a shape."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from transformer_spectrum.models.forecaster import Layout
from transformer_spectrum.weights.matrices.matrix import Matrix, singular_values


class Measured(NamedTuple):
    """What is recorded of weights.

    Attributes:
        distance: Euclidean, of all weights from the initial ones; weight units.
        distances: (M,) float32, see `History`.
        singular_values, change_singular_values: (M, R) float32, see `History`.
        step_singular_values: (M, R) float32; None where it was not asked for.
    """

    distance: float
    distances: np.ndarray
    singular_values: np.ndarray
    change_singular_values: np.ndarray
    step_singular_values: np.ndarray | None


class Start:
    """The initial weights of a training.

    Args:
        weights: (n,).
        layout: names the parts of the flat vector.
        matrices: those whose spectra are recorded.
    """

    def __init__(self, weights: Tensor, layout: Layout, matrices: Sequence[Matrix]) -> None:
        self.weights, self.layout, self.matrices = weights, layout, matrices
        self.norms = self._norms(weights)

    def _norms(self, weights: Tensor) -> np.ndarray:
        views = self.layout.views(weights.cpu())
        norms = [torch.linalg.vector_norm(matrix.of(views), dtype=torch.float64) for matrix in self.matrices]
        return torch.stack(norms).numpy()

    def distances(self, change: Tensor) -> np.ndarray:
        """(M,) float32 of a change of the weights, see `History`."""
        moved = self._norms(change)
        starts = self.norms > 0
        return np.divide(moved, self.norms, out=np.full(len(moved), np.nan), where=starts).astype(np.float32)


Asked = tuple[Start, Tensor, Tensor | None]
"""Start, weights, and those of the record before where the step between is measured."""


def measured(asked: Sequence[Asked], workers: int = 1) -> list[Measured]:
    """What is recorded of the weights of some trainings with the same matrices.

    Args:
        asked: one a training.
        workers: threads that share the decompositions; the result is the same for any number.

    >>> from transformer_spectrum.weights.matrices.families import Family
    >>> layout, matrices = Layout(torch.nn.Linear(2, 1, bias=False)), [Matrix("fc", Family("other"), "weight", (1, 2))]
    >>> start = Start(torch.tensor([3.0, 4.0]), layout, matrices)
    >>> values = measured([(start, torch.tensor([3.0, 0.0]), None)])[0]
    >>> values.distance, values.distances.tolist(), values.change_singular_values.tolist()
    (4.0, [0.800000011920929], [[4.0]])
    """
    vectors: list[Tensor] = []
    for start, weights, before in asked:
        vectors += [weights, weights - start.weights, *([] if before is None else [weights - before])]
    first = asked[0][0]
    flats = torch.stack(vectors).cpu()
    spectra = iter(_spectra(flats, first.layout, first.matrices, workers))
    answers, row = [], 0
    for start, _, before in asked:
        change = flats[row + 1]
        distance = torch.linalg.vector_norm(change)
        if not distance.isfinite():  # the squares of large changes do not fit float32
            distance = torch.linalg.vector_norm(change, dtype=torch.float64)
        answers.append(
            Measured(
                distance=float(distance),
                distances=start.distances(change),
                singular_values=next(spectra),
                change_singular_values=next(spectra),
                step_singular_values=None if before is None else next(spectra),
            )
        )
        row += 2 if before is None else 3
    return answers


def _spectra(flats: Tensor, layout: Layout, matrices: Sequence[Matrix], workers: int) -> list[np.ndarray]:
    """(M, R) float32 of each vector; each thread takes some of them."""
    pieces = flats.chunk(min(workers, len(flats)))

    def decompose(piece: Tensor) -> np.ndarray:
        return singular_values(layout.views(piece), matrices)

    if len(pieces) == 1:
        return list(decompose(pieces[0]))
    with ThreadPoolExecutor(len(pieces)) as pool:
        return [spectrum for spectra in pool.map(decompose, pieces) for spectrum in spectra]
