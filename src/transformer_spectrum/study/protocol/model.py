"""What a study is going to measure, written down before it is looked at: cells, seeds, endpoints, contrasts, axes.

    title: does the loss shape the spectrum, and does the optimizer?
    level: 0.05
    power: 0.8
    set: {model: {embed_dim: 64}}               # parameters of all cells
    datasets: {light: {data: {dataset: synthetic}}}
    losses: {mse: {loss: {type: mse}}}
    optimizers: {adam: {trained_by: adam, rate: adam.learning_rate, rates: [0.0003, 0.001, 0.003]}}
    treatments: {decay: {set: {adam: {weight_decay: 0.1}}}}
    endpoints: {primary: [change_log_stable_rank], secondary: [], exploratory: []}
    axes: [validation_mae, evaluations, distance, updates]
    blocks: {controls: {datasets: [light], losses: [mse], optimizers: [adam], treatments: [none, decay],
                        rates: tuned, seeds: {first: 1, count: 12}}}
    contrasts: [{name: decay, block: controls, dataset: light, first: adam-mse-decay, second: adam-mse}]
    tuning: null                                # what the tuning seeds have fixed, see `TuningOutcome`

An arm of a block is one optimizer, loss, treatment and rate: adam-mse, adam-mse-decay, adam-mse-rate2. The sha256 of
all of it goes into every result; what was made under another one is never confirmatory.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError, model_validator

from transformer_spectrum.config import tree
from transformer_spectrum.config.fields import Real, Section
from transformer_spectrum.config.load import first_complaint, parameters_in, read_tree
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.study.inference.endpoints import endpoint
from transformer_spectrum.study.inference.matching import Contrast
from transformer_spectrum.study.inference.power import PowerCheck, check_power
from transformer_spectrum.study.inference.robustness import Control, Judgement
from transformer_spectrum.study.protocol.sections import (
    UNTREATED,
    BlockPlan,
    ContrastPlan,
    EndpointPlan,
    Name,
    Once,
    OptimizerPlan,
    Parameters,
    PlannedArm,
    TreatmentPlan,
    TuningOutcome,
    planned_arms,
)

OF_DATASET, OF_LOSS = ("data", "model"), ("loss",)
FETCHED = ("covid", "rvr_beds", "rvr_flu")
"""Data sets that come from elsewhere, and may have a stand-in."""


class Protocol(Section):
    """A whole study."""

    title: str = Field(min_length=1)
    level: Real = Field(gt=0, lt=1, description="of each family of tests and of each equivalence")
    power: Real = Field(gt=0, lt=1, description="that the seeds are held against")
    set: Parameters = Field(default_factory=dict)
    datasets: dict[Name, Parameters] = Field(min_length=1)
    losses: dict[Name, Parameters] = Field(min_length=1)
    optimizers: dict[Name, OptimizerPlan] = Field(min_length=1)
    treatments: dict[Name, TreatmentPlan] = Field(default_factory=dict)
    endpoints: EndpointPlan
    axes: Annotated[tuple[Literal["validation_mae", "evaluations", "distance", "updates"], ...], Once] = Field(
        min_length=1, description="the first is the primary one"
    )
    blocks: dict[Name, BlockPlan] = Field(min_length=1)
    contrasts: tuple[ContrastPlan, ...]
    tuning_blocks: tuple[Name, ...] = Field(default=(), description="whose seeds fix `tuning` and serve nothing else")
    tuning: TuningOutcome | None = None

    @model_validator(mode="after")
    def _names(self) -> Protocol:
        named: dict[str, tuple[str, ...]] = {
            "datasets": tuple(self.datasets),
            "losses": tuple(self.losses),
            "optimizers": tuple(self.optimizers),
            "treatments": (UNTREATED, *self.treatments),
        }
        if UNTREATED in self.treatments:
            raise ValueError(f"treatments: {UNTREATED}: is the name of no treatment")
        for name, block in self.blocks.items():
            for key, declared in named.items():
                for entry in getattr(block, key):
                    if entry not in declared:
                        raise ValueError(f"blocks.{name}.{key}: {entry}: must be one of {', '.join(declared)}")
            if isinstance(block.rates, tuple):
                most = min(len(self.optimizers[optimizer].rates) for optimizer in block.optimizers)
                if not block.rates or max(block.rates) >= most:
                    raise ValueError(f"blocks.{name}.rates = {list(block.rates)}: must be positions below {most}")
            for entry in block.held_to or ():
                if entry not in self.tuning_blocks:
                    raise ValueError(
                        f"blocks.{name}.held_to: {entry}: must be one of {', '.join(self.tuning_blocks) or 'none'}"
                    )
        for name in self.tuning_blocks:
            if name not in self.blocks:
                raise ValueError(f"tuning_blocks: {name}: must be one of {', '.join(self.blocks)}")
        for role in ("primary", "secondary", "exploratory"):
            for entry in getattr(self.endpoints, role):
                if endpoint(entry).role != role:
                    raise ValueError(f"endpoints.{role}: {entry}: is a {endpoint(entry).role} one")
        return self

    @model_validator(mode="after")
    def _parameters(self) -> Protocol:
        blocks: list[tuple[str, Parameters, tuple[str, ...] | None]] = [("set", self.set, None)]
        blocks += [(f"datasets.{name}", block, OF_DATASET) for name, block in self.datasets.items()]
        blocks += [(f"losses.{name}", block, OF_LOSS) for name, block in self.losses.items()]
        blocks += [
            (f"optimizers.{name}", plan.set, (plan.trained_by, "training")) for name, plan in self.optimizers.items()
        ]
        blocks += [(f"treatments.{name}", plan.set, None) for name, plan in self.treatments.items()]
        for where, block, sections in blocks:
            parameters_in(block, where)
            for section in block:
                if sections is not None and section not in sections:
                    raise ValueError(f"{where}: {section}: must be one of {', '.join(sections)}")
        for name, block in self.datasets.items():
            data = tree.merge(self.set, block).get("data", {})
            if data.get("dataset") in FETCHED and data.get("on_unreachable") != "fail":
                raise ValueError(f"datasets.{name}: needs data.on_unreachable: fail, since no stand-in counts")
        for name, plan in self.optimizers.items():
            parameters_in(tree.nest({plan.rate: plan.rates[0]}), f"optimizers.{name}.rate")
        return self

    @model_validator(mode="after")
    def _contrasts(self) -> Protocol:
        names = [contrast.name for contrast in self.contrasts]
        for contrast in self.contrasts:
            if names.count(contrast.name) > 1:
                raise ValueError(f"contrasts: {contrast.name}: comes twice")
            block = self.blocks.get(contrast.block)
            if block is None or contrast.dataset not in block.datasets:
                raise ValueError(
                    f"contrasts: {contrast.name}: no block {contrast.block} has data set {contrast.dataset}"
                )
            if contrast.first == contrast.second:
                raise ValueError(f"contrasts: {contrast.name}: {contrast.first}: must be two arms")
            arms = self.arms(contrast.block)
            for arm in (contrast.first, contrast.second):
                if arm not in arms:
                    raise ValueError(
                        f"contrasts: {contrast.name}: {arm}: must be an arm of {contrast.block}: {', '.join(arms)}"
                    )
            if contrast.block in self.tuning_blocks:
                raise ValueError(f"contrasts: {contrast.name}: is of a tuning block, whose seeds have chosen the rates")
            if self.axes[0] not in self.axes_of(contrast):
                raise ValueError(f"axes: {self.axes[0]}: cannot be the first: {contrast.name} has a population method")
            if missing := set(contrast.touches) - set(names):
                raise ValueError(f"contrasts: {contrast.name}: touches {min(missing)}, which is no contrast")
        tuned = {seed for name in self.tuning_blocks for seed in self.blocks[name].seeds.each()}
        for name, block in self.blocks.items():
            shared = tuned.intersection(block.seeds.each())
            if name not in self.tuning_blocks and shared:
                raise ValueError(f"blocks.{name}.seeds: share {min(shared)} with the tuning blocks")
        return self

    @property
    def sha256(self) -> str:
        """Of everything in it, whatever the order of keys and the layout of the file."""
        return _digest(self.model_dump(mode="json"))

    @property
    def design_sha256(self) -> str:
        """The same without what tuning fixes: what the tuning blocks' own results bear."""
        return _digest(self.model_dump(mode="json", exclude={"tuning"}))

    @property
    def measured_blocks(self) -> tuple[str, ...]:
        """Names of the blocks whose results are compared: all but those of tuning."""
        return tuple(name for name in self.blocks if name not in self.tuning_blocks)

    def arms(self, block: str) -> tuple[str, ...]:
        """Of a block, in order: optimizer-loss, then -treatment and, where it has several rates, -rate and its place.

        Raises:
            InputError: no such block.
        """
        return tuple(arm.name for arm in self.planned(block))

    def planned(self, block: str) -> list[PlannedArm]:
        """The same with what each is.

        Raises:
            InputError: no such block.
        """
        if block not in self.blocks:
            raise InputError(f"block = {block}: must be one of {', '.join(self.blocks)}")
        return planned_arms(self.blocks[block], self.optimizers)

    def family(self, block: str) -> tuple[Contrast, ...]:
        """The contrasts of a block, which with the primary endpoints are one family of tests."""
        return tuple(
            Contrast(plan.name, plan.dataset, plan.first, plan.second) for plan in self.contrasts if plan.block == block
        )

    @property
    def controls(self) -> tuple[Control, ...]:
        """The contrasts whose outcome is known beforehand."""
        return tuple(
            Control(plan.name, Judgement(plan.expected), plan.touches)
            for plan in self.contrasts
            if plan.expected is not None
        )

    def axes_of(self, contrast: ContrastPlan) -> tuple[str, ...]:
        """The protocol's axes, the primary one first, without updates where an arm is of a population method."""
        of_arm = {arm.name: self.optimizers[arm.optimizer] for arm in self.planned(contrast.block)}
        gradient = all(of_arm[arm].trained_by == "adam" for arm in (contrast.first, contrast.second))
        return tuple(axis for axis in self.axes if gradient or axis != "updates")

    def power_checks(self) -> tuple[PowerCheck, ...]:
        """Of each contrast, at the level divided by the tests of its family: the worst that max-T can ask for."""
        checks = []
        for contrast in self.contrasts:
            tests = len(self.family(contrast.block)) * len(self.endpoints.primary)
            seeds = self.blocks[contrast.block].seeds.count
            checks.append(check_power(contrast.name, seeds, level=self.level / tests, power=self.power))
        return tuple(checks)


def parse_protocol(content: Any, source: str = "protocol.yaml") -> Protocol:
    """Validates a tree.

    Raises:
        InputError: one line with the file, where in it, the value and the rule.

    >>> parse_protocol({**EXAMPLE, "level": 2.0})
    Traceback (most recent call last):
    transformer_spectrum.runtime.errors.InputError: protocol.yaml: level = 2.0: must be less than 1
    >>> len(parse_protocol(EXAMPLE).sha256)
    64
    """
    return validated(Protocol, content, source)


def load_protocol(path: str | Path) -> Protocol:
    """Reads and validates a protocol.

    Raises:
        InputError: the file is missing, is not YAML, or breaks a rule.

    >>> load_protocol("nowhere.yaml")
    Traceback (most recent call last):
    transformer_spectrum.runtime.errors.InputError: nowhere.yaml: no such file
    """
    return parse_protocol(read_tree(path), str(path))


EXAMPLE: Mapping[str, Any] = {
    "title": "one control",
    "level": 0.05,
    "power": 0.8,
    "datasets": {"light": {"data": {"dataset": "synthetic"}}},
    "losses": {"mse": {"loss": {"type": "mse"}}},
    "optimizers": {"adam": {"trained_by": "adam", "rate": "adam.learning_rate", "rates": [0.0003, 0.001, 0.003]}},
    "treatments": {"decay": {"set": {"adam": {"weight_decay": 0.1}}}},
    "endpoints": {"primary": ["change_log_stable_rank"]},
    "axes": ["validation_mae", "distance"],
    "blocks": {
        "controls": {
            "datasets": ["light"],
            "losses": ["mse"],
            "optimizers": ["adam"],
            "treatments": ["none", "decay"],
            "rates": "tuned",
            "seeds": {"first": 1, "count": 12},
        }
    },
    "contrasts": [
        {"name": "decay", "block": "controls", "dataset": "light", "first": "adam-mse-decay", "second": "adam-mse"}
    ],
}
"""The smallest protocol, as in the module's description."""


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


Model = TypeVar("Model", bound=BaseModel)


def validated(model: type[Model], content: Any, source: str | Path) -> Model:
    """A tree as a model has it.

    Args:
        model: of pydantic.
        content: what a file holds.
        source: what the message calls it.
    Raises:
        InputError: one line with the file, where in it, the value and the rule.

    >>> validated(TuningOutcome, [1], "tuning.json")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    transformer_spectrum.runtime.errors.InputError: tuning.json: must be a mapping with rates, targets, ...
    """
    if not isinstance(content, dict):
        raise InputError(f"{source}: must be a mapping with {', '.join(model.model_fields)}")
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise InputError(f"{source}: {first_complaint(error, model.model_fields, 'key').sentence}") from None
