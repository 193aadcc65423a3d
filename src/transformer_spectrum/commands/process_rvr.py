"""The command `process-rvr`: the downloaded export -> series of jurisdictions that `train --dataset` takes."""

from __future__ import annotations

import argparse

from transformer_spectrum.commands.process_covid import PROCESSED, add_processing, raw_file, write_processed

DATA_SETS = {"beds": "rvr_beds", "influenza": "rvr_flu"}


def add(command: argparse.ArgumentParser) -> None:
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
        InputError: the export is missing or broken, or the file's name has an unknown ending.
    """
    from transformer_spectrum.data.catalogue import RVR_COLUMNS
    from transformer_spectrum.data.rvr import read_rvr, rvr_series
    from transformer_spectrum.data.series_files import check_suffix

    out = chosen.out or PROCESSED / f"{DATA_SETS[chosen.column]}.csv"
    check_suffix(out)
    raw = raw_file(chosen.input)
    series, report = rvr_series(read_rvr(raw), RVR_COLUMNS[DATA_SETS[chosen.column]])
    write_processed(out, raw, series, report, column=RVR_COLUMNS[DATA_SETS[chosen.column]])
