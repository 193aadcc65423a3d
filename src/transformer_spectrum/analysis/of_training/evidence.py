"""What the entries of the weights say beyond their singular values: nulls, heads, submatrices, tests of the tails.

All of it is computed at the tracked steps, whose weights the trainings keep.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from transformer_spectrum.config.schema import SpectraParams
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.progress import Progress
from transformer_spectrum.runtime.seeds import numpy_generator, torch_generator
from transformer_spectrum.spectra import nulls, submatrices, tail_tests
from transformer_spectrum.spectra.analysis import Analysis, Estimators, analyze
from transformer_spectrum.spectra.metrics import stable_rank
from transformer_spectrum.training.records.history import History
from transformer_spectrum.training.records.snapshots import Snapshots
from transformer_spectrum.weights.matrices.families import of_forecaster
from transformer_spectrum.weights.matrices.heads import heads as heads_of
from transformer_spectrum.weights.matrices.matrix import Matrix, spectrum
from transformer_spectrum.weights.matrices.shapes import by_shape

ALTERNATIVES: tuple[tail_tests.Alternative, ...] = ("lognormal", "exponential", "truncated_power_law")
NO_WINDOW = "no room for the submatrices"
NOT_ASKED = "spectra.bootstrap = 0"


@dataclass(frozen=True)
class TailTests:
    """How well a power law describes the tail of one matrix's spectrum.

    Attributes:
        goodness: of the fit, by bootstrap; None where there is no fit or it was not asked for.
        ratios: alternative -> likelihood ratio of the power law against it; empty where there is no fit.
        reason: why something is missing, or empty.
    """

    goodness: tail_tests.GoodnessOfFit | None
    ratios: Mapping[str, tail_tests.LikelihoodRatio]
    reason: str


@dataclass(frozen=True)
class Evidence:
    """One optimizer's training at its K tracked steps.

    Attributes:
        specs: M matrices, those of the history first and in its order; heads, when asked for, behind them.
        steps: (K,) tracked steps.
        observed: metrics of the matrices themselves, K in the place of steps.
        initial: metrics of shuffles of the initial matrices, the draws in the place of steps.
        shuffled: K times the same of shuffles of that step's matrices.
        farms: (K, M) FARMS alpha, NaN exactly where `farms_reason` is not empty.
        farms_reason: (K, M) text.
        tails: position -> M tails, for the first and the last of the steps.
    """

    specs: tuple[Matrix, ...]
    steps: tuple[int, ...]
    observed: Analysis
    initial: Analysis
    shuffled: tuple[Analysis, ...]
    farms: np.ndarray
    farms_reason: np.ndarray
    tails: Mapping[int, tuple[TailTests, ...]]


def gather(
    optimizer: str,
    history: History,
    snapshots: Snapshots,
    steps: Sequence[int],
    estimators: Estimators,
    settings: SpectraParams,
    *,
    heads: int,
    seed: int,
    initial: Analysis | None = None,
) -> Evidence:
    """Everything that needs the entries of one training's matrices.

    Args:
        optimizer: its name, for progress and for the random streams.
        history: names, families and shapes of its matrices.
        snapshots: their entries.
        steps: tracked steps, ascending from 0.
        estimators: of the metrics.
        settings: how many shuffles and draws, which extras.
        heads: of the attention layers.
        seed: of shuffles and bootstraps.
        initial: metrics of shuffles of the same initial matrices, where they were computed before.
    Raises:
        InputError: a tracked step has no snapshot, or the snapshots are of other matrices.

    >>> history, snapshots = summaries["es"].history, Snapshots.load("models/es/snapshots.safetensors")
    >>> evidence = gather("es", history, snapshots, [0, 4], Estimators(), params.spectra, heads=4, seed=1)
    >>> evidence.observed.values["stable_rank"].shape, evidence.initial.values["stable_rank"].shape
    ((2, 9), (20, 9))
    """
    lacking = sorted(set(steps) - set(snapshots.steps))
    if lacking:
        raise InputError(
            f"{optimizer}: no weights kept at tracked step {lacking[0]}; spectra.tracked_every must be a multiple of "
            "training.snapshot_every"
        )
    specs = _recorded_matrices(history, heads if settings.per_head else 0)
    shapes = np.array([spec.shape for spec in specs])
    observed, shuffled, farms, farms_reason = [], [], [], []
    ends = list(dict.fromkeys((0, len(steps) - 1)))
    with Progress(f"spectra {optimizer}", len(steps) + len(ends), unit="part") as progress:
        for position, step in enumerate(steps):
            matrices = entries(snapshots, step, specs)
            observed.append(_padded(matrices, lambda stack: spectrum(stack)[None])[0])
            if step > 0 or initial is None:
                generator = torch_generator(seed, f"shuffles {optimizer} {step}" if step else "shuffles initial")
                shuffled.append(_null(matrices, settings.shuffles, generator, shapes, estimators))
            else:
                shuffled.append(initial)
            initial = shuffled[0]
            alpha, reason = _farms(matrices, settings.farms_size)
            farms.append(alpha)
            farms_reason.append(reason)
            progress.update(position + 1, **_at_a_glance(history, step, observed[-1], shapes))
        analysis = analyze(np.stack(observed), shapes, estimators)
        tails = {}
        for position in ends:
            tails[position] = tuple(
                _tail(
                    observed[position][matrix, : min(spec.shape)],
                    analysis,
                    position,
                    matrix,
                    estimators,
                    settings.bootstrap,
                    numpy_generator(seed, f"bootstrap {optimizer if position else 'initial'} {spec.name}"),
                )
                for matrix, spec in enumerate(specs)
            )
            progress.update(
                len(steps) + len(tails), **_at_a_glance(history, steps[position], observed[position], shapes)
            )
    return Evidence(
        tuple(specs),
        tuple(steps),
        analysis,
        shuffled[0],
        tuple(shuffled),
        np.stack(farms),
        np.stack(farms_reason),
        tails,
    )


def _at_a_glance(history: History, step: int, values: np.ndarray, shapes: np.ndarray) -> dict[str, float]:
    """Validation loss and mean stable rank of the square matrices at a step, for the progress."""
    at = int(np.flatnonzero(history.steps == step)[0])
    square = np.nan_to_num(values[(shapes[:, 0] == shapes[:, 1]) & (values[:, 0] > 0)])
    ranks = {"stable_rank": float(np.mean(stable_rank(square)))} if len(square) else {}
    return {"valid": float(history.validation_loss[at]), **ranks}


def _recorded_matrices(history: History, heads: int) -> list[Matrix]:
    """The history's matrices as the snapshots hold them, behind them every head of Q, K and V where `heads` > 0."""
    matrices = [
        Matrix(name, replace(of_forecaster(name), block=family), name, (rows, columns))
        for name, family, (rows, columns) in zip(
            history.names.tolist(), history.families.tolist(), history.shapes.tolist(), strict=True
        )
    ]
    return matrices + (heads_of(matrices, heads) if heads else [])


def entries(snapshots: Snapshots, step: int, specs: Sequence[Matrix]) -> list[np.ndarray]:
    """The matrices (rows, columns) at one of the kept steps.

    Raises:
        InputError: one is missing, of another shape, or not finite.

    >>> snapshots = Snapshots((0, 5), {"readout": np.array([[[1, 2]], [[3, 4]]], np.float32)})
    >>> entries(snapshots, 5, [Matrix("readout", of_forecaster("readout"), "readout", (1, 2))])
    [array([[3., 4.]], dtype=float32)]
    """
    position = snapshots.steps.index(step)
    whole = {name: stack[position] for name, stack in snapshots.weights.items()}
    matrices: list[np.ndarray] = []
    for spec in specs:
        if spec.tensor not in whole:
            raise InputError(f"{spec.tensor}: not among the kept weights; run dvc repro")
        matrix = spec.of(whole)
        if matrix.shape != spec.shape:
            raise InputError(f"{spec.name}: kept weights of shape {matrix.shape}, expected {spec.shape}; run dvc repro")
        if not np.isfinite(matrix).all():
            raise InputError(f"{spec.name}: weights at step {step} are not finite")
        matrices.append(matrix)
    return matrices


def _padded(matrices: Sequence[np.ndarray], function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """(D, M, R): what `function` makes of each stack (m, rows, columns), (D, m, r), padded with NaN."""
    classes = by_shape((matrix.shape for matrix in matrices), oriented=True)
    results = {shape: function(np.stack([matrices[i] for i in at])) for shape, at in classes.items()}
    draws = len(next(iter(results.values())))
    values = np.full((draws, len(matrices), max(min(matrix.shape) for matrix in matrices)), np.nan)
    for shape, at in classes.items():
        values[:, at, : min(shape)] = results[shape]
    return values


def _null(
    matrices: Sequence[np.ndarray],
    draws: int,
    generator: torch.Generator,
    shapes: np.ndarray,
    estimators: Estimators,
) -> Analysis:
    """Metrics of shuffles of the matrices, the draws in the place of steps."""
    values = _padded(matrices, lambda stack: nulls.shuffled_singular_values(stack, draws, generator))
    return analyze(values, shapes, estimators)


def _farms(matrices: Sequence[np.ndarray], side: int) -> tuple[np.ndarray, np.ndarray]:
    """(M,) alpha and (M,) reasons; the side must be the same for all, or they could not be compared."""
    alpha = np.full(len(matrices), np.nan)
    reason = np.full(len(matrices), NO_WINDOW, dtype="U64")
    for shape, at in by_shape((matrix.shape for matrix in matrices), oriented=True).items():
        if submatrices.window_shape(shape, side) is not None:
            fit = submatrices.farms_alpha(np.stack([matrices[i] for i in at]), side=side)
            alpha[at], reason[at] = fit.alpha, fit.reason
    return alpha, reason


def _tail(
    values: np.ndarray,
    analysis: Analysis,
    position: int,
    matrix: int,
    estimators: Estimators,
    draws: int,
    generator: np.random.Generator,
) -> TailTests:
    reason = analysis.reason("ks_alpha", position, matrix)
    if reason:
        return TailTests(None, {}, reason)
    eigenvalues = values**2
    xmin = float(analysis.values["ks_xmin"][position, matrix])
    ratios: dict[str, tail_tests.LikelihoodRatio] = {
        name: tail_tests.likelihood_ratio(eigenvalues, xmin, name) for name in ALTERNATIVES
    }
    reasons = [f"{name}: {ratio.reason}" for name, ratio in ratios.items() if ratio.reason]
    if not draws:
        return TailTests(None, ratios, "; ".join([NOT_ASKED, *reasons]))
    goodness = tail_tests.goodness_of_fit(
        eigenvalues,
        min_tail=estimators.min_tail,
        distance=estimators.ks_distance,
        draws=draws,
        generator=generator,
    )
    return TailTests(goodness, ratios, "; ".join(reasons))
