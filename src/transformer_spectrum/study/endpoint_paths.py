"""One training as a path of a study's endpoints: what `inference.matching` takes where an axis is held equal."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from transformer_spectrum.analysis.comparison.endpoints import CHANGE
from transformer_spectrum.analysis.comparison.family_distance import relative_distance
from transformer_spectrum.analysis.comparison.trajectory import Method, Trajectory
from transformer_spectrum.analysis.of_training.circuits import named_weights
from transformer_spectrum.analysis.of_training.nulls import NullDraws
from transformer_spectrum.analysis.of_training.summary import analyzed, estimators_of
from transformer_spectrum.analysis.of_training.thinning import tracked_of
from transformer_spectrum.analysis.of_training.tracked_steps import entries, farms_of, recorded_matrices, spectra_of
from transformer_spectrum.analysis.of_training.vectors import overlaps_at
from transformer_spectrum.config.schema import SpectraParams
from transformer_spectrum.runtime.seeds import torch_generator
from transformer_spectrum.spectra.circuits import circuit_metrics
from transformer_spectrum.spectra.forecaster_circuits import KINDS, ForecasterCircuits, forecaster_circuits
from transformer_spectrum.study.inference.endpoints import (
    CHANGE_RANK,
    ENDPOINTS,
    PATH_RANK,
    change_log_stable_rank,
    group_mean,
    grouped,
    log_relative_norm,
    path_log_stable_rank,
)
from transformer_spectrum.training.records.history import History
from transformer_spectrum.training.records.snapshots import Snapshots

OF_WEIGHTS = (
    PATH_RANK,
    *(f"{kind}_spectral_entropy" for kind in KINDS),
    "overlap_left",
    "overlap_right",
    "farms_alpha",
)
"""What needs entries, which are kept at the tracked steps alone."""
PATH_COLUMNS = ("updates", "evaluations", "validation_mae", "distance", *(each.name for each in ENDPOINTS))
"""Of the table of a path, a row a record."""


def endpoint_path(
    history: History,
    snapshots: Snapshots,
    spectra: SpectraParams,
    *,
    optimizer: str,
    heads: int,
    name: str,
    method: Method,
    dataset: str,
    seed: int,
    loss: str = "",
) -> Trajectory:
    """Every endpoint of a training at every record that has it.

    What singular values give is there at every record; the null of W, circuits, overlaps and FARMS alpha at the tracked
    steps, which have weights. The distance is that of all feed-forward and attention matrices (of an LSTM: gates)
    together. Of the nulls that `analysis.of_training` draws only the one that an endpoint needs is drawn here.

    Args:
        history: of the training.
        snapshots: its weights at the tracked steps.
        spectra: settings of the estimators, and how many shuffles.
        optimizer: the section that trained it, which names the random streams as in `analysis.of_training`.
        heads: of the attention layers.
        name: of the arm.
        method: whether updates follow gradients.
        dataset: identity of its data; only trainings on the same one are matched.
        seed: of the training.
        loss: what was minimised, type and settings.
    Returns:
        The path, with a metric for every name in `inference.endpoints.ENDPOINTS`; NaN = no value at that record.
    Raises:
        InputError: a tracked step has no weights.

    >>> history, snapshots = History.load("models/es/history.npz"), Snapshots.load("models/es/snapshots.safetensors")
    >>> names = {"optimizer": "es", "name": "es-mse", "method": "population", "dataset": "light", "seed": 1}
    >>> path = endpoint_path(history, snapshots, params.spectra, heads=4, **names)
    >>> path, len(path.metrics) == len(ENDPOINTS)
    (Trajectory(es-mse, seed 1: 5 records to update 4), True)
    """
    families = history.families.tolist()
    values = analyzed(history, estimators_of(spectra)).values
    members = np.array(sorted(position for positions in grouped(families) for position in positions))
    distance = relative_distance(history, members)
    norms = log_relative_norm(values[f"{CHANGE}spectral_norm"], values["spectral_norm"][0])
    metrics = {
        CHANGE_RANK: change_log_stable_rank(values[f"{CHANGE}stable_rank"], families),
        "log_relative_norm": group_mean(norms, families),
        "log_distance": np.log(distance, out=np.full_like(distance, np.nan), where=distance > 0),
        **_of_weights(history, snapshots, spectra, optimizer, heads, seed),
    }
    return Trajectory(
        name=name,
        method=method,
        dataset=dataset,
        updates=history.steps,
        evaluations=history.evaluations,
        validation_mae=history.validation_mae,
        distance=distance,
        metrics={
            each.name: metrics[each.name] if each.name in metrics else group_mean(values[each.name], families)
            for each in ENDPOINTS
        },
        seed=seed,
        loss=loss,
        influence_cosine=float(history.influence_cosine[history.steps == history.best_step][0]),
    )


def path_rows(path: Trajectory) -> Iterator[tuple[int | str, ...]]:
    """PATH_COLUMNS of every record; nine digits of a number, as many as a float32 has, and nothing where it is none.

    >>> path = Trajectory("adam-mse", "gradient", "light", [0, 1], [1, 4], [0.9, 0.7], [0, 0.1],
    ...     {each.name: [np.nan, 2 / 3] for each in ENDPOINTS})
    >>> [row[:6] for row in path_rows(path)]
    [(0, 1, '0.9', '0', '', ''), (1, 4, '0.7', '0.1', '0.666666667', '0.666666667')]
    """
    counts = (path.along(axis).astype(int).tolist() for axis in ("updates", "evaluations"))
    columns = [path.along("validation_mae"), path.along("distance"), *(path.metric(each.name) for each in ENDPOINTS)]
    numbers = ([f"{value:.9g}" if np.isfinite(value) else "" for value in column] for column in columns)
    return zip(*counts, *numbers, strict=True)


def _of_weights(
    history: History, snapshots: Snapshots, spectra: SpectraParams, optimizer: str, heads: int, seed: int
) -> dict[str, np.ndarray]:
    """The endpoints that need entries, NaN but at the tracked steps."""
    families, tracked = history.families.tolist(), tracked_of(history, spectra)
    specs = recorded_matrices(history, heads=0)
    start = [matrix.astype(np.float64) for matrix in entries(snapshots, 0, specs)]
    nulls = NullDraws(start, spectra.shuffles, estimators_of(spectra))
    columns = {name: np.full(len(history.steps), np.nan) for name in OF_WEIGHTS}
    for record, step in zip(tracked, history.steps[tracked].tolist(), strict=True):
        matrices = [matrix.astype(np.float64) for matrix in entries(snapshots, step, specs)]
        changes = [matrix - first for matrix, first in zip(matrices, start, strict=True)]
        drawn = nulls.path(changes, torch_generator(seed, f"path {optimizer} {step}"))
        ranks, null_ranks = (
            nulls.metrics(spectra).values["stable_rank"] for spectra in (spectra_of(matrices)[None], drawn)
        )
        overlaps = overlaps_at(start, changes, spectra.overlap_rank)
        columns[PATH_RANK][record] = path_log_stable_rank(ranks, null_ranks[:, None], families).item()
        for name, of_matrices in (
            ("overlap_left", overlaps.left),
            ("overlap_right", overlaps.right),
            ("farms_alpha", farms_of(matrices, spectra.farms_size)[0]),
        ):
            columns[name][record] = group_mean(of_matrices[None], families).item()
        products = forecaster_circuits(named_weights(snapshots, step), heads)
        for kind in KINDS:
            columns[f"{kind}_spectral_entropy"][record] = _mean_entropy(products, kind)
    return columns


def _mean_entropy(products: ForecasterCircuits, kind: str) -> float:
    """Of the circuits of a kind with the gains of the norms that they read; NaN where there are none."""
    positions = [place for place, circuit in enumerate(products.circuits) if circuit.kind == kind]
    if not positions:
        return float("nan")
    entropies = circuit_metrics(products.folded[positions]).values["spectral_entropy"]
    entropies = entropies[np.isfinite(entropies)]
    return float(entropies.mean()) if len(entropies) else float("nan")
