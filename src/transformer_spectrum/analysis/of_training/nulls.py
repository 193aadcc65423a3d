"""Metrics of the nulls of trained matrices and of their changes, matrix by matrix and draw by draw."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import torch

from transformer_spectrum.analysis.comparison.endpoints import CHANGE
from transformer_spectrum.spectra import nulls
from transformer_spectrum.spectra.analysis import NOT_RECORDED, REASONS, Analysis, Estimators, analyze
from transformer_spectrum.weights.matrices.shapes import by_shape

STEP = "step_"
"""Before the name of a metric: of the step from the record before."""
WEIGHT_NULLS = ("path", "shuffled", "initial")
"""Of W_t: W_0 plus its change with shuffled entries; W_t with shuffled entries; W_0 with shuffled entries."""
CHANGE_NULLS = ("change_shuffled", "change_signs")
"""Of the change: its entries shuffled; its entries with random signs."""


def main_null(metric: str) -> str:
    """The null that an effect is told against, in text, tables and pictures alike.

    >>> main_null("stable_rank"), main_null("change_stable_rank")
    ('path', 'change_shuffled')
    """
    return CHANGE_NULLS[0] if metric.startswith(CHANGE) else WEIGHT_NULLS[0]


def null_of_alpha(step: int) -> str:
    """The null that a fitted alpha stands beside: `path`, but at step 0, where that is W_0 itself, `initial`.

    >>> null_of_alpha(0), null_of_alpha(7)
    ('initial', 'path')
    """
    return "initial" if step == 0 else WEIGHT_NULLS[0]


def nulls_of(metric: str) -> tuple[str, ...]:
    """All nulls of a metric, the main one first.

    >>> nulls_of("stable_rank"), nulls_of("change_stable_rank")
    (('path', 'shuffled', 'initial'), ('change_shuffled', 'change_signs'))
    """
    return CHANGE_NULLS if metric.startswith(CHANGE) else WEIGHT_NULLS


def prefixed(analysis: Analysis, prefix: str) -> Analysis:
    """The same with a prefix before the names of the metrics.

    >>> analysis = Analysis({"stable_rank": np.ones((1, 1))}, {"stable_rank": np.zeros((1, 1), np.uint8)})
    >>> prefixed(analysis, CHANGE).values
    {'change_stable_rank': array([[1.]])}
    """
    return Analysis(
        *({f"{prefix}{name}": array for name, array in part.items()} for part in (analysis.values, analysis.codes))
    )


def joined(*analyses: Analysis) -> Analysis:
    """Metrics of several analyses of the same steps and matrices together.

    >>> weights = Analysis({"stable_rank": np.ones((1, 1))}, {"stable_rank": np.zeros((1, 1), np.uint8)})
    >>> list(joined(weights, prefixed(weights, CHANGE)).values)
    ['stable_rank', 'change_stable_rank']
    """
    values = {name: array for analysis in analyses for name, array in analysis.values.items()}
    return Analysis(values, {name: array for analysis in analyses for name, array in analysis.codes.items()})


def spread(analysis: Analysis, recorded: np.ndarray) -> Analysis:
    """An analysis of some steps among all of them.

    Args:
        analysis: of the steps that were recorded.
        recorded: (S,) whether each was.

    >>> analysis = Analysis({"stable_rank": np.ones((1, 1))}, {"stable_rank": np.zeros((1, 1), np.uint8)})
    >>> spread(analysis, np.array([False, True])).values["stable_rank"].tolist()
    [[nan], [1.0]]
    >>> spread(analysis, np.array([False, True])).reason("stable_rank", 0, 0) == NOT_RECORDED
    True
    """
    code = REASONS.index(NOT_RECORDED)

    def among_all(array: np.ndarray, nothing: float) -> np.ndarray:
        whole = np.full((len(recorded), *array.shape[1:]), nothing, dtype=array.dtype)
        whole[recorded] = array
        return whole

    values = {name: among_all(array, np.nan) for name, array in analysis.values.items()}
    return Analysis(values, {name: among_all(array, code) for name, array in analysis.codes.items()})


def padded(matrices: Sequence[np.ndarray], function: Callable[[list[int]], np.ndarray]) -> np.ndarray:
    """(D, M, R): what `function` makes of the positions of the matrices of one shape, (D, m, r), padded with NaN.

    >>> matrices = [np.diag([4.0, 3.0]), np.ones((1, 4))]
    >>> padded(matrices, lambda at: np.stack([np.linalg.svd(matrices[i], compute_uv=False) for i in at])[None]).round(6)
    array([[[ 4.,  3.],
            [ 2., nan]]])
    """
    classes = by_shape((matrix.shape for matrix in matrices), oriented=True)
    results = {shape: function(positions) for shape, positions in classes.items()}
    draws = len(next(iter(results.values())))
    values = np.full((draws, len(matrices), max(min(matrix.shape) for matrix in matrices)), np.nan)
    for shape, positions in classes.items():
        values[:, positions, : min(shape)] = results[shape]
    return values


class NullDraws:
    """Draws from the nulls of the matrices of one training.

    Args:
        initial: W_0, M matrices.
        draws: of each null and matrix; count.
        estimators: of the metrics.
    """

    def __init__(self, initial: Sequence[np.ndarray], draws: int, estimators: Estimators) -> None:
        self._initial, self._draws, self._estimators = initial, draws, estimators
        self._shapes = np.array([matrix.shape for matrix in initial])

    def metrics(self, spectra: np.ndarray, stored: np.ndarray | None = None) -> Analysis:
        """Metrics of (D, M, R) spectra, the draws in the place of steps; `stored` as in `analyze`."""
        return analyze(spectra, self._shapes, self._estimators, stored=stored)

    def metrics_at_steps(
        self, spectra: Sequence[np.ndarray], stored: Sequence[np.ndarray] | None = None
    ) -> tuple[Analysis, ...]:
        """`metrics` of the draws at each of several steps, all at once, which is sooner."""
        if not spectra:
            return ()
        whole = None if stored is None else np.repeat(np.stack(stored), self._draws, axis=0)
        together = self.metrics(np.concatenate(spectra), whole)

        def of_step(arrays: Mapping[str, np.ndarray], position: int) -> dict[str, np.ndarray]:
            return {name: array[position * self._draws :][: self._draws] for name, array in arrays.items()}

        return tuple(
            Analysis(of_step(together.values, position), of_step(together.codes, position))
            for position in range(len(spectra))
        )

    def shuffled(self, matrices: Sequence[np.ndarray], generator: torch.Generator) -> np.ndarray:
        """(D, M, R) singular values of shuffled matrices."""
        return self._drawn(matrices, partial(nulls.shuffled_singular_values, draws=self._draws, generator=generator))

    def signed(self, matrices: Sequence[np.ndarray], generator: torch.Generator) -> np.ndarray:
        """(D, M, R) singular values of matrices with random signs."""
        return self._drawn(matrices, partial(nulls.signed_singular_values, draws=self._draws, generator=generator))

    def path(self, changes: Sequence[np.ndarray], generator: torch.Generator) -> np.ndarray:
        """(D, M, R) singular values of W_0 plus shuffled changes."""

        def draw(positions: list[int]) -> np.ndarray:
            start, change = (np.stack([stack[i] for i in positions]) for stack in (self._initial, changes))
            return nulls.shuffled_change_singular_values(start, change, self._draws, generator)

        return padded(changes, draw)

    @staticmethod
    def _drawn(matrices: Sequence[np.ndarray], function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        return padded(matrices, lambda positions: function(np.stack([matrices[i] for i in positions])))
