"""The command `process-covid`: the downloaded table -> smoothed series of countries that `train --dataset` takes."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformer_spectrum.cli.options import add_force, add_parameters, asked, read_by
from transformer_spectrum.runtime.errors import InputError

if TYPE_CHECKING:
    from transformer_spectrum.data.series.entity_series import Series

logger = logging.getLogger(__name__)

OPTIONS = {"--smoothing-days": "data.covid.smoothing_days"}
PROCESSED = Path("data/series")  # no output of a stage, so that no stage takes it away


def add_processing(
    command: argparse.ArgumentParser, default: str, table: Mapping[str, str], out: str = "%(default)s"
) -> None:
    """The options of a processing.

    Args:
        command: that gets them.
        default: the download's folder.
        table: option -> parameter.
        out: words for the default of -o, where it depends on other options.

    >>> add_processing(command := argparse.ArgumentParser(), "data/raw/covid", OPTIONS)
    >>> getattr(command.parse_args(["--smoothing-days", "3"]), "data.covid.smoothing_days")
    3
    """
    where = "the folder or .csv that the download has written; %(default)s"
    command.add_argument("-i", "--input", metavar="PATH", type=Path, default=Path(default), help=where)
    words = f"the series: .npz, .npy, .csv or .parquet; what was left out is in FILE.provenance.json; {out}"
    command.add_argument("-o", "--out", metavar="FILE", type=Path, help=words)
    add_parameters(command, table)
    add_force(command)


def _raw_file(path: Path) -> Path:
    """The CSV that was downloaded.

    Raises:
        InputError: it is not there.
    """
    raw = path / "series.csv" if path.is_dir() else path
    if not raw.is_file():
        lack = f"holds no {raw.name}" if path.is_dir() else "no such file"
        raise InputError(f"--input = {path}: {lack}; download it first")
    return raw


def _records_of(raw: Path) -> tuple[Path, Path]:
    """Where a download keeps the provenance of its file, beside the file or of its folder."""
    return raw.with_name(f"{raw.name}.provenance.json"), raw.with_name("provenance.json")


def _provenance_of(raw: Path) -> dict[str, Any]:
    from transformer_spectrum.runtime.files import read_json, sha256
    from transformer_spectrum.runtime.provenance import describe_source

    for path in _records_of(raw):
        if path.is_file():
            provenance = read_json(path)
            if provenance.get("sha256") != sha256(raw):
                raise InputError(f"{path}: is of other bytes than {raw}; download again")
            return provenance
    return describe_source(raw, "file", raw.name, rows=0)


def checked_input(chosen: argparse.Namespace, out: Path) -> Path:
    """The CSV that was downloaded, once the output is known to cost the user nothing.

    Raises:
        InputError: it is not there; or the output is an input, a stage's or somebody else's, or has an unknown ending.

    >>> add(command := argparse.ArgumentParser())
    >>> checked_input(command.parse_args(["-i", "nowhere"]), Path("cases.csv"))
    Traceback (most recent call last):
    transformer_spectrum.runtime.errors.InputError: --input = nowhere: no such file; download it first
    """
    from transformer_spectrum.data.files.series_files import check_suffix
    from transformer_spectrum.runtime.ownership import check_file

    check_suffix(out)
    raw = _raw_file(chosen.input)
    check_file("--out", out, inputs=(raw, *_records_of(raw), *read_by(chosen)), force=chosen.force)
    return raw


def write_processed(out: Path, raw: Path, series: list[Series], left_out: Mapping[str, Any], **settings: Any) -> None:
    """Writes the series of days and, beside them, where they come from and what was left out.

    >>> import numpy as np
    >>> from transformer_spectrum.data.series.entity_series import Series
    >>> Path("raw.csv").touch()
    >>> write_processed(Path("cases.csv"), Path("raw.csv"), [Series("Malta", 0, np.array([[3.0], [4.0]]))], {})
    >>> Path("cases.csv").read_text().split()
    ['entity,date,value', 'Malta,1970-01-01,3.0', 'Malta,1970-01-02,4.0']
    """
    from transformer_spectrum.data.files.series_files import DAYS, SeriesFile, write_series_file
    from transformer_spectrum.data.series.csv_text import left_out as words_on
    from transformer_spectrum.runtime.files import atomic_together
    from transformer_spectrum.runtime.ownership import record_beside, write_record
    from transformer_spectrum.runtime.provenance import describe_source

    provenance = _provenance_of(raw)
    origin = {name: provenance[name] for name in ("sha256", "location", "rows")}
    with atomic_together(record_beside(out), out) as (record, table):
        write_series_file(table, SeriesFile(series, DAYS, ("value",), ()))
        fields = describe_source(
            table,
            provenance["source"],
            provenance["location"],
            rows=sum(len(entity.values) for entity in series),
            notes=provenance["notes"],
            raw=origin,
            settings=settings,
            left_out=json.loads(json.dumps(left_out)),
        )
        write_record(record, fields, {out: table})
    lacking = words_on(left_out)
    logger.info(f"{out}: {len(series)} series, source: {provenance['source']}{lacking and f'; {lacking}'}")
    if provenance["standin"]:
        logger.info(f"{out}: made of a STAND-IN, simulated, not data")


def add(command: argparse.ArgumentParser) -> None:
    """Its arguments.

    >>> add(command := argparse.ArgumentParser())
    >>> str(command.parse_args([]).out)
    'data/series/covid.csv'
    """
    command.description = (
        "Makes one series of each country in data.covid.countries, from its first case to the last day that is data, "
        "smoothed by a trailing mean; sums of countries are left out."
    )
    add_processing(command, "data/raw/covid", OPTIONS)
    command.set_defaults(out=PROCESSED / "covid.csv")


def run(chosen: argparse.Namespace) -> None:
    """Reads, smooths and writes.

    Raises:
        InputError: the table is missing or broken, or see `checked_input`.

    >>> add(command := argparse.ArgumentParser())
    >>> run(command.parse_args(["-i", "nowhere"]))
    Traceback (most recent call last):
    transformer_spectrum.runtime.errors.InputError: --input = nowhere: no such file; download it first
    """
    from transformer_spectrum.config.resolve import resolve
    from transformer_spectrum.data.series.covid import covid_series, read_covid

    raw = checked_input(chosen, chosen.out)
    covid = resolve(asked(chosen, OPTIONS)).params.data.covid
    series, report = covid_series(read_covid(raw), list(covid.countries), covid.smoothing_days)
    write_processed(chosen.out, raw, series, report, smoothing_days=covid.smoothing_days)
