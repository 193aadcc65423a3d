"""The cells of a protocol: every training that it asks for, with all of its parameters."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from transformer_spectrum.config import tree
from transformer_spectrum.config.load import Params, parse_params
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.study.protocol.model import Protocol
from transformer_spectrum.study.protocol.sections import UNTREATED, PlannedArm, TreatmentPlan
from transformer_spectrum.study.running.grid import ONE_THREAD

BATCH_ORDERS = 2**32
"""Between the seeds of two orders of one seed's batches: no seed of a protocol is as large."""


@dataclass(frozen=True)
class PlannedCell:
    """One training.

    Attributes:
        block, dataset: names in the protocol.
        arm: which of the block.
        seed: of everything random in it.
        params: all parameters, the arm's rate among them.
    """

    block: str
    dataset: str
    arm: PlannedArm
    seed: int
    params: Params

    @property
    def place(self) -> str:
        """Relative folder."""
        return f"{self.block}/{self.dataset}/{self.arm.name}/seed_{self.seed}"


def cells_of(protocol: Protocol, block: str, base: Params) -> list[PlannedCell]:
    """Every cell of a block, seed by seed.

    Later ones win: params.yaml, the protocol's `set`, the data set, the loss, the optimizer, its rate, the treatment.

    Args:
        protocol: which is valid.
        block: its name.
        base: params.yaml.
    Raises:
        InputError: no such block, a parameter out of range, or a rate that tuning has not fixed.

    >>> from transformer_spectrum.config.load import load_params
    >>> from transformer_spectrum.study.protocol.model import EXAMPLE, parse_protocol
    >>> tuned = {"rates": {"adam-mse": 0.001}, "targets": {"light": 0.8}, "margins": {}}
    >>> cells = cells_of(parse_protocol({**EXAMPLE, "tuning": tuned}), "controls", load_params("params.yaml"))
    >>> len(cells), cells[1].place, cells[1].params.adam.weight_decay
    (24, 'controls/light/adam-mse-decay/seed_1', 0.1)
    """
    plan, arms = protocol.blocks.get(block), protocol.planned(block)
    assert plan is not None  # else `planned` has raised
    parsed = {
        (dataset, arm.name): _parameters(protocol, dataset, arm, base) for dataset in plan.datasets for arm in arms
    }
    cells = []
    for seed in plan.seeds.each():
        for dataset in plan.datasets:
            for arm in arms:
                params = _of_seed(parsed[dataset, arm.name], seed, _treatment(protocol, arm).batch_order)
                cells.append(PlannedCell(block, dataset, arm, seed, params))
    return cells


def planned_cells(protocol: Protocol, blocks: Iterable[str], base: Params) -> list[PlannedCell]:
    """Every cell of some blocks.

    Raises:
        InputError: what `cells_of` refuses.

    >>> from transformer_spectrum.config.load import load_params
    >>> from transformer_spectrum.study.protocol.model import EXAMPLE, parse_protocol
    >>> tuning = {"rates": {"adam-mse": 0.001}, "targets": {}, "margins": {}}
    >>> protocol, params = parse_protocol({**EXAMPLE, "tuning": tuning}), load_params("params.yaml")
    >>> planned_cells(protocol, ["controls"], params)[0].place
    'controls/light/adam-mse/seed_1'
    """
    return [cell for block in blocks for cell in cells_of(protocol, block, base)]


def _of_seed(params: Params, seed: int, batch_order: int) -> Params:
    if not batch_order:
        return params.model_copy(update={"seed": seed})
    training = params.training.model_copy(update={"batch_seed": seed + batch_order * BATCH_ORDERS})
    return params.model_copy(update={"seed": seed, "training": training})


def rate_of(protocol: Protocol, arm: PlannedArm) -> float:
    """The value of an arm's rate, its treatment's factor in it.

    Raises:
        InputError: it is to be tuned, and tuning has not fixed it.

    >>> from transformer_spectrum.study.protocol.model import EXAMPLE, parse_protocol
    >>> rate_of(parse_protocol(EXAMPLE), PlannedArm("adam-mse-rate2", "adam", "mse", "none", 2))
    0.003
    """
    optimizer = protocol.optimizers[arm.optimizer]
    if isinstance(arm.rate, float):
        value = arm.rate
    elif arm.rate is not None:
        value = optimizer.rates[arm.rate]
    else:
        tuned = protocol.tuning.rates if protocol.tuning else {}
        if (name := f"{arm.optimizer}-{arm.loss}") not in tuned:
            raise InputError(f"tuning.rates: {name}: missing; {arm.name} trains at the rate that tuning has chosen")
        value = tuned[name]
    return value * _treatment(protocol, arm).rate_factor


def _treatment(protocol: Protocol, arm: PlannedArm) -> TreatmentPlan:
    return TreatmentPlan() if arm.treatment == UNTREATED else protocol.treatments[arm.treatment]


def _parameters(protocol: Protocol, dataset: str, arm: PlannedArm, base: Params) -> Params:
    optimizer, treatment = protocol.optimizers[arm.optimizer], _treatment(protocol, arm)
    if treatment.batch_order and optimizer.trained_by != "adam":
        raise InputError(f"arm {arm.name}: batch_order: is of gradient methods alone, and has no effect here")
    merged = tree.merge(
        base.model_dump(),
        protocol.set,
        protocol.datasets[dataset],
        protocol.losses[arm.loss],
        optimizer.set,
        tree.nest({optimizer.rate: rate_of(protocol, arm)}),
        {"loss": {"factor": treatment.loss_factor}},
        treatment.set,
        ONE_THREAD,
    )
    try:
        return parse_params(merged)
    except InputError as error:
        raise InputError(f"data set {dataset}, arm {arm.name}: {error}") from None
