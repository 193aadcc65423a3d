"""Which endpoints tell the error: planted answers come out right, and the committed one is counted a second time."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.study.claims import Claim, ClaimOutcome, answer, load_claims
from transformer_spectrum.study.conclusions.predictions import FEWEST, rank_correlations

ROOT = Path(__file__).parents[3]
CLAIM = {
    "statement": "shape tells",
    "sources": [{"reference": "made up", "read": "text", "says": "so"}],
    "block": "controls",
    "dataset": "light",
    "groups": {"shape": ["ks_alpha", "hill_alpha"], "scale": ["log_distance"]},
    "first": "shape",
    "second": "scale",
    "endpoint": "rank_correlation",
    "axis": "end",
    "confirmed_if": ["above"],
    "refuted_if": ["below"],
}


def planted(telling, seeds=12, trainings=9, seed=0):
    """Tables of a study in which the named endpoints follow the error where trainings end, and others nothing."""
    generator = np.random.default_rng(seed)
    cells, paths = [], []
    for number in range(seeds):
        for place in range(trainings):
            name = f"light/{place}/seed_{number}"
            cells.append(("controls", "light", f"arm {place}", number, name, "done"))
            for evaluations in (1, 10):  # at first nothing tells anything
                error = generator.uniform()
                row = {"training": name, "evaluations": evaluations, "validation_mae": error}
                for endpoint in ("ks_alpha", "hill_alpha", "log_distance"):
                    follows = endpoint in telling and evaluations == 10
                    row[endpoint] = -error if follows else generator.uniform()
                paths.append(row)
    columns = ["block", "dataset", "arm", "seed", "training", "status"]
    return pd.DataFrame(cells, columns=columns), pd.DataFrame(paths)


def answered(telling, **options):
    claims = {"shape": Claim.model_validate(CLAIM)}
    return answer(claims, rank_correlations(claims, *planted(telling, **options)))[0]


def test_planted_claims_of_what_predicts_come_out_right():
    confirmed = answered(("ks_alpha", "hill_alpha"))
    assert confirmed.outcome is ClaimOutcome.CONFIRMED
    assert confirmed.effect.pairs == 12
    assert answered(("log_distance",)).outcome is ClaimOutcome.REFUTED
    assert answered(()).outcome is ClaimOutcome.INCONCLUSIVE


def test_it_is_the_mean_strength_over_a_group_at_the_last_record_whatever_its_sign():
    claims = {"shape": Claim.model_validate(CLAIM)}
    cells, paths = planted(("ks_alpha",), seeds=1)
    table = rank_correlations(claims, cells, paths).set_index("arm")["value"]
    last = paths[paths["evaluations"] == 10]
    other = abs(last["hill_alpha"].rank().corr(last["validation_mae"].rank()))
    assert table["shape"] == pytest.approx((1 + other) / 2)


def test_a_seed_of_too_few_trainings_is_censored_and_diverged_ones_do_not_count():
    claims = {"shape": Claim.model_validate(CLAIM)}
    cells, paths = planted((), seeds=2, trainings=FEWEST)
    cells.loc[0, "status"] = "diverged"
    table = rank_correlations(claims, cells, paths)
    assert table[table["seed"] == 0]["value"].isna().all()
    assert (table[table["seed"] == 0]["crossing"] == "never").all()
    assert table[table["seed"] == 1]["value"].notna().all()


def test_an_endpoint_that_was_not_recorded_is_named():
    claims = {"shape": Claim.model_validate(CLAIM)}
    cells, paths = planted(())
    with pytest.raises(InputError, match="'shape tells': groups: hill_alpha: is no column of the study's paths"):
        rank_correlations(claims, cells, paths.drop(columns="hill_alpha"))


def test_the_committed_answer_is_that_of_the_committed_paths():
    claim = load_claims(ROOT / "studies/claims")["shape_tells_error"]
    cells = pd.read_csv(ROOT / "studies/tables/cells.csv")
    paths = pd.read_parquet(ROOT / "studies/tables/paths.parquet").sort_values("evaluations", kind="stable")
    ends = paths.drop_duplicates("training", keep="last").set_index("training")
    inside = cells.query("block == @claim.block and dataset == @claim.dataset and status == 'done'")
    differences = []
    for _, trained in inside.groupby("seed"):
        last = ends.loc[trained["training"]]
        strength = {
            group: np.mean([abs(last[name].rank().corr(last["validation_mae"].rank())) for name in members])
            for group, members in claim.groups.items()
        }
        differences.append(strength[claim.first] - strength[claim.second])
    verdicts = pd.read_json(ROOT / "studies/tables/verdicts.json", typ="series")["claims"]
    (committed,) = [each for each in verdicts if each["name"] == "shape_tells_error"]
    assert committed["effect"]["mean"] == pytest.approx(np.mean(differences), rel=1e-9)
    assert committed["effect"]["pairs"] == len(differences) == 12


def test_the_last_record_is_that_of_the_most_evaluations_wherever_it_stands():
    claims = {"shape": Claim.model_validate(CLAIM)}
    cells, paths = planted(("ks_alpha",))
    shuffled = paths.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(rank_correlations(claims, cells, paths), rank_correlations(claims, cells, shuffled))


def test_claims_share_a_group_of_the_same_endpoints_and_no_other():
    first = Claim.model_validate(CLAIM)
    cells, paths = planted(("ks_alpha", "hill_alpha"))
    alone = rank_correlations({"a": first}, cells, paths)
    pd.testing.assert_frame_equal(rank_correlations({"a": first, "b": first}, cells, paths), alone)
    other = first.model_copy(update={"groups": {**first.groups, "shape": ("ks_alpha",)}})
    with pytest.raises(InputError, match=r"groups\.shape: has other endpoints in another claim on controls, light"):
        rank_correlations({"a": first, "b": other}, cells, paths)


def test_a_training_comes_once_and_has_a_path():
    claims = {"shape": Claim.model_validate(CLAIM)}
    cells, paths = planted(())
    with pytest.raises(InputError, match="training light/0/seed_0: comes twice in the cells"):
        rank_correlations(claims, pd.concat([cells, cells.head(1)]), paths)
    with pytest.raises(InputError, match="training light/0/seed_0: has no record in the study's paths"):
        rank_correlations(claims, cells, paths[paths["training"] != "light/0/seed_0"])
    with pytest.raises(InputError, match="paths: has no column evaluations"):
        rank_correlations(claims, cells, paths.drop(columns="evaluations"))
