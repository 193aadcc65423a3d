"""The command `process-rvr`: the downloaded export -> series of jurisdictions that `train --dataset` takes."""

from __future__ import annotations

import argparse

from transformer_spectrum.cli.process_covid import PROCESSED, add_processing, checked_input, write_processed

DATA_SETS = {"beds": "rvr_beds", "influenza": "rvr_flu"}


def add(command: argparse.ArgumentParser) -> None:
    """Its arguments.

    >>> add(command := argparse.ArgumentParser())
    >>> command.parse_args(["--column", "influenza"]).column
    'influenza'
    """
    command.description = (
        "Makes one series of each state and territory, from its first value to its last; sums (US, HHS regions) are "
        "left out, and nothing is filled in."
    )
    words = "average inpatient beds in use, or influenza admissions of 7 days; %(default)s"
    command.add_argument("--column", choices=tuple(DATA_SETS), default="beds", help=words)
    outs = " or ".join(str(PROCESSED / f"{dataset}.csv") for dataset in DATA_SETS.values())
    add_processing(command, "data/raw/rvr", {}, outs)


def run(chosen: argparse.Namespace) -> None:
    """Reads and writes.

    Raises:
        InputError: the export is missing or broken, or see `process_covid.checked_input`.

    >>> add(command := argparse.ArgumentParser())
    >>> run(command.parse_args(["-i", "nowhere"]))
    Traceback (most recent call last):
    transformer_spectrum.runtime.errors.InputError: --input = nowhere: no such file; download it first
    """
    from transformer_spectrum.data.series.catalogue import RVR_COLUMNS
    from transformer_spectrum.data.series.rvr import read_rvr, rvr_series

    out = chosen.out or PROCESSED / f"{DATA_SETS[chosen.column]}.csv"
    raw = checked_input(chosen, out)
    series, report = rvr_series(read_rvr(raw), RVR_COLUMNS[DATA_SETS[chosen.column]])
    write_processed(out, raw, series, report, column=RVR_COLUMNS[DATA_SETS[chosen.column]])
