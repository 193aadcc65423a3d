"""Published claims on tables whose truth is known."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.study.claims import ZERO, Claim, ClaimOutcome, answer, load_claims, parse_claim
from transformer_spectrum.study.follow_up.endpoints import is_followed
from transformer_spectrum.study.inference.matching import COLUMNS
from transformer_spectrum.study.protocol.model import load_protocol

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "studies/claims"
CLAIM = {
    "statement": "Muon keeps rank",
    "sources": [{"reference": "made up", "read": "abstract", "says": "it does"}],
    "block": "optimizers",
    "dataset": "light",
    "first": "muon-mse",
    "second": "adam-mse",
    "endpoint": "path_log_stable_rank",
    "axis": "validation_mae",
    "confirmed_if": ["above"],
    "refuted_if": ["below", "equal"],
}
MARGINS = {"path_log_stable_rank": 0.1}


def planted(claims, truths, seeds=12, noise=0.1, seed=0):
    """A table in which first - second of each claim has the given mean, in a block of its own."""
    generator = np.random.default_rng(seed)
    rows = []
    for name, claim in claims.items():
        for arm, mean in ((claim.first, truths[name]), (claim.second, 0.0)):
            if arm != ZERO:
                values = mean + noise * generator.normal(size=seeds)
                rows += [
                    (claim.dataset, claim.axis, 0.8, arm, number, "reached", 9.0, claim.endpoint, value, name)
                    for number, value in enumerate(values)
                ]
    table = pd.DataFrame(rows, columns=[*COLUMNS, "block"])
    return {name: claim.model_copy(update={"block": name}) for name, claim in claims.items()}, table


def answered(truth, *, margins=MARGINS, change=None, **options):
    claims, table = planted({"rank": parse_claim({**CLAIM, **(change or {})}, "x")}, {"rank": truth}, **options)
    (result,) = answer(claims, table, margins=margins)
    return result


def test_planted_claims_come_out_right_all_at_once():
    claims = load_claims(FOLDER)
    sign = {name: 1.0 if claim.confirmed_if == ("above",) else -1.0 for name, claim in claims.items()}
    is_true = {name: bool(place % 2) for place, name in enumerate(claims)}
    truths = {name: sign[name] if is_true[name] else -sign[name] for name in claims}
    results = answer(*planted(claims, truths))
    assert {result.name: result.outcome is ClaimOutcome.CONFIRMED for result in results} == is_true
    assert {result.outcome for result in results} == {ClaimOutcome.CONFIRMED, ClaimOutcome.REFUTED}


def test_without_any_effect_nothing_is_confirmed_or_refuted_more_often_than_the_level():
    claims = load_claims(FOLDER)
    studies = [answer(*planted(claims, dict.fromkeys(claims, 0.0), seed=seed)) for seed in range(25)]
    any_false = [any(result.outcome is not ClaimOutcome.INCONCLUSIVE for result in results) for results in studies]
    assert np.mean(any_false) <= 0.05 + 3 * (0.05 * 0.95 / 25) ** 0.5


def test_a_claim_is_refuted_by_the_opposite_and_by_shown_equality():
    assert answered(0.5).outcome is ClaimOutcome.CONFIRMED
    assert answered(-0.5).outcome is ClaimOutcome.REFUTED
    equal = answered(0.0, noise=0.03)
    assert (equal.relation, equal.outcome) == ("equal", ClaimOutcome.REFUTED)
    assert answered(0.0, noise=0.03, margins={}).outcome is ClaimOutcome.INCONCLUSIVE
    assert answered(0.0, noise=2.0).outcome is ClaimOutcome.INCONCLUSIVE


def test_five_seeds_answer_nothing():
    assert answered(9.0, seeds=5).outcome is ClaimOutcome.INCONCLUSIVE


def test_a_claim_of_no_difference_is_confirmed_by_equality():
    change = {"confirmed_if": ["equal"], "refuted_if": ["above", "below"]}
    assert answered(0.0, noise=0.03, change=change).outcome is ClaimOutcome.CONFIRMED
    assert answered(1.0, change=change).outcome is ClaimOutcome.REFUTED


def test_an_arm_is_held_against_zero_where_the_claim_says_so():
    result = answered(-0.4, change={"second": ZERO, "confirmed_if": ["below"], "refuted_if": ["above"]})
    assert result.outcome is ClaimOutcome.CONFIRMED
    assert result.effect.mean == pytest.approx(-0.4, abs=0.1)


def test_censored_arms_are_counted_and_blocks_are_kept_apart():
    claims, table = planted({"rank": parse_claim(CLAIM, "x")}, {"rank": 0.5})
    table.loc[(table["arm"] == "muon-mse") & (table["seed"] < 3), "value"] = np.nan
    other = table.assign(block="another", value=-99.0)
    (result,) = answer(claims, pd.concat([table, other]))
    assert (result.effect.pairs, result.censored) == (9, 3)
    assert result.outcome is ClaimOutcome.CONFIRMED
    assert result.claim.abstract_only
    assert "abstract" in result.sentence


def test_there_are_ten_claims_or_more_and_each_is_of_the_protocol():
    protocol = load_protocol(ROOT / "studies/protocol.yaml")
    claims = load_claims(FOLDER)
    assert len(claims) >= 10
    for name, claim in claims.items():
        assert claim.dataset in protocol.blocks[claim.block].datasets, name
        named = (*protocol.endpoints.primary, *protocol.endpoints.secondary, *protocol.endpoints.exploratory)
        if claim.groups:
            assert {each for group in claim.groups.values() for each in group} <= set(named), name
            continue
        assert {claim.first, claim.second} - {ZERO} <= set(protocol.arms(claim.block)), name
        if not is_followed(claim.endpoint):  # those are measured where trainings end, on no axis of the protocol
            assert claim.axis in protocol.axes, name
            assert claim.endpoint in named, name


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"statment": "x"}, "statment: unknown key"),
        ({"endpoint": "rank"}, "endpoint = rank: must be one of"),
        ({"refuted_if": ["above"]}, "above: must be in one of them"),
        ({"axis": "loss"}, "axis = 'loss'"),
        ({"sources": []}, "sources"),
        ({"axis": "end"}, "axis = end: needs groups"),
        ({"endpoint": "rank_correlation"}, "endpoint = rank_correlation: must be one of"),
        ({"groups": {"shape": ["alpha"]}}, "endpoint = alpha: must be one of"),
        ({"groups": {"shape": ["ks_alpha"]}}, "groups: need endpoint: rank_correlation and axis: end"),
        (
            {"groups": {"shape": ["ks_alpha"]}, "endpoint": "rank_correlation", "axis": "end", "first": "shape"},
            "first, second: adam-mse: must be one of groups",
        ),
    ],
)
def test_what_is_wrong_with_a_claim_is_said_in_one_line(change, complaint, tmp_path):
    (tmp_path / "rank.yaml").write_text(yaml.safe_dump({**CLAIM, **change}))
    with pytest.raises(InputError) as raised:
        load_claims(tmp_path)
    assert complaint in str(raised.value)
    assert "rank.yaml" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_claim_may_have_several_sources_of_which_one_was_read_whole():
    claim = Claim.model_validate(
        {**CLAIM, "sources": [*CLAIM["sources"], {"reference": "b", "read": "text", "says": "c"}]}
    )
    assert not claim.abstract_only


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"second": "muon-mse"}, "first = muon-mse: must be another than second"),
        ({"first": ZERO}, "first = zero"),
        ({"margin": float("inf")}, "margin"),
        ({"confirmed_if": ["above", "above"]}, "above comes twice"),
        (
            {"groups": {"a": ["hill_alpha"], "b": []}, "endpoint": "rank_correlation", "axis": "end"}
            | {"first": "a", "second": "b"},
            "groups.b: must have an endpoint",
        ),
    ],
)
def test_a_claim_that_no_table_can_answer_is_refused_in_one_line(changes, rule):
    with pytest.raises(InputError) as refused:
        parse_claim({**CLAIM, **changes}, "rank.yaml")
    (line,) = str(refused.value).splitlines()
    assert line.startswith("rank.yaml: ")
    assert rule in line
