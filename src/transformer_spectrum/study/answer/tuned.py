"""Rates, targets and margins from the tuning seeds, and the protocol with them in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.files import read_json
from transformer_spectrum.study.answer.matched import endpoint_table
from transformer_spectrum.study.inference.matching import Contrast, difference_matrix, paired
from transformer_spectrum.study.protocol.model import Protocol, validated
from transformer_spectrum.study.protocol.sections import UNTREATED, PlannedArm, TreatmentPlan, TuningOutcome
from transformer_spectrum.study.protocol.tuning import TRIALS, own_targets, tuning_outcome


def trials_table(protocol: Protocol, cells: pd.DataFrame) -> pd.DataFrame:
    """`tuning.TRIALS` of the tuning blocks in which all rates are tried, each training once, and its protocol.

    Args:
        protocol: whose tuning blocks they are.
        cells: of `trainings.run_cells`.

    >>> from transformer_spectrum.study.protocol.model import EXAMPLE, parse_protocol
    >>> cells = pd.DataFrame([], columns=["block", "training", *TRIALS, "protocol"])
    >>> trials_table(parse_protocol(EXAMPLE), cells).columns.tolist() == [*TRIALS, "protocol"]
    True
    """
    tried = [name for name in protocol.tuning_blocks if protocol.blocks[name].rates == "all"]
    rows = cells[cells["block"].isin(tried)].drop_duplicates("training")
    return rows[[*TRIALS, "protocol"]].reset_index(drop=True)


def tune(protocol: Protocol, cells: pd.DataFrame, paths: pd.DataFrame) -> TuningOutcome:
    """What the tuning blocks fix.

    The margins come from pairs of arms that differ in nothing but the order of their batches, where validation MAE, or
    whatever else is the primary axis, is equal.

    Args:
        protocol: with tuning blocks.
        cells, paths: of `trainings.run_cells`.
    Raises:
        InputError: what `tuning_outcome` refuses.
    """
    trials = trials_table(protocol, cells)
    chosen = tuning_outcome(trials, {})
    chosen = chosen.model_copy(update={"own_targets": own_targets(protocol, trials, chosen.rates)})
    same: dict[str, list[float]] = {name: [] for name in protocol.endpoints.primary}
    for block in protocol.tuning_blocks:
        pairs = _same(protocol, protocol.planned(block))
        if not pairs:
            continue
        table = endpoint_table(protocol, cells[cells["block"] == block], paths, chosen)
        for dataset in protocol.blocks[block].datasets:
            for again, usual in pairs:
                contrast = Contrast(f"{again} - {usual}", dataset, again, usual)
                for name, differences in same.items():
                    by_seed = paired(table, contrast, name, protocol.axes[0])
                    differences += difference_matrix([by_seed])[1][:, 0].tolist()
    margins = tuning_outcome(trials, {name: np.array(differences) for name, differences in same.items()}).margins
    return chosen.model_copy(update={"margins": margins})


def _same(protocol: Protocol, arms: list[PlannedArm]) -> list[tuple[str, str]]:
    """Pairs of arms that differ in the order of batches alone."""
    usual = {(arm.optimizer, arm.loss, arm.rate): arm.name for arm in arms if arm.treatment == UNTREATED}
    reordered = [name for name, plan in protocol.treatments.items() if plan.batch_order and _reorders_alone(plan)]
    return [
        (arm.name, usual[arm.optimizer, arm.loss, arm.rate])
        for arm in arms
        if arm.treatment in reordered and (arm.optimizer, arm.loss, arm.rate) in usual
    ]


def _reorders_alone(plan: TreatmentPlan) -> bool:
    return plan.model_dump(exclude={"batch_order"}) == TreatmentPlan().model_dump(exclude={"batch_order"})


def with_tuning(protocol: Protocol, path: Path) -> Protocol:
    """The protocol with what its tuning seeds have fixed: its sha256 is what results bear.

    Args:
        protocol: as its file has it.
        path: of `StudyPlaces.tuning`.
    Raises:
        InputError: the file is missing, or was made under another protocol; or the protocol has a `tuning` of its own
            that is another one.

    >>> from transformer_spectrum.study.protocol.model import EXAMPLE, parse_protocol
    >>> with_tuning(parse_protocol(EXAMPLE), Path("tuning.json"))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    transformer_spectrum.runtime.errors.InputError: tuning.json: no such file...
    """
    content = read_json(path)
    if content.get("protocol") != protocol.design_sha256:
        earlier, now = str(content.get("protocol"))[:8], protocol.design_sha256[:8]
        words = f"was made under protocol {earlier}, and it is {now} now"
        raise InputError(f"{path}: {words}; run the stage study-tuning again")
    outcome = validated(TuningOutcome, {name: value for name, value in content.items() if name != "protocol"}, path)
    if protocol.tuning not in (None, outcome):
        raise InputError(f"tuning: differs from {path}; leave it null, the tuning seeds fix it")
    return protocol.model_copy(update={"tuning": outcome})
