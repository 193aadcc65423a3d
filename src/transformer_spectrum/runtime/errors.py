"""The one kind of error that a user is meant to see, and how a script ends on it."""

from __future__ import annotations

import contextlib
import os
import reprlib
import sys
from collections.abc import Iterator

SHOWN = 120  # characters of a value in a message
LINE = 1500  # of a message


class InputError(ValueError):
    """Bad input: the message names the parameter or the file, its value and the rule, in one line."""


class _Bounded(reprlib.Repr):
    """`repr` that never writes out all of a large value, nor counts what it holds."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother, self.maxlong = 3, SHOWN, SHOWN, SHOWN

    def repr_int(self, value: int, level: int) -> str:
        """Python refuses to write out an integer of thousands of digits."""
        if value.bit_length() > 256:
            return f"an integer of {value.bit_length():,} bits"
        return super().repr_int(value, level)


_BOUNDED = _Bounded()


def quoted(value: object, most: int = SHOWN) -> str:
    """A value as messages show it: its `repr`, in bounded time and length.

    Args:
        value: of any kind and size; what holds itself is fine.
        most: characters.

    >>> quoted("adam"), quoted([0] * 10**6), quoted(10**5000)
    ("'adam'", '[0, 0, 0, 0, 0, 0, ...]', 'an integer of 16,610 bits')
    """
    return shortened(_BOUNDED.repr(value), most)


def shortened(text: object, most: int = SHOWN) -> str:
    """A text on one line of at most so many characters, its middle left out where it is longer.

    >>> shortened("no\\nsuch file"), shortened("a" * 100, 20)
    ('no such file', 'aaaaaaa ... aaaaaaaa')
    """
    line = str(text)
    if len(line) > 4 * most:  # most of a long one is never looked at
        line = f"{line[: 2 * most]} {line[-2 * most :]}"
    line = " ".join(line.split())
    if len(line) <= most:
        return line
    before = (most - 5) // 2
    return f"{line[:before]} ... {line[len(line) - (most - 5 - before) :]}"


def _one_line(message: object) -> str:
    return shortened(message, LINE)


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
