"""Every data set that data.dataset can name: how its raw series are read; its words are in `vocabulary.DATA_SETS`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformer_spectrum.data.series.entity_series import Series

Read = Callable[[Path, Any], tuple[list[Series], dict[str, Any]]]
"""Folder of the raw data, the data set's block of parameters -> its series, and a report of what was left out."""

RVR_COLUMNS = {
    "rvr_beds": "average_inpatient_beds_occupied",
    "rvr_flu": "total_admissions_all_influenza_confirmed_past_7days",
}


@dataclass(frozen=True)
class DataSet:
    """One data set.

    Attributes:
        stage: the DVC stage that writes its raw data into data/raw/NAME; empty for files of the user's own.
        read: its series, from that folder; None where any file will do, see `series_files`.

    >>> CATALOGUE["covid"].stage
    'fetch-covid'
    """

    stage: str
    read: Read | None


# pandas takes half a second to import, and whoever asks for a stage needs none of it.
def _synthetic(raw: Path, block: Any) -> tuple[list[Series], dict[str, Any]]:
    from transformer_spectrum.data.series.synthetic import read_synthetic

    return read_synthetic(raw / "series.npy"), {}


def _covid(raw: Path, block: Any) -> tuple[list[Series], dict[str, Any]]:
    from transformer_spectrum.data.series.covid import covid_series, read_covid

    return covid_series(read_covid(raw / "series.csv"), list(block.countries), block.smoothing_days)


def _rvr(name: str) -> Read:
    def read(raw: Path, block: Any) -> tuple[list[Series], dict[str, Any]]:
        from transformer_spectrum.data.series.rvr import read_rvr, rvr_series

        return rvr_series(read_rvr(raw / "series.csv"), RVR_COLUMNS[name])

    return read


CATALOGUE: dict[str, DataSet] = {
    "synthetic": DataSet("synthesize", _synthetic),
    "covid": DataSet("fetch-covid", _covid),
    "rvr_beds": DataSet("fetch-rvr", _rvr("rvr_beds")),
    "rvr_flu": DataSet("fetch-rvr", _rvr("rvr_flu")),
    "file": DataSet("", None),
}
"""data.dataset -> how it is made and read."""
