"""What `--help` says of a parameter, from params.yaml and its JSON schema; pydantic starts too slowly."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from transformer_spectrum.config import tree
from transformer_spectrum.config.wheel_files import packaged

BOUNDS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}


@dataclass(frozen=True)
class Entry:
    """One parameter.

    Attributes:
        description: its meaning and unit.
        kind: integer, number, boolean, string or array.
        choices: the legal words, where these are all.
        bounds: in words, such as "> 0, <= 10"; empty where there are none.
        optional: null is legal too.
    """

    description: str
    kind: str
    choices: tuple[str, ...]
    bounds: str
    optional: bool

    @property
    def rule(self) -> str:
        """Bounds and choices, with mathematical signs; empty where there are none."""
        signs = self.bounds.replace(">=", "≥").replace("<=", "≤")
        return ", ".join(filter(None, (signs, " / ".join(self.choices))))

    @property
    def text(self) -> str:
        """For `--help`."""
        rules = [self.bounds] if self.bounds else []
        return "; ".join([self.description, *rules])


@functools.cache
def _schema() -> dict[str, Any]:
    return json.loads(packaged("params.schema.json").read_text(encoding="utf-8"))


def _resolved(node: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = node.get("$ref")
    return _schema()["$defs"][reference.rpartition("/")[2]] if reference else node


def entry(name: str) -> Entry:
    """What is known of a parameter.

    Args:
        name: dotted.
    Raises:
        KeyError: there is none.

    >>> entry("loss.q").bounds, entry("loss.type").choices
    ('> 0', ('mse', 'mae', 'cauchy', 'sgt'))
    """
    node: Mapping[str, Any] = _schema()
    for key in tree.path(name):
        node = _resolved(node["properties"][key])
    kinds = node.get("anyOf", [node])
    rules = next(kind for kind in kinds if kind["type"] != "null")
    bounds = [f"{sign} {rules[key]:g}" for key, sign in BOUNDS.items() if key in rules and rules[key] < 2**60]
    choices = tuple(rules.get("enum", ()))
    return Entry(node.get("description", ""), rules["type"], choices, ", ".join(bounds), len(kinds) > 1)


@functools.cache
def _defaults() -> dict[str, Any]:
    import yaml  # here, because the help of most commands needs none

    return yaml.safe_load(packaged("params.yaml").read_text(encoding="utf-8"))


def default(name: str) -> Any:
    """The value that a parameter has where nobody sets it: that of the package's own params.yaml, unchecked.

    Args:
        name: dotted.
    Raises:
        KeyError: there is no such parameter.

    >>> default("spectra.ks_distance")
    'two_sided'
    """
    return tree.get(_defaults(), name)
