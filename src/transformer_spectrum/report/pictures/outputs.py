"""Everything that is written about the spectra of one training or of several: tables, figures, numbers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from transformer_spectrum.analysis.of_training import details, tables
from transformer_spectrum.analysis.of_training.summary import Summary, summarize
from transformer_spectrum.config.load import Params
from transformer_spectrum.report.figures.caption import Caption
from transformer_spectrum.report.pictures import (
    esd,
    evolution,
    forecasts,
    heatmap,
    loss,
    overview,
    singular_values,
    style,
)
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.files import atomic_together, read_arrays, write_csv, write_json
from transformer_spectrum.runtime.progress import Progress
from transformer_spectrum.training.records.history import History
from transformer_spectrum.training.records.snapshots import Snapshots
from transformer_spectrum.vocabulary import STANDIN


def read_forecasts(models: Mapping[str, Path]) -> dict[str, Any]:
    """The forecasts of all trainings for the windows that they share.

    Args:
        models: optimizer -> folder of its training.
    Raises:
        InputError: a file is missing or corrupt, or the trainings have seen other windows.
    """
    names = ("context", "truth", "forecast", "entities")
    files = {optimizer: read_arrays(folder / "forecasts.npz", names) for optimizer, folder in models.items()}
    (reference, first), *_ = files.items()
    for optimizer, arrays in files.items():
        if arrays["forecast"].shape != first["truth"].shape or (arrays["entities"] != first["entities"]).any():
            path = models[optimizer] / "forecasts.npz"
            raise InputError(f"{path}: other windows than {reference}'s; run dvc repro")
    return {**first, "forecast": {optimizer: arrays["forecast"] for optimizer, arrays in files.items()}}


def summaries_of(params: Params, models: Mapping[str, Path]) -> dict[str, Summary]:
    """Every training analyzed; arguments and errors as in `read_forecasts`, and those of `summarize`."""
    histories = {optimizer: History.load(folder / "history.npz") for optimizer, folder in models.items()}
    snapshots = {optimizer: Snapshots.load(folder / "snapshots.safetensors") for optimizer, folder in models.items()}
    return summarize(histories, snapshots, params.spectra, heads=params.model.heads, seed=params.seed)


def write_outputs(params: Params, models: Mapping[str, Path], caption: Caption, plots: Path, metrics: Path) -> None:
    """Analyzes the trainings and writes what there is to say about them.

    Args:
        params: those of the trainings.
        models: optimizer -> folder of its training.
        caption: of the figures.
        plots: folder for the figures and their tables; what else lies in it stays.
        metrics: folder for spectra.json and the long tables spectra_history, spectra_nulls and spectra_tails.csv; these
            and `plots` are put in place together, `plots` last.
    Raises:
        InputError: see `read_forecasts` and `summarize`.
    """
    forecast, summaries = read_forecasts(models), summaries_of(params, models)
    mark = STANDIN if caption.standin else ""
    names = ("spectra_history.csv", "spectra_nulls.csv", "spectra_tails.csv", "spectra.json")
    with atomic_together(*(metrics / name for name in names), folders=[plots], own=()) as (*files, folder):
        history, nulls, tails, headline = files
        for name, header, rows in (
            ("spectra_evolution", tables.SPECTRA_EVOLUTION, tables.spectra_evolution(summaries)),
            ("heatmap", tables.HEATMAP, tables.heatmap(summaries)),
            ("singular_values", tables.SINGULAR_VALUES, tables.singular_values(summaries)),
            ("esd", tables.ESD, tables.esd(summaries)),
            ("loss", tables.LOSS, tables.loss(summaries, f"{caption.loss}, {caption.loss_unit}")),
            ("forecasts", tables.FORECASTS, tables.forecasts(forecast)),
        ):
            # The last column lets our templates say STAND-IN DATA.
            write_csv(folder / f"{name}.csv", (*header, "standin"), ((*row, mark) for row in rows))
        drawings = {
            "spectra_evolution": partial(evolution.draw, summaries),
            "spectra_by_budget": partial(evolution.draw, summaries, budget=True),
            "heatmap": partial(heatmap.draw, summaries),
            "singular_values": partial(singular_values.draw, summaries),
            "esd": partial(esd.draw, summaries),
            "loss": partial(loss.draw, summaries),
            "forecasts": partial(forecasts.draw, forecast),
            "overview": partial(overview.draw, summaries),
        }
        with Progress("figures", len(drawings), unit="figure") as progress:
            for count, (name, draw) in enumerate(drawings.items(), start=1):
                style.save(draw(caption=caption), folder / f"{name}.png")
                progress.update(count)
        write_csv(history, details.SPECTRA_HISTORY, details.spectra_history(summaries))
        write_csv(nulls, details.SPECTRA_NULLS, details.spectra_nulls(summaries))
        write_csv(tails, details.SPECTRA_TAILS, details.spectra_tails(summaries))
        write_json(headline, {"standin_data": int(caption.standin), **tables.headline(summaries)})
