"""What checks types and shapes of the core while tests run; see `--jaxtyping-packages` in pyproject.toml."""

from collections.abc import Callable
from typing import Any

from beartype import BeartypeConf, beartype

typed = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float, as for mypy


def check(function: Callable) -> Callable:
    """Has each call's values checked against the annotations, the parameters once.

    For every function jaxtyping asks for two that compute nothing: one takes its parameters, before the call, and
    returns Any; behind the call one takes the same once more and what came of it, which it returns. Sizes of axes that
    the first has seen are remembered until then, so the second need not look at the parameters again.
    """
    if function.__annotations__.get("return", Any) is not Any:
        function.__annotations__ = {"return": function.__annotations__["return"]}
    return typed(function)
