"""What checks types and shapes of the core while tests run; see `--jaxtyping-packages` in pyproject.toml."""

import functools
import inspect
from collections import Counter
from collections.abc import Callable
from typing import Any

import jaxtyping
from beartype import BeartypeConf, beartype

typed = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float, as for mypy
jaxtyped = jaxtyping.jaxtyped

CALLS = 10
"""Of one function that are checked in one test: a training calls some ten thousand times, all alike."""
calls: Counter[Callable] = Counter()
"""Of each function, in the test that runs."""


def check(function: Callable) -> Callable:
    """Has each call's values checked against the annotations, the parameters once.

    For every function jaxtyping asks for two that compute nothing: one takes its parameters, before the call, and
    returns Any; behind the call one takes the same once more and what came of it, which it returns. Sizes of axes that
    the first has seen are remembered until then, so the second need not look at the parameters again.
    """
    if function.__annotations__.get("return", Any) is not Any:
        function.__annotations__ = {"return": function.__annotations__["return"]}
    return typed(function)


def checked_at_first(decorated: Any = None, *, typechecker: Callable = check) -> Any:
    """`jaxtyping.jaxtyped`, but a function is checked in its first calls of a test alone, and one inside another never.

    Half of the tests' time went into what this leaves out. Functions inside others are made anew at every call of
    those, and each time compiled three times to be checked.
    """
    if decorated is None:
        return functools.partial(checked_at_first, typechecker=typechecker)
    if not inspect.isfunction(decorated):
        return jaxtyped(decorated, typechecker=typechecker)
    if "<locals>" in decorated.__qualname__:
        return decorated
    checked = jaxtyped(decorated, typechecker=typechecker)

    @functools.wraps(decorated)
    def counted(*args: Any, **kwargs: Any) -> Any:
        if calls[decorated] >= CALLS:
            return decorated(*args, **kwargs)
        calls[decorated] += 1
        return checked(*args, **kwargs)

    return counted


jaxtyping.jaxtyped = checked_at_first  # which the modules of the core ask for by this name when they are imported
