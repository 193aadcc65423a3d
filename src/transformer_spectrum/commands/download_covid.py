"""The command `download-covid`: what the stage fetch-covid fetches, into a folder or a file of one's own."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from transformer_spectrum.commands.options import DOWNLOAD, add_parameters, asked
from transformer_spectrum.errors import InputError

if TYPE_CHECKING:
    from transformer_spectrum.params import Params

ITS_OWN = {"series.csv", "provenance.json"}


def add_download(command: argparse.ArgumentParser, what: str, default: str, table: dict[str, str]) -> None:
    """The options of a download."""
    command.description = (
        f"Fetches {what} from a mirror, else from upstream, else simulates a stand-in that is marked as one, checks "
        "that it is whole, and writes it unchanged with its provenance."
    )
    out = "a folder that gets series.csv and provenance.json, or FILE.csv; %(default)s"
    command.add_argument("-o", "--out", metavar="PATH", type=Path, default=Path(default), help=out)
    add_parameters(command, table)


def download(chosen: argparse.Namespace, table: dict[str, str], fetch: Callable[[Params, Path], None]) -> None:
    """Fetches into the folder or file that was asked for.

    Raises:
        InputError: see `data.sources.fetch`; or the folder holds something else, which would be lost.
    """
    import shutil

    from transformer_spectrum.files import atomic_path, read_json, write_json
    from transformer_spectrum.settings import resolve

    params, out = resolve(asked(chosen, table)).params, chosen.out
    if out.suffix == ".csv":
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "raw"
            fetch(params, folder)
            about = read_json(folder / "provenance.json")
            with atomic_path(out) as temporary:
                shutil.copyfile(folder / "series.csv", temporary)
        write_json(out.with_name(f"{out.name}.provenance.json"), about)
    else:
        if out.exists() and not out.is_dir():
            raise InputError(f"--out = {out}: must be a folder or end in .csv")
        others = sorted({path.name for path in out.glob("*")} - ITS_OWN)
        if others:
            raise InputError(f"--out = {out}: holds {others[0]} too; name a folder of its own, for it is replaced")
        fetch(params, out)
        about = read_json(out / "provenance.json")
    print(f"{out}: {about['rows']} rows, source: {about['source']}", file=sys.stderr)
    if about["standin"]:
        words = "a STAND-IN, simulated, not data; download again when a source is within reach"
        print(f"{out}: {words}", file=sys.stderr)


def add(command: argparse.ArgumentParser) -> None:
    add_download(command, "daily COVID-19 cases by country (Our World in Data)", "data/raw/covid", DOWNLOAD)


def run(chosen: argparse.Namespace) -> None:
    from transformer_spectrum.acquisition import fetch_covid

    download(chosen, DOWNLOAD, fetch_covid)
