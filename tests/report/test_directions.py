"""The page's tables of circuits, directions and spikes hold what the long tables hold."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from transformer_spectrum.report.page.numbers import number
from transformer_spectrum.report.run_page import directions
from transformer_spectrum.report.run_page.markdown import markdown
from transformer_spectrum.report.run_page.page import page
from transformer_spectrum.vocabulary import circuit_words, display_name, family_words

FAMILY = "decoder_cross_attention_query_key"


def with_circuits(run):
    """The run with two circuits of each training at its best step, and one at another step that must not count."""
    rows = []
    for optimizer, training in run.trainings.items():
        best = int(training.scores["best_step"])
        for folded in (0, 1):
            for value, deviations in ((6.0, -2.0), (8.0, np.nan)):
                rows.append((optimizer, best, FAMILY, folded, "stable_rank", value + folded, 7.5, deviations))
            rows.append((optimizer, best + 1, FAMILY, folded, "stable_rank", 99.0, 1.0, 99.0))
            rows.append((optimizer, best, FAMILY, folded, "spectral_entropy", 99.0, 1.0, 99.0))
    columns = ["optimizer", "step", "family", "folded", "metric", "value", "null_mean", "deviations"]
    table = pd.DataFrame(rows, columns=columns)
    return dataclasses.replace(run, circuits=table.assign(difference=table["value"] - table["null_mean"]))


def test_circuits_are_averaged_over_the_heads_of_a_family_at_the_best_step_with_and_without_gains(run):
    table = directions.circuits(with_circuits(run))
    ends = ("7.00", "7.50", "−0.50", "−2.0", "8.00", "7.50", "+0.50", "−2.0")
    assert table.rows == tuple((circuit_words(FAMILY), display_name(name), "2", *ends) for name in run.trainings)


def test_a_model_without_attention_says_that_it_has_no_circuits(run):
    without = dataclasses.replace(run, circuits=run.circuits.iloc[:0])
    assert directions.circuits(without) is None
    for text in (page(without), markdown(without)):
        assert directions.NO_CIRCUITS in text
    for text in (page(with_circuits(run)), markdown(with_circuits(run))):
        assert directions.NO_CIRCUITS not in text
        assert circuit_words(FAMILY) in text


def test_overlaps_are_the_means_of_the_family_at_the_best_step(run):
    rows = {row[:2]: row[2:] for row in directions.overlaps(run).rows}
    for name, training in run.trainings.items():
        at_best = run.vectors[
            (run.vectors["optimizer"] == name) & (run.vectors["step"] == training.scores["best_step"])
        ]
        assert not at_best.empty
        for family, matrices in at_best.groupby("family", observed=True):
            means = [np.mean(matrices[column]) for column in ("left", "left_random", "right", "right_random")]
            assert rows.pop((family_words(family), display_name(name))) == (str(len(matrices)), *map(number, means))
    assert not rows
    start = {name: {**training.scores, "best_step": 0} for name, training in run.trainings.items()}
    trainings = {name: dataclasses.replace(run.trainings[name], scores=scores) for name, scores in start.items()}
    unmoved = dataclasses.replace(run, trainings=trainings)
    assert directions.overlaps(unmoved) is None
    assert directions.NO_CHANGE in page(unmoved)


@pytest.mark.parametrize("from_the_start", [0, 1])
def test_spikes_that_stand_are_counted_and_the_earliest_birth_is_named(run, from_the_start):
    columns = ["optimizer", "family", "of", "born", "from_the_start"]
    births = [("es", "feed_forward", "weights", born, from_the_start * (born == 3)) for born in (7.0, 3.0, np.nan)]
    table = pd.DataFrame([*births, ("ga", "feed_forward", "change", 1200.0, 0)], columns=columns)
    rows = {row[:2]: row[2:] for row in directions.spikes(dataclasses.replace(run, spikes=table)).rows}
    assert rows["feed-forward", "ES"] == ("2", "≤ 3" if from_the_start else "3", "0", "–")
    assert rows["feed-forward", "GA"] == ("0", "–", "1", "1,200")
    assert len(rows) == len(run.families) * len(run.trainings)


def test_what_has_no_count_of_spikes_has_no_number(run):
    evolution = run.curves["spectra_evolution"]
    uncounted = evolution[(evolution["metric"] != "mp_spikes") | (evolution["family"] != "readout")]
    table = directions.spikes(dataclasses.replace(run, curves={**run.curves, "spectra_evolution": uncounted}))
    readout = [row for row in table.rows if row[0] == "readout"]
    assert len(readout) == len(run.trainings)
    assert all(row[2:4] == ("–", "–") for row in readout)
    assert [row[4] != "–" for row in readout] == [False, True, True]  # Adam's changes of rank 3 have no bulk
    assert all(row[2] != "–" for row in table.rows if row[0] != "readout")
