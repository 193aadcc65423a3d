"""Endpoints where an axis is held equal, of trainings whose paths are known."""

import numpy as np
import pandas as pd
import pytest

from transformer_spectrum.analysis.comparison.trajectory import Trajectory
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.study.inference.matching import Contrast, difference_matrix, match, paired


def path(name="adam", *, seed=1, rate=1.0, dataset="light", method="gradient", ranks=None, records=9, **metrics):
    """MAE falls by .05 rate an update from .9, distance rises by .1 rate; the rank falls by one an update."""
    updates = np.arange(records)
    ranks = 20.0 - updates if ranks is None else ranks
    return Trajectory(
        name,
        method,
        dataset,
        updates,
        1 + 3 * updates,
        0.9 - 0.05 * rate * updates,
        0.1 * rate * updates,
        {"rank": ranks, **metrics},
        seed=seed,
    )


def value(table, arm, axis, endpoint="rank", seed=1):
    rows = table.query("arm == @arm and axis == @axis and endpoint == @endpoint and seed == @seed")
    assert len(rows) == 1
    return rows["value"].item()


def test_every_axis_takes_a_training_where_it_first_is_at_the_target():
    table = match([path(), path("muon", rate=2.0)], {"validation_mae": 0.625, "distance": 0.5, "evaluations": 11.5})
    assert value(table, "adam", "validation_mae") == pytest.approx(20 - 5.5)
    assert value(table, "muon", "validation_mae") == pytest.approx(20 - 2.75)
    assert value(table, "adam", "distance") == pytest.approx(15.0)
    assert value(table, "muon", "distance") == pytest.approx(17.5)
    assert value(table, "adam", "evaluations") == value(table, "muon", "evaluations") == pytest.approx(16.5)
    assert value(table, "adam", "updates") == value(table, "muon", "updates") == 12.0  # what both reach: 8


def test_a_path_that_turns_back_counts_where_it_first_arrives():
    maes, ranks = [0.9, 0.8, 0.6, 0.8, 0.5], {"rank": [9, 8, 7, 6, 5]}
    turning = Trajectory("adam", "gradient", "light", range(5), range(1, 6), maes, [0] * 5, ranks)
    assert value(match([turning], {"validation_mae": 0.7}), "adam", "validation_mae", seed=0) == pytest.approx(7.5)


def test_an_endpoint_of_some_records_follows_the_line_between_them_and_ends_with_them():
    sparse = np.full(9, np.nan)
    sparse[[1, 4, 7]] = [10.0, 4.0, 1.0]
    paths = [path(path_rank=sparse)]
    for mae, expected in ((0.825, 9.0), (0.70, 4.0), (0.60, 2.0), (0.525, np.nan)):
        table = match(paths, {"validation_mae": mae})
        assert value(table, "adam", "validation_mae", "path_rank") == pytest.approx(expected, nan_ok=True)
        assert value(table, "adam", "validation_mae") == pytest.approx(20 - (0.9 - mae) / 0.05)


def test_arms_that_never_arrive_or_are_there_too_early_are_told_apart_and_have_no_value():
    paths = [path("adam", seed=seed, rate=rate) for seed, rate in ((1, 1.0), (2, 0.5), (3, 9.0))]
    table = match(paths, {"validation_mae": 0.6}, axes=["validation_mae"])
    assert table["crossing"].tolist() == ["reached", "right_censored", "left_censored"]
    assert table["value"].isna().tolist() == [False, True, True]


def test_population_methods_are_not_matched_by_updates():
    table = match([path(), path("es", method="population")])
    assert set(table.query("axis == 'updates'")["arm"]) == {"adam"}
    assert set(table.query("axis == 'evaluations'")["arm"]) == {"adam", "es"}


def test_trainings_on_other_data_are_never_matched():
    with pytest.raises(InputError, match="never matched"):
        match([path(), path("muon", dataset="heavy")])
    table = pd.concat([match([path()]), match([path("muon", dataset="heavy")])])
    with pytest.raises(InputError, match="it has it on heavy, and trainings on other data are never matched"):
        paired(table, Contrast("muon - adam", "light", "muon", "adam"), "rank", "updates")


def test_pairs_are_within_a_seed_and_a_censored_arm_takes_its_pair_along():
    paths = [path("adam", seed=seed) for seed in (1, 2, 3)]
    rates = {1: 1.0, 2: 1.0, 3: 0.1}
    paths += [path("muon", seed=seed, ranks=30.0 - seed * np.arange(9), rate=rate) for seed, rate in rates.items()]
    table = match(paths, {"validation_mae": 0.7}, axes=["validation_mae"])
    difference = paired(table, Contrast("muon - adam", "light", "muon", "adam"), "rank", "validation_mae")
    assert difference.by_seed == pytest.approx({1: 10.0, 2: 6.0})
    assert difference.without == (3,)
    seeds, matrix = difference_matrix([difference])
    assert seeds == [1, 2, 3]
    assert matrix[:, 0] == pytest.approx([10.0, 6.0, np.nan], nan_ok=True)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: match([]), "one or more"),
        (lambda: match([path(), path()]), "comes twice"),
        (lambda: match([path()], axes=["loss"]), "axis = loss"),
    ],
)
def test_what_cannot_be_matched_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
