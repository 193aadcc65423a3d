"""The contents of metrics/spectra.json and of the CSV files, as headers and rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from transformer_spectrum.analysis.of_training.summary import Summary, early, evenly
from transformer_spectrum.vocabulary import EVOLUTION_METRICS, HEAT_METRICS

Rows = Iterator[tuple[Any, ...]]

HEADLINE_METRICS = ("spectral_entropy", "stable_rank", "alpha_exponent", "hill_alpha", "mp_spikes", "ks_alpha")
TAIL_FACTS = ("ks_distance", "ks_tail")  # an alpha is never shown without them, nor without its null
ROWS_AT_MOST = 5_000  # two revisions of a plot stay within the 10,000 rows that a browser draws in a second

SPECTRA_EVOLUTION = (
    "optimizer",
    "step",
    "evaluations",
    "family",
    "metric",
    "value",
    "initial",
    "null_low",
    "null_high",
)
HEATMAP = ("optimizer", "step", "evaluations", "matrix", "row", "metric", "value", "change")
SINGULAR_VALUES = ("optimizer", "step", "family", "rank", "value", "initial")
ESD = ("optimizer", "step", "family", "eigenvalue", "density")
LOSS = ("optimizer", "step", "evaluations", "split", "loss", "objective")
FORECASTS = ("window", "entity", "feature", "time", "series", "value")


def headline(summaries: Mapping[str, Summary]) -> dict[str, Any]:
    """The few numbers of metrics/spectra.json.

    Returns:
        optimizer -> the last recorded step, and family -> mean of each metric over the family's matrices at that
        step; "initial" has the same of step 0, the null that all optimizers share. Beside ks_alpha stand its null
        (mean over shuffles of the initial matrices) and its change since step 0 in that null's standard deviations.
        "reasons" is a list of lines "optimizer.family: metrics: k of n: why" for what is missing from a mean (a
        list, so that `dvc metrics show` passes over it).
    """
    reference, *_ = summaries.values()
    reasons: list[str] = []
    tree: dict[str, Any] = {"initial": _families_at(reference, 0, "initial", reasons)}
    for optimizer, summary in summaries.items():
        last = len(summary.history.steps) - 1
        tree[optimizer] = {
            "step": int(summary.history.steps[last]),
            **_families_at(summary, last, optimizer, reasons),
        }
    return {**tree, "reasons": reasons}


def _six(value: float) -> float:
    return float(f"{value:.6g}")


def _families_at(summary: Summary, position: int, prefix: str, reasons: list[str]) -> dict[str, dict[str, float]]:
    tree: dict[str, dict[str, float]] = {}
    for family, members in summary.families.items():
        tree[family] = {}
        missing: dict[str, list[str]] = {}
        for metric in (*HEADLINE_METRICS, *TAIL_FACTS):
            value = float(summary.mean(metric, family)[position])
            if np.isfinite(value):
                tree[family][metric] = _six(value)
            why = summary.analysis.class_reason(metric, position, members)
            if why:
                missing.setdefault(why, []).append(metric)
        null, z = summary.null("ks_alpha", family), summary.z("ks_alpha", family, position)
        if "ks_alpha" in tree[family] and null.draws:
            tree[family]["ks_alpha_null"] = _six(float(null.mean))
            if np.isfinite(z):
                tree[family]["ks_alpha_z"] = _six(z)
        reasons += [f"{prefix}.{family}: {', '.join(names)}: {why}" for why, names in missing.items()]
    return tree


def spectra_evolution(summaries: Mapping[str, Summary]) -> Rows:
    """Family means against steps, each beside its null; thinned to ROWS_AT_MOST rows in all, least at the beginning.

    `initial` is the mean at step 0; `null_low` and `null_high` bound its null, see `Summary.band`. Means that do not
    exist are left out; metrics/spectra_history.csv has the reasons.
    """
    curves = sum(len(summary.families) for summary in summaries.values()) * len(EVOLUTION_METRICS)
    for optimizer, summary in summaries.items():
        history = summary.history
        shown = early(len(history.steps), max(2, ROWS_AT_MOST // curves))
        for family in summary.families:
            for metric in EVOLUTION_METRICS:
                mean = summary.mean(metric, family)
                null = [
                    float(value) if np.isfinite(value) else "" for value in (mean[0], *summary.band(metric, family))
                ]
                for position in shown[np.isfinite(mean[shown])].tolist():
                    step, evaluations = int(history.steps[position]), int(history.evaluations[position])
                    yield optimizer, step, evaluations, family, metric, float(mean[position]), *null


def heatmap(summaries: Mapping[str, Summary]) -> Rows:
    """Every matrix at steps thinned evenly to ROWS_AT_MOST rows in all.

    `row` counts the matrices from the input to the output; `change` is the value relative to step 0, in percent.
    Values that do not exist are left out.
    """
    matrices = sum(len(summary.history.names) for summary in summaries.values()) * len(HEAT_METRICS)
    for optimizer, summary in summaries.items():
        history = summary.history
        shown = evenly(len(history.steps), max(2, ROWS_AT_MOST // matrices))
        for metric in HEAT_METRICS:
            values, change = summary.analysis.values[metric], summary.change(metric)
            for matrix, name in enumerate(history.names.tolist()):
                for position in shown[np.isfinite(change[shown, matrix])].tolist():
                    step, evaluations = int(history.steps[position]), int(history.evaluations[position])
                    pair = float(values[position, matrix]), float(change[position, matrix])
                    yield optimizer, step, evaluations, name, matrix, metric, *pair


def singular_values(summaries: Mapping[str, Summary]) -> Rows:
    """Mean singular value by rank (from 1) at the tracked steps, beside the initial one.

    Ranks are thinned evenly, per curve, to ROWS_AT_MOST rows in all.
    """
    curves = sum(len(summary.families) * len(summary.tracked) for summary in summaries.values())
    for optimizer, summary in summaries.items():
        for family in summary.families:
            initial = summary.mean_singular_values(family, 0)
            ranks = evenly(len(initial), max(2, ROWS_AT_MOST // curves))
            for position in summary.tracked:
                mean, step = summary.mean_singular_values(family, position), int(summary.history.steps[position])
                for i in ranks.tolist():
                    yield optimizer, step, family, i + 1, float(mean[i]), float(initial[i])


def density(eigenvalues: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Share of all eigenvalues in each bin over the bin's width; zeros are in no bin of a logarithmic axis."""
    counts, _ = np.histogram(eigenvalues, edges)
    return counts / (max(1, len(eigenvalues)) * np.diff(edges))


def esd_edges(summaries: Mapping[str, Summary], family: str, *, log: bool = True) -> np.ndarray:
    """Edges of the bins, one set a family, that hold its eigenvalues at all tracked steps of all optimizers.

    About one bin for every six eigenvalues of a step, 8 to 30. Logarithmic bins leave out the smallest 2 % of
    all eigenvalues: they are spread over decades and say nothing about the tail.
    """
    steps = [
        summary.pooled_eigenvalues(family, position) for summary in summaries.values() for position in summary.tracked
    ]
    pooled = np.concatenate(steps)
    pooled = pooled[pooled > 0]
    if not len(pooled):
        return np.array([0.5, 1.5])
    bins = int(np.clip(len(steps[0]) // 6, 8, 30))
    if not log:
        return np.linspace(0.0, pooled.max(), bins + 1)
    smallest, largest = np.quantile(pooled, 0.02), pooled.max()
    if smallest == largest:
        return largest * np.array([0.8, 1.25])
    edges = np.geomspace(smallest, largest, bins + 1)
    edges[-1] = largest  # against rounding
    return edges


def esd(summaries: Mapping[str, Summary]) -> Rows:
    """Empirical spectral density at the tracked steps, pooled over the family's matrices, in logarithmic bins.

    Eigenvalues are in units of the family's mean initial one (`Summary.pooled_eigenvalues`); `eigenvalue` is the
    geometric centre of the bin; empty bins are left out, for the axes are logarithmic. Step 0 is the null.
    """
    for optimizer, summary in summaries.items():
        for family in summary.families:
            edges = esd_edges(summaries, family)
            centres = np.sqrt(edges[:-1] * edges[1:])
            for position in summary.tracked:
                heights = density(summary.pooled_eigenvalues(family, position), edges)
                for i in np.flatnonzero(heights).tolist():
                    yield optimizer, int(summary.history.steps[position]), family, float(centres[i]), float(heights[i])


def loss(summaries: Mapping[str, Summary], objective: str = "") -> Rows:
    """Training and validation loss against steps; a loss that is not finite is left out.

    Args:
        summaries: the trainings.
        objective: what they minimise, and its unit; losses of different objectives are no measure of each other.
    """
    curves = 2 * len(summaries)
    for optimizer, summary in summaries.items():
        history = summary.history
        for position in evenly(len(history.steps), max(2, ROWS_AT_MOST // curves)).tolist():
            for split, values in (("train", history.loss), ("validation", history.validation_loss)):
                if np.isfinite(values[position]):
                    step, evaluations = int(history.steps[position]), int(history.evaluations[position])
                    yield optimizer, step, evaluations, split, float(values[position]), objective


def forecasts(forecast: Mapping[str, Any], windows_at_most: int = 6) -> Rows:
    """Context, truth and the forecast of each optimizer in data units; time 0 is the first step to forecast.

    Args:
        forecast: "context" (n, C, F), "truth" (n, H, F), "forecast" optimizer -> (n, H, F), "entities" (n,).
        windows_at_most: windows shown, taken evenly.
    """
    context, truth = forecast["context"], forecast["truth"]
    series = {"context": context, "truth": truth, **forecast["forecast"]}
    windows = evenly(len(truth), windows_at_most)
    per_window = sum(values.shape[1] for values in series.values())
    features = range(max(1, min(truth.shape[2], ROWS_AT_MOST // (len(windows) * per_window))))
    for window in windows.tolist():
        entity = str(forecast["entities"][window])
        for feature in features:
            for name, values in series.items():
                first = -values.shape[1] if name == "context" else 0
                for time, value in enumerate(values[window, :, feature].tolist(), start=first):
                    yield window, entity, feature, time, name, value
