"""Verdicts on made-up studies whose truth is known."""

import numpy as np
import pandas as pd
import pytest

from transformer_spectrum.study.inference.matching import COLUMNS, Contrast
from transformer_spectrum.study.inference.robustness import Control, Judgement, failed, judge, under_controls
from transformer_spectrum.study.inference.signflip import family_test

AXES = ("validation_mae", "evaluations", "distance")
MUON, AGAIN, RATE = (
    Contrast("muon - adam", "light", "muon", "adam"),
    Contrast("again - adam", "light", "again", "adam"),
    Contrast("fast - adam", "light", "fast", "adam"),
)


def study(shifts, seeds=12, noise=0.1, censored=(), seed=0):
    """Endpoint "rank" of arms whose means on each axis are given: arm -> shift, or arm -> (shift on each axis)."""
    generator = np.random.default_rng(seed)
    rows = []
    for arm, shift in shifts.items():
        for axis, mean in zip(AXES, np.broadcast_to(shift, len(AXES)), strict=True):
            for number in range(seeds):
                missing = (arm, axis, number) in censored
                value = np.nan if missing else mean + noise * generator.normal()
                crossing = "right_censored" if missing else "reached"
                rows.append(("light", axis, 1.0, arm, number, crossing, 5.0, "rank", value))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def judged(table, contrasts=(MUON, AGAIN), **options):
    return judge(table, list(contrasts), ["rank"], AXES, margins={"rank": 0.2}, **options)


def test_a_large_difference_is_found_and_none_is_shown_to_be_none():
    muon, again = judged(study({"adam": 0.0, "muon": 1.0, "again": 0.0}))
    assert (muon.judgement, again.judgement) == (Judgement.FOUND, Judgement.NULL)
    assert muon.robust
    assert muon.effect.low < 1.0 < muon.effect.high
    assert muon.equivalence.p_value > 0.99
    assert list(muon.axes) == list(AXES)


def test_few_or_noisy_seeds_are_inconclusive_and_never_called_null():
    noisy, few = (
        study({"adam": 0.0, "muon": 0.1, "again": 0.0}, noise=1.0),
        study({"adam": 0.0, "muon": 1.0, "again": 0.0}, 4),
    )
    assert {verdict.judgement for verdict in judged(noisy)} == {Judgement.INCONCLUSIVE}
    assert all(verdict.untestable and np.isnan(verdict.adjusted_p) for verdict in judged(few))
    assert {verdict.judgement for verdict in judged(few)} == {Judgement.INCONCLUSIVE}


def test_a_difference_inside_the_margin_is_null_though_it_is_not_zero():
    (tiny,) = judged(study({"adam": 0.0, "muon": 0.1}, noise=0.01), [MUON])
    assert tiny.adjusted_p < 0.01
    assert tiny.judgement is Judgement.NULL


def test_a_sign_that_turns_with_the_axis_is_found_but_not_robust():
    (verdict,) = judged(study({"adam": 0.0, "muon": (1.0, 1.0, -1.0)}), [MUON])
    assert verdict.judgement is Judgement.FOUND
    assert verdict.robust is False
    assert "the axis decides the sign" in verdict.sentence


def test_an_axis_without_any_pair_leaves_robustness_unknown():
    gone = {("muon", "distance", number) for number in range(12)}
    (verdict,) = judged(study({"adam": 0.0, "muon": 1.0}, censored=gone), [MUON])
    assert verdict.judgement is Judgement.FOUND
    assert verdict.robust is None


def test_the_family_is_tested_as_one_and_censored_pairs_are_counted():
    table = study({"adam": 0.0, "muon": 0.15, "again": 0.1}, noise=0.2, censored={("muon", "validation_mae", 3)})
    muon, again = judged(table)
    wide = table.query("axis == 'validation_mae'").pivot(index="seed", columns="arm", values="value")
    together = family_test(wide[["muon", "again"]].to_numpy() - wide[["adam"]].to_numpy())
    assert [muon.adjusted_p, again.adjusted_p] == pytest.approx(together.adjusted.tolist())
    assert (muon.censored, muon.effect.pairs) == (1, 11)
    assert "1 censored" in muon.sentence


def test_a_contrast_may_have_fewer_axes_than_the_others():
    axes = {MUON.name: AXES[:1], AGAIN.name: AXES}
    muon, again = judge(study({"adam": 0.0, "muon": 1.0, "again": 0.0}), [MUON, AGAIN], ["rank"], axes)
    assert (len(muon.axes), len(again.axes)) == (1, 3)
    assert muon.equivalence is None
    assert again.judgement is Judgement.INCONCLUSIVE  # without a margin nothing is ever null


def test_a_failed_control_is_named_in_the_verdicts_that_it_touches():
    table = study({"adam": 0.0, "muon": 1.0, "again": 1.0, "fast": 0.0})
    controls = [Control(AGAIN.name, Judgement.NULL), Control(RATE.name, Judgement.FOUND, touches=("another",))]
    of_controls = judged(table, [AGAIN, RATE])
    assert list(failed(controls, of_controls)) == [AGAIN.name, RATE.name]
    (verdict,) = under_controls(judged(table, [MUON]), controls, of_controls)
    assert verdict.failed_controls == (AGAIN.name,)
    assert verdict.sentence.endswith("failed controls: again - adam.")
    passed = [Control(AGAIN.name, Judgement.FOUND), Control(RATE.name, Judgement.NULL)]
    assert failed(passed, of_controls) == {}


def test_a_control_that_was_not_run_has_failed_on_every_endpoint():
    control = Control("batch order", Judgement.NULL)
    assert failed([control], []) == {"batch order": ()}
    (verdict,) = under_controls(judged(study({"adam": 0.0, "muon": 1.0}), [MUON]), [control], [])
    assert verdict.failed_controls == ("batch order",)


def test_a_control_that_fails_on_one_endpoint_is_named_on_that_one_alone():
    table = pd.concat(
        [
            study({"adam": 0.0, "muon": 1.0, "again": 1.0}),
            study({"adam": 0.0, "muon": 1.0, "again": 0.0}, seed=1).assign(endpoint="entropy"),
        ]
    )
    both = judge(table, [MUON, AGAIN], ["rank", "entropy"], AXES, margins={"rank": 0.2, "entropy": 0.2})
    control = Control(AGAIN.name, Judgement.NULL)
    assert failed([control], both) == {AGAIN.name: ("rank",)}
    named = {verdict.endpoint: verdict.failed_controls for verdict in under_controls(both[:2], [control], both)}
    assert named == {"rank": (AGAIN.name,), "entropy": ()}
