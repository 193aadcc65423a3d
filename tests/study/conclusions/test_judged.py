"""Claims that a protocol cannot answer are named with what is missing, and what was meant."""

import pandas as pd
import pytest

from transformer_spectrum.study.claims import Claim, ClaimSource
from transformer_spectrum.study.conclusions.judged import judgement
from transformer_spectrum.study.inference.matching import COLUMNS
from transformer_spectrum.study.protocol.model import EXAMPLE, parse_protocol

PROTOCOL = parse_protocol({**EXAMPLE, "tuning": {"rates": {}, "targets": {}, "margins": {}}})
ENDPOINT = "change_log_stable_rank"


@pytest.fixture(scope="module")
def table():
    rows = [
        ("controls", PROTOCOL.sha256, "light", axis, 0.8, arm, seed, "reached", 9.0, ENDPOINT, shift + seed % 3 / 10)
        for axis in PROTOCOL.axes
        for seed in range(1, 13)
        for arm, shift in (("adam-mse-decay", -1.0), ("adam-mse", 0.0))
    ]
    return pd.DataFrame(rows, columns=["block", "protocol", *COLUMNS])


def claim(**changes):
    fields = {
        "statement": "weight decay lowers the rank",
        "sources": [ClaimSource(reference="made up", read="text", says="so")],
        "block": "controls",
        "dataset": "light",
        "first": "adam-mse-decay",
        "second": "adam-mse",
        "endpoint": ENDPOINT,
        "axis": "validation_mae",
        "confirmed_if": ["below"],
        "refuted_if": ["above"],
    }
    return Claim(**{**fields, **changes})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"block": "control"}, "no block control; did you mean controls?"),
        ({"dataset": "moon"}, "no data set moon in block controls"),
        ({"dataset": "ligth"}, "no data set ligth in block controls; did you mean light?"),
        ({"first": "adam-mse-decai"}, "no arm adam-mse-decai in block controls; did you mean adam-mse-decay?"),
        ({"second": "adm-mse"}, "no arm adm-mse in block controls; did you mean adam-mse?"),
        ({"endpoint": "mp_spikes"}, "no value of mp_spikes at validation_mae"),
    ],
)
def test_what_a_claim_lacks_is_said(changes, reason, table):
    content = judgement(PROTOCOL, table, {"right": claim(), "wrong": claim(**changes)})
    assert content["claims_not_measured"] == {"wrong": reason}
    assert [(each["name"], each["outcome"]) for each in content["claims"]] == [("right", "confirmed")]


def test_a_claim_against_zero_needs_no_second_arm(table):
    content = judgement(PROTOCOL, table, {"itself": claim(second="zero")})
    assert content["claims_not_measured"] == {}
    assert content["claims"][0]["outcome"] == "confirmed"
