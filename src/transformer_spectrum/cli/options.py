"""Options that set parameters: one table a command, option -> parameter; meaning and range come from the schema."""

from __future__ import annotations

import argparse
import difflib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformer_spectrum.config import tree
from transformer_spectrum.config.help import Entry, entry
from transformer_spectrum.runtime.errors import LINE, InputError, shortened

if TYPE_CHECKING:
    from transformer_spectrum.config.resolve import Asked

MODEL = {
    "-m/--model": "model.type",
    "--embed-dim": "model.embed_dim",
    "--num-heads": "model.heads",
    "--num-layers": "model.layers",
}
COLUMNS = {
    "--time-column": "data.file.time_column",
    "--entity-column": "data.file.entity_column",
    "--value-columns": "data.file.value_columns",
}
TRAINING = {
    **MODEL,
    "-l/--loss": "loss.type",
    "--sgt-sigma": "loss.sigma",
    "--sgt-lambda": "loss.lam",
    "--sgt-p": "loss.p",
    "--sgt-q": "loss.q",
    "--cauchy-gamma": "loss.gamma",
    "--seq-len": "data.sequence_length",
    "--output-len": "data.output_length",
    "--batch-size": "training.batch_size",
    "--test-split": "data.split.test",
    **COLUMNS,
    "--seed": "seed",
    "--device": "device",
}
OF_OPTIMIZER = {
    "adam": {"--epochs": "adam.epochs", "--lr": "adam.learning_rate", "--patience": "adam.patience"},
    "es": {
        "--generations": "es.generations",
        "--popsize": "es.popsize",
        "--es-sigma": "es.sigma",
        "--es-lr": "es.learning_rate",
        "--patience": "es.patience",
    },
    "ga": {
        "--generations": "ga.generations",
        "--popsize": "ga.popsize",
        "--mutation-stdev": "ga.mutation_stdev",
        "--crossover-eta": "ga.crossover_eta",
        "--patience": "ga.patience",
    },
}
SYNTHETIC = {
    "--n-sequences": "data.synthetic.series",
    "--seq-len": "data.synthetic.length",
    "--features": "data.synthetic.features",
    "--sigma": "data.synthetic.sigma",
    "--lambda": "data.synthetic.lam",
    "--p": "data.synthetic.p",
    "--q": "data.synthetic.q",
    "--kernel-size": "data.synthetic.kernel.size",
    "--seed": "seed",
}
DOWNLOAD = {
    "--mirror": "data.mirror",
    "--on-unreachable": "data.on_unreachable",
    "--standin-seed": "data.standin_seed",
}


class OneLineParser(argparse.ArgumentParser):
    """Says in one line what is wrong with the arguments, and takes no abbreviations, which a new option would break."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **{"allow_abbrev": False, **settings})

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Like argparse's, but whoever meets an unknown option, a command or the whole, says what it may have meant."""
        chosen, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}{self._meant(unknown)}")
        return chosen, unknown

    def _meant(self, unknown: Sequence[str]) -> str:
        """By the options' own names, and by those of their parameters: --learning-rate is --lr."""
        options = {text: text for action in self._actions for text in action.option_strings if text.startswith("--")}
        for action in self._actions:
            if action.option_strings and "." in action.dest:
                options.setdefault(f"--{tree.path(action.dest)[-1].replace('_', '-')}", action.option_strings[-1])
        guesses = [
            options[near[0]]
            for word in unknown
            if word.startswith("-") and (near := difflib.get_close_matches(word.partition("=")[0], options, n=1))
        ]
        return f"; did you mean {' and '.join(guesses)}?" if guesses else ""

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Like argparse's, and names the choice that may have been meant."""
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            near = difflib.get_close_matches(str(value), [str(choice) for choice in action.choices or ()], n=2)
            if near:
                raise argparse.ArgumentError(action, f"{error.message}; did you mean {' or '.join(near)}?") from None
            raise

    def error(self, message: str) -> Any:
        self.exit(2, f"{self.prog}: error: {shortened(message, LINE)}; see {self.prog} --help\n")


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: must be a whole number") from None


def _number(text: str) -> float:
    try:
        value = float(text.replace(".inf", "inf"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: must be a number") from None
    if math.isnan(value):
        raise argparse.ArgumentTypeError(f"{text!r}: must be a number")
    return value


def _flag(text: str) -> bool:
    if text not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r}: must be true or false")
    return text == "true"


_TYPES = {"integer": _whole, "number": _number, "boolean": _flag, "string": str, "array": str}
_METAVARS = {"integer": "N", "number": "X", "boolean": "BOOL", "string": "TEXT", "array": "LIST"}


def escaped(text: str) -> str:
    """For argparse, whose help text is a template.

    >>> escaped("at most 50 %")
    'at most 50 %%'
    """
    return text.replace("%", "%%")


def _settings(parameter: Entry) -> dict[str, Any]:
    if parameter.choices:
        return {"choices": parameter.choices}
    return {"type": _TYPES[parameter.kind], "metavar": _METAVARS[parameter.kind]}


def add_parameters(command: argparse.ArgumentParser, table: Mapping[str, str]) -> None:
    """An option for each entry of a table, such as "-m/--model": "model.type".

    >>> add_parameters(command := argparse.ArgumentParser(), {"--loss": "loss.type"})
    >>> getattr(command.parse_args(["--loss", "mse"]), "loss.type")
    'mse'
    """
    group = command.add_argument_group("parameters", "not given: as in --config, else params.yaml, else the default")
    for spelled, name in table.items():
        parameter = entry(name)
        text = escaped(f"{parameter.text} [{name}]")
        group.add_argument(*spelled.split("/"), dest=name, help=text, **_settings(parameter))
    group.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], help="any parameter, such as adam.schedule=cosine"
    )
    group.add_argument("--params", metavar="FILE", help="the parameters to start from; params.yaml of this folder")


def add_columns(command: argparse.ArgumentParser, default: str) -> None:
    """The options that name a table's columns, for a command that sets few other parameters.

    Args:
        command: that gets them.
        default: words for what holds where one is not given.

    >>> add_columns(command := argparse.ArgumentParser(), "recognised if not given")
    >>> getattr(command.parse_args(["--time-column", "day"]), "data.file.time_column")
    'day'
    """
    for option, name in COLUMNS.items():
        parameter = entry(name)
        text = escaped(f"{parameter.description}; {default}")
        command.add_argument(option, dest=name, metavar=_METAVARS[parameter.kind], help=text)


def add_force(command: argparse.ArgumentParser) -> None:
    """--force, of every command that writes where the user says.

    >>> add_force(command := argparse.ArgumentParser())
    >>> command.parse_args(["--force"]).force
    True
    """
    words = "write over files that this program has not written, or that were changed since; never over an input"
    command.add_argument("--force", action="store_true", help=words)


def read_by(chosen: argparse.Namespace) -> list[Path]:
    """The files that a command with parameters reads for them, where they are there.

    >>> [str(path) for path in read_by(argparse.Namespace(params=None, config="sgt.yaml"))]
    ['params.yaml', 'sgt.yaml']
    """
    return [Path(path) for path in (chosen.params or "params.yaml", getattr(chosen, "config", None)) if path]


def asked(chosen: argparse.Namespace, table: Mapping[str, str], config: str | None = None) -> Asked:
    """What was given of a table's options.

    >>> add_parameters(command := argparse.ArgumentParser(), {"-l/--loss": "loss.type"})
    >>> asked(command.parse_args(["-l", "mse"]), {"-l/--loss": "loss.type"}).flags
    {'loss.type': ('mse', '--loss')}
    """
    from transformer_spectrum.config.resolve import Asked

    flags = {}
    for spelled, name in table.items():
        value = getattr(chosen, name)
        if value is not None:
            flags[name] = (value, spelled.rpartition("/")[2])
    return Asked(flags, tuple(chosen.set), config, chosen.params)


def at_least(option: str, value: int | None, low: int) -> None:
    """Raises InputError where a number is too small.

    >>> at_least("--seed", -1, 0)
    Traceback (most recent call last):
    transformer_spectrum.runtime.errors.InputError: --seed = -1: must be >= 0
    """
    if value is not None and value < low:
        raise InputError(f"{option} = {value}: must be >= {low}")
