"""Tables and numbers as users may have them: any unit, any order, any seeds' names; what is no study is refused."""

import inspect
import itertools
import math

import numpy as np
import pandas as pd
import pytest

from transformer_spectrum.analysis.comparison.trajectory import Trajectory
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.study.claims import Claim, ClaimSource, answer, load_claims
from transformer_spectrum.study.inference.discovery import benjamini_hochberg
from transformer_spectrum.study.inference.equivalence import equivalence
from transformer_spectrum.study.inference.estimates import hodges_lehmann, mean_difference, p_above
from transformer_spectrum.study.inference.matching import COLUMNS, Contrast, match
from transformer_spectrum.study.inference.power import check_power, pairs_needed, rejection_rate
from transformer_spectrum.study.inference.robustness import Judgement, judge
from transformer_spectrum.study.inference.signflip import family_test, student_t
from transformer_spectrum.study.inference.variance import attribution
from transformer_spectrum.study.protocol.model import EXAMPLE, parse_protocol

RISING = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
CONTRAST = Contrast("a - c", "light", "a", "c")


def bare(function):
    """Without the checker of types, which the tests have and users have not."""
    return inspect.unwrap(function)


def table(values, axes=("distance",), arms=("a", "c"), **columns):
    """Arm a has these values on the axes, c has 0."""
    rows = [
        ("light", axis, 1.0, arm, seed, "reached", 9.0, "mp_spikes", value if arm == arms[0] else 0.0)
        for axis, of_axis in zip(axes, np.atleast_2d(values), strict=True)
        for arm in arms
        for seed, value in enumerate(of_axis)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS)).assign(**columns)


def judged(frame, axes=("distance",), **options):
    (verdict,) = judge(frame, [CONTRAST], ["mp_spikes"], axes, **options)
    return verdict


def claim(**changes):
    fields = {
        "statement": "it rises",
        "sources": [ClaimSource(reference="made up", read="text", says="so")],
        "block": "b",
        "dataset": "light",
        "first": "a",
        "second": "c",
        "endpoint": "mp_spikes",
        "axis": "distance",
        "confirmed_if": ["above"],
        "refuted_if": ["below"],
    }
    return Claim(**{**fields, **changes})


# -- units ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("unit", [1e-310, 1e-170, 1e-9, 1.0, 1e154, 1e300, 1.5e307])
def test_no_test_depends_on_the_unit(unit):
    differences = RISING * unit
    family = family_test(np.column_stack([differences, -differences[::-1]]))
    np.testing.assert_allclose(family.p_values, 2**-5)
    np.testing.assert_allclose(family.adjusted, 2**-5)
    np.testing.assert_allclose(family.statistics, [student_t(RISING), -student_t(RISING)], rtol=1e-9)
    effect, one = mean_difference(differences), mean_difference(RISING)
    np.testing.assert_allclose([effect.p_value, effect.d_z], [one.p_value, one.d_z], rtol=1e-9)
    for field in ("mean", "low", "high", "hodges_lehmann"):
        assert getattr(effect, field) / unit == pytest.approx(getattr(one, field), rel=1e-9)
    assert p_above(differences, 0.0) == 2**-6
    assert equivalence(differences, 10 * unit).p_value == 2**-6


def test_a_contrast_of_another_unit_leaves_the_others_as_they_are():
    mixed = np.array([1.0, 2.0, 3.0, -4.0, 1.0, -2.0])
    both = family_test(np.column_stack([RISING, mixed]))
    np.testing.assert_array_equal(family_test(np.column_stack([RISING, mixed * 2.0**600])).adjusted, both.adjusted)


@pytest.mark.parametrize("largest", [1e3, 1e9, 1e12])
def test_a_seed_that_outweighs_the_others_changes_no_count_of_signs(largest):
    differences = np.array([largest, 1.0, 2.0, 1.5, 3.0, 2.5])
    assert family_test(differences[:, None]).p_values[0] == 2**-5
    assert mean_difference(differences).p_value == 2**-5
    assert mean_difference(differences).low == pytest.approx(1.0, rel=1e-3)


def test_equal_differences_are_equal_for_t_and_d_z_alike():
    same = np.full(7, 0.1)
    effect = mean_difference(same)
    assert student_t(same) == effect.d_z == math.inf
    nearly = np.array([1.0, 1.0 + 1e-9, 1.0 + 2e-9])
    assert student_t(nearly) == pytest.approx(1e9 * 3**0.5, rel=1e-5)
    assert mean_difference(nearly).d_z == pytest.approx(1e9, rel=1e-5)


# -- many seeds -----------------------------------------------------------------------------------------------------
def test_a_contrast_of_few_pairs_among_many_seeds_has_its_own_exact_p():
    generator = np.random.default_rng(0)
    whole, few = generator.normal(size=25) + 0.2, np.full(25, np.nan)
    few[3:9] = RISING
    for seed in range(3):
        family = family_test(np.column_stack([whole, few]), level=0.04, seed=seed)
        assert family.p_values[1] == 2**-5
        assert not family.untestable[1]
        assert family.adjusted[1] >= 2**-5


def test_what_a_sample_of_signs_cannot_reach_is_untestable():
    many = np.random.default_rng(0).normal(size=(25, 1)) + 9.0
    assert family_test(many, level=1e-6).untestable[0]
    assert not family_test(many, level=1e-4).untestable[0]


# -- numbers that are none ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: p_above(RISING, np.nan), "bound = nan: must be finite"),
        (lambda: p_above(RISING, -np.inf), "bound = -inf: must be finite"),
        (lambda: equivalence(RISING, 0.0), "margin = 0.0: must be > 0 and finite"),
        (lambda: bare(equivalence)(RISING, "0.1"), "margin = '0.1': must be > 0 and finite"),
        (lambda: bare(equivalence)(RISING, None), "margin = None: must be > 0 and finite"),
        (lambda: bare(equivalence)(RISING, True), "margin = True: must be > 0 and finite"),
        (
            lambda: bare(mean_difference)(RISING.reshape(3, 2)),
            r"differences of shape \(3, 2\): must be of one",
        ),
        (lambda: bare(hodges_lehmann)(RISING.reshape(3, 2)), r"differences of shape \(3, 2\): must be of one"),
        (lambda: bare(mean_difference)(RISING + 1j), "differences = .*: must be real numbers"),
        (lambda: bare(mean_difference)(np.array(["a"])), "differences = .*: must be real numbers"),
        (lambda: bare(mean_difference)(RISING, confidence=".95"), "confidence = '.95': must be > 0 and < 1"),
        (lambda: bare(family_test)(RISING[:, None], level="0.05"), "level = '0.05': must be > 0 and < 1"),
        (lambda: bare(benjamini_hochberg)(np.array([[0.1]])), r"p_values of shape \(1, 1\): must be \(tests,\)"),
        (lambda: bare(pairs_needed)("1"), "d_z = '1': must be > 0 and finite"),
        (lambda: pairs_needed(math.inf), "d_z = inf: must be > 0 and finite"),
        (lambda: rejection_rate(201, 1.0), "pairs = 201: must be a whole number from 1 to 200"),
        (lambda: rejection_rate(0, 1.0), "pairs = 0: must be a whole number from 1 to 200"),
        (lambda: rejection_rate(-1, 1.0), "pairs = -1: must be a whole number from 1 to 200"),
        (lambda: rejection_rate(9, math.nan), "d_z = nan: must be finite"),
        (lambda: rejection_rate(9, 1.0, level=2), "level = 2: must be > 0 and < 1"),
        (lambda: rejection_rate(9, 1.0, studies=0), "studies = 0: must be a whole number >= 1"),
        (lambda: bare(check_power)("c", math.nan), "seeds of c = nan: must be a whole number >= 1"),
        (lambda: bare(check_power)("c", 2.5), "seeds of c = 2.5: must be a whole number >= 1"),
        (lambda: check_power("c", 3, sizes=()), "sizes of c: must be one d_z or more"),
        (lambda: answer({"x": claim()}, table(RISING), level=1.5), "level = 1.5: must be > 0 and < 1"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_what_is_no_number_is_named(call, words):
    with pytest.raises(InputError, match=words):
        call()


def test_lists_whole_numbers_and_masks_are_read_as_they_are_meant():
    whole = np.array([10, 12, 11, 10, 13], dtype=np.uint8)
    assert bare(equivalence)(whole, 5.0).p_value == 1.0
    assert bare(equivalence)([0.01, 0.02, 0.03], 0.1).p_value == 2**-3
    assert bare(mean_difference)(np.ma.array([1.0, 2.0, 9.0], mask=[0, 0, 1])).pairs == 2
    assert bare(benjamini_hochberg)([0.01, 0.04]).tolist() == [0.02, 0.04]
    assert bare(benjamini_hochberg)(np.array([0, 1])).tolist() == [0.0, 1.0]


# -- power ----------------------------------------------------------------------------------------------------------
def test_a_small_level_of_a_large_family_is_reached_by_enough_signs():
    """At .05 / 101 the test that counts 2,000 signs can never reject; that of all signs of 17 pairs can."""
    level = 0.05 / 101
    needed = pairs_needed(1.5, level=level)
    assert 15 <= needed <= 18
    generator, studies = np.random.default_rng(1), 300
    rejected = sum(mean_difference(generator.normal(size=needed) + 1.5).p_value <= level for _ in range(studies))
    assert 0.7 < rejected / studies < 0.9


def test_more_pairs_than_are_simulated_are_held_against_students_test():
    assert check_power("c", 1000, sizes=(0.1,)).sentence == ""  # power .88
    assert check_power("c", 400, sizes=(0.15,)).sentence == ""  # power .85
    assert "400 seeds are few" in check_power("c", 400, sizes=(0.1,)).sentence  # power .51


# -- tables ---------------------------------------------------------------------------------------------------------
def test_a_row_that_comes_twice_is_refused():
    frame = table(RISING)
    again = pd.concat([frame, frame[frame["arm"] == "a"].assign(value=-9.0)])
    words = "mp_spikes of a, seed 0, at equal distance on light: comes twice"
    with pytest.raises(InputError, match=words):
        judged(again)
    with pytest.raises(InputError, match=words):
        answer({"x": claim()}, again)
    with pytest.raises(InputError, match=words):
        answer({"x": claim(second="zero")}, again)


@pytest.mark.parametrize("second", ["c", "zero"])
def test_an_infinite_value_is_refused_by_its_place(second):
    frame = table(np.append(RISING, np.inf))
    with pytest.raises(InputError, match="mp_spikes of a, seed 6, at equal distance on light = inf: must not be inf"):
        answer({"x": claim(second=second)}, frame)


def test_arms_at_different_targets_are_not_compared():
    frame = table(RISING)
    frame.loc[(frame["arm"] == "a") & (frame["seed"] == 2), "target"] = 2.0
    with pytest.raises(InputError, match="contrast a - c: seed 2: the arms are at different targets of distance"):
        judged(frame)


def test_a_training_that_is_censored_has_no_value():
    frame = table(RISING)
    frame.loc[(frame["arm"] == "a") & (frame["seed"] == 2), "crossing"] = "right_censored"
    with pytest.raises(InputError, match=r"seed 2, .* = 3: the training is right_censored, so it has no value there"):
        judged(frame)


@pytest.mark.parametrize("name", [lambda seed: f"s{seed}", lambda seed: seed / 10 + 1, lambda seed: 10**12 + seed])
def test_seeds_have_any_names(name):
    frame = table(RISING).sample(frac=1, random_state=0)
    named = judged(frame.assign(seed=frame["seed"].map(name)))
    assert named.effect == judged(frame).effect
    assert named.adjusted_p == 2**-5


def test_a_row_without_a_seed_is_refused():
    frame = table(RISING)
    frame["seed"] = frame["seed"].astype(float)
    frame.loc[0, "seed"] = np.nan
    with pytest.raises(InputError, match="every row must have a seed"):
        judged(frame)


@pytest.mark.parametrize("column", ["dataset", "axis", "arm", "seed", "endpoint", "value"])
def test_a_lacking_column_is_named(column):
    with pytest.raises(InputError, match=f"table: has no column {column}"):
        judged(table(RISING).drop(columns=column))
    with pytest.raises(InputError, match=f"table: has no column {column}"):
        answer({"x": claim()}, table(RISING).drop(columns=column))


def test_contrasts_have_names_arms_and_axes_of_their_own():
    frame = table(RISING)
    with pytest.raises(InputError, match="contrast a - c: comes twice"):
        judge(frame, [CONTRAST, CONTRAST], ["mp_spikes"], ["distance"])
    with pytest.raises(InputError, match="contrast x: first = second = a"):
        judge(frame, [Contrast("x", "light", "a", "a")], ["mp_spikes"], ["distance"])
    for axes in ([], {"other": ["distance"]}):
        with pytest.raises(InputError, match="contrast a - c: has no axis"):
            judge(frame, [CONTRAST], ["mp_spikes"], axes)


def test_margins_are_positive_and_of_endpoints():
    with pytest.raises(InputError, match="margin = 0: must be > 0"):
        judged(table(RISING), margins={"mp_spikes": 0})
    with pytest.raises(InputError, match="margin of mp_spike: the table has no such endpoint"):
        judged(table(RISING), margins={"mp_spike": 1.0})
    for margin in (0.0, -1.0):
        tuning = {"rates": {}, "targets": {}, "margins": {"change_log_stable_rank": margin}}
        with pytest.raises(InputError, match=r"tuning\.margins\.change_log_stable_rank = .*: must be greater than 0"):
            parse_protocol({**EXAMPLE, "tuning": tuning})


def test_an_axis_of_any_name_is_told_by_it():
    assert "at equal wall time" in judged(table(RISING, axes=("wall time",)), axes=["wall time"]).sentence


def test_targets_are_finite_and_of_axes():
    path = Trajectory("adam", "gradient", "light", [0, 1], [1, 4], [0.9, 0.7], [0, 0.1], {"rank": [20.0, 19.0]})
    for target in (np.nan, np.inf, ".x"):
        with pytest.raises(InputError, match=r"target of validation_mae = .*: must be"):
            bare(match)([path], {"validation_mae": target})
    with pytest.raises(InputError, match="targets: 'validation_MAE': must be one of"):
        match([path], {"validation_MAE": 0.7})
    assert len(bare(match)(iter([path]), {"distance": 0.1}, axes=["distance"])) == 1


# -- robustness -----------------------------------------------------------------------------------------------------
AXES = ("validation_mae", "distance", "evaluations")
POSITIVE = [1.0, 1.1, 1.2, 1.3, 0.9, 0.8, 1.0, -0.1]
ALONE = [np.nan] * 7 + [-0.1]


def test_seeds_that_an_axis_has_alone_leave_the_sign_unknown():
    verdict = judged(table([POSITIVE, ALONE, ALONE], axes=AXES), axes=AXES)
    assert verdict.judgement is Judgement.FOUND
    assert [round(effect.mean, 3) for effect in verdict.axes.values()] == [0.9, -0.1, -0.1]
    assert verdict.robust is None
    assert "sign on all axes unknown" in verdict.sentence


def test_two_axes_that_turn_the_sign_of_their_seeds_are_not_robust_whatever_a_third_has():
    whole = [-5.0] * 7 + [-0.1]
    verdict = judged(table([POSITIVE, whole, ALONE], axes=AXES), axes=AXES)
    assert verdict.robust is False


@pytest.mark.parametrize("signs", list(itertools.product([1.0, -1.0], repeat=3)))
def test_complete_seeds_are_robust_exactly_if_all_means_have_one_sign(signs):
    verdict = judged(table([sign * RISING for sign in signs], axes=AXES), axes=AXES)
    assert verdict.robust is (len(set(signs)) == 1)


# -- variance -------------------------------------------------------------------------------------------------------
def crossed(value):
    rows = [
        (optimizer, loss, seed, value(optimizer, loss, seed))
        for optimizer in range(3)
        for loss in range(2)
        for seed in range(7)
    ]
    return pd.DataFrame(rows, columns=["optimizer", "loss", "seed", "value"])


NOISE = np.random.default_rng(0).normal(size=(3, 2, 7))


def mixed(optimizer, loss, seed):
    return 2.0 * optimizer + loss + 0.5 * seed + NOISE[optimizer, loss, seed]


@pytest.mark.parametrize("value", [0.1, 1.0, 0.0, -7.3e-200, 1e300])
@pytest.mark.filterwarnings("error")
def test_a_constant_endpoint_has_no_shares(value):
    shares = attribution(crossed(lambda *_: value), ["optimizer", "loss"])
    assert shares[["share", "low", "high", "squares_share"]].isna().all(axis=None)
    assert (shares["component"] == 0).all()


@pytest.mark.parametrize("exponent", [-900, -500, 500, 1000])
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_shares_do_not_depend_on_the_unit(exponent):
    one = attribution(crossed(mixed), ["optimizer", "loss"], draws=50)
    with np.errstate(over="ignore", under="ignore"):
        other = attribution(
            crossed(lambda *place: math.ldexp(mixed(*place), exponent)), ["optimizer", "loss"], draws=50
        )
    for name in ("squares_share", "share", "low", "high"):
        np.testing.assert_array_equal(one[name], other[name])
    if abs(exponent) == 500:
        np.testing.assert_array_equal(np.ldexp(one["component"], 2 * exponent), other["component"])


def test_shares_and_intervals_do_not_depend_on_the_order_of_rows():
    frame = crossed(mixed)
    shuffled = frame.sample(frac=1, random_state=3)
    pd.testing.assert_frame_equal(
        attribution(frame, ["optimizer", "loss"], draws=50), attribution(shuffled, ["optimizer", "loss"], draws=50)
    )


def test_levels_that_are_no_words_and_draws_that_are_no_count_are_refused():
    frame = crossed(mixed)
    with pytest.raises(InputError, match="levels must be numbers or words"):
        attribution(frame.assign(loss=[[1]] * len(frame)), ["optimizer", "loss"])
    with pytest.raises(InputError, match=r"draws = 2\.5: must be a whole number >= 2"):
        bare(attribution)(frame, ["optimizer", "loss"], draws=2.5)


# -- claims ---------------------------------------------------------------------------------------------------------
def test_a_claims_file_of_another_ending_is_named(tmp_path):
    (tmp_path / "a.yaml").write_text("")
    (tmp_path / "b.yml").write_text("")
    with pytest.raises(InputError, match=r"b\.yml: a claim's file must end in \.yaml"):
        load_claims(tmp_path)
