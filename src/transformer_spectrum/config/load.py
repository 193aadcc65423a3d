"""params.yaml and its only reader: the sections of `schema`, the rules across them, and errors of one line.

There are no defaults in the code: a missing key is an error, so what ran is what params.yaml says.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from transformer_spectrum.config.schema import (
    AdamParams,
    BudgetParams,
    DataParams,
    ESParams,
    GAParams,
    LossParams,
    ModelParams,
    Section,
    SpectraParams,
    TrackingParams,
    TrainingParams,
    Whole,
    check_sgt_domain,
)
from transformer_spectrum.runtime.errors import InputError


class Params(Section):
    """All of params.yaml."""

    seed: Whole = Field(ge=0, lt=2**63, description="of weights, synthetic series, split and batch order")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(description="auto: cuda, then mps, then cpu")
    threads: Whole = Field(ge=1, description="of torch; count")
    data: DataParams
    loss: LossParams
    model: ModelParams
    training: TrainingParams
    budget: BudgetParams
    adam: AdamParams
    es: ESParams
    ga: GAParams
    spectra: SpectraParams
    tracking: TrackingParams

    def __repr__(self) -> str:
        told = ("seed", self.seed), ("data.dataset", self.data.dataset), ("loss.type", self.loss.type)
        words = ", ".join(f"{name}={value!r}" for name, value in (*told, ("model.type", self.model.type)))
        return f"Params({words}, ... {len(list(parameter_names()))} parameters; .model_dump() shows all)"

    __str__ = __repr__

    @model_validator(mode="after")
    def _across(self) -> Params:
        check_sgt_domain(self.loss, "loss")
        check_sgt_domain(self.data.synthetic, "data.synthetic")
        data, model, split = self.data, self.model, self.data.split
        if model.type == "transformer" and model.embed_dim % model.heads:
            raise ValueError(f"model.heads = {model.heads} with model.embed_dim = {model.embed_dim}: must divide it")
        if split.validation + split.test >= 1:
            raise ValueError(
                f"data.split.validation = {split.validation:g} with data.split.test = {split.test:g}: "
                "must leave a share for training"
            )
        if self.spectra.tracked_every % self.training.snapshot_every:
            raise ValueError(
                f"spectra.tracked_every = {self.spectra.tracked_every} with training.snapshot_every = "
                f"{self.training.snapshot_every}: must be a multiple (nulls need the weights of the tracked steps)"
            )
        if data.horizon >= data.window_length:
            raise ValueError(
                f"data.output_length = {data.horizon} with data.sequence_length = {data.window_length} "
                f"({data.dataset}): must be shorter"
            )
        for word, length in (("context", data.context), ("horizon", data.horizon)):
            if length % model.patch_length:
                raise ValueError(
                    f"model.patch_length = {model.patch_length} with a {word} of {length} steps "
                    f"({data.dataset}): must divide it"
                )
        if data.dataset == "synthetic" and data.synthetic.length < data.sequence_length:
            raise ValueError(
                f"data.synthetic.length = {data.synthetic.length} with data.sequence_length = "
                f"{data.sequence_length}: a series must hold a window"
            )
        return self


def parameter_names(section: type[BaseModel] = Params, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields (dotted name, pydantic field) for every leaf of the schema, in order."""
    for name, field in section.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from parameter_names(annotation, f"{prefix}{name}.")
        else:
            yield prefix + name, field


def meant(name: str, known: Sequence[str]) -> str:
    """Asks "; did you mean" the nearest of the `known` dotted names or of their sections; empty where none is near."""
    sections = {known_name.rpartition(".")[0] for known_name in known} - {""}
    near = difflib.get_close_matches(name, known, n=1) or difflib.get_close_matches(name, sections, n=1)
    if not near:  # the right name in the wrong section
        last = {known_name.rpartition(".")[2]: known_name for known_name in reversed(known)}
        near = [last[one] for one in difflib.get_close_matches(name.rpartition(".")[2], last, n=1)]
    return f"; did you mean {near[0]}?" if near else ""


def _sentence(error: Any, known: Sequence[str], noun: str) -> str:
    name = ".".join(str(part) for part in error["loc"])
    kind = error["type"]
    if kind == "extra_forbidden":
        return f"{name}: unknown {noun}{meant(name, known)}"
    if kind == "missing":
        return f"{name}: missing; params.yaml must hold every parameter"
    if kind in ("model_type", "model_attributes_type"):
        return f"{name} = {error['input']!r}: must be a mapping"
    rule = error["msg"].removeprefix("Value error, ")
    if not name:  # a rule across parameters names them itself
        return rule
    if kind == "value_error" and rule.startswith(f"{name.split('.')[0]}."):
        return rule
    rule = rule.replace("Input should be", "must be")
    return f"{name} = {error['input']!r}: {rule}"


def first_complaint(error: ValidationError, known: Sequence[str], noun: str = "parameter") -> str:
    """One line: the first offending name, its value and the rule, and how many more there are.

    Args:
        error: of pydantic.
        known: the legal dotted names, among which the one that was meant is looked for.
        noun: what one of them is called.
    """
    found = error.errors(include_url=False)
    # An unknown key explains the missing one that it was meant to be, so it goes first.
    found.sort(key=lambda item: item["type"] != "extra_forbidden")
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return _sentence(found[0], known, noun) + more


def parse_params(tree: Any, source: str = "params.yaml") -> Params:
    """Validates a tree of values.

    Raises:
        InputError: one line naming the first offending parameter, its value and the rule, and how many more.
    """
    if not isinstance(tree, dict):
        raise InputError(f"{source}: must be a mapping of parameters")
    try:
        return Params.model_validate(tree)
    except ValidationError as error:
        raise InputError(first_complaint(error, [name for name, _ in parameter_names()])) from None


def read_tree(path: str | Path) -> Any:
    """The content of a YAML file.

    Raises:
        InputError: the file is missing or is not YAML.
    """
    try:
        return yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None


def load_params(path: str | Path = "params.yaml") -> Params:
    """Reads and validates params.yaml.

    Args:
        path: of a YAML file with every parameter; a relative one from the current folder.
    Returns:
        The parameters, section by section: `params.loss.q`; `params.model_dump()` as a dictionary.
    Raises:
        InputError: the file is missing, is not YAML, or breaks a rule.

    >>> params = load_params("params.yaml")
    >>> params.loss.type
    'sgt'
    """
    return parse_params(read_tree(path), str(path))
