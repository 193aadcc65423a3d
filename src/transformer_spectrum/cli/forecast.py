"""The command `forecast`: what follows each series of a file, by a trained model, as a table and a picture."""

from __future__ import annotations

import argparse
import dataclasses
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformer_spectrum.cli.options import COLUMNS, add_columns, add_force
from transformer_spectrum.runtime.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from transformer_spectrum.analysis.loading import Trained
    from transformer_spectrum.data.files.series_files import ChosenColumns, SeriesFile

logger = logging.getLogger(__name__)


def add(command: argparse.ArgumentParser) -> None:
    """Its arguments.

    >>> add(command := argparse.ArgumentParser())
    >>> command.parse_args(["runs/a/b", "-d", "cases.csv", "-o", "forecast.csv"]).out.name
    'forecast.csv'
    """
    command.description = (
        "Forecasts what follows the end of each series, from its last steps, by the best weights of a training, and "
        "writes a table, long and under the names of the input, and a picture."
    )
    add = command.add_argument
    add(
        "run", metavar="RUN", type=Path, help="runs/NAME/TIME, models/adam of the pipeline, or one .safetensors of them"
    )
    add("-d", "--dataset", metavar="FILE", type=Path, required=True, help="series: .csv, .npy, .npz or .parquet")
    add("-o", "--out", metavar="FILE", type=Path, required=True, help="the forecasts: .csv, .npy, .npz or .parquet")
    add_columns(command, "the training's if not given")
    add("--plot", metavar="FILE", type=Path, help="the picture, a .png; that of the table with .png if not given")
    add_force(command)


def _columns(chosen: argparse.Namespace, trained: Trained) -> ChosenColumns:
    """Those that are given, else those that the training was told, where the file is a table."""
    from transformer_spectrum.config.fields import column_names
    from transformer_spectrum.data.files.series_files import ChosenColumns
    from transformer_spectrum.data.prepare import chosen_columns

    time, entity, listed = (getattr(chosen, name) for name in COLUMNS.values())
    try:
        values = None if listed is None else column_names(listed)
    except ValueError as error:
        raise InputError(f"--value-columns = {listed}: {error}") from None
    named = ChosenColumns(time, entity, values)
    if chosen.dataset.suffix in (".npy", ".npz"):
        return named
    told = chosen_columns(trained.params)
    return ChosenColumns(named.time or told.time, named.entity or told.entity, named.values or told.values)


def _in_order_of_training(held: SeriesFile, trained: Trained, path: Path) -> SeriesFile:
    """The features in the order in which the model has learnt them, where both are named."""
    learnt = trained.provenance["data"].get("columns")
    if learnt is None or learnt["entity"] is None or held.reading is None or len(held.features) < 2:
        return held
    names = learnt["values"]
    if sorted(names) != sorted(held.features):
        if len(names) != len(held.features):
            return held  # as `_contexts` will say
        raise InputError(
            f"{path}: features: {', '.join(held.features)}; the model was trained on {', '.join(names)}; name the "
            "columns as there"
        )
    order = [held.features.index(name) for name in names]
    if order != list(range(len(order))):
        logger.info(f"{path}: features in the order of the training: {', '.join(names)}")
    series = [dataclasses.replace(entity, values=entity.values[:, order]) for entity in held.series]
    return dataclasses.replace(held, series=series, features=tuple(names))


def _contexts(trained: Trained, held: SeriesFile, path: Path) -> tuple[list[int], np.ndarray]:
    """Positions of the series that can be forecast, and (n, C, F) their last steps; says why others cannot."""
    import numpy as np

    from transformer_spectrum.data.windows.scaling import scale_by_context

    length, features = trained.params.data.context, trained.model.features
    scaling = trained.params.data.scaling
    if len(held.features) != features:
        raise InputError(
            f"{path}: features: {len(held.features)} ({', '.join(held.features)}); the model has {features}"
        )
    positions, ends, left_out = [], [], {}
    for position, series in enumerate(held.series):
        last = series.values[-length:]
        if len(last) < length:
            left_out[series.entity] = f"{len(last)} steps of the {length} that the model needs"
        elif not np.isfinite(last).all():
            left_out[series.entity] = f"missing values in the last {length} steps"
        elif (np.ptp(last, axis=0) == 0).any():
            left_out[series.entity] = f"constant in the last {length} steps, which gives no scale"
        elif not (scale_by_context(last[None], length, scaling)[1] > 0).all():
            left_out[series.entity] = f"an interquartile range of 0 in the last {length} steps, which gives no scale"
        else:
            positions.append(position)
            ends.append(last)
    for entity, why in left_out.items():
        logger.warning(f"{path}: {entity} is left out: {why}")
    if not positions:
        raise InputError(f"{path}: no series can be forecast; {next(iter(left_out.values()))}")
    return positions, np.stack(ends)


def _forecast(trained: Trained, context: np.ndarray) -> np.ndarray:
    """(n, C, F) -> (n, H, F), both in data units."""
    import numpy as np
    import torch

    from transformer_spectrum.data.windows.scaling import scale_by_context

    location, scale = scale_by_context(context, context.shape[1], trained.params.data.scaling)
    scaled = torch.from_numpy(((context - location) / scale).astype(np.float32))
    forecasts = trained.model.forecast(scaled, trained.params.data.horizon).numpy().astype(np.float64)
    return forecasts * scale + location


def run(chosen: argparse.Namespace) -> None:
    """Loads, forecasts and writes.

    Raises:
        InputError: no such run, a bad file, or series that the model cannot forecast.

    >>> add(command := argparse.ArgumentParser())
    >>> run(command.parse_args(["runs/a/b", "-d", "cases.csv", "-o", "forecast.csv", "--plot", "forecast.pdf"]))
    Traceback (most recent call last):
    transformer_spectrum.runtime.errors.InputError: --plot = forecast.pdf: must end in .png
    """
    from transformer_spectrum.analysis.loading import load
    from transformer_spectrum.data.files.series_files import check_suffix, read_series_file, write_series_file
    from transformer_spectrum.data.prepare import check_sizes
    from transformer_spectrum.data.series.entity_series import Series
    from transformer_spectrum.runtime.files import atomic_together
    from transformer_spectrum.runtime.ownership import check_file, record_beside, write_record

    check_suffix(chosen.out)
    plot = chosen.plot or chosen.out.with_suffix(".png")
    if plot.suffix != ".png":
        raise InputError(f"--plot = {plot}: must end in .png")
    inputs, record = (chosen.run, chosen.dataset), record_beside(chosen.out)
    check_file("--out", chosen.out, inputs=inputs, force=chosen.force)
    check_file("--plot", plot, inputs=inputs, force=chosen.force, record=record)
    trained = load(chosen.run / "model" if (chosen.run / "model").is_dir() else chosen.run)
    held = read_series_file(chosen.dataset, _columns(chosen, trained))
    check_sizes(chosen.dataset, held.series)
    held = _in_order_of_training(held, trained, chosen.dataset)
    positions, context = _contexts(trained, held, chosen.dataset)
    forecasts = _forecast(trained, context)
    series = [held.series[position] for position in positions]
    follow = [
        Series(past.entity, past.start + len(past.values), values)
        for past, values in zip(series, forecasts, strict=True)
    ]
    picture_of = {"context": context, "entities": [past.entity for past in series]}
    with atomic_together(record, plot, chosen.out) as (beside, picture, table):  # all three or none
        write_series_file(table, dataclasses.replace(held, series=follow, empty=()))
        standin = _draw(trained, chosen.dataset, picture_of, forecasts, picture)
        fields = _provenance(trained, chosen, table, len(forecasts), standin=standin)
        write_record(beside, fields, {chosen.out: table, plot: picture})
    if held.reading is not None:
        logger.info(f"{chosen.dataset}: {held.reading.line()}")
    logger.info(f"{chosen.out}: {len(forecasts)} series, {forecasts.shape[1]} steps each; picture: {plot}")


def _provenance(
    trained: Trained, chosen: argparse.Namespace, table: Path, count: int, *, standin: bool
) -> dict[str, Any]:
    """Where the forecasts come from, in the words of every other data set."""
    from transformer_spectrum.runtime.files import sha256
    from transformer_spectrum.runtime.provenance import describe_source

    fields = describe_source(
        table,
        "forecast",
        f"forecasts of {chosen.dataset.name} by {trained.provenance['optimizer']}",
        rows=count,
        notes=["Forecasts by a model, not data."],
        dataset={"name": chosen.dataset.name, "sha256": sha256(chosen.dataset)},
        weights={"name": trained.path.name, "sha256": sha256(trained.path)},
    )
    return {**fields, "standin": standin}


def _draw(trained: Trained, path: Path, past: dict[str, Any], forecasts: np.ndarray, plot: Path) -> bool:
    """Draws the picture; whether a stand-in has a part in it."""
    from transformer_spectrum.data.prepare import provenance_of_file
    from transformer_spectrum.report.figures.caption import caption_of
    from transformer_spectrum.report.pictures import forecasts as pictures
    from transformer_spectrum.report.pictures import style

    standin = trained.provenance["data"]["standin"] or provenance_of_file(path, 0)["standin"]
    caption = dataclasses.replace(caption_of(trained.params, bool(standin)), dataset=path.name)
    table = {**past, "forecast": {trained.provenance["optimizer"]: forecasts}}
    style.save(pictures.draw(table, caption), plot)
    return bool(standin)
