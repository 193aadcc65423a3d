"""Configs, config/*.yaml: a few keys of a training under the names that people know, each an alias of a parameter.

`KEYS` is the only list of them: the models that check a config and its JSON schema are made from it and from the fields
of params.yaml's schema, so that meaning, type and range have one home.
"""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError, create_model
from pydantic.fields import FieldInfo

from transformer_spectrum.config import tree
from transformer_spectrum.config.fields import Section
from transformer_spectrum.config.load import PARAMETERS, first_complaint, read_tree
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.parsing import parsing, read_text

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
DEEPEST = 100
"""Names of a dotted key in TOML, at most; no parameter has more than three."""
BETWEEN_KEYS = re.compile(r"[=,{}\[\]\n]")


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


def _model(block: Mapping[str, Any], name: str, doc: str | None = None) -> type[Section]:
    """The pydantic model of a tree whose leaves are definitions of fields; no section is required."""
    definitions: dict[str, Any] = {
        key: (_model(value, f"{name}{key.title()}", doc), None) if isinstance(value, dict) else value
        for key, value in block.items()
    }
    return create_model(name, __base__=Section, __doc__=doc, **definitions)


@functools.cache
def config_model() -> type[Section]:
    """The pydantic model of a whole config.

    >>> config_model().model_validate({"loss": {"sgt": {"q": 5.0}}}).loss.sgt.q
    5.0
    """
    optional = {name: _optional(field) for name, field in PARAMETERS.items()}
    any_parameters = _model(tree.nest(optional), "AnyParameters", "Any parameters, as in params.yaml.")
    keys = {**OWN, **{key: optional[name] for key, name in KEYS.items()}}
    keys["parameters"] = (any_parameters, Field(None, description="any others, as in params.yaml"))
    model = _model(tree.nest(keys), "Config")
    model.__doc__ = "A training: keys of `transformer-spectrum train --config`."
    return model


def _content(path: Path) -> Any:
    if path.suffix in (".yaml", ".yml"):
        return read_tree(path)
    if path.suffix != ".toml":
        raise InputError(f"{path}: a config must end in .yaml, .yml or .toml")
    text = read_text(path, "valid TOML")
    if any(piece.count(".") > DEEPEST for piece in BETWEEN_KEYS.split(text)):  # tomllib keeps every beginning of a key
        raise InputError(f"{path}: not valid TOML of this program (a key of more than {DEEPEST} names)")
    with parsing(path, "valid TOML"):
        return tomllib.loads(text)


def read_config(path: str | Path) -> Config:
    """Reads and checks a config, .yaml or .toml; ranges and types here, rules across parameters by `params`.

    Raises:
        InputError: the file is missing or malformed; an unknown key, with the one that may have been meant; a value
            out of range; two keys for one parameter.

    >>> with open("sgt.yaml", "w") as file:
    ...     print("loss: {type: sgt, sgt: {q: 5}}", file=file)
    >>> read_config("sgt.yaml").values["loss.q"]
    (5.0, 'loss.sgt.q')
    """
    content = _content(Path(path))
    if not isinstance(content, dict):
        raise InputError(f"{path}: must be a mapping of keys such as seed, model, data, loss, training")
    try:
        model = config_model().model_validate(content)
    except ValidationError as error:
        any_parameter = [f"parameters.{name}" for name in PARAMETERS if "parameters" in content]
        complaint = first_complaint(error, [*OWN, *KEYS, *any_parameter], "key")
        raise InputError(f"{path}: {complaint.sentence}") from None
    entries = tree.flatten(model.model_dump(exclude_unset=True))
    values: dict[str, tuple[Any, str]] = {}
    for key, value in entries.items():
        if key in OWN:
            continue
        name = KEYS.get(key) or key.removeprefix("parameters.")
        if name in values:
            raise InputError(f"{path}: {values[name][1]} and {key} both set {name}; give one of them")
        values[name] = (value, key)
    return Config(str(path), entries.get("name"), entries.get("data.dataset"), values)
