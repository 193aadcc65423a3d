"""What the entries of the weights say beyond their singular values: nulls, heads, submatrices, directions, tails.

All of it is computed at the tracked steps, whose weights the trainings keep.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from transformer_spectrum.analysis.comparison.endpoints import CHANGE
from transformer_spectrum.analysis.of_training.circuits import CircuitEvidence, circuits_at
from transformer_spectrum.analysis.of_training.nulls import CHANGE_NULLS, NullDraws, joined, padded, prefixed
from transformer_spectrum.analysis.of_training.tails import TailTests, tail_of
from transformer_spectrum.analysis.of_training.vectors import Overlaps, overlaps_at
from transformer_spectrum.config.schema import SpectraParams
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.progress import Progress
from transformer_spectrum.runtime.seeds import numpy_generator, torch_generator
from transformer_spectrum.spectra import submatrices
from transformer_spectrum.spectra.analysis import Analysis, Estimators, analyze
from transformer_spectrum.training.records.history import History
from transformer_spectrum.training.records.snapshots import Snapshots
from transformer_spectrum.weights.matrices.families import of_forecaster
from transformer_spectrum.weights.matrices.heads import heads as heads_of
from transformer_spectrum.weights.matrices.matrix import Matrix, spectrum
from transformer_spectrum.weights.matrices.shapes import by_shape

NO_WINDOW = "no room for the submatrices"


@dataclass(frozen=True)
class Evidence:
    """One optimizer's training at its K tracked steps.

    Attributes:
        specs: M matrices, those of the history first and in its order; heads, when asked for, behind them.
        steps: (K,) tracked steps.
        observed: metrics of the matrices and, under names that begin with "change_", of their changes since step 0; K
            in the place of steps.
        nulls: name of a null, of `nulls.WEIGHT_NULLS` or `nulls.CHANGE_NULLS` -> K times the metrics of its draws, the
            draws in the place of steps.
        shuffled_change: (K, M, R) mean singular values of the changes with shuffled entries, padded with NaN.
        farms: (K, M) FARMS alpha, NaN exactly where `farms_reason` is not empty.
        farms_reason: (K, M) text.
        overlaps: K times how the directions of the changes lie to those of W_0.
        circuits: K times the products of each attention head; none in models without attention.
        tails: position -> M tails, for the first and the last of the steps.
    """

    specs: tuple[Matrix, ...]
    steps: tuple[int, ...]
    observed: Analysis
    nulls: Mapping[str, tuple[Analysis, ...]]
    shuffled_change: np.ndarray
    farms: np.ndarray
    farms_reason: np.ndarray
    overlaps: tuple[Overlaps, ...]
    circuits: tuple[CircuitEvidence, ...]
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
    >>> evidence.steps, evidence.observed.values["stable_rank"].shape
    ((0, 4), (2, 9))
    """
    lacking = sorted(set(steps) - set(snapshots.steps))
    if lacking:
        raise InputError(
            f"{optimizer}: no weights kept at tracked step {lacking[0]}; spectra.tracked_every must be a multiple of "
            "training.snapshot_every"
        )
    specs = recorded_matrices(history, heads if settings.per_head else 0)
    gathering = _Gathering(optimizer, snapshots, specs, steps[0], estimators, settings, heads=heads, seed=seed)
    initial = gathering.initial_shuffles() if initial is None else initial
    ends = list(dict.fromkeys((0, len(steps) - 1)))
    with Progress(f"spectra {optimizer}", len(steps) + len(ends), unit="part") as progress:
        for position, step in enumerate(steps):
            gathering.measure(step)
            progress.update(position + 1, **_at_a_glance(history, step))
        weights = gathering.weights()
        tails = {}
        for position in ends:
            tails[position] = gathering.tails(weights, position)
            progress.update(len(steps) + len(tails), **_at_a_glance(history, steps[position]))
    return Evidence(
        specs=tuple(specs),
        steps=tuple(steps),
        observed=joined(weights, prefixed(gathering.changes(), CHANGE)),
        nulls=gathering.nulls(initial),
        shuffled_change=np.stack(gathering.references),
        farms=np.stack([alpha for alpha, _ in gathering.farms]),
        farms_reason=np.stack([reason for _, reason in gathering.farms]),
        overlaps=tuple(gathering.overlaps),
        circuits=tuple(gathering.circuits),
        tails=tails,
    )


class _Gathering:
    """What is measured step by step; positions in its lists are those of the steps.

    Args:
        start: the step that changes are counted from.
        optimizer, snapshots, estimators, settings, heads, seed: see `gather`.
        specs: the matrices.
    """

    def __init__(
        self,
        optimizer: str,
        snapshots: Snapshots,
        specs: Sequence[Matrix],
        start: int,
        estimators: Estimators,
        settings: SpectraParams,
        *,
        heads: int,
        seed: int,
    ) -> None:
        self.optimizer, self.snapshots, self.specs, self.estimators = optimizer, snapshots, specs, estimators
        self.settings, self.heads, self.seed = settings, heads, seed
        self.shapes = np.array([spec.shape for spec in specs])
        self.start = self._matrices(start)
        self.draws = NullDraws(self.start, settings.shuffles, estimators)
        self.observed: list[np.ndarray] = []
        self.moved: list[np.ndarray] = []
        self.farms: list[tuple[np.ndarray, np.ndarray]] = []
        self.drawn: dict[str, list[np.ndarray]] = {name: [] for name in ("path", "shuffled", *CHANGE_NULLS)}
        self.overlaps: list[Overlaps] = []
        self.circuits: list[CircuitEvidence] = []
        self.references: list[np.ndarray] = []

    def _matrices(self, step: int) -> list[np.ndarray]:
        return [matrix.astype(np.float64) for matrix in entries(self.snapshots, step, self.specs)]

    def initial_shuffles(self) -> Analysis:
        """Metrics of shuffles of the initial matrices."""
        return self.draws.metrics(self.draws.shuffled(self.start, torch_generator(self.seed, "shuffles initial")))

    def measure(self, step: int) -> None:
        """Spectra, nulls, submatrices, directions and circuits of one step."""
        draws, drawn, seed, stream = self.draws, self.drawn, self.seed, f"{self.optimizer} {step}"
        matrices = self._matrices(step)
        changes = [matrix - first for matrix, first in zip(matrices, self.start, strict=True)]
        self.observed.append(spectra_of(matrices))
        self.moved.append(spectra_of(changes))
        drawn["path"].append(draws.path(changes, torch_generator(seed, f"path {stream}")))
        if step > 0:
            drawn["shuffled"].append(draws.shuffled(matrices, torch_generator(seed, f"shuffles {stream}")))
        shuffled = draws.shuffled(changes, torch_generator(seed, f"change shuffles {stream}"))
        self.references.append(shuffled.mean(axis=0))
        drawn["change_shuffled"].append(shuffled)
        drawn["change_signs"].append(draws.signed(changes, torch_generator(seed, f"change signs {stream}")))
        self.farms.append(farms_of(matrices, self.settings.farms_size))
        self.overlaps.append(overlaps_at(self.start, changes, self.settings.overlap_rank))
        products = torch_generator(seed, f"circuits {stream}")
        self.circuits.append(circuits_at(self.snapshots, step, self.heads, self.settings.shuffles, products))

    def weights(self) -> Analysis:
        """Metrics of the matrices."""
        return analyze(np.stack(self.observed), self.shapes, self.estimators)

    def changes(self) -> Analysis:
        """Metrics of their changes since the start."""
        return analyze(np.stack(self.moved), self.shapes, self.estimators, stored=np.stack(self.observed))

    def tails(self, weights: Analysis, position: int) -> tuple[TailTests, ...]:
        """Of all matrices at one of the steps, from `weights()`."""
        name = self.optimizer if position else "initial"
        return tuple(
            tail_of(
                self.observed[position][matrix, : min(spec.shape)],
                weights,
                position,
                matrix,
                spec.shape,
                self.estimators,
                self.settings.bootstrap,
                numpy_generator(self.seed, f"bootstrap {name} {spec.name}"),
            )
            for matrix, spec in enumerate(self.specs)
        )

    def nulls(self, initial: Analysis) -> dict[str, tuple[Analysis, ...]]:
        """Name of a null -> metrics of its draws at each step; `initial` are `initial_shuffles()`."""
        at_steps = self.draws.metrics_at_steps
        return {
            "path": at_steps(self.drawn["path"]),
            "shuffled": (initial, *at_steps(self.drawn["shuffled"])),
            "initial": (initial,) * len(self.observed),
            **{
                name: tuple(prefixed(metrics, CHANGE) for metrics in at_steps(self.drawn[name], self.observed))
                for name in CHANGE_NULLS
            },
        }


def _at_a_glance(history: History, step: int) -> dict[str, float]:
    """Validation MAE at a step, for the progress."""
    return {"mae": float(history.validation_mae[np.flatnonzero(history.steps == step)[0]])}


def recorded_matrices(history: History, heads: int) -> list[Matrix]:
    """The history's matrices as the snapshots hold them, behind them every head of Q, K and V where `heads` > 0.

    >>> [matrix.name for matrix in recorded_matrices(summaries["es"].history, heads=0)][-1]
    'readout'
    """
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


def spectra_of(matrices: Sequence[np.ndarray]) -> np.ndarray:
    """(M, R) singular values, descending, padded with NaN.

    >>> spectra_of([np.diag([3.0, 4.0]), np.ones((1, 4))]).round(6)
    array([[ 4.,  3.],
           [ 2., nan]])
    """
    return padded(matrices, lambda positions: spectrum(np.stack([matrices[i] for i in positions]))[None])[0]


def farms_of(matrices: Sequence[np.ndarray], side: int) -> tuple[np.ndarray, np.ndarray]:
    """FARMS alpha (M,) and (M,) reasons; the side must be the same for all, or they could not be compared.

    >>> farms_of([np.eye(2)], side=4)[1].tolist()
    ['no room for the submatrices']
    """
    alpha = np.full(len(matrices), np.nan)
    reason = np.full(len(matrices), NO_WINDOW, dtype="U64")
    for shape, at in by_shape((matrix.shape for matrix in matrices), oriented=True).items():
        if submatrices.window_shape(shape, side) is not None:
            fit = submatrices.farms_alpha(np.stack([matrices[i] for i in at]), side=side)
            alpha[at], reason[at] = fit.alpha, fit.reason
    return alpha, reason
