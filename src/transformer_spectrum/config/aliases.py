"""Configs, config/*.yaml: a few keys of a training under the names that people know, each an alias of a parameter.

`KEYS` is the only list of them: the models that check a config and its JSON schema are made from it and from the fields
of params.yaml's schema, so that meaning, type and range have one home.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field, ValidationError, create_model
from pydantic.fields import FieldInfo

from transformer_spectrum.config.load import Params, first_complaint, parameter_names, read_tree
from transformer_spectrum.config.schema import Section
from transformer_spectrum.runtime.errors import InputError

KEYS = {
    "seed": "seed",
    "device": "device",
    "model.type": "model.type",
    "model.embed_dim": "model.embed_dim",
    "model.num_heads": "model.heads",
    "model.num_layers": "model.layers",
    "data.sequence_length": "data.sequence_length",
    "data.output_length": "data.output_length",
    "data.batch_size": "training.batch_size",
    "data.test_split": "data.split.test",
    "loss.type": "loss.type",
    "loss.sgt.sigma": "loss.sigma",
    "loss.sgt.lam": "loss.lam",
    "loss.sgt.p": "loss.p",
    "loss.sgt.q": "loss.q",
    "loss.cauchy.gamma": "loss.gamma",
    "training.num_epochs": "adam.epochs",
    "training.learning_rate": "adam.learning_rate",
    "training.early_stopping_patience": "adam.patience",
    "es.generations": "es.generations",
    "es.popsize": "es.popsize",
    "es.sigma": "es.sigma",
    "es.learning_rate": "es.learning_rate",
    "es.early_stopping_patience": "es.patience",
    "ga.generations": "ga.generations",
    "ga.popsize": "ga.popsize",
    "ga.mutation_stdev": "ga.mutation_stdev",
    "ga.crossover_eta": "ga.crossover_eta",
    "ga.early_stopping_patience": "ga.patience",
}
"""Key of a config -> the parameter that it sets."""


def _text(value: Any) -> Any:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be text")
    return value


_Text = Annotated[str, BeforeValidator(_text)]
OWN = {
    "name": (_Text, Field(None, description="of the run: the folder runs/NAME that gets it")),
    "data.dataset": (
        _Text,
        Field(None, description="a file of series, or synthetic, covid, rvr_beds or rvr_flu; what --dataset takes"),
    ),
}
"""Keys that are no parameters."""


@dataclass(frozen=True)
class Config:
    """What a config asks for.

    Attributes:
        source: its file.
        name: of the run, None where it gives none.
        dataset: see `OWN`, None where it gives none.
        values: parameter -> (value, the key that gave it).
    """

    source: str
    name: str | None
    dataset: str | None
    values: Mapping[str, tuple[Any, str]]


def _optional(field: FieldInfo) -> tuple[Any, Any]:
    """The same meaning, type and range, but not required."""
    checked = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
    return checked, Field(None, description=field.description)


def _partial(section: type[BaseModel], name: str) -> type[Section]:
    """A section of params.yaml in which nothing is required."""
    fields: dict[str, Any] = {}
    for key, field in section.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            fields[key] = (_partial(inner, f"{name}{key.title()}"), None)
        else:
            fields[key] = _optional(field)
    return create_model(name, __base__=Section, __doc__="Any parameters, as in params.yaml.", **fields)


def _nested(leaves: Mapping[str, Any], name: str) -> type[Section]:
    """A model of dotted keys."""
    fields: dict[str, Any] = {}
    blocks: dict[str, dict[str, Any]] = {}
    for key, field in leaves.items():
        head, _, rest = key.partition(".")
        if rest:
            blocks.setdefault(head, {})[rest] = field
        else:
            fields[head] = field
    fields |= {head: (_nested(inner, f"{name}{head.title()}"), None) for head, inner in blocks.items()}
    return create_model(name, __base__=Section, __doc__=None, **fields)


@functools.cache
def config_model() -> type[Section]:
    """The pydantic model of a whole config."""
    known = dict(parameter_names())
    leaves = {**OWN, **{key: _optional(known[name]) for key, name in KEYS.items()}}
    leaves["parameters"] = (_partial(Params, "AnyParameters"), Field(None, description="any others, as in params.yaml"))
    model = _nested(leaves, "Config")
    model.__doc__ = "A training: keys of `transformer-spectrum train --config`."
    return model


def _leaves(model: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of all that was given."""
    for key in model.model_fields_set:
        value = getattr(model, key)
        if isinstance(value, BaseModel):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _tree(path: Path) -> Any:
    if path.suffix in (".yaml", ".yml"):
        return read_tree(path)
    if path.suffix != ".toml":
        raise InputError(f"{path}: a config must end in .yaml, .yml or .toml")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid TOML: {error}") from None


def read_config(path: str | Path) -> Config:
    """Reads and checks a config, .yaml or .toml; ranges and types here, rules across parameters by `params`.

    Raises:
        InputError: the file is missing or malformed; an unknown key, with the one that may have been meant; a value
            out of range; two keys for one parameter.
    """
    tree = _tree(Path(path))
    if not isinstance(tree, dict):
        raise InputError(f"{path}: must be a mapping of keys such as seed, model, data, loss, training")
    try:
        model = config_model().model_validate(tree)
    except ValidationError as error:
        any_parameter = [f"parameters.{name}" for name, _ in parameter_names() if "parameters" in tree]
        raise InputError(f"{path}: {first_complaint(error, [*OWN, *KEYS, *any_parameter], 'key')}") from None
    given = dict(_leaves(model))
    values: dict[str, tuple[Any, str]] = {}
    for key, value in given.items():
        if key in OWN:
            continue
        name = KEYS.get(key) or key.removeprefix("parameters.")
        if name in values:
            raise InputError(f"{path}: {values[name][1]} and {key} both set {name}; give one of them")
        values[name] = (value, key)
    return Config(str(path), given.get("name"), given.get("data.dataset"), values)
