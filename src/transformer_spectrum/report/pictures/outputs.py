"""Everything that is written about the spectra of one training or of several: tables, figures, numbers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from transformer_spectrum.analysis.footprint import check_spectra_fit
from transformer_spectrum.analysis.of_training.comparison_file import comparison
from transformer_spectrum.analysis.of_training.inputs import read_forecasts, summaries_of
from transformer_spectrum.analysis.of_training.long_tables import LONG_TABLES, long_tables
from transformer_spectrum.analysis.of_training.metrics_file import effects, headline
from transformer_spectrum.analysis.of_training.plot_tables import plot_tables
from transformer_spectrum.analysis.of_training.rows import cells
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
from transformer_spectrum.runtime.files import atomic_together, write_csv, write_json, write_table
from transformer_spectrum.runtime.progress import Progress
from transformer_spectrum.vocabulary import AXIS_METRICS, STANDIN


def write_outputs(params: Params, models: Mapping[str, Path], caption: Caption, plots: Path, metrics: Path) -> None:
    """Analyzes the trainings and writes what there is to say about them.

    Args:
        params: those of the trainings.
        models: optimizer -> folder of its training.
        caption: of the figures.
        plots: folder for the figures and their tables; what else lies in it stays.
        metrics: folder for spectra.json, effects.json, comparison.json and the long tables, `LONG_TABLES` with the
            ending .parquet; these and `plots` are put in place together, `plots` last.
    Raises:
        InputError: see `check_spectra_fit`, `read_forecasts` and `summarize`.
    """
    check_spectra_fit(models)
    forecast, summaries = read_forecasts(models), summaries_of(params, models)
    mark = STANDIN if caption.standin else ""
    names = (*(f"{name}.parquet" for name in LONG_TABLES), "spectra.json", "effects.json", "comparison.json")
    with atomic_together(*(metrics / name for name in names), folders=[plots], own=()) as (*files, folder):
        *long, headline_file, effects_file, comparison_file = files
        for name, table in plot_tables(summaries, forecast, f"{caption.loss}, {caption.loss_unit}").items():
            # The last column lets our templates say STAND-IN DATA.
            write_csv(folder / f"{name}.csv", (*table.columns, "standin"), cells(table.assign(standin=mark)))
        drawings = {
            "spectra_evolution": partial(evolution.draw, summaries),
            "spectra_by_budget": partial(evolution.draw, summaries, across="evaluations", metrics=AXIS_METRICS),
            "spectra_by_mae": partial(evolution.draw, summaries, across="validation_mae", metrics=AXIS_METRICS),
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
        for path, table in zip(long, long_tables(summaries).values(), strict=True):
            write_table(path, table)
        write_json(headline_file, {"standin_data": int(caption.standin), **headline(summaries)})
        write_json(effects_file, {"standin_data": int(caption.standin), **effects(summaries)})
        write_json(
            comparison_file,
            comparison(summaries, dataset=params.data.dataset, seed=params.seed, names=caption.names_of(summaries)),
        )
