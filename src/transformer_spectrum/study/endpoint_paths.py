"""One training as a path of a study's endpoints: what `inference.matching` takes where an axis is held equal."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from transformer_spectrum.analysis.comparison.endpoints import CHANGE
from transformer_spectrum.analysis.comparison.family_distance import relative_distance
from transformer_spectrum.analysis.comparison.trajectory import Method, Trajectory
from transformer_spectrum.analysis.of_training.circuits import CircuitEvidence
from transformer_spectrum.analysis.of_training.summary import Summary
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

FOLDED = True
"""Circuits are taken with the gains of the norms that they read, as the model computes them."""

PATH_COLUMNS = ("updates", "evaluations", "validation_mae", "distance", *(each.name for each in ENDPOINTS))
"""Of the table of a path, a row a record."""


def endpoint_path(
    summary: Summary, *, name: str, method: Method, dataset: str, seed: int, loss: str = ""
) -> Trajectory:
    """Every endpoint of a training at every record that has it.

    What singular values give is there at every record; nulls, circuits, overlaps and FARMS alpha at the tracked steps,
    which have weights. The distance is that of all feed-forward and attention matrices (of an LSTM: gates) together.

    Args:
        summary: of the training, with its nulls.
        name: of the arm.
        method: whether updates follow gradients.
        dataset: identity of its data; only trainings on the same one are matched.
        seed: of the training.
        loss: what was minimised, type and settings.
    Returns:
        The path, with a metric for every name in `inference.endpoints.ENDPOINTS`; NaN = no value at that record.

    >>> path = endpoint_path(summaries["adam"], name="adam-mse", method="gradient", dataset="light", seed=1)
    >>> path, len(path.metrics) == len(ENDPOINTS)
    (Trajectory(adam-mse, seed 1: 4 records to update 3), True)
    """
    history, evidence = summary.history, summary.evidence
    families, matrices = history.families.tolist(), len(history.names)
    values = summary.analysis.values
    members = np.array(sorted(position for positions in grouped(families) for position in positions))
    distance = relative_distance(history, members)

    def at_tracked(of_step: Callable[[int], np.ndarray | float]) -> np.ndarray:
        column = np.full(len(history.steps), np.nan)
        for position, record in enumerate(summary.tracked):
            column[record] = np.asarray(of_step(position)).item()
        return column

    def path_rank(position: int) -> np.ndarray:
        rank = evidence.observed.values["stable_rank"][position, None, :matrices]
        draws = evidence.nulls["path"][position].values["stable_rank"][:, None, :matrices]
        return path_log_stable_rank(rank, draws, families)

    def of_matrices(columns: np.ndarray) -> np.ndarray:
        return group_mean(columns[None, :matrices], families)

    norms = log_relative_norm(values[f"{CHANGE}spectral_norm"], values["spectral_norm"][0])
    metrics = {
        CHANGE_RANK: change_log_stable_rank(values[f"{CHANGE}stable_rank"], families),
        PATH_RANK: at_tracked(path_rank),
        "log_relative_norm": group_mean(norms, families),
        "log_distance": np.log(distance, out=np.full_like(distance, np.nan), where=distance > 0),
        "query_key_spectral_entropy": at_tracked(lambda at: _entropy(evidence.circuits[at], "query_key")),
        "output_value_spectral_entropy": at_tracked(lambda at: _entropy(evidence.circuits[at], "output_value")),
        "overlap_left": at_tracked(lambda at: of_matrices(evidence.overlaps[at].left)),
        "overlap_right": at_tracked(lambda at: of_matrices(evidence.overlaps[at].right)),
        "farms_alpha": at_tracked(lambda at: of_matrices(evidence.farms[at])),
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


def _entropy(circuits: CircuitEvidence, kind: str) -> float:
    """Mean spectral entropy of the circuits of a kind; NaN where there are none."""
    positions = [place for place, circuit in enumerate(circuits.circuits) if circuit.kind == kind]
    if not positions:
        return float("nan")
    entropies = circuits.observed[FOLDED].values["spectral_entropy"][positions]
    entropies = entropies[np.isfinite(entropies)]
    return float(entropies.mean()) if len(entropies) else float("nan")
