"""Raw series of the chosen data set -> windows, their description and the baselines on them."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from transformer_spectrum import scores
from transformer_spectrum.config.load import Params
from transformer_spectrum.config.schema import DataParams
from transformer_spectrum.data.describe.description import describe
from transformer_spectrum.data.fetch.sources import MIRROR_VARIABLE
from transformer_spectrum.data.files.series_files import SUFFIXES, ChosenColumns, SeriesFile, read_series_file
from transformer_spectrum.data.series.catalogue import CATALOGUE
from transformer_spectrum.data.series.csv_text import left_out, shortened
from transformer_spectrum.data.series.entity_series import Series
from transformer_spectrum.data.synthesis.drawing import LARGEST
from transformer_spectrum.data.windows.arrays import Windows, pack
from transformer_spectrum.data.windows.cutting import make_windows
from transformer_spectrum.data.windows.splitting import split_times
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.files import atomic_together, read_json, sha256, write_arrays, write_json
from transformer_spectrum.runtime.memory import Footprint, MemoryPart, free_memory
from transformer_spectrum.runtime.provenance import describe_source
from transformer_spectrum.runtime.seeds import numpy_generator

logger = logging.getLogger(__name__)

COPIES = 5
"""Times the windows that are held in float64 while they are cut, scaled and described."""


def _read_series(params: Params, raw: Path) -> tuple[list[Series], dict[str, Any]]:
    """The chosen data set's series and a report of what was left out.

    Args:
        params: all parameters.
        raw: the folder that the data set's fetch stage has written.
    Raises:
        InputError: the file is missing, corrupt or of the wrong schema.
    """
    read = CATALOGUE[params.data.dataset].read
    if read is None:
        raise InputError(f"data.dataset = {params.data.dataset}: has no raw folder of its own")
    return read(raw, params.data.chosen)


def baseline_scores(windows: Windows, season: int) -> tuple[dict[str, Any], dict[str, str]]:
    """Scores of the forecasts that need no model, and reasons for those that are missing.

    >>> context, target = np.arange(4.0).reshape(1, 4, 1), np.array([4.0, 5.0]).reshape(1, 2, 1)
    >>> zeros = np.zeros((1, 1, 1))
    >>> windows = Windows(context, target, zeros, zeros + 1, np.array(["SE"]), np.array([0]))
    >>> values, reasons = baseline_scores(windows, season=2)
    >>> values["persistence"]["mae"]  # 3 for 4 and 5
    1.5
    """
    horizon = windows.target.shape[1]
    values: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    for name, baseline in scores.BASELINES.items():
        try:
            forecast = baseline(windows.context, horizon, season)
        except ValueError as error:
            reasons[name] = f"not computed: {error}"
            continue
        values[name], missing = scores.score(forecast, windows.target, windows.context, windows.location, windows.scale)
        reasons.update({f"{name}.{key}": reason for key, reason in missing.items()})
    return values, reasons


def prepare(params: Params, raw: Path, processed: Path, metrics: Path) -> None:
    """Writes `processed` (windows.npz, provenance.json) and `metrics` (JSON) for the chosen data set.

    Args:
        params: all parameters.
        raw: folder of the chosen data set; for data.dataset = file also the file itself.
        processed: folder of these two files; what else lies in it stays.
        metrics: description of each split, baselines on the test split, provenance.
    Raises:
        InputError: bad raw data, or windows that do not fit.

    >>> from transformer_spectrum.config.load import parse_params, read_tree
    >>> from transformer_spectrum.data.synthesis.drawing import draw_synthetic
    >>> content = read_tree("params.yaml")
    >>> content["data"]["synthetic"] |= {"series": 20}
    >>> draw_synthetic(params := parse_params(content), "raw")
    >>> prepare(params, Path("raw"), Path("processed"), Path("data.json"))
    >>> {name: round(scores["mae"], 2) for name, scores in read_json("data.json")["baselines"].items()}
    {'persistence': 0.75, 'seasonal_naive': 0.86, 'context_mean': 0.69}
    """
    data = params.data
    if data.dataset == "file":
        _prepare_file(params, _file_in(raw), processed, metrics)
        return
    series, report = _read_series(params, raw)
    provenance = read_json(raw / "provenance.json")
    if provenance["standin"] and (os.environ.get(MIRROR_VARIABLE) or data.mirror):
        stage = CATALOGUE[data.dataset].stage
        logger.warning(
            f"prepare: {raw} is a STAND-IN though a mirror is named; to fetch from it: dvc repro -f -s {stage}"
        )
    if lacking := left_out(report):
        logger.warning(f"prepare: {data.dataset}: {lacking}")
    _write_windows(params, series, report, provenance, processed, metrics)


def chosen_columns(params: Params) -> ChosenColumns:
    """The columns that data.file names.

    >>> from transformer_spectrum.config.load import load_params
    >>> chosen_columns(load_params("params.yaml"))
    ChosenColumns(time=None, entity=None, values=None)
    """
    block = params.data.file
    return ChosenColumns(block.time_column, block.entity_column, block.value_columns)


def check_sizes(path: Path, series: Sequence[Series]) -> None:
    """Raises InputError where errors of a user's values could not be squared.

    >>> check_sizes(Path("cases.csv"), [Series("SE", 0, np.array([[1e200]]))])  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    transformer_spectrum.runtime.errors.InputError: cases.csv: values of up to 1e+200: must be below 1e+150; divide ...
    """
    largest = max(np.max(np.abs(each.values[np.isfinite(each.values)]), initial=0.0) for each in series)
    if largest >= LARGEST:
        raise InputError(f"{path}: values of up to {largest:.0e}: must be below {LARGEST:.0e}; divide by a constant")


def _prepare_file(params: Params, path: Path, processed: Path, metrics: Path) -> None:
    """A user's file: says as what its columns were taken, and records it."""
    content = read_series_file(path, chosen_columns(params))
    check_sizes(path, content.series)
    report: dict[str, Any] = {"empty": list(content.empty), "features": list(content.features)}
    provenance = provenance_of_file(path, len(content.series))
    if content.reading is not None:
        report["columns"] = content.reading.record()
        provenance = {**provenance, "columns": content.reading.record()}
    try:
        _write_windows(params, content.series, report, provenance, processed, metrics)
    except InputError as error:
        raise InputError(f"{path}: {error}{_why_few_windows(content)}") from None
    if content.reading is not None:
        logger.info(f"{path}: {content.reading.line()}")


def _why_few_windows(content: SeriesFile) -> str:
    """What of a file keeps windows from being cut."""
    reasons = [] if content.reading is None else [content.reading.line()]
    runs = [_longest_run(np.isfinite(entity_series.values).all(axis=1)) for entity_series in content.series]
    if min(runs) < max(len(entity_series.values) for entity_series in content.series):
        reasons.append(f"the longest run without a missing value has {max(runs)} steps")
    ranges = [
        np.nanmax(entity_series.values, axis=0, initial=-np.inf)
        - np.nanmin(entity_series.values, axis=0, initial=np.inf)
        for entity_series in content.series
    ]
    flat = [name for i, name in enumerate(content.features) if all(extent[i] <= 0 for extent in ranges)]
    if flat and len(content.features) > len(flat):
        reasons.append(f"{shortened(flat)} never changes within a series; leave it out by --value-columns")
    return "".join(f"; {reason}" for reason in reasons)


def _longest_run(present: np.ndarray) -> int:
    """Most neighbours in (T,) that are true."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], present.astype(np.int8), [0]])))
    return int((edges[1::2] - edges[::2]).max(initial=0))


def _file_in(raw: Path) -> Path:
    """The file itself, or the only one of the right kind in its folder."""
    if not raw.is_dir():
        return raw
    files = sorted(path for path in raw.iterdir() if path.suffix in SUFFIXES)
    if len(files) != 1:
        raise InputError(f"{raw}: {len(files)} files of series; data.dataset = file needs one, {', '.join(SUFFIXES)}")
    return files[0]


def provenance_of_file(path: Path, series: int) -> dict[str, Any]:
    """What is known of a user's file: its checksum, and what the command that made it has written beside it.

    Raises:
        InputError: what lies beside it is of other bytes, so a stand-in could pass as data.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile(suffix=".csv") as file:
    ...     provenance_of_file(Path(file.name), series=3)["standin"]
    False
    """
    beside = path.with_name(f"{path.name}.provenance.json")
    if not beside.is_file():
        return describe_source(path, "file", path.name, rows=series)
    record = read_json(beside)
    if not isinstance(record, dict) or record.get("sha256") != sha256(path):
        raise InputError(
            f"{beside}: is of other bytes than {path}; make the file again, or remove this one if it is yours"
        )
    return record


def windows_footprint(series: Sequence[Series], data: DataParams) -> Footprint:
    """Memory that cutting windows takes at its peak, about, beyond the series.

    Args:
        series: all of them.
        data: how they are cut.
    Raises:
        InputError: the series span too little for a split by time.

    >>> from transformer_spectrum.config.load import load_params
    >>> data = load_params("params.yaml").data.model_copy(update={"stride": 1})
    >>> walk = Series("walk", 0, np.zeros((1000, 1)))
    >>> round(windows_footprint([walk], data).size / 1e6, 1)  # 701 windows of 300 steps
    8.4
    """
    length = data.window_length
    usable = [each for each in series if len(each.values) >= length]
    if not usable:
        return Footprint(0, {})
    begin = min(each.start for each in usable)
    end = max(each.start + len(each.values) for each in usable)
    spans = [(begin, end)]
    if data.split.by == "time":
        spans = list(split_times(begin, end, length, data.split.validation, data.split.test).values())
    numbers = 0
    for each in usable:
        for first, last in spans:
            room = min(last, each.start + len(each.values)) - max(first, each.start) - length
            numbers += max(0, room // (data.stride or length) + 1) * length * each.values.shape[1]
    return Footprint(0, {"windows": MemoryPart(COPIES * 8 * numbers, "data.stride larger, or series fewer")})


def _write_windows(
    params: Params,
    series: Sequence[Series],
    report: Mapping[str, Any],
    provenance: Mapping[str, Any],
    processed: Path,
    metrics: Path,
) -> None:
    """What `prepare` writes, from series of any origin; see there."""
    data = params.data
    if refusal := windows_footprint(series, data).refusal(free_memory()):
        raise InputError(f"windows of {data.dataset} {refusal}")
    splits, counts = make_windows(
        series,
        length=data.window_length,
        horizon=data.horizon,
        stride=data.stride,
        by=data.split.by,
        validation=data.split.validation,
        test=data.split.test,
        scaling=data.scaling,
        generator=numpy_generator(params.seed, "split"),
    )
    described: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    for name, windows in splits.items():
        whole = np.concatenate([windows.context, windows.target], axis=1).astype(np.float64)
        tails = describe(
            whole,
            hill_fraction=data.describe.hill_fraction,
            fit_points=data.describe.fit_points,
            generator=numpy_generator(params.seed, f"describe {name}"),
        )
        reasons.update({f"{name}.{key}": reason for key, reason in tails.pop("reasons", {}).items()})
        described[name] = {**counts[name], "entities": len(set(windows.entity.tolist())), **tails}
    baselines, missing = baseline_scores(splits["test"], data.chosen.season)
    reasons.update({f"baselines.{key}": reason for key, reason in missing.items()})
    own = ("windows.npz", "provenance.json")
    with atomic_together(metrics, folders=[processed], own=own) as (description, folder):
        write_arrays(folder / "windows.npz", pack(splits))
        write_json(folder / "provenance.json", provenance)
        write_json(
            description,
            {
                "dataset": data.dataset,
                "series": {**counts["series"], **report},
                **described,
                "baselines": baselines,
                "provenance": provenance,
                "reasons": reasons,
            },
        )
