"""Files that anybody may have written, damaged or crafted: whatever a parser makes of one, a line that names the file.

Parsers of foreign bytes raise more kinds of errors than can be listed: a date that does not exist is a ValueError, a
thousand brackets are a RecursionError, a header that lies is a MemoryError. So it is decided by kind: whatever is
raised while a parser of ours or of a library looks at a file says that this file cannot be read.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformer_spectrum.runtime.errors import InputError, shortened

if TYPE_CHECKING:
    from yaml.nodes import Node

REASON = 200  # characters of a parser's own words
LARGEST_TEXT = 2**18  # bytes of what people write by hand: parameters, configs, grids; params.yaml has 2^14
OF_SHELLS = (Path("/dev/fd"), Path("/proc/self/fd"), Path("/dev"))  # /dev/stdin among them
MOST_VALUES = 50_000  # in such a file, each alias counted as all that it stands for


@contextlib.contextmanager
def parsing(source: str | Path, kind: str, hint: str = "", missing: str = "") -> Iterator[None]:
    """Makes one InputError, which names the file, of whatever is raised inside; for calls of parsers only.

    An `InputError` stays what it is, and so does an `OSError` that names a file, such as a permission that is missing.

    Args:
        source: the file, or what the message calls it.
        kind: what it should have been, behind "not".
        hint: what to do about it.
        missing: what to do where there is no such file.
    Raises:
        InputError: the file is missing, or is not of this kind, or asks for more memory than there is.

    >>> with parsing("run.json", "valid JSON"):  # doctest: +ELLIPSIS
    ...     int("9" * 5000)
    Traceback (most recent call last):
    transformer_spectrum.runtime.errors.InputError: run.json: not valid JSON (Exceeds the limit (4300 digits) for ...
    """
    behind = f"; {hint}" if hint else ""
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{source}: no such file{f'; {missing}' if missing else ''}") from None
    except IsADirectoryError:
        raise InputError(f"{source}: is a folder; not {kind}") from None
    except MemoryError:
        raise InputError(f"{source}: not {kind}, or too large: asks for more memory than there is{behind}") from None
    except RecursionError:
        raise InputError(f"{source}: not {kind} (nested too deep){behind}") from None
    except Exception as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        reason = shortened(error, REASON) or type(error).__name__
        raise InputError(f"{source}: not {kind} ({reason}){behind}") from None


def regular(path: str | Path, kind: str) -> Path:
    """A path that makes whoever reads it neither wait for somebody who writes nor read without an end.

    Raises:
        InputError: it is a pipe, a socket or a device, and no shell's own (`<(...)`).
        FileNotFoundError: nothing is there.

    >>> regular("params.yaml", "valid YAML")
    PosixPath('params.yaml')
    """
    path = Path(path)
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)) and path.parent not in OF_SHELLS:
        raise InputError(f"{path}: is no regular file; not {kind}")
    return path


def read_text(path: str | Path, kind: str, largest: int = LARGEST_TEXT) -> str:
    """A small text file, UTF-8.

    Args:
        path: the file.
        kind: what it should be, behind "not".
        largest: bytes that it may have.
    Raises:
        InputError: missing, larger, or no UTF-8.

    >>> _ = Path("huge.yaml").write_text("a" * 1000)
    >>> read_text("huge.yaml", "valid YAML", largest=100)
    Traceback (most recent call last):
    transformer_spectrum.runtime.errors.InputError: huge.yaml: has more than 100 bytes; not valid YAML of this program
    """
    with parsing(path, kind), regular(path, kind).open("rb") as stream:
        content = stream.read(largest + 1)
        if len(content) > largest:
            raise InputError(f"{path}: has more than {largest:,} bytes; not {kind} of this program")
        return content.decode("utf-8")


def parse_yaml(text: str, source: str | Path, kind: str = "valid YAML") -> Any:
    """The content of a YAML text, read safely, with its aliases counted before anything expands them.

    Args:
        text: YAML.
        source: what the message calls it.
        kind: what it should be, behind "not".
    Raises:
        InputError: it is no YAML, or holds too much, or itself, or a key of one mapping twice.

    >>> parse_yaml("loss: {q: 3.0}", "params.yaml")
    {'loss': {'q': 3.0}}
    >>> parse_yaml("{q: 3.0, p: 2.0, q: 4.0}", "params.yaml")
    Traceback (most recent call last):
    transformer_spectrum.runtime.errors.InputError: params.yaml: not valid YAML (line 1: q comes twice)
    >>> parse_yaml("born: 2023-02-30", "params.yaml")
    Traceback (most recent call last):
    transformer_spectrum.runtime.errors.InputError: params.yaml: not valid YAML (day is out of range for month)
    """
    import yaml

    with parsing(source, kind):
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            if _size(node, {}) > MOST_VALUES:
                raise InputError(f"{source}: holds more than {MOST_VALUES:,} values; not {kind} of this program")
            return loader.construct_document(node)
        finally:
            loader.dispose()


def _size(node: Node, sizes: dict[int, int | None]) -> int:
    """Values in a node with every alias written out; those that are counted are in `sizes`, None while they are."""
    if id(node) in sizes:
        size = sizes[id(node)]
        if size is None:
            raise ValueError("an alias stands inside of what it stands for")
        return size
    sizes[id(node)] = None
    children = node.value if isinstance(node.value, list) else ()
    keys = [pair[0] for pair in children if isinstance(pair, tuple) and isinstance(pair[0].value, str)]
    seen = set()
    for key in keys:
        if (key.tag, key.value) in seen:
            raise ValueError(f"line {key.start_mark.line + 1}: {key.value} comes twice")
        seen.add((key.tag, key.value))
    count = 1
    for child in children:
        count += sum(_size(part, sizes) for part in (child if isinstance(child, tuple) else (child,)))
    sizes[id(node)] = count
    return count


def read_npy(path: str | Path, hint: str = "", missing: str = "") -> Any:
    """An .npy without pickle, whose header is believed only as far as the file is long.

    Args:
        path: the file.
        hint: what to do about a damaged one.
        missing: what to do where there is none.
    Raises:
        InputError: missing, of another kind, or cut short.

    >>> import numpy as np
    >>> np.save("steps.npy", np.arange(3))
    >>> read_npy("steps.npy")
    array([0, 1, 2])
    """
    import math

    import numpy as np

    with parsing(path, "a readable .npy without pickle", hint, missing):
        with regular(path, "a readable .npy without pickle").open("rb") as stream:
            version = np.lib.format.read_magic(stream)
            read_header = (
                np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            )
            shape, _, dtype = read_header(stream)
            announced = math.prod(shape) * dtype.itemsize
            present = os.fstat(stream.fileno()).st_size - stream.tell()
        if announced > present and not dtype.hasobject:
            raise InputError(f"{path}: cut short: {present:,} bytes of an array of {shortened(announced, 30)}")
        return np.load(path, allow_pickle=False)
