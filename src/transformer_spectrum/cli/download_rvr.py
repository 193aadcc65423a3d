"""The command `download-rvr`: what the stage fetch-rvr fetches, beds and influenza in one file."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from transformer_spectrum.cli.download_covid import DATA, add_download, copy_download, download
from transformer_spectrum.cli.options import DOWNLOAD

logger = logging.getLogger(__name__)

FOLDER = "data/raw/rvr"
OF_THE_STAGE = (Path("data/raw/rvr_beds"), Path("data/raw/rvr_flu"))


def add(command: argparse.ArgumentParser) -> None:
    """Its arguments.

    >>> add(command := argparse.ArgumentParser())
    >>> str(command.parse_args([]).out)
    'data/raw/rvr'
    """
    add_download(command, "US hospital series by jurisdiction (CDC RVR 9t9r-e5a3)", FOLDER, DOWNLOAD)


def run(chosen: argparse.Namespace) -> None:
    from transformer_spectrum.data.fetch.exports import fetch_rvr

    record = download(chosen, DOWNLOAD, lambda params, folder: fetch_rvr(params, [folder]), OF_THE_STAGE)
    if chosen.out == Path(FOLDER) and not record["standin"]:
        _hand_to_the_stage(Path(FOLDER))


def _hand_to_the_stage(folder: Path) -> None:
    """Puts real data where the stage fetch-rvr keeps its two copies, in a checkout that has that stage.

    Raises:
        InputError: a file of somebody else lies there.
    """
    from transformer_spectrum.runtime.ownership import check_replaceable, stage_outputs

    outs = {out for _, out in stage_outputs(folder)}
    for copy in (copy for copy in OF_THE_STAGE if (copy / DATA).resolve() in outs):
        check_replaceable(copy, DATA, "move it away")
        copy_download(folder, copy)
        logger.info(f"{copy}: the same, for the stage fetch-rvr")
