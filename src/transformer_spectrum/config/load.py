"""params.yaml and its only reader: the sections of `schema`, the rules across them, and errors of one line.

There are no defaults in the code: a missing key is an error, so what ran is what params.yaml says.
"""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field, ValidationError, model_validator
from pydantic.fields import FieldInfo

from transformer_spectrum.config import tree
from transformer_spectrum.config.fields import RuleAcross, Section, Whole
from transformer_spectrum.config.schema import (
    AdamParams,
    BudgetParams,
    DataParams,
    ESParams,
    GAParams,
    LossParams,
    ModelParams,
    SpectraParams,
    TrackingParams,
    TrainingParams,
    check_sgt_domain,
)
from transformer_spectrum.runtime.errors import InputError, quoted, shortened
from transformer_spectrum.runtime.parsing import parse_yaml, read_text


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
        return f"Params({words}, ... {len(PARAMETERS)} parameters; .model_dump() shows all)"

    __str__ = __repr__

    @model_validator(mode="after")
    def _across(self) -> Params:
        check_sgt_domain(self.loss, "loss")
        check_sgt_domain(self.data.synthetic, "data.synthetic")
        data, model, split, training = self.data, self.model, self.data.split, self.training
        residual = {"loss.scale": "residual"}
        if model.type == "transformer" and model.embed_dim % model.heads:
            raise RuleAcross({"model.heads": model.heads, "model.embed_dim": model.embed_dim}, "must divide it")
        if split.validation + split.test >= 1:
            shares = {"data.split.validation": split.validation, "data.split.test": split.test}
            raise RuleAcross(shares, "must leave a share for training")
        if self.loss.scale == "residual" and training.select == "loss":
            rule = "must be mae (losses at scales that move do not compare)"
            raise RuleAcross({"training.select": "loss", **residual}, rule)
        if self.loss.scale == "residual" and self.adam.compile:
            rule = "must be one of them (a compiled loss keeps its scale)"
            raise RuleAcross({**residual, "adam.compile": True}, rule)
        if training.snapshot_every % training.record_every:
            every = {"training.snapshot_every": training.snapshot_every, "training.record_every": training.record_every}
            raise RuleAcross(every, "must be a multiple (only what is recorded can be kept)")
        if self.spectra.tracked_every % training.snapshot_every:
            every = {"spectra.tracked_every": self.spectra.tracked_every}
            every["training.snapshot_every"] = training.snapshot_every
            raise RuleAcross(every, "must be a multiple (nulls need the weights of the tracked steps)")
        if data.horizon >= data.window_length:
            lengths = {"data.output_length": data.horizon, "data.sequence_length": data.window_length}
            raise RuleAcross(lengths, "must be shorter", f" ({data.dataset})")
        for word, length in (("context", data.context), ("horizon", data.horizon)):
            if length % model.patch_length:
                beside = f" with a {word} of {length} steps ({data.dataset})"
                raise RuleAcross({"model.patch_length": model.patch_length}, "must divide it", beside)
        if data.dataset == "synthetic" and data.synthetic.length < data.sequence_length:
            lengths = {"data.synthetic.length": data.synthetic.length, "data.sequence_length": data.sequence_length}
            raise RuleAcross(lengths, "a series must hold a window")
        return self


LONGEST_NAME = 100  # characters of a name that may have been meant to be another

PARAMETERS: dict[str, FieldInfo] = tree.fields(Params)
"""Dotted name -> field of every parameter, in the order of params.yaml."""


def meant(name: str, names: Collection[str]) -> str:
    """A question after the name that a wrong one may have been meant to be.

    Args:
        name: dotted, and wrong.
        names: the legal dotted names; their sections are legal too.
    Returns:
        "; did you mean X?", or nothing where none is near.

    >>> meant("loss.qq", ["loss.q", "loss.p", "seed"])
    '; did you mean loss.q?'
    """
    if len(name) > LONGEST_NAME:  # looking for what is near takes time that grows with its square
        return ""
    near = get_close_matches(name, names, n=1) or get_close_matches(name, sorted(tree.sections(names)), n=1)
    if not near:  # the right name in the wrong section
        last = {tree.path(legal)[-1]: legal for legal in reversed(list(names))}
        near = [last[key] for key in get_close_matches(tree.path(name)[-1], last, n=1)]
    return f"; did you mean {near[0]}?" if near else ""


class Complaint(NamedTuple):
    """What is wrong with values.

    Attributes:
        sentence: the first offending name, its value and the rule, and how many more there are; one line.
        names: of the parameters that it is about, dotted.
    """

    sentence: str
    names: tuple[str, ...]


WANTED = {"string_type": "text", "tuple_type": "a list"}
"""Kinds of error that pydantic words for programmers -> what a parameter must be."""


def _complaint(error: Any, names: Collection[str], noun: str) -> Complaint:
    name, kind = ".".join(map(str, error["loc"])), error["type"]
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, RuleAcross):
        return Complaint(str(cause), cause.names)
    words = shortened(name)
    if kind == "extra_forbidden":
        sentence = f"{words}: unknown {noun}{meant(name, names)}"
    elif kind == "missing":
        sentence = f"{words}: missing{'; params.yaml must hold every parameter' * (noun == 'parameter')}"
    elif kind in ("model_type", "model_attributes_type"):
        sentence = f"{words} = {quoted(error['input'])}: must be a mapping"
    else:
        rule = f"must be {WANTED[kind]}" if kind in WANTED else str(cause or error["msg"])
        sentence = f"{words} = {quoted(error['input'])}: {rule.replace('Input should be', 'must be')}"
    return Complaint(sentence, (".".join(key for key in error["loc"] if isinstance(key, str)),))


def first_complaint(error: ValidationError, names: Collection[str], noun: str = "parameter") -> Complaint:
    """The first thing that is wrong, and how many more there are.

    Args:
        error: of pydantic.
        names: the legal dotted names, among which the one that was meant is looked for.
        noun: what one of them is called.

    >>> from transformer_spectrum.config.schema import LossParams
    >>> try:
    ...     LossParams(typ="sgt")
    ... except ValidationError as error:
    ...     first_complaint(error, ["type", "gamma"]).sentence.partition(" (and")[0]
    'typ: unknown parameter; did you mean type?'
    """
    # An unknown key explains the missing one that it was meant to be, so it goes first.
    complaints = sorted(error.errors(include_url=False), key=lambda item: item["type"] != "extra_forbidden")
    first = _complaint(complaints[0], names, noun)
    more = f" (and {len(complaints) - 1} more)" if len(complaints) > 1 else ""
    return first._replace(sentence=first.sentence + more)


def parameters_in(content: Any, source: str) -> dict[str, Any]:
    """Dotted name -> value of some parameters, such as those of an overlay; the values are not checked yet.

    Args:
        content: a tree.
        source: what the errors call it.
    Raises:
        InputError: no tree, or a key that is no parameter.

    >>> parameters_in({"loss": {"q": 3.0}}, "overlay.yaml")
    {'loss.q': 3.0}
    """
    if not isinstance(content, dict):
        raise InputError(f"{source}: its content: must be a mapping of parameters")
    sections = tree.sections(PARAMETERS)
    values = tree.flatten(content, into=sections)
    for name in values:
        if name in sections:
            raise InputError(f"{source}: {name}: must be a mapping of parameters")
        if name not in PARAMETERS:
            raise InputError(f"{source}: {shortened(name)}: unknown parameter{meant(name, PARAMETERS)}")
    return values


def parse_params(content: Any, source: str = "params.yaml") -> Params:
    """Validates a tree of values.

    Args:
        content: every parameter, section by section.
        source: what the error calls it where it is no tree.
    Raises:
        InputError: one line naming the first offending parameter, its value and the rule, and how many more.

    >>> parse_params({"sed": 1})  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    transformer_spectrum.runtime.errors.InputError: sed: unknown parameter; did you mean seed? (and ... more)
    """
    if not isinstance(content, dict):
        raise InputError(f"{source}: must be a mapping of parameters")
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        raise InputError(*first_complaint(error, PARAMETERS)) from None


def read_tree(path: str | Path) -> Any:
    """The content of a YAML file.

    Raises:
        InputError: the file is missing or is not YAML.

    >>> read_tree("nowhere.yaml")
    Traceback (most recent call last):
    transformer_spectrum.runtime.errors.InputError: nowhere.yaml: no such file
    """
    return parse_yaml(read_text(path, "valid YAML"), path)


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
