"""The one kind of error that a user is meant to see, and how a script ends on it."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


class InputError(ValueError):
    """Bad input: the message names the parameter or the file, its value and the rule, in one line."""


def _one_line(message: object) -> str:
    return " ".join(str(message).split())


def _name(error: OSError) -> str:
    names = [os.fspath(name) for name in (error.filename, error.filename2) if isinstance(name, str)]
    return f"{' -> '.join(names)}: " if names else ""


@contextlib.contextmanager
def one_line_errors(prog: str) -> Iterator[None]:
    """Ends the process with one line on standard error instead of a traceback.

    Exit codes: 2 for bad input (`InputError`) and for files that cannot be read or written (`OSError`, a
    full disk included), 130 when interrupted. Everything else is a defect of ours and keeps its traceback.

    >>> with one_line_errors("prepare"):  # says on standard error: prepare: error: seed = -1: must be >= 0
    ...     raise InputError("seed = -1: must be >= 0")
    Traceback (most recent call last):
    SystemExit: 2
    """
    try:
        yield
    except InputError as error:
        print(f"{prog}: error: {_one_line(error)}", file=sys.stderr)
        raise SystemExit(2) from None
    except OSError as error:
        reason = error.strerror or _one_line(error)
        print(f"{prog}: error: {_name(error)}{reason}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print(f"{prog}: interrupted", file=sys.stderr)
        raise SystemExit(130) from None
