"""The few numbers of metrics/spectra.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from transformer_spectrum.analysis.comparison.endpoints import METRICS_COMPARED
from transformer_spectrum.analysis.of_training.nulls import null_of_alpha
from transformer_spectrum.analysis.of_training.summary import Summary
from transformer_spectrum.spectra.analysis import Absence
from transformer_spectrum.weights.matrices.families import moving_families

HEADLINE_METRICS = (
    "spectral_entropy",
    "stable_rank",
    "change_stable_rank",
    "alpha_exponent",
    "hill_alpha",
    "mp_spikes",
    "ks_alpha",
)
TAIL_FACTS = ("ks_distance", "ks_tail")  # an alpha is never shown without them, nor without its null


def headline(summaries: Mapping[str, Summary]) -> dict[str, Any]:
    """The few numbers of metrics/spectra.json.

    Returns:
        optimizer -> the last recorded step, and family -> mean of each metric over the family's matrices at that
        step; "initial" has the same of step 0, from which all optimizers start. Beside ks_alpha stands the mean of its
        null, W_0 plus the change with shuffled entries; at step 0, where nothing has changed, W_0 with its entries
        shuffled.
        "reasons" is a list (so that `dvc metrics show` passes over it) of what is missing from means: the training,
        the family, the metrics, the reason, and of how many of its matrices.

    >>> numbers = headline(summaries)
    >>> list(numbers), round(numbers["initial"]["readout"]["stable_rank"], 2)
    (['initial', 'adam', 'es', 'ga', 'reasons'], 4.19)
    """
    reference, *_ = summaries.values()
    reasons: list[dict[str, Any]] = []
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


def rounded(value: float | None) -> float | None:
    """To six significant digits; None where there is no finite value.

    >>> rounded(0.123456789), rounded(float("nan"))
    (0.123457, None)
    """
    return None if value is None or not np.isfinite(value) else _six(value)


def _families_at(
    summary: Summary, position: int, training: str, reasons: list[dict[str, Any]]
) -> dict[str, dict[str, float]]:
    tree: dict[str, dict[str, float]] = {}
    for family, members in summary.families.items():
        tree[family] = {}
        missing: dict[Absence, list[str]] = {}
        for metric in (*HEADLINE_METRICS, *TAIL_FACTS):
            value = float(summary.mean(metric, family)[position])
            if np.isfinite(value):
                tree[family][metric] = _six(value)
            for absence in summary.analysis.absences(metric, position, members):
                missing.setdefault(absence, []).append(metric)
        if "ks_alpha" in tree[family]:
            at = summary.tracked.index(position)
            null = summary.null("ks_alpha", family, at, name=null_of_alpha(int(summary.history.steps[position])))
            if null.draws:
                tree[family]["ks_alpha_null"] = _six(float(null.mean))
        place = {"training": training, "family": family}
        reasons += [{**place, "metrics": metrics, **absence._asdict()} for absence, metrics in missing.items()]
    return tree


def effects(summaries: Mapping[str, Summary]) -> dict[str, Any]:
    """The few numbers of metrics/effects.json: what training did to the family that moves, at the best step.

    Returns:
        optimizer -> the best step (whose weights the scores are of), its validation MAE, and of the moving family the
        relative distance |W_t - W_0| / |W_0| of all its matrices as one vector, the mean stable rank of the change and
        of the matrices, each with its effect, the difference from its null (of the change: its entries shuffled; of the
        matrices: W_0 plus the shuffled change), and that in standard deviations of the null's draws. What has no value
        is left out, and "reasons" says why. One training is one seed: the deviations say nothing of what another seed
        would give.

    >>> numbers = effects(summaries)
    >>> sorted(numbers["adam"]["feed_forward"])[:3]
    ['change_stable_rank', 'change_stable_rank_deviations', 'change_stable_rank_effect']
    """
    reasons: list[dict[str, Any]] = []
    tree: dict[str, Any] = {}
    for optimizer, summary in summaries.items():
        history = summary.history
        at = int(np.flatnonzero(history.steps == history.best_step)[0])
        tree[optimizer] = {"step": int(history.best_step), "validation_mae": _six(float(history.validation_mae[at]))}
        for family in moving_families(summary.spectral_families):
            tree[optimizer][family], missing = _effects_of(summary, family, at)
            place = {"training": optimizer, "family": family}
            reasons += [{**place, "metrics": [metric], "reason": reason} for metric, reason in missing.items()]
    return {**tree, "reasons": reasons}


def _effects_of(summary: Summary, family: str, at: int) -> tuple[dict[str, float], dict[str, str]]:
    position, reasons = summary.tracked.index(at), {}
    numbers = {"distance": float(summary.distance(family)[at])}
    for metric in METRICS_COMPARED:
        against = summary.effect(metric, family, position)
        numbers[metric] = summary.observed(metric, family, position)
        numbers[f"{metric}_effect"] = float(against.difference)
        numbers[f"{metric}_deviations"] = float(against.deviations)
        if str(against.reason):
            reasons[metric] = str(against.reason)
    return {name: _six(value) for name, value in numbers.items() if np.isfinite(value)}, reasons
