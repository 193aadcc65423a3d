"""Raw series of the two exports, into a folder each: fetched from a mirror or upstream, or simulated."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from transformer_spectrum.config.load import Params
from transformer_spectrum.data.fetch.sources import DATA_FILE, Export, fetch
from transformer_spectrum.data.fetch.standin import simulate_covid, simulate_rvr
from transformer_spectrum.data.series import covid, rvr
from transformer_spectrum.data.series.aggregates import is_sum_of_countries
from transformer_spectrum.data.series.csv_text import left_out

logger = logging.getLogger(__name__)


def fetch_covid(params: Params, folder: str | Path, earlier: Sequence[str | Path] = ()) -> None:
    """Fetches daily COVID-19 cases by country: series.csv and provenance.json.

    Args:
        params: all parameters.
        folder: where to.
        earlier: more folders in which an earlier fetch may have left real data.
    Raises:
        InputError: see `sources.fetch`.
    """
    data = params.data
    countries = [name for name in data.covid.countries if not is_sum_of_countries(name)]
    export = Export(
        file_name=covid.FILE_NAME,
        stage="fetch-covid",
        url=data.covid.url,
        read=covid.read_covid,
        check_complete=covid.check_covid_complete,
        simulate=partial(simulate_covid, countries=countries),
        notes=covid.NOTES,
        remarks=covid.REMARKS,
    )
    _fetch(params, export, [folder], earlier)
    if lacking := left_out(covid.not_used(Path(folder) / DATA_FILE, data.covid.countries)):
        logger.warning(f"{covid.FILE_NAME}: of the {len(data.covid.countries)} in data.covid.countries, {lacking}")


def fetch_rvr(params: Params, folders: Sequence[str | Path], earlier: Sequence[str | Path] = ()) -> None:
    """Fetches US hospital series by jurisdiction: series.csv and provenance.json into each folder, the same bytes.

    Args:
        params: all parameters.
        folders: where to.
        earlier: more folders in which an earlier fetch may have left real data.
    Raises:
        InputError: see `sources.fetch`.
    """
    url = params.data.rvr.url
    export = Export(
        file_name=rvr.FILE_NAME,
        stage="fetch-rvr",
        url=rvr.data_url(url),
        count_url=rvr.count_url(url),
        read=rvr.read_rvr,
        check_complete=rvr.check_rvr_complete,
        simulate=partial(simulate_rvr, regions=rvr.REGIONS),
        notes=rvr.NOTES,
        remarks=rvr.REMARKS,
    )
    _fetch(params, export, folders, earlier)


def _fetch(params: Params, export: Export, folders: Sequence[str | Path], earlier: Sequence[str | Path]) -> None:
    fetch(
        export,
        folders,
        mirror=params.data.mirror,
        on_unreachable=params.data.on_unreachable,
        standin_seed=params.data.standin_seed,
        earlier=earlier,
    )
