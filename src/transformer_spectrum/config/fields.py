"""What a field of the schema can be: numbers, flags and lists as YAML and `-S` give them, and rules across fields."""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

LARGEST_REAL = int(sys.float_info.max)
LARGEST_SINGLE = (2 - 2**-23) * 2.0**127  # of float32


def _number(value: Any) -> Any:
    """PyYAML reads 1e-3 as text, and `-S loss.q=.inf` arrives as ".inf": take text that spells a number."""
    if isinstance(value, bool):
        raise ValueError("must be a number")
    if isinstance(value, str):
        try:
            return float(value.strip().lower().replace(".inf", "inf"))
        except ValueError:
            raise ValueError("must be a number") from None
    if isinstance(value, int) and abs(value) > LARGEST_REAL:
        raise ValueError("must fit double precision")
    return value


def _finite(value: Any) -> Any:
    value = _number(value)
    if isinstance(value, int | float) and not math.isfinite(value):
        raise ValueError("must be finite")
    return value


def _single(value: Any) -> Any:
    value = _finite(value)
    if isinstance(value, int | float) and abs(value) > LARGEST_SINGLE:
        raise ValueError("must fit single precision")
    return value


def _whole(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("must be a whole number")
    if abs(value) >= 2**63:
        raise ValueError("must fit 64 bits")
    return value


def _flag(value: Any) -> Any:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def column_names(value: Any) -> Any:
    """Names, or text in which they stand between commas, quoted where one holds a comma -> a tuple of them.

    Raises:
        ValueError: anything else.

    >>> column_names('beds, "flu, new"')
    ('beds', 'flu, new')
    """
    if isinstance(value, str):
        value = [name.strip() for name in next(csv.reader([value], skipinitialspace=True), [])]
    if not isinstance(value, list | tuple) or not value or not all(isinstance(name, str) and name for name in value):
        raise ValueError("must be names between commas, or a list of them")
    return tuple(value)


Real = Annotated[float, BeforeValidator(_finite)]
Single = Annotated[float, BeforeValidator(_single)]
"""What float32 weights are multiplied by."""
OptionalSingle = Annotated[float, BeforeValidator(_single)] | None
Extended = Annotated[float, BeforeValidator(_number)]
Whole = Annotated[int, BeforeValidator(_whole)]
OptionalWhole = Annotated[int, BeforeValidator(_whole)] | None
OptionalReal = Annotated[float, BeforeValidator(_finite)] | None
Flag = Annotated[bool, BeforeValidator(_flag)]
OptionalName = Annotated[str, Field(min_length=1)] | None
OptionalNames = Annotated[tuple[str, ...], BeforeValidator(column_names)] | None


class RuleAcross(ValueError):
    """A rule that parameters break together.

    Args:
        values: dotted name -> value, of each of them.
        rule: what must hold.
        beside: what else there is to know of them.
    Attributes:
        names: of these parameters.

    >>> str(RuleAcross({"es.rank": 4, "es.algorithm": "cma"}, "needs openai"))
    'es.rank = 4 with es.algorithm = cma: needs openai'
    """

    def __init__(self, values: Mapping[str, Any], rule: str, beside: str = "") -> None:
        self.names = tuple(values)
        first, *others = (f"{name} = {_as_written(value)}" for name, value in values.items())
        super().__init__(f"{first}{' with ' * bool(others)}{' and '.join(others)}{beside}: {rule}")


def _as_written(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)


class Section(BaseModel):
    """A block of params.yaml: unknown keys are errors, values cannot change once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=True, ser_json_inf_nan="strings")
