"""Stage spectra: every spectral metric of the three trainings, as numbers, tables and figures."""

from pathlib import Path

from transformer_spectrum.errors import InputError, one_line_errors
from transformer_spectrum.files import atomic_folder, read_arrays, read_json, write_csv, write_json
from transformer_spectrum.history import History
from transformer_spectrum.params import load_params
from transformer_spectrum.report import details, figures, outcome, style, tables
from transformer_spectrum.report.summary import summarize
from transformer_spectrum.snapshots import Snapshots

OPTIMIZERS = ("adam", "es", "ga")  # fixed: what an earlier run left behind must not come in
MODELS, METRICS = Path("models"), Path("metrics")


def read_forecasts() -> dict:
    """The forecasts of all optimizers for the windows that they share."""
    kept = {
        name: read_arrays(MODELS / name / "forecasts.npz", ("context", "truth", "forecast", "entities"))
        for name in OPTIMIZERS
    }
    first = kept[OPTIMIZERS[0]]
    for name, arrays in kept.items():
        if arrays["forecast"].shape != first["truth"].shape or (arrays["entities"] != first["entities"]).any():
            raise InputError(f"{MODELS / name / 'forecasts.npz'}: other windows than {OPTIMIZERS[0]}'s; run dvc repro")
    return {**first, "forecast": {name: arrays["forecast"] for name, arrays in kept.items()}}


def main() -> None:
    params = load_params()
    standin = bool(read_json("data/processed/provenance.json")["standin"])
    caption = style.caption_of(params, standin)
    forecast = read_forecasts()
    histories = {name: History.load(MODELS / name / "history.npz") for name in OPTIMIZERS}
    snapshots = {name: Snapshots.load(MODELS / name / "snapshots.safetensors") for name in OPTIMIZERS}
    summaries = summarize(histories, snapshots, params.spectra, heads=params.model.heads, seed=params.seed)

    with atomic_folder("plots") as plots:
        for name, header, rows in (
            ("spectra_evolution", tables.SPECTRA_EVOLUTION, tables.spectra_evolution(summaries)),
            ("heatmap", tables.HEATMAP, tables.heatmap(summaries)),
            ("singular_values", tables.SINGULAR_VALUES, tables.singular_values(summaries)),
            ("esd", tables.ESD, tables.esd(summaries)),
            ("loss", tables.LOSS, tables.loss(summaries)),
            ("forecasts", tables.FORECASTS, tables.forecasts(forecast)),
        ):
            # The last column lets our templates say STAND-IN DATA.
            mark = style.STANDIN if standin else ""
            write_csv(plots / f"{name}.csv", (*header, "standin"), ((*row, mark) for row in rows))
        for name, figure in (
            ("spectra_evolution", figures.evolution(summaries, caption)),
            ("spectra_by_budget", figures.evolution(summaries, caption, budget=True)),
            ("heatmap", figures.heatmap(summaries, caption)),
            ("singular_values", figures.singular_value_curves(summaries, caption)),
            ("esd", figures.esd(summaries, caption)),
            ("loss", outcome.loss_curves(summaries, caption)),
            ("forecasts", outcome.forecasts(forecast, caption)),
            ("overview", outcome.overview(summaries, caption)),
        ):
            style.save(figure, plots / f"{name}.png")
        write_csv(METRICS / "spectra_history.csv", details.SPECTRA_HISTORY, details.spectra_history(summaries))
        write_csv(METRICS / "spectra_nulls.csv", details.SPECTRA_NULLS, details.spectra_nulls(summaries))
        write_csv(METRICS / "spectra_tails.csv", details.SPECTRA_TAILS, details.spectra_tails(summaries))
        write_json(METRICS / "spectra.json", {"standin_data": int(standin), **tables.headline(summaries)})


if __name__ == "__main__":
    with one_line_errors("spectra"):
        main()
