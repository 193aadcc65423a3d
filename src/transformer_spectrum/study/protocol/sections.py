"""The parts of a protocol: seeds, optimizers, treatments, blocks and their arms, contrasts, what tuning has fixed."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from transformer_spectrum.config.fields import Real, Section, Whole
from transformer_spectrum.config.schema import OPTIMIZERS

Name = Annotated[str, Field(pattern=r"^[a-z0-9]+(_[a-z0-9]+)*$")]
"""Lower-case letters and digits with single _ between them: it becomes part of folders and of arms."""


def _once(entries: tuple[Any, ...]) -> tuple[Any, ...]:
    for entry in entries:
        if entries.count(entry) > 1:
            raise ValueError(f"{entry} comes twice")
    return entries


Once = AfterValidator(_once)
Names = Annotated[tuple[Name, ...], Field(min_length=1), Once]
Parameters = dict[str, Any]
UNTREATED = "none"


def _ascending(rates: tuple[float, ...]) -> tuple[float, ...]:
    if any(first >= second for first, second in itertools.pairwise((0.0, *rates))):
        raise ValueError("must be above 0 and ascend")
    return rates


def _optimizer(name: str) -> str:
    if name not in OPTIMIZERS:
        raise ValueError(f"must be one of {', '.join(OPTIMIZERS)}")
    return name


class Seeds(Section):
    """The seeds first, first + 1, ..., which a block's arms share."""

    first: Whole = Field(ge=0, lt=2**31, description="the smallest")
    count: Whole = Field(ge=1, le=1000, description="how many; count")

    def each(self) -> range:
        """In order."""
        return range(self.first, self.first + self.count)


class OptimizerPlan(Section):
    """An optimizer, and the rates among which it is tuned."""

    trained_by: Annotated[str, AfterValidator(_optimizer)] = Field(
        description="the section of params.yaml and the command"
    )
    rate: str = Field(description="dotted name of the parameter that is tuned: learning rate or step size")
    rates: Annotated[tuple[Real, ...], AfterValidator(_ascending)] = Field(
        min_length=1, description="its values, ascending"
    )
    set: Parameters = Field(default_factory=dict, description="parameters of its section and of `training`")


class TreatmentPlan(Section):
    """What makes an arm another than its optimizer and loss alone."""

    set: Parameters = Field(default_factory=dict, description="parameters, which win over all others")
    batch_order: Whole = Field(default=0, ge=0, description="another order of the same batches; 0 = the seed's own")
    loss_factor: Real = Field(default=1.0, gt=0, description="the loss is multiplied by it")
    rate_factor: Real = Field(default=1.0, gt=0, description="the rate is multiplied by it")


class BlockPlan(Section):
    """Crossed arms on the same seeds."""

    datasets: Names
    losses: Names
    optimizers: Names
    treatments: Names = (UNTREATED,)
    rates: Literal["tuned", "all"] | Real | tuple[Whole, ...] = Field(
        description="tuned: that of `tuning`; all of the optimizer; one common value; or positions in its rates, from 0"
    )
    seeds: Seeds
    held_to: tuple[Name, ...] | None = Field(
        default=None,
        description="tuning blocks whose trainings fix the validation MAE that is held equal; not given = all of them; "
        "empty = none, and so what all arms of a seed reach",
    )


class ContrastPlan(Section):
    """Two arms of a block on one data set."""

    name: str = Field(min_length=1)
    block: Name
    dataset: Name
    first: str
    second: str
    expected: Literal["found", "null"] | None = Field(default=None, description="of a control: what has to come out")
    touches: tuple[str, ...] = Field(default=(), description="of a control: the contrasts that stand on it; none = all")


class EndpointPlan(Section):
    """Names of `inference.endpoints.ENDPOINTS`."""

    primary: Annotated[tuple[str, ...], Once] = Field(min_length=1)
    secondary: Annotated[tuple[str, ...], Once] = ()
    exploratory: Annotated[tuple[str, ...], Once] = ()


class TuningOutcome(Section):
    """What the tuning seeds have fixed before any other seed ran."""

    rates: dict[str, Real] = Field(description="optimizer-loss -> rate of the lowest validation MAE")
    targets: dict[Name, Real] = Field(description="data set -> validation MAE that is held equal; scaled units")
    own_targets: dict[Name, dict[Name, Real]] = Field(
        default_factory=dict, description="block -> the same of blocks with `held_to`"
    )
    margins: dict[str, Annotated[Real, Field(gt=0)]] = Field(
        description="primary endpoint -> largest difference that counts as none; log units"
    )

    def target(self, block: str, dataset: str) -> float | None:
        """Validation MAE at which a block's arms on a data set are compared; None = what all arms of a seed reach.

        >>> outcome = TuningOutcome(rates={}, targets={"light": 0.8}, own_targets={"crossed": {}}, margins={})
        >>> outcome.target("losses", "light"), outcome.target("crossed", "light")
        (0.8, None)
        """
        return self.own_targets.get(block, self.targets).get(dataset)


@dataclass(frozen=True)
class PlannedArm:
    """One arm of a block.

    Attributes:
        name: as in contrasts and tables.
        optimizer, loss, treatment: names in the protocol.
        rate: place among the optimizer's rates, a common value, or None = that of tuning.
    """

    name: str
    optimizer: str
    loss: str
    treatment: str
    rate: int | float | None


def planned_arms(block: BlockPlan, optimizers: Mapping[str, OptimizerPlan]) -> list[PlannedArm]:
    """The arms of a block, optimizers first.

    >>> adam = OptimizerPlan(trained_by="adam", rate="adam.learning_rate", rates=(0.0003, 0.001))
    >>> cells = {"datasets": ("light",), "losses": ("mse",), "optimizers": ("adam",), "seeds": {"first": 1, "count": 3}}
    >>> [arm.name for arm in planned_arms(BlockPlan(**cells, rates="all"), {"adam": adam})]
    ['adam-mse-rate0', 'adam-mse-rate1']
    """
    arms = []
    for optimizer in block.optimizers:
        places: Sequence[int | float | None] = [None]
        if block.rates == "all":
            places = range(len(optimizers[optimizer].rates))
        elif isinstance(block.rates, tuple):
            places = block.rates
        elif isinstance(block.rates, float):
            places = [block.rates]
        for loss in block.losses:
            for treatment in block.treatments:
                for rate in places:
                    pieces = [optimizer, loss, *([treatment] if treatment != UNTREATED else [])]
                    pieces += [f"rate{rate}"] if isinstance(rate, int) else []
                    arms.append(PlannedArm("-".join(pieces), optimizer, loss, treatment, rate))
    return arms
