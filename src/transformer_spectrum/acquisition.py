"""Raw series of every data set, into a folder each: drawn, or fetched from a mirror, upstream, or simulated."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from transformer_spectrum.data import covid, rvr
from transformer_spectrum.data.sources import DATA_FILE, PROVENANCE_FILE, Export, check_replaceable, fetch
from transformer_spectrum.data.standin import simulate_covid, simulate_rvr
from transformer_spectrum.data.synthetic import synthesize
from transformer_spectrum.data.tables import left_out
from transformer_spectrum.distributions.sgt import SGT
from transformer_spectrum.files import atomic_folder, atomic_path, write_json
from transformer_spectrum.params import Params
from transformer_spectrum.provenance import describe_source
from transformer_spectrum.seeds import numpy_generator


def draw_synthetic(params: Params, folder: str | Path) -> None:
    """Draws the synthetic series of the seed: series.npy (series, steps, features) and provenance.json.

    Raises:
        InputError: the folder holds a series.npy that is of somebody else.
    """
    block = params.data.synthetic
    check_replaceable(folder, "series.npy", "a file of yours belongs into data/raw/file, with data.dataset = file")
    series = synthesize(
        SGT(block.mu, block.sigma, block.lam, block.p, block.q, block.centred, block.unit_variance),
        series=block.series,
        length=block.length,
        features=block.features,
        **{f"kernel_{key}": value for key, value in block.kernel},
        generator=numpy_generator(params.seed, "synthetic series"),
    )
    with atomic_folder(folder, own=("series.npy", PROVENANCE_FILE)) as inside:
        path = inside / "series.npy"
        with atomic_path(path) as temporary, temporary.open("wb") as stream:
            np.save(stream, series, allow_pickle=False)
        about = describe_source(
            path,
            "synthetic",
            "skewed generalized t noise, smoothed",
            rows=len(series),
            seed=params.seed,
            # JSON writes an infinite q as text; the season concerns a baseline, not the series.
            parameters=json.loads(block.model_dump_json(exclude={"season"})),
        )
        write_json(inside / PROVENANCE_FILE, about)


def fetch_covid(params: Params, folder: str | Path, earlier: Sequence[str | Path] = ()) -> None:
    """Fetches daily COVID-19 cases by country: series.csv and provenance.json.

    Args:
        params: all parameters.
        folder: where to.
        earlier: more folders in which an earlier fetch may have left real data.
    Raises:
        InputError: see `data.sources.fetch`.
    """
    data = params.data
    countries = [name for name in data.covid.countries if not covid.is_aggregate(name)]
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
        print(
            f"{covid.FILE_NAME}: of the {len(data.covid.countries)} in data.covid.countries, {lacking}", file=sys.stderr
        )


def fetch_rvr(params: Params, folders: Sequence[str | Path], earlier: Sequence[str | Path] = ()) -> None:
    """Fetches US hospital series by jurisdiction: series.csv and provenance.json into each folder, the same bytes.

    Args:
        params: all parameters.
        folders: where to.
        earlier: more folders in which an earlier fetch may have left real data.
    Raises:
        InputError: see `data.sources.fetch`.
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
