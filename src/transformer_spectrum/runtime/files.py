"""Text, JSON, CSV, arrays and tables as files: written as `replacement` says, read with errors that name the file."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.hard_links import carry_over, link_or_copy
from transformer_spectrum.runtime.parsing import parsing, regular
from transformer_spectrum.runtime.replacement import atomic_folder, atomic_path, atomic_together

if TYPE_CHECKING:
    import pandas as pd

RUN, RUN_AGAIN = "run the stage that writes it (dvc repro)", "run its stage again"

__all__ = (
    "atomic_folder",
    "atomic_path",
    "atomic_together",
    "carry_over",
    "link_or_copy",
    "read_arrays",
    "read_json",
    "read_table",
    "sha256",
    "write_arrays",
    "write_csv",
    "write_json",
    "write_table",
    "write_text",
)


def write_text(path: str | Path, text: str) -> None:
    """Writes UTF-8 text atomically.

    >>> write_text("notes/first.txt", "whole or not at all")
    >>> Path("notes/first.txt").read_text()
    'whole or not at all'
    """
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Writes strict JSON atomically: a NaN or an infinity is refused (say why instead).

    >>> write_json("never.json", {"alpha": float("nan")})  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: Out of range float values are not JSON compliant...
    """
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Reads JSON.

    Raises:
        InputError: the file is missing or is not JSON.

    >>> read_json("nowhere.json")
    Traceback (most recent call last):
    transformer_spectrum.runtime.errors.InputError: nowhere.json: no such file; run the stage that writes it (dvc repro)
    """
    with parsing(path, "valid JSON", missing=RUN):
        return json.loads(regular(path, "valid JSON").read_text(encoding="utf-8"))


def write_csv(path: str | Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Writes a CSV atomically; floats keep 7 significant digits.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_csv(f"{folder}/a.csv", ("step", "alpha"), [(0, 2 / 3)])
    ...     Path(folder, "a.csv").read_text()
    'step,alpha\\n0,0.6666667\\n'
    """
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        for row in rows:
            writer.writerow([f"{x:.7g}" if isinstance(x, float | np.floating) else x for x in row])


def write_arrays(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes an .npz atomically; no pickled objects, the same arrays give the same bytes.

    >>> for path in ("a.npz", "b.npz"):
    ...     write_arrays(path, {"steps": np.arange(3)})
    >>> sha256("a.npz") == sha256("b.npz")
    True
    """
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **dict(arrays))


def read_arrays(path: str | Path, names: Sequence[str], optional: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """Reads the named arrays of an .npz without pickle, and of `optional` those that it has.

    Raises:
        InputError: the file is missing, corrupt, or lacks one of `names`.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_arrays(f"{folder}/a.npz", {"steps": np.arange(3), "losses": np.ones(3)})
    ...     read_arrays(f"{folder}/a.npz", ["steps"])
    {'steps': array([0, 1, 2])}
    """
    kind = "a readable .npz"
    with parsing(path, kind, RUN_AGAIN, RUN), np.load(regular(path, kind), allow_pickle=False) as archive:
        for name in names:
            if name not in archive:
                raise InputError(f"{path}: lacks the array {name!r}; it was written by something else")
        arrays = {name: archive[name] for name in [*names, *(name for name in optional if name in archive)]}
        for name, array in arrays.items():
            if not isinstance(array, np.ndarray):
                raise InputError(f"{path}: {name} is no array; it was written by something else")
        return arrays


def write_table(path: str | Path, table: pd.DataFrame) -> None:
    """Writes a long table as Parquet (zstd) atomically: the same table gives the same bytes, a NaN becomes a null.

    >>> import pandas as pd
    >>> for path in ("a.parquet", "b.parquet"):
    ...     write_table(path, pd.DataFrame({"step": [0, 1], "alpha": [2.5, float("nan")]}))
    >>> sha256("a.parquet") == sha256("b.parquet")
    True
    """
    import pyarrow
    from pyarrow import parquet

    # Without the schema's metadata, in which pandas writes its own version.
    columns = pyarrow.Table.from_pandas(table, preserve_index=False).replace_schema_metadata(None)
    with atomic_path(path) as temporary:
        parquet.write_table(columns, temporary, compression="zstd")


def read_table(path: str | Path) -> pd.DataFrame:
    """Reads what `write_table` has written: the same columns and types, NaN where a number is missing.

    Raises:
        InputError: the file is missing or is no Parquet.

    >>> import pandas as pd
    >>> write_table("a.parquet", pd.DataFrame({"step": [0, 1], "alpha": [2.5, float("nan")]}))
    >>> read_table("a.parquet").to_dict("list")
    {'step': [0, 1], 'alpha': [2.5, nan]}
    """
    import pandas as pd

    with parsing(path, "a readable Parquet file", RUN_AGAIN, RUN):
        return pd.read_parquet(regular(path, "a readable Parquet file"), engine="pyarrow")


def sha256(path: str | Path) -> str:
    """Hex digest of a file's bytes.

    Raises:
        InputError: it is a pipe or a device.

    >>> write_text("empty.txt", "")
    >>> sha256("empty.txt")[:16]
    'e3b0c44298fc1c14'
    """
    with regular(path, "bytes that have an end").open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
