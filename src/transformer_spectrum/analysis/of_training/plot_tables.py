"""What the plots show, as tables: the files plots/*.csv, thinned to what a browser draws in a second."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from transformer_spectrum.analysis.of_training.densities import density, esd_edges
from transformer_spectrum.analysis.of_training.rows import stacked
from transformer_spectrum.analysis.of_training.summary import Summary
from transformer_spectrum.analysis.of_training.thinning import early, evenly
from transformer_spectrum.training.records.history import History
from transformer_spectrum.vocabulary import EVOLUTION_METRICS, HEAT_METRICS

ROWS_AT_MOST = 5_000  # two revisions of a plot stay within the 10,000 rows that a browser draws in a second

SPECTRA_EVOLUTION = (
    "optimizer",
    "step",
    "evaluations",
    "validation_mae",
    "distance",
    "family",
    "metric",
    "value",
    "initial",
    "null_low",
    "null_high",
    "effect",
    "deviations",
)
HEATMAP = ("optimizer", "step", "evaluations", "matrix", "row", "metric", "value", "change")
SINGULAR_VALUES = ("optimizer", "step", "of", "family", "rank", "value", "reference")
ESD = ("optimizer", "step", "family", "eigenvalue", "density")
LOSS = ("optimizer", "step", "evaluations", "split", "loss", "objective")
VALIDATION = (
    "optimizer",
    "step",
    "evaluations",
    "validation_mae",
    "residual_mad",
    "influence_cosine",
    "best",
)
FORECASTS = ("window", "entity", "feature", "time", "series", "value")

Blocks = Iterator[dict[str, Any]]


def plot_tables(
    summaries: Mapping[str, Summary], forecast: Mapping[str, Any], objective: str = ""
) -> dict[str, pd.DataFrame]:
    """Name of a file -> its table; arguments as of `loss` and `forecasts`.

    >>> tables = plot_tables(summaries, forecast)
    >>> len(tables["loss"]), len(tables["forecasts"])
    (27, 48)
    """
    return {
        "spectra_evolution": spectra_evolution(summaries),
        "heatmap": heatmap(summaries),
        "singular_values": singular_values(summaries),
        "esd": esd(summaries),
        "loss": loss(summaries, objective),
        "validation": validation(summaries),
        "forecasts": forecasts(forecast),
    }


def _time(history: History, positions: np.ndarray) -> dict[str, np.ndarray]:
    return {"step": history.steps[positions], "evaluations": history.evaluations[positions]}


def spectra_evolution(summaries: Mapping[str, Summary]) -> pd.DataFrame:
    """Family means against steps, each beside its null; thinned to ROWS_AT_MOST rows in all, least at the beginning.

    `initial` is the mean at step 0; `null_low` and `null_high` bound its null at the tracked steps, see `Summary.band`,
    and are missing at the others, as are the difference from the null's mean, `effect`, and the same in standard
    `deviations` of its draws, which is missing too where these say little. `distance` is the family's |W_t - W_0| /
    |W_0|. Means that do not exist are left out; metrics/spectra_history.parquet has the reasons.

    >>> ranks = spectra_evolution(summaries).query("metric == 'stable_rank' and family == 'readout'")
    >>> curve = ranks[ranks["optimizer"] == "es"]
    >>> curve["step"].tolist(), float(curve["value"].iloc[0] - curve["initial"].iloc[0])
    ([0, 1, 2, 3, 4], 0.0)
    """
    curves = sum(len(summary.families) for summary in summaries.values()) * len(EVOLUTION_METRICS)

    def blocks() -> Blocks:
        for optimizer, summary in summaries.items():
            history = summary.history
            at_most = max(2, ROWS_AT_MOST // curves - len(summary.tracked))
            thinned = np.union1d(early(len(history.steps), at_most), summary.tracked)
            for family in summary.families:
                distance = summary.distance(family)
                for metric in EVOLUTION_METRICS:
                    mean = summary.mean(metric, family)
                    positions = thinned[np.isfinite(mean[thinned])]
                    low, high = summary.band(metric, family)
                    effect, deviations = summary.effects(metric, family)
                    yield {
                        "optimizer": optimizer,
                        **_time(history, positions),
                        "validation_mae": history.validation_mae[positions],
                        "distance": distance[positions],
                        "family": family,
                        "metric": metric,
                        "value": mean[positions],
                        "initial": mean[0],
                        "null_low": low[positions],
                        "null_high": high[positions],
                        "effect": effect[positions],
                        "deviations": deviations[positions],
                    }

    return stacked(SPECTRA_EVOLUTION, blocks())


def heatmap(summaries: Mapping[str, Summary]) -> pd.DataFrame:
    """Every matrix at steps thinned evenly to ROWS_AT_MOST rows in all.

    `row` counts the matrices from the input to the output; `change` is the value relative to step 0, in percent.
    Values that do not exist are left out.

    >>> heatmap(summaries)[["optimizer", "step", "matrix", "row", "metric", "change"]].values.tolist()[0]
    ['adam', 0, 'encoder.0.feed_forward.up', 0, 'stable_rank', 0.0]
    """
    matrices = sum(len(summary.history.names) for summary in summaries.values()) * len(HEAT_METRICS)

    def blocks() -> Blocks:
        for optimizer, summary in summaries.items():
            history = summary.history
            thinned = evenly(len(history.steps), max(2, ROWS_AT_MOST // matrices))
            for metric in HEAT_METRICS:
                values, change = summary.analysis.values[metric], summary.change(metric)
                for matrix, name in enumerate(history.names.tolist()):
                    positions = thinned[np.isfinite(change[thinned, matrix])]
                    yield {
                        "optimizer": optimizer,
                        **_time(history, positions),
                        "matrix": name,
                        "row": matrix,
                        "metric": metric,
                        "value": values[positions, matrix],
                        "change": change[positions, matrix],
                    }

    return stacked(HEATMAP, blocks())


def singular_values(summaries: Mapping[str, Summary]) -> pd.DataFrame:
    """Mean singular value by rank (from 1) at the tracked steps, beside what it is measured against.

    `of` weights: of the matrices, beside the initial ones; `of` change: of W_t - W_0, beside the mean of the same
    change with shuffled entries. Ranks are thinned evenly, per curve, to ROWS_AT_MOST rows in all.

    >>> table = singular_values(summaries).query("optimizer == 'ga' and family == 'readout' and rank == 1")
    >>> table["step"].unique().tolist()
    [0, 1, 4]
    """
    curves = sum(2 * len(summary.families) * len(summary.tracked) for summary in summaries.values())

    def blocks() -> Blocks:
        for optimizer, summary in summaries.items():
            for family in summary.families:
                initial = summary.mean_singular_values(family, 0)
                ranks = evenly(len(initial), max(2, ROWS_AT_MOST // curves))
                for position, at in enumerate(summary.tracked):
                    subjects = {"weights": (summary.mean_singular_values(family, at), initial)}
                    if at > 0:
                        subjects["change"] = summary.mean_change_spectra(family, position)
                    for subject, (values, reference) in subjects.items():
                        yield {
                            "optimizer": optimizer,
                            "step": summary.history.steps[at],
                            "of": subject,
                            "family": family,
                            "rank": ranks + 1,
                            "value": values[ranks],
                            "reference": reference[ranks],
                        }

    return stacked(SINGULAR_VALUES, blocks())


def esd(summaries: Mapping[str, Summary]) -> pd.DataFrame:
    """Empirical spectral density at the tracked steps, pooled over the family's matrices, in logarithmic bins.

    Eigenvalues are in units of the family's mean initial one (`Summary.pooled_eigenvalues`); `eigenvalue` is the
    geometric centre of the bin; empty bins are left out, for the axes are logarithmic. Step 0 is where all optimizers
    start; the nulls of later steps are in metrics/spectra_nulls.parquet.

    >>> esd(summaries).query("optimizer == 'es' and family == 'readout'")["step"].unique().tolist()
    [0, 1, 4]
    """

    def blocks() -> Blocks:
        for optimizer, summary in summaries.items():
            for family in summary.families:
                edges = esd_edges(summaries, family)
                centres = np.sqrt(edges[:-1] * edges[1:])
                for position in summary.tracked:
                    heights = density(summary.pooled_eigenvalues(family, position), edges)
                    filled = np.flatnonzero(heights)
                    yield {
                        "optimizer": optimizer,
                        "step": summary.history.steps[position],
                        "family": family,
                        "eigenvalue": centres[filled],
                        "density": heights[filled],
                    }

    return stacked(ESD, blocks())


def loss(summaries: Mapping[str, Summary], objective: str = "") -> pd.DataFrame:
    """Training and validation loss against steps; a loss that is not finite is left out.

    Args:
        summaries: the trainings.
        objective: what they minimise, and its unit; losses of different objectives are no measure of each other.

    >>> loss(summaries)[["optimizer", "step", "split"]].query("optimizer == 'es'").head(2).values.tolist()
    [['es', 0, 'train'], ['es', 0, 'validation']]
    """

    def blocks() -> Blocks:
        for optimizer, summary in summaries.items():
            history = summary.history
            thinned = evenly(len(history.steps), max(2, ROWS_AT_MOST // (2 * len(summaries))))
            positions, splits = np.repeat(thinned, 2), np.tile(["train", "validation"], len(thinned))
            losses = np.stack([history.loss[thinned], history.validation_loss[thinned]], axis=1).reshape(-1)
            finite = np.isfinite(losses)
            yield {
                "optimizer": optimizer,
                **_time(history, positions[finite]),
                "split": splits[finite],
                "loss": losses[finite],
                "objective": objective,
            }

    return stacked(LOSS, blocks())


def validation(summaries: Mapping[str, Summary]) -> pd.DataFrame:
    """What is the same under every loss, against steps: teacher-forced validation MAE, and where the residuals lie.

    `residual_mad` is their median size, scaled units; `influence_cosine` says how alike the loss's pull on them is to
    that of MSE, see `losses.influence_cosine`; `best` is 1 at the step whose weights were selected.

    >>> validation(summaries)[["optimizer", "step"]].values.tolist()[0]
    ['adam', 0]
    """

    def blocks() -> Blocks:
        for optimizer, summary in summaries.items():
            history = summary.history
            best = np.flatnonzero(history.steps == history.best_step)
            thinned = np.union1d(early(len(history.steps), max(2, ROWS_AT_MOST // (2 * len(summaries)))), best)
            yield {
                "optimizer": optimizer,
                **_time(history, thinned),
                "validation_mae": history.validation_mae[thinned],
                "residual_mad": history.residual_mad[thinned],
                "influence_cosine": history.influence_cosine[thinned],
                "best": np.isin(thinned, best).astype(int),
            }

    return stacked(VALIDATION, blocks())


def forecasts(forecast: Mapping[str, Any], windows_at_most: int = 6) -> pd.DataFrame:
    """Context, truth and the forecast of each optimizer in data units; time 0 is the first step to forecast.

    Args:
        forecast: "context" (n, C, F), "truth" (n, H, F), "forecast" optimizer -> (n, H, F), "entities" (n,).
        windows_at_most: windows that are taken, evenly.

    >>> times = np.arange(6.0).reshape(1, 6, 1)
    >>> waves = {"context": times[:, :4], "truth": times[:, 4:], "forecast": {"es": times[:, 4:] + 1}}
    >>> waves["entities"] = ["north"]
    >>> forecasts(waves)[["series", "time", "value"]].tail(3).values.tolist()
    [['truth', 1, 5.0], ['es', 0, 5.0], ['es', 1, 6.0]]
    """
    context, truth = forecast["context"], forecast["truth"]
    series = {"context": context, "truth": truth, **forecast["forecast"]}
    windows = evenly(len(truth), windows_at_most)
    per_window = sum(values.shape[1] for values in series.values())
    features = range(max(1, min(truth.shape[2], ROWS_AT_MOST // (len(windows) * per_window))))

    def blocks() -> Blocks:
        for window in windows.tolist():
            for feature in features:
                for name, values in series.items():
                    length = values.shape[1]
                    yield {
                        "window": window,
                        "entity": str(forecast["entities"][window]),
                        "feature": feature,
                        "time": np.arange(length) - (length if name == "context" else 0),
                        "series": name,
                        "value": values[window, :, feature],
                    }

    return stacked(FORECASTS, blocks())
