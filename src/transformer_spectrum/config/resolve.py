"""The parameters of a command, and where each value came from: flag over config over params.yaml over default."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from transformer_spectrum.config import tree
from transformer_spectrum.config.aliases import Config, read_config
from transformer_spectrum.config.help import entry
from transformer_spectrum.config.load import PARAMETERS, Params, meant, parameters_in, parse_params, read_tree
from transformer_spectrum.config.schema import OPTIMIZERS, LossParams, SGTParams
from transformer_spectrum.config.wheel_files import packaged
from transformer_spectrum.runtime.errors import InputError, quoted, shortened
from transformer_spectrum.runtime.parsing import parse_yaml

logger = logging.getLogger(__name__)

DEFAULT, FILE = "default", "params.yaml"
WITH_LEARNING_RATE = ("openai", "snes")


@dataclass(frozen=True)
class Asked:
    """What the command line asks for.

    Attributes:
        flags: parameter -> (value, the option that gave it).
        assignments: of --set, each "key=value".
        config: a file, None = none.
        params: the file of parameters; None = params.yaml of the current folder where there is one.
        dataset: a file of series or the name of a data set; None = the config's, else data.dataset.
    """

    flags: Mapping[str, tuple[Any, str]]
    assignments: tuple[str, ...] = ()
    config: str | None = None
    params: str | None = None
    dataset: str | None = None


@dataclass(frozen=True)
class Settings:
    """All parameters of a command.

    Attributes:
        params: checked.
        origins: parameter -> where its value came from, a few words.
        asked: the parameters that a flag, --set or the config gives.
        config: None where there is none.
        data: the file of series, where data.dataset = file because one was named.
    """

    params: Params
    origins: Mapping[str, str]
    asked: Collection[str]
    config: Config | None
    data: str | None = None

    def text(self) -> str:
        """YAML that could be a params.yaml, each value with its origin as a comment."""
        return "".join(_annotated(self.params.model_dump(mode="python"), self.origins))


def _scalar(value: Any) -> str:
    plain = list(value) if isinstance(value, tuple) else value
    return yaml.safe_dump(plain, default_flow_style=True, width=10**6).removesuffix("...\n").strip()


def _annotated(block: Mapping[str, Any], origins: Mapping[str, str], prefix: str = "") -> Iterator[str]:
    indent = "  " * prefix.count(".")
    for key, value in block.items():
        if isinstance(value, dict):
            yield f"{indent}{key}:\n"
            yield from _annotated(value, origins, f"{prefix}{key}.")
        else:
            yield f"{f'{indent}{key}: {_scalar(value)}':<36}  # {origins[prefix + key]}\n"


def assigned(assignments: Sequence[str]) -> dict[str, Any]:
    """["adam.epochs=3", ...], as --set takes them -> {"adam.epochs": 3}; values are read as in YAML.

    Raises:
        InputError: one is not of that form, or names no parameter.

    >>> assigned(["adam.epochs=3", "loss.q=.inf"])
    {'adam.epochs': 3, 'loss.q': inf}
    """
    values = {}
    for text in assignments:
        name, sign, value = text.partition("=")
        if not sign:
            raise InputError(f"--set {shortened(text)}: must be key=value, such as --set adam.schedule=cosine")
        if inside := [parameter for parameter in PARAMETERS if parameter.startswith(f"{name}.")]:
            raise InputError(f"--set {shortened(text)}: {name}: must name one of its parameters, such as {inside[0]}")
        if name not in PARAMETERS:
            raise InputError(f"--set {shortened(text)}: {shortened(name)}: unknown parameter{meant(name, PARAMETERS)}")
        values[name] = parse_yaml(value, f"--set {shortened(text)}", "a YAML value")
    return values


def assignment(name: str, value: Any) -> str:
    """The inverse of `assigned`, one at a time, as `dvc exp run -S` takes it: Hydra's grammar, which JSON is part of.

    >>> assignment("loss.q", float("inf")), assignment("es.learning_rate", None)
    ('loss.q=inf', 'es.learning_rate=null')

    Raises:
        InputError: a value of a kind that no parameter has, such as YAML's dates and bytes.
    """
    if isinstance(value, float) and math.isinf(value):
        return f"{name}=inf"
    try:
        return f"{name}={json.dumps(list(value) if isinstance(value, tuple) else value)}"
    except TypeError:
        raise InputError(f"{name} = {quoted(value)}: must be a number, a text, true, false, null or a list") from None


def resolve(asked: Asked, say: Callable[[str], None] = logger.info) -> Settings:
    """Puts the parameters together.

    A parameter that nobody has asked for may have to follow one that somebody has, such as model.patch_length, which
    must divide context and horizon; that is said, and is its origin.

    Args:
        asked: by the command line.
        say: is told in a line what was taken or set that nobody has asked for.
    Raises:
        InputError: a file is missing or malformed, an unknown name, a value out of range; with the origin.

    >>> settings = resolve(Asked({"loss.q": (5.0, "--sgt-q")}))
    >>> settings.params.loss.q, settings.origins["loss.q"]
    (5.0, 'flag --sgt-q')
    """
    values = parameters_in(read_tree(packaged("params.yaml")), "the packaged params.yaml")
    origins = dict.fromkeys(values, DEFAULT)
    path = Path(asked.params or FILE)
    if asked.params or path.is_file():
        own = parameters_in(read_tree(path), str(path))
        missing = [name for name in values if name not in own]
        if missing:
            few = ", ".join(missing) if len(missing) <= 6 else f"{len(missing)} parameters, {missing[0]} among them"
            say(f"{path}: lacks {few}; taking the default")
        values |= own
        origins |= dict.fromkeys(own, str(path))
    config = read_config(asked.config) if asked.config else None
    chosen: dict[str, tuple[Any, str]] = {}
    data = None
    if config is not None:
        if config.dataset is not None:
            name, data = _data_set(config.dataset)
            chosen["data.dataset"] = name, f"config {config.source}: data.dataset"
        chosen |= {name: (value, f"config {config.source}: {key}") for name, (value, key) in config.values.items()}
    chosen |= {name: (value, f"flag --set {name}") for name, value in assigned(asked.assignments).items()}
    chosen |= {name: (value, f"flag {option}") for name, (value, option) in asked.flags.items()}
    if asked.dataset is not None:
        name, data = _data_set(asked.dataset)
        chosen["data.dataset"] = name, "flag --dataset"
    values |= {name: value for name, (value, _) in chosen.items()}
    origins |= {name: origin for name, (_, origin) in chosen.items()}
    for name, value, why in _following(values, chosen):
        say(f"{name} = {_scalar(value)} instead of {_scalar(values[name])}: {why}")
        values[name], origins[name] = value, why
    try:
        return Settings(parse_params(tree.nest(values), "the parameters"), origins, chosen.keys(), config, data)
    except InputError as error:
        named = [name for name in chosen if name in error.names]
        where = f" ({'; '.join(f'{name} by {origins[name]}' for name in named)})" if named else ""
        raise InputError(f"{error}{where}", error.names) from None


def _data_set(asked: str) -> tuple[str, str | None]:
    """What --dataset means: the value of data.dataset, and the file where it is one."""
    choices = entry("data.dataset").choices
    return (asked, None) if asked in choices and asked != "file" else ("file", asked)


def _following(values: Mapping[str, Any], chosen: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    """(parameter, value, reason) of what nobody has asked for and has to follow what somebody has."""
    window = {}
    for key in ("sequence_length", "output_length"):
        general, own = f"data.{key}", f"data.{values['data.dataset']}.{key}"
        window[key] = values[general]
        if values.get(own) is not None and general in chosen and own not in chosen:
            yield own, None, f"{general} is given"  # which would have no effect otherwise
        elif values.get(own) is not None:
            window[key] = values[own]
    length, horizon, patch = window["sequence_length"], window["output_length"], values["model.patch_length"]
    asked = {"data.sequence_length", "data.output_length"} & set(chosen)
    if asked and all(isinstance(number, int) and number > 0 for number in (length, horizon, patch)):
        common = math.gcd(length - horizon, horizon)
        if length > horizon and common % patch and "model.patch_length" not in chosen:
            largest = max(size for size in range(1, patch + 1) if common % size == 0)
            why = f"must divide a context of {length - horizon} and a horizon of {horizon}"
            yield "model.patch_length", largest, why
        series = "data.synthetic.length"
        if values["data.dataset"] == "synthetic" and series not in chosen and values[series] < length:
            yield series, length, f"a series must hold a window of {length}"
    rate, algorithm = "es.learning_rate", values["es.algorithm"]
    if rate in chosen and values[rate] is not None and algorithm not in WITH_LEARNING_RATE:
        if "es.algorithm" in chosen:
            rule = "needs openai or snes, the others have none"
            raise InputError(f"{rate} = {values[rate]} with es.algorithm = {algorithm}: {rule}")
        yield "es.algorithm", "openai", f"{rate} is given, and {algorithm} has none"


def idle_of_loss(loss: LossParams) -> set[str]:
    """Keys of the section `loss` that a loss of this type and scale does not read.

    >>> params = resolve(Asked({}, ("loss.type=cauchy", "loss.scale=residual"))).params
    >>> sorted(idle_of_loss(params.loss) - set(SGTParams.model_fields))
    ['gamma']
    """
    idle = set(SGTParams.model_fields) if loss.type != "sgt" else set()
    idle |= {"gamma"} if loss.type != "cauchy" else set()
    if loss.type not in ("sgt", "cauchy"):
        return idle | {"scale"}
    return idle | {"gamma", "sigma"} if loss.scale == "residual" else idle


def without_effect(settings: Settings, optimizer: str) -> list[str]:
    """Parameters that somebody has asked for and that a training by this optimizer does not read.

    >>> without_effect(resolve(Asked({}, ("loss.type=mse", "loss.q=5"))), "adam")
    ['loss.q']
    """
    architecture = settings.params.model.type
    idle = {name for name in OPTIMIZERS if name != optimizer}
    idle |= {"data.file"} if settings.params.data.dataset != "file" else set()
    idle |= {"training.batch_seed"} if optimizer != "adam" else set()
    idle |= {f"loss.{key}" for key in idle_of_loss(settings.params.loss)}
    idle |= {"model.heads", "model.feedforward_dim"} if architecture == "lstm" else set()
    return [name for name in settings.origins if name in settings.asked and {name, *tree.sections([name])} & idle]
