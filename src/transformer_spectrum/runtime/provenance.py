"""Where a produced file came from: source, checksum, seeds, package versions."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from transformer_spectrum.runtime.files import read_json, sha256

Source = Literal["upstream", "mirror", "standin", "synthetic", "file", "forecast"]
PACKAGES = ("numpy", "scipy", "pandas", "torch", "cma", "dvc", "dvclive")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide the numbers.

    >>> list(versions())[:4]
    ['python', 'numpy', 'scipy', 'pandas']
    """
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def is_standin(folder: Path) -> bool:
    """Whether the series in a folder are simulated in the place of real ones; False where no provenance.json says so.

    Raises:
        InputError: that file is damaged.

    >>> is_standin(Path("nowhere"))
    False
    """
    record = folder / "provenance.json"
    return record.is_file() and bool(read_json(record).get("standin"))


def describe_source(
    path: str | Path, source: Source, location: str, *, rows: int, notes: list[str] | None = None, **fields: Any
) -> dict[str, Any]:
    """The provenance record of a raw data file.

    Args:
        path: the file, already in place.
        source: upstream, mirror, a simulated stand-in, synthetic by design, a user's file, or a model's
            forecasts.
        location: URL for upstream; for a mirror the file's name only, since a folder of this machine must not
            travel into metrics; how it was simulated otherwise.
        rows: data rows; count.
        notes: what a reader of results has to know, one sentence each.
        fields: anything else, such as seeds or parameters.
    Returns:
        A JSON-able record with the file's sha256 and size. It holds no date: the same input gives the same bytes.

    >>> _ = Path("cases.csv").write_text("day,cases")
    >>> record = describe_source("cases.csv", "standin", "simulated", rows=0, seed=3)
    >>> record["standin"], record["bytes"], record["sha256"][:8], record["seed"]
    (True, 9, 'ad62018c', 3)
    """
    return {
        "source": source,
        "standin": source == "standin",
        "location": location,
        "sha256": sha256(path),
        "bytes": Path(path).stat().st_size,
        "rows": rows,
        "notes": notes or [],
        **fields,
    }
