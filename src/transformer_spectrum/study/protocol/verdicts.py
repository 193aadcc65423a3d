"""A protocol answered on a study's table: controls first, then every contrast, and the secondary endpoints."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from transformer_spectrum.study.inference.discovery import benjamini_hochberg
from transformer_spectrum.study.inference.estimates import mean_difference
from transformer_spectrum.study.inference.matching import difference_matrix, paired
from transformer_spectrum.study.inference.robustness import ContrastVerdict, failed, judge, under_controls
from transformer_spectrum.study.protocol.model import Protocol
from transformer_spectrum.study.protocol.standing import Standing, standing, with_standing

SECONDARY = ("block", "contrast", "dataset", "endpoint", "axis", "pairs", "mean", "low", "high", "d_z", "p", "q")
"""Columns of the secondary endpoints' table."""


@dataclass(frozen=True)
class StudyVerdicts:
    """What a study comes to.

    Attributes:
        standing: whether its results confirm anything.
        controls: verdicts of the contrasts whose outcome is known beforehand; read them first.
        failed_controls: name -> the endpoints on which a control did not come out as it has to; none = not run.
        contrasts: verdicts of all others, each naming the failed controls that touch it.
        secondary: SECONDARY, a row a contrast and endpoint, q over those of a block.
    """

    standing: Standing
    controls: tuple[ContrastVerdict, ...]
    failed_controls: dict[str, tuple[str, ...]]
    contrasts: tuple[ContrastVerdict, ...]
    secondary: pd.DataFrame


def judge_study(protocol: Protocol, table: pd.DataFrame, hashes: Iterable[str], *, seed: int = 0) -> StudyVerdicts:
    """Every family of a protocol: a block's contrasts and the primary endpoints together.

    Args:
        protocol: as it is now.
        table: of `inference.matching.match` over all data sets; with a column `block`, a block sees its own rows.
        hashes: the sha256 that the results bear.
        seed: of the sample of signs of more than 20 seeds.
    Raises:
        InputError: an arm of a contrast is not in the table.

    >>> from transformer_spectrum.study.inference.matching import COLUMNS
    >>> from transformer_spectrum.study.protocol.model import EXAMPLE, parse_protocol
    >>> tuning = {"rates": {}, "targets": {}, "margins": {"change_log_stable_rank": 0.1}}
    >>> protocol = parse_protocol({**EXAMPLE, "tuning": tuning})
    >>> rows = [("light", axis, 0.8, arm, number, "reached", 9.0, "change_log_stable_rank", shift + number % 3 / 10)
    ...     for axis in protocol.axes for arm, shift in (("adam-mse-decay", -1.0), ("adam-mse", 0.0))
    ...     for number in range(1, 13)]
    >>> verdicts = judge_study(protocol, pd.DataFrame(rows, columns=COLUMNS), [protocol.sha256])
    >>> verdicts.contrasts[0].judgement.value, verdicts.contrasts[0].confirmatory
    ('found', True)
    """
    margins = protocol.tuning.margins if protocol.tuning else {}
    plans = {plan.name: plan for plan in protocol.contrasts}
    verdicts: list[ContrastVerdict] = []
    secondary = []
    for block in dict.fromkeys(plan.block for plan in protocol.contrasts):
        rows = table[table["block"] == block] if "block" in table else table
        family = protocol.family(block)
        axes = {contrast.name: protocol.axes_of(plans[contrast.name]) for contrast in family}
        primary = protocol.endpoints.primary
        verdicts += judge(rows, family, primary, axes, margins=margins, level=protocol.level, seed=seed)
        secondary.append(_secondary(protocol, block, rows, seed))
    result = standing(protocol, hashes, table)
    judged = with_standing(verdicts, result)
    expected = {control.contrast for control in protocol.controls}
    controls = tuple(verdict for verdict in judged if verdict.contrast.name in expected)
    others = tuple(verdict for verdict in judged if verdict.contrast.name not in expected)
    return StudyVerdicts(
        standing=result,
        controls=controls,
        failed_controls=failed(protocol.controls, controls),
        contrasts=under_controls(others, protocol.controls, controls),
        secondary=pd.concat(secondary, ignore_index=True) if secondary else pd.DataFrame(columns=list(SECONDARY)),
    )


def _secondary(protocol: Protocol, block: str, rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    """On the primary axis; endpoints that the table does not have at all are left out."""
    axis = protocol.axes[0]
    measured = set(rows["endpoint"])
    records = []
    for contrast in protocol.family(block):
        for name in protocol.endpoints.secondary:
            if name in measured:
                values = difference_matrix([paired(rows, contrast, name, axis)])[1][:, 0]
                effect = mean_difference(values, confidence=1 - protocol.level, seed=seed)
                numbers = (effect.pairs, effect.mean, effect.low, effect.high, effect.d_z, effect.p_value, np.nan)
                records.append((block, contrast.name, contrast.dataset, name, axis, *numbers))
    result = pd.DataFrame(records, columns=list(SECONDARY))
    if len(result):
        result["q"] = benjamini_hochberg(result["p"].to_numpy(dtype=np.float64))
    return result
