"""Shares of variance of crossed blocks, and why there are none."""

import pandas as pd
import pytest
from study_protocol import PROTOCOL

from transformer_spectrum.study.conclusions.attributed import crossed_blocks, shares_table
from transformer_spectrum.study.inference.matching import COLUMNS
from transformer_spectrum.study.protocol.model import parse_protocol

SGD = {"trained_by": "adam", "rate": "adam.learning_rate", "rates": [0.01, 0.1], "set": {"adam": {"algorithm": "sgd"}}}
CROSSED = {
    "datasets": ["light"],
    "losses": ["mse", "mae"],
    "optimizers": ["adam", "sgd"],
    "rates": [0, 1],
    "seeds": {"first": 1, "count": 4},
}


def crossed():
    optimizers = {**PROTOCOL["optimizers"], "sgd": SGD}
    return parse_protocol({**PROTOCOL, "optimizers": optimizers, "blocks": {**PROTOCOL["blocks"], "crossed": CROSSED}})


def endpoints(protocol, value):
    rows = [
        ("crossed", "light", axis, 0.5, arm.name, seed, "reached", 9.0, "mp_spikes", value(arm, seed))
        for axis in ("evaluations", "distance")
        for arm in protocol.planned("crossed")
        for seed in range(1, 5)
    ]
    return pd.DataFrame(rows, columns=["block", *COLUMNS])


def test_the_factor_that_makes_all_the_difference_has_all_the_variance():
    protocol = crossed()
    assert crossed_blocks(protocol) == ["crossed"]
    table = shares_table(protocol, endpoints(protocol, lambda arm, seed: 4.0 * (arm.optimizer == "sgd") + 0.01 * seed))
    shares = table[table["axis"] == "evaluations"].set_index("term")["share"]
    assert shares["optimizer"] == pytest.approx(1.0, abs=1e-3)
    assert shares["loss"] == pytest.approx(0.0, abs=1e-3)
    assert "dataset" not in shares  # of one level
    assert set(table["axis"]) == {"evaluations", "distance"}
    assert set(table["trainings"]) == {32}


def test_a_rate_is_a_level_by_its_place_among_the_optimizers_own():
    protocol = crossed()
    table = shares_table(protocol, endpoints(protocol, lambda arm, seed: float(arm.rate) + 0.01 * seed))
    assert table[table["axis"] == "distance"].set_index("term")["share"]["rate"] == pytest.approx(1.0, abs=1e-3)


def test_where_a_training_has_no_value_the_reason_stands_in_the_place_of_shares():
    protocol = crossed()
    rows = endpoints(protocol, lambda arm, seed: float(seed))
    rows.loc[(rows["axis"] == "distance") & (rows["seed"] == 2), "value"] = float("nan")
    table = shares_table(protocol, rows).set_index("axis")
    assert table.loc["distance", "reason"] == "8 of 32 trainings have no value"
    assert pd.isna(table.loc["distance", "share"])
    assert set(table.loc["evaluations", "reason"]) == {""}
