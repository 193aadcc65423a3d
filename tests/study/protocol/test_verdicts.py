"""A whole made-up study under the committed protocol, whose truth is known."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.study.inference.matching import COLUMNS
from transformer_spectrum.study.inference.robustness import Judgement
from transformer_spectrum.study.protocol.model import parse_protocol
from transformer_spectrum.study.protocol.tuning import TRIALS, own_targets, tuning_outcome
from transformer_spectrum.study.protocol.verdicts import judge_study

CONTENT = yaml.safe_load((Path(__file__).parents[3] / "studies/protocol.yaml").read_text())
for block in CONTENT["blocks"].values():
    block["seeds"]["count"] = min(block["seeds"]["count"], 10)  # 2^10 signs are quick
CONTENT["blocks"] = {name: block for name, block in CONTENT["blocks"].items() if name in ("controls", "optimizers")}
CONTENT["contrasts"] = [plan for plan in CONTENT["contrasts"] if plan["block"] in CONTENT["blocks"]]
CONTENT["tuning_blocks"] = []
MARGINS = {"change_log_stable_rank": 0.3, "path_log_stable_rank": 0.3}
PROTOCOL = parse_protocol({**CONTENT, "tuning": {"rates": {}, "targets": {"light": 0.8}, "margins": MARGINS}})
MOVED = {"adam-mse-rate3", "adam-mse-batch8", "adam-mse-full_batch", "muon-mse"}


def study(moved=MOVED, seed=0):
    """Every arm of the protocol on every axis; the moved ones differ by 2."""
    generator = np.random.default_rng(seed)
    rows = []
    for block, plan in PROTOCOL.blocks.items():
        for arm in PROTOCOL.arms(block):
            for endpoint in (*PROTOCOL.endpoints.primary, "spectral_entropy"):
                for axis in PROTOCOL.axes:
                    for number in plan.seeds.each():
                        value = 2.0 * (arm in moved) + 0.1 * generator.normal()
                        rows.append(("light", axis, 0.8, arm, number, "reached", 9.0, endpoint, value, block))
    return pd.DataFrame(rows, columns=[*COLUMNS, "block"])


def test_controls_that_come_out_leave_verdicts_alone_and_what_differs_is_found():
    verdicts = judge_study(PROTOCOL, study(), [PROTOCOL.sha256])
    assert verdicts.failed_controls == {}
    assert {verdict.contrast.name for verdict in verdicts.controls} == {
        "A/A",
        "10 x MSE",
        "learning rate x 3",
        "batch 8",
        "full batch",
    }
    judged = {(verdict.contrast.name, verdict.endpoint): verdict for verdict in verdicts.contrasts}
    for endpoint in PROTOCOL.endpoints.primary:
        assert judged["Muon - Adam", endpoint].judgement is Judgement.FOUND
        assert judged["GA - Adam", endpoint].judgement is Judgement.NULL
        assert len(judged["Muon - Adam", endpoint].axes) == 4
        assert len(judged["GA - Adam", endpoint].axes) == 3
    assert all(verdict.confirmatory and verdict.failed_controls == () for verdict in verdicts.contrasts)


def test_a_control_that_fails_is_named_everywhere():
    verdicts = judge_study(PROTOCOL, study(moved=MOVED | {"adam-mse-again"} - {"adam-mse-batch8"}), [PROTOCOL.sha256])
    assert "A/A" in verdicts.failed_controls
    assert all("A/A" in verdict.failed_controls for verdict in verdicts.contrasts)


def test_a_changed_protocol_confirms_nothing_and_says_so():
    verdicts = judge_study(PROTOCOL, study(), ["f" * 64])
    assert not verdicts.standing.confirmatory
    assert not any(verdict.confirmatory for verdict in (*verdicts.controls, *verdicts.contrasts))
    assert all("not confirmatory" in verdict.sentence for verdict in verdicts.contrasts)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            lambda table: table[(table["arm"] != "muon-mse") | (table["seed"] > 2)],
            "of muon-mse in block optimizers lack",
        ),
        (lambda table: table.assign(seed=table["seed"] + 500), "lack seeds"),
        (lambda table: pd.concat([table, table[table["seed"] == 1].assign(seed=99)]), "have unplanned seeds: 99 (1)"),
    ],
)
def test_other_seeds_than_those_that_were_planned_confirm_nothing(changed, words):
    result = judge_study(PROTOCOL, changed(study()), [PROTOCOL.sha256])
    assert words in result.standing.reason
    assert not any(verdict.confirmatory for verdict in (*result.controls, *result.contrasts))


@pytest.mark.parametrize("borne", [None, float("nan"), 5])
def test_a_result_without_a_hash_confirms_nothing(borne):
    standing = judge_study(PROTOCOL, study(), [PROTOCOL.sha256, borne]).standing
    assert (standing.confirmatory, standing.foreign) == (False, ("unknown",))


def test_secondary_endpoints_have_q_values_within_a_block():
    secondary = judge_study(PROTOCOL, study(), [PROTOCOL.sha256]).secondary
    assert set(secondary["endpoint"]) == {"spectral_entropy"}
    assert (secondary["q"] >= secondary["p"]).all()
    found = secondary[secondary["q"] <= 0.05]
    assert set(found["contrast"]) == {"Muon - Adam", "learning rate x 3", "batch 8", "full batch"}


def trials(rows):
    return pd.DataFrame(rows, columns=list(TRIALS))


def test_the_rate_of_the_lowest_mae_is_chosen_and_no_data_set_outweighs_another():
    rows = []
    for seed in (1, 2):
        rows += [("light", "adam", "mse", rate, seed, mae) for rate, mae in ((0.001, 0.70), (0.003, 0.71))]
        rows += [("heavy", "adam", "mse", rate, seed, 50 * mae) for rate, mae in ((0.001, 0.72), (0.003, 0.70))]
        rows += [("light", "sgd", "mse", 0.05, seed, 0.9 + 0.01 * seed)]
    outcome = tuning_outcome(trials(rows), {})
    assert outcome.rates == {"adam-mse": 0.003, "sgd-mse": 0.05}
    assert outcome.targets["light"] == pytest.approx(0.92)  # the worst arm's worst seed
    assert outcome.targets["heavy"] == pytest.approx(35.0)


def test_a_block_is_held_to_what_its_own_tuning_blocks_reach_and_without_any_to_what_a_seed_reaches():
    content = yaml.safe_load((Path(__file__).parents[3] / "studies/protocol.yaml").read_text())
    protocol = parse_protocol(content)
    rows = [("light", "adam", loss, 0.001, seed, 0.2 + 0.01 * seed) for loss in ("mse", "mae") for seed in (1, 2)]
    rows += [("heavy", "adam", loss, 0.001, seed, 0.5) for loss in ("mse", "mae") for seed in (1, 2)]
    rows += [("light", "ga", "mse", 0.01, seed, 0.8) for seed in (1, 2)]
    rows += [("light", "adam", "mse", 0.003, seed, 0.9) for seed in (1, 2)]  # not the rate that is chosen
    chosen = tuning_outcome(trials(rows), {})
    own = own_targets(protocol, trials(rows), chosen.rates)
    assert own["losses"] == {"light": pytest.approx(0.22), "heavy": 0.5}  # without the GA's .8
    assert own["crossed"] == own["real_lstm"] == {}
    assert "optimizers" not in own
    outcome = chosen.model_copy(update={"own_targets": own})
    assert outcome.target("optimizers", "light") == pytest.approx(0.8)
    assert outcome.target("losses", "light") == pytest.approx(0.22)
    assert outcome.target("crossed", "light") is None


def test_a_rate_that_diverged_once_is_none():
    rows = [("light", "adam", "mse", 0.003, seed, mae) for seed, mae in ((1, 0.1), (2, np.nan))]
    rows += [("light", "adam", "mse", 0.001, seed, 0.7) for seed in (1, 2)]
    assert tuning_outcome(trials(rows), {}).rates == {"adam-mse": 0.001}
    with pytest.raises(InputError, match="every rate diverged"):
        tuning_outcome(trials(rows[:2]), {})


def test_the_margin_is_two_standard_deviations_of_pairs_that_do_not_differ():
    differences = np.random.default_rng(0).normal(scale=0.05, size=2000)
    outcome = tuning_outcome(trials([("light", "adam", "mse", 0.1, 1, 0.7)]), {"path_log_stable_rank": differences})
    assert outcome.margins["path_log_stable_rank"] == pytest.approx(0.1, rel=0.05)
    with pytest.raises(InputError, match="two or more"):
        tuning_outcome(trials([("light", "adam", "mse", 0.1, 1, 0.7)]), {"path_log_stable_rank": np.array([0.1])})
