"""Figures by loss: they show the table's numbers, alike in every study."""

import pandas as pd
import pytest
from matplotlib.colors import to_hex

from transformer_spectrum import vocabulary
from transformer_spectrum.study.running import grid as grids
from transformer_spectrum.study.running.store import write_record
from transformer_spectrum.study.sweep import figures
from transformer_spectrum.vocabulary import STANDIN

VALUES = {("mse", 1): 3.0, ("mse", 2): 5.0, ("sgt_q5", 1): 6.0, ("sgt_q5", 2): 6.5}


@pytest.fixture
def grid(write_grid):
    return grids.load_grid(str(write_grid()))


def table(standin=0):
    """Rows of families.csv: one family, two losses, two seeds."""
    return pd.DataFrame(
        {
            "dataset": "narrow",
            "loss": loss,
            "optimizer": "adam",
            "seed": seed,
            "standin": standin,
            "family": "feed_forward",
            "matrices": 4,
            "larger": 32,
            "smaller": 16,
            "metric": "stable_rank",
            "value": value,
            "initial": 4.0 + seed,
            "null": value + 1.0,
            "null_sd": 0.5,
        }
        for (loss, seed), value in VALUES.items()
    )


def marks(axes):
    """Colour -> heights of the marks, seeds first and their mean last."""
    found = {}
    for dots in axes.collections:
        for (_, height), colour in zip(dots.get_offsets(), dots.get_facecolors(), strict=True):
            found.setdefault(to_hex(colour), []).append(float(height))
    return found


def test_every_seed_its_mean_and_the_null_are_drawn(grid):
    axes = figures._by_loss(grid, "stable_rank", table()).axes
    assert len(axes) == 1
    assert marks(axes[0]) == {
        vocabulary.LOSS_COLOURS["mse"].lower(): [3.0, 5.0, 4.0],
        vocabulary.LOSS_COLOURS["sgt_q5"].lower(): [6.0, 6.5, 6.25],
    }
    assert [line.get_ydata()[0] for line in axes[0].lines] == [5.5]  # the mean of both seeds' initial weights
    bars = [(bar.get_y(), bar.get_height()) for bar in axes[0].patches]
    assert bars == [(4.0, 2.0), (6.25, 2.0)]  # each loss's own null, mean -+ 2 deviations
    assert [text.get_text() for text in axes[0].get_xticklabels()] == ["mse", "sgt_q5"]
    assert axes[0].get_title() == "feed-forward\n4 matrices, 32×16"


def test_a_stand_in_is_said_in_red(grid):
    words = [[text.get_text() for text in figures._by_loss(grid, "stable_rank", table(flag)).texts] for flag in (0, 1)]
    assert STANDIN not in words[0]
    assert STANDIN in words[1]


def test_a_loss_has_one_colour_whatever_the_grid_and_no_two_share_one():
    few, many = vocabulary.loss_colours(["mse"]), vocabulary.loss_colours([*vocabulary.LOSS_COLOURS, "own", "another"])
    assert few["mse"] == many["mse"]
    assert len(set(many.values())) == len(many)


def test_every_metric_has_a_figure_but_those_that_judge_another_one():
    assert set(figures.COMPANIONS) == {name for name in figures.METRICS if name.endswith(("_se", "_r_squared"))}
    assert len(figures.DRAWN) == 2 * (len(figures.METRICS) - len(figures.COMPANIONS))  # of matrices and of changes


def test_a_study_of_which_nothing_is_done_has_no_figures(grid, tmp_path):
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures/stable_rank.png").touch()
    write_record(tmp_path / "figures", {}, {})
    (tmp_path / "figures/mine.png").touch()
    figures.write_figures(grid, [], tmp_path / "families.csv", tmp_path / "figures")
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["mine.png"]  # which no record lists
    (tmp_path / "figures/mine.png").unlink()
    figures.write_figures(grid, [], tmp_path / "families.csv", tmp_path / "figures")
    assert not (tmp_path / "figures").exists()
