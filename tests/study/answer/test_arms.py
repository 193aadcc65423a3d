"""Curves and spectra of a study's arms, each computed a second time."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from transformer_spectrum.study.answer.arm_spectra import arm_spectra
from transformer_spectrum.study.answer.curves import PLACES, curves_table
from transformer_spectrum.study.protocol.sections import TuningOutcome

FAMILIES = np.array(["feed_forward", "feed_forward", "readout", "decoder_cross_attention"])


def cells(seeds=(1, 2), block="losses"):
    rows = [(block, "light", "adam-mse", f"run {seed}", "done") for seed in seeds]
    rows.append((block, "light", "adam-mse", "lost", "diverged"))
    return pd.DataFrame(rows, columns=["block", "dataset", "arm", "training", "status"])


def history(seed):
    values = np.sort(np.random.default_rng(seed).random((3, 4, 5)), axis=-1)[:, :, ::-1]
    return SimpleNamespace(
        families=FAMILIES,
        validation_mae=np.array([1.0, 0.6, 0.4]),
        singular_values=values,
        change_singular_values=values / 2,
    )


@pytest.mark.parametrize(("targets", "record"), [({"light": 0.7}, 1), ({"light": 0.1}, 2), ({}, 2)])
def test_spectra_are_those_of_the_first_record_at_the_target_else_of_the_best(targets, record):
    tuning = TuningOutcome(rates={}, targets=targets, margins={})
    table = arm_spectra(cells(), tuning, lambda name: history(int(name.split()[1])))
    row = table.set_index(["matrix", "group", "rank"]).loc["change", "feed_forward", 3]
    expected = []
    for seed in (1, 2):
        spectra = history(seed).change_singular_values[record, :2]
        expected.append(np.mean([np.log10(s[2] / np.sqrt(np.mean(s**2))) for s in spectra]))
    assert row["mean"] == pytest.approx(np.mean(expected))
    assert row["sd"] == pytest.approx(np.std(expected, ddof=1))
    assert set(table["group"]) == {"feed_forward", "attention"}
    assert set(table["seeds"]) == {2}


def test_a_target_that_w0_itself_meets_still_takes_a_record_that_has_a_change():
    tuning = TuningOutcome(rates={}, targets={"light": 5.0}, margins={})
    table = arm_spectra(cells((1,)), tuning, lambda name: history(1)).set_index(["matrix", "group", "rank"])
    spectrum = history(1).singular_values[1, 3]
    assert table.loc[("weights", "attention", 1), "mean"] == pytest.approx(
        np.log10(spectrum[0] / np.sqrt(np.mean(spectrum**2)))
    )


def path(seed, mae, distance):
    columns = {"training": f"run {seed}", "validation_mae": mae, "distance": distance}
    return pd.DataFrame({**columns, "rank": np.arange(len(mae), dtype=float) * seed})


def test_curves_follow_the_first_crossing_and_end_where_half_of_the_seeds_are_left():
    paths = pd.concat(
        [
            path(1, [1.0, 0.8, 0.9, 0.5], [0.0, 0.1, 0.2, 0.4]),  # goes back once
            path(2, [1.0, 0.8, 0.7, 0.6], [0.0, 0.1, 0.2, 0.3]),
            path(3, [1.0, 0.8, 0.75, 0.7], [0.0, 0.1, 0.2, 0.25]),
        ]
    )
    table = curves_table(cells((1, 2, 3)), paths, ["rank"])
    along = table[table["axis"] == "validation_mae"]
    assert along["at"].min() >= 0.6  # below, one of three seeds is left
    assert len(table[table["axis"] == "distance"]["at"].unique()) <= PLACES
    upper = along[along["at"].between(0.75, 0.8)].iloc[0]
    third = 3 * np.interp(-upper["at"], [-0.8, -0.75], [1.0, 2.0])
    others = [np.interp(-upper["at"], [-0.8, -0.5], [1.0, 3.0]), 2 * np.interp(-upper["at"], [-0.8, -0.7], [1.0, 2.0])]
    assert (upper["seeds"], upper["mean"]) == (3, pytest.approx(np.mean([*others, third])))
    lower = along[along["at"] < 0.7].iloc[0]
    # Of seed 1 the way from .8 at record 1 to .5 at record 3, over the record that goes back; seed 3 ends at .7.
    first = np.interp(-lower["at"], [-0.8, -0.5], [1.0, 3.0])
    second = 2 * np.interp(-lower["at"], [-0.8, -0.7, -0.6], [1.0, 2.0, 3.0])
    assert lower["seeds"] == 2
    assert lower["mean"] == pytest.approx((first + second) / 2)
    assert lower["sd"] == pytest.approx(np.std([first, second], ddof=1))
