"""What is said of best steps, said again where something else is equal: what metrics/comparison.json says."""

import copy
import dataclasses

import pytest

from transformer_spectrum.report.page.numbers import number
from transformer_spectrum.report.run_page import axes
from transformer_spectrum.report.run_page.markdown import markdown
from transformer_spectrum.report.run_page.page import page

DIGITS = {"validation_mae": 3, "evaluations": 0, "distance": 3, "updates": 0}
CENSORED = {"left_censored": "earlier than recorded", "right_censored": "never"}


def test_the_tables_hold_every_value_of_the_comparison_and_when_it_was_reached(run):
    tables = axes.tables(run)
    assert [table.caption.partition(" of the feed-forward")[0] for table in tables] == [
        "Mean stable rank of the change",
        "Mean stable rank",
    ]
    for table, metric in zip(tables, ("change_stable_rank", "stable_rank"), strict=True):
        assert table.header == ("held equal", "Adam", "ES", "GA")
        for row, (axis, held) in zip(table.rows, run.comparison["axes"].items(), strict=True):
            assert row[0].endswith(f": {number(held['target'], DIGITS[axis])}")
            for cell, arm in zip(row[1:], held["arms"].values(), strict=True):
                if arm[metric] is None:
                    assert (
                        cell == {"left_censored": "earlier than recorded", "right_censored": "never"}[arm["crossing"]]
                    )
                else:
                    assert cell == f"{number(arm[metric], 2)} (at {number(arm['updates'], 0)})"


def test_an_axis_that_gradient_methods_alone_share_leaves_the_others_out(run):
    comparison = copy.deepcopy(dict(run.comparison))
    arm = {"crossing": "reached", "updates": 7.0, "stable_rank": 5.0, "change_stable_rank": 2.0}
    comparison["axes"]["updates"] = {"target": 7.0, "arms": {"adam": arm}}
    row = axes.tables(dataclasses.replace(run, comparison=comparison))[0].rows[-1]
    assert row == ("updates: 7", "2.00 (at 7)", "–", "–")


def test_page_and_markdown_carry_both_and_neither_where_there_is_one_training(run):
    for made in (page(run), markdown(run)):
        assert made.count("held equal") == 2
        assert "where all trainings have reached the same for the first time" in made
    alone = dataclasses.replace(run, comparison={})
    for made in (page(alone), markdown(alone)):
        assert "held equal" not in made


@pytest.mark.parametrize("metric", ["change_stable_rank", "stable_rank"])
def test_the_verdicts_are_those_of_the_pairs(run, metric):
    told = axes.verdicts(run, metric)
    pairs = [("Adam", "ES"), ("Adam", "GA"), ("ES", "GA")]
    assert len(told) == 3
    for sentence, (first, second) in zip(told, pairs, strict=True):
        assert f": {first} is " in sentence
        assert second in sentence
