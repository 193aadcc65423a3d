"""Where raw data come from: a mirror, then upstream, then (if allowed) a simulated stand-in.

A source out of reach is passed over with a line in the log. A source that answers with a wrong or
incomplete file ends the fetch: bad data are never quietly replaced, neither by the next source nor by a stand-in.
A stand-in never takes the place of real data that lie there from an earlier fetch, and nothing takes the place of a
file that no fetch has written. Nothing is put in place before it is whole, so whatever goes wrong leaves the old files
as they were.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from transformer_spectrum.data.fetch.downloads import LARGEST, Unreachable, download
from transformer_spectrum.runtime.addresses import is_url, without_password
from transformer_spectrum.runtime.errors import InputError, quoted
from transformer_spectrum.runtime.files import atomic_together, read_json, sha256, write_json
from transformer_spectrum.runtime.ownership import RECORD, check_replaceable, is_own
from transformer_spectrum.runtime.provenance import describe_source

logger = logging.getLogger(__name__)

MIRROR_VARIABLE = "TRANSFORMER_SPECTRUM_MIRROR"
DATA_FILE = "series.csv"
COUNT_LARGEST = 2**16  # bytes of an answer that is a number
MIRROR_NOTE = "Taken from a mirror as it was; only its schema and its completeness were checked."
STANDIN_NOTE = "Simulated stand-in, not data: no source was within reach."
KEPT_NOTE = "Kept from an earlier fetch: no source was within reach when it was asked for again."


@dataclass(frozen=True)
class Export:
    """A file that upstream publishes, and how to tell a good copy.

    Attributes:
        file_name: its name at a mirror and in messages.
        stage: the stage that fetches it.
        url: its upstream address.
        read: (path, what messages call it) -> its rows; raises InputError where the schema is broken.
        check_complete: (rows, what messages call it); raises InputError where rows are missing. Used for copies
            whose row count cannot be asked for.
        simulate: (path, generator); writes a stand-in that `read` and `check_complete` accept.
        count_url: a CSV with the number of rows upstream, None where there is no such service.
        notes: what a reader of results has to know of the data, one sentence each.
        remarks: such sentences for copies that are known by their sha256.
    """

    file_name: str
    stage: str
    url: str
    read: Callable[[Path, str], pd.DataFrame]
    check_complete: Callable[[pd.DataFrame, str], None]
    simulate: Callable[[Path, np.random.Generator], None]
    count_url: str | None = None
    notes: tuple[str, ...] = ()
    remarks: Mapping[str, str] = field(default_factory=dict)


def _candidates(export: Export, mirror: str | None) -> Iterator[tuple[Literal["mirror", "upstream"], str]]:
    """Sources in the order in which they are tried, each with the address of the file."""
    variable = os.environ.get(MIRROR_VARIABLE)  # empty is the same as not set
    name, place = (MIRROR_VARIABLE, variable) if variable else ("data.mirror", mirror)
    if place and is_url(place):
        yield "mirror", f"{place.rstrip('/')}/{export.file_name}"
    elif place and "://" in place:
        raise InputError(f"{name} = {without_password(place)}: must be a folder or an http(s) URL")
    elif place:
        if not Path(place).expanduser().is_dir():
            raise InputError(f"{name} = {place}: no such folder")
        yield "mirror", str(Path(place).expanduser() / export.file_name)
    if not is_url(export.url):
        raise InputError(
            f"{export.file_name}: upstream {without_password(export.url)}: must be an http(s) URL with a host"
        )
    yield "upstream", export.url


def _get(address: str, path: Path) -> None:
    """Copies or downloads one file.

    Raises:
        Unreachable: the file is not to be had there.
        InputError: only a part of it is.
        OSError: `path` cannot be written.
    """
    if is_url(address):
        return download(address, path)
    try:
        source = Path(address)
        size = source.stat().st_size
        if not source.is_file():  # a pipe has no end, and may have no beginning
            raise Unreachable("no regular file")
        stream = source.open("rb")
    except OSError as error:
        raise Unreachable(error.strerror or str(error)) from None
    with stream:
        if size > LARGEST:
            raise InputError(f"{address}: has {size:,} bytes; must have at most {LARGEST:,}")
        with path.open("wb") as target:
            shutil.copyfileobj(stream, target)


def _count(url: str, label: str, scratch: Path) -> int:
    """The row count that upstream states; `scratch` is a file to use meanwhile.

    Raises:
        Unreachable: no answer.
        InputError: an answer without a number.
    """
    download(url, scratch, COUNT_LARGEST)
    text = scratch.read_text(encoding="utf-8", errors="replace")
    scratch.unlink()
    number = text.strip().rpartition("\n")[2].strip('"\r ')  # "count" on the first line, the number on the second
    if not (number.isascii() and number.isdigit() and len(number) < 16):
        raise InputError(f"{label}: count(*) was answered by {quoted(text[:200], 40)}; must be a number of rows")
    return int(number)


def _check(export: Export, path: Path, label: str, counted: int | None) -> int:
    """Rows of a complete file of the right schema; raises InputError otherwise."""
    rows = export.read(path, label)
    if counted is None:
        export.check_complete(rows, label)
    elif len(rows) != counted:
        raise InputError(f"{label}: has {len(rows)} rows, but count(*) upstream is {counted}; cut short")
    return len(rows)


def _obtain(export: Export, mirror: str | None, path: Path) -> tuple[dict[str, Any] | None, list[str]]:
    """Fills `path` from the first source within reach.

    Returns:
        The provenance record, or None when no source is within reach; and a sentence for each failure.
    """
    failures: list[str] = []
    for source, address in _candidates(export, mirror):
        place = f"{source} {without_password(address).partition('?')[0]}"
        label = f"{export.file_name} ({place})"
        logger.info(f"{export.file_name}: trying {place}")
        try:
            counted = None
            if source == "upstream" and export.count_url:
                counted = _count(export.count_url, label, path.with_suffix(".count"))
            _get(address, path)
        except Unreachable as error:
            logger.warning(f"{export.file_name}: {source} not within reach: {error}")
            failures.append(f"{place}: {error}")
            continue
        rows = _check(export, path, label, counted)
        remark = export.remarks.get(sha256(path))
        notes = [*export.notes, *([MIRROR_NOTE] if source == "mirror" else []), *([remark] if remark else [])]
        location = export.file_name if source == "mirror" else without_password(address)
        logger.info(f"{export.file_name}: {rows} rows from {source}")
        return describe_source(path, source, location, rows=rows, notes=notes), failures
    return None, failures


def _simulate(export: Export, path: Path, seed: int) -> dict[str, Any]:
    """Fills `path` with a stand-in and says so."""
    # The file's name gives each data set a stream of its own.
    export.simulate(path, np.random.default_rng([seed, zlib.crc32(export.file_name.encode())]))
    rows = _check(export, path, f"{export.file_name} (stand-in)", None)
    logger.warning(
        f"{export.file_name}: STAND-IN, not data: {rows} rows simulated with data.standin_seed = {seed}, as no source "
        f"is within reach; when one is: dvc repro -f -s {export.stage}"
    )
    return describe_source(
        path, "standin", "simulated: stochastic renewal epidemics", rows=rows, notes=[STANDIN_NOTE], seed=seed
    )


def _keep(export: Export, path: Path, folders: Iterable[Path], failures: Sequence[str]) -> dict[str, Any] | None:
    """Fills `path` with the real data that an earlier fetch has left in one of `folders`, and says so.

    Returns:
        Their provenance record, now with `kept`, or None where there are none.
    """
    for folder in folders:
        source = folder / DATA_FILE
        if not is_own(source, folder / RECORD):
            continue
        record = read_json(folder / RECORD)
        if record.get("standin") is not False:
            continue
        rows = _check(export, source, f"{export.file_name} ({folder})", None)
        shutil.copyfile(source, path)
        logger.warning(
            f"{export.file_name}: KEPT the {rows} rows in {folder}, real data from {record.get('source')}, as no "
            f"source is within reach ({'; '.join(failures)}); no stand-in takes their place"
        )
        notes = record.get("notes", [])
        return {**record, "notes": notes if record.get("kept") else [*notes, KEPT_NOTE], "kept": True}
    return None


def _settle(path: Path) -> None:
    """Flushes a file to the disk, so that a full one is noticed now, and lets others read it."""
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())
    path.chmod(0o644)


@contextlib.contextmanager
def _errors_name(path: Path) -> Iterator[None]:
    """Makes errors of writing name the file that the user knows, not a temporary one or none."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def fetch(
    export: Export,
    folders: Sequence[str | Path],
    *,
    mirror: str | None,
    on_unreachable: Literal["standin", "fail"],
    standin_seed: int,
    earlier: Sequence[str | Path] = (),
) -> dict[str, Any]:
    """Puts series.csv and provenance.json into each of `folders`: the same bytes, obtained once.

    Args:
        export: what to fetch.
        folders: these two files in them are replaced, and only after everything has been checked.
        mirror: folder or http(s) URL tried first; the environment variable TRANSFORMER_SPECTRUM_MIRROR, when
            set and not empty, takes its place.
        on_unreachable: without mirror and upstream, "standin" keeps real data of an earlier fetch or, where there are
            none, simulates, and says so; "fail" raises.
        standin_seed: seed of that simulation.
        earlier: more folders in which an earlier fetch may have left real data.
    Returns:
        The provenance record that was written.
    Raises:
        InputError: a source's file is broken or incomplete, or nothing is within reach and that is to fail; or a
            folder holds a series.csv that no fetch has written.
        OSError: the disk is full or a folder is not writable.
    """
    for folder in folders:
        hint = f"to use it, call it {export.file_name} and name its folder as data.mirror"
        check_replaceable(folder, DATA_FILE, hint)
    with (
        _errors_name(Path(folders[0]) / DATA_FILE),
        atomic_together(folders=folders, own=(DATA_FILE, RECORD)) as replacements,
    ):
        path = replacements[0] / DATA_FILE
        record, failures = _obtain(export, mirror, path)
        if record is None and on_unreachable == "fail":
            raise InputError(
                f"data.on_unreachable = fail: no source of {export.file_name} is within reach ({'; '.join(failures)})"
            )
        record = record or _keep(export, path, [Path(folder) for folder in (*folders, *earlier)], failures)
        record = record or _simulate(export, path, standin_seed)
        for folder in replacements:
            if folder != replacements[0]:
                shutil.copyfile(path, folder / DATA_FILE)
            _settle(folder / DATA_FILE)
            write_json(folder / RECORD, record)
    return record
