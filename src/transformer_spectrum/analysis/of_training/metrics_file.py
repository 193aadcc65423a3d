"""The few numbers of metrics/spectra.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from transformer_spectrum.analysis.of_training.summary import Summary

HEADLINE_METRICS = ("spectral_entropy", "stable_rank", "alpha_exponent", "hill_alpha", "mp_spikes", "ks_alpha")
TAIL_FACTS = ("ks_distance", "ks_tail")  # an alpha is never shown without them, nor without its null


def headline(summaries: Mapping[str, Summary]) -> dict[str, Any]:
    """The few numbers of metrics/spectra.json.

    Returns:
        optimizer -> the last recorded step, and family -> mean of each metric over the family's matrices at that
        step; "initial" has the same of step 0, the null that all optimizers share. Beside ks_alpha stand its null
        (mean over shuffles of the initial matrices) and its change since step 0 in that null's standard deviations.
        "reasons" is a list of lines "optimizer.family: metrics: k of n: why" for what is missing from a mean (a
        list, so that `dvc metrics show` passes over it).

    >>> numbers = headline(summaries)
    >>> list(numbers), round(numbers["initial"]["readout"]["stable_rank"], 2)
    (['initial', 'adam', 'es', 'ga', 'reasons'], 4.19)
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
            reason = summary.analysis.class_reason(metric, position, members)
            if reason:
                missing.setdefault(reason, []).append(metric)
        null, z = summary.null("ks_alpha", family), summary.z("ks_alpha", family, position)
        if "ks_alpha" in tree[family] and null.draws:
            tree[family]["ks_alpha_null"] = _six(float(null.mean))
            if np.isfinite(z):
                tree[family]["ks_alpha_z"] = _six(z)
        reasons += [f"{prefix}.{family}: {', '.join(names)}: {reason}" for reason, names in missing.items()]
    return tree
