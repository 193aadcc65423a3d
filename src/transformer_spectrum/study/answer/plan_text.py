"""What a protocol asks for, in lines, before anything runs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from transformer_spectrum.config.load import Params
from transformer_spectrum.study.protocol.cells import PlannedCell
from transformer_spectrum.study.protocol.model import Protocol
from transformer_spectrum.study.protocol.sections import PlannedArm, TuningOutcome
from transformer_spectrum.study.running.grid import Cell

PASSES_OF_AN_UPDATE = 3
"""A forward pass, and a backward one that counts as two."""
SECONDS_OF_A_PASS = {"adam": 0.0032, "es": 0.0036, "ga": 0.0050}
"""Of one core of an AMD EPYC, in ensembles of eight with their recordings: measured by process time for Adam, OpenAI-ES
and the GA of the block `optimizers`, at a third or a quarter of their rounds. Other sizes take other times.
"""
SECONDS_OF_SPECTRA = 1.4
"""Of one core, likewise, for the endpoints of one training with eight shuffles."""


def provisional(protocol: Protocol) -> Protocol:
    """The protocol as if tuning had chosen the middle of all rates: its cells can be listed before tuning has run.

    >>> from transformer_spectrum.study.protocol.model import EXAMPLE, parse_protocol
    >>> provisional(parse_protocol(EXAMPLE)).tuning.rates["adam-mse"]
    0.001
    """
    rates = {
        f"{name}-{loss}": sorted(plan.rates)[len(plan.rates) // 2]
        for name, plan in protocol.optimizers.items()
        for loss in protocol.losses
    }
    return protocol.model_copy(update={"tuning": TuningOutcome(rates=rates, targets={}, margins={})})


def passes(params: Params, optimizer: str) -> int:
    """Forward passes over a batch of one training of the most rounds, for series of the synthetic number.

    >>> from transformer_spectrum.config.load import load_params
    >>> passes(load_params("params.yaml"), "adam")
    3960
    """
    split = params.data.split
    windows = round(params.data.synthetic.series * (1 - split.validation - split.test))
    if optimizer == "adam":
        count = params.adam.epochs * math.ceil(windows / params.training.batch_size) * PASSES_OF_AN_UPDATE
    else:
        settings = getattr(params, optimizer)
        count = settings.popsize * settings.generations
    return min(count, params.budget.evaluations or count)


def plan_lines(protocol: Protocol, cells: Sequence[PlannedCell], trainings: Sequence[Cell]) -> list[str]:
    """Every arm of every block with its seeds, then trainings and core-seconds, then what too few seeds cannot show.

    Args:
        protocol: whose cells they are.
        cells: all of them.
        trainings: behind them, each once.

    >>> from transformer_spectrum.config.load import load_params
    >>> from transformer_spectrum.study.protocol.model import EXAMPLE, parse_protocol
    >>> from transformer_spectrum.study.answer.trainings import distinct
    >>> from transformer_spectrum.study.protocol.cells import planned_cells
    >>> protocol, params = provisional(parse_protocol(EXAMPLE)), load_params("params.yaml")
    >>> cells = planned_cells(protocol, ["controls"], params)
    >>> print("\\n".join(plan_lines(protocol, cells, distinct(protocol, cells))[:3]))
    controls  light  adam-mse        seeds 1-12
    controls  light  adam-mse-decay  seeds 1-12
    24 cells, 24 trainings, 95,040 forward passes, about 338 core-seconds
    """
    seeds: dict[tuple[str, str, PlannedArm], list[int]] = {}
    for cell in cells:
        seeds.setdefault((cell.block, cell.dataset, cell.arm), []).append(cell.seed)
    rows = [
        (block, dataset, arm.name, f"seeds {of_arm[0]}-{of_arm[-1]}") for (block, dataset, arm), of_arm in seeds.items()
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = ["  ".join([*map(str.ljust, row[:3], widths), row[3]]) for row in rows]
    counts = [passes(training.params, training.optimizer) for training in trainings]
    seconds = sum(
        count * SECONDS_OF_A_PASS[training.optimizer] for training, count in zip(trainings, counts, strict=True)
    )
    seconds += len(trainings) * SECONDS_OF_SPECTRA
    lines.append(
        f"{len(cells)} cells, {len(trainings)} trainings, {sum(counts):,} forward passes, "
        f"about {seconds:,.0f} core-seconds"
    )
    return lines + [check.sentence for check in protocol.power_checks() if check.sentence]
