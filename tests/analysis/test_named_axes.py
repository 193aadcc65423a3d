"""Trainings compared at equal MAE, evaluations, distance and updates: paths whose answer is known in closed form."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transformer_spectrum.analysis.comparison.arrival import Crossing, arrive, first_crossing, reached_by_all
from transformer_spectrum.analysis.comparison.endpoints import METRICS_COMPARED
from transformer_spectrum.analysis.comparison.named_axes import compare_trajectories
from transformer_spectrum.analysis.comparison.recorded import METHODS, trajectory_of_history
from transformer_spectrum.analysis.comparison.trainings import compare, dataset_identity, trajectory
from transformer_spectrum.analysis.comparison.trajectory import AXES, Trajectory, curves
from transformer_spectrum.analysis.comparison.verdict import AxisDifference, PairVerdict
from transformer_spectrum.analysis.loading import TrainingRun
from transformer_spectrum.analysis.of_training import comparison_file
from transformer_spectrum.analysis.of_training.summary import Summary, analyzed
from transformer_spectrum.config.load import load_params
from transformer_spectrum.config.schema import OPTIMIZERS
from transformer_spectrum.config.wheel_files import packaged
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.spectra.analysis import Estimators
from transformer_spectrum.training.records.history import History
from transformer_spectrum.weights.matrices.shapes import shape_classes

UPDATES = np.array([0, 1, 2, 4, 8, 16, 32])


def straight(name, *, mae=0.01, rank=-0.1, cost=3, walk=0.02, method="gradient", updates=UPDATES, **more):
    """A path on which everything is linear in updates u: MAE 1 - mae u, 1 + cost u evaluations, rank 20 + rank u."""
    u = np.asarray(updates, dtype=float)
    fields = {"dataset": "synthetic", "metrics": {"rank": 20 + rank * u}, **more}
    return Trajectory(
        name, method, updates=u, evaluations=1 + cost * u, validation_mae=1 - mae * u, distance=walk * u, **fields
    )


# --- closed forms


def test_straight_paths_differ_as_their_slopes_say_on_every_axis():
    first = straight("first", mae=0.02, rank=-0.3, cost=3, walk=0.01)
    second = straight("second", mae=0.01, rank=-0.1, cost=8, walk=0.05)
    comparison = compare_trajectories([first, second])
    # the worst arm's best: MAE 1 - .32, 97 evaluations, distance .32, 32 updates
    reached = {"validation_mae": 0.68, "evaluations": 97.0, "distance": 0.32, "updates": 32.0}
    updates = {"validation_mae": (16, 32), "evaluations": (32, 12), "distance": (32, 6.4), "updates": (32, 32)}
    assert tuple(comparison.axes) == AXES
    (verdict,) = comparison.verdicts
    for difference in verdict.differences:
        equal = comparison.axes[difference.axis]
        assert equal.targets == {0: pytest.approx(reached[difference.axis])}
        assert not equal.is_given
        assert [arrival.updates for arrival in equal.arrivals] == pytest.approx(updates[difference.axis])
        expected = -0.3 * updates[difference.axis][0] + 0.1 * updates[difference.axis][1]
        assert difference.mean == pytest.approx(expected)
    assert verdict.agrees is True


def test_the_axis_decides_the_sign_where_a_loss_is_slow_but_moves_less():
    slow = straight("q=1.05", mae=0.005, rank=-0.1)
    fast = straight("mse", mae=0.02, rank=-0.3)
    (verdict,) = compare_trajectories([slow, fast]).verdicts
    signs = {difference.axis: difference.sign for difference in verdict.differences}
    assert signs == {"validation_mae": -1, "evaluations": 1, "distance": 1, "updates": 1}
    assert verdict.agrees is False
    assert verdict.sentence == (
        "rank: q=1.05 is below mse at equal validation MAE (-0.8), above it at equal evaluations (+6.4), distance "
        "(+6.4) and updates (+6.4): the axis decides the sign."
    )


def test_a_given_target_is_held_on_its_axis_and_the_others_take_what_all_reach():
    paths = [straight("first"), straight("second", rank=-0.2, mae=0.02)]
    comparison = compare_trajectories(paths, {"validation_mae": 0.9})
    equal = comparison.axes["validation_mae"]
    assert (equal.is_given, equal.targets) == (True, {0: 0.9})
    assert [arrival.updates for arrival in equal.arrivals] == pytest.approx([10, 5])
    assert [arrival.values["rank"] for arrival in equal.arrivals] == pytest.approx([19, 19])
    assert not comparison.axes["distance"].is_given


def test_updates_are_held_equal_between_gradient_methods_alone():
    adam, sgd = straight("adam"), straight("sgd", rank=-0.2)
    es, ga = straight("es", method="population", rank=0.1), straight("ga", method="population")
    comparison = compare_trajectories([adam, es, sgd, ga])
    axes_of = {(v.first, v.second): [difference.axis for difference in v.differences] for v in comparison.verdicts}
    for pair in itertools.combinations(["adam", "es", "sgd", "ga"], 2):
        assert axes_of[pair] == list(AXES if pair == ("adam", "sgd") else AXES[:3])
    assert {arrival.arm for arrival in comparison.axes["updates"].arrivals} == {"adam", "sgd"}
    assert "updates" not in compare_trajectories([adam, es]).axes
    with pytest.raises(InputError, match="targets: updates: two gradient methods share it"):
        compare_trajectories([es, ga], {"updates": 4})


# --- first crossing


@pytest.mark.parametrize(
    ("maes", "target", "crossing", "updates", "rank"),
    [
        ([3, 2, 1, 0.5], 1.5, "reached", 1.5, 15.0),
        ([3, 2, 1, 0.5], 2.0, "reached", 1.0, 10.0),  # the first record meets it exactly
        ([3, 2, 1, 0.5], 0.5, "reached", 3.0, 30.0),
        ([3, 2, 1, 0.5], 2.5, "left_censored", None, None),  # on the way to the first record
        ([3, 2, 1, 0.5], 3.5, "left_censored", None, None),  # the initial weights were beyond it
        ([1, 2, 3, 0.5], 1.0, "left_censored", None, None),  # although it has to come back
        ([3, 2, 1, 0.5], 0.4, "right_censored", None, None),
        ([3, 2, 2.5, 1.0], 2.25, "left_censored", None, None),
        ([3, 2, 1, 4], 1.5, "reached", 1.5, 15.0),  # the first time, whatever comes after
        ([3, 2, 2.5, 1.0], 1.75, "reached", 2.5, 25.0),  # from the record before, not from the best so far
        ([3, 2, math.nan, 1.0], 1.5, "reached", 2.0, 20.0),  # as if that record were not there
        ([3, math.nan, 2.0, 1.0], 2.5, "left_censored", None, None),
        ([3, math.nan, math.inf, math.nan], 2.5, "right_censored", None, None),
    ],
)
def test_the_first_crossing_is_where_it_should_be(maes, target, crossing, updates, rank):
    path = Trajectory("es", "population", "d", range(4), range(1, 5), maes, np.zeros(4), {"rank": [0, 10, 20, 30]})
    arrival = arrive(path, "validation_mae", target)
    assert arrival.crossing is Crossing(crossing)
    assert (arrival.updates, arrival.values["rank"]) == (pytest.approx(updates), pytest.approx(rank))


def test_a_rising_axis_is_crossed_upwards():
    assert first_crossing(np.array([0.0, 1.0, 3.0]), 2.0, falling=False)[1] == (1, 2, 0.5)
    assert first_crossing(np.array([1.0, 9.0]), 1.0, falling=False) == (Crossing.LEFT_CENSORED, None)


def test_a_metric_without_a_value_at_a_record_has_none_between():
    path = Trajectory(
        "es",
        "population",
        "d",
        range(4),
        range(1, 5),
        [3, 2, 1, 0.5],
        np.zeros(4),
        {"rank": [0, math.nan, 20, 30], "entropy": [0, 1, 2, math.inf]},
    )
    halfway = arrive(path, "validation_mae", 1.5)
    assert halfway.crossing is Crossing.REACHED
    assert halfway.values == {"rank": None, "entropy": 1.5}
    assert arrive(path, "validation_mae", 1.0).values == {"rank": 20.0, "entropy": 2.0}
    assert arrive(path, "validation_mae", 0.5).values == {"rank": 30.0, "entropy": None}


maes = st.lists(st.integers(1, 40).map(lambda value: value / 8), min_size=3, max_size=9)


@given(maes, st.integers(1, 40).map(lambda value: value / 8 + 1 / 16))
def test_the_first_crossing_is_that_of_a_fine_walk_along_the_line(path, target):
    positions = np.array(path)
    crossing, place = first_crossing(positions, target, falling=True)
    fine = np.linspace(1, len(path) - 1, 1 + 4096 * (len(path) - 2))  # from the first record after step 0
    walked = np.interp(fine, np.arange(len(path)), positions)
    below = np.flatnonzero(walked <= target)
    if positions[0] <= target or positions[1] <= target:
        assert crossing is Crossing.LEFT_CENSORED
    elif not len(below):
        assert crossing is Crossing.RIGHT_CENSORED
    else:
        assert place.earlier + place.share == pytest.approx(fine[below[0]], abs=1 / 2048)
        assert place.between(positions) == pytest.approx(target)


@given(maes, maes)
def test_swapping_the_arms_turns_the_signs_and_nothing_else(first, second):
    def path(name, values):
        count = len(values)
        return Trajectory(
            name,
            "gradient",
            "d",
            range(count),
            range(1, count + 1),
            values,
            np.sqrt(range(count)),
            {"rank": np.cos(range(count))},
        )

    there = compare_trajectories([path("first", first), path("second", second)]).verdicts[0]
    back = compare_trajectories([path("second", second), path("first", first)]).verdicts[0]
    assert there.agrees == back.agrees
    for forth, reverse in zip(there.differences, back.differences, strict=True):
        assert forth.axis == reverse.axis
        assert (forth.mean is None) == (reverse.mean is None)
        assert forth.mean is None or forth.mean == -reverse.mean


@given(maes)
def test_a_training_does_not_differ_from_itself(values):
    def path(name):
        count = len(values)
        return Trajectory(
            name,
            "population",
            "d",
            range(count),
            range(1, count + 1),
            values,
            range(count),
            {"rank": np.cos(range(count))},
        )

    comparison = compare_trajectories([path("it"), path("itself")])
    assert {difference.mean for difference in comparison.verdicts[0].differences} <= {0.0, None}
    assert comparison.verdicts[0].agrees is not False


# --- targets that all reach, censoring, seeds


def test_what_all_reach_is_the_worst_arms_best_after_step_0():
    paths = [
        Trajectory("up", "gradient", "d", range(4), range(1, 5), [0.1, 0.9, 0.7, 0.8], [9, 1, 3, 2]),
        Trajectory("down", "gradient", "d", range(3), [1, 5, 9], [0.1, 0.6, 0.5], [9, 4, math.nan]),
    ]
    assert reached_by_all(paths, "validation_mae") == 0.7
    assert reached_by_all(paths, "evaluations") == 4
    assert reached_by_all(paths, "distance") == 3
    assert reached_by_all(paths, "updates") == 2
    lost = dataclasses.replace(paths[0], name="lost", validation_mae=[0.1, math.nan, math.inf, math.nan])
    assert reached_by_all([*paths, lost], "validation_mae") == 0.7  # it does not decide where the others are compared
    assert reached_by_all([paths[0], lost], "validation_mae") is None


def test_a_diverged_arm_leaves_the_axis_without_target_and_the_verdict_open():
    fine = straight("fine")
    lost = dataclasses.replace(straight("lost"), validation_mae=[1.0] + [math.nan] * 6)
    comparison = compare_trajectories([fine, lost])
    assert comparison.axes["validation_mae"].targets == {0: None}
    assert comparison.axes["validation_mae"].counts("right_censored") == {"fine": 1, "lost": 1}
    assert comparison.verdicts[0].agrees is None
    assert "at equal validation MAE they have no common value" in comparison.sentences[0]
    # a target that is given is reached by the arm that reaches it
    given_target = compare_trajectories([fine, lost], {"validation_mae": 0.9}).axes["validation_mae"]
    assert given_target.counts("right_censored") == {"fine": 0, "lost": 1}


def test_one_that_ends_at_its_first_update_is_right_censored_on_every_axis_and_leaves_the_others_theirs():
    lost = straight("lost", updates=UPDATES[:1])
    first, second = straight("first"), straight("second", rank=-0.2, mae=0.02)
    alone, beside = compare_trajectories([first, second]), compare_trajectories([first, lost, second])
    for axis, equal in beside.axes.items():
        assert equal.targets == alone.axes[axis].targets
        assert equal.counts("right_censored") == {"first": 0, "lost": 1, "second": 0}
        assert [arrival for arrival in equal.arrivals if arrival.arm != "lost"] == list(alone.axes[axis].arrivals)
    assert beside.verdict("rank", "first", "second") == alone.verdict("rank", "first", "second")
    assert beside.verdict("rank", "first", "lost").agrees is None
    assert "no value has lost, which never arrives (right-censored)." in " ".join(beside.sentences)
    # nor where the initial weights are beyond a target that is given
    early = compare_trajectories([first, lost], {"validation_mae": 2.0}).axes["validation_mae"]
    assert early.counts("right_censored") == {"first": 0, "lost": 1}


def test_axes_are_held_against_each_other_over_the_seeds_that_are_on_all_of_them():
    distance = AxisDifference("distance", {1: 1.0, 2: 1.0, 3: -9.0})
    errors = AxisDifference("validation_mae", {1: 2.0, 2: 3.0}, (3,))
    verdict = PairVerdict("rank", "first", "second", (errors, distance))
    assert distance.sign == -1  # by the seed that is on no other axis
    assert verdict.common_seeds == (1, 2)
    assert verdict.agrees is True
    assert verdict.sentence == (
        "rank: first is above second at equal validation MAE (+2.5, 2 of 3 seeds) and distance (+1, 2 of 3 seeds): "
        "the same sign on all axes."
    )
    apart = PairVerdict("rank", "first", "second", (dataclasses.replace(errors, by_seed={3: 1.0}), verdict.paired[1]))
    assert (apart.common_seeds, apart.agrees) == ((), None)
    assert apart.sentence.endswith("no seed has a value on all of them, so whether they agree is not known.")


def test_losses_that_both_pull_as_mse_does_are_said_to_be_one():
    def said(*arms):
        paths = [
            straight(name, loss=loss, influence_cosine=cosine, seed=seed)
            for name, loss, cosines in arms
            for seed, cosine in enumerate(cosines)
        ]
        return [line for line in compare_trajectories(paths).sentences if "one loss is compared with itself" in line]

    mse = ("mse", "mse {}", [1.0, 1.0])
    assert said(mse, ("q=20", "sgt 20", [0.9951, 0.9991])) == [
        "The losses of mse (1.0000) and q=20 (0.9951) both pull on the validation residuals of the best steps as MSE "
        "does (cosines; above 0.99): one loss is compared with itself."
    ]
    assert said(mse, ("q=2", "sgt 2", [0.9951, 0.98])) == []
    assert said(mse, ("q=2", "sgt 2", [math.nan, 0.999])) == []
    assert said(mse, ("q=2", "sgt 2", [0.999, math.nan])) == []
    assert said(mse, ("again", "mse {}", [1.0, 1.0])) == []
    assert len(said(mse, ("q=20", "sgt 20", [0.995] * 2), ("q=inf", "sgt inf", [0.996] * 2))) == 3


def test_who_is_early_and_who_never_arrives_is_counted_over_seeds():
    paths = [straight("slow", mae=0.001 * (1 + seed), seed=seed) for seed in range(4)]
    paths += [straight("fast", mae=0.02 + 0.02 * seed, seed=seed) for seed in range(4)]
    comparison = compare_trajectories(paths, {"validation_mae": 0.95})
    equal = comparison.axes["validation_mae"]
    # slow ends at 1 - .032 (1 + seed), fast has its first record at .98 - .02 seed
    assert equal.counts(Crossing.RIGHT_CENSORED) == {"slow": 1, "fast": 0}
    assert equal.counts(Crossing.LEFT_CENSORED) == {"slow": 0, "fast": 2}
    assert equal.counts(Crossing.REACHED) == {"slow": 3, "fast": 2}
    assert equal.sentence == (
        "At equal validation MAE (0.95) no value has fast, which was beyond it before its first record (left-censored) "
        "in 2 of 4 seeds; nor slow, which never arrives (right-censored) in 1 of 4 seeds."
    )
    (difference,) = (d for d in comparison.verdicts[0].differences if d.axis == "validation_mae")
    assert set(difference.by_seed) == {1}
    assert difference.without == (0, 2, 3)
    assert difference.mean == pytest.approx(-0.1 * (0.05 / 0.002 - 0.05 / 0.04))
    assert "validation MAE (-2.38, 1 of 4 seeds)" in comparison.sentences[0]


def test_differences_are_paired_within_a_seed_and_then_averaged():
    offsets = {3: 100.0, 1: -50.0, 2: 7.0}  # of a seed, which no difference shows
    paths = []
    for seed, offset in offsets.items():
        for name, rank in (("first", 0.1 * seed), ("second", 0.0)):
            path = straight(name, rank=rank, seed=seed, updates=UPDATES[: 3 + seed])
            paths.append(dataclasses.replace(path, metrics={"rank": path.metric("rank") + offset}))
    comparison = compare_trajectories(paths)
    assert comparison.seeds == (3, 1, 2)
    last = {seed: UPDATES[2 + seed] for seed in offsets}
    for difference in comparison.verdicts[0].differences:
        expected = {seed: 0.1 * seed * last[seed] for seed in offsets}
        assert difference.by_seed == pytest.approx(expected)
        assert difference.mean == pytest.approx(np.mean(list(expected.values())))
    assert comparison.axes["updates"].targets == last
    assert comparison.sentences[-1] == "Differences are means of 3 seeds, paired within each; no test is made of them."
    table = comparison.differences()
    assert set(table["seeds"]) == {3}
    assert set(table["seeds_without"]) == {0}


def test_one_seed_is_said_to_be_one_seed():
    comparison = compare_trajectories([straight("first", seed=7), straight("second", seed=7)])
    assert comparison.sentences[-1] == "This is one seed (7): what another would show, it does not say."
    assert repr(comparison).startswith("Comparison(first, second over 1 seed at equal validation_mae,")


@pytest.mark.parametrize(
    ("second", "words"),
    [
        ({"dataset": "covid"}, "trained on synthetic and covid; errors and spectra are never compared across data"),
        ({"family": "readout"}, "of families  and readout"),
        ({"metrics": {}}, "have different metrics"),
        ({"name": "first"}, "comes twice"),
        ({"seed": 1}, "seed 0: has no second"),
        ({"name": "first", "seed": 1}, r"1 arm\(s\): a comparison needs two"),
        ({"name": "first", "seed": 1, "method": "population"}, "is a gradient method in one seed and none in another"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_a_line(second, words):
    with pytest.raises(InputError, match=words) as raised:
        compare_trajectories([straight("first"), dataclasses.replace(straight("second"), **second)])
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("targets", "words"),
    [({"loss": 1.0}, "targets: loss: no such axis"), ({"distance": math.nan}, "distance = nan: must be finite")],
)
def test_a_target_that_means_nothing_is_refused(targets, words):
    with pytest.raises(InputError, match=words):
        compare_trajectories([straight("first"), straight("second")], targets)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"method": "adam"}, "method = adam of a: must be one of gradient, population"),
        ({"updates": [1, 2, 3]}, "must ascend from 0"),
        ({"updates": [], "evaluations": [], "distance": [], "validation_mae": []}, "must ascend from 0"),
        ({"updates": [0, 2, 2]}, "must ascend from 0"),
        ({"evaluations": [1, 3, 2]}, "must be finite and never fall"),
        ({"evaluations": [1, 3, math.nan]}, "must be finite and never fall"),
        ({"distance": [0, 1]}, r"distance of a: shape \(2,\) where updates have \(3,\)"),
        ({"metrics": {"rank": 3.0}}, r"rank of a: shape \(\) where"),
    ],
)
def test_a_path_that_is_none_is_refused(change, words):
    fields = {"method": "gradient", "updates": [0, 1, 2], "evaluations": [1, 2, 3], "distance": [0, 1, 2]}
    with pytest.raises(InputError, match=words):
        Trajectory("a", dataset="d", **{"validation_mae": [3, 2, 1], **fields, **change})


def test_an_axis_or_metric_that_is_not_there_is_named():
    with pytest.raises(InputError, match="axis = loss: must be one of validation_mae"):
        straight("a").along("loss")
    with pytest.raises(InputError, match="metric = entropy: a has rank"):
        straight("a").metric("entropy")
    with pytest.raises(InputError, match="no such comparison"):
        compare_trajectories([straight("a"), straight("b")]).verdict("rank", "b", "a")


# --- tables and curves


def test_the_table_has_a_row_for_every_axis_training_and_metric():
    paths = [straight("adam"), straight("es", method="population", mae=0.5, rank=0.3)]
    comparison = compare_trajectories(paths, {"validation_mae": 0.9})
    table = comparison.table()
    assert len(table) == 3 * 2
    row = table[(table["axis"] == "validation_mae") & (table["arm"] == "adam")].iloc[0]
    assert (row["crossing"], row["target"], row["target_is_given"]) == ("reached", 0.9, True)
    assert (row["updates"], row["value"]) == (pytest.approx(10), pytest.approx(19))
    row = table[(table["axis"] == "validation_mae") & (table["arm"] == "es")].iloc[0]
    assert row["crossing"] == "left_censored"
    assert np.isnan(row["value"])
    assert np.isnan(row["updates"])
    differences = comparison.differences().set_index("axis")
    assert differences.loc["evaluations", "difference"] == pytest.approx(-0.4 * 32)
    assert np.isnan(differences.loc["validation_mae", "difference"])
    assert differences.loc["validation_mae", "seeds_without"] == 1


def test_curves_hold_every_record_on_all_axes():
    paths = [straight("adam", seed=1), straight("es", method="population", rank=0.4, seed=2)]
    table = curves(paths)
    assert len(table) == 2 * len(UPDATES)
    for path in paths:
        mine = table[table["arm"] == path.name]
        assert set(mine["seed"]) == {path.seed}
        for axis in AXES:
            np.testing.assert_array_equal(mine[axis], path.along(axis))
        np.testing.assert_array_equal(mine["value"], path.metric("rank"))
        np.testing.assert_allclose(mine["change"], path.metric("rank") - 20)
    assert curves([]).columns.tolist() == table.columns.tolist()
    assert compare_trajectories([straight("a"), straight("b")]).curves()["arm"].unique().tolist() == ["a", "b"]


def test_what_is_compared_lies_on_the_curve():
    path = straight("adam", rank=0.2)
    for axis in AXES:
        positions, values = path.curve("rank", axis)
        assert len(positions) == len(UPDATES) - 1
        order = np.argsort(positions)
        target = 0.3 * positions[0] + 0.7 * positions[-1]
        expected = np.interp(target, positions[order], values[order])
        assert arrive(path, axis, target).values["rank"] == pytest.approx(expected)


# --- from what a training recorded

NAMES = ("encoder.0.feed_forward.first", "encoder.0.feed_forward.second", "readout")
FAMILIES = ("feed_forward", "feed_forward", "readout")
SHAPES = ((6, 4), (4, 6), (4, 3))
STEPS = np.array([0, 1, 2, 4])


def matrices(seed):
    """(S,) lists of the three matrices, each step further from the initial ones."""
    generator = np.random.default_rng(seed)
    initial = [generator.normal(size=shape) for shape in SHAPES]
    walks = [generator.normal(size=(*shape, 2)) for shape in SHAPES]
    return [
        [
            start + 0.1 * step * walk[..., 0] + 0.02 * step**2 * walk[..., 1]
            for start, walk in zip(initial, walks, strict=True)
        ]
        for step in STEPS
    ]


def recorded(weights, maes, evaluations):
    def spectra(lists):
        padded = np.full((len(STEPS), len(NAMES), 4), np.nan, np.float32)
        for step, row in enumerate(lists):
            for position, matrix in enumerate(row):
                padded[step, position, : min(matrix.shape)] = np.linalg.svd(matrix, compute_uv=False)
        return padded

    nothing = np.zeros(len(STEPS))
    curves_of_losses = dict.fromkeys(
        ("loss", "validation_loss", "residual_mad", "influence_cosine", "distance"), nothing
    )
    return History(
        names=np.array(NAMES),
        families=np.array(FAMILIES),
        shapes=np.array(SHAPES),
        steps=STEPS,
        rounds=STEPS,
        evaluations=np.array(evaluations),
        validation_mae=np.array(maes),
        distances=np.zeros((len(STEPS), len(NAMES)), np.float32),
        singular_values=spectra(weights),
        change_singular_values=spectra(
            [[now - start for now, start in zip(row, weights[0], strict=True)] for row in weights]
        ),
        best_step=4,
        **curves_of_losses,
    )


def stable_rank(matrix):
    return (np.linalg.norm(matrix) / np.linalg.norm(matrix, 2)) ** 2


def training_run(optimizer, seed=1, maes=(0.9, 0.8, 0.6, 0.5), evaluations=(1, 4, 7, 13), data=None):
    params = load_params(packaged("params.yaml")).model_copy(update={"seed": seed})
    provenance = {"optimizer": optimizer, "data": {"sha256": "abc", "standin": False, **(data or {})}}
    return TrainingRun(recorded(matrices(sum(map(ord, optimizer))), maes, evaluations), params, provenance)


def with_data(run, data):
    return dataclasses.replace(run, params=run.params.model_copy(update={"data": data}))


def test_a_history_becomes_a_path_whose_numbers_are_those_of_its_matrices():
    names = ["stable_rank", "change_stable_rank", "log_stable_rank", "change_log_stable_rank"]
    run = training_run("adam")
    path = trajectory_of_history(run.history, "feed_forward", names, name="a", method="gradient", dataset="d", seed=4)
    weights = [row[:2] for row in matrices(sum(map(ord, "adam")))]
    moves = [[now - start for now, start in zip(row, weights[0], strict=True)] for row in weights]

    def norm(row):
        return math.sqrt(sum(np.linalg.norm(matrix) ** 2 for matrix in row))

    np.testing.assert_allclose(path.along("distance"), [norm(row) / norm(weights[0]) for row in moves], rtol=1e-5)
    np.testing.assert_allclose(
        path.metric("stable_rank"), [np.mean([*map(stable_rank, row)]) for row in weights], rtol=1e-5
    )
    logs = [np.mean(np.log([stable_rank(matrix) for matrix in row])) for row in weights]
    np.testing.assert_allclose(path.metric("log_stable_rank"), logs, rtol=1e-5)
    changes = [np.mean([*map(stable_rank, row)]) for row in moves[1:]]
    np.testing.assert_allclose(path.metric("change_stable_rank")[1:], changes, rtol=1e-5)
    logs = [np.mean(np.log([stable_rank(matrix) for matrix in row])) for row in moves[1:]]
    np.testing.assert_allclose(path.metric("change_log_stable_rank")[1:], logs, rtol=1e-5)
    assert np.isnan(path.metric("change_stable_rank")[0])  # nothing has changed there
    np.testing.assert_array_equal(path.along("updates"), STEPS)
    np.testing.assert_array_equal(path.along("validation_mae"), run.history.validation_mae)
    assert (path.seed, path.family, path.method) == (4, "feed_forward", "gradient")


def test_runs_are_compared_by_name_or_by_their_optimizers():
    adam, es = training_run("adam"), training_run("es", maes=(0.9, 0.85, 0.8, 0.7), evaluations=(1, 17, 33, 65))
    comparison = compare([adam, es], metrics=["stable_rank"])
    assert comparison.arms == ("adam", "es")
    assert comparison.family == "feed_forward"
    assert list(comparison.axes) == ["validation_mae", "evaluations", "distance"]
    first, second = (trajectory(run, "feed_forward", ["stable_rank"]) for run in (adam, es))
    # at the MAE .7, between updates 1 and 2 of Adam and at the last record of ES
    expected = first.metric("stable_rank")[1:3].mean() - second.metric("stable_rank")[3]
    assert comparison.verdicts[0].differences[0].mean == pytest.approx(expected)
    named = compare({"slow": es, "fast": adam}, metrics=["stable_rank"])
    assert named.verdict("stable_rank", "slow", "fast").differences[0].mean == pytest.approx(-expected)


def test_an_arm_of_several_seeds_is_a_list():
    arms = {name: [training_run(name, seed) for seed in (1, 2)] for name in ("adam", "es")}
    assert compare(arms, family="readout").seeds == (1, 2)
    assert compare(arms, family="readout").family == "readout"
    with pytest.raises(InputError, match="seed 2: has no es"):
        compare({**arms, "es": arms["es"][0]})


def test_a_run_brings_its_loss_and_how_alike_it_pulls_at_its_best_step():
    run = training_run("adam")
    history = dataclasses.replace(run.history, best_step=STEPS[2], influence_cosine=np.array([0.1, 0.2, 0.995, 0.4]))
    loss = run.params.loss.model_copy(update={"type": "sgt", "scale": "residual"})
    runs = {
        name: dataclasses.replace(
            run, history=history, params=run.params.model_copy(update={"loss": loss.model_copy(update=changes)})
        )
        for name, changes in (("q=20", {"q": 20.0}), ("again", {"q": 20.0, "sigma": 9.0}), ("mse", {"type": "mse"}))
    }
    paths = {name: trajectory(run, None, ["stable_rank"]) for name, run in runs.items()}
    assert {path.influence_cosine for path in paths.values()} == {0.995}
    assert paths["q=20"].loss == paths["again"].loss != paths["mse"].loss  # sigma follows the residuals
    sentences = " ".join(compare(runs, metrics=["stable_rank"]).sentences)
    assert "The losses of q=20 (0.9950) and mse (0.9950) both pull" in sentences
    assert "q=20 (0.9950) and again" not in sentences


def test_what_is_compared_is_the_family_that_moves_where_none_is_named():
    def lstm(optimizer):
        run = training_run(optimizer)
        families = np.array(["encoder_gates" if name == "feed_forward" else name for name in run.history.families])
        return dataclasses.replace(run, history=dataclasses.replace(run.history, families=families))

    assert compare([training_run("adam"), training_run("es")]).family == "feed_forward"
    assert compare([lstm("adam"), lstm("es")]).family == "encoder_gates"


def test_runs_on_other_data_are_not_compared():
    adam, es = training_run("adam"), training_run("es")
    scaled_otherwise = es.params.data.model_copy(update={"scaling": "robust"})
    with pytest.raises(InputError, match="never compared across data sets"):
        compare([adam, with_data(es, scaled_otherwise)])


def test_the_identity_of_data_is_what_decides_its_windows():
    run = training_run("adam")
    identity = dataset_identity(run)
    assert identity.startswith("synthetic ")
    assert dataset_identity(training_run("es", seed=9)) == identity  # another seed draws other series of one kind
    data = run.params.data
    noisier = data.model_copy(update={"synthetic": data.synthetic.model_copy(update={"q": 2.5})})
    shorter = data.model_copy(update={"output_length": 36})
    unused = data.model_copy(update={"covid": data.covid.model_copy(update={"smoothing_days": 3})})
    assert dataset_identity(with_data(run, noisier)) != identity
    assert dataset_identity(with_data(run, shorter)) != identity
    assert dataset_identity(with_data(run, unused)) == identity
    covid = data.model_copy(update={"dataset": "covid"})
    first, second = (with_data(training_run("adam", data={"sha256": digest}), covid) for digest in ("abc", "def"))
    assert dataset_identity(first) != dataset_identity(second)


def test_the_file_of_a_run_says_what_compare_says_of_its_histories():
    runs = {name: training_run(name, seed=3) for name in ("es", "adam")}
    classes = shape_classes(FAMILIES, SHAPES)
    summaries = {
        name: Summary(run.history, analyzed(run.history, Estimators()), classes, None, None)
        for name, run in runs.items()
    }
    tree = comparison_file.comparison(summaries, dataset="d", seed=3)
    expected = compare(list(runs.values()))
    assert (tree["family"], tree["metrics"]) == ("feed_forward", list(METRICS_COMPARED))
    assert list(tree["axes"]) == list(expected.axes)
    for axis, equal in expected.axes.items():
        assert tree["axes"][axis]["target"] == pytest.approx(equal.targets[3], rel=1e-5)
        for arrival in equal.arrivals:
            arm = tree["axes"][axis]["arms"][arrival.arm]
            assert arm["crossing"] == arrival.crossing
            assert arm["updates"] == pytest.approx(arrival.updates, rel=1e-5)
            assert {name: arm[name] for name in METRICS_COMPARED} == pytest.approx(arrival.values, rel=1e-5)
    for told, verdict in zip(tree["verdicts"], expected.verdicts, strict=True):
        assert (told["agrees"], told["sentence"]) == (verdict.agrees, verdict.sentence)
        means = {difference.axis: difference.mean for difference in verdict.differences}
        assert told["differences"] == pytest.approx(means, rel=1e-5)
    assert [verdict["sentence"] for verdict in tree["verdicts"]] + tree["sentences"] == list(expected.sentences)
    with_one_lost = {**summaries, "ga": cut_to_step_0(summaries["es"])}
    beside = comparison_file.comparison(with_one_lost, dataset="d", seed=3)
    for axis, numbers in beside["axes"].items():
        assert numbers["arms"].pop("ga")["crossing"] == "right_censored"
        assert numbers == tree["axes"][axis]
    assert comparison_file.comparison({"es": summaries["es"]}, dataset="d", seed=3) == {}


def cut_to_step_0(summary):
    """The same training, had it diverged at its first update."""
    history = summary.history
    fields = {field.name: getattr(history, field.name) for field in dataclasses.fields(history)}
    recorded = {
        name: values[:1]
        for name, values in fields.items()
        if name not in ("names", "families", "shapes", "best_step") and values is not None
    }
    start = dataclasses.replace(history, **recorded, best_step=0)
    return dataclasses.replace(summary, history=start, analysis=analyzed(start, Estimators()))


def test_families_and_metrics_that_are_not_there_are_named():
    runs = [training_run("adam"), training_run("es")]
    with pytest.raises(InputError, match="family = heads: adam has feed_forward, readout"):
        compare(runs, family="heads")
    for name in ("rank", "log_rank", "change_rank", "log_change_stable_rank"):
        with pytest.raises(InputError, match=f"metric = {name}: must be one of"):
            compare(runs, metrics=[name])


def test_every_optimizer_is_a_gradient_or_a_population_method():
    assert set(METHODS) == set(OPTIMIZERS)
