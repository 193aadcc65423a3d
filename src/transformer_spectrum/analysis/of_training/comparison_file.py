"""The content of metrics/comparison.json: the trainings of one run where something is held equal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformer_spectrum.analysis.comparison.endpoints import METRICS_COMPARED
from transformer_spectrum.analysis.comparison.named_axes import compare_trajectories
from transformer_spectrum.analysis.comparison.outcome import Comparison
from transformer_spectrum.analysis.comparison.recorded import METHODS
from transformer_spectrum.analysis.comparison.trajectory import Trajectory
from transformer_spectrum.analysis.of_training.metrics_file import rounded
from transformer_spectrum.analysis.of_training.summary import Summary
from transformer_spectrum.vocabulary import NAMES
from transformer_spectrum.weights.matrices.families import moving_family


def comparison(
    summaries: Mapping[str, Summary], *, dataset: str, seed: int, names: Mapping[str, str] = NAMES
) -> dict[str, Any]:
    """Stable ranks of the change and of the matrices, of the family that moves, at equal MAE, evaluations and distance.

    Args:
        summaries: the trainings, of one data set and seed.
        dataset: its name.
        seed: of all of them.
        names: optimizer -> what sentences call it; all different.
    Returns:
        "family"; "metrics"; "axes": axis -> "target", what all trainings reach there, and "arms": optimizer ->
        crossing,
        updates and the value of each metric (null where it has none); "verdicts": metric, first, second, difference on
        each axis, whether all axes have one sign ("agrees", null where that is not known) and a sentence; "sentences":
        who has no value where, and what seeds these are. Empty of fewer than two trainings, or without a spectrum.

    >>> numbers = comparison(summaries, dataset="synthetic", seed=1)
    >>> list(numbers["axes"]), [verdict["first"] for verdict in numbers["verdicts"][:3]]
    (['validation_mae', 'evaluations', 'distance'], ['adam', 'adam', 'es'])
    """
    families = next(iter(summaries.values())).spectral_families
    if len(summaries) < 2 or not families:
        return {}
    family = moving_family(families)
    result = compare_trajectories(
        [
            Trajectory(
                name=names[optimizer],
                method=METHODS[optimizer],
                dataset=dataset,
                updates=summary.history.steps,
                evaluations=summary.history.evaluations,
                validation_mae=summary.history.validation_mae,
                distance=summary.distance(family),
                metrics={metric: summary.mean(metric, family) for metric in METRICS_COMPARED},
                seed=seed,
                family=family,
            )
            for optimizer, summary in summaries.items()
        ]
    )
    return _as_tree(result, seed, {name: optimizer for optimizer, name in names.items()})


def _as_tree(result: Comparison, seed: int, optimizers: Mapping[str, str]) -> dict[str, Any]:
    axes = {
        axis: {
            "target": rounded(equal.targets[seed]),
            "arms": {
                optimizers[arrival.arm]: {
                    "crossing": str(arrival.crossing),
                    "updates": rounded(arrival.updates),
                    **{metric: rounded(value) for metric, value in arrival.values.items()},
                }
                for arrival in equal.arrivals
            },
        }
        for axis, equal in result.axes.items()
    }
    verdicts = [
        {
            "metric": verdict.metric,
            "first": optimizers[verdict.first],
            "second": optimizers[verdict.second],
            "differences": {difference.axis: rounded(difference.mean) for difference in verdict.differences},
            "agrees": verdict.agrees,
            "sentence": verdict.sentence,
        }
        for verdict in result.verdicts
    ]
    sentences = result.sentences[len(verdicts) :]
    return {
        "family": result.family,
        "metrics": list(result.metrics),
        "axes": axes,
        "verdicts": verdicts,
        "sentences": list(sentences),
    }
