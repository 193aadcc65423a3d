"""A recorded history as a trajectory: one family of its matrices, and where each record stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from transformer_spectrum.analysis.comparison.endpoints import CHANGE, LOGARITHM
from transformer_spectrum.analysis.comparison.family_distance import relative_distance
from transformer_spectrum.analysis.comparison.trajectory import Method, Trajectory
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.spectra.analysis import METRICS, Analysis, Estimators, analyze
from transformer_spectrum.training.records.history import History
from transformer_spectrum.weights.matrices.families import moving_family
from transformer_spectrum.weights.matrices.shapes import shape_classes

METHODS: Mapping[str, Method] = {"adam": "gradient", "es": "population", "ga": "population"}
"""Each of `config.schema.OPTIMIZERS` -> what its updates are."""


def trajectory_of_history(
    history: History,
    family: str | None,
    metrics: Sequence[str],
    *,
    name: str,
    method: Method,
    dataset: str,
    seed: int = 0,
    loss: str = "",
    estimators: Estimators | None = None,
) -> Trajectory:
    """One family of a history, its metrics averaged over those of its matrices that have a value.

    Its distance is `family_distance.relative_distance`.

    Args:
        family, metrics: as in `compare`.
        name, method, dataset, seed, loss: as in `Trajectory`.
        estimators: their settings; None = `Estimators()`.
    Raises:
        InputError: no such family or metric, or a singular value that is not finite.

    >>> history = History.load("models/es/history.npz")
    >>> of_arm = {"name": "es", "method": "population", "dataset": "made up"}
    >>> path = trajectory_of_history(history, "readout", ["stable_rank"], **of_arm)
    >>> path.metric("stable_rank").round(2).tolist()
    [4.19, 4.14, 4.17, 4.21, 4.19]
    """
    classes = shape_classes(history.families.tolist(), history.shapes.tolist())
    if family is None:
        family = moving_family(classes)
    if family not in classes:
        raise InputError(f"family = {family}: {name} has {', '.join(classes)}")
    members = classes[family]
    spectra = {"": history.singular_values[:, members], CHANGE: history.change_singular_values[:, members]}
    analyses: dict[str, Analysis] = {}
    values = {}
    for metric in metrics:
        prefix, is_logarithm, measured = _taken_apart(metric)
        if prefix not in analyses:
            try:
                stored = spectra[""] if prefix else None
                settings = estimators or Estimators()
                analyses[prefix] = analyze(spectra[prefix], history.shapes[members], settings, stored=stored)
            except ValueError as error:
                raise InputError(f"history of {name}: {error}") from None
        values[metric] = _mean(analyses[prefix].values[measured], is_logarithm)
    return Trajectory(
        name=name,
        method=method,
        dataset=dataset,
        updates=history.steps,
        evaluations=history.evaluations,
        validation_mae=history.validation_mae,
        distance=relative_distance(history, members),
        metrics=values,
        seed=seed,
        family=family,
        loss=loss,
        influence_cosine=float(history.influence_cosine[history.steps == history.best_step][0]),
    )


def _taken_apart(name: str) -> tuple[str, bool, str]:
    """Whether it is of the change, whether its logarithm is taken, and of which metric."""
    prefix = CHANGE if name.startswith(CHANGE) else ""
    rest = name.removeprefix(prefix)
    is_logarithm = rest not in METRICS and rest.startswith(LOGARITHM)
    measured = rest.removeprefix(LOGARITHM) if is_logarithm else rest
    if measured not in METRICS:
        raise InputError(f"metric = {name}: must be one of {', '.join(METRICS)}, perhaps behind change_ or log_")
    return prefix, is_logarithm, measured


def _mean(values: np.ndarray, is_logarithm: bool) -> np.ndarray:
    """(S, M) -> (S,) over the matrices that have a value, and for a logarithm a positive one; NaN where none has."""
    if is_logarithm:
        values = np.log(values, out=np.full_like(values, np.nan), where=values > 0)
    recorded = np.isfinite(values)
    count = recorded.sum(axis=1)
    total = np.where(recorded, values, 0.0).sum(axis=1)
    return np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0)
