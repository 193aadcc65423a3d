"""The one kind of error that a user is meant to see, and how a script ends on it."""

from __future__ import annotations

import contextlib
import io
import os
import reprlib
import sys
from collections.abc import Iterator

SHOWN = 120  # characters of a value in a message
LINE = 1500  # of a message
NEXT_TO_NOTHING = 2**28  # bytes that are left where an extension that says nothing is believed to have lacked memory


class InputError(ValueError):
    """Bad input: the message names the parameter or the file, its value and the rule, in one line of bounded length.

    Attributes:
        names: of the parameters that it is about, dotted, where there are any.
    """

    def __init__(self, message: object = "", names: tuple[str, ...] = ()) -> None:
        text = str(message)
        super().__init__(text if len(text) <= LINE else shortened(text, LINE))
        self.names = names


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


def printable(text: str) -> str:
    """A text of a file's, of which a terminal would obey some signs: those are written as what they are.

    >>> printable("weight"), len(printable(chr(27)))
    ('weight', 4)
    """
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def _one_line(message: object) -> str:
    return printable(shortened(message, LINE))


def _name(error: OSError) -> str:
    names = [os.fspath(name) for name in (error.filename, error.filename2) if isinstance(name, str)]
    return f"{shortened(' -> '.join(names), LINE // 2)}: " if names else ""


class _Output(io.TextIOWrapper):
    """Standard output, whose errors say that they are of it."""

    def write(self, text: str) -> int:
        with _named_output():
            return super().write(text)

    def flush(self) -> None:
        with _named_output():
            super().flush()


@contextlib.contextmanager
def _named_output() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        error.filename = error.filename or "standard output"
        raise


def _open_streams() -> None:
    """Opens the standard streams that the caller has closed, before a file of ours gets the number of one of them.

    Reading ends at once, what is said on standard error is lost, and writing to standard output is an error as it was.
    """
    for number, flags in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.dup2(handle := os.open(os.devnull, flags), number)
            if handle != number:
                os.close(handle)
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
    if sys.stdout is None:
        sys.stdout = _Output(io.BufferedWriter(io.FileIO(1, "w", closefd=False)), "utf-8")
    elif (stream := sys.__stdout__) is not None and sys.stdout is stream:
        buffering = stream.line_buffering, stream.write_through
        # What an encoding such as ASCII has no sign for is written as its number, as on standard error.
        is_kept = stream.errors != "strict" and stream.encoding.lower().replace("-", "") == "utf8"
        errors = stream.errors if is_kept else "backslashreplace"
        sys.stdout = _Output(stream.buffer, stream.encoding, errors, None, *buffering)
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115


def _give_up_output() -> None:
    """Lets what still waits to be written vanish, or Python would complain of it once more when it ends."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(handle := os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        os.close(handle)


def ran_out(error: BaseException) -> bool:
    """Whether an error says that there was not enough memory.

    Python and numpy have a class for it; torch has one on accelerators only, and says it in words on a CPU; of an
    extension that returns nothing and says nothing (a SystemError) it is believed where next to nothing is left.

    >>> ran_out(MemoryError()), ran_out(RuntimeError("DefaultCPUAllocator: can't allocate memory")), ran_out(KeyError())
    (True, True, False)
    """
    if isinstance(error, SystemError):
        try:
            from transformer_spectrum.runtime import memory  # here, because a right call needs no psutil

            return memory.free_memory().size < NEXT_TO_NOTHING
        except (MemoryError, ImportError, OSError):  # not even for that
            return True
    words = str(error) if isinstance(error, RuntimeError) else ""
    return isinstance(error, MemoryError) or "can't allocate memory" in words or "out of memory" in words


def _say(line: str) -> None:
    with contextlib.suppress(OSError):  # nobody may be there to read it
        print(line, file=sys.stderr, flush=True)


@contextlib.contextmanager
def one_line_errors(prog: str) -> Iterator[None]:
    """Ends the process with one line on standard error instead of a traceback.

    Exit codes: 2 for bad input (`InputError`), for files that cannot be read or written (`OSError`, a full disk
    included) and where memory runs out, 130 when interrupted, 141 when nobody reads standard output any more, as behind
    `head`. Everything else is a defect of ours and keeps its traceback.

    >>> with one_line_errors("prepare"):  # says on standard error: prepare: error: seed = -1: must be >= 0
    ...     raise InputError("seed = -1: must be >= 0")
    Traceback (most recent call last):
    SystemExit: 2
    """
    _open_streams()
    try:
        try:
            yield
        except SystemExit:  # as `--help` ends
            sys.stdout.flush()
            raise
        sys.stdout.flush()
    except InputError as error:
        _say(f"{prog}: error: {_one_line(error)}")
        raise SystemExit(2) from None
    except BrokenPipeError:  # the reader has seen enough
        _give_up_output()
        raise SystemExit(141) from None
    except OSError as error:
        reason = error.strerror or _one_line(error)
        _say(f"{prog}: error: {_name(error)}{reason}")
        _give_up_output()
        raise SystemExit(2) from None
    except (MemoryError, RuntimeError, SystemError) as error:
        if not ran_out(error):
            raise
        _say(f"{prog}: error: there is not enough memory")
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        _say(f"{prog}: interrupted")
        raise SystemExit(130) from None
