"""The trainings of one run of the pipeline on named axes, as the table that its page reads back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from transformer_spectrum.analysis.comparison.family_distance import relative_distance
from transformer_spectrum.analysis.comparison.named_axes import compare_trajectories
from transformer_spectrum.analysis.comparison.outcome import COLUMNS
from transformer_spectrum.analysis.comparison.trainings import METHODS, METRICS_COMPARED
from transformer_spectrum.analysis.comparison.trajectory import Trajectory
from transformer_spectrum.analysis.of_training.summary import Summary


def run_trajectory(
    summaries: Mapping[str, Summary], optimizer: str, family: str, metrics: Sequence[str], seed: int = 0
) -> Trajectory:
    """One family of one training of a run, whose trainings have data, seed and initial weights in common.

    >>> run_trajectory(summaries, "es", "readout", ["stable_rank"])
    Trajectory(es, seed 0: 5 records to update 4)
    """
    summary = summaries[optimizer]
    history = summary.history
    return Trajectory(
        name=optimizer,
        method=METHODS[optimizer],
        dataset="of this run",
        updates=history.steps,
        evaluations=history.evaluations,
        validation_mae=history.validation_mae,
        distance=relative_distance(history, summary.families[family]),
        metrics={metric: summary.mean(metric, family) for metric in metrics},
        seed=seed,
        family=family,
    )


def comparison_table(
    summaries: Mapping[str, Summary], seed: int = 0, metrics: Sequence[str] = METRICS_COMPARED
) -> pd.DataFrame:
    """`Comparison.table` of every family whose spectra have a shape, at what all trainings reach on each axis.

    Args:
        summaries: optimizer -> its training; one alone is compared with nothing.
        seed: of the run.
        metrics: as in `trainings.compare`.
    Returns:
        COLUMNS, family after family; `Comparison.from_table` takes the rows of one.

    >>> table = comparison_table(summaries)
    >>> sorted(set(table["family"])), sorted(set(table["axis"]))
    (['feed_forward', 'readout'], ['distance', 'evaluations', 'validation_mae'])
    """
    tables = [
        compare_trajectories(
            [run_trajectory(summaries, optimizer, family, metrics, seed) for optimizer in summaries]
        ).table()
        for family in next(iter(summaries.values())).spectral_families
        if len(summaries) > 1
    ]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(COLUMNS))
