"""A protocol's verdicts and the answers to published claims, as what is written to JSON."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

import pandas as pd

from transformer_spectrum.config.load import meant
from transformer_spectrum.study.claims import ZERO, Claim, ClaimAnswer, answer
from transformer_spectrum.study.follow_up.endpoints import FOLLOWED
from transformer_spectrum.study.inference.endpoints import ENDPOINTS
from transformer_spectrum.study.inference.robustness import ContrastVerdict
from transformer_spectrum.study.protocol.model import Protocol
from transformer_spectrum.study.protocol.tuning import at_the_edge
from transformer_spectrum.study.protocol.verdicts import judge_study


def judgement(
    protocol: Protocol, endpoints: pd.DataFrame, claims: Mapping[str, Claim], at_ends: Sequence[pd.DataFrame] = ()
) -> dict[str, Any]:
    """What the table says of the protocol's contrasts and of claims.

    A number that there is not, such as the limit of an interval that so few pairs leave open, is null.

    Args:
        protocol: as it is now, its tuning in it.
        endpoints: of `matched.endpoint_table`.
        claims: name -> claim; each is answered where the protocol has its block and arms.
        at_ends: tables where trainings end: of `predictions.rank_correlations`, for claims of what predicts the error;
            and of `follow_up.steps`, for those that ask for weights.
    Returns:
        Content of a JSON file: standing, controls, contrasts, design, secondary endpoints, claims, power.
    Raises:
        InputError: an arm of a contrast is not in the table.

    >>> from transformer_spectrum.study.inference.matching import COLUMNS
    >>> from transformer_spectrum.study.protocol.model import EXAMPLE, parse_protocol
    >>> protocol = parse_protocol({**EXAMPLE, "tuning": {"rates": {}, "targets": {}, "margins": {}}})
    >>> rows = [("controls", protocol.sha256, "light", axis, 0.8, arm, seed, "reached", 9.0, "change_log_stable_rank",
    ...     shift + seed % 3 / 10) for axis in protocol.axes for seed in range(1, 13)
    ...     for arm, shift in (("adam-mse-decay", -1.0), ("adam-mse", 0.0))]
    >>> content = judgement(protocol, pd.DataFrame(rows, columns=["block", "protocol", *COLUMNS]), {})
    >>> content["contrasts"][0]["judgement"], content["standing"]["confirmatory"]
    ('found', True)
    """
    blocks = {plan.block for plan in protocol.contrasts}
    rows = endpoints[endpoints["block"].isin(blocks)]
    hashes = [table["protocol"] for table in (rows, *at_ends) if "protocol" in table]
    verdicts = judge_study(protocol, rows, pd.concat(hashes).unique())
    margins = protocol.tuning.margins if protocol.tuning else {}
    table = pd.concat([endpoints, *at_ends], ignore_index=True)
    lacking = {name: _why_not_measured(claim, protocol, table) for name, claim in claims.items()}
    usable = {name: claim for name, claim in claims.items() if lacking[name] is None}
    answers = answer(usable, table, margins=margins, level=protocol.level) if usable else ()
    elsewhere = _on_all_axes(protocol, usable, endpoints)
    return {
        "title": protocol.title,
        "protocol": protocol.sha256,
        "design": protocol.design_sha256,
        "standing": _plain(verdicts.standing),
        "failed_controls": _plain(verdicts.failed_controls),
        "controls": [_verdict(protocol, verdict) for verdict in verdicts.controls],
        "contrasts": [_verdict(protocol, verdict) for verdict in verdicts.contrasts],
        "blocks": _blocks(protocol),
        "axes": list(protocol.axes),
        "level": protocol.level,
        "endpoints": {each.name: [each.role, each.formula, each.unit] for each in (*ENDPOINTS, *FOLLOWED)},
        "secondary": _plain(verdicts.secondary.to_dict("records")),
        "claims": [{**_answer(each), "on_axes": elsewhere[each.name]} for each in answers],
        "claims_not_measured": {name: reason for name, reason in sorted(lacking.items()) if reason is not None},
        "tuning": protocol.tuning.model_dump(mode="json") if protocol.tuning else None,
        "rates_at_the_edge": list(at_the_edge(protocol.tuning, protocol.optimizers)) if protocol.tuning else [],
        "power": [check.sentence for check in protocol.power_checks() if check.sentence],
    }


def _on_all_axes(
    protocol: Protocol, claims: Mapping[str, Claim], endpoints: pd.DataFrame
) -> dict[str, dict[str, dict[str, Any]]]:
    """Claim -> axis -> what its answer would be there, q over all claims of that axis; axes without its arms lack."""
    found: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in claims}
    for axis in protocol.axes:
        moved = {name: claim.model_copy(update={"axis": axis}) for name, claim in claims.items() if not claim.groups}
        usable = {name: claim for name, claim in moved.items() if _is_measured(claim, endpoints)}
        margins = protocol.tuning.margins if protocol.tuning else {}
        for each in answer(usable, endpoints, margins=margins, level=protocol.level) if usable else ():
            found[each.name][axis] = _plain({"outcome": each.outcome, "q_value": each.q_value, "effect": each.effect})
    return found


def _why_not_measured(claim: Claim, protocol: Protocol, endpoints: pd.DataFrame) -> str | None:
    """What of a claim this protocol has not, or has no value of; None where it can be answered."""
    if claim.block not in protocol.blocks:
        return f"no block {claim.block}{meant(claim.block, protocol.blocks)}"
    plan = protocol.blocks[claim.block]
    if claim.dataset not in plan.datasets:
        return f"no data set {claim.dataset} in block {claim.block}{meant(claim.dataset, plan.datasets)}"
    arms = protocol.arms(claim.block)
    for name in () if claim.groups else (claim.first, claim.second):
        if name not in (*arms, ZERO):
            return f"no arm {name} in block {claim.block}{meant(name, arms)}"
    return None if _is_measured(claim, endpoints) else f"no value of {claim.endpoint} at {claim.axis}"


def _is_measured(claim: Claim, endpoints: pd.DataFrame) -> bool:
    place = (endpoints["block"] == claim.block) & (endpoints["dataset"] == claim.dataset)
    rows = endpoints[place & (endpoints["axis"] == claim.axis) & (endpoints["endpoint"] == claim.endpoint)]
    return {claim.first, claim.second} - {ZERO} <= set(rows["arm"])


def _verdict(protocol: Protocol, verdict: ContrastVerdict) -> dict[str, Any]:
    (plan,) = (each for each in protocol.contrasts if each.name == verdict.contrast.name)
    arms = {arm.name: arm for arm in protocol.planned(plan.block)}
    first, second = arms[plan.first], arms[plan.second]
    of = "optimizer" if first.optimizer != second.optimizer else "loss" if first.loss != second.loss else "treatment"
    return {
        "sentence": verdict.sentence,
        "block": plan.block,
        "between": of,
        "expected": plan.expected,
        **_plain(verdict),
    }


def _blocks(protocol: Protocol) -> list[dict[str, Any]]:
    """What the page says of the design."""
    return [
        {
            "name": name,
            "tuning": name in protocol.tuning_blocks,
            "datasets": list(plan.datasets),
            "arms": list(protocol.arms(name)),
            "seeds": [plan.seeds.first, plan.seeds.count],
            "targets": {dataset: protocol.tuning.target(name, dataset) for dataset in plan.datasets}
            if protocol.tuning
            else {},
        }
        for name, plan in protocol.blocks.items()
    ]


def _answer(answered: ClaimAnswer) -> dict[str, Any]:
    return {"sentence": answered.sentence, "abstract_only": answered.claim.abstract_only, **_plain(answered)}


def _plain(value: Any) -> Any:
    """As JSON holds it."""
    if isinstance(value, Enum):
        return value.value
    if hasattr(value, "_asdict"):
        return _plain(value._asdict())
    if hasattr(value, "model_dump"):
        return _plain(value.model_dump(mode="json"))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: _plain(getattr(value, each.name)) for each in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value.item() if hasattr(value, "item") else value
