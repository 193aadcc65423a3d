"""What the tuning seeds fix before any other seed runs: rates, the MAE that is held equal, and margins."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from jaxtyping import Float

from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.study.protocol.model import Protocol
from transformer_spectrum.study.protocol.sections import OptimizerPlan, TuningOutcome

TRIALS = ("dataset", "optimizer", "loss", "rate", "seed", "validation_mae")
"""Columns of a table of trials: `validation_mae` is the lowest of a training, NaN where it diverged at once."""
MARGIN_FACTOR = 2.0
"""Standard deviations of the differences of trainings that do not differ."""


def tuning_outcome(
    trials: pd.DataFrame, same: Mapping[str, Float[np.ndarray, " pairs"]], *, factor: float = MARGIN_FACTOR
) -> TuningOutcome:
    """Rates, targets and margins by rules that look at nothing but these trials.

    The rate of an optimizer and loss is the one of the lowest geometric mean of validation MAE over data sets and
    seeds, so that no data set outweighs another; one that diverged anywhere is none. The target of a data set is the
    largest lowest MAE of any training at its chosen rate, which all of them reach. The margin of an endpoint is
    `factor` standard deviations about 0 of the differences between trainings that do not differ.

    Args:
        trials: TRIALS; every rate of an optimizer and loss on the same data sets and seeds.
        same: primary endpoint -> differences of A/A pairs, two or more.
        factor: > 0.
    Raises:
        InputError: a missing column, an optimizer and loss of which every rate diverged, or fewer than two pairs.

    >>> rows = [("light", "adam", "mse", rate, 1, mae) for rate, mae in ((0.001, 0.7), (0.003, 0.8))]
    >>> same = {"change_log_stable_rank": np.array([0.03, -0.04])}
    >>> outcome = tuning_outcome(pd.DataFrame(rows, columns=TRIALS), same)
    >>> outcome.rates, outcome.targets, round(outcome.margins["change_log_stable_rank"], 3)
    ({'adam-mse': 0.001}, {'light': 0.7}, 0.071)
    """
    if missing := [name for name in TRIALS if name not in trials]:
        raise InputError(f"trials: has no column {missing[0]}")
    rates, targets = {}, {}
    chosen = []
    for (optimizer, loss), rows in trials.groupby(["optimizer", "loss"], sort=False):
        tried = rows["rate"].to_numpy(dtype=np.float64)
        logs_of_all = np.log(rows["validation_mae"].to_numpy(dtype=np.float64))
        logs = {float(rate): logs_of_all[tried == rate] for rate in np.unique(tried)}
        means = {rate: float(column.mean()) for rate, column in logs.items() if np.isfinite(column).all()}
        if not means:
            raise InputError(f"trials of {optimizer}-{loss}: every rate diverged; give it smaller ones")
        rate = min(means, key=means.__getitem__)
        rates[f"{optimizer}-{loss}"] = rate
        chosen.append(rows[rows["rate"] == rate])
    for dataset, rows in pd.concat(chosen).groupby("dataset", sort=False):
        targets[str(dataset)] = float(rows["validation_mae"].max())
    margins = {name: _margin(name, differences, factor) for name, differences in same.items()}
    return TuningOutcome(rates=rates, targets=targets, margins=margins)


def own_targets(protocol: Protocol, trials: pd.DataFrame, rates: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Block -> data set -> largest lowest MAE at the chosen rates in the tuning blocks that the block is held to.

    Args:
        protocol: whose blocks they are; those without `held_to` are left out.
        trials: as in `tuning_outcome`.
        rates: that it has chosen.

    >>> from transformer_spectrum.study.protocol.model import EXAMPLE, parse_protocol
    >>> own_targets(parse_protocol(EXAMPLE), pd.DataFrame(columns=TRIALS), {})
    {}
    """
    names = trials["optimizer"].astype(str) + "-" + trials["loss"].astype(str)
    chosen = trials[trials["rate"] == names.map(rates)]
    found: dict[str, dict[str, float]] = {}
    for name, block in protocol.blocks.items():
        if block.held_to is None:
            continue
        plans = [protocol.blocks[tuning] for tuning in block.held_to]
        rows = chosen[
            [
                any(
                    row.dataset in plan.datasets and row.loss in plan.losses and row.optimizer in plan.optimizers
                    for plan in plans
                )
                for row in chosen.itertuples()
            ]
        ]
        worst = rows.groupby("dataset", sort=False)["validation_mae"].max()
        found[name] = {str(dataset): float(mae) for dataset, mae in worst.items() if dataset in block.datasets}
    return found


def at_the_edge(outcome: TuningOutcome, optimizers: Mapping[str, OptimizerPlan]) -> tuple[str, ...]:
    """optimizer-loss whose chosen rate is the smallest or largest that was tried: a better one may lie beyond.

    >>> adam = OptimizerPlan(trained_by="adam", rate="adam.learning_rate", rates=(0.0003, 0.001, 0.003))
    >>> outcome = TuningOutcome(rates={"adam-mse": 0.003, "adam-mae": 0.001}, targets={}, margins={})
    >>> at_the_edge(outcome, {"adam": adam})
    ('adam-mse',)
    """
    return tuple(
        name
        for name, rate in outcome.rates.items()
        if rate in (min(optimizers[name.split("-")[0]].rates), max(optimizers[name.split("-")[0]].rates))
    )


def _margin(name: str, differences: np.ndarray, factor: float) -> float:
    values = np.asarray(differences, dtype=np.float64)
    values = values[np.isfinite(values)]
    if len(values) < 2 or not (values != 0).any():
        raise InputError(f"A/A pairs of {name}: must be two or more that are not all equal")
    return float(factor * np.sqrt((values**2).mean()))
