"""The command `download-covid`: what the stage fetch-covid fetches, into a folder or a file of one's own."""

from __future__ import annotations

import argparse
import logging
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformer_spectrum.cli.options import DOWNLOAD, add_force, add_parameters, asked, read_by
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.log import work_begins
from transformer_spectrum.runtime.replacement import scratch_folder

if TYPE_CHECKING:
    from transformer_spectrum.config.load import Params

DATA, PROVENANCE = "series.csv", "provenance.json"

logger = logging.getLogger(__name__)

FOLDER = "data/raw/covid"


def add_download(command: argparse.ArgumentParser, series: str, default: str, table: dict[str, str]) -> None:
    """The options of a download.

    >>> add_download(command := argparse.ArgumentParser(), "daily cases", FOLDER, DOWNLOAD)
    >>> command.parse_args(["-o", "cases.csv"]).out.name
    'cases.csv'
    """
    command.description = (
        f"Fetches {series} from a mirror, else from upstream, else simulates a stand-in that is marked as one, checks "
        "that it is whole, and writes it unchanged with its provenance."
    )
    out = "a folder that gets series.csv and provenance.json, or FILE.csv; %(default)s"
    command.add_argument("-o", "--out", metavar="PATH", type=Path, default=Path(default), help=out)
    add_parameters(command, table)
    add_force(command)


def download(
    chosen: argparse.Namespace, table: dict[str, str], fetch: Callable[[Params, Path], None], stages: Sequence[Path]
) -> dict[str, Any]:
    """Fetches into the folder or file that was asked for; real data that lie there never give way to a stand-in.

    Args:
        chosen: the arguments.
        table: of its options.
        fetch: into a folder.
        stages: folders in which the stage of the same data keeps them, so that they may be written in a DVC checkout.
    Returns:
        The provenance record.
    Raises:
        InputError: see `data.fetch.sources.fetch`; or something would be lost.
    """
    from transformer_spectrum.config.resolve import resolve

    params, out = resolve(asked(chosen, table)).params, chosen.out
    work_begins()
    into = _into_file if out.suffix == ".csv" else _into_folder
    record = into(chosen, lambda folder: fetch(params, folder), stages)
    logger.info(f"{out}: {record['rows']} rows, source: {record['source']}")
    if record["standin"]:
        words = "a STAND-IN, simulated, not data; download again when a source is within reach"
        logger.info(f"{out}: {words}")
    return record


def _into_file(chosen: argparse.Namespace, fetch: Callable[[Path], None], stages: Sequence[Path]) -> dict[str, Any]:
    from transformer_spectrum.runtime.files import atomic_together, read_json
    from transformer_spectrum.runtime.ownership import check_file, is_own, record_beside, write_record

    out = chosen.out
    check_file("--out", out, inputs=read_by(chosen), force=chosen.force)
    with scratch_folder() as scratch:
        folder = scratch / "raw"
        if is_own(out):  # so that real data can be kept
            folder.mkdir()
            shutil.copyfile(out, folder / DATA)
            shutil.copyfile(record_beside(out), folder / PROVENANCE)
        fetch(folder)
        fields = {name: value for name, value in read_json(folder / PROVENANCE).items() if name != "files"}
        with atomic_together(record_beside(out), out) as (record, table):  # data without a record pass for a user's
            shutil.copyfile(folder / DATA, table)
            write_record(record, fields, {out: table})
    return fields


def _into_folder(chosen: argparse.Namespace, fetch: Callable[[Path], None], stages: Sequence[Path]) -> dict[str, Any]:
    from transformer_spectrum.runtime.files import read_json
    from transformer_spectrum.runtime.ownership import check_no_input, check_no_stage, is_own

    out = chosen.out
    if os.path.lexists(out) and not out.is_dir():
        raise InputError(f"--out = {out}: must be a folder or end in .csv")
    check_no_input("--out", out, read_by(chosen))
    check_no_stage("--out", out, but=[stage / name for stage in stages for name in (DATA, PROVENANCE)])
    others = sorted({path.name for path in out.glob("*")} - {DATA, PROVENANCE})
    if others and not chosen.force:
        raise InputError(f"--out = {out}: holds {others[0]} too; name a folder of its own, or pass --force")
    if chosen.force and os.path.lexists(out / DATA) and not is_own(out / DATA):  # lost only when the new one is there
        with scratch_folder() as scratch:
            fetch(scratch / "raw")
            copy_download(scratch / "raw", out)
    else:
        fetch(out)
    return read_json(out / PROVENANCE)


def copy_download(source: Path, folder: Path) -> None:
    """Puts a downloaded file and its provenance into a folder, beside whatever lies there.

    >>> for name in (DATA, PROVENANCE):
    ...     Path("download").mkdir(exist_ok=True)
    ...     Path("download", name).touch()
    >>> copy_download(Path("download"), Path("raw"))
    >>> sorted(path.name for path in Path("raw").iterdir())
    ['provenance.json', 'series.csv']
    """
    from transformer_spectrum.runtime.files import atomic_folder

    with atomic_folder(folder, own=(DATA, PROVENANCE)) as inside:
        for name in (DATA, PROVENANCE):
            shutil.copyfile(source / name, inside / name)


def add(command: argparse.ArgumentParser) -> None:
    """Its arguments.

    >>> add(command := argparse.ArgumentParser())
    >>> str(command.parse_args([]).out)
    'data/raw/covid'
    """
    add_download(command, "daily COVID-19 cases by country (Our World in Data)", FOLDER, DOWNLOAD)


def run(chosen: argparse.Namespace) -> None:
    from transformer_spectrum.data.fetch.exports import fetch_covid

    download(chosen, DOWNLOAD, fetch_covid, [Path(FOLDER)])
