"""The command `download-rvr`: what the stage fetch-rvr fetches, beds and influenza in one file."""

from __future__ import annotations

import argparse

from transformer_spectrum.commands.download_covid import add_download, download
from transformer_spectrum.commands.options import DOWNLOAD


def add(command: argparse.ArgumentParser) -> None:
    add_download(command, "US hospital series by jurisdiction (CDC RVR 9t9r-e5a3)", "data/raw/rvr", DOWNLOAD)


def run(chosen: argparse.Namespace) -> None:
    from transformer_spectrum.acquisition import fetch_rvr

    download(chosen, DOWNLOAD, lambda params, folder: fetch_rvr(params, [folder]))
